/* SPDX-License-Identifier: MIT */
#include "common/flow/execution.h"

#include "tests/unit/common/flow/server.h"

/* c waits for a and b, which lie behind it: places are the submission's. */
static struct db three_jobs(void)
{
	return (struct db){
		.job = {
			{ .state = JOB_WAITING,
			  .policy = POLICY_RUN,
			  .needs_left = 2,
			  .max_attempts = 3,
			  .version = 5 },
			{ .state = JOB_FAILED,
			  .policy = POLICY_SKIP,
			  .error_code = "media_expired",
			  .billed = "yes",
			  .attempt = 2,
			  .max_attempts = 4,
			  .has_result = true },
			{ .state = JOB_PROCESSING,
			  .attempt = 1,
			  .cancel_requested = true },
		},
		.job_count = 3,
		.edge = { { 1, 0 }, { 2, 0 } },
		.edge_count = 2,
	};
}

static int read(struct db *db, struct arena *arena, struct execution *ret)
{
	struct fault fault = { "" };
	int r = execution_read(db, SERVER_EXECUTION, arena, ret, &fault);

	CHECK_NUMBER("a failure says why", fault.text[0] != '\0', r != 0);
	return r;
}

static void jobs_and_edges_come_as_they_lie_there(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct db db = three_jobs();
	const struct execution_job *job;
	struct execution execution;

	(void)state;
	CHECK_NUMBER("read", read(&db, arena, &execution), 0);
	CHECK_TEXT("id", execution.id, SERVER_EXECUTION);
	CHECK_NUMBER("jobs", execution.job_count, 3);
	job = &execution.job[0];
	CHECK_TEXT("id", job->id, server_id(0));
	CHECK_TEXT("name", job->name, "a");
	CHECK_TEXT("provider", job->provider, "acme");
	CHECK_TEXT("code", job->error_code, NULL);
	CHECK_TEXT("billed", job->billed, NULL);
	CHECK_NUMBER("state", job->state, JOB_WAITING);
	CHECK_NUMBER("policy", job->policy, POLICY_RUN);
	CHECK_NUMBER("version", job->version, 5);
	CHECK_NUMBER("needs", job->needs_left, 2);
	CHECK("result", !job->has_result && !job->cancel_requested);
	job = &execution.job[1];
	CHECK_TEXT("code", job->error_code, "media_expired");
	CHECK_TEXT("billed", job->billed, "yes");
	CHECK_NUMBER("attempt", job->attempt, 2);
	CHECK_NUMBER("most", job->max_attempts, 4);
	CHECK("result", job->has_result && !job->cancel_requested);
	CHECK("cancelling", execution.job[2].cancel_requested);
	CHECK_NUMBER("edges", execution.edge_count, 2);
	CHECK_NUMBER("parent", execution.edge[0].parent, 1);
	CHECK_NUMBER("child", execution.edge[0].child, 0);
	CHECK_NUMBER("parent", execution.edge[1].parent, 2);
}

static void a_job_is_found_by_its_id(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct db db = three_jobs();
	struct execution execution;

	(void)state;
	CHECK_NUMBER("read", read(&db, arena, &execution), 0);
	for (size_t i = 0; i < db.job_count; i++)
		CHECK_NUMBER("place", execution_find(&execution, server_id(i)),
			     i);
	CHECK_NUMBER("a stranger", execution_find(&execution, server_id(3)), 3);
}

static void one_that_is_not_there_has_no_jobs(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct db db = { .job_count = 0 };
	struct execution execution;

	(void)state;
	CHECK_NUMBER("read", read(&db, arena, &execution), 0);
	CHECK_NUMBER("jobs", execution.job_count, 0);
	CHECK_NUMBER("edges", execution.edge_count, 0);
	CHECK_NUMBER("find", execution_find(&execution, server_id(0)), 0);
}

