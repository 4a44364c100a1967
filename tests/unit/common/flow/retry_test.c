/* SPDX-License-Identifier: MIT */
#include "common/flow/retry.h"

#include "tests/unit/common/flow/server.h"

#include "tests/support/arena.h"

/* What retrying does to rows is tested on a real database: tests/db. */

static int retry(struct db *db, size_t job, struct retried *ret)
{
	struct fault fault = { "" };

	return retry_job(db, server_id(job), "owner", arena, ret, &fault);
}

/* A number in a move of the last batch; -1: it is left as it is. */
static int number(const struct db *db, size_t move, const char *key)
{
	const json_t *value = server_member(db, move, key);

	return value ? (int)json_integer_value(value) : -1;
}

static const char *word(const struct db *db, size_t move, const char *key)
{
	return json_string_value(server_member(db, move, key));
}

/* ---- the job itself ------------------------------------------------------ */

static void nothing_is_paid_twice_that_can_be_helped(void **state)
{
	static const struct {
		const char *name;
		enum job_state in;
		const char *code, *billed;
		bool has_result;
		int attempt; /* of 3 */
		int r;
		enum job_event event;
		enum job_state becomes;
		int most; /* attempts from now on; -1: as before */
	} cases[] = {
		/* clang-format off */
		{ "it waits", JOB_WAITING, NULL, NULL, false, 0, RETRY_E_STATE, 0, JOB_WAITING, 0 },
		{ "it is queued", JOB_QUEUED, NULL, NULL, false, 0, RETRY_E_STATE, 0, JOB_QUEUED, 0 },
		{ "it is started", JOB_STARTING, NULL, NULL, false, 1, RETRY_E_STATE, 0, JOB_STARTING, 0 },
		{ "its start is lost", JOB_START_UNKNOWN, NULL, NULL, false, 1, RETRY_E_STATE, 0, JOB_START_UNKNOWN, 0 },
		{ "it renders", JOB_PROCESSING, NULL, NULL, false, 1, RETRY_E_STATE, 0, JOB_PROCESSING, 0 },
		{ "its media is on the way", JOB_STORING, NULL, NULL, true, 1, RETRY_E_STATE, 0, JOB_STORING, 0 },
		{ "it completed", JOB_COMPLETED, NULL, NULL, true, 1, RETRY_E_STATE, 0, JOB_COMPLETED, 0 },
		{ "it was skipped, and nobody knows why", JOB_SKIPPED, NULL, NULL, false, 0, RETRY_E_STATE, 0, JOB_SKIPPED, 0 },
		{ "stopped, and nobody knows by whom", JOB_FAILED, "dependency_failed", "no", false, 0, RETRY_E_STATE, 0, JOB_FAILED, 0 },

		{ "it was never started", JOB_FAILED, "reference_missing", "no", false, 0, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "it was refused", JOB_FAILED, "start_refused", "no", false, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "it was paid for and failed", JOB_FAILED, "provider_failed", "yes", false, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "with its second start", JOB_FAILED, "provider_failed", "yes", false, 2, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "with its last start", JOB_FAILED, "provider_failed", "yes", false, 3, 0, JOB_RETRY, JOB_QUEUED, 4 },
		{ "with one more than its last", JOB_FAILED, "provider_failed", "yes", false, 5, 0, JOB_RETRY, JOB_QUEUED, 6 },
		{ "no word why", JOB_FAILED, NULL, NULL, false, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },

		{ "nobody knows whether it was paid", JOB_FAILED, "deadline_exceeded", "unknown", false, 1, 0, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, -1 },
		{ "it may have been paid", JOB_FAILED, "may_have_been_billed", NULL, false, 1, 0, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, -1 },
		{ "may have been paid, last start", JOB_FAILED, "may_have_been_billed", "unknown", false, 3, 0, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, 4 },
		{ "not known, but it was never started", JOB_FAILED, "may_have_been_billed", "unknown", false, 0, 0, JOB_RETRY, JOB_QUEUED, -1 },

		{ "it could not be stored", JOB_FAILED, "store_failed", "yes", true, 1, 0, JOB_RETRY_STORE, JOB_STORING, -1 },
		{ "it was too large then", JOB_FAILED, "media_too_large", "yes", true, 3, 0, JOB_RETRY_STORE, JOB_STORING, 4 },
		{ "there is a result, whoever paid", JOB_FAILED, "store_failed", "unknown", true, 1, 0, JOB_RETRY_STORE, JOB_STORING, -1 },
		{ "there is a result and no word", JOB_FAILED, NULL, NULL, true, 1, 0, JOB_RETRY_STORE, JOB_STORING, -1 },
		{ "its media is gone", JOB_FAILED, "media_expired", "yes", true, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "what came was none", JOB_FAILED, "not_media", "yes", true, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },

		{ "cancelled before it was started", JOB_CANCELLED, NULL, NULL, false, 0, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "cancelled, long after it was stopped once", JOB_CANCELLED, "dependency_failed", "no", false, 0, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "cancelled there", JOB_CANCELLED, "provider_cancelled", "no", false, 1, 0, JOB_RETRY, JOB_QUEUED, -1 },
		{ "cancelled, and nobody confirmed it", JOB_CANCELLED, "cancelled", "unknown", false, 1, 0, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, -1 },
		{ "cancelled while it was stored", JOB_CANCELLED, NULL, "yes", true, 1, 0, JOB_RETRY_STORE, JOB_STORING, -1 },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job = { {
				.state = cases[i].in,
				.error_code = cases[i].code,
				.billed = cases[i].billed,
				.has_result = cases[i].has_result,
				.attempt = cases[i].attempt,
				.max_attempts = 3,
				.version = 7,
			} },
			.job_count = 1,
		};
		const char *name = cases[i].name;
		struct retried retried;

		CHECK_NUMBER(name, retry(&db, 0, &retried), cases[i].r);
		CHECK_NUMBER(name, retried.state, cases[i].becomes);
		CHECK_NUMBER(name, db.batches, cases[i].r == 0);
		CHECK_TEXT(name, retried.blocker, NULL);
		if (cases[i].r != 0)
			continue;
		CHECK_NUMBER(name, json_array_size(db.moves), 1);
		CHECK_TEXT(name, word(&db, 0, "event"),
			   job_event_name(cases[i].event));
		CHECK_NUMBER(name, number(&db, 0, "max_attempts"),
			     cases[i].most);
		CHECK_NUMBER(name, number(&db, 0, "due_ms"), 0);
		CHECK_NUMBER(name, number(&db, 0, "version"), 7);
		CHECK_NUMBER(name,
			     server_member(&db, 0, "restart_if_absent") != NULL,
			     cases[i].event == JOB_RETRY_RECONCILE);
		/* it has all its tries again */
		CHECK_NUMBER(name, number(&db, 0, "start_failures"), 0);
		CHECK_NUMBER(name, number(&db, 0, "falters"), 0);
		CHECK_NUMBER(name, number(&db, 0, "store_failures"), 0);
		server_done(&db);
	}
}

