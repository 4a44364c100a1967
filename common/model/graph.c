/* SPDX-License-Identifier: MIT */
#include "common/model/graph.h"

#include <errno.h>

/* Kahn's algorithm; order is its own queue. @return how many are in order */
static size_t put_in_order(const struct graph *graph, uint32_t *left,
			   uint32_t *order)
{
	size_t known = 0;

	for (size_t node = 0; node < graph->node_count; node++)
		if (left[node] == 0)
			order[known++] = (uint32_t)node;
	for (size_t next = 0; next < known; next++) {
		uint32_t parent = order[next];

		for (uint32_t i = graph->first[parent];
		     i < graph->first[parent + 1]; i++)
			if (--left[graph->child[i]] == 0)
				order[known++] = graph->child[i];
	}
	return known;
}

int graph_sort(size_t node_count, const struct graph_edge *edge,
	       size_t edge_count, struct arena *arena, struct graph *ret,
	       struct fault *reterr_fault)
{
	struct graph graph = { .node_count = node_count };
	uint32_t *order, *left, *first, *child;

	if (node_count >= UINT32_MAX || edge_count > UINT32_MAX)
		return fault_set(reterr_fault, -EINVAL, "graph too large");
	for (size_t i = 0; i < edge_count; i++)
		if (edge[i].parent >= node_count || edge[i].child >= node_count)
			return fault_set(reterr_fault, -EINVAL,
					 "edge %zu leads nowhere", i);

	order = arena_alloc(arena, node_count * sizeof(*order));
	left = arena_alloc(arena, node_count * sizeof(*left));
	first = arena_alloc(arena, (node_count + 1) * sizeof(*first));
	child = arena_alloc(arena, edge_count * sizeof(*child));
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM, "the arena is full");

	/* Children are laid down from the end of each parent's share to its
	 * beginning, which leaves first[] right when all are there. */
	for (size_t i = 0; i < edge_count; i++) {
		left[edge[i].child]++;
		first[edge[i].parent]++;
	}
	for (size_t node = 1; node <= node_count; node++)
		first[node] += first[node - 1];
	for (size_t i = edge_count; i-- > 0;)
		child[--first[edge[i].parent]] = edge[i].child;

	graph.first = first;
	graph.child = child;
	graph.ordered_count = put_in_order(&graph, left, order);
	graph.order = order;
	graph.left = left;
	*ret = graph;
	return 0;
}
