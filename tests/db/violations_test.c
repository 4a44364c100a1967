/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The views of violations: each invariant is broken once, in a transaction
 * that is taken back, and the view names it and the job; of everything else
 * it says nothing.
 */

static struct db *db;
static PGconn *conn;
static struct pipeline pipe;

/* Jobs of the pipeline, by what they are. */
enum { PARENT, CHILD, WAITING, RUNNING };

static int open_db(void **state)
{
	static const struct edge edges[] = { { PARENT, CHILD },
					     { RUNNING, WAITING } };

	(void)state;
	db = fixture_open();
	conn = PQconnectdb(getenv("DATABASE_URL"));
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	fixture_sql("INSERT INTO providers (name, max_concurrent) "
		    "VALUES ('seen', 9)");
	fixture_submit(db, "seen", "fail", &(const struct shape){ 4, edges, 2 },
		       &pipe);
	fixture_bring(db, pipe.job[PARENT], "seen", JOB_COMPLETED);
	fixture_bring(db, pipe.job[CHILD], "seen", JOB_COMPLETED);
	fixture_bring(db, pipe.job[RUNNING], "seen", JOB_PROCESSING);
	return 0;
}

static int close_db(void **state)
{
	(void)state;
	PQfinish(conn);
	db = db_close(db);
	return 0;
}

static PGresult *run(const char *text)
{
	PGresult *result = PQexec(conn, text);

	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
	    PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", text, PQerrorMessage(conn));
	return result;
}

static void sql(const char *text)
{
	PQclear(run(text));
}

/* What a view says, as "invariant job" a line, sorted. */
static void look(const char *view, char *ret, size_t size)
{
	char text[256];
	size_t used = 0;
	PGresult *result;

	(void)snprintf(text, sizeof(text),
		       "SELECT DISTINCT invariant, coalesce(job_id::text, '-') "
		       "FROM %s ORDER BY 1, 2",
		       view);
	result = run(text);
	*ret = '\0';
	for (int i = 0; i < PQntuples(result) && used < size; i++)
		used += (size_t)snprintf(ret + used, size - used, "%s %s\n",
					 PQgetvalue(result, i, 0),
					 PQgetvalue(result, i, 1));
	PQclear(result);
}

static void nothing_is_said_of_what_is_right(void **state)
{
	char said[1024];

	(void)state;
	look("violations", said, sizeof(said));
	assert_string_equal(said, "");
	look("violations_live", said, sizeof(said));
	assert_string_equal(said, "");
}

/* clang-format off */
static const struct {
	const char *invariant;
	int job;	  /* of the pipeline; -1: none */
	bool live;	  /* violations_live sees it as well */
	const char *lie;  /* $ stands for the job's id */
} lies[] = {
	{ "needs_left", CHILD, false, "UPDATE execution_jobs SET needs_left = 1 WHERE id = '$'" },
	{ "needs_left", WAITING, false, "UPDATE job_dependencies SET delivered = true WHERE child_id = '$'" },
	{ "settled", PARENT, false, "UPDATE job_dependencies SET delivered = false WHERE parent_id = '$';"
				    "UPDATE execution_jobs SET needs_left = 1 WHERE id IN (SELECT child_id FROM job_dependencies WHERE parent_id = '$')" },
	{ "attempts", RUNNING, true, "UPDATE execution_jobs SET attempt = 2 WHERE id = '$'" },
	{ "paid_once", RUNNING, true, "UPDATE execution_jobs SET attempt = 2 WHERE id = '$';"
				      "INSERT INTO job_starts (job_id, attempt, provider, outcome) VALUES ('$', 2, 'seen', 'accepted')" },
	{ "start_closed", CHILD, false, "UPDATE job_starts SET outcome = 'open' WHERE job_id = '$'" },
	{ "start_closed", RUNNING, true, "UPDATE job_starts SET outcome = 'open' WHERE job_id = '$'" },
	{ "parents_first", CHILD, false, "UPDATE job_starts SET started_at = started_at - interval '1 hour' WHERE job_id = '$'" },
	{ "parents_first", WAITING, false, "INSERT INTO job_starts (job_id, attempt, provider, outcome) VALUES ('$', 1, 'seen', 'accepted');"
					   "UPDATE execution_jobs SET attempt = 1 WHERE id = '$'" },
	{ "released_once", CHILD, false, "WITH last AS (SELECT max(at) AS at FROM job_events WHERE job_id = '$') INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why) "
					 "VALUES ('$', 1, 'released', 'completed', 'completed', '')" },
	{ "completed_once", PARENT, false, "INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why) "
					   "VALUES ('$', 1, 'stored', 'completed', 'completed', '')" },
	{ "completed_once", CHILD, false, "UPDATE job_events SET event = 'settled' WHERE job_id = '$' AND event = 'stored'" },
	{ "timeline", RUNNING, true, "INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why) "
				     "VALUES ('$', 1, 'progress', 'processing', 'storing', '')" },
	{ "timeline", CHILD, false, "UPDATE job_events SET to_status = 'queued' WHERE job_id = '$' AND event = 'accepted'" },
	{ "media", PARENT, false, "DELETE FROM media WHERE job_id = '$'" },
	{ "media", PARENT, false, "UPDATE media SET index = 3 WHERE job_id = '$'" },
	{ "media", RUNNING, true, "INSERT INTO media (job_id, attempt, index, key, url, content_type, bytes, sha256) "
				  "VALUES ('$', 1, 0, 'k', 'u', 'image/png', 1, repeat('0', 64))" },
	{ "lease", RUNNING, true, "UPDATE execution_jobs SET lease_until = now() - interval '11 minutes' WHERE id = '$'" },
	{ "deadline", RUNNING, true, "UPDATE execution_jobs SET deadline_at = now() - interval '11 minutes' WHERE id = '$'" },
	{ "counters", -1, true, "UPDATE executions SET jobs_completed = 1, jobs_failed = 1" },
	{ "slots", -1, true, "UPDATE providers SET in_use = in_use + 1 WHERE name = 'seen'" },
	{ "owned", PARENT, false, "ALTER TABLE executions DISABLE TRIGGER executions_removed;"
				  "DELETE FROM executions" },
	{ "owned", PARENT, false, "ALTER TABLE execution_jobs DISABLE TRIGGER jobs_removed;"
				  "DELETE FROM execution_jobs WHERE id = '$'" },
};
/* clang-format on */

