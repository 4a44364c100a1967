/* SPDX-License-Identifier: MIT */
#include "common/model/submission.h"

#include "common/model/limits.h"
#include "tests/support/check.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const providers[] = { "replicate", "fal" };
static const struct submission_rules rules = {
	.jobs_max = 10000,
	.providers = providers,
	.provider_count = COUNT_OF(providers),
};

/* What most jobs in these tests begin with. */
#define JOB(name) "{\"name\":\"" name "\",\"provider\":\"fal\",\"model\":\"m\""

static int parse(const char *body, struct arena *arena, struct submission *ret,
		 struct submission_problem *ret_problem)
{
	return submission_parse(body, strlen(body), &rules, arena, ret,
				ret_problem);
}

static void a_whole_pipeline_is_read(void **state)
{
	static const char body[] =
		"{\"name\": \"a trailer\", \"dry_run\": true,"
		" \"metadata\": {\"customer\": 7, \"ratio\": 0.1},"
		" \"jobs\": ["
		"  {\"name\": \"clip\", \"provider\": \"fal\","
		"   \"model\": \"fal-ai/veo3\", \"depends_on\": [\"still\"],"
		"   \"input\": {\"image\": \"${still.output.url}\","
		"               \"audio\": {\"$media\": \"music\"}},"
		"   \"on_dependency_failure\": \"run\","
		"   \"dependency_defaults\": {\"music\": {\"url\": \"x\"}},"
		"   \"deadline_s\": 604800, \"max_attempts\": 10},"
		"  {\"name\": \"still\", \"provider\": \"replicate\","
		"   \"model\": \"owner/name:version\", \"input\": {},"
		"   \"deadline_s\": 1, \"max_attempts\": 1},"
		"  {\"name\": \"music\", \"provider\": \"fal\","
		"   \"model\": \"m\", \"input\": {\"a\": [1, null]},"
		"   \"depends_on\": null, \"on_dependency_failure\": \"skip\","
		"   \"dependency_defaults\": null, \"deadline_s\": null,"
		"   \"max_attempts\": null}]}";
	_cleanup_(arena_freep) struct arena *arena = arena_new(100000);
	struct submission_problem problem = { .code = "untouched" };
	struct submission got;
	const struct submission_job *job;

	(void)state;
	assert_int_equal(parse(body, arena, &got, &problem), 0);
	assert_string_equal(problem.code, "untouched");
	assert_string_equal(got.name, "a trailer");
	assert_true(got.dry_run);
	assert_string_equal(got.metadata, "{\"customer\":7,\"ratio\":0.1}");
	assert_int_equal(got.job_count, 3);
	assert_int_equal(got.edge_count, 2);

	job = &got.job[0];
	assert_string_equal(job->name, "clip");
	assert_string_equal(job->provider, "fal");
	assert_string_equal(job->model, "fal-ai/veo3");
	assert_string_equal(job->input, "{\"image\":\"${still.output.url}\","
					"\"audio\":{\"$media\":\"music\"}}");
	assert_int_equal(job->depends_on_count, 2);
	assert_int_equal(job->depends_on[0], 1);
	assert_int_equal(job->depends_on[1], 2);
	assert_int_equal(job->on_dependency_failure, POLICY_RUN);
	assert_string_equal(job->dependency_defaults,
			    "{\"music\":{\"url\":\"x\"}}");
	assert_int_equal(job->deadline_s, LIMIT_DEADLINE_MOST_S);
	assert_int_equal(job->max_attempts, LIMIT_ATTEMPTS);

	job = &got.job[1];
	assert_int_equal(job->deadline_s, LIMIT_DEADLINE_LEAST_S);
	assert_int_equal(job->max_attempts, 1);
	assert_int_equal(job->depends_on_count, 0);
	assert_int_equal(job->on_dependency_failure, POLICY_FAIL);
	assert_string_equal(job->input, "{}");

	job = &got.job[2];
	assert_int_equal(job->on_dependency_failure, POLICY_SKIP);
	assert_null(job->dependency_defaults);
	assert_int_equal(job->deadline_s, 0);
	assert_int_equal(job->max_attempts, 0);
}

