/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_EXECUTION_H
#define COMMON_FLOW_EXECUTION_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/db.h"
#include "common/model/graph.h"
#include "common/model/job.h"
#include "common/model/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All jobs of an execution with their edges, for decisions about several of
 * them. What was read may be outdated at once: moves compare versions. */

struct execution_job {
	const char *id;
	const char *name;
	const char *provider;
	const char *error_code; /* or NULL */
	const char *billed;	/* or NULL */
	enum job_state state;
	enum policy policy;
	int64_t version;
	int32_t attempt;
	int32_t needs_left;
	int32_t max_attempts;
	bool has_result; /* the provider's media is known */
	bool cancel_requested;
};

struct execution {
	const char *id;
	const struct execution_job *job; /* in the order of the submission */
	size_t job_count;
	const struct graph_edge *edge; /* places in job */
	size_t edge_count;
};

/* @return 0; as db_run(). An execution that is not there has no jobs. */
_must_check_ int execution_read(struct db *db, const char *id,
				struct arena *arena, struct execution *ret,
				struct fault *reterr_fault);

/* The place of a job; job_count if it is not in it. */
size_t execution_find(const struct execution *execution, const char *job_id);

#endif
