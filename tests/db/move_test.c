/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <stdlib.h>

/* The one writer of transitions, on one connection. */

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

static void check_status(const char *id, const char *want)
{
	char *status = fixture_text(
		"SELECT status FROM execution_jobs WHERE id = '%s'", id);

	CHECK_TEXT(id, status, want);
	free(status);
}

static void every_state_can_be_stored(void **state)
{
	struct pipeline one;

	(void)state;
	fixture_submit(db, "states", "fail",
		       &(const struct shape){ 1, NULL, 0 }, &one);
	for (int i = 1; i < JOB_STATE_MAX; i++) {
		const char *name = job_state_name((enum job_state)i);

		fixture_sql(
			"BEGIN; UPDATE execution_jobs SET status = '%s', "
			"needs_left = ('%s' = 'waiting')::int, attempt = 1, "
			"provider_job_id = 'p', media_source = '[]', "
			"unknown_since = now(), error_code = 'e', billed = "
			"'no', next_poll_at = CASE WHEN '%s' = 'waiting' THEN "
			"NULL ELSE now() END, completed_at = CASE WHEN "
			"job_is_terminal('%s') THEN now() END WHERE id = '%s'; "
			"ROLLBACK",
			name, name, name, name, one.job[0]);
	}
	fixture_number("SELECT 1");
}

static void a_job_lives_from_queued_to_completed(void **state)
{
	struct pipeline one;

	(void)state;
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('life', 2)");
	fixture_submit(db, "life", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "life", JOB_PROCESSING);
	assert_int_equal(fixture_number("SELECT in_use FROM providers "
					"WHERE name = 'life'"),
			 1);
	fixture_check_invariants();
	{
		struct move move = fixture_move(one.job[0], JOB_PROCESSING,
						JOB_RENDERED, MOVE_ANY);

		move.output = "{\"video\": 1}";
		move.via = "webhook";
		assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	}
	assert_int_equal(fixture_number("SELECT in_use FROM providers "
					"WHERE name = 'life'"),
			 0);
	{
		struct move move = fixture_move(one.job[0], JOB_STORING,
						JOB_STORED, MOVE_ANY);

		move.media = "[{\"index\": 0, \"key\": \"k\", \"url\": \"u\", "
			     "\"content_type\": \"video/mp4\", \"bytes\": 3, "
			     "\"sha256\": \"000102030405060708090a0b0c0d0e0f"
			     "000102030405060708090a0b0c0d0e0f\"}]";
		assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	}
	check_status(one.job[0], "completed");
	assert_int_equal(fixture_number("SELECT count(*) FROM media WHERE "
					"job_id = '%s' AND attempt = 1",
					one.job[0]),
			 1);
	assert_int_equal(fixture_number("SELECT count(*) FROM job_events "
					"WHERE job_id = '%s'",
					one.job[0]),
			 5);
	{
		char *status = fixture_text(
			"SELECT status FROM executions WHERE id = '%s'",
			one.execution);

		assert_string_equal(status, "completed");
		free(status);
	}
	fixture_check_invariants();
}

static void a_stale_worker_changes_nothing(void **state)
{
	struct claimed first[1], second[1];
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "fence", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	assert_int_equal(fixture_claim(db, "fence", "queued", 1, 60000, first),
			 1);
	fixture_sql("UPDATE execution_jobs SET lease_until = now(), "
		    "next_poll_at = now() WHERE id = '%s'",
		    one.job[0]);
	assert_int_equal(fixture_claim(db, "fence", "queued", 1, 60000, second),
			 1);
	assert_true(second[0].claim > first[0].claim);

	move = fixture_move(one.job[0], JOB_QUEUED, JOB_START, first[0].claim);
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);
	check_status(one.job[0], "queued");
	move.claim = second[0].claim;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	check_status(one.job[0], "starting");
}

static void an_old_version_changes_nothing(void **state)
{
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "version", "fail",
		       &(const struct shape){ 1, NULL, 0 }, &one);
	move = fixture_move(one.job[0], JOB_QUEUED, JOB_CANCEL, MOVE_ANY);
	move.version = 7;
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);
	move.version = 1;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	check_status(one.job[0], "cancelled");
}

