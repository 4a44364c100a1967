/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/io/log.h"
#include "fcgi/commit.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * GET /api/jobs/{id} - a job as it stands. Its ETag is its version, so asking
 * again costs next to nothing while nothing has changed. Requests that wait at
 * the same time are read by one statement.
 */

/* Is the tag one of those in If-None-Match? Weak ones count (RFC 9110). */
static bool has_tag(const struct request *request, const char *tag)
{
	const char *at = http_header_value(
		request->header, request->header_count, "if-none-match");
	size_t length = strlen(tag);

	while (at && *at) {
		at += strspn(at, " \t,");
		if (*at == '*')
			return true;
		if (strncmp(at, "W/", 2) == 0)
			at += 2;
		if (strncmp(at, tag, length) == 0 && strchr(" \t,", at[length]))
			return true;
		at += strcspn(at, ",");
	}
	return false;
}

/* The version a client has, if it says one and no more: 0 where it does not. */
static int64_t known_version(const struct request *request)
{
	const char *text = http_header_value(
		request->header, request->header_count, "if-none-match");
	char tag[32];
	int64_t version;

	text = text ? strchr(text, '"') : NULL;
	if (!text)
		return 0;
	version = strtoll(text + 1, NULL, 10);
	(void)snprintf(tag, sizeof(tag), "\"%" PRId64 "\"", version);
	return has_tag(request, tag) ? version : 0;
}

static int refuse_unknown(const struct request *request, struct reply *ret)
{
	return refuse(request, ret, 404, "job_not_found",
		      "There is no such job.");
}

int get_job(struct worker *worker, const struct request *request,
	    struct reply *ret, struct fault *reterr_fault)
{
	struct commit *commit;

	(void)worker;
	if (!text_is_uuid(request->capture[0]))
		return refuse_unknown(request, ret);
	commit = arena_alloc(request->arena, sizeof(*commit));
	if (!commit)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	commit->kind = COMMIT_READ_JOB;
	commit->read_job.id = request->capture[0];
	commit->read_job.known = known_version(request);
	*ret = (struct reply){ .commit = commit };
	return 0;
}

/* ---- together with others ----------------------------------------------- */

static int mark_found(struct read_job *const *items, size_t count,
		      const PGresult *rows, bool together, struct arena *arena,
		      struct fault *reterr_fault)
{
	for (size_t i = 0; i < count; i++)
		items[i]->outcome = READ_NOT_FOUND;
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		int64_t n = db_row_int64(&row, "n");
		bool is_long = together && db_row_bool(&row, "is_long");
		int r = db_row_end(&row, reterr_fault);

		if (r < 0)
			return r;
		if (n < 1 || n > (int64_t)count ||
		    items[n - 1]->outcome != READ_NOT_FOUND)
			continue;
		items[n - 1]->outcome = is_long ? READ_ALONE : READ_FOUND;
		items[n - 1]->rows = rows;
		items[n - 1]->row = i;
	}
	return 0;
}

static void read_jobs(struct worker *worker, enum db_query query,
		      struct read_job *const *items, size_t count,
		      struct arena *arena, PGresult **ret_rows)
{
	const char **ids = arena_alloc(arena, count * sizeof(*ids));
	int64_t *known = arena_alloc(arena, count * sizeof(*known));
	struct fault fault = { "" };
	const char *params[2];
	int r;

	if (!ids || !known)
		return;
	for (size_t i = 0; i < count; i++) {
		ids[i] = items[i]->id;
		known[i] = items[i]->known;
	}
	params[0] = db_array_text(ids, count, arena);
	params[1] = db_array_int64(known, count, arena);
	if (!params[0] || !params[1])
		return;
	r = read_run(worker_db(worker), query, params, ret_rows, &fault);
	if (r == 0)
		r = mark_found(items, count, *ret_rows, query == DB_job_read,
			       arena, &fault);
	if (r == 0)
		return;
	/* What was not looked at is not to be taken for missing. */
	for (size_t i = 0; i < count; i++)
		items[i]->outcome = READ_AWAY;
	log_event(r == -EAGAIN ? LOG_DEBUG : LOG_WARNING, LOG_ID_REQUEST_FAILED,
		  NULL, "%zu jobs could not be read: %s", count, fault.text);
}

void commit_read_jobs(struct worker *worker, struct read_job *const *items,
		      size_t count, struct arena *arena, PGresult **ret_rows)
{
	read_jobs(worker, DB_job_read, items, count, arena, ret_rows);
}

/* ---- the answer --------------------------------------------------------- */

static int answer(const struct request *request, struct db_row *row,
		  struct reply *ret, struct fault *reterr_fault)
{
	struct shown_job job;
	const char *text, *tag;
	int r;

	r = show_job_find(row, request, &job, reterr_fault);
	if (r == SHOW_E_NOT_FOUND)
		return refuse_unknown(request, ret);
	if (r < 0)
		return r;
	tag = arena_printf(request->arena, "\"%" PRId64 "\"", job.version);
	if (!tag)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");

	if (has_tag(request, tag)) {
		*ret = (struct reply){ .status = 304 };
	} else {
		r = show_job_text(row, &job, &text, reterr_fault);
		if (r == 0)
			r = reply_json(ret, 200, text, reterr_fault);
		if (r < 0)
			return r;
	}
	reply_add_header(ret, "ETag", tag);
	return 0;
}

static int answer_read(const struct request *request,
		       const struct read_job *job, struct reply *ret,
		       struct fault *reterr_fault)
{
	struct db_row row;

	if (job->outcome == READ_NOT_FOUND)
		return refuse_unknown(request, ret);
	if (job->outcome != READ_FOUND)
		return fault_set(reterr_fault, -EAGAIN,
				 "the job cannot be read");
	row = db_row(job->rows, job->row, request->arena);
	return answer(request, &row, ret, reterr_fault);
}

int commit_answer_read_job(struct worker *worker, const struct request *request,
			   const struct commit *commit, struct reply *ret,
			   struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct read_job alone = {
		.id = commit->read_job.id,
		.known = commit->read_job.known,
	};
	struct read_job *const items[] = { &alone };

	if (commit->read_job.outcome != READ_ALONE)
		return answer_read(request, &commit->read_job, ret,
				   reterr_fault);
	/* Too long to be read or answered by the thread that does for all. */
	read_jobs(worker, DB_job_read_alone, items, 1, request->arena, &rows);
	return answer_read(request, &alone, ret, reterr_fault);
}
