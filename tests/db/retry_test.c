/* SPDX-License-Identifier: MIT */
#include "common/flow/retry.h"

#include "common/flow/cancel.h"
#include "tests/db/fixture.h"

#include <stdlib.h>

/* Cancelling and retrying, with what hangs on a job. */

static struct db *db;
static struct arena *arena;

static int start(void **state)
{
	(void)state;
	db = fixture_open();
	arena = arena_new(64 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	db = db_close(db);
	arena = arena_free(arena);
	return 0;
}

/* A word a job, in the order of the pipeline. */
static void check_states(const char *name, const struct pipeline *pipeline,
			 const char *want)
{
	char *states = fixture_text(
		"SELECT string_agg(status, ' ' ORDER BY position) FROM "
		"execution_jobs WHERE execution_id = '%s'",
		pipeline->execution);

	CHECK_TEXT(name, states, want);
	free(states);
}

static int retry(const char *id, struct retried *ret)
{
	struct fault fault = { "" };
	int r = retry_job(db, id, "tester", arena, ret, &fault);

	if (r < 0)
		fail_msg("%s", fault.text);
	return r;
}

static int cancel(const char *id, struct cancelled *ret)
{
	struct fault fault = { "" };
	int r = cancel_job(db, id, "tester", arena, ret, &fault);

	if (r < 0)
		fail_msg("%s", fault.text);
	return r;
}

static void fail_job(const char *id, enum job_state was, const char *code,
		     const char *billed)
{
	struct move move = fixture_move(
		id, was,
		was == JOB_STORING ? JOB_STORE_FAILED : JOB_PROVIDER_FAILED,
		MOVE_ANY);

	move.error_code = code;
	move.billed = billed;
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
}

/* Tell its dependents, as the poller would. */
static void settle(const char *id, enum job_state ended)
{
	struct job_decision decision;
	struct move move;

	assert_int_equal(job_decide(ended, JOB_SETTLED, &decision), 0);
	move = move_init(id, JOB_SETTLED, ended, &decision);
	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
}

/* a -> b -> c, and d beside them. */
static const struct edge chain[] = { { 0, 1 }, { 1, 2 } };

static void make(const char *policy, struct pipeline *ret)
{
	fixture_submit(db, "retry", policy,
		       &(const struct shape){ 4, chain, COUNT_OF(chain) }, ret);
}

/* ---- cancelling --------------------------------------------------------- */

static void a_job_is_cancelled_in_each_state(void **state)
{
	static const struct {
		enum job_state in;
		int r;
		enum job_state becomes;
		bool asked; /* the provider is to be asked */
	} cases[] = {
		{ JOB_QUEUED, 0, JOB_CANCELLED, false },
		{ JOB_STARTING, 0, JOB_STARTING, true },
		{ JOB_START_UNKNOWN, 0, JOB_START_UNKNOWN, true },
		{ JOB_PROCESSING, 0, JOB_PROCESSING, true },
		{ JOB_STORING, 0, JOB_CANCELLED, false },
		{ JOB_COMPLETED, CANCEL_E_ENDED, JOB_COMPLETED, false },
		{ JOB_FAILED, CANCEL_E_ENDED, JOB_FAILED, false },
		{ JOB_CANCELLED, 0, JOB_CANCELLED, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *name = job_state_name(cases[i].in);
		struct cancelled cancelled;
		struct pipeline one;

		fixture_submit(db, "cancel", "fail",
			       &(const struct shape){ 1, NULL, 0 }, &one);
		fixture_bring(db, one.job[0], "cancel", cases[i].in);
		for (int again = 0; again < 2; again++) {
			CHECK_NUMBER(name, cancel(one.job[0], &cancelled),
				     cases[i].r);
			CHECK_NUMBER(name, cancelled.state, cases[i].becomes);
			check_states(name, &one,
				     job_state_name(cases[i].becomes));
		}
		CHECK_NUMBER(name,
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND cancel_requested_at IS NOT "
					    "NULL AND NOT job_is_terminal("
					    "status)",
					    one.job[0]),
			     cases[i].asked);
	}
	fixture_check_invariants();
}

static void strangers_cancel_and_retry_nothing(void **state)
{
	struct cancelled cancelled;
	struct retried retried;
	struct pipeline one;
	struct fault fault;

	(void)state;
	make("fail", &one);
	CHECK_NUMBER("cancel",
		     cancel_job(db, one.job[0], "stranger", arena, &cancelled,
				&fault),
		     CANCEL_E_NOT_FOUND);
	CHECK_NUMBER(
		"retry",
		retry_job(db, one.job[0], "stranger", arena, &retried, &fault),
		RETRY_E_NOT_FOUND);
	check_states("untouched", &one, "queued waiting waiting queued");
}

static void an_execution_is_cancelled_children_first(void **state)
{
	enum { JOBS = 1000 };
	static struct edge edges[JOBS];
	struct pipeline one, *many = arena_alloc(arena, sizeof(*many));
	struct fault fault = { "" };
	bool wake;

	(void)state;
	make("fail", &one);
	fixture_bring(db, one.job[3], "retry", JOB_PROCESSING);
	CHECK_NUMBER("small",
		     cancel_execution(db, one.execution, &wake, &fault), 0);
	/* nobody failed because of the one above */
	check_states("small", &one, "cancelled cancelled cancelled processing");
	CHECK("wakes", wake);
	CHECK_NUMBER("again",
		     cancel_execution(db, one.execution, &wake, &fault), 0);
	CHECK("sleeps", !wake);

	/* parents behind children: the order of the rows must not matter */
	for (size_t i = 0; i + 1 < JOBS; i++)
		edges[i] = (struct edge){ JOBS - 1 - i, JOBS - 2 - i };
	fixture_submit(db, "retry", "fail",
		       &(const struct shape){ JOBS, edges, JOBS - 1 }, many);
	CHECK_NUMBER("chain",
		     cancel_execution(db, many->execution, &wake, &fault), 0);
	CHECK_NUMBER("chain",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "execution_id = '%s' AND status = "
				    "'cancelled'",
				    many->execution),
		     JOBS);
	CHECK_NUMBER("execution",
		     fixture_number("SELECT count(*) FROM executions WHERE id "
				    "= '%s' AND status = 'cancelled'",
				    many->execution),
		     1);
	fixture_check_invariants();
}

