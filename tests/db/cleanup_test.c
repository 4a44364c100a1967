/* SPDX-License-Identifier: MIT */
#include "poller/admin.h"
#include "tests/db/fixture.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What belongs to an execution goes with it, and nothing else does. */

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

/* Two jobs, the second after the first; the first leaves a row in every
 * table that knows of jobs. */
static void make_finished(struct pipeline *ret)
{
	static const struct edge edges[] = { { 0, 1 } };

	fixture_submit(db, "clean", "fail",
		       &(const struct shape){ 2, edges, 1 }, ret);
	fixture_bring(db, ret->job[0], "clean", JOB_PROCESSING);

	struct move rendered = fixture_move(ret->job[0], JOB_PROCESSING,
					    JOB_RENDERED, MOVE_ANY);

	rendered.delivery_key = "msg_1";
	assert_int_equal(fixture_apply(db, &rendered), MOVE_DONE);

	struct move stored =
		fixture_move(ret->job[0], JOB_STORING, JOB_STORED, MOVE_ANY);

	assert_int_equal(fixture_apply(db, &stored), MOVE_DONE);
	fixture_bring(db, ret->job[1], "clean", JOB_COMPLETED);
}

/* Rows of any table that belong to this execution's jobs. */
static int64_t rows_of(const struct pipeline *pipeline)
{
	static const char *const keys[] = {
		"execution_jobs WHERE id",
		"job_dependencies WHERE parent_id",
		"job_dependencies WHERE child_id",
		"job_starts WHERE job_id",
		"job_events WHERE job_id",
		"media WHERE job_id",
		"webhook_inbox WHERE job_id",
	};
	int64_t rows = 0;

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		int64_t found = fixture_number(
			"SELECT count(*) FROM %s IN ('%s', '%s')", keys[i],
			pipeline->job[0], pipeline->job[1]);

		rows += found;
		/* Each of them was used, or this would prove nothing. */
		if (fixture_number("SELECT count(*) FROM executions "
				   "WHERE id = '%s'",
				   pipeline->execution) == 1)
			CHECK_NUMBER(keys[i], found > 0, 1);
	}
	return rows;
}

/* It was made in 2022, as its id says then, and ended so many days ago. */
static void age(struct pipeline *pipeline, int days)
{
	static const char made[] = "01800000";

	fixture_sql("WITH aged AS (UPDATE executions SET completed_at = now() "
		    "- interval '%d days', id = overlay(id::text PLACING '%s' "
		    "FROM 1)::uuid WHERE id = '%s' RETURNING id) "
		    "UPDATE execution_jobs SET execution_id = aged.id "
		    "FROM aged WHERE execution_id = '%s'",
		    days, made, pipeline->execution, pipeline->execution);
	memcpy(pipeline->execution, made, strlen(made));
}

static void an_old_execution_goes_with_all_it_had(void **state)
{
	const char *params[] = { "30", "90", "1000" };
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };
	struct pipeline old, young;
	int64_t before;

	(void)state;
	make_finished(&old);
	make_finished(&young);
	age(&old, 31);
	age(&young, 29);
	before = rows_of(&young);
	assert_int_equal(rows_of(&old), before);
	assert_int_equal(
		db_run(db, DB_cleanup_executions, params, &rows, &fault), 0);
	assert_int_equal(rows_of(&old), 0);
	assert_int_equal(rows_of(&young), before);
	fixture_check_invariants();
}

static void the_poller_may_remove_executions_and_nothing_else(void **state)
{
	struct pipeline old;

	(void)state;
	make_finished(&old);
	fixture_sql("SET ROLE rushes_poller; DELETE FROM executions "
		    "WHERE id = '%s'",
		    old.execution);
	assert_int_equal(rows_of(&old), 0);
	CHECK_NUMBER("tables of jobs the poller may delete from",
		     fixture_number(
			     "SELECT count(*) FROM unnest(ARRAY["
			     "'execution_jobs', 'job_dependencies', "
			     "'job_starts', 'job_events', 'media']) AS name "
			     "WHERE has_table_privilege('rushes_poller', name, "
			     "'DELETE')"),
		     0);
	fixture_check_invariants();
}