static void the_newest_start_is_looked_for_by_name(void **state)
{
	static const struct {
		const char *name;
		const char *starts;
		int attempt;
		const char *id, *ref;
	} cases[] = {
		{ "nothing was written of it", NULL, -1, NULL, NULL },
		{ "it never got an id",
		  "[{\"attempt\":2,\"provider_job_id\":null,"
		  "\"provider_ref\":null}]",
		  2, NULL, NULL },
		{ "the newest",
		  "[{\"attempt\":2,\"provider_job_id\":\"new\","
		  "\"provider_ref\":\"{\\\"k\\\":1}\"},"
		  "{\"attempt\":1,\"provider_job_id\":\"old\","
		  "\"provider_ref\":null}]",
		  2, "new", "{\"k\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job = { { .state = JOB_FAILED,
				   .billed = "unknown",
				   .attempt = 2,
				   .max_attempts = 3 } },
			.job_count = 1,
			.starts = cases[i].starts,
		};
		struct retried retried;
		const json_t *ref;
		char *text;

		CHECK_NUMBER(cases[i].name, retry(&db, 0, &retried), 0);
		CHECK_NUMBER(cases[i].name, number(&db, 0, "attempt"),
			     cases[i].attempt);
		CHECK_TEXT(cases[i].name, word(&db, 0, "provider_job_id"),
			   cases[i].id);
		ref = server_member(&db, 0, "provider_ref");
		text = ref ? json_dumps(ref, JSON_COMPACT) : NULL;
		CHECK_TEXT(cases[i].name, text, cases[i].ref);
		free(text);
		server_done(&db);
	}
}

