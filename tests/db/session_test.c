/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <errno.h>
#include <stdio.h>

/* Statements that are prepared once a connection, when the server and we do
 * not agree whether they are. A trigger does what a pooler may do, or what
 * happens while we have no memory: each API key that is added runs its
 * owner. */

#define ZEROS "0000000"
#define KEY(digit)                                                             \
	"01890000-0000-7000-8000-00000000000" digit,                           \
		ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS digit

static struct db *db;

static int open_db(void **state)
{
	(void)state;
	db = fixture_open();
	fixture_sql("CREATE FUNCTION run_owner() RETURNS trigger "
		    "LANGUAGE plpgsql AS "
		    "'BEGIN EXECUTE NEW.owner; RETURN NEW; END'");
	fixture_sql("CREATE TRIGGER run_owner AFTER INSERT ON api_keys "
		    "FOR EACH ROW EXECUTE FUNCTION run_owner()");
	return 0;
}

static int close_db(void **state)
{
	(void)state;
	db = db_close(db);
	return 0;
}

static int run(enum db_query query, const char *const *params)
{
	struct fault fault = { 0 };
	PGresult *result = NULL;
	int r = db_run(db, query, params, &result, &fault);

	db_result_free(result);
	return r;
}

/* Let the connection's own session do that. */
static int in_session(const char *id, const char *sha256, const char *statement)
{
	const char *params[] = { id, statement, sha256 };

	return run(DB_api_key_add, params);
}

static void test_statement_that_is_gone_is_made_anew(void **state)
{
	(void)state;
	assert_int_equal(run(DB_database_ready, NULL), 0);
	assert_int_equal(in_session(KEY("0"), "DEALLOCATE database_ready"), 0);
	assert_int_equal(run(DB_database_ready, NULL), -EPROTO);
	assert_int_equal(run(DB_database_ready, NULL), 0);
}

static void test_statement_that_is_there_already_is_used(void **state)
{
	(void)state;
	assert_int_equal(
		in_session(KEY("1"), "PREPARE api_key_list AS SELECT 1"), 0);
	assert_int_equal(run(DB_api_key_list, NULL), 0);
	assert_int_equal(run(DB_api_key_list, NULL), 0);
}

/* What is refused for its data is given up, so nothing else may pass for it. */
static void test_refusals_that_pass_are_not_about_the_data(void **state)
{
	static const struct {
		const char *sqlstate;
		int want;
	} cases[] = {
		{ "22P02", DB_E_DATA }, /* no JSON, no number */
		{ "23505", DB_E_DATA }, /* there already */
		{ "25006", -EAGAIN },	/* a standby, or told to be one */
		{ "40P01", -EAGAIN },	/* deadlock */
		{ "53100", -EAGAIN },	/* disk full */
		{ "55P03", -EAGAIN },	/* lock_timeout */
		{ "57014", -EAGAIN },	/* statement_timeout */
		{ "42501", -EPROTO },	/* roles.sql was not run */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char raise[80];

		(void)snprintf(raise, sizeof(raise),
			       "DO 'BEGIN RAISE SQLSTATE ''%s''; END'",
			       cases[i].sqlstate);
		CHECK_NUMBER(cases[i].sqlstate, in_session(KEY("2"), raise),
			     cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statement_that_is_gone_is_made_anew),
		cmocka_unit_test(test_statement_that_is_there_already_is_used),
		cmocka_unit_test(
			test_refusals_that_pass_are_not_about_the_data),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
