/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Who gets which job: several pollers on the same lanes. */

enum { POLLERS = 8 };

static struct db *db;

static int open_db(void **state)
{
	(void)state;
	db = fixture_open();
	return 0;
}

static int close_db(void **state)
{
	(void)state;
	db = db_close(db);
	return 0;
}

static void run_pollers(void *(*work)(void *), void *userdata)
{
	pthread_t threads[POLLERS];

	for (size_t i = 0; i < POLLERS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, work, userdata), 0);
	for (size_t i = 0; i < POLLERS; i++)
		pthread_join(threads[i], NULL);
}

static void *claim_all(void *userdata)
{
	atomic_size_t *total = userdata;
	struct claimed claimed[16];
	struct db *own = fixture_open();
	size_t count;

	do {
		count = fixture_claim(own, "many", "queued", 7, 60000, claimed);
		atomic_fetch_add(total, count);
	} while (count > 0);
	db_close(own);
	return NULL;
}

static void no_job_is_claimed_twice(void **state)
{
	enum { JOBS = 400 };
	atomic_size_t total = 0;
	struct pipeline many;

	(void)state;
	fixture_submit(db, "many", "fail",
		       &(const struct shape){ JOBS, NULL, 0 }, &many);
	run_pollers(claim_all, &total);
	assert_int_equal(total, JOBS);
	assert_int_equal(fixture_number("SELECT count(*) FROM execution_jobs "
					"WHERE provider = 'many' AND "
					"claim = 1"),
			 JOBS);
}

static void *run_limited(void *userdata)
{
	static const struct {
		enum job_state was;
		enum job_event event;
	} life[] = {
		{ JOB_QUEUED, JOB_START },
		{ JOB_STARTING, JOB_ACCEPTED },
		{ JOB_PROCESSING, JOB_RENDERED },
		{ JOB_STORING, JOB_STORED },
	};
	atomic_size_t *done = userdata;
	struct db *own = fixture_open();
	struct claimed claimed[16];

	while (atomic_load(done) < 60) {
		size_t count =
			fixture_claim(own, "few", "queued", 4, 60000, claimed);

		for (size_t i = 0; i < count; i++) {
			for (size_t j = 0; j < COUNT_OF(life); j++) {
				struct move move = fixture_move(
					claimed[i].id, life[j].was,
					life[j].event, claimed[i].claim);

				move.attempt = 1;
				move.provider_job_id = claimed[i].id;
				if (fixture_apply(own, &move) != MOVE_DONE)
					abort();
			}
			atomic_fetch_add(done, 1);
		}
	}
	db_close(own);
	return NULL;
}

static void slots_are_never_exceeded(void **state)
{
	atomic_size_t done = 0;
	struct pipeline many;

	(void)state;
	/* A trigger sees every value the counter ever has. */
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('few', 3)");
	fixture_sql("CREATE FUNCTION refuse_excess() RETURNS trigger LANGUAGE "
		    "plpgsql AS $$ BEGIN IF new.in_use > new.max_concurrent "
		    "THEN RAISE EXCEPTION 'limit exceeded'; END IF; RETURN "
		    "new; END $$");
	fixture_sql("CREATE TRIGGER excess BEFORE UPDATE ON providers FOR EACH "
		    "ROW EXECUTE FUNCTION refuse_excess()");
	fixture_submit(db, "few", "fail", &(const struct shape){ 60, NULL, 0 },
		       &many);
	run_pollers(run_limited, &done);
	assert_int_equal(done, 60);
	assert_int_equal(fixture_number("SELECT in_use FROM providers WHERE "
					"name = 'few'"),
			 0);
	fixture_sql("DROP FUNCTION refuse_excess() CASCADE");
	fixture_check_invariants();
}

