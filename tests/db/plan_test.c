/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * How our statements are run: a plan is made once a connection, perhaps while
 * a table is empty, and kept when it has millions of rows. So whatever the
 * planner believes, no table that grows may be read whole, and nothing that
 * is as long as a batch may be gone through once for each of its rows.
 */

static const struct {
	const char *name;
	const char *text;
	int params;
} queries[] = {
#define QUERY(name, params, text) { #name, text, params },
#include "queries.inc"
#undef QUERY
	/* And as operators may ask at any time. */
	{ "violations_live", "SELECT * FROM violations_live", 0 },
	{ "violations of a day",
	  "SELECT * FROM violations "
	  "WHERE job_id >= uuid_at(now() - interval '1 day')",
	  0 },
};

static PGconn *connect_as_programs_do(void)
{
	PGconn *conn = PQconnectdb(getenv("DATABASE_URL"));

	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	for (size_t i = 0; i < COUNT_OF(queries); i++) {
		if (strcmp(queries[i].name, "session_begin") == 0)
			PQclear(PQexec(conn, queries[i].text));
	}
	return conn;
}

/* @return a new reference, or NULL for what has no plan (BEGIN, …) */
static json_t *plan_of(PGconn *conn, size_t query)
{
	char text[512];
	size_t used;
	PGresult *result;
	json_t *plan = NULL;

	PQclear(PQprepare(conn, queries[query].name, queries[query].text, 0,
			  NULL));
	used = (size_t)snprintf(text, sizeof(text),
				"EXPLAIN (FORMAT JSON) EXECUTE \"%s\"",
				queries[query].name);
	for (int i = 0; i < queries[query].params; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%sNULL", i == 0 ? "(" : ", ");
	(void)snprintf(text + used, sizeof(text) - used, "%s",
		       queries[query].params > 0 ? ")" : "");
	result = PQexec(conn, text);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		plan = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
	PQclear(result);
	return plan;
}

static const char *text_of(const json_t *node, const char *key)
{
	const char *text = json_string_value(json_object_get(node, key));

	return text ? text : "";
}

/* Its rows are as many as the operator has providers, keys or hosts. */
static bool stays_small(const char *table)
{
	static const char *const small[] = {
		"providers", "provider_gates",	  "provider_keys",
		"api_keys",  "schema_migrations",
	};

	for (size_t i = 0; i < COUNT_OF(small); i++) {
		if (strcmp(small[i], table) == 0)
			return true;
	}
	return false;
}

/* Reads everything there is, whatever it was asked for. */
static bool is_whole_scan(const json_t *node)
{
	const char *type = text_of(node, "Node Type");
	const char *table = text_of(node, "Relation Name");

	if (!*table || stays_small(table))
		return false;
	if (strcmp(type, "Seq Scan") == 0)
		return true;
	/* An index without a condition: in order, up to a LIMIT, or as the
	 * count of held slots does, now and then, over all that is due some
	 * time. */
	return strncmp(type, "Index", 5) == 0 &&
	       !json_object_get(node, "Index Cond") &&
	       strcmp(text_of(node, "Index Name"), "execution_jobs_due") != 0 &&
	       strcmp(text_of(node, "Index Name"), "job_starts_cancel") != 0 &&
	       strcmp(text_of(node, "Index Name"), "executions_idempotency") !=
		       0;
}

static bool a_row_a_provider(const char *name)
{
	return strcmp(name, "slot") == 0 || strcmp(name, "gate") == 0;
}

/* Goes through a whole batch for each row of another. */
static bool is_square(const json_t *node)
{
	const char *type = text_of(node, "Node Type");
	const json_t *plans = json_object_get(node, "Plans");
	const json_t *inner = json_array_get(plans, 1);

	if (strcmp(type, "Nested Loop") != 0 || !inner ||
	    stays_small(text_of(json_array_get(plans, 0), "Relation Name")))
		return false;
	type = text_of(inner, "Node Type");
	return strcmp(type, "Materialize") == 0 ||
	       (strcmp(type, "CTE Scan") == 0 &&
		!a_row_a_provider(text_of(inner, "CTE Name")));
}

static int faults_in(const char *name, const json_t *node)
{
	int faults = 0;
	const json_t *child;
	size_t i;

	if (is_whole_scan(node) || is_square(node)) {
		(void)fprintf(stderr, "%s: %s %s %s %s\n", name,
			      text_of(node, "Node Type"),
			      text_of(node, "Relation Name"),
			      text_of(node, "Index Name"),
			      text_of(node, "Join Filter"));
		faults++;
	}
	json_array_foreach(json_object_get(node, "Plans"), i, child) faults +=
		faults_in(name, child);
	return faults;
}

static int faults_in_all(void)
{
	PGconn *conn = connect_as_programs_do();
	int plans = 0, faults = 0;

	for (size_t i = 0; i < COUNT_OF(queries); i++) {
		json_t *plan = plan_of(conn, i);

		if (!plan)
			continue;
		plans++;
		faults += faults_in(
			queries[i].name,
			json_object_get(json_array_get(plan, 0), "Plan"));
		json_decref(plan);
	}
	PQfinish(conn);
	assert_true(plans > 30);
	return faults;
}

static void no_plan_of_a_new_database_reads_a_table_whole(void **state)
{
	(void)state;
	assert_int_equal(faults_in_all(), 0);
}

static void no_plan_of_a_small_database_reads_a_table_whole(void **state)
{
	static const struct edge edges[] = { { 0, 1 }, { 0, 2 } };
	struct db *db = fixture_open();
	struct pipeline pipeline;

	(void)state;
	for (int i = 0; i < 20; i++) {
		fixture_submit(db, "plan", "fail",
			       &(const struct shape){ 3, edges, 2 }, &pipeline);
		fixture_bring(db, pipeline.job[0], "plan", JOB_COMPLETED);
	}
	fixture_sql("VACUUM ANALYZE");
	assert_int_equal(faults_in_all(), 0);
	db_close(db);
}

static void a_program_that_is_frozen_keeps_no_lock(void **state)
{
	PGconn *conn = connect_as_programs_do();
	PGresult *result =
		PQexec(conn, "SHOW idle_in_transaction_session_timeout");

	(void)state;
	assert_string_equal(PQgetvalue(result, 0, 0), "10s");
	PQclear(result);
	PQfinish(conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_that_is_frozen_keeps_no_lock),
		cmocka_unit_test(no_plan_of_a_new_database_reads_a_table_whole),
		cmocka_unit_test(
			no_plan_of_a_small_database_reads_a_table_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