static PGconn *open_other(void)
{
	PGconn *conn = PQconnectdb(getenv("DATABASE_URL"));

	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	return conn;
}

static ExecStatusType run(PGconn *conn, const char *format, const char *id)
{
	char text[200];
	PGresult *result;
	ExecStatusType status;

	(void)snprintf(text, sizeof(text), format, id);
	result = PQexec(conn, text);
	status = PQresultStatus(result);
	PQclear(result);
	return status;
}

static void note_webhook(const struct pipeline *pipeline)
{
	char text[200];
	const char *note = text;
	_cleanup_(db_result_freep) PGresult *rows = NULL;

	(void)snprintf(text, sizeof(text),
		       "[{\"job_id\": \"%s\", \"delivery_key\": \"late\", "
		       "\"attempt\": 1, \"event\": \"progress\"}]",
		       pipeline->job[0]);
	assert_int_equal(db_run(db, DB_webhook_note, &note, &rows,
				&(struct fault){ "" }),
			 0);
}

struct removal {
	const struct pipeline *pipeline;
	atomic_bool done;
};

static void *remove_it(void *context)
{
	struct removal *removal = context;
	PGconn *conn = open_other();

	(void)run(conn, "DELETE FROM executions WHERE id = '%s'",
		  removal->pipeline->execution);
	PQfinish(conn);
	removal->done = true;
	return NULL;
}

static void a_webhook_comes_while_its_job_is_removed(void **state)
{
	PGconn *remover = open_other();
	struct pipeline old;

	(void)state;
	make_finished(&old);
	assert_int_equal(run(remover, "BEGIN", NULL), PGRES_COMMAND_OK);
	assert_int_equal(run(remover, "DELETE FROM executions WHERE id = '%s'",
			     old.execution),
			 PGRES_COMMAND_OK);
	note_webhook(&old);
	assert_int_equal(run(remover, "COMMIT", NULL), PGRES_COMMAND_OK);
	PQfinish(remover);
	assert_int_equal(rows_of(&old), 0);
	fixture_check_invariants();
}