static void *claim_rated(void *userdata)
{
	atomic_size_t *total = userdata;
	struct claimed claimed[64];
	struct db *own = fixture_open();

	for (int i = 0; i < 5; i++)
		atomic_fetch_add(total, fixture_claim(own, "rated", "queued",
						      50, 60000, claimed));
	db_close(own);
	return NULL;
}

static void a_rate_holds_for_all_pollers_together(void **state)
{
	atomic_size_t total = 0;
	struct pipeline many;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('rated')");
	fixture_sql("INSERT INTO provider_gates (name, rate_starts, "
		    "rate_period_s, tokens) VALUES ('rated', 5, 86400, 5)");
	fixture_submit(db, "rated", "fail",
		       &(const struct shape){ 50, NULL, 0 }, &many);
	run_pollers(claim_rated, &total);
	assert_int_equal(total, 5);
}

/* What the last exchanges with a provider said. */
static void report(const char *provider, int failed, int succeeded)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };
	int64_t failures[] = { failed }, successes[] = { succeeded };
	const char *params[] = {
		db_array_text(&provider, 1, arena),
		db_array_int64(failures, 1, arena),
		db_array_int64(successes, 1, arena),
		"5",
		"30",
		"30000",
	};

	if (db_run(db, DB_provider_report, params, &rows, &fault) != 0)
		fail_msg("%s", fault.text);
}

static void a_breaker_opens_probes_and_closes(void **state)
{
	struct claimed claimed[16];
	struct pipeline many;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('down')");
	fixture_sql("INSERT INTO provider_gates (name) VALUES ('down')");
	fixture_submit(db, "down", "fail", &(const struct shape){ 10, NULL, 0 },
		       &many);

	report("down", 4, 0);
	assert_int_equal(fixture_claim(db, "down", "queued", 1, 60000, claimed),
			 1);
	report("down", 1, 0);
	assert_int_equal(fixture_claim(db, "down", "queued", 9, 60000, claimed),
			 0);

	fixture_sql("UPDATE provider_gates SET open_until = now() - "
		    "interval '1 s' WHERE name = 'down'");
	assert_int_equal(fixture_claim(db, "down", "queued", 9, 60000, claimed),
			 1);
	assert_int_equal(fixture_claim(db, "down", "queued", 9, 60000, claimed),
			 0);
	report("down", 1, 0); /* the probe failed */
	assert_int_equal(fixture_claim(db, "down", "queued", 9, 60000, claimed),
			 0);
	report("down", 0, 1);
	assert_int_equal(fixture_claim(db, "down", "queued", 9, 60000, claimed),
			 8);
}

/* An outage makes many of them, and where nobody can be asked about them each
 * would keep the door shut for a lease. */
static void a_lost_start_probes_only_when_nothing_else_is_due(void **state)
{
	static const char *const params[] = { "{back,back}",
					      "{start_unknown,queued}", "{9,9}",
					      "60000" };
	static const char *const expected[] = { "queued", "start_unknown" };
	struct pipeline many;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('back')");
	fixture_submit(db, "back", "fail", &(const struct shape){ 3, NULL, 0 },
		       &many);
	fixture_bring(db, many.job[0], "back", JOB_START_UNKNOWN);
	fixture_bring(db, many.job[1], "back", JOB_START_UNKNOWN);
	fixture_sql("UPDATE execution_jobs SET lease_until = NULL, "
		    "next_poll_at = now() - CASE status WHEN 'queued' "
		    "THEN interval '1 s' ELSE interval '1 min' END "
		    "WHERE provider = 'back';"
		    "INSERT INTO provider_gates (name, failures, open_until) "
		    "VALUES ('back', 5, now() - interval '1 s')");
	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		struct fault fault = { "" };

		if (db_run(db, DB_job_claim, params, &rows, &fault) != 0)
			fail_msg("%s", fault.text);
		assert_int_equal(db_rows(rows), 1);
		assert_int_equal(
			fixture_number("SELECT count(*) FROM execution_jobs "
				       "WHERE provider = 'back' AND "
				       "lease_until > now() AND status = '%s'",
				       expected[i]),
			1);
		fixture_sql("UPDATE provider_gates SET probing_until = NULL "
			    "WHERE name = 'back'");
	}
	fixture_check_invariants();
}