static void a_paid_id_is_kept_by_a_move_that_is_lost(void **state)
{
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "paid", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "paid", JOB_STARTING);
	move = fixture_move(one.job[0], JOB_STARTING, JOB_RENDERED, MOVE_ANY);
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);

	move = fixture_move(one.job[0], JOB_STARTING, JOB_ACCEPTED, MOVE_ANY);
	move.attempt = 1;
	move.provider_job_id = "late-answer";
	move.start_outcome = "accepted";
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);
	assert_int_equal(fixture_number("SELECT count(*) FROM job_starts WHERE "
					"job_id = '%s' AND provider_job_id = "
					"'late-answer'",
					one.job[0]),
			 1);
	check_status(one.job[0], "storing");
}

/* Its webhook was faster, and the answer to the start is lost. */
static void that_a_start_was_taken_is_not_forgotten(void **state)
{
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "taken", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "taken", JOB_STARTING);
	move = fixture_move(one.job[0], JOB_STARTING, JOB_PROVIDER_FALTERED,
			    MOVE_ANY);
	move.attempt = 1;
	move.provider_job_id = "faltered";
	move.start_outcome = "accepted";
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);

	move = fixture_move(one.job[0], JOB_STARTING, JOB_START_LOST, MOVE_ANY);
	move.attempt = 1;
	move.start_outcome = "unknown";
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);
	assert_int_equal(fixture_number("SELECT count(*) FROM job_starts WHERE "
					"job_id = '%s' AND outcome = "
					"'accepted'",
					one.job[0]),
			 1);
	check_status(one.job[0], "queued");
}

/* It may come back to the state in which a worker claimed it, but not to that
 * worker: what it learned is about the time before. */
static void a_move_from_outside_fences_the_worker_off(void **state)
{
	struct claimed claimed[1];
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "outside", "fail",
		       &(const struct shape){ 1, NULL, 0 }, &one);
	fixture_bring(db, one.job[0], "outside", JOB_START_UNKNOWN);
	assert_int_equal(fixture_claim(db, "outside", "start_unknown", 1, 60000,
				       claimed),
			 1);
	/* one that leaves the state as it is does not */
	move = fixture_move(one.job[0], JOB_START_UNKNOWN, JOB_CANCEL,
			    MOVE_ANY);
	move.cancel = true;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_int_equal(fixture_number("SELECT claim FROM execution_jobs "
					"WHERE id = '%s'",
					one.job[0]),
			 claimed[0].claim);

	move = fixture_move(one.job[0], JOB_START_UNKNOWN, JOB_PROVIDER_FAILED,
			    MOVE_ANY);
	move.billed = "unknown";
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	move = fixture_move(one.job[0], JOB_FAILED, JOB_RETRY_RECONCILE,
			    MOVE_ANY);
	move.due_ms = 0;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	check_status(one.job[0], "start_unknown");

	move = fixture_move(one.job[0], JOB_START_UNKNOWN, JOB_GAVE_UP,
			    claimed[0].claim);
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);
	check_status(one.job[0], "start_unknown");
	fixture_check_invariants();
}

static void a_bad_move_fails_alone(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	enum { MOVES = 32, POISON = 13 };
	struct move moves[MOVES];
	struct move_result results[MOVES];
	struct pipeline many;
	struct fault fault = { "" };

	(void)state;
	fixture_submit(db, "poison", "fail",
		       &(const struct shape){ MOVES, NULL, 0 }, &many);
	for (size_t i = 0; i < MOVES; i++)
		moves[i] = fixture_move(many.job[i], JOB_QUEUED, JOB_CANCEL,
					MOVE_ANY);
	moves[POISON].billed = "maybe"; /* the schema's CHECK refuses it */
	assert_int_equal(
		moves_apply(db,
			    &(const struct move_batch){ moves, MOVES, false },
			    arena, results, NULL, &fault),
		0);
	for (size_t i = 0; i < MOVES; i++)
		assert_int_equal(results[i].outcome,
				 i == POISON ? MOVE_BAD : MOVE_DONE);
	check_status(many.job[POISON], "queued");
	fixture_check_invariants();
}

