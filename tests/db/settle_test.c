/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <pthread.h>
#include <stdlib.h>

/* How the end of a job reaches those that depend on it. */

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

static int64_t jobs_in(const struct pipeline *pipeline, const char *status)
{
	return fixture_number("SELECT count(*) FROM execution_jobs WHERE "
			      "execution_id = '%s' AND status = '%s'",
			      pipeline->execution, status);
}

/* What the poller does until nothing is due: one generation a statement. */
static int settle_all(const char *provider)
{
	static const struct {
		const char *name;
		enum job_state state;
	} ended[] = {
		{ "failed", JOB_FAILED },
		{ "skipped", JOB_SKIPPED },
		{ "cancelled", JOB_CANCELLED },
		{ "completed", JOB_COMPLETED },
	};
	struct claimed claimed[PIPELINE_JOBS_MAX];
	int settled = 0;
	size_t count;

	do {
		count = 0;
		for (size_t i = 0; i < COUNT_OF(ended); i++) {
			size_t n = fixture_claim(db, provider, ended[i].name,
						 100, 60000, claimed);

			count += n;
			for (size_t j = 0; j < n; j++) {
				struct move move = fixture_move(
					claimed[j].id, ended[i].state,
					JOB_SETTLED, claimed[j].claim);

				move.quiet = true;
				move.error_code = NULL;
				move.billed = NULL;
				assert_int_equal(fixture_apply(db, &move),
						 MOVE_DONE);
				settled++;
			}
		}
	} while (count > 0);
	return settled;
}

static void finish(const char *id, enum job_event event, enum job_state was)
{
	struct move move = fixture_move(id, was, event, MOVE_ANY);

	assert_int_equal(fixture_apply(db, &move), MOVE_DONE);
}

static void two_parents_in_one_batch_release_their_child_once(void **state)
{
	static const struct edge edges[] = { { 0, 2 }, { 1, 2 } };
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct move_result results[2];
	struct moves_effect effect;
	struct move moves[2];
	struct pipeline fan;
	struct fault fault = { "" };

	(void)state;
	fixture_submit(db, "batch", "fail",
		       &(const struct shape){ 3, edges, 2 }, &fan);
	for (size_t i = 0; i < 2; i++) {
		fixture_bring(db, fan.job[i], "batch", JOB_STORING);
		moves[i] = fixture_move(fan.job[i], JOB_STORING, JOB_STORED,
					MOVE_ANY);
	}
	assert_int_equal(
		moves_apply(db, &(const struct move_batch){ moves, 2, false },
			    arena, results, &effect, &fault),
		0);
	assert_int_equal(effect.released, 1);
	assert_int_equal(jobs_in(&fan, "queued"), 1);
	fixture_check_invariants();
}

struct finisher {
	const char *id;
	pthread_barrier_t *barrier;
};

static void *finish_together(void *userdata)
{
	const struct finisher *finisher = userdata;
	struct db *own = fixture_open();
	struct move move =
		fixture_move(finisher->id, JOB_STORING, JOB_STORED, MOVE_ANY);

	pthread_barrier_wait(finisher->barrier);
	if (fixture_apply(own, &move) != MOVE_DONE)
		abort();
	db_close(own);
	return NULL;
}

static void parents_in_concurrent_batches_release_their_child_once(void **state)
{
	enum { PARENTS = 8, ROUNDS = 12 };
	struct edge edges[PARENTS];

	(void)state;
	for (size_t i = 0; i < PARENTS; i++)
		edges[i] = (struct edge){ i, PARENTS };
	for (int round = 0; round < ROUNDS; round++) {
		struct finisher finishers[PARENTS];
		pthread_t threads[PARENTS];
		pthread_barrier_t barrier;
		struct pipeline fan;

		fixture_submit(
			db, "race", "fail",
			&(const struct shape){ PARENTS + 1, edges, PARENTS },
			&fan);
		for (size_t i = 0; i < PARENTS; i++)
			fixture_bring(db, fan.job[i], "race", JOB_STORING);
		pthread_barrier_init(&barrier, NULL, PARENTS);
		for (size_t i = 0; i < PARENTS; i++) {
			finishers[i] =
				(struct finisher){ fan.job[i], &barrier };
			pthread_create(&threads[i], NULL, finish_together,
				       &finishers[i]);
		}
		for (size_t i = 0; i < PARENTS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&barrier);

		assert_int_equal(jobs_in(&fan, "completed"), PARENTS);
		assert_int_equal(jobs_in(&fan, "queued"), 1);
		assert_int_equal(
			fixture_number("SELECT count(*) FROM job_events WHERE "
				       "job_id = '%s' AND event = 'released'",
				       fan.job[PARENTS]),
			1);
		fixture_sql("UPDATE execution_jobs SET next_poll_at = now() + "
			    "interval '1 day' WHERE id = '%s'",
			    fan.job[PARENTS]);
	}
	fixture_check_invariants();
}