static int claim_strays(int32_t *ret_tries)
{
	static const char *const params[] = { "9", "60000" };
	_cleanup_(arena_freep) struct arena *arena = arena_new(8192);
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };
	struct db_row row;

	if (db_run(db, DB_start_claim_stray, params, &rows, &fault) != 0)
		fail_msg("%s", fault.text);
	if (db_rows(rows) > 0) {
		row = db_row(rows, 0, arena);
		*ret_tries = db_row_int32(&row, "cancel_tries");
		assert_string_equal(db_row_text(&row, "model"), "a/b");
	}
	return db_rows(rows);
}

static void strays_are_due(void)
{
	fixture_sql("UPDATE job_starts SET cancel_at = now() "
		    "WHERE provider = 'astray'");
}

/* An outage must not use up the tries of what goes on and costs money. */
static void strays_wait_for_a_breaker_and_lose_no_try(void **state)
{
	struct pipeline many;
	int32_t tries = 0;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('astray')");
	fixture_submit(db, "astray", "fail",
		       &(const struct shape){ 1, NULL, 0 }, &many);
	fixture_bring(db, many.job[0], "astray", JOB_PROCESSING);
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 1); /* no row for a gate yet */
	assert_int_equal(tries, 1);
	assert_int_equal(claim_strays(&tries), 0);

	fixture_sql("INSERT INTO provider_gates (name, failures, open_until) "
		    "VALUES ('astray', 5, now() + interval '1 min')");
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 0);
	assert_int_equal(fixture_number("SELECT count(*) FROM job_starts JOIN "
					"provider_gates ON name = provider "
					"WHERE provider = 'astray' AND "
					"cancel_at = open_until AND "
					"cancel_tries = 1"),
			 1);

	/* somebody probes */
	fixture_sql("UPDATE provider_gates SET open_until = now() - interval "
		    "'1 s', probing_until = now() + interval '1 min' WHERE "
		    "name = 'astray'");
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 0);

	/* nobody does, so it may be tried, but that does not count */
	fixture_sql("UPDATE provider_gates SET probing_until = NULL "
		    "WHERE name = 'astray'");
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 1);
	assert_int_equal(tries, 1);

	/* a provider that is gone for good is not asked for ever */
	fixture_sql("UPDATE job_starts SET started_at = now() - interval "
		    "'25 hours' WHERE provider = 'astray'");
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 1);
	assert_int_equal(tries, 2);

	fixture_sql("UPDATE job_starts SET started_at = now() WHERE provider = "
		    "'astray'; UPDATE provider_gates SET open_until = NULL, "
		    "failures = 0 WHERE name = 'astray'");
	strays_are_due();
	assert_int_equal(claim_strays(&tries), 1);
	assert_int_equal(tries, 3);
	fixture_check_invariants();
}

static void a_dead_pollers_queued_jobs_give_their_slots_back(void **state)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct claimed claimed[4];
	struct pipeline many;
	struct fault fault = { "" };

	(void)state;
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('dead', 2)");
	fixture_submit(db, "dead", "fail", &(const struct shape){ 4, NULL, 0 },
		       &many);
	assert_int_equal(fixture_claim(db, "dead", "queued", 4, 60000, claimed),
			 2);
	assert_int_equal(fixture_claim(db, "dead", "queued", 4, 60000, claimed),
			 0);
	fixture_sql("UPDATE execution_jobs SET lease_until = now() - interval "
		    "'1 s', next_poll_at = now() - interval '1 s' WHERE "
		    "provider = 'dead' AND lease_until IS NOT NULL");
	if (db_run(db, DB_job_release_expired, NULL, &rows, &fault) != 0)
		fail_msg("%s", fault.text);
	fixture_check_invariants();
	assert_int_equal(fixture_claim(db, "dead", "queued", 4, 60000, claimed),
			 2);
}

