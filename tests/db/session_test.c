/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <errno.h>

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
static void in_session(const char *id, const char *sha256,
		       const char *statement)
{
	const char *params[] = { id, statement, sha256 };

	assert_int_equal(run(DB_api_key_add, params), 0);
}

static void test_statement_that_is_gone_is_made_anew(void **state)
{
	(void)state;
	assert_int_equal(run(DB_database_ready, NULL), 0);
	in_session(KEY("0"), "DEALLOCATE database_ready");
	assert_int_equal(run(DB_database_ready, NULL), -EPROTO);
	assert_int_equal(run(DB_database_ready, NULL), 0);
}

static void test_statement_that_is_there_already_is_used(void **state)
{
	(void)state;
	in_session(KEY("1"), "PREPARE api_key_list AS SELECT 1");
	assert_int_equal(run(DB_api_key_list, NULL), 0);
	assert_int_equal(run(DB_api_key_list, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statement_that_is_gone_is_made_anew),
		cmocka_unit_test(test_statement_that_is_there_already_is_used),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
