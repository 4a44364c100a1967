/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

/* What is read of a job to be shown, and how often. */

enum { FILES = 3 };

/* A job that completed with three files and some output. */
static int64_t make(struct db *db, const char *output, struct pipeline *ret)
{
	fixture_submit(db, "read", "fail", &(const struct shape){ 1, NULL, 0 },
		       ret);
	fixture_bring(db, ret->job[0], "read", JOB_COMPLETED);
	fixture_sql("UPDATE execution_jobs SET output = %s WHERE id = '%s'",
		    output, ret->job[0]);
	fixture_sql("INSERT INTO media (job_id, attempt, index, key, url, "
		    "content_type, bytes, sha256) SELECT job_id, attempt, n, "
		    "key || n, url || n, content_type, bytes, sha256 FROM "
		    "media, generate_series(1, %d) AS n WHERE job_id = '%s'",
		    FILES - 1, ret->job[0]);
	return fixture_number("SELECT version FROM execution_jobs WHERE id = "
			      "'%s'",
			      ret->job[0]);
}

static void an_output_is_read_once_and_only_for_who_lacks_it(void **state)
{
#define SHORT "'{\"seed\": 42}'"
#define LONG                                                                   \
	"(SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 1000) AS n)"
	static const struct {
		const char *name;
		enum db_query query;
		const char *output;
		bool known;
		int rows, outputs;
		bool is_long;
	} cases[] = {
		{ "short", DB_job_read, SHORT, false, FILES, 1, false },
		{ "none", DB_job_read, "NULL", false, FILES, 0, false },
		{ "long", DB_job_read, LONG, false, FILES, 0, true },
		{ "short, known", DB_job_read, SHORT, true, 1, 0, false },
		{ "long, known", DB_job_read, LONG, true, 1, 0, false },
		{ "short, alone", DB_job_read_alone, SHORT, false, FILES, 1,
		  false },
		{ "long, alone", DB_job_read_alone, LONG, false, FILES, 1,
		  false },
		{ "long, alone, known", DB_job_read_alone, LONG, true, 1, 0,
		  false },
	};
	struct db *db = fixture_open();
	struct arena *arena = fixture_arena();

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		struct fault fault = { "" };
		struct pipeline one;
		int64_t version = make(db, cases[i].output, &one);
		const char *id = one.job[0];
		const int64_t known = cases[i].known ? version : version - 1;
		const char *params[] = { db_array_text(&id, 1, arena),
					 db_array_int64(&known, 1, arena) };
		int outputs = 0;

		if (db_run(db, cases[i].query, params, &rows, &fault) != 0)
			fail_msg("%s: %s", cases[i].name, fault.text);
		CHECK_NUMBER(cases[i].name, db_rows(rows), cases[i].rows);
		for (int k = 0; k < db_rows(rows); k++) {
			struct db_row row = db_row(rows, k, arena);
			bool first = db_row_text_or_null(&row, "output");

			outputs += first;
			/* with the first file, where it is looked for */
			CHECK(cases[i].name, !first || k == 0);
			if (cases[i].query == DB_job_read)
				CHECK_NUMBER(cases[i].name,
					     db_row_bool(&row, "is_long"),
					     cases[i].is_long);
			CHECK_NUMBER(cases[i].name, db_row_end(&row, &fault),
				     0);
		}
		CHECK_NUMBER(cases[i].name, outputs, cases[i].outputs);
	}
	(void)arena_free(arena);
	(void)db_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			an_output_is_read_once_and_only_for_who_lacks_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