/* ---- what it waits for --------------------------------------------------- */

/* a and b, and c that depends on both. */
static struct db parents(enum job_state a, enum job_state b)
{
	return (struct db){
		.job = {
			{ .state = a, .error_code = "provider_failed" },
			{ .state = b, .error_code = "provider_failed" },
			{ .state = JOB_CANCELLED },
		},
		.job_count = 3,
		.edge = { { 0, 2 }, { 1, 2 } },
		.edge_count = 2,
	};
}

static void it_waits_for_parents_that_run_and_for_no_others(void **state)
{
	static const struct {
		const char *name;
		enum job_state a, b;
		enum policy policy;
		int needs_left;
		bool has_result;
		int r;
		enum job_state becomes;
	} cases[] = {
		/* clang-format off */
		{ "both completed", JOB_COMPLETED, JOB_COMPLETED, POLICY_FAIL, 0, false, 0, JOB_QUEUED },
		{ "one runs", JOB_PROCESSING, JOB_COMPLETED, POLICY_FAIL, 1, false, 0, JOB_WAITING },
		{ "the other waits", JOB_COMPLETED, JOB_WAITING, POLICY_SKIP, 1, false, 0, JOB_WAITING },
		{ "both run", JOB_QUEUED, JOB_STORING, POLICY_FAIL, 2, false, 0, JOB_WAITING },
		{ "one has told it of its end and runs again", JOB_QUEUED, JOB_STORING, POLICY_FAIL, 1, false, RETRY_E_WAITING, JOB_CANCELLED },
		{ "both have", JOB_QUEUED, JOB_STORING, POLICY_FAIL, 0, false, RETRY_E_WAITING, JOB_CANCELLED },
		{ "its result is there, and its parents run", JOB_QUEUED, JOB_COMPLETED, POLICY_FAIL, 1, true, 0, JOB_WAITING },
		{ "its result is there", JOB_COMPLETED, JOB_COMPLETED, POLICY_FAIL, 0, true, 0, JOB_STORING },
		{ "one failed", JOB_FAILED, JOB_COMPLETED, POLICY_FAIL, 0, false, RETRY_E_DEPENDENCY, JOB_CANCELLED },
		{ "one failed, one runs", JOB_FAILED, JOB_PROCESSING, POLICY_FAIL, 1, false, RETRY_E_DEPENDENCY, JOB_CANCELLED },
		{ "one was cancelled", JOB_CANCELLED, JOB_COMPLETED, POLICY_SKIP, 0, false, RETRY_E_DEPENDENCY, JOB_CANCELLED },
		{ "one failed, and it runs anyway", JOB_FAILED, JOB_COMPLETED, POLICY_RUN, 0, false, 0, JOB_QUEUED },
		{ "one failed, one runs, and it runs anyway", JOB_FAILED, JOB_PROCESSING, POLICY_RUN, 1, false, 0, JOB_WAITING },
		{ "both failed, and it runs anyway", JOB_FAILED, JOB_CANCELLED, POLICY_RUN, 0, false, 0, JOB_QUEUED },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = parents(cases[i].a, cases[i].b);
		const char *name = cases[i].name;
		bool blocked = cases[i].r == RETRY_E_DEPENDENCY;
		struct retried retried;

		db.job[2].policy = cases[i].policy;
		db.job[2].needs_left = cases[i].needs_left;
		db.job[2].has_result = cases[i].has_result;
		CHECK_NUMBER(name, retry(&db, 2, &retried), cases[i].r);
		CHECK_NUMBER(name, retried.state, cases[i].becomes);
		CHECK_TEXT(name, retried.blocker,
			   blocked ? server_id(0) : NULL);
		CHECK_NUMBER(name, db.batches, cases[i].r == 0);
		/* Its parents will release it: nobody looks before. */
		if (cases[i].r == 0)
			CHECK_NUMBER(name, number(&db, 0, "due_ms"),
				     cases[i].becomes == JOB_WAITING ? -1 : 0);
		server_done(&db);
	}
}