static void a_job_is_removed_while_its_webhook_is_noted(void **state)
{
	_cleanup_(db_result_freep) PGresult *begun = NULL, *ended = NULL;
	struct pipeline old;
	struct removal removal = { .pipeline = &old };
	pthread_t thread;

	(void)state;
	make_finished(&old);
	assert_int_equal(db_run(db, DB_transaction_begin, NULL, &begun,
				&(struct fault){ "" }),
			 0);
	note_webhook(&old);
	assert_int_equal(pthread_create(&thread, NULL, remove_it, &removal), 0);
	while (!removal.done &&
	       fixture_number("SELECT count(*) FROM pg_locks WHERE NOT "
			      "granted") == 0)
		(void)usleep(10 * 1000);
	assert_int_equal(db_run(db, DB_transaction_commit, NULL, &ended,
				&(struct fault){ "" }),
			 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(rows_of(&old), 0);
	fixture_check_invariants();
}

static void *free_keys(void *context)
{
	const char *params[] = { "24", "1000", "", "" };
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	_cleanup_(db_closep) struct db *own = fixture_open();

	*(int *)context = db_run(own, DB_cleanup_idempotency, params, &rows,
				 &(struct fault){ "" });
	return NULL;
}

/* Somebody ends jobs of two executions, one after the other by their ids; by
 * their keys it is the other way round. */
static void keys_are_freed_without_getting_in_the_way(void **state)
{
	static const char lock[] = "SELECT FROM executions WHERE id = '%s' "
				   "FOR NO KEY UPDATE NOWAIT";
	PGconn *ender = open_other();
	struct pipeline pipeline[2];
	pthread_t thread;
	int r = -1;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		fixture_submit(db, "clean", "fail",
			       &(const struct shape){ 1, NULL, 0 },
			       &pipeline[i]);
		fixture_sql("UPDATE executions SET idempotency_key = '%d', "
			    "id = overlay(id::text PLACING '0180000%d' FROM 1)"
			    "::uuid, created_at = now() - interval '25 hours' "
			    "WHERE id = '%s'",
			    i == 0 ? 2 : 1, (int)i, pipeline[i].execution);
		memcpy(pipeline[i].execution, i == 0 ? "01800000" : "01800001",
		       8);
		fixture_sql("UPDATE execution_jobs SET execution_id = '%s' "
			    "WHERE id = '%s'",
			    pipeline[i].execution, pipeline[i].job[0]);
	}
	assert_int_equal(run(ender, "BEGIN", NULL), PGRES_COMMAND_OK);
	assert_int_equal(run(ender, lock, pipeline[0].execution),
			 PGRES_TUPLES_OK);
	assert_int_equal(pthread_create(&thread, NULL, free_keys, &r), 0);
	while (fixture_number("SELECT count(*) FROM pg_locks WHERE NOT "
			      "granted") == 0)
		(void)usleep(10 * 1000);
	assert_int_equal(run(ender, lock, pipeline[1].execution),
			 PGRES_TUPLES_OK);
	assert_int_equal(run(ender, "COMMIT", NULL), PGRES_COMMAND_OK);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r, 0);
	CHECK_NUMBER("keys left",
		     fixture_number("SELECT count(*) FROM executions WHERE "
				    "idempotency_key IS NOT NULL"),
		     0);
	PQfinish(ender);
	fixture_check_invariants();
}

static void no_role_may_have_tables_of_its_own(void **state)
{
	(void)state;
	CHECK_NUMBER("roles that may make a table",
		     fixture_number(
			     "SELECT count(*) FROM unnest(ARRAY['rushes_fcgi', "
			     "'rushes_poller', 'rushes_operator']) AS role "
			     "WHERE has_database_privilege(role, "
			     "current_database(), 'TEMPORARY') OR "
			     "has_schema_privilege(role, 'public', 'CREATE')"),
		     0);
}

/* After a long time without a cleanup: no statement does it all. */
static void many_are_removed_some_at_a_time(void **state)
{
	static const char *const tables[] = { "webhook_inbox", "executions" };
	enum { OLD = 12000, YOUNG = 3000 };
	struct conf conf = {
		.database_admin_url = getenv("DATABASE_URL"),
		.store_kind = CONF_STORE_S3,
		.retain_completed_days = 30,
		.retain_other_days = 90,
		.retain_inbox_days = 7,
		.retain_idempotency_hours = 24,
	};
	struct fault fault = { "" };

	(void)state;
	fixture_sql("CREATE TABLE written (name text, count bigint); "
		    "CREATE FUNCTION note_written() RETURNS trigger LANGUAGE "
		    "plpgsql AS $$ BEGIN INSERT INTO written SELECT "
		    "TG_TABLE_NAME, count(*) FROM gone; RETURN NULL; END $$; "
		    "INSERT INTO webhook_inbox (job_id, delivery_key, attempt, "
		    "event, received_at) SELECT uuid_at(at), n, 1, 'many', "
		    "at FROM generate_series(1, %d) AS n, LATERAL (SELECT "
		    "now() - CASE WHEN n > %d THEN 6 ELSE 8 END * interval "
		    "'1 day' + n * interval '1 s' AS at) AS a; "
		    "INSERT INTO executions (id, owner, idempotency_key, "
		    "body_sha256, jobs_total, created_at) SELECT "
		    "gen_random_uuid(), 'many ' || n %% 3, n, sha256('x'), 1, "
		    "now() - CASE WHEN n > %d THEN 23 ELSE 25 END * interval "
		    "'1 hour' FROM generate_series(1, %d) AS n; "
		    "CREATE TRIGGER written AFTER DELETE ON webhook_inbox "
		    "REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE "
		    "FUNCTION note_written(); "
		    "CREATE TRIGGER written AFTER UPDATE ON executions "
		    "REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE "
		    "FUNCTION note_written()",
		    OLD + YOUNG, OLD, OLD, OLD + YOUNG);
	if (admin_cleanup(&conf, &fault) < 0)
		fail_msg("%s", fault.text);
	for (size_t i = 0; i < COUNT_OF(tables); i++) {
		CHECK_NUMBER(tables[i],
			     fixture_number("SELECT sum(count) FROM written "
					    "WHERE name = '%s'",
					    tables[i]),
			     OLD);
		CHECK(tables[i],
		      fixture_number("SELECT max(count) FROM written WHERE "
				     "name = '%s'",
				     tables[i]) <= OLD / 2);
	}
	CHECK_NUMBER("young webhooks left",
		     fixture_number("SELECT count(*) FROM webhook_inbox WHERE "
				    "event = 'many'"),
		     YOUNG);
	CHECK_NUMBER("young keys left",
		     fixture_number("SELECT count(*) FROM executions WHERE "
				    "idempotency_key IS NOT NULL"),
		     YOUNG);
	fixture_sql("DROP FUNCTION note_written CASCADE; DROP TABLE written; "
		    "DELETE FROM webhook_inbox; DELETE FROM executions WHERE "
		    "owner LIKE 'many %%'");
	fixture_check_invariants();
}