static void little_is_enough(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(100000);
	struct submission_problem problem;
	struct submission got;

	(void)state;
	assert_int_equal(parse("{\"jobs\":[" JOB("a") ",\"input\":{}}]}", arena,
			       &got, &problem),
			 0);
	assert_null(got.name);
	assert_null(got.metadata);
	assert_false(got.dry_run);
	assert_int_equal(got.edge_count, 0);
	assert_int_equal(got.job[0].deadline_s, 0);
}

#define BODY(jobs)   "{\"jobs\":[" jobs "]}"
#define ONE(fields)  BODY(JOB("a") ",\"input\":{}," fields "}")
#define INPUT(input) BODY(JOB("a") ",\"input\":" input "}")
#define TWO(fields)                                                            \
	BODY(JOB("a") ",\"input\":{}}," JOB("b") ",\"input\":{}," fields "}")

static const struct {
	const char *name, *body;
	int want;
	const char *code, *pointer;
	const char *words; /* in the sentence */
} problems[] = {
	{ "nothing", "", SUBMISSION_E_MALFORMED, "malformed_json", "", "line" },
	{ "not JSON", "jobs=1", SUBMISSION_E_MALFORMED, "malformed_json", "",
	  "line 1" },
	{ "cut", "{\"jobs\":[", SUBMISSION_E_MALFORMED, "malformed_json", "",
	  "line 1" },
	{ "key twice", "{\"jobs\":[],\"jobs\":[]}", SUBMISSION_E_MALFORMED,
	  "malformed_json", "", "duplicate" },
	{ "NUL", INPUT("{\"p\":\"\\u0000\"}"), SUBMISSION_E_MALFORMED,
	  "malformed_json", "", "u0000" },
	{ "number jsonb cannot hold", INPUT("{\"x\":1e-99999}"),
	  SUBMISSION_E_MALFORMED, "malformed_json", "", "number" },
	{ "deep",
	  INPUT("{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]"),
	  SUBMISSION_E_MALFORMED, "too_complex", "", "64" },

	{ "array", "[]", SUBMISSION_E_INVALID, "wrong_type", "", "an array" },
	{ "no jobs", "{}", SUBMISSION_E_INVALID, "missing_field", "/jobs",
	  "\"jobs\"" },
	{ "null jobs", "{\"jobs\":null}", SUBMISSION_E_INVALID, "wrong_type",
	  "/jobs", "not null" },
	{ "jobs by name", "{\"jobs\":{}}", SUBMISSION_E_INVALID, "wrong_type",
	  "/jobs", "an array, not an object" },
	{ "empty jobs", "{\"jobs\":[]}", SUBMISSION_E_INVALID, "out_of_range",
	  "/jobs", "at least one" },
	{ "unknown field", "{\"jobs\":[],\"job\":1}", SUBMISSION_E_INVALID,
	  "unknown_field", "/job", "did you mean \"jobs\"" },
	{ "field far from all", "{\"jobs\":[],\"priority\":1}",
	  SUBMISSION_E_INVALID, "unknown_field", "/priority",
	  "jobs, name, metadata, dry_run" },
	{ "field with a slash", "{\"a/b~c\":1}", SUBMISSION_E_INVALID,
	  "unknown_field", "/a~1b~0c", "a/b~c" },
	{ "long field", "{\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\":1}",
	  SUBMISSION_E_INVALID, "unknown_field",
	  "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "no such" },
	{ "name empty", "{\"jobs\":[],\"name\":\"\"}", SUBMISSION_E_INVALID,
	  "out_of_range", "/name", "1 to 128" },
	{ "name with a line end", "{\"jobs\":[],\"name\":\"a\\nb\"}",
	  SUBMISSION_E_INVALID, "bad_name", "/name", "control" },
	{ "name with a DEL", "{\"jobs\":[],\"name\":\"a\\u007fb\"}",
	  SUBMISSION_E_INVALID, "bad_name", "/name", "control" },
	{ "name a number", "{\"jobs\":[],\"name\":7}", SUBMISSION_E_INVALID,
	  "wrong_type", "/name", "a string, not a number" },
	{ "dry_run a word", "{\"jobs\":[],\"dry_run\":\"yes\"}",
	  SUBMISSION_E_INVALID, "wrong_type", "/dry_run", "true or false" },
	{ "metadata a list", "{\"jobs\":[],\"metadata\":[]}",
	  SUBMISSION_E_INVALID, "wrong_type", "/metadata", "an object" },

	{ "job a string", BODY("\"a\""), SUBMISSION_E_INVALID, "wrong_type",
	  "/jobs/0", "a string" },
	{ "job without name", BODY("{}"), SUBMISSION_E_INVALID, "missing_field",
	  "/jobs/0/name", "name" },
	{ "job without provider", BODY("{\"name\":\"a\"}"),
	  SUBMISSION_E_INVALID, "missing_field", "/jobs/0/provider",
	  "provider" },
	{ "job without model", BODY("{\"name\":\"a\",\"provider\":\"fal\"}"),
	  SUBMISSION_E_INVALID, "missing_field", "/jobs/0/model", "model" },
	{ "job without input", BODY(JOB("a") "}"), SUBMISSION_E_INVALID,
	  "missing_field", "/jobs/0/input", "input" },
	{ "second job", BODY(JOB("a") ",\"input\":{}},{}"),
	  SUBMISSION_E_INVALID, "missing_field", "/jobs/1/name", "name" },
	{ "misspelt", ONE("\"depend_on\":[]"), SUBMISSION_E_INVALID,
	  "unknown_field", "/jobs/0/depend_on", "\"depends_on\"" },
	{ "two letters off", ONE("\"max_atempt\":1"), SUBMISSION_E_INVALID,
	  "unknown_field", "/jobs/0/max_atempt", "\"max_attempts\"" },
	{ "name a number of a job",
	  BODY("{\"name\":1,\"provider\":\"fal\",\"model\":\"m\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "wrong_type", "/jobs/0/name", "a string" },
	{ "name with a dot", BODY(JOB("a.b") ",\"input\":{}}"),
	  SUBMISSION_E_INVALID, "bad_name", "/jobs/0/name", "letters" },
	{ "name empty of a job", BODY(JOB("") ",\"input\":{}}"),
	  SUBMISSION_E_INVALID, "bad_name", "/jobs/0/name", "letters" },
	{ "same name",
	  BODY(JOB("a") ",\"input\":{}}," JOB("a") ",\"input\":{}}"),
	  SUBMISSION_E_INVALID, "duplicate_name", "/jobs/1/name",
	  "Job 0 has the name \"a\"" },
	{ "unknown provider",
	  BODY("{\"name\":\"a\",\"provider\":\"sora\",\"model\":\"m\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "unknown_provider", "/jobs/0/provider",
	  "\"sora\"; configured: replicate, fal" },
	{ "provider in capitals",
	  BODY("{\"name\":\"a\",\"provider\":\"Fal\",\"model\":\"m\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "unknown_provider", "/jobs/0/provider", "Fal" },
	{ "provider long",
	  BODY("{\"name\":\"a\",\"provider\":"
	       "\"ffffffffffffffffffffffffffffffffff\",\"model\":\"m\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/provider", "32" },
	{ "model empty",
	  BODY("{\"name\":\"a\",\"provider\":\"fal\",\"model\":\"\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/model", "256" },
	{ "model with a tab",
	  BODY("{\"name\":\"a\",\"provider\":\"fal\",\"model\":"
	       "\"a\\tb\","
	       "\"input\":{}}"),
	  SUBMISSION_E_INVALID, "bad_name", "/jobs/0/model", "control" },
	{ "input null", INPUT("null"), SUBMISSION_E_INVALID, "wrong_type",
	  "/jobs/0/input", "not null" },
	{ "input a list", INPUT("[]"), SUBMISSION_E_INVALID, "wrong_type",
	  "/jobs/0/input", "an object" },

	{ "policy unheard of", ONE("\"on_dependency_failure\":\"ignore\""),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/on_dependency_failure",
	  "\"skip\"" },
	{ "policy none", ONE("\"on_dependency_failure\":\"none\""),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/on_dependency_failure",
	  "\"skip\"" },
	{ "policy a boolean", ONE("\"on_dependency_failure\":false"),
	  SUBMISSION_E_INVALID, "wrong_type", "/jobs/0/on_dependency_failure",
	  "a boolean" },
	{ "deadline zero", ONE("\"deadline_s\":0"), SUBMISSION_E_INVALID,
	  "out_of_range", "/jobs/0/deadline_s", "1 to 604800" },
	{ "deadline too far", ONE("\"deadline_s\":604801"),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/deadline_s",
	  "604800" },
	{ "deadline beyond 32 bits", ONE("\"deadline_s\":4294967297"),
	  SUBMISSION_E_INVALID, "out_of_range", "/jobs/0/deadline_s",
	  "604800" },
	{ "deadline a fraction", ONE("\"deadline_s\":1.5"),
	  SUBMISSION_E_INVALID, "wrong_type", "/jobs/0/deadline_s",
	  "a whole number, not a fraction" },
	{ "attempts zero", ONE("\"max_attempts\":0"), SUBMISSION_E_INVALID,
	  "out_of_range", "/jobs/0/max_attempts", "1 to 10" },
	{ "attempts negative", ONE("\"max_attempts\":-1"), SUBMISSION_E_INVALID,
	  "out_of_range", "/jobs/0/max_attempts", "1 to 10" },
	{ "attempts too many", ONE("\"max_attempts\":11"), SUBMISSION_E_INVALID,
	  "out_of_range", "/jobs/0/max_attempts", "1 to 10" },

	{ "dependency unheard of", TWO("\"depends_on\":[\"a\",\"c\"]"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/1/depends_on/1",
	  "\"c\"" },
	{ "dependency a place", TWO("\"depends_on\":[0]"), SUBMISSION_E_INVALID,
	  "wrong_type", "/jobs/1/depends_on/0", "a number" },
	{ "dependencies a name", TWO("\"depends_on\":\"a\""),
	  SUBMISSION_E_INVALID, "wrong_type", "/jobs/1/depends_on",
	  "an array" },
	{ "reference unheard of", INPUT("{\"p\":[\"x ${c.output.url}\"]}"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/0/input/p/0", "\"c\"" },
	{ "file unheard of", INPUT("{\"p\":{\"$media\":\"c\"}}"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/0/input/p", "\"c\"" },
	{ "reference cut", INPUT("{\"p\":\"${a.output\"}"),
	  SUBMISSION_E_INVALID, "bad_reference", "/jobs/0/input/p", "$${" },
	{ "reference without output", INPUT("{\"p\":\"${a.url}\"}"),
	  SUBMISSION_E_INVALID, "bad_reference", "/jobs/0/input/p", ".output" },

	{ "itself", ONE("\"depends_on\":[\"a\"]"), SUBMISSION_E_INVALID,
	  "dependency_cycle", "/jobs/0", "a -> a" },
	{ "itself by reference", INPUT("{\"p\":\"${a.output.url}\"}"),
	  SUBMISSION_E_INVALID, "dependency_cycle", "/jobs/0", "a -> a" },
	{ "each other",
	  BODY(JOB("a") ",\"input\":{},\"depends_on\":[\"b\"]}," JOB(
		  "b") ",\"input\":{\"p\":\"${a.output.url}\"}}"),
	  SUBMISSION_E_INVALID, "dependency_cycle", "/jobs/0",
	  "2 jobs wait for each other: a -> b -> a" },
	{ "one before a ring",
	  BODY(JOB("x") ",\"input\":{}}," JOB(
		  "a") ",\"input\":{},\"depends_on\":[\"x\",\"a\"]}"),
	  SUBMISSION_E_INVALID, "dependency_cycle", "/jobs/1", "a -> a" },
	{ "behind a ring",
	  BODY(JOB("z") ",\"input\":{},\"depends_on\":[\"a\",\"y\"]}"
			"," JOB("y") ",\"input\":{}}," JOB(
				"a") ",\"input\":{},\"depends_on\":["
				     "\"b\"]}," JOB("b") ",\"input\":{}"
							 ",\"depends_"
							 "on\":"
							 "[\"y\",\"a\"]"
							 "}"),
	  SUBMISSION_E_INVALID, "dependency_cycle", "/jobs/2", "a -> b -> a" },

	{ "defaults without run", ONE("\"dependency_defaults\":{}"),
	  SUBMISSION_E_INVALID, "not_allowed", "/jobs/0/dependency_defaults",
	  "\"run\"" },
	{ "defaults for a stranger",
	  TWO("\"on_dependency_failure\":\"run\","
	      "\"dependency_defaults\":{\"a\":{}}"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/1/dependency_defaults/a",
	  "depends on" },
	{ "defaults for nobody",
	  TWO("\"depends_on\":[\"a\"],\"on_dependency_failure\":"
	      "\"run\","
	      "\"dependency_defaults\":{\"c\":{}}"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/1/dependency_defaults/c",
	  "depends on" },
	{ "defaults for itself",
	  TWO("\"depends_on\":[\"a\"],\"on_dependency_failure\":"
	      "\"run\","
	      "\"dependency_defaults\":{\"b\":{}}"),
	  SUBMISSION_E_INVALID, "unknown_job", "/jobs/1/dependency_defaults/b",
	  "depends on" },
	{ "default a URL",
	  TWO("\"depends_on\":[\"a\"],\"on_dependency_failure\":"
	      "\"run\","
	      "\"dependency_defaults\":{\"a\":\"https://x\"}"),
	  SUBMISSION_E_INVALID, "wrong_type", "/jobs/1/dependency_defaults/a",
	  "an object" },
};

static void wrong_bodies_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(problems); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(100000);
		struct submission got = { .job_count = 4711 };
		struct submission_problem problem = { 0 };

		CHECK_NUMBER(problems[i].name,
			     parse(problems[i].body, arena, &got, &problem),
			     problems[i].want);
		CHECK_TEXT(problems[i].name, problem.code, problems[i].code);
		CHECK_TEXT(problems[i].name, problem.pointer,
			   problems[i].pointer);
		if (!strstr(problem.detail, problems[i].words))
			fail_msg("%s: \"%s\" does not say \"%s\"",
				 problems[i].name, problem.detail,
				 problems[i].words);
		CHECK_NUMBER(problems[i].name, got.job_count, 4711);
	}
}

/* A large body, made piece by piece. */
struct body {
	char *text;
	size_t size;
	FILE *file;
};

static void body_begin(struct body *body)
{
	body->file = open_memstream(&body->text, &body->size);
	assert_non_null(body->file);
	(void)fputs("{\"jobs\":[", body->file);
}

static void body_job(struct body *body, int place, const char *input,
		     int parents)
{
	(void)fprintf(body->file, "%s" JOB("j%d") ",\"input\":%s",
		      place > 0 ? "," : "", place, input);
	(void)fputs(",\"depends_on\":[", body->file);
	for (int i = 1; i <= parents; i++)
		(void)fprintf(body->file, "%s\"j%d\"", i > 1 ? "," : "",
			      place - i);
	(void)fputs("]}", body->file);
}

static int body_parse(struct body *body, struct arena *arena,
		      struct submission *ret,
		      struct submission_problem *ret_problem)
{
	int r;

	(void)fputs("]}", body->file);
	assert_int_equal(fclose(body->file), 0);
	r = submission_parse(body->text, body->size, &rules, arena, ret,
			     ret_problem);
	free(body->text);
	return r;
}

/* 10,000 jobs, nearly 200,000 edges; one more edge is too many. */
static void large_pipelines_are_read(void **state)
{
	for (int extra = 0; extra <= 1; extra++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(LIMIT_ARENA_REQUEST_BYTES);
		struct submission_problem problem = { 0 };
		struct submission got;
		struct body body;
		int left = LIMIT_EDGES + extra, r;

		(void)state;
		body_begin(&body);
		for (int i = 0; i < LIMIT_JOBS; i++) {
			int parents = i < 21 ? i : 21;

			parents = parents < left ? parents : left;
			body_job(&body, i, "{}", parents);
			left -= parents;
		}
		assert_int_equal(left, 0);
		r = body_parse(&body, arena, &got, &problem);
		if (extra) {
			assert_int_equal(r, SUBMISSION_E_INVALID);
			assert_string_equal(problem.code,
					    "too_many_dependencies");
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(got.job_count, LIMIT_JOBS);
		assert_int_equal(got.edge_count, LIMIT_EDGES);
		assert_int_equal(got.job[5000].depends_on_count, 21);
		for (uint32_t i = 0; i < 21; i++)
			assert_int_equal(got.job[5000].depends_on[i],
					 5000 - 21 + i);
	}
}

static void job_count_has_a_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_REQUEST_BYTES);
	struct submission_problem problem = { 0 };
	struct submission got;
	struct body body;

	(void)state;
	body_begin(&body);
	for (int i = 0; i <= LIMIT_JOBS; i++)
		body_job(&body, i, "{}", 0);
	assert_int_equal(body_parse(&body, arena, &got, &problem),
			 SUBMISSION_E_INVALID);
	assert_string_equal(problem.code, "too_many_jobs");
	assert_string_equal(problem.pointer, "/jobs");
	assert_non_null(strstr(problem.detail, "10000"));
}

static void references_have_a_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_REQUEST_BYTES);
	struct submission_problem problem = { 0 };
	struct submission got;
	struct body body;

	(void)state;
	body_begin(&body);
	(void)fputs(JOB("a") ",\"input\":{}}," JOB("b") ",\"input\":{\"p\":\"",
		    body.file);
	for (int i = 0; i <= LIMIT_REFERENCES; i++)
		(void)fputs("${a.output.x}", body.file);
	(void)fputs("\"}}", body.file);
	assert_int_equal(body_parse(&body, arena, &got, &problem),
			 SUBMISSION_E_INVALID);
	assert_string_equal(problem.code, "too_large");
	assert_string_equal(problem.pointer, "/jobs/1/input");
}

/* The largest default body, all references, in the arena of a request. */
static void many_references_fit_a_request(void **state)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_REQUEST_BYTES);
	struct submission_problem problem = { 0 };
	struct submission got;
	struct body body;

	(void)state;
	body_begin(&body);
	(void)fputs(JOB("a") ",\"input\":{}}", body.file);
	for (int job = 0; job < 32; job++) {
		(void)fprintf(body.file, "," JOB("j%d") ",\"input\":{\"p\":[1",
			      job);
		for (int i = 0; i < 9000; i++)
			(void)fputs(",\"${a.output}\"", body.file);
		(void)fputs("]}}", body.file);
	}
	(void)fflush(body.file);
	assert_in_range(body.size, 4000000, LIMIT_BODY_BYTES);
	assert_int_equal(body_parse(&body, arena, &got, &problem), 0);
	assert_int_equal(got.edge_count, 32);
}

/* A ring of 10,000 is found and named shortly. */
static void long_cycles_are_named(void **state)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_REQUEST_BYTES);
	struct submission_problem problem = { 0 };
	struct submission got;
	struct body body;

	(void)state;
	body_begin(&body);
	body_job(&body, 0, "{\"p\":\"${j9999.output.url}\"}", 0);
	for (int i = 1; i < LIMIT_JOBS; i++)
		body_job(&body, i, "{}", 1);
	assert_int_equal(body_parse(&body, arena, &got, &problem),
			 SUBMISSION_E_INVALID);
	assert_string_equal(problem.code, "dependency_cycle");
	assert_string_equal(problem.pointer, "/jobs/0");
	assert_string_equal(problem.detail,
			    "These 10000 jobs wait for each other: j0 -> "
			    "j9999 -> j9998 -> j9997 -> j9996 -> … -> j0.");
}

/* One job more than the largest input, and than the largest metadata. */
static void texts_have_limits(void **state)
{
	static const struct {
		const char *name, *before, *after;
		int fill;
		const char *code, *pointer;
	} cases[] = {
		{ "input", "{\"jobs\":[" JOB("a") ",\"input\":{\"p\":\"",
		  "\"}}]}", LIMIT_INPUT_BYTES - 8, NULL, NULL },
		{ "input", "{\"jobs\":[" JOB("a") ",\"input\":{\"p\":\"",
		  "\"}}]}", LIMIT_INPUT_BYTES - 7, "too_large",
		  "/jobs/0/input" },
		{ "metadata", "{\"metadata\":{\"p\":\"",
		  "\"},\"jobs\":[" JOB("a") ",\"input\":{}}]}",
		  LIMIT_METADATA_BYTES - 8, NULL, NULL },
		{ "metadata", "{\"metadata\":{\"p\":\"",
		  "\"},\"jobs\":[" JOB("a") ",\"input\":{}}]}",
		  LIMIT_METADATA_BYTES - 7, "too_large", "/metadata" },
		{ "name", "{\"name\":\"",
		  "\",\"jobs\":[" JOB("a") ",\"input\":{}}]}",
		  LIMIT_EXECUTION_NAME_BYTES, NULL, NULL },
		{ "name", "{\"name\":\"",
		  "\",\"jobs\":[" JOB("a") ",\"input\":{}}]}",
		  LIMIT_EXECUTION_NAME_BYTES + 1, "out_of_range", "/name" },
		{ "job name", "{\"jobs\":[{\"name\":\"",
		  "\",\"provider\":\"fal\",\"model\":\"m\",\"input\":{}}]}",
		  LIMIT_JOB_NAME_BYTES, NULL, NULL },
		{ "job name", "{\"jobs\":[{\"name\":\"",
		  "\",\"provider\":\"fal\",\"model\":\"m\",\"input\":{}}]}",
		  LIMIT_JOB_NAME_BYTES + 1, "bad_name", "/jobs/0/name" },
		{ "model",
		  "{\"jobs\":[{\"name\":\"a\",\"provider\":\"fal\","
		  "\"model\":\"",
		  "\",\"input\":{}}]}", LIMIT_MODEL_BYTES, NULL, NULL },
		{ "model",
		  "{\"jobs\":[{\"name\":\"a\",\"provider\":\"fal\","
		  "\"model\":\"",
		  "\",\"input\":{}}]}", LIMIT_MODEL_BYTES + 1, "out_of_range",
		  "/jobs/0/model" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(LIMIT_ARENA_REQUEST_BYTES);
		struct submission_problem problem = { 0 };
		struct submission got;
		char *fill = malloc((size_t)cases[i].fill + 1), *body;

		memset(fill, 'x', (size_t)cases[i].fill);
		fill[cases[i].fill] = '\0';
		body = arena_printf(arena, "%s%s%s", cases[i].before, fill,
				    cases[i].after);
		free(fill);
		CHECK_NUMBER(cases[i].name, parse(body, arena, &got, &problem),
			     cases[i].code ? SUBMISSION_E_INVALID : 0);
		CHECK_TEXT(cases[i].name, problem.code, cases[i].code);
		CHECK_TEXT(cases[i].name, problem.pointer, cases[i].pointer);
	}
}

/* A prompt, or whatever else a client sends, is not repeated. */
static void problems_keep_values_private(void **state)
{
	static const char *const bodies[] = {
		"{\"jobs\":\"secret\"}",
		BODY("\"secret\""),
		INPUT("\"secret\""),
		INPUT("{\"p\":\"secret ${\"}"),
		INPUT("{\"p\":\"secret\" \"secret\"}"),
		ONE("\"on_dependency_failure\":\"secret\""),
		ONE("\"depends_on\":[{\"secret\":1}]"),
		BODY("{\"name\":\"no.secret\",\"provider\":\"fal\","
		     "\"model\":\"m\",\"input\":{}}"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(100000);
		struct submission_problem problem = { 0 };
		struct submission got;

		CHECK(bodies[i], parse(bodies[i], arena, &got, &problem) > 0);
		CHECK(bodies[i], !strstr(problem.detail, "secret"));
	}
}

/* Every arena limit from 0 up: the right answer, or none. */
static void small_arenas_fail_cleanly(void **state)
{
	static const struct {
		const char *body;
		int want;
	} cases[] = {
		{ BODY(JOB("a") ",\"input\":{}}," JOB(
			  "b") ",\"input\":{\"p\":\"${a.output.url}\"},"
			       "\"depends_on\":[\"a\"],"
			       "\"on_dependency_failure\":\"run\","
			       "\"dependency_defaults\":{\"a\":{}}}"),
		  0 },
		{ ONE("\"depends_on\":[\"a\"]"), SUBMISSION_E_INVALID },
		{ ONE("\"depends_on\":[\"b\"]"), SUBMISSION_E_INVALID },
		{ ONE("\"depend_on\":[]"), SUBMISSION_E_INVALID },
		{ INPUT("{\"p\":\"${\"}"), SUBMISSION_E_INVALID },
		{ "[", SUBMISSION_E_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int good = 0;

		for (size_t limit = 0; limit < 1500; limit++) {
			_cleanup_(arena_freep) struct arena *arena =
				arena_new(limit);
			struct submission_problem problem = { 0 };
			struct submission got = { .job_count = 4711 };
			int r = parse(cases[i].body, arena, &got, &problem);

			CHECK(cases[i].body,
			      r == cases[i].want || r == -ENOMEM);
			CHECK(cases[i].body, r == 0 ? got.job_count == 2
						    : got.job_count == 4711);
			CHECK(cases[i].body,
			      r <= 0 || (problem.pointer && problem.detail));
			good += r == cases[i].want;
		}
		CHECK(cases[i].body, good > 0 && good < 1500);
	}
}

static int allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void memory_that_ends_fails_cleanly(void **state)
{
	static const char body[] = BODY(JOB("a") ",\"input\":{}}," JOB(
		"b") ",\"input\":{\"p\":\"${a.output.url}\"}}");
	int good = 0;

	(void)state;
	json_set_alloc_funcs(failing_malloc, free);
	for (int most = 0; most < 200; most++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(100000);
		struct submission_problem problem = { 0 };
		struct submission got;
		int r;

		allocations_left = most;
		r = parse(body, arena, &got, &problem);
		/* Within a string jansson calls it wrong JSON. */
		if (r != 0 && r != -ENOMEM && r != SUBMISSION_E_MALFORMED)
			fail_msg("%d allocations: %d %s", most, r,
				 problem.detail);
		good += r == 0;
	}
	json_set_alloc_funcs(malloc, free);
	assert_in_range(good, 1, 199);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_pipeline_is_read),
		cmocka_unit_test(little_is_enough),
		cmocka_unit_test(wrong_bodies_are_named),
		cmocka_unit_test(large_pipelines_are_read),
		cmocka_unit_test(job_count_has_a_limit),
		cmocka_unit_test(references_have_a_limit),
		cmocka_unit_test(many_references_fit_a_request),
		cmocka_unit_test(long_cycles_are_named),
		cmocka_unit_test(texts_have_limits),
		cmocka_unit_test(problems_keep_values_private),
		cmocka_unit_test(small_arenas_fail_cleanly),
		cmocka_unit_test(memory_that_ends_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
