/* SPDX-License-Identifier: MIT */
#include "common/model/revive.h"

#include "tests/support/check.h"

#include <errno.h>

/* The kinds of jobs, so that a case is a line: what happened to it, and what
 * it does when a dependency fails. */
enum kind {
	OWN = 'F',     /* failed by itself */
	STOPPED = 'f', /* failed because of a dependency, policy fail */
	SKIPPED = 's', /* skipped, policy skip */
	RAN_BAD = 'r', /* policy run, failed because of a dependency */
	DONE = 'd',    /* completed */
	CANCELLED = 'c',
	WAITING = 'w',
	RUNNING = 'p',
};

static struct revive_job job_of(char kind)
{
	switch ((enum kind)kind) {
	case OWN:
		return (struct revive_job){ JOB_FAILED, POLICY_FAIL, false };
	case STOPPED:
		return (struct revive_job){ JOB_FAILED, POLICY_FAIL, true };
	case SKIPPED:
		return (struct revive_job){ JOB_SKIPPED, POLICY_SKIP, false };
	case RAN_BAD:
		return (struct revive_job){ JOB_FAILED, POLICY_RUN, true };
	case DONE:
		return (struct revive_job){ JOB_COMPLETED, POLICY_FAIL, false };
	case CANCELLED:
		return (struct revive_job){ JOB_CANCELLED, POLICY_FAIL, false };
	case WAITING:
		return (struct revive_job){ JOB_WAITING, POLICY_RUN, false };
	case RUNNING:
		return (struct revive_job){ JOB_PROCESSING, POLICY_FAIL,
					    false };
	}
	fail_msg("no such kind: %c", kind);
	return (struct revive_job){ 0 };
}

/* Edges as text: "01 12" is 0 before 1, 1 before 2. */
static size_t read_edges(const char *text, struct graph_edge *ret)
{
	size_t count = 0;

	for (; *text != '\0'; text += text[2] == ' ' ? 3 : 2)
		ret[count++] = (struct graph_edge){
			.parent = (uint32_t)(text[0] - '0'),
			.child = (uint32_t)(text[1] - '0'),
		};
	return count;
}

