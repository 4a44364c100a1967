/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include "common/base/dice.h"
#include "common/flow/cancel.h"
#include "common/flow/retry.h"
#include "common/io/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

/*
 * Everything at once: eight connections submit, claim, start, complete, fail,
 * cancel, retry and settle the same jobs in batches. Whatever the order, no
 * statement deadlocks and every counter is right in the end.
 */

enum { CONNECTIONS = 8, ROUNDS = 60, LANE_MOST = 40 };

static const struct edge edges[] = {
	{ 0, 2 }, { 1, 2 }, { 2, 3 }, { 2, 4 }, { 3, 5 }, { 4, 5 },
};

static const struct lane {
	const char *name;
	enum job_state state;
	enum job_event
		events[4]; /* what a worker may say; JOB_EVENT_NONE ends */
} lanes[] = {
	{ "queued", JOB_QUEUED, { JOB_START, JOB_START, JOB_DEADLINE } },
	{ "starting", JOB_STARTING, { JOB_START_LOST } },
	{ "start_unknown", JOB_START_UNKNOWN, { JOB_ACCEPTED, JOB_GAVE_UP } },
	{ "processing",
	  JOB_PROCESSING,
	  { JOB_RENDERED, JOB_RENDERED, JOB_PROVIDER_FAILED, JOB_PROGRESS } },
	{ "storing", JOB_STORING, { JOB_STORED, JOB_STORED, JOB_STORE_AGAIN } },
	{ "failed", JOB_FAILED, { JOB_SETTLED } },
	{ "skipped", JOB_SKIPPED, { JOB_SETTLED } },
	{ "cancelled", JOB_CANCELLED, { JOB_SETTLED } },
	{ "completed", JOB_COMPLETED, { JOB_SETTLED } },
};

static struct move random_move(const struct lane *lane,
			       const struct claimed *claimed)
{
	size_t choices = 1;
	struct move move;

	while (choices < COUNT_OF(lane->events) && lane->events[choices])
		choices++;
	move = fixture_move(claimed->id, lane->state,
			    lane->events[dice_uint32() % choices],
			    claimed->claim);
	if (move.event == JOB_ACCEPTED)
		move.provider_job_id = claimed->id;
	/* The lease ends at once, so that another connection goes on. */
	if (move.becomes == JOB_STARTING)
		move.lease_ms = 1;
	if (move.event == JOB_SETTLED) {
		move.error_code = NULL;
		move.billed = NULL;
	}
	move.quiet = move.becomes == lane->state;
	return move;
}

static void work_lane(struct db *db, const struct lane *lane)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct claimed claimed[LANE_MOST];
	struct move_result results[LANE_MOST];
	struct move moves[LANE_MOST];
	struct fault fault = { "" };
	size_t count = fixture_claim(db, "storm", lane->name, LANE_MOST, 1000,
				     claimed);

	/* In no order at all: the statement sorts. */
	for (size_t i = 0; i < count; i++)
		moves[i] = random_move(lane, &claimed[(i * 7 + 3) % count]);
	if (count > 0 && count % 7 != 0 &&
	    moves_apply(db, &(const struct move_batch){ moves, count, false },
			arena, results, NULL, &fault) < 0)
		fail_msg("%s", fault.text);
}

/* Cancel or retry any job, as a client would. */
static void meddle(struct db *db, const struct pipeline *known, size_t count)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	const struct pipeline *one = &known[dice_uint32() % count];
	const char *id = one->job[dice_uint32() % one->count];
	struct fault fault = { "" };
	struct cancelled cancelled;
	struct retried retried;
	bool wake;
	int r;

	switch (dice_uint32() % 4) {
	case 0:
		r = cancel_job(db, id, "tester", arena, &cancelled, &fault);
		break;
	case 1:
		r = cancel_execution(db, one->execution, &wake, &fault);
		break;
	default:
		r = retry_job(db, id, "tester", arena, &retried, &fault);
		break;
	}
	/* Being overtaken again and again is an answer too. */
	if (r < 0 && r != -EAGAIN)
		fail_msg("%s", fault.text);
}

static void *storm(void *userdata)
{
	enum { KNOWN = 4 };
	struct pipeline *known = test_malloc(KNOWN * sizeof(*known));
	struct db *db = fixture_open();

	(void)userdata;
	for (int round = 0; round < ROUNDS; round++) {
		if (round % 6 == 0)
			fixture_submit(db, "storm", round % 12 ? "fail" : "run",
				       &(const struct shape){ 6, edges,
							      COUNT_OF(edges) },
				       &known[round / 6 % KNOWN]);
		work_lane(db, &lanes[dice_uint32() % COUNT_OF(lanes)]);
		work_lane(db, &lanes[dice_uint32() % COUNT_OF(lanes)]);
		meddle(db, known,
		       (size_t)(round / 6 < KNOWN ? round / 6 + 1 : KNOWN));
	}
	db_close(db);
	test_free(known);
	return NULL;
}

static void nothing_deadlocks_and_everything_adds_up(void **state)
{
	pthread_t threads[CONNECTIONS];

	(void)state;
	log_open("storm_test", LOG_ERR, CONF_LOG_STDERR);
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('storm', 50)");
	for (size_t i = 0; i < CONNECTIONS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm, NULL),
				 0);
	for (size_t i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);

	assert_true(fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				   "status = 'completed'") > 0);
	assert_true(fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				   "status = 'cancelled'") > 0);
	assert_int_equal(fixture_number("SELECT deadlocks FROM "
					"pg_stat_database WHERE datname = "
					"current_database()"),
			 0);
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_deadlocks_and_everything_adds_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