/* a -> b -> c -> d, of which d is to be retried. */
static void the_job_that_failed_by_itself_is_named(void **state)
{
	static const struct {
		const char *name;
		struct server_job job[4];
		int r;
		size_t blocker;
	} cases[] = {
		{ "the first, three above",
		  { { .state = JOB_FAILED, .error_code = "provider_failed" },
		    { .state = JOB_FAILED, .error_code = "dependency_failed" },
		    { .state = JOB_SKIPPED },
		    { .state = JOB_FAILED,
		      .error_code = "dependency_failed" } },
		  RETRY_E_DEPENDENCY,
		  0 },
		{ "the first, which was cancelled",
		  { { .state = JOB_CANCELLED },
		    { .state = JOB_SKIPPED },
		    { .state = JOB_SKIPPED },
		    { .state = JOB_SKIPPED } },
		  RETRY_E_DEPENDENCY,
		  0 },
		{ "the nearest of two",
		  { { .state = JOB_FAILED, .error_code = "provider_failed" },
		    { .state = JOB_FAILED, .error_code = "start_refused" },
		    { .state = JOB_FAILED, .error_code = "dependency_failed" },
		    { .state = JOB_FAILED,
		      .error_code = "dependency_failed" } },
		  RETRY_E_DEPENDENCY,
		  1 },
		{ "one without a word why",
		  { { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_FAILED },
		    { .state = JOB_FAILED,
		      .error_code = "dependency_failed" } },
		  RETRY_E_DEPENDENCY,
		  2 },
		{ "it failed by itself, below one that failed since",
		  { { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_FAILED, .error_code = "media_expired" },
		    { .state = JOB_FAILED, .error_code = "provider_failed" } },
		  RETRY_E_DEPENDENCY,
		  2 },
		{ "nobody: what stopped it has completed since",
		  { { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_FAILED,
		      .error_code = "dependency_failed" } },
		  RETRY_E_STATE,
		  3 },
		{ "nobody: it has not been told yet",
		  { { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_FAILED, .error_code = "media_expired" },
		    { .state = JOB_WAITING, .needs_left = 1 } },
		  RETRY_E_STATE,
		  3 },
		{ "nobody: what stopped it runs again",
		  { { .state = JOB_COMPLETED },
		    { .state = JOB_COMPLETED },
		    { .state = JOB_PROCESSING },
		    { .state = JOB_SKIPPED, .needs_left = 1 } },
		  RETRY_E_STATE,
		  3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job_count = 4,
			.edge = { { 0, 1 }, { 1, 2 }, { 2, 3 } },
			.edge_count = 3,
		};
		const char *name = cases[i].name;
		const char letter[] = { (char)('a' + cases[i].blocker), '\0' };
		bool named = cases[i].blocker < 3;
		struct retried retried;

		memcpy(db.job, cases[i].job, sizeof(cases[i].job));
		CHECK_NUMBER(name, retry(&db, 3, &retried), cases[i].r);
		CHECK_TEXT(name, retried.blocker,
			   named ? server_id(cases[i].blocker) : NULL);
		CHECK_TEXT(name, retried.blocker_name, named ? letter : NULL);
		CHECK_NUMBER(name, db.batches, 0);
	}
}

/* ---- those below it ------------------------------------------------------ */