/* ---- retrying ----------------------------------------------------------- */

static void a_retry_revives_what_the_failure_stopped(void **state)
{
	static const struct {
		const char *policy;
		const char *stopped; /* right after the failure */
	} cases[] = {
		{ "fail", "failed failed failed queued" },
		{ "skip", "failed skipped skipped queued" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct retried retried;
		struct pipeline one;

		make(cases[i].policy, &one);
		fixture_bring(db, one.job[0], "retry", JOB_PROCESSING);
		fail_job(one.job[0], JOB_PROCESSING, "provider_failed", "no");
		/* the second generation, as the poller would */
		settle(one.job[1], i == 0 ? JOB_FAILED : JOB_SKIPPED);
		check_states(cases[i].policy, &one, cases[i].stopped);

		CHECK_NUMBER("b", retry(one.job[1], &retried),
			     RETRY_E_DEPENDENCY);
		CHECK_TEXT("b", retried.blocker, one.job[0]);
		CHECK_NUMBER("c", retry(one.job[2], &retried),
			     RETRY_E_DEPENDENCY);
		CHECK_TEXT("c", retried.blocker, one.job[0]);

		CHECK_NUMBER("a", retry(one.job[0], &retried), 0);
		CHECK_NUMBER("a", retried.state, JOB_QUEUED);
		CHECK_NUMBER("revived", retried.revived, 2);
		check_states(cases[i].policy, &one,
			     "queued waiting waiting queued");
		CHECK_NUMBER("another try is allowed",
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND max_attempts > attempt AND "
					    "start_failures = 0 AND falters = "
					    "0",
					    one.job[0]),
			     1);
		fixture_check_invariants();
		CHECK_NUMBER("not twice", retry(one.job[0], &retried),
			     RETRY_E_STATE);
	}
}

