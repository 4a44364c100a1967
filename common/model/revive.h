/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_REVIVE_H
#define COMMON_MODEL_REVIVE_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/model/graph.h"
#include "common/model/job.h"
#include "common/model/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Retrying a failed job gives those another chance that its failure stopped:
 * which ones? Pure graph work; the caller reads the execution and writes the
 * result.
 */

struct revive_job {
	enum job_state state;
	enum policy policy;
	bool by_dependency; /* JOB_FAILED because of a dependency only */
};

struct revive_graph {
	const struct revive_job *job; /* edges name their places here */
	size_t job_count;
	const struct graph_edge *edge; /* each once, any order */
	size_t edge_count;
};

/* A job that goes back to JOB_WAITING. */
struct revived {
	uint32_t job;
	uint32_t waits_for; /* parents that are running or running again */
};

/**
 * Find the jobs that come back when one is retried.
 *
 * A job comes back if it is skipped, or failed because of a dependency, and
 * one of its parents is the retried job or comes back itself; unless, with
 * policy fail or skip, another parent is terminal, did not complete and does
 * not come back: then it would only be stopped again, and so would those
 * below it.
 *
 * @ret_revived  arena memory, parents before children; the retried job is
 *               not among them
 *
 * @return 0; -EINVAL for a graph whose edges lead nowhere; -ENOMEM. Linear
 *	   in jobs and edges.
 */
_must_check_ int revive_find(const struct revive_graph *graph, size_t retried,
			     struct arena *arena,
			     const struct revived **ret_revived,
			     size_t *ret_count, struct fault *reterr_fault);

#endif
