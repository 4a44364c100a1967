/* SPDX-License-Identifier: MIT */
#include "common/flow/submit.h"

#include "tests/db/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Storing whole batches: poison, twins, rivals, and a server that goes. */

enum { ITEMS_MAX = 64, THREADS = 8 };

#define POISON "{\"x\":1e-99999}"

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

/* A submission of two jobs; the input is not looked at any more, so it can be
 * what no client gets through. */
static struct submit_item *make(const char *key, const char *body,
				const char *input, struct arena *to)
{
	static const uint32_t first = 0;
	struct submission_job jobs[2] = {
		{ .name = "a",
		  .provider = "submit",
		  .model = "m",
		  .input = input,
		  .on_dependency_failure = POLICY_FAIL },
		{ .name = "b",
		  .provider = "submit",
		  .model = "m",
		  .input = "{}",
		  .on_dependency_failure = POLICY_FAIL,
		  .depends_on = &first,
		  .depends_on_count = 1 },
	};
	const struct submission submission = {
		.job = jobs,
		.job_count = 2,
		.edge_count = 1,
	};
	const struct submit_options options = {
		.owner = "tester",
		.idempotency_key = key ? arena_strdup(to, key) : NULL,
		.body = body,
		.body_bytes = strlen(body),
		.deadline_s = 100,
	};
	struct submit_item *item = arena_alloc(to, sizeof(*item));
	struct fault fault;

	assert_non_null(item);
	assert_int_equal(
		submit_prepare(&submission, &options, to, item, &fault), 0);
	return item;
}

static int64_t count_jobs(const struct submit_item *item)
{
	return fixture_number("SELECT count(*) FROM execution_jobs "
			      "WHERE execution_id = '%s'",
			      item->id);
}

static void a_pipeline_is_stored_whole(void **state)
{
	struct submit_item *item = make(NULL, "1", "{\"p\":\"\"}", arena);

	(void)state;
	submit_commit(db, &item, 1, arena);
	CHECK_NUMBER("outcome", item->outcome, SUBMIT_STORED);
	CHECK_NUMBER("jobs", count_jobs(item), 2);
	CHECK_NUMBER("first",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND status = 'queued' AND "
				    "next_poll_at <= now() AND deadline_at > "
				    "now()",
				    item->job[0].id),
		     1);
	CHECK_NUMBER("second",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND status = 'waiting' AND "
				    "needs_left = 1",
				    item->job[1].id),
		     1);
	CHECK_NUMBER("edge",
		     fixture_number("SELECT count(*) FROM job_dependencies "
				    "WHERE parent_id = '%s' AND child_id = "
				    "'%s'",
				    item->job[0].id, item->job[1].id),
		     1);
	CHECK_NUMBER("events",
		     fixture_number("SELECT count(*) FROM job_events JOIN "
				    "execution_jobs AS job ON job.id = job_id "
				    "WHERE execution_id = '%s'",
				    item->id),
		     2);
	fixture_check_invariants();
}

static void a_bad_one_fails_alone(void **state)
{
	static const size_t poisoned[] = { 0, 13, 31 };
	struct submit_item *items[32];

	(void)state;
	for (size_t p = 0; p < COUNT_OF(poisoned); p++) {
		for (size_t i = 0; i < COUNT_OF(items); i++) {
			char key[32];

			(void)snprintf(key, sizeof(key), "poison-%zu-%zu", p,
				       i);
			items[i] =
				make(i % 3 ? NULL : key, "x",
				     i == poisoned[p] ? POISON : "{}", arena);
		}
		submit_commit(db, items, COUNT_OF(items), arena);
		for (size_t i = 0; i < COUNT_OF(items); i++) {
			bool bad = i == poisoned[p];

			CHECK_NUMBER("outcome", items[i]->outcome,
				     bad ? SUBMIT_BAD : SUBMIT_STORED);
			CHECK_NUMBER("jobs", count_jobs(items[i]), bad ? 0 : 2);
		}
	}
	fixture_check_invariants();
}

