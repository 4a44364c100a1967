/* SPDX-License-Identifier: MIT */
#include "common/flow/execution.h"
#include "common/flow/read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_job(const PGresult *rows, int i, struct arena *arena,
		    struct execution_job *ret, struct fault *reterr_fault)
{
	struct db_row row = db_row(rows, i, arena);
	int r;

	*ret = (struct execution_job){
		.id = db_row_text(&row, "id"),
		.name = db_row_text(&row, "name"),
		.provider = db_row_text(&row, "provider"),
		.error_code = db_row_text_or_null(&row, "error_code"),
		.billed = db_row_text_or_null(&row, "billed"),
		.state = job_state_from_name(db_row_text(&row, "status")),
		.policy = policy_from_name(
			db_row_text(&row, "on_dependency_failure")),
		.version = db_row_int64(&row, "version"),
		.attempt = db_row_int32(&row, "attempt"),
		.needs_left = db_row_int32(&row, "needs_left"),
		.max_attempts = db_row_int32(&row, "max_attempts"),
		.has_result = db_row_bool(&row, "has_result"),
		.cancel_requested = db_row_bool(&row, "cancel_requested"),
	};
	r = db_row_end(&row, reterr_fault);
	if (r == 0 &&
	    (ret->state == JOB_STATE_NONE || ret->policy == POLICY_NONE))
		r = fault_set(reterr_fault, -EBADMSG,
			      "a job of an unknown state or policy");
	return r;
}

static int read_jobs(struct db *db, const char *id, struct arena *arena,
		     struct execution *ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct execution_job *jobs;
	int r;

	r = read_run(db, DB_execution_graph, &id, &rows, reterr_fault);
	if (r < 0)
		return r;
	jobs = arena_alloc(arena, ((size_t)db_rows(rows) + 1) * sizeof(*jobs));
	if (!jobs)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (int i = 0; r == 0 && i < db_rows(rows); i++)
		r = read_job(rows, i, arena, &jobs[i], reterr_fault);
	ret->job = jobs;
	ret->job_count = (size_t)db_rows(rows);
	return r;
}

/* To find a job's place by its id. */
struct place {
	const char *id;
	uint32_t place;
};

static int by_id(const void *one, const void *other)
{
	return strcmp(((const struct place *)one)->id,
		      ((const struct place *)other)->id);
}

static struct place *sort_places(const struct execution *execution,
				 struct arena *arena)
{
	struct place *places = arena_alloc(arena, (execution->job_count + 1) *
							  sizeof(*places));

	if (!places)
		return NULL;
	for (size_t i = 0; i < execution->job_count; i++) {
		places[i].id = execution->job[i].id;
		places[i].place = (uint32_t)i;
	}
	qsort(places, execution->job_count, sizeof(*places), by_id);
	return places;
}

static int read_edges(struct db *db, struct arena *arena,
		      struct execution *execution, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct place *places = sort_places(execution, arena);
	struct graph_edge *edges;
	int r;

	r = read_run(db, DB_execution_edges, &execution->id, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	edges = arena_alloc(arena,
			    ((size_t)db_rows(rows) + 1) * sizeof(*edges));
	if (!edges || !places)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		struct place parent = { db_row_text(&row, "parent_id"), 0 };
		struct place child = { db_row_text(&row, "child_id"), 0 };
		const struct place *p, *c;

		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
		p = bsearch(&parent, places, execution->job_count,
			    sizeof(*places), by_id);
		c = bsearch(&child, places, execution->job_count,
			    sizeof(*places), by_id);
		if (!p || !c)
			return fault_set(reterr_fault, -EBADMSG,
					 "an edge that leads nowhere");
		edges[i] = (struct graph_edge){ p->place, c->place };
	}
	execution->edge = edges;
	execution->edge_count = (size_t)db_rows(rows);
	return 0;
}

int execution_read(struct db *db, const char *id, struct arena *arena,
		   struct execution *ret, struct fault *reterr_fault)
{
	struct execution execution = { .id = id };
	int r;

	r = read_jobs(db, id, arena, &execution, reterr_fault);
	if (r == 0)
		r = read_edges(db, arena, &execution, reterr_fault);
	if (r == 0)
		*ret = execution;
	return r;
}

size_t execution_find(const struct execution *execution, const char *job_id)
{
	for (size_t i = 0; i < execution->job_count; i++) {
		if (strcmp(execution->job[i].id, job_id) == 0)
			return i;
	}
	return execution->job_count;
}