static void two_moves_of_one_job_do_not_both_win(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct move moves[2];
	struct move_result results[2];
	struct pipeline one;
	struct fault fault = { "" };

	(void)state;
	fixture_submit(db, "twice", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	moves[0] = fixture_move(one.job[0], JOB_QUEUED, JOB_CANCEL, MOVE_ANY);
	moves[1] = fixture_move(one.job[0], JOB_QUEUED, JOB_DEADLINE, MOVE_ANY);
	assert_int_equal(
		moves_apply(db, &(const struct move_batch){ moves, 2, false },
			    arena, results, NULL, &fault),
		0);
	assert_int_equal(results[0].outcome, MOVE_DONE);
	assert_int_equal(results[1].outcome, MOVE_LOST);
	check_status(one.job[0], "cancelled");
	fixture_check_invariants();
}

static void asking_to_cancel_leaves_a_lease_alone(void **state)
{
	struct claimed claimed[1];
	struct pipeline one;
	struct move move;

	(void)state;
	fixture_submit(db, "flag", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "flag", JOB_PROCESSING);
	assert_int_equal(
		fixture_claim(db, "flag", "processing", 1, 60000, claimed), 1);
	move = fixture_move(one.job[0], JOB_PROCESSING, JOB_CANCEL, MOVE_ANY);
	move.cancel = true;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_int_equal(fixture_number("SELECT (lease_until > now() + "
					"interval '50 s')::int FROM "
					"execution_jobs WHERE id = '%s'",
					one.job[0]),
			 1);

	/* The worker that did not know of it makes the job due at once. */
	move = fixture_move(one.job[0], JOB_PROCESSING, JOB_PROGRESS,
			    claimed[0].claim);
	move.due_ms = 3600000;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_int_equal(fixture_number("SELECT (next_poll_at <= now())::int "
					"FROM execution_jobs WHERE id = '%s'",
					one.job[0]),
			 1);
}

/* A question whose answer brings nothing new is written by a statement of its
 * own, which leaves the row as job_move would. */
static void a_question_is_written_like_a_move(void **state)
{
	static const char columns[] =
		"SELECT to_jsonb(job) - '{id, name, position, created_at, "
		"started_at, deadline_at, next_poll_at, updated_at, "
		"provider_job_id}'::text[] || jsonb_build_object('due', "
		"round(extract(epoch FROM next_poll_at - now()))) "
		"FROM execution_jobs AS job WHERE id = '%s'";
	struct pipeline two;
	struct claimed claimed[2];
	char *text[2];

	(void)state;
	fixture_submit(db, "asked", "fail", &(const struct shape){ 2, NULL, 0 },
		       &two);
	for (size_t i = 0; i < 2; i++)
		fixture_bring(db, two.job[i], "asked", JOB_PROCESSING);
	fixture_sql("UPDATE execution_jobs SET error_code = 'x', error_message "
		    "= 'y', start_failures = 2 WHERE provider = 'asked'");
	assert_int_equal(
		fixture_claim(db, "asked", "processing", 2, 60000, claimed), 2);
	for (size_t i = 0; i < 2; i++) {
		struct move move = fixture_move(claimed[i].id, JOB_PROCESSING,
						JOB_PROGRESS, claimed[i].claim);

		move.quiet = true;
		move.due_ms = 3600000;
		move.poll_attempts = 7;
		move.start_failures = 0;
		move.progress = 0.5;
		move.saw_cancel = true;
		if (i == 1) /* which is a matter for job_move */
			move.version = fixture_number(
				"SELECT version FROM execution_jobs WHERE id = "
				"'%s'",
				claimed[i].id);
		assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
		text[i] = fixture_text(columns, claimed[i].id);
	}
	assert_string_equal(text[0], text[1]);
	free(text[0]);
	free(text[1]);
}

/* Where a move leaves something, without what differs between two jobs. */
static const char *const traces[] = {
	"SELECT to_jsonb(job) - '{id, execution_id, provider_job_id, "
	"created_at, started_at, deadline_at, next_poll_at, "
	"completed_at}'::text[] || jsonb_build_object('due', next_poll_at IS "
	"NOT NULL, 'ended', completed_at IS NOT NULL) FROM execution_jobs AS "
	"job WHERE id = '%s'",
	"SELECT jsonb_agg(to_jsonb(line) - '{id, job_id, at}'::text[] ORDER "
	"BY id) FROM job_events AS line WHERE job_id = '%s'",
	"SELECT jsonb_agg(to_jsonb(file) - '{job_id, created_at}'::text[]) "
	"FROM media AS "
	"file WHERE job_id = '%s'",
	"SELECT jsonb_agg(to_jsonb(inbox) - '{job_id, received_at}'::text[]) "
	"FROM "
	"webhook_inbox AS inbox WHERE job_id = '%s'",
	"SELECT to_jsonb(start) - '{job_id, provider_job_id, started_at, "
	"answered_at}'::text[] FROM job_starts AS start WHERE job_id = '%s'",
	"SELECT to_jsonb(execution) - '{id, created_at, completed_at}'::text[] "
	"FROM executions AS execution JOIN execution_jobs AS job ON "
	"execution.id = execution_id WHERE job.id = '%s'",
	"SELECT jsonb_agg(jsonb_build_array(child.status, child.version, "
	"child.needs_left, child.error_code, child.next_poll_at IS NULL)) FROM "
	"job_dependencies JOIN execution_jobs AS child ON child.id = child_id "
	"WHERE parent_id = '%s'",
	"SELECT in_use FROM providers AS provider JOIN execution_jobs AS job "
	"ON provider = provider.name WHERE job.id = '%s'",
};

/* One move, by the form of the statement that is made for it, or by the whole,
 * which takes sets. */
static void end_by(const char *id, enum job_state was, enum job_event event,
		   bool childless, bool whole)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct move move = fixture_move(id, was, event, MOVE_ANY);
	struct move_result result;
	struct fault fault = { "" };

	move.childless = childless;
	if (was == JOB_PROCESSING)
		move.delivery_key = "d1";
	assert_int_equal(
		moves_apply(db, &(const struct move_batch){ &move, 1, whole },
			    arena, &result, NULL, &fault),
		0);
	assert_int_equal(result.outcome, MOVE_DONE);
}

