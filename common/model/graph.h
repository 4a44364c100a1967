/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_GRAPH_H
#define COMMON_MODEL_GRAPH_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The dependencies of an execution's jobs, sorted so that parents come
 * before their children. Nodes are numbers from 0.
 */

struct graph_edge {
	uint32_t parent;
	uint32_t child;
};

struct graph {
	size_t node_count;
	const uint32_t *order; /* nodes, parents first */
	size_t ordered_count;  /* less than node_count: there is a cycle */
	const uint32_t *left; /* per node: parents not in order; 0 if ordered */
	const uint32_t *first; /* children of node n are */
	const uint32_t *child; /* child[first[n]] to child[first[n + 1] - 1] */
};

/**
 * Sort a graph, in a time linear in its nodes and edges.
 *
 * @ret  arena memory: 12 bytes a node, 4 an edge
 *
 * @return 0, also for a graph with a cycle; -EINVAL for an edge that leads
 *	   nowhere; -ENOMEM
 */
_must_check_ int graph_sort(size_t node_count, const struct graph_edge *edge,
			    size_t edge_count, struct arena *arena,
			    struct graph *ret, struct fault *reterr_fault);

#endif
