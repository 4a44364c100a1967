/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <stdio.h>

/* States that must not be are out of reach, whatever statement is written. */

static struct db *db;

static int open_db(void **state)
{
	(void)state;
	db = fixture_open();
	fixture_sql("INSERT INTO providers (name) VALUES ('sound')");
	return 0;
}

static int close_db(void **state)
{
	(void)state;
	db = db_close(db);
	return 0;
}

struct made {
	char job[UUID_SIZE];
	char execution[UUID_SIZE];
};

/* A job in that state: the parent or the child of a pipeline of two. */
static void make_job(const char *state, struct made *ret)
{
	static const struct edge edges[] = { { 0, 1 } };
	const char *policy = strcmp(state, "skipped") == 0 ? "skip" : "fail";
	bool child =
		strcmp(state, "waiting") == 0 || strcmp(state, "skipped") == 0;
	struct pipeline pipeline;
	char *is;

	fixture_submit(db, "sound", policy,
		       &(const struct shape){ 2, edges, 1 }, &pipeline);
	memcpy(ret->job, pipeline.job[child ? 1 : 0], UUID_SIZE);
	memcpy(ret->execution, pipeline.execution, UUID_SIZE);
	if (strcmp(state, "skipped") == 0)
		fixture_bring(db, pipeline.job[0], "sound", JOB_FAILED);
	else if (!child && strcmp(state, "queued") != 0)
		fixture_bring(db, ret->job, "sound",
			      job_state_from_name(state));
	is = fixture_text("SELECT status FROM execution_jobs WHERE id = '%s'",
			  ret->job);
	CHECK_TEXT(state, is, state);
	free(is);
}

/* Fails the test if PostgreSQL takes it. */
static void refused(const char *sql)
{
	fixture_sql("DO $$ BEGIN %s; RAISE 'it was taken'; "
		    "EXCEPTION WHEN check_violation THEN NULL; END $$",
		    sql);
}

static void a_job_has_what_its_state_needs(void **state)
{
	static const struct {
		const char *state;
		const char *broken[12];
	} cases[] = {
		{ "waiting",
		  { "needs_left = 0", "next_poll_at = now()",
		    "lease_until = now()", "completed_at = now()",
		    "holds_slot = true" } },
		{ "queued", { "next_poll_at = NULL", "completed_at = now()" } },
		{ "starting",
		  { "next_poll_at = NULL", "completed_at = now()",
		    "attempt = 0" } },
		{ "start_unknown",
		  { "next_poll_at = NULL", "completed_at = now()",
		    "attempt = 0", "unknown_since = NULL" } },
		{ "processing",
		  { "next_poll_at = NULL", "completed_at = now()",
		    "attempt = 0", "provider_job_id = NULL" } },
		{ "storing",
		  { "next_poll_at = NULL", "completed_at = now()",
		    "media_source = NULL", "holds_slot = true" } },
		{ "failed",
		  { "completed_at = NULL", "error_code = NULL", "billed = NULL",
		    "holds_slot = true" } },
		{ "completed", { "completed_at = NULL", "holds_slot = true" } },
		{ "cancelled", { "completed_at = NULL", "holds_slot = true" } },
		{ "skipped", { "completed_at = NULL", "holds_slot = true" } },
	};
	struct made made;
	char sql[256];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		make_job(cases[i].state, &made);
		/* As it is it may stay: what is refused is the rest. */
		fixture_sql("UPDATE execution_jobs SET version = version + 1 "
			    "WHERE id = '%s'",
			    made.job);
		for (size_t j = 0; cases[i].broken[j]; j++) {
			(void)snprintf(sql, sizeof(sql),
				       "UPDATE execution_jobs SET %s "
				       "WHERE id = '%s'",
				       cases[i].broken[j], made.job);
			refused(sql);
		}
	}
}

static void a_column_holds_what_it_may(void **state)
{
	static const struct {
		const char *table, *key;
		const char *broken[16];
	} cases[] = {
		{ "execution_jobs",
		  "id",
		  { "status = 'done'", "attempt = -1", "needs_left = -1",
		    "position = -1", "poll_attempts = -1",
		    "start_failures = -1", "falters = -1",
		    "store_failures = -1", "deadline_s = 0", "max_attempts = 0",
		    "progress = 1.1", "progress = -0.1", "billed = 'maybe'",
		    "completed_via = 'mail'" } },
		{ "execution_jobs",
		  "id",
		  { "on_dependency_failure = 'stop'", "input = '[]'",
		    "dependency_defaults = '1'", "media_source = '{}'" } },
		{ "executions",
		  "id",
		  { "jobs_completed = -1", "jobs_failed = -1",
		    "jobs_cancelled = -1", "jobs_skipped = -1",
		    "jobs_total = 0", "jobs_total = jobs_total - 1",
		    "completed_at = NULL", "metadata = '[]'",
		    "body_sha256 = 'x'", "idempotency_key = ''",
		    "idempotency_key = repeat('k', 256)",
		    "jobs_completed = jobs_completed + 1" } },
		{ "job_starts",
		  "job_id",
		  { "attempt = 0", "outcome = 'lost'",
		    "cancel_at = now(), provider_job_id = NULL" } },
		{ "job_dependencies", "parent_id", { "child_id = parent_id" } },
	};
	static const char *const files[] = {
		"0, repeat('0a', 32)",	     "1, repeat('0A', 32)",
		"1, repeat('0g', 32)",	     "1, repeat('0', 63)",
		"1, repeat('0', 65)",	     "1, repeat('0', 63) || ' '",
		"1, ' ' || repeat('0', 63)",
	};
	struct made made;
	char sql[256];

	(void)state;
	make_job("failed", &made);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool execution = strcmp(cases[i].table, "executions") == 0;

		for (size_t j = 0; cases[i].broken[j]; j++) {
			(void)snprintf(sql, sizeof(sql),
				       "UPDATE %s SET %s WHERE %s = '%s'",
				       cases[i].table, cases[i].broken[j],
				       cases[i].key,
				       execution ? made.execution : made.job);
			refused(sql);
		}
	}
	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO webhook_inbox (job_id, delivery_key, "
		       "attempt, event) VALUES ('%s', '', 1, 'rendered')",
		       made.job);
	refused(sql);
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO media (job_id, attempt, index, "
			       "key, url, content_type, bytes, sha256) VALUES "
			       "('%s', 1, 0, 'k', 'u', 'image/png', %s)",
			       made.job, files[i]);
		refused(sql);
	}
	fixture_check_invariants();
}

static void an_execution_ends_with_its_last_job(void **state)
{
	struct made made;
	char sql[256];

	(void)state;
	make_job("queued", &made);
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE executions SET completed_at = now() "
		       "WHERE id = '%s'",
		       made.execution);
	refused(sql);
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_has_what_its_state_needs),
		cmocka_unit_test(a_column_holds_what_it_may),
		cmocka_unit_test(an_execution_ends_with_its_last_job),
	};

	return cmocka_run_group_tests(tests, open_db, close_db);
}