static void twins_in_a_batch_are_one(void **state)
{
	struct submit_item *items[] = {
		make("twin", "same", "{}", arena),
		make(NULL, "same", "{}", arena),
		make("twin", "same", "{}", arena),
		make("twin", "other", "{}", arena),
		make("twin", "same", "{}", arena),
		make("lonely", "same", "{}", arena),
	};
	const struct submit_item *stored = NULL;
	int stored_count = 0, twins = 0, conflicts = 0;

	(void)state;
	submit_commit(db, items, COUNT_OF(items), arena);
	for (size_t i = 0; i < COUNT_OF(items); i++) {
		if (i == 1 || i == 5) {
			CHECK_NUMBER("others", items[i]->outcome,
				     SUBMIT_STORED);
			continue;
		}
		stored_count += items[i]->outcome == SUBMIT_STORED;
		twins += items[i]->outcome == SUBMIT_TWIN;
		conflicts += items[i]->outcome == SUBMIT_CONFLICT;
		if (items[i]->outcome == SUBMIT_STORED)
			stored = items[i];
	}
	CHECK_NUMBER("stored", stored_count, 1);
	/* whichever body was first, the other one is in conflict */
	CHECK("all decided", twins + conflicts == 3);
	CHECK("by body", strcmp(stored->body_sha256, items[3]->body_sha256) == 0
				 ? conflicts == 3
				 : conflicts == 1);
	for (size_t i = 0; i < COUNT_OF(items); i++) {
		if (items[i]->outcome == SUBMIT_TWIN)
			CHECK_TEXT("id", items[i]->id, stored->id);
	}
	CHECK_NUMBER("rows",
		     fixture_number("SELECT count(*) FROM executions WHERE "
				    "idempotency_key = 'twin'"),
		     1);
	fixture_check_invariants();
}

static void a_used_key_tells_whose_it_is(void **state)
{
	struct submit_item *first = make("used", "one", "{}", arena);
	struct submit_item *items[] = {
		make("used", "two", "{}", arena),
		make("used", "one", "{}", arena),
		make("used", "three", "{}", arena),
		make("used", "one", "{}", arena),
		make("fresh", "one", "{}", arena),
	};

	(void)state;
	submit_commit(db, &first, 1, arena);
	submit_commit(db, items, COUNT_OF(items), arena);
	CHECK_NUMBER("two", items[0]->outcome, SUBMIT_CONFLICT);
	CHECK_NUMBER("one", items[1]->outcome, SUBMIT_REPEATED);
	CHECK_TEXT("one", items[1]->id, first->id);
	CHECK_NUMBER("three", items[2]->outcome, SUBMIT_CONFLICT);
	CHECK_NUMBER("one again", items[3]->outcome, SUBMIT_REPEATED);
	CHECK_TEXT("one again", items[3]->id, first->id);
	CHECK_NUMBER("fresh", items[4]->outcome, SUBMIT_STORED);
}

static void keys_belong_to_their_owner(void **state)
{
	struct submit_item *items[] = {
		make("shared", "one", "{}", arena),
		make("shared", "two", "{}", arena),
	};

	(void)state;
	fixture_sql("INSERT INTO executions (id, owner, idempotency_key, "
		    "body_sha256, jobs_total) VALUES (gen_random_uuid(), "
		    "'somebody', 'shared', sha256('x'), 1)");
	submit_commit(db, items, 1, arena);
	CHECK_NUMBER("another owner", items[0]->outcome, SUBMIT_STORED);
	submit_commit(db, items + 1, 1, arena);
	CHECK_NUMBER("the same owner", items[1]->outcome, SUBMIT_CONFLICT);
	fixture_sql("DELETE FROM executions WHERE owner = 'somebody'");
}

/* ---- several writers ---------------------------------------------------- */

struct rival {
	pthread_t thread;
	struct arena *arena;
	int stored, repeated, other;
	char id[UUID_SIZE];
};

static void *compete(void *context)
{
	struct rival *rival = context;
	struct db *mine = fixture_open();

	for (size_t round = 0; round < 20; round++) {
		struct submit_item *items[4];
		char key[16];

		for (size_t i = 0; i < COUNT_OF(items); i++) {
			(void)snprintf(key, sizeof(key), "rival-%zu",
				       (round + i) % 7);
			items[i] = make(key, "same", "{}", rival->arena);
		}
		submit_commit(mine, items, COUNT_OF(items), rival->arena);
		for (size_t i = 0; i < COUNT_OF(items); i++) {
			rival->stored += items[i]->outcome == SUBMIT_STORED;
			rival->repeated += items[i]->outcome == SUBMIT_REPEATED;
		}
	}
	(void)db_close(mine);
	return NULL;
}