static void a_short_form_writes_what_the_whole_does(void **state)
{
	static const struct {
		const char *what;
		enum job_state was;
		enum job_event event;
		size_t jobs; /* the second depends on the first */
	} cases[] = {
		{ "the last", JOB_STORING, JOB_STORED, 1 },
		{ "the last, failed", JOB_STORING, JOB_STORE_FAILED, 1 },
		{ "one that others wait for", JOB_STORING, JOB_STORED, 2 },
		{ "failed by webhook", JOB_PROCESSING, JOB_PROVIDER_FAILED, 1 },
		{ "... others wait", JOB_PROCESSING, JOB_PROVIDER_FAILED, 2 },
	};

	(void)state;
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('forms', 9)");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct edge edge = { 0, 1 };
		const struct shape shape = { cases[i].jobs, &edge,
					     cases[i].jobs - 1 };
		struct pipeline by[2];

		for (size_t k = 0; k < 2; k++) {
			fixture_submit(db, "forms", "fail", &shape, &by[k]);
			fixture_bring(db, by[k].job[0], "forms", cases[i].was);
			end_by(by[k].job[0], cases[i].was, cases[i].event,
			       cases[i].jobs == 1, k == 1);
			/* Or the next claim would take what was released. */
			fixture_sql("UPDATE execution_jobs SET next_poll_at = "
				    "now() + interval '1 hour' WHERE provider "
				    "= 'forms' AND status = 'queued'");
		}
		for (size_t k = 0; k < COUNT_OF(traces); k++) {
			char *shorter = fixture_text(traces[k], by[0].job[0]);
			char *whole = fixture_text(traces[k], by[1].job[0]);

			CHECK_TEXT(cases[i].what, shorter, whole);
			free(shorter);
			free(whole);
		}
	}
	fixture_check_invariants();
}

