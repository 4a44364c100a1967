/* SPDX-License-Identifier: MIT */
#include "common/model/submission.h"

#include "common/model/graph.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/submission_field.h"
#include "common/model/template.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	KNOWN_BYTES = 512,		/* of the list of providers */
	SCRATCH_BYTES = 16 * LIMIT_MIB, /* for one job's references */
	CYCLE_NAMES = 6,		/* of a cycle, named in the sentence */
};

struct parser {
	struct field_reader fields;
	const struct submission_rules *rules;
	json_t *jobs;	/* borrowed from the document */
	json_t *places; /* object: job name -> its place */
	struct submission_job *job;
	size_t job_count;
	size_t edge_count;
	uint32_t *mark; /* per job: place + 1 of the last that depends on it */
};

static const char *job_pointer(struct parser *parser, size_t place)
{
	return arena_printf(parser->fields.arena, "/jobs/%zu", place);
}

static const struct field body_fields[] = {
	{ "jobs", JSON_ARRAY, true },
	{ "name", JSON_STRING, false },
	{ "metadata", JSON_OBJECT, false },
	{ "dry_run", JSON_TRUE, false },
};

static const struct field job_fields[] = {
	{ "name", JSON_STRING, true },
	{ "provider", JSON_STRING, true },
	{ "model", JSON_STRING, true },
	{ "input", JSON_OBJECT, true },
	{ "depends_on", JSON_ARRAY, false },
	{ "on_dependency_failure", JSON_STRING, false },
	{ "dependency_defaults", JSON_OBJECT, false },
	{ "deadline_s", JSON_INTEGER, false },
	{ "max_attempts", JSON_INTEGER, false },
};

static int take_name(struct parser *parser, const char *base,
		     const json_t *object, size_t place,
		     struct submission_job *job)
{
	const json_t *name = json_object_get(object, "name"), *other;

	if (!template_is_job_name(json_string_value(name),
				  json_string_length(name)))
		return field_refuse(
			&parser->fields, "bad_name",
			field_pointer_to(&parser->fields, base, "name"),
			"The name of a job must have 1 to %d letters, "
			"digits, \"_\" or \"-\".",
			LIMIT_JOB_NAME_BYTES);
	job->name = arena_strdup(parser->fields.arena, json_string_value(name));
	if (!job->name)
		return -ENOMEM;
	other = json_object_get(parser->places, job->name);
	if (other)
		return field_refuse(
			&parser->fields, "duplicate_name",
			field_pointer_to(&parser->fields, base, "name"),
			"Job %lld has the name \"%s\" already.",
			(long long)json_integer_value(other), job->name);
	return json_object_set_new(parser->places, job->name,
				   json_integer((json_int_t)place)) == 0
		       ? 0
		       : -ENOMEM;
}

static int take_provider(struct parser *parser, const char *base,
			 const json_t *object, struct submission_job *job)
{
	const struct submission_rules *rules = parser->rules;
	char known[KNOWN_BYTES] = "none";
	size_t size = 0;
	int r;

	r = field_take_text(&parser->fields, base, object, "provider",
			    LIMIT_PROVIDER_NAME_BYTES, &job->provider);
	if (r != 0)
		return r;
	for (size_t i = 0; i < rules->provider_count; i++)
		if (strcmp(rules->providers[i], job->provider) == 0)
			return 0;
	for (size_t i = 0; i < rules->provider_count && size < sizeof(known);
	     i++)
		size += (size_t)snprintf(known + size, sizeof(known) - size,
					 "%s%s", i > 0 ? ", " : "",
					 rules->providers[i]);
	return field_refuse(&parser->fields, "unknown_provider",
			    field_pointer_to(&parser->fields, base, "provider"),
			    "There is no provider \"%s\"; configured: %s.",
			    job->provider, known);
}

static int take_policy(struct parser *parser, const char *base,
		       const json_t *object, struct submission_job *job)
{
	const json_t *value = json_object_get(object, "on_dependency_failure");
	const char *word = json_string_value(value);

	job->on_dependency_failure =
		word ? policy_from_name(word) : POLICY_FAIL;
	if (job->on_dependency_failure == POLICY_NONE)
		return field_refuse(
			&parser->fields, "out_of_range",
			field_pointer_to(&parser->fields, base,
					 "on_dependency_failure"),
			"The field \"on_dependency_failure\" must be "
			"\"fail\", \"skip\" or \"run\".");
	if (job->dependency_defaults &&
	    job->on_dependency_failure != POLICY_RUN)
		return field_refuse(&parser->fields, "not_allowed",
				    field_pointer_to(&parser->fields, base,
						     "dependency_defaults"),
				    "\"dependency_defaults\" need "
				    "\"on_dependency_failure\": \"run\".");
	return 0;
}

