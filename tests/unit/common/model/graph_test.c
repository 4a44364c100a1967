/* SPDX-License-Identifier: MIT */
#include "common/model/graph.h"

#include "tests/support/check.h"

#include <errno.h>
#include <stdlib.h>

/* Parents before children, each node once; left tells the rest. */
static void check_order(const char *name, const struct graph *graph,
			const struct graph_edge *edge, size_t edge_count)
{
	uint32_t *place = calloc(graph->node_count + 1, sizeof(*place));

	assert_non_null(place);
	for (size_t i = 0; i < graph->ordered_count; i++) {
		CHECK(name, place[graph->order[i]] == 0);
		CHECK(name, graph->left[graph->order[i]] == 0);
		place[graph->order[i]] = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < edge_count; i++) {
		uint32_t parent = place[edge[i].parent];
		uint32_t child = place[edge[i].child];

		CHECK(name, child == 0 || (parent != 0 && parent < child));
		CHECK(name, child != 0 || graph->left[edge[i].child] > 0);
	}
	free(place);
}

static void graphs_are_sorted(void **state)
{
	static const struct {
		const char *name;
		size_t node_count, edge_count;
		struct graph_edge edge[6];
		size_t ordered_count;
	} cases[] = {
		{ "empty", 0, 0, { { 0 } }, 0 },
		{ "one", 1, 0, { { 0 } }, 1 },
		{ "no edges", 4, 0, { { 0 } }, 4 },
		{ "chain", 3, 2, { { 0, 1 }, { 1, 2 } }, 3 },
		{ "chain backwards", 3, 2, { { 2, 1 }, { 1, 0 } }, 3 },
		{ "diamond",
		  4,
		  4,
		  { { 0, 1 }, { 0, 2 }, { 1, 3 }, { 2, 3 } },
		  4 },
		{ "same edge twice", 2, 2, { { 0, 1 }, { 0, 1 } }, 2 },
		{ "itself", 1, 1, { { 0, 0 } }, 0 },
		{ "ring of two", 2, 2, { { 0, 1 }, { 1, 0 } }, 0 },
		{ "ring behind a job",
		  3,
		  3,
		  { { 0, 1 }, { 1, 2 }, { 2, 1 } },
		  1 },
		{ "job behind a ring",
		  3,
		  3,
		  { { 0, 1 }, { 1, 0 }, { 1, 2 } },
		  0 },
		{ "ring beside a chain",
		  5,
		  4,
		  { { 0, 1 }, { 1, 0 }, { 2, 3 }, { 3, 4 } },
		  3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		struct graph graph;

		CHECK_NUMBER(cases[i].name,
			     graph_sort(cases[i].node_count, cases[i].edge,
					cases[i].edge_count, arena, &graph,
					NULL),
			     0);
		CHECK_NUMBER(cases[i].name, graph.ordered_count,
			     cases[i].ordered_count);
		check_order(cases[i].name, &graph, cases[i].edge,
			    cases[i].edge_count);
	}
}

static void children_are_listed(void **state)
{
	static const struct graph_edge edge[] = {
		{ 0, 3 }, { 2, 1 }, { 0, 1 }, { 2, 3 }, { 0, 2 }
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	struct graph graph;

	(void)state;
	assert_int_equal(graph_sort(4, edge, 5, arena, &graph, NULL), 0);
	assert_int_equal(graph.first[0], 0);
	assert_int_equal(graph.first[1], 3);
	assert_int_equal(graph.first[2], 3);
	assert_int_equal(graph.first[3], 5);
	assert_int_equal(graph.first[4], 5);
	assert_int_equal(graph.child[0], 3);
	assert_int_equal(graph.child[1], 1);
	assert_int_equal(graph.child[2], 2);
	assert_int_equal(graph.child[3], 1);
	assert_int_equal(graph.child[4], 3);
}

static void edges_to_nowhere_are_refused(void **state)
{
	static const struct graph_edge wrong[] = {
		{ 0, 2 }, { 2, 0 }, { UINT32_MAX, 0 }, { 0, UINT32_MAX }
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	struct graph graph = { .node_count = 4711 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		assert_int_equal(
			graph_sort(2, &wrong[i], 1, arena, &graph, NULL),
			-EINVAL);
	assert_int_equal(graph_sort(0, wrong, 1, arena, &graph, NULL), -EINVAL);
	assert_int_equal(graph_sort((size_t)UINT32_MAX + 1, NULL, 0, arena,
				    &graph, NULL),
			 -EINVAL);
	assert_int_equal(graph.node_count, 4711);
}

/* 10,000 nodes, each after the 20 before it. */
static void large_graphs_are_sorted(void **state)
{
	enum { NODES = 10000, PARENTS = 20 };
	static struct graph_edge edge[NODES * PARENTS];
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(NODES * 12 + 4 + NODES * PARENTS * sizeof(uint32_t));
	struct graph graph;
	size_t count = 0;

	(void)state;
	for (uint32_t child = 0; child < NODES; child++)
		for (uint32_t parent = child;
		     parent > 0 && child - parent < PARENTS; parent--)
			/* Numbered backwards, so that order is not given. */
			edge[count++] = (struct graph_edge){
				.parent = NODES - parent,
				.child = NODES - 1 - child,
			};
	assert_int_equal(graph_sort(NODES, edge, count, arena, &graph, NULL),
			 0);
	assert_int_equal(graph.ordered_count, NODES);
	check_order("large", &graph, edge, count);
}

static void small_arenas_fail_cleanly(void **state)
{
	static const struct graph_edge edge[] = { { 0, 1 }, { 1, 2 } };

	(void)state;
	for (size_t limit = 0; limit < 60; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		struct graph graph = { .node_count = 4711 };
		int r = graph_sort(3, edge, 2, arena, &graph, NULL);

		/* "12 bytes a node, 4 an edge", and 4. */
		assert_int_equal(r, limit < 48 ? -ENOMEM : 0);
		assert_int_equal(graph.node_count, r == 0 ? 3 : 4711);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(graphs_are_sorted),
		cmocka_unit_test(children_are_listed),
		cmocka_unit_test(edges_to_nowhere_are_refused),
		cmocka_unit_test(large_graphs_are_sorted),
		cmocka_unit_test(small_arenas_fail_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
