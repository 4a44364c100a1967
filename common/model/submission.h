/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_SUBMISSION_H
#define COMMON_MODEL_SUBMISSION_H

#include "common/base/arena.h"
#include "common/base/macro.h"
#include "common/model/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The body of POST /api/execute: from text to plain, checked data.
 */

struct submission_job {
	const char *name;
	const char *provider;
	const char *model;
	const char *input;	    /* object, compact JSON, references in it */
	const uint32_t *depends_on; /* places in submission.job, ascending,
				       each once; the job's own "depends_on"
				       and what its input refers to */
	size_t depends_on_count;
	enum policy on_dependency_failure;
	const char *dependency_defaults; /* object: name of a dependency ->
				object that stands in for its output should it
				not complete; compact JSON; or NULL */
	int32_t deadline_s;		 /* 0: not said */
	int32_t max_attempts;		 /* paid starts at most; 0: not said */
};

struct submission {
	const char *name;     /* or NULL */
	const char *metadata; /* object, compact JSON, or NULL */
	bool dry_run;
	const struct submission_job *job;
	size_t job_count;
	size_t edge_count; /* sum of all depends_on_count */
};

struct submission_rules {
	size_t jobs_max;	      /* JOBS_PER_EXECUTION_MAX */
	const char *const *providers; /* names of those configured */
	size_t provider_count;
};

/* What is wrong with a body, for problem+json. */
struct submission_problem {
	const char *code;    /* stable, snake_case; static */
	const char *pointer; /* RFC 6901, such as "/jobs/3/depends_on/0" */
	const char *detail;  /* one sentence; names no value but job names and
				field names, for prompts are private */
};

enum {
	SUBMISSION_E_MALFORMED = 1, /* not the JSON we take: 400 */
	SUBMISSION_E_INVALID,	    /* JSON, but not a pipeline: 422 */
};

/**
 * Parse and check a whole body. Linear in its size: names are hashed (with a
 * random seed), the graph is sorted once.
 *
 * Codes: malformed_json, too_complex (400); missing_field, unknown_field,
 *wrong_type, out_of_range, bad_name, duplicate_name, unknown_provider,
 *unknown_job, bad_reference, dependency_cycle, too_many_jobs,
 *too_many_dependencies, too_large, not_allowed (422).
 *
 * @body  need not end in a NUL; its size is the caller's to limit
 * @ret   arena memory, about twice the body and 100 bytes a job
 *
 * @return 0; SUBMISSION_E_MALFORMED or SUBMISSION_E_INVALID and
 *	   *reterr_problem (first problem found); -ENOMEM
 */
_must_check_ int submission_parse(const char *body, size_t body_bytes,
				  const struct submission_rules *rules,
				  struct arena *arena, struct submission *ret,
				  struct submission_problem *reterr_problem);

#endif