static void a_start_that_may_be_paid_is_looked_for(void **state)
{
	struct retried retried;
	struct pipeline one;

	(void)state;
	make("fail", &one);
	fixture_bring(db, one.job[0], "retry", JOB_PROCESSING);
	fixture_sql("UPDATE job_starts SET provider_job_id = 'paid-%s' WHERE "
		    "job_id = '%s'",
		    one.job[0], one.job[0]);
	fail_job(one.job[0], JOB_PROCESSING, "may_have_been_billed", "unknown");
	/* nobody waited for it, until now */
	fixture_sql("UPDATE job_starts SET cancel_at = now() WHERE job_id = "
		    "'%s'",
		    one.job[0]);
	CHECK_NUMBER("retry", retry(one.job[0], &retried), 0);
	CHECK_NUMBER("state", retried.state, JOB_START_UNKNOWN);
	CHECK_NUMBER("it is not cancelled",
		     fixture_number("SELECT count(*) FROM job_starts WHERE "
				    "job_id = '%s' AND cancel_at IS NULL",
				    one.job[0]),
		     1);
	CHECK_NUMBER("what is known is kept",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND restart_if_absent AND "
				    "provider_job_id = 'paid-%s' AND "
				    "next_poll_at <= now() AND unknown_since "
				    "IS NOT NULL",
				    one.job[0], one.job[0]),
		     1);
	fixture_check_invariants();
}

/* What is found at the provider may be taken unless it is somebody else's. */
static void what_was_found_is_not_taken_from_itself(void **state)
{
	static const struct {
		size_t job;
		const char *attempt;
		int rows;
	} cases[] = { { 0, "1", 0 }, { 0, "2", 1 }, { 1, "1", 1 } };
	struct pipeline two;

	(void)state;
	fixture_submit(db, "found", "fail", &(const struct shape){ 2, NULL, 0 },
		       &two);
	fixture_bring(db, two.job[0], "found", JOB_START_UNKNOWN);
	fixture_sql("UPDATE job_starts SET provider_job_id = 'found' WHERE "
		    "job_id = '%s'",
		    two.job[0]);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		const char *params[] = { "found", "{found}",
					 two.job[cases[i].job],
					 cases[i].attempt };
		struct fault fault = { "" };

		if (db_run(db, DB_start_known_ids, params, &rows, &fault) != 0)
			fail_msg("%s", fault.text);
		CHECK_NUMBER(cases[i].attempt, db_rows(rows), cases[i].rows);
	}
}

static void a_result_that_is_there_is_only_stored_again(void **state)
{
	static const struct {
		const char *code;
		enum job_state want;
	} cases[] = {
		{ "store_failed", JOB_STORING },
		{ "media_too_large", JOB_STORING },
		{ "media_expired", JOB_QUEUED }, /* it is gone */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct retried retried;
		struct pipeline one;

		fixture_submit(db, "retry", "fail",
			       &(const struct shape){ 1, NULL, 0 }, &one);
		fixture_bring(db, one.job[0], "retry", JOB_STORING);
		fail_job(one.job[0], JOB_STORING, cases[i].code, "yes");
		CHECK_NUMBER(cases[i].code, retry(one.job[0], &retried), 0);
		CHECK_NUMBER(cases[i].code, retried.state, cases[i].want);
	}
	fixture_check_invariants();
}

static void a_cancelled_job_waits_for_what_still_runs(void **state)
{
	struct cancelled cancelled;
	struct retried retried;
	struct pipeline one;

	(void)state;
	make("fail", &one);
	CHECK_NUMBER("cancel b", cancel(one.job[1], &cancelled), 0);
	check_states("cancelled", &one, "queued cancelled failed queued");
	CHECK_NUMBER("retry b", retry(one.job[1], &retried), 0);
	CHECK_NUMBER("waits", retried.state, JOB_WAITING);
	CHECK_NUMBER("c comes back", retried.revived, 1);
	check_states("retried", &one, "queued waiting waiting queued");
	fixture_check_invariants();

	/* cancelled, and what it waited for is cancelled as well */
	CHECK_NUMBER("cancel b", cancel(one.job[1], &cancelled), 0);
	CHECK_NUMBER("cancel a", cancel(one.job[0], &cancelled), 0);
	CHECK_NUMBER("retry b", retry(one.job[1], &retried),
		     RETRY_E_DEPENDENCY);
	CHECK_TEXT("blocker", retried.blocker, one.job[0]);
	CHECK_NUMBER("retry a", retry(one.job[0], &retried), 0);
	/* b was cancelled by its owner: it comes back only when asked to, and
	 * what counts its parents has already counted this one */
	check_states("a alone", &one, "queued cancelled failed queued");
	CHECK_NUMBER("retry b", retry(one.job[1], &retried), RETRY_E_WAITING);
}