/* The triggers have the owner's rights, and a role that was taken over may have
 * temporary tables of any name, where somebody has allowed them again. */
static void tables_of_a_callers_own_are_not_taken_for_ours(void **state)
{
	char *database = fixture_text("SELECT current_database()");
	struct pipeline old;

	(void)state;
	make_finished(&old);
	fixture_sql("GRANT TEMPORARY ON DATABASE %s TO rushes_poller",
		    database);
	CHECK_NUMBER("rows left in the table of the caller",
		     fixture_number("SET ROLE rushes_poller; "
				    "CREATE TEMP TABLE execution_jobs AS "
				    "SELECT id, execution_id "
				    "FROM public.execution_jobs; "
				    "GRANT ALL ON execution_jobs TO PUBLIC; "
				    "DELETE FROM executions WHERE id = '%s'; "
				    "SELECT count(*) FROM execution_jobs "
				    "WHERE execution_id = '%s'",
				    old.execution, old.execution),
		     2);
	fixture_sql("REVOKE TEMPORARY ON DATABASE %s FROM rushes_poller",
		    database);
	free(database);
	assert_int_equal(rows_of(&old), 0);
	fixture_check_invariants();
}

static void nobody_may_make_them_triggers_of_other_tables(void **state)
{
	(void)state;
	CHECK_NUMBER(
		"functions with the owner's rights that anybody may use",
		fixture_number("SELECT count(*) FROM pg_proc "
			       "CROSS JOIN unnest(ARRAY['rushes_fcgi', "
			       "'rushes_poller', 'rushes_operator']) AS role "
			       "WHERE prosecdef AND "
			       "pronamespace = 'public'::regnamespace AND "
			       "has_function_privilege(role, oid, 'EXECUTE')"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_execution_goes_with_all_it_had),
		cmocka_unit_test(
			the_poller_may_remove_executions_and_nothing_else),
		cmocka_unit_test(a_webhook_comes_while_its_job_is_removed),
		cmocka_unit_test(a_job_is_removed_while_its_webhook_is_noted),
		cmocka_unit_test(keys_are_freed_without_getting_in_the_way),
		cmocka_unit_test(no_role_may_have_tables_of_its_own),
		cmocka_unit_test(many_are_removed_some_at_a_time),
		cmocka_unit_test(
			tables_of_a_callers_own_are_not_taken_for_ours),
		cmocka_unit_test(nobody_may_make_them_triggers_of_other_tables),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