#define STOPPED                                                                \
	{                                                                      \
		JOB_FAILED, .error_code = "dependency_failed"                  \
	}

/* a is retried. a -> b -> c, and d is another parent of b. */
static void what_its_failure_stopped_waits_again(void **state)
{
	static const struct {
		const char *name;
		struct server_job b, c, d;
		int r;
		const char *moves;
		size_t revived;
	} cases[] = {
		/* clang-format off */
		{ "failed because of it", STOPPED, STOPPED, { .state = JOB_COMPLETED }, 0, "a:retry b:revived c:revived", 2 },
		{ "skipped because of it", { .state = JOB_SKIPPED }, { .state = JOB_SKIPPED }, { .state = JOB_COMPLETED }, 0, "a:retry b:revived c:revived", 2 },
		{ "ran anyway", { .state = JOB_COMPLETED, .policy = POLICY_RUN }, { .state = JOB_COMPLETED }, { .state = JOB_COMPLETED }, 0, "a:retry", 0 },
		{ "failed by itself", { .state = JOB_FAILED, .error_code = "provider_failed" }, STOPPED, { .state = JOB_COMPLETED }, 0, "a:retry", 0 },
		{ "cancelled by its owner", { .state = JOB_CANCELLED }, STOPPED, { .state = JOB_COMPLETED }, 0, "a:retry", 0 },
		{ "still stopped by another", STOPPED, STOPPED, { .state = JOB_FAILED, .error_code = "provider_failed" }, 0, "a:retry", 0 },
		{ "stopped by another as well, and runs anyway below", { .state = JOB_SKIPPED, .policy = POLICY_RUN }, { .state = JOB_SKIPPED }, { .state = JOB_FAILED }, 0, "a:retry b:revived c:revived", 2 },
		{ "another runs and is waited for", { .state = JOB_SKIPPED, .needs_left = 1 }, { .state = JOB_SKIPPED }, { .state = JOB_PROCESSING }, 0, "a:retry b:revived c:revived", 2 },
		{ "another runs and would not be waited for", { .state = JOB_SKIPPED, .needs_left = 0 }, { .state = JOB_SKIPPED }, { .state = JOB_PROCESSING }, RETRY_E_WAITING, "", 0 },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job = { { .state = JOB_FAILED,
				   .error_code = "provider_failed",
				   .version = 3 },
				 cases[i].b,
				 cases[i].c,
				 cases[i].d },
			.job_count = 4,
			.edge = { { 1, 2 }, { 3, 1 }, { 0, 1 } },
			.edge_count = 3,
		};
		const char *name = cases[i].name;
		struct retried retried;

		db.job[1].version = 4;
		db.job[2].version = 5;
		CHECK_NUMBER(name, retry(&db, 0, &retried), cases[i].r);
		CHECK_TEXT(name, server_moves(&db, arena), cases[i].moves);
		CHECK_NUMBER(name, retried.revived, cases[i].revived);
		/* all of it or nothing, as it was read */
		CHECK_NUMBER(name, db.all_or_none, cases[i].r == 0);
		for (size_t k = 0; k < json_array_size(db.moves); k++) {
			CHECK_NUMBER(name, number(&db, k, "version"), 3 + k);
			CHECK_NUMBER(name, number(&db, k, "due_ms"),
				     k == 0 ? 0 : -1);
		}
		server_done(&db);
	}
}

/* ---- others, and the server ---------------------------------------------- */

static void a_strangers_job_is_not_there(void **state)
{
	struct db db = parents(JOB_FAILED, JOB_FAILED);
	struct retried retried;
	struct fault fault;

	(void)state;
	CHECK_NUMBER("a stranger",
		     retry_job(&db, server_id(0), "stranger", arena, &retried,
			       &fault),
		     RETRY_E_NOT_FOUND);
	CHECK_NUMBER("no such job", retry(&db, 5, &retried), RETRY_E_NOT_FOUND);
	/* removed between two looks */
	db.graph = "[]";
	db.edge_count = 0;
	CHECK_NUMBER("gone", retry(&db, 0, &retried), RETRY_E_NOT_FOUND);
	CHECK_NUMBER("written", db.batches, 0);
}