/* What a newer program may have written, or nobody. */
static void what_it_does_not_know_is_no_guess(void **state)
{
#define ROW(status, policy)                                                    \
	"[{\"id\":\"01890000-0000-7000-8000-000000000007\",\"name\":\"a\","    \
	"\"provider\":\"acme\",\"error_code\":null,\"billed\":null,"           \
	"\"status\":\"" status "\",\"on_dependency_failure\":\"" policy        \
	"\",\"version\":1,\"attempt\":0,\"needs_left\":0,\"max_attempts\":1,"  \
	"\"has_result\":false,\"cancel_requested\":false}]"
	static const struct {
		const char *name;
		const char *graph;
		int r;
	} cases[] = {
		{ "all is known", ROW("queued", "skip"), 0 },
		{ "a state", ROW("paused", "skip"), -EBADMSG },
		{ "a policy", ROW("queued", "wait"), -EBADMSG },
		{ "a row of another shape", "[{\"id\":\"a\"}]", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct execution execution = { .id = "untouched" };
		struct db db = { .graph = cases[i].graph };

		CHECK_NUMBER(cases[i].name, read(&db, arena, &execution),
			     cases[i].r);
		if (cases[i].r < 0)
			CHECK_TEXT(cases[i].name, execution.id, "untouched");
	}
}

static void an_edge_leads_to_jobs_of_the_execution(void **state)
{
	static const struct graph_edge wrong[] = { { 0, 7 }, { 7, 0 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct execution execution = { .id = "untouched" };
		struct db db = three_jobs();

		db.edge[1] = wrong[i];
		CHECK_NUMBER("read", read(&db, arena, &execution), -EBADMSG);
		CHECK_TEXT("execution", execution.id, "untouched");
	}
}

static void a_server_that_is_away_fails_it(void **state)
{
	static const struct {
		const char *name;
		enum db_query failing;
		int with, times, r;
		bool lost;
	} cases[] = {
		{ "jobs, for a moment", DB_execution_graph, -EAGAIN, 1, 0,
		  true },
		{ "edges, for a moment", DB_execution_edges, -EAGAIN, 1, 0,
		  true },
		{ "jobs, for long", DB_execution_graph, -EAGAIN, 9, -EAGAIN,
		  true },
		{ "edges, for long", DB_execution_edges, -EAGAIN, 9, -EAGAIN,
		  true },
		{ "an id that is none", DB_execution_graph, DB_E_DATA, 9,
		  -EPROTO, false },
		{ "another schema", DB_execution_edges, -EPROTO, 9, -EPROTO,
		  false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct execution execution = { .id = "untouched" };
		struct fault fault;
		struct db db = three_jobs();

		db.connected = true;
		db.failing = cases[i].failing;
		db.fails_with = cases[i].with;
		db.fails = cases[i].times;
		db.lost = cases[i].lost;
		CHECK_NUMBER(cases[i].name,
			     execution_read(&db, SERVER_EXECUTION, arena,
					    &execution, &fault),
			     cases[i].r);
		if (cases[i].r < 0)
			CHECK_TEXT(cases[i].name, execution.id, "untouched");
	}
}

static void a_small_arena_fails_cleanly(void **state)
{
	size_t limit = 0;
	int r = -ENOMEM;

	(void)state;
	for (; r < 0 && limit < 65536; limit += 64) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		struct execution execution = { .id = "untouched" };
		struct db db = three_jobs();

		r = read(&db, arena, &execution);
		CHECK("result", r == 0 || r == -ENOMEM);
		if (r < 0)
			CHECK_TEXT("execution", execution.id, "untouched");
	}
	CHECK("some were too small, some were not", r == 0 && limit > 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_and_edges_come_as_they_lie_there),
		cmocka_unit_test(a_job_is_found_by_its_id),
		cmocka_unit_test(one_that_is_not_there_has_no_jobs),
		cmocka_unit_test(what_it_does_not_know_is_no_guess),
		cmocka_unit_test(an_edge_leads_to_jobs_of_the_execution),
		cmocka_unit_test(a_server_that_is_away_fails_it),
		cmocka_unit_test(a_small_arena_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