/* Whoever stores its result need not look. */
static void a_claim_says_whether_nobody_waits(void **state)
{
	const struct edge edge = { 0, 1 };
	struct claimed claimed[2];
	struct pipeline one;

	(void)state;
	fixture_submit(db, "family", "fail",
		       &(const struct shape){ 3, &edge, 1 }, &one);
	for (size_t i = 0; i < 3; i += 2)
		fixture_bring(db, one.job[i], "family", JOB_STORING);
	assert_int_equal(
		fixture_claim(db, "family", "storing", 2, 60000, claimed), 2);
	for (size_t i = 0; i < 2; i++)
		CHECK_NUMBER(claimed[i].id, claimed[i].childless,
			     strcmp(claimed[i].id, one.job[2]) == 0);
}

static int64_t overdue(void)
{
	static const char *const params[] = { "100" };
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };

	if (db_run(db, DB_job_overdue, params, &rows, &fault) != 0)
		fail_msg("%s", fault.text);
	return db_rows(rows);
}

static void what_no_lane_can_take_is_found_when_its_time_is_over(void **state)
{
	static const struct {
		const char *what;
		enum job_state in;
		const char *set; /* beside a deadline that was an hour ago */
		int64_t found;
	} cases[] = {
		{ "queued", JOB_QUEUED, "lease_until = NULL", 1 },
		{ "queued, in somebody's hands", JOB_QUEUED,
		  "lease_until = now() + interval '1 min'", 0 },
		{ "queued, in dead hands", JOB_QUEUED,
		  "lease_until = now() - interval '1 s'", 1 },
		{ "queued, in time", JOB_QUEUED,
		  "lease_until = NULL, deadline_at = now() + interval '1 h'",
		  0 },
		{ "queued, in time, to be cancelled", JOB_QUEUED,
		  "lease_until = NULL, deadline_at = now() + interval '1 h', "
		  "cancel_requested_at = now()",
		  1 },
		{ "to be cancelled, in somebody's hands", JOB_QUEUED,
		  "lease_until = now() + interval '1 min', "
		  "cancel_requested_at = now()",
		  0 },
		{ "rendering", JOB_PROCESSING, "lease_until = NULL", 1 },
		{ "rendering, somebody asks", JOB_PROCESSING,
		  "lease_until = now() + interval '1 min'", 0 },
		{ "rendering, just now", JOB_PROCESSING,
		  "lease_until = NULL, deadline_at = now()", 0 },
		{ "start unknown", JOB_START_UNKNOWN, "lease_until = NULL", 1 },
		{ "storing is not", JOB_STORING, "lease_until = NULL", 0 },
	};
	struct pipeline one;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('slow')");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		fixture_submit(db, "slow", "fail",
			       &(const struct shape){ 1, NULL, 0 }, &one);
		fixture_bring(db, one.job[0], "slow", cases[i].in);
		fixture_sql("UPDATE execution_jobs SET next_poll_at = now(), "
			    "deadline_at = now() - interval '1 h' "
			    "WHERE id = '%s'",
			    one.job[0]);
		fixture_sql("UPDATE execution_jobs SET %s WHERE id = '%s'",
			    cases[i].set, one.job[0]);
		CHECK_NUMBER(cases[i].what, overdue(), cases[i].found);
		fixture_sql("DELETE FROM executions WHERE id = '%s'",
			    one.execution);
	}
}