/* Both parents ended and told it so; one runs again already. It would not be
 * waited for, so the other is not retried before that one has ended. */
static void none_is_revived_beside_a_parent_that_runs_again(void **state)
{
	static const struct edge edges[] = { { 0, 2 }, { 1, 2 } };
	struct pipeline fan;
	struct cancelled cancelled;
	struct retried retried;

	(void)state;
	fixture_submit(db, "beside", "fail",
		       &(const struct shape){ 3, edges, 2 }, &fan);
	assert_int_equal(cancel(fan.job[0], &cancelled), 0);
	assert_int_equal(cancel(fan.job[1], &cancelled), 0);
	check_states("both ended", &fan, "cancelled cancelled failed");
	assert_int_equal(retry(fan.job[1], &retried), 0);
	CHECK_NUMBER("other", retry(fan.job[0], &retried), RETRY_E_WAITING);
	check_states("one runs", &fan, "cancelled queued failed");
	fixture_check_invariants();
	fixture_bring(db, fan.job[1], "beside", JOB_COMPLETED);
	assert_int_equal(retry(fan.job[0], &retried), 0);
	check_states("in turn", &fan, "queued completed waiting");
	fixture_check_invariants();
}

/* b has ended, which c, that would run all the same, was not told yet. */
static void a_job_that_is_still_to_be_told_waits_for_it(void **state)
{
	struct cancelled cancelled;
	struct retried retried;
	struct pipeline one;

	(void)state;
	make("fail", &one);
	fixture_sql("UPDATE execution_jobs SET on_dependency_failure = 'run' "
		    "WHERE id = '%s'",
		    one.job[2]);
	assert_int_equal(cancel(one.job[2], &cancelled), 0);
	fixture_bring(db, one.job[0], "retry", JOB_FAILED);
	check_states("not told", &one, "failed failed cancelled queued");
	assert_int_equal(retry(one.job[2], &retried), 0);
	check_states("retried", &one, "failed failed waiting queued");
	settle(one.job[1], JOB_FAILED);
	check_states("told", &one, "failed failed queued queued");
	fixture_check_invariants();
}

static void what_did_not_fail_is_not_retried(void **state)
{
	static const enum job_state states[] = {
		JOB_QUEUED,	JOB_STARTING, JOB_START_UNKNOWN,
		JOB_PROCESSING, JOB_STORING,  JOB_COMPLETED,
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const char *name = job_state_name(states[i]);
		struct retried retried;
		struct pipeline one;

		fixture_submit(db, "retry", "fail",
			       &(const struct shape){ 1, NULL, 0 }, &one);
		fixture_bring(db, one.job[0], "retry", states[i]);
		CHECK_NUMBER(name, retry(one.job[0], &retried), RETRY_E_STATE);
		CHECK_NUMBER(name, retried.state, states[i]);
		check_states(name, &one, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_is_cancelled_in_each_state),
		cmocka_unit_test(strangers_cancel_and_retry_nothing),
		cmocka_unit_test(an_execution_is_cancelled_children_first),
		cmocka_unit_test(a_retry_revives_what_the_failure_stopped),
		cmocka_unit_test(a_start_that_may_be_paid_is_looked_for),
		cmocka_unit_test(what_was_found_is_not_taken_from_itself),
		cmocka_unit_test(a_result_that_is_there_is_only_stored_again),
		cmocka_unit_test(a_cancelled_job_waits_for_what_still_runs),
		cmocka_unit_test(
			none_is_revived_beside_a_parent_that_runs_again),
		cmocka_unit_test(a_job_that_is_still_to_be_told_waits_for_it),
		cmocka_unit_test(what_did_not_fail_is_not_retried),
	};

	return cmocka_run_group_tests(tests, start, end);
}