/* All of a job that can be told without the others. */
static int take_job(struct parser *parser, size_t place)
{
	static const struct field_range deadlines = {
		LIMIT_DEADLINE_LEAST_S,
		LIMIT_DEADLINE_MOST_S,
	};
	static const struct field_range attempts = { 1, LIMIT_ATTEMPTS };
	const char *base = job_pointer(parser, place);
	json_t *object = json_array_get(parser->jobs, place);
	struct submission_job job = { 0 };
	int r;

	if (!base)
		return -ENOMEM;
	if (!json_is_object(object))
		return field_refuse(&parser->fields, "wrong_type", base,
				    "A job must be an object, not %s.",
				    field_type_name(object));
	r = field_check(&parser->fields, base, object, job_fields,
			COUNT_OF(job_fields));
	if (r == 0)
		r = take_name(parser, base, object, place, &job);
	if (r == 0)
		r = take_provider(parser, base, object, &job);
	if (r == 0)
		r = field_take_text(&parser->fields, base, object, "model",
				    LIMIT_MODEL_BYTES, &job.model);
	if (r == 0)
		r = field_take_object(&parser->fields, base, object, "input",
				      LIMIT_INPUT_BYTES, &job.input);
	if (r == 0)
		r = field_take_object(
			&parser->fields, base, object, "dependency_defaults",
			LIMIT_DEFAULTS_BYTES, &job.dependency_defaults);
	if (r == 0)
		r = take_policy(parser, base, object, &job);
	if (r == 0)
		r = field_take_number(&parser->fields, base, object,
				      "deadline_s", deadlines, &job.deadline_s);
	if (r == 0)
		r = field_take_number(&parser->fields, base, object,
				      "max_attempts", attempts,
				      &job.max_attempts);
	parser->job[place] = job;
	return r;
}

/* A job's dependencies while they are collected. */
struct edges {
	size_t place; /* of the job that depends */
	uint32_t *parent;
	size_t count;
};

/* @pointer  where the name stands */
static int refuse_name(struct parser *parser, const char *name,
		       const char *pointer)
{
	return field_refuse(&parser->fields, "unknown_job", pointer,
			    "No job in this pipeline has the name \"%s\".",
			    strlen(name) <= LIMIT_JOB_NAME_BYTES ? name : "…");
}

static int add_edge(struct parser *parser, struct edges *edges,
		    const json_t *place)
{
	uint32_t parent = (uint32_t)json_integer_value(place);

	if (parser->mark[parent] == edges->place + 1)
		return 0;
	if (edges->count == LIMIT_DEPENDENCIES ||
	    parser->edge_count == LIMIT_EDGES)
		return field_refuse(
			&parser->fields, "too_many_dependencies",
			job_pointer(parser, edges->place),
			"At most %d dependencies a job and %d in all.",
			LIMIT_DEPENDENCIES, LIMIT_EDGES);
	parser->mark[parent] = (uint32_t)edges->place + 1;
	parser->edge_count++;
	edges->parent[edges->count++] = parent;
	return 0;
}

/* What "depends_on" says. */
static int add_stated(struct parser *parser, struct edges *edges,
		      json_t *depends_on)
{
	for (size_t i = 0; i < json_array_size(depends_on); i++) {
		const json_t *name = json_array_get(depends_on, i), *place;
		const char *text = json_string_value(name);
		int r;

		if (!text)
			return field_refuse(
				&parser->fields, "wrong_type",
				arena_printf(parser->fields.arena,
					     "/jobs/%zu/depends_on/%zu",
					     edges->place, i),
				"A dependency must be the name of a job, "
				"not %s.",
				field_type_name(name));
		place = json_object_get(parser->places, text);
		r = place ? add_edge(parser, edges, place)
			  : refuse_name(parser, text,
					arena_printf(parser->fields.arena,
						     "/jobs/%zu/depends_on/%zu",
						     edges->place, i));
		if (r != 0)
			return r;
	}
	return 0;
}

/* What the input refers to. */
static int add_implied(struct parser *parser, struct edges *edges,
		       const struct template_references *references)
{
	for (size_t i = 0; i < references->count; i++) {
		const char *name = references->reference[i].job;
		const json_t *place = json_object_get(parser->places, name);
		int r;

		r = place ? add_edge(parser, edges, place)
			  : refuse_name(
				    parser, name,
				    arena_printf(
					    parser->fields.arena,
					    "/jobs/%zu/input%s", edges->place,
					    references->reference[i].where));
		if (r != 0)
			return r;
	}
	return 0;
}