static void a_wrong_slot_counter_is_repaired(void **state)
{
	static const enum db_query steps[] = {
		DB_transaction_begin,
		DB_provider_lock_slots,
		DB_provider_recount_slots,
		DB_transaction_commit,
	};
	struct pipeline one;

	(void)state;
	/* In flight before anybody set a limit: not counted yet. */
	fixture_submit(db, "late", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "late", JOB_PROCESSING);
	fixture_sql("INSERT INTO providers (name, max_concurrent, in_use) "
		    "VALUES ('late', 5, 4)");
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		struct fault fault = { "" };

		if (db_run(db, steps[i], NULL, &rows, &fault) != 0)
			fail_msg("%s", fault.text);
	}
	assert_int_equal(fixture_number("SELECT in_use FROM providers WHERE "
					"name = 'late'"),
			 1);
	fixture_check_invariants();
}

/* Everything below was written while the clock was a month ahead. */
static void a_clock_that_was_set_back_delays_nothing(void **state)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	static const char *const params[] = { "500", "7200000" };
	struct claimed claimed[4];
	struct fault fault = { "" };
	struct pipeline jobs;

	(void)state;
	fixture_sql("INSERT INTO providers (name) VALUES ('month');"
		    "INSERT INTO provider_gates (name, rate_starts, "
		    "rate_period_s, tokens, tokens_at, failures, "
		    "failing_since, open_until) VALUES ('month', 100, 1, 0, "
		    "now() + interval '30 days', 9, now() + interval '30 days',"
		    "now() + interval '30 days')");
	fixture_submit(db, "month", "fail", &(const struct shape){ 3, NULL, 0 },
		       &jobs);
	fixture_bring(db, jobs.job[1], "month", JOB_PROCESSING);
	fixture_sql("UPDATE execution_jobs SET lease_until = now() + interval "
		    "'30 days' WHERE id = '%s'",
		    jobs.job[1]);
	fixture_sql("UPDATE execution_jobs SET next_poll_at = now() + interval "
		    "'30 days' WHERE provider = 'month'");
	/* as far ahead as it may be: it stays as it is planned */
	fixture_sql("UPDATE execution_jobs SET next_poll_at = now() + interval "
		    "'119 minutes' WHERE id = '%s'",
		    jobs.job[2]);
	assert_int_equal(
		fixture_claim(db, "month", "queued", 4, 60000, claimed), 0);

	if (db_run(db, DB_job_replan, params, &rows, &fault) != 0)
		fail_msg("%s", fault.text);
	assert_int_equal(fixture_number("SELECT count(*) FROM execution_jobs "
					"WHERE provider = 'month' AND "
					"next_poll_at > now()"),
			 1);
	assert_int_equal(fixture_number("SELECT count(*) FROM execution_jobs "
					"WHERE provider = 'month' AND "
					"lease_until > now()"),
			 0);
	/* the breaker has been open long enough: one probe */
	assert_int_equal(
		fixture_claim(db, "month", "processing", 4, 60000, claimed), 1);
	fixture_sql("UPDATE provider_gates SET open_until = NULL, "
		    "probing_until = NULL, failures = 0, "
		    "tokens_at = now() - interval '1 s' WHERE name = 'month'");
	assert_int_equal(
		fixture_claim(db, "month", "queued", 4, 60000, claimed), 1);
	assert_string_equal(claimed[0].id, jobs.job[0]);
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_job_is_claimed_twice),
		cmocka_unit_test(slots_are_never_exceeded),
		cmocka_unit_test(a_rate_holds_for_all_pollers_together),
		cmocka_unit_test(a_breaker_opens_probes_and_closes),
		cmocka_unit_test(strays_wait_for_a_breaker_and_lose_no_try),
		cmocka_unit_test(
			a_lost_start_probes_only_when_nothing_else_is_due),
		cmocka_unit_test(
			a_dead_pollers_queued_jobs_give_their_slots_back),
		cmocka_unit_test(a_claim_says_whether_nobody_waits),
		cmocka_unit_test(
			what_no_lane_can_take_is_found_when_its_time_is_over),
		cmocka_unit_test(a_wrong_slot_counter_is_repaired),
		cmocka_unit_test(a_clock_that_was_set_back_delays_nothing),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
