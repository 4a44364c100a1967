/* SPDX-License-Identifier: MIT */
#include "common/flow/read.h"

#include "tests/unit/common/flow/server.h"

static void what_changes_nothing_is_run_again_once(void **state)
{
	static const struct {
		const char *name;
		bool connected;
		int with, times; /* how the first statements end */
		int r;
		size_t statements;
	} cases[] = {
		{ "nothing is wrong", true, 0, 0, 0, 1 },
		{ "the server was restarted", true, -EAGAIN, 1, 0, 2 },
		{ "it is away", true, -EAGAIN, 9, -EAGAIN, 2 },
		{ "it was away before", false, -EAGAIN, 9, -EAGAIN, 1 },
		{ "it is back", false, 0, 0, 0, 1 },
		{ "its schema is another", true, -EPROTO, 9, -EPROTO, 1 },
		{ "it refuses a parameter", true, DB_E_DATA, 9, -EPROTO, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		const char *params[] = { server_id(0), "owner" };
		struct fault fault = { "" };
		struct db db = {
			.job = { { .state = JOB_QUEUED } },
			.job_count = 1,
			.connected = cases[i].connected,
			.lost = true,
			.failing = DB_job_brief,
			.fails_with = cases[i].with,
			.fails = cases[i].times,
		};

		CHECK_NUMBER(cases[i].name,
			     read_run(&db, DB_job_brief, params, &rows, &fault),
			     cases[i].r);
		CHECK_NUMBER(cases[i].name, db.statements, cases[i].statements);
		CHECK_NUMBER(cases[i].name, rows ? db_rows(rows) : 0,
			     cases[i].r == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_changes_nothing_is_run_again_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