/* d of what_its_failure_stopped_waits_again(): it fails in that moment. */
static void a_child_changes(struct db *db)
{
	if (db->batches == 1)
		db->job[2].version++;
}

static void another_retries_it(struct db *db)
{
	db->job[0].state = JOB_QUEUED;
}

static void they_change_for_ever(struct db *db)
{
	db->job[0].version++;
}

static void what_changed_meanwhile_is_read_again(void **state)
{
	static const struct {
		const char *name;
		void (*faster)(struct db *db);
		int r;
		enum job_state in;
		size_t batches; /* 0: some */
	} cases[] = {
		{ "a child changed", a_child_changes, 0, JOB_QUEUED, 2 },
		{ "another retried it", another_retries_it, RETRY_E_STATE,
		  JOB_QUEUED, 1 },
		{ "for ever", they_change_for_ever, -EAGAIN, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job = { { .state = JOB_FAILED },
				 { .state = JOB_COMPLETED },
				 STOPPED },
			.job_count = 3,
			.edge = { { 0, 2 }, { 1, 2 } },
			.edge_count = 2,
			.faster = cases[i].faster,
		};
		struct retried retried;

		CHECK_NUMBER(cases[i].name, retry(&db, 0, &retried),
			     cases[i].r);
		if (cases[i].r >= 0)
			CHECK_NUMBER(cases[i].name, retried.state, cases[i].in);
		CHECK("some", db.batches > 0 && db.batches < 100);
		if (cases[i].batches > 0)
			CHECK_NUMBER(cases[i].name, db.batches,
				     cases[i].batches);
		/* never one without the other */
		CHECK_NUMBER(cases[i].name, db.job[2].state,
			     cases[i].r == 0 ? JOB_WAITING : JOB_FAILED);
		server_done(&db);
	}
}

static void a_server_that_is_away_fails_it(void **state)
{
	static const struct {
		const char *name;
		enum db_query failing;
		int with, times, r;
	} cases[] = {
		{ "its execution, for a moment", DB_job_brief, -EAGAIN, 1, 0 },
		{ "its execution, for long", DB_job_brief, -EAGAIN, 9,
		  -EAGAIN },
		{ "the others", DB_execution_graph, -EAGAIN, 9, -EAGAIN },
		{ "its last start", DB_start_history, -EAGAIN, 9, -EAGAIN },
		/* it may have been written */
		{ "at it", DB_job_move, -EAGAIN, 1, -EAGAIN },
		{ "and refuses it", DB_job_move, DB_E_DATA, 1, -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = {
			.job = { { .state = JOB_FAILED,
				   .billed = "unknown",
				   .attempt = 1 } },
			.job_count = 1,
			.connected = true,
			.failing = cases[i].failing,
			.fails_with = cases[i].with,
			.fails = cases[i].times,
			.lost = true,
		};
		struct retried retried;

		CHECK_NUMBER(cases[i].name, retry(&db, 0, &retried),
			     cases[i].r);
		CHECK_NUMBER(cases[i].name, db.job[0].state,
			     cases[i].r == 0 ? JOB_START_UNKNOWN : JOB_FAILED);
		server_done(&db);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_paid_twice_that_can_be_helped),
		cmocka_unit_test(the_newest_start_is_looked_for_by_name),
		cmocka_unit_test(
			it_waits_for_parents_that_run_and_for_no_others),
		cmocka_unit_test(the_job_that_failed_by_itself_is_named),
		cmocka_unit_test(what_its_failure_stopped_waits_again),
		cmocka_unit_test(a_strangers_job_is_not_there),
		cmocka_unit_test(what_changed_meanwhile_is_read_again),
		cmocka_unit_test(a_server_that_is_away_fails_it),
	};

	return cmocka_run_group_tests(tests, start, end);
}