static void jobs_come_back(void **state)
{
	static const struct {
		const char *name;
		const char *kinds;
		const char *edges;
		size_t retried;
		const char *want; /* job and what it waits for: "1:1 2:1" */
	} cases[] = {
		{ "alone", "F", "", 0, "" },
		{ "child", "Ff", "01", 0, "1:1" },
		{ "skipped child", "Fs", "01", 0, "1:1" },
		{ "chain", "Ffff", "01 12 23", 0, "1:1 2:1 3:1" },
		{ "chain of both kinds", "Ffsf", "01 12 23", 0, "1:1 2:1 3:1" },
		{ "numbered backwards", "ffF", "21 10", 2, "1:1 0:1" },
		{ "diamond", "Fsff", "01 02 13 23", 0, "1:1 2:1 3:2" },
		{ "beside a completed parent", "Fdf", "02 12", 0, "2:1" },
		{ "beside a running parent", "Fpf", "02 12", 0, "2:2" },
		{ "beside a waiting parent", "Fwf", "02 12", 0, "2:2" },
		{ "ran without it", "Fr", "01", 0, "1:1" },
		{ "ran beside a failed parent", "FFr", "02 12", 0, "2:1" },
		{ "from the middle", "dFf", "01 12", 1, "2:1" },

		{ "not upwards", "fF", "01", 1, "" },
		{ "not sideways", "FFf", "12", 0, "" },
		{ "completed child", "Fd", "01", 0, "" },
		{ "cancelled child", "Fc", "01", 0, "" },
		{ "child that failed by itself", "FF", "01", 0, "" },
		{ "running child", "Fp", "01", 0, "" },
		{ "waiting child", "Fw", "01", 0, "" },
		{ "beside a failed parent", "FFf", "02 12", 0, "" },
		{ "beside a cancelled parent", "Fcf", "02 12", 0, "" },
		{ "beside a skipped parent", "Fss", "02 12", 0, "" },
		{ "below one that stays", "FFff", "02 12 23", 0, "" },
		{ "below one that stays and one that comes back", "FFfff",
		  "02 12 03 24 34", 0, "3:1" },
		{ "below a completed job", "Fdf", "01 12", 0, "" },
		{ "stays, though reached twice", "FfFf", "01 13 23 03", 0,
		  "1:1" },
		{ "the retried one comes not back by itself", "ff", "01", 0,
		  "1:1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		struct graph_edge edge[10];
		struct revive_job job[10];
		struct revive_graph graph = {
			.job = job,
			.job_count = strlen(cases[i].kinds),
			.edge = edge,
			.edge_count = read_edges(cases[i].edges, edge),
		};
		const struct revived *revived;
		char got[100] = "";
		size_t count;

		for (size_t at = 0; at < graph.job_count; at++)
			job[at] = job_of(cases[i].kinds[at]);
		CHECK_NUMBER(cases[i].name,
			     revive_find(&graph, cases[i].retried, arena,
					 &revived, &count, NULL),
			     0);
		for (size_t at = 0; at < count; at++)
			(void)snprintf(got + strlen(got),
				       sizeof(got) - strlen(got), "%s%u:%u",
				       at > 0 ? " " : "", revived[at].job,
				       revived[at].waits_for);
		CHECK_TEXT(cases[i].name, got, cases[i].want);
	}
}

static void a_long_chain_comes_back(void **state)
{
	enum { JOBS = 10000 };
	static struct revive_job job[JOBS];
	static struct graph_edge edge[JOBS - 1];
	const struct revive_graph graph = { job, JOBS, edge, JOBS - 1 };
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	const struct revived *revived;
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < JOBS; i++) {
		job[i] = job_of(i == 0 ? OWN : STOPPED);
		if (i > 0)
			edge[i - 1] = (struct graph_edge){ i - 1, i };
	}
	assert_int_equal(revive_find(&graph, 0, arena, &revived, &count, NULL),
			 0);
	assert_int_equal(count, JOBS - 1);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(revived[i].job, i + 1);
}

static void broken_graphs_are_refused(void **state)
{
	const struct revive_job job[2] = { job_of(OWN), job_of(STOPPED) };
	const struct graph_edge ring[] = { { 0, 1 }, { 1, 0 } };
	const struct graph_edge nowhere[] = { { 0, 2 } };
	const struct revive_graph rings = { job, 2, ring, 2 };
	const struct revive_graph nowheres = { job, 2, nowhere, 1 };
	const struct revive_graph empty = { job, 0, NULL, 0 };
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
	const struct revived *revived = NULL;
	size_t count = 4711;

	(void)state;
	assert_int_equal(revive_find(&rings, 0, arena, &revived, &count, NULL),
			 -EINVAL);
	assert_int_equal(
		revive_find(&nowheres, 0, arena, &revived, &count, NULL),
		-EINVAL);
	assert_int_equal(revive_find(&rings, 2, arena, &revived, &count, NULL),
			 -EINVAL);
	assert_int_equal(revive_find(&empty, 0, arena, &revived, &count, NULL),
			 -EINVAL);
	assert_null(revived);
	assert_int_equal(count, 4711);
}

static void small_arenas_fail_cleanly(void **state)
{
	const struct revive_job job[2] = { job_of(OWN), job_of(STOPPED) };
	const struct graph_edge edge = { 0, 1 };
	const struct revive_graph graph = { job, 2, &edge, 1 };
	int good = 0;

	(void)state;
	for (size_t limit = 0; limit < 200; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		const struct revived *revived = NULL;
		size_t count = 4711;
		int r = revive_find(&graph, 0, arena, &revived, &count, NULL);

		if (r != 0)
			assert_int_equal(r, -ENOMEM);
		assert_int_equal(count, r == 0 ? 1 : 4711);
		good += r == 0;
	}
	assert_in_range(good, 1, 199);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_come_back),
		cmocka_unit_test(a_long_chain_comes_back),
		cmocka_unit_test(broken_graphs_are_refused),
		cmocka_unit_test(small_arenas_fail_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