static int find_references(struct parser *parser, size_t place,
			   struct arena *scratch,
			   struct template_references *ret)
{
	json_t *input =
		json_object_get(json_array_get(parser->jobs, place), "input");
	const char *where;
	struct fault fault;
	int r;

	r = template_find(input, scratch, ret, &where, &fault);
	if (r == TEMPLATE_E_SYNTAX)
		return field_refuse(
			&parser->fields, "bad_reference",
			arena_printf(parser->fields.arena, "/jobs/%zu/input%s",
				     place, where),
			"A reference cannot be read: %s.", fault.text);
	if (r == -EFBIG)
		return field_refuse(&parser->fields, "too_large",
				    arena_printf(parser->fields.arena,
						 "/jobs/%zu/input", place),
				    "The input is too much: %s.", fault.text);
	return r;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int compare_places(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

static int take_edges(struct parser *parser, size_t place)
{
	/* References are many and short-lived: an arena of their own. */
	_cleanup_(arena_freep) struct arena *scratch = arena_new(SCRATCH_BYTES);
	json_t *depends_on = json_object_get(
		json_array_get(parser->jobs, place), "depends_on");
	struct template_references references;
	struct edges edges = { .place = place };
	size_t most;
	int r;

	if (!scratch)
		return -ENOMEM;
	r = find_references(parser, place, scratch, &references);
	if (r != 0)
		return r;
	most = least(json_array_size(depends_on) + references.count,
		     parser->job_count);
	edges.parent =
		arena_alloc(parser->fields.arena, most * sizeof(*edges.parent));
	if (!edges.parent)
		return -ENOMEM;
	r = add_stated(parser, &edges, depends_on);
	if (r == 0)
		r = add_implied(parser, &edges, &references);
	if (r != 0)
		return r;

	if (edges.count > 1)
		qsort(edges.parent, edges.count, sizeof(*edges.parent),
		      compare_places);
	parser->job[place].depends_on = edges.parent;
	parser->job[place].depends_on_count = edges.count;
	return 0;
}

/* Defaults stand in for dependencies and for nothing else. */
static int check_defaults(struct parser *parser, size_t place)
{
	json_t *defaults = json_object_get(json_array_get(parser->jobs, place),
					   "dependency_defaults");
	const struct submission_job *job = &parser->job[place];
	const char *base, *key;
	json_t *value;

	json_object_foreach(defaults, key, value)
	{
		const json_t *found = json_object_get(parser->places, key);
		uint32_t parent = (uint32_t)json_integer_value(found);

		base = arena_printf(parser->fields.arena,
				    "/jobs/%zu/dependency_defaults", place);
		if (!base)
			return -ENOMEM;
		if (!found || job->depends_on_count == 0 ||
		    !bsearch(&parent, job->depends_on, job->depends_on_count,
			     sizeof(parent), compare_places))
			return field_refuse(
				&parser->fields, "unknown_job",
				field_pointer_to(&parser->fields, base, key),
				"A default is for a job that this one "
				"depends on.");
		if (!json_is_object(value))
			return field_refuse(
				&parser->fields, "wrong_type",
				field_pointer_to(&parser->fields, base, key),
				"A default must be an object such as "
				"{\"url\": \"https://…\"}, not %s.",
				field_type_name(value));
	}
	return 0;
}

/*
 * Name a cycle. Every job that is left has a dependency that is left, so
 * going from one to the next must come back to where it was before.
 */
static int refuse_cycle(struct parser *parser, const uint32_t *left)
{
	uint32_t *seen = arena_alloc(parser->fields.arena,
				     parser->job_count * sizeof(*seen));
	char names[CYCLE_NAMES * (LIMIT_JOB_NAME_BYTES + 4)] = "";
	uint32_t place = 0, start;
	size_t size = 0, length = 0;

	if (!seen)
		return -ENOMEM;
	while (left[place] == 0)
		place++;
	while (!seen[place]) {
		const uint32_t *parent = parser->job[place].depends_on;

		seen[place] = 1;
		while (left[*parent] == 0)
			parent++;
		place = *parent;
	}
	start = place;
	do {
		const uint32_t *parent = parser->job[place].depends_on;

		if (length < CYCLE_NAMES - 1)
			size += (size_t)snprintf(names + size,
						 sizeof(names) - size, "%s -> ",
						 parser->job[place].name);
		while (left[*parent] == 0)
			parent++;
		place = *parent;
		length++;
	} while (place != start);
	return field_refuse(
		&parser->fields, "dependency_cycle", job_pointer(parser, start),
		"These %zu jobs wait for each other: %s%s%s.", length, names,
		length < CYCLE_NAMES ? "" : "… -> ", parser->job[start].name);
}

static int check_cycles(struct parser *parser)
{
	struct graph_edge *edge = arena_alloc(
		parser->fields.arena, parser->edge_count * sizeof(*edge));
	struct graph graph;
	size_t count = 0;
	int r;

	if (!edge)
		return -ENOMEM;
	for (size_t place = 0; place < parser->job_count; place++)
		for (size_t i = 0; i < parser->job[place].depends_on_count; i++)
			edge[count++] = (struct graph_edge){
				.parent = parser->job[place].depends_on[i],
				.child = (uint32_t)place,
			};
	r = graph_sort(parser->job_count, edge, count, parser->fields.arena,
		       &graph, NULL);
	if (r < 0)
		return r;
	return graph.ordered_count == graph.node_count
		       ? 0
		       : refuse_cycle(parser, graph.left);
}

static int take_jobs(struct parser *parser)
{
	size_t most = least(parser->rules->jobs_max, LIMIT_JOBS_MOST);
	int r = 0;

	parser->job_count = json_array_size(parser->jobs);
	if (parser->job_count == 0)
		return field_refuse(&parser->fields, "out_of_range", "/jobs",
				    "A pipeline needs at least one job.");
	if (parser->job_count > most)
		return field_refuse(&parser->fields, "too_many_jobs", "/jobs",
				    "A pipeline may have at most %zu jobs.",
				    most);
	parser->job = arena_alloc(parser->fields.arena,
				  parser->job_count * sizeof(*parser->job));
	parser->mark = arena_alloc(parser->fields.arena,
				   parser->job_count * sizeof(*parser->mark));
	if (arena_failed(parser->fields.arena))
		return -ENOMEM;

	for (size_t i = 0; r == 0 && i < parser->job_count; i++)
		r = take_job(parser, i);
	for (size_t i = 0; r == 0 && i < parser->job_count; i++) {
		r = take_edges(parser, i);
		if (r == 0)
			r = check_defaults(parser, i);
	}
	return r == 0 ? check_cycles(parser) : r;
}

static int take_body(struct parser *parser, json_t *body,
		     struct submission *ret)
{
	struct submission submission = { 0 };
	int r;

	if (!json_is_object(body))
		return field_refuse(&parser->fields, "wrong_type", "",
				    "The body must be an object, not %s.",
				    field_type_name(body));
	r = field_check(&parser->fields, "", body, body_fields,
			COUNT_OF(body_fields));
	if (r == 0)
		r = field_take_text(&parser->fields, "", body, "name",
				    LIMIT_EXECUTION_NAME_BYTES,
				    &submission.name);
	if (r == 0)
		r = field_take_object(&parser->fields, "", body, "metadata",
				      LIMIT_METADATA_BYTES,
				      &submission.metadata);
	if (r != 0)
		return r;
	parser->jobs = json_object_get(body, "jobs");
	r = take_jobs(parser);
	if (r != 0)
		return r;

	submission.dry_run = json_is_true(json_object_get(body, "dry_run"));
	submission.job = parser->job;
	submission.job_count = parser->job_count;
	submission.edge_count = parser->edge_count;
	*ret = submission;
	return 0;
}

int submission_parse(const char *body, size_t body_bytes,
		     const struct submission_rules *rules, struct arena *arena,
		     struct submission *ret,
		     struct submission_problem *reterr_problem)
{
	_cleanup_(json_decrefp) json_t *document = NULL;
	_cleanup_(json_decrefp) json_t *places = json_object();
	struct parser parser = {
		.fields = { .arena = arena, .problem = reterr_problem },
		.rules = rules,
		.places = places,
	};
	struct fault fault;
	int r;

	r = json_text_read(body, body_bytes, &document, &fault);
	if (r == -ENOMEM || !places)
		return -ENOMEM;
	if (r < 0) {
		r = field_refuse(&parser.fields,
				 r == -EFBIG ? "too_complex" : "malformed_json",
				 "", "The body is not the JSON we take: %s.",
				 fault.text);
		return r < 0 ? r : SUBMISSION_E_MALFORMED;
	}
	return take_body(&parser, document, ret);
}
