/* SPDX-License-Identifier: MIT */
/* The body of POST /api/execute. */
#include "common/model/submission.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/template.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

enum { ARENA_BYTES = 4 * 1024 * 1024, JOBS_MAX = 40 };

static const char *const providers[] = { "replicate", "fal", "vertex" };

static const struct submission_rules rules = {
	.jobs_max = JOBS_MAX,
	.providers = providers,
	.provider_count = COUNT_OF(providers),
};

static const char *const codes[] = {
	"malformed_json", "too_complex",    "missing_field",
	"unknown_field",  "wrong_type",	    "out_of_range",
	"bad_name",	  "duplicate_name", "unknown_provider",
	"unknown_job",	  "bad_reference",  "dependency_cycle",
	"too_many_jobs",  "too_large",	    "too_many_dependencies",
	"not_allowed",
};

static void check_problem(const struct submission_problem *problem)
{
	bool known = false;

	for (size_t i = 0; i < COUNT_OF(codes); i++)
		known |= strcmp(codes[i], problem->code) == 0;
	HOLDS(known);
	HOLDS(*problem->pointer == '\0' || *problem->pointer == '/');
	HOLDS(problem->detail && *problem->detail);
}

static void check_object(const char *text, size_t most)
{
	json_auto_t *value = NULL;

	HOLDS(strlen(text) <= most);
	HOLDS(json_text_read(text, strlen(text), &value, NULL) == 0);
	HOLDS(json_is_object(value));
}

static void check_job(const struct submission *submission, size_t place)
{
	const struct submission_job *job = &submission->job[place];
	bool known = false;

	HOLDS(template_is_job_name(job->name, strlen(job->name)));
	for (size_t i = 0; i < COUNT_OF(providers); i++)
		known |= strcmp(providers[i], job->provider) == 0;
	HOLDS(known);
	HOLDS(*job->model && strlen(job->model) <= LIMIT_MODEL_BYTES);
	check_object(job->input, LIMIT_INPUT_BYTES);
	if (job->dependency_defaults)
		check_object(job->dependency_defaults, LIMIT_DEFAULTS_BYTES);
	HOLDS(job->on_dependency_failure > POLICY_NONE &&
	      job->on_dependency_failure < POLICY_MAX);
	HOLDS(job->deadline_s == 0 ||
	      (job->deadline_s >= LIMIT_DEADLINE_LEAST_S &&
	       job->deadline_s <= LIMIT_DEADLINE_MOST_S));
	HOLDS(job->max_attempts >= 0 && job->max_attempts <= LIMIT_ATTEMPTS);
	for (size_t i = 0; i < place; i++)
		HOLDS(strcmp(submission->job[i].name, job->name) != 0);
	for (size_t i = 0; i < job->depends_on_count; i++) {
		HOLDS(job->depends_on[i] < submission->job_count);
		HOLDS(job->depends_on[i] != place);
		HOLDS(i == 0 || job->depends_on[i] > job->depends_on[i - 1]);
	}
}

/* Take away whatever waits for nothing that is left, until nothing changes:
 * what then remains waits for itself. */
static void check_order(const struct submission *submission)
{
	bool gone[JOBS_MAX] = { false }, changed = true;
	size_t left = submission->job_count;

	while (changed) {
		changed = false;
		for (size_t i = 0; i < submission->job_count; i++) {
			const struct submission_job *job = &submission->job[i];
			bool waits = false;

			for (size_t n = 0; n < job->depends_on_count; n++)
				waits |= !gone[job->depends_on[n]];
			if (gone[i] || waits)
				continue;
			gone[i] = changed = true;
			left--;
		}
	}
	HOLDS(left == 0);
}

static void check_submission(const struct submission *submission)
{
	size_t edges = 0;

	HOLDS(submission->job_count >= 1 && submission->job_count <= JOBS_MAX);
	HOLDS(!submission->name ||
	      strlen(submission->name) <= LIMIT_EXECUTION_NAME_BYTES);
	if (submission->metadata)
		check_object(submission->metadata, LIMIT_METADATA_BYTES);
	for (size_t i = 0; i < submission->job_count; i++) {
		check_job(submission, i);
		edges += submission->job[i].depends_on_count;
	}
	HOLDS(edges == submission->edge_count);
	check_order(submission);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	_cleanup_(arena_freep) struct arena *other = arena_new(ARENA_BYTES);
	struct submission submission = { .name = "untouched" }, again;
	struct submission_problem problem = { .code = NULL }, same;
	char *body = malloc(size ? size : 1); /* ends in no NUL */
	int r;

	HOLDS(arena && other && body);
	if (size > 0)
		memcpy(body, data, size);
	r = submission_parse(body, size, &rules, arena, &submission, &problem);
	HOLDS(r == 0 || r == SUBMISSION_E_MALFORMED ||
	      r == SUBMISSION_E_INVALID || r == -ENOMEM);
	if (r != 0)
		HOLDS(strcmp(submission.name, "untouched") == 0);
	if (r > 0)
		check_problem(&problem);
	if (r == 0)
		check_submission(&submission);

	/* Names are hashed with a seed; what comes out does not show it. */
	HOLDS(submission_parse(body, size, &rules, other, &again, &same) == r);
	if (r > 0)
		HOLDS(strcmp(problem.code, same.code) == 0 &&
		      strcmp(problem.pointer, same.pointer) == 0 &&
		      strcmp(problem.detail, same.detail) == 0);
	if (r == 0)
		HOLDS(submission.job_count == again.job_count &&
		      submission.edge_count == again.edge_count);
	free(body);
	return 0;
}