static void a_question_obeys_claim_cancel_and_deadline(void **state)
{
	static const char due[] = "SELECT round(extract(epoch FROM "
				  "next_poll_at - now()))::bigint "
				  "FROM execution_jobs WHERE id = '%s'";
	struct pipeline one;
	struct claimed claimed[1];
	struct move move;

	(void)state;
	fixture_submit(db, "obeys", "fail", &(const struct shape){ 1, NULL, 0 },
		       &one);
	fixture_bring(db, one.job[0], "obeys", JOB_PROCESSING);
	assert_int_equal(
		fixture_claim(db, "obeys", "processing", 1, 60000, claimed), 1);
	move = fixture_move(one.job[0], JOB_PROCESSING, JOB_PROGRESS,
			    claimed[0].claim - 1);
	move.quiet = true;
	move.due_ms = 3600000;
	move.poll_attempts = 1;
	move.start_failures = 0;
	assert_int_equal(fixture_apply(db, &move), MOVE_LOST);

	move.claim = claimed[0].claim;
	fixture_sql("UPDATE execution_jobs SET deadline_at = now() + interval "
		    "'100 s' WHERE id = '%s'",
		    one.job[0]);
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_in_range(fixture_number(due, one.job[0]), 90, 100);

	fixture_sql("UPDATE execution_jobs SET cancel_requested_at = now() "
		    "WHERE id = '%s'",
		    one.job[0]);
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_in_range(fixture_number(due, one.job[0]) + 5, 0, 5);
	move.saw_cancel = true;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
	assert_in_range(fixture_number(due, one.job[0]), 90, 100);

	/* What the statement refuses is looked at by the other. */
	move.progress = 2;
	assert_int_equal(fixture_apply(db, &move), MOVE_BAD);
}

/* The start did not come to anything and is not to be sent again, or nobody
 * knows and it is to be looked for: whoever found that out did not know yet
 * that it is to be cancelled. */
static void what_is_to_be_cancelled_does_not_wait_for_its_turn(void **state)
{
	static const struct {
		enum job_state was;
		enum job_event event;
		const char *status;
	} cases[] = {
		{ JOB_STARTING, JOB_THROTTLED, "queued" },
		{ JOB_STARTING, JOB_START_LOST, "start_unknown" },
		{ JOB_START_UNKNOWN, JOB_NOT_FOUND_YET, "start_unknown" },
		{ JOB_START_UNKNOWN, JOB_NO_ANSWER, "start_unknown" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		enum job_state was = cases[i].was;
		struct pipeline one;
		struct move move;

		fixture_submit(db, "turn", "fail",
			       &(const struct shape){ 1, NULL, 0 }, &one);
		fixture_bring(db, one.job[0], "turn", was);
		move = fixture_move(one.job[0], was, JOB_CANCEL, MOVE_ANY);
		move.cancel = true;
		assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
		move = fixture_move(one.job[0], was, cases[i].event, MOVE_ANY);
		move.due_ms = 3600000;
		assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
		CHECK_NUMBER(job_event_name(cases[i].event),
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND status = '%s' AND "
					    "next_poll_at <= now() AND "
					    "cancel_requested_at IS NOT NULL",
					    one.job[0], cases[i].status),
			     1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_can_be_stored),
		cmocka_unit_test(a_job_lives_from_queued_to_completed),
		cmocka_unit_test(a_stale_worker_changes_nothing),
		cmocka_unit_test(an_old_version_changes_nothing),
		cmocka_unit_test(a_paid_id_is_kept_by_a_move_that_is_lost),
		cmocka_unit_test(that_a_start_was_taken_is_not_forgotten),
		cmocka_unit_test(a_move_from_outside_fences_the_worker_off),
		cmocka_unit_test(a_bad_move_fails_alone),
		cmocka_unit_test(two_moves_of_one_job_do_not_both_win),
		cmocka_unit_test(asking_to_cancel_leaves_a_lease_alone),
		cmocka_unit_test(a_question_is_written_like_a_move),
		cmocka_unit_test(a_short_form_writes_what_the_whole_does),
		cmocka_unit_test(a_question_obeys_claim_cancel_and_deadline),
		cmocka_unit_test(
			what_is_to_be_cancelled_does_not_wait_for_its_turn),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