/* Put the job's id in for each $. */
static void fill(const char *lie, const char *id, char *ret, size_t size)
{
	size_t used = 0;

	for (; *lie && used + UUID_SIZE < size; lie++) {
		if (*lie == '$')
			used += (size_t)snprintf(ret + used, size - used, "%s",
						 id);
		else
			ret[used++] = *lie;
	}
	ret[used] = '\0';
}

static void each_view_sees_its_violation(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(lies); i++) {
		const char *id = lies[i].job < 0 ? "-" : pipe.job[lies[i].job];
		char lie[2048], wanted[128], said[4096], live[4096];

		fill(lies[i].lie, id, lie, sizeof(lie));
		(void)snprintf(wanted, sizeof(wanted), "%s %s\n",
			       lies[i].invariant, id);
		sql("BEGIN");
		sql(lie);
		look("violations", said, sizeof(said));
		look("violations_live", live, sizeof(live));
		sql("ROLLBACK");
		if (!strstr(said, wanted))
			fail_msg("%s\nshould be seen as %sbut: %s", lies[i].lie,
				 wanted, said);
		if (lies[i].live != !!strstr(live, wanted))
			fail_msg("%s\nin the live view: %s", lies[i].lie, live);
	}
	nothing_is_said_of_what_is_right(state);
}

/* The least id of a moment lies between those made before and after it. */
static void a_moment_has_its_least_id(void **state)
{
	(void)state;
	CHECK_NUMBER("jobs from then on",
		     fixture_number("SELECT count(*) FROM execution_jobs "
				    "WHERE id >= uuid_at(now() - interval "
				    "'1 hour') AND id < uuid_at(now() + "
				    "interval '1 hour')"),
		     4);
	CHECK_NUMBER("its own bits",
		     fixture_number("SELECT count(*) WHERE "
				    "uuid_at('2026-11-28 12:00:00.123+00') = "
				    "'01a22206-ca7b-0000-0000-000000000000'"),
		     1);
}

static void an_operator_sees_the_views_and_no_table(void **state)
{
	static const char *const views[] = { "violations", "violations_live" };
	static const char *const tables[] = { "execution_jobs", "api_keys",
					      "job_starts", "media" };
	PGresult *result;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(views); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text),
			       "BEGIN; SET LOCAL ROLE rushes_operator; "
			       "SELECT * FROM %s; COMMIT",
			       views[i]);
		sql(text);
	}
	for (size_t i = 0; i < COUNT_OF(tables); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text),
			       "BEGIN; SET LOCAL ROLE rushes_operator; "
			       "SELECT * FROM %s; COMMIT",
			       tables[i]);
		result = PQexec(conn, text);
		assert_string_equal(
			PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
		PQclear(result);
		sql("ROLLBACK");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_of_what_is_right),
		cmocka_unit_test(each_view_sees_its_violation),
		cmocka_unit_test(a_moment_has_its_least_id),
		cmocka_unit_test(an_operator_sees_the_views_and_no_table),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