static void of_all_rivals_one_wins(void **state)
{
	struct rival rivals[THREADS] = { 0 };
	int stored = 0, repeated = 0;

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		rivals[i].arena = arena_new(64 << 20);
		assert_int_equal(pthread_create(&rivals[i].thread, NULL,
						compete, &rivals[i]),
				 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(rivals[i].thread, NULL), 0);
		stored += rivals[i].stored;
		repeated += rivals[i].repeated;
		(void)arena_free(rivals[i].arena);
	}
	CHECK_NUMBER("stored", stored, 7);
	CHECK_NUMBER("repeated", repeated, THREADS * 20 * 4 - 7);
	CHECK_NUMBER("rows",
		     fixture_number("SELECT count(*) FROM executions WHERE "
				    "idempotency_key LIKE 'rival-%%'"),
		     7);
	fixture_check_invariants();
}

/* ---- a connection that is lost ------------------------------------------ */

struct victim {
	pthread_t thread;
	struct db *db;
	struct submit_item **items;
	size_t count;
};

static void *submit_slowly(void *context)
{
	struct victim *victim = context;

	submit_commit(victim->db, victim->items, victim->count, arena);
	return NULL;
}

/* The statement waits for a row that another transaction holds; its backend
 * is killed meanwhile. What was sent is sent again, once. */
static void a_lost_connection_stores_nothing_twice(void **state)
{
	struct submit_item *items[] = {
		make("lost-a", "one", "{}", arena),
		make(NULL, "one", "{}", arena),
		make("lost-b", "one", "{}", arena),
	};
	struct victim victim = {
		.db = fixture_open(),
		.items = items,
		.count = COUNT_OF(items),
	};
	static const char waits[] =
		"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = "
		"'Lock' AND datname = current_database() AND query LIKE '%%"
		"INSERT INTO executions%%'";
	struct db *holder = fixture_open();
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct submit_item *blocker = make("lost-b", "one", "{}", arena);
	const char *params[] = { NULL, NULL, NULL, "q", "w" };
	_cleanup_(db_result_freep) PGresult *begun = NULL;
	_cleanup_(db_result_freep) PGresult *undone = NULL;
	struct fault fault;

	(void)state;
	params[0] = arena_printf(arena, "[%s]", blocker->execution_rows);
	params[1] = params[2] = "[]";
	assert_int_equal(
		db_run(holder, DB_transaction_begin, NULL, &begun, &fault), 0);
	assert_int_equal(
		db_run(holder, DB_execution_submit, params, &result, &fault),
		0);

	assert_int_equal(
		pthread_create(&victim.thread, NULL, submit_slowly, &victim),
		0);
	while (fixture_number(waits) == 0)
		;
	fixture_number("SELECT count(pg_terminate_backend(pid)) FROM "
		       "pg_stat_activity WHERE wait_event_type = 'Lock' AND "
		       "datname = current_database()");
	assert_int_equal(
		db_run(holder, DB_transaction_rollback, NULL, &undone, &fault),
		0);
	assert_int_equal(pthread_join(victim.thread, NULL), 0);

	for (size_t i = 0; i < COUNT_OF(items); i++) {
		CHECK_NUMBER("outcome", items[i]->outcome, SUBMIT_STORED);
		CHECK_NUMBER("jobs", count_jobs(items[i]), 2);
	}
	(void)db_close(holder);
	(void)db_close(victim.db);
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pipeline_is_stored_whole),
		cmocka_unit_test(a_bad_one_fails_alone),
		cmocka_unit_test(twins_in_a_batch_are_one),
		cmocka_unit_test(a_used_key_tells_whose_it_is),
		cmocka_unit_test(keys_belong_to_their_owner),
		cmocka_unit_test(of_all_rivals_one_wins),
		cmocka_unit_test(a_lost_connection_stores_nothing_twice),
	};

	return cmocka_run_group_tests(tests, start, end);
}