static void each_policy_decides_its_own_way(void **state)
{
	static const struct {
		const char *policy;
		const char
			*after_one; /* of the child, when one parent failed */
		const char *after_both;
	} cases[] = {
		{ "fail", "failed", "failed" },
		{ "skip", "skipped", "skipped" },
		{ "run", "waiting", "queued" },
	};
	static const struct edge edges[] = { { 0, 2 }, { 1, 2 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *provider = cases[i].policy;
		struct pipeline fan;

		fixture_submit(db, provider, cases[i].policy,
			       &(const struct shape){ 3, edges, 2 }, &fan);
		finish(fan.job[0], JOB_DEADLINE, JOB_QUEUED);
		assert_int_equal(settle_all(provider), 0);
		CHECK_NUMBER(cases[i].policy,
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND status = '%s'",
					    fan.job[2], cases[i].after_one),
			     1);
		fixture_bring(db, fan.job[1], provider, JOB_COMPLETED);
		CHECK_NUMBER(cases[i].policy,
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND status = '%s'",
					    fan.job[2], cases[i].after_both),
			     1);
		fixture_check_invariants();
	}
}

static void a_chain_fails_to_its_end(void **state)
{
	enum { LENGTH = 300 };
	struct edge edges[LENGTH - 1];
	struct pipeline chain;

	(void)state;
	for (size_t i = 0; i < LENGTH - 1; i++)
		edges[i] = (struct edge){ i, i + 1 };
	fixture_submit(db, "chain", "fail",
		       &(const struct shape){ LENGTH, edges, LENGTH - 1 },
		       &chain);
	finish(chain.job[0], JOB_DEADLINE, JOB_QUEUED);
	/* The last has nobody to tell. */
	assert_int_equal(settle_all("chain"), LENGTH - 2);
	assert_int_equal(jobs_in(&chain, "failed"), LENGTH);
	assert_int_equal(
		fixture_number("SELECT count(*) FROM executions WHERE id = "
			       "'%s' AND status = 'failed' AND completed_at "
			       "IS NOT NULL",
			       chain.execution),
		1);
	fixture_check_invariants();
}

static void a_retry_takes_back_what_the_failure_did(void **state)
{
	static const struct edge edges[] = { { 0, 1 }, { 1, 2 }, { 3, 2 } };
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct move_result results[3];
	struct move moves[3];
	struct pipeline some;
	struct fault fault = { "" };

	(void)state;
	fixture_submit(db, "again", "fail",
		       &(const struct shape){ 4, edges, 3 }, &some);
	fixture_bring(db, some.job[3], "again", JOB_COMPLETED);
	finish(some.job[0], JOB_CANCEL, JOB_QUEUED);
	(void)settle_all("again");
	assert_int_equal(jobs_in(&some, "failed"), 2);

	moves[0] =
		fixture_move(some.job[0], JOB_CANCELLED, JOB_RETRY, MOVE_ANY);
	moves[1] = fixture_move(some.job[1], JOB_FAILED, JOB_REVIVED, MOVE_ANY);
	moves[2] = fixture_move(some.job[2], JOB_FAILED, JOB_REVIVED, MOVE_ANY);
	moves[2].version = 99; /* one is lost, so all are */
	assert_int_equal(
		moves_apply(db, &(const struct move_batch){ moves, 3, true },
			    arena, results, NULL, &fault),
		0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(results[i].outcome, MOVE_LOST);
	assert_int_equal(jobs_in(&some, "failed"), 2);

	moves[2].version = MOVE_ANY;
	assert_int_equal(
		moves_apply(db, &(const struct move_batch){ moves, 3, true },
			    arena, results, NULL, &fault),
		0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(results[i].outcome, MOVE_DONE);
	assert_int_equal(jobs_in(&some, "waiting"), 2);
	/* The edge of the parent that had completed stays counted. */
	assert_int_equal(fixture_number("SELECT needs_left FROM execution_jobs "
					"WHERE id = '%s'",
					some.job[2]),
			 1);
	fixture_check_invariants();
	fixture_bring(db, some.job[0], "again", JOB_COMPLETED);
	fixture_bring(db, some.job[1], "again", JOB_COMPLETED);
	assert_int_equal(jobs_in(&some, "queued"), 1);
	fixture_check_invariants();
}

static void a_retried_parent_is_waited_for_again(void **state)
{
	static const struct edge edges[] = { { 0, 2 }, { 1, 2 } };
	struct pipeline fan;

	(void)state;
	fixture_submit(db, "rerun", "run", &(const struct shape){ 3, edges, 2 },
		       &fan);
	finish(fan.job[0], JOB_CANCEL, JOB_QUEUED);
	assert_int_equal(jobs_in(&fan, "waiting"), 1);
	finish(fan.job[0], JOB_RETRY, JOB_CANCELLED);
	fixture_check_invariants();
	fixture_bring(db, fan.job[1], "rerun", JOB_COMPLETED);
	assert_int_equal(jobs_in(&fan, "waiting"), 1);
	fixture_bring(db, fan.job[0], "rerun", JOB_COMPLETED);
	assert_int_equal(jobs_in(&fan, "queued"), 1);
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			two_parents_in_one_batch_release_their_child_once),
		cmocka_unit_test(
			parents_in_concurrent_batches_release_their_child_once),
		cmocka_unit_test(each_policy_decides_its_own_way),
		cmocka_unit_test(a_chain_fails_to_its_end),
		cmocka_unit_test(a_retry_takes_back_what_the_failure_did),
		cmocka_unit_test(a_retried_parent_is_waited_for_again),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
