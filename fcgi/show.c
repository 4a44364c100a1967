/* SPDX-License-Identifier: MIT */
#include "fcgi/show.h"

#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/model/job.h"

#include <errno.h>
#include <string.h>

/* Of a job with a file; a longer one finds more room. */
enum { JOB_TEXT_BYTES = 2000 };

int reply_json(struct reply *ret, unsigned status, const char *text,
	       struct fault *reterr_fault)
{
	if (!text)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	*ret = (struct reply){
		.status = status,
		.body = text,
		.body_bytes = strlen(text),
	};
	return 0;
}

/* ---- jobs --------------------------------------------------------------- */

void show_job_links(struct json_out *out, const char *id, struct arena *arena)
{
	json_out_key(out, "links");
	json_out_open(out, '{');
	json_out_member(out, "self", arena_printf(arena, "/api/jobs/%s", id));
	json_out_member(out, "events",
			arena_printf(arena, "/api/jobs/%s/events", id));
	json_out_close(out, '}');
}

struct shown_file {
	const char *url;
	const char *type;
	int64_t bytes;
	const char *sha256;
};

/* How many rows are about the job of this one, which is the first of them. */
static int count_rows(const struct db_row *job)
{
	int64_t n = 0;
	int i;

	for (i = job->row; i < db_rows(job->result); i++) {
		struct db_row row = db_row(job->result, i, job->arena);
		int64_t of = db_row_int64(&row, "n");

		if (i == job->row)
			n = of;
		if (of != n)
			break;
	}
	return i - job->row;
}

/* A job without files has a row without one. */
static int read_files(const struct db_row *job, struct shown_file *files,
		      int rows, int *ret_count, struct fault *reterr_fault)
{
	int count = 0;

	for (int i = 0; i < rows; i++) {
		struct db_row row =
			db_row(job->result, job->row + i, job->arena);
		struct shown_file file = {
			.url = db_row_text_or_null(&row, "file_url"),
		};
		int r;

		if (!file.url)
			continue;
		file.type = db_row_text(&row, "file_type");
		file.bytes = db_row_int64(&row, "file_bytes");
		file.sha256 = db_row_text(&row, "file_sha256");
		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
		files[count++] = file;
	}
	*ret_count = count;
	return 0;
}

static void show_files(struct json_out *out, const struct shown_file *files,
		       int count)
{
	json_out_member(out, "url", count > 0 ? files[0].url : NULL);
	json_out_key(out, "urls");
	json_out_open(out, '[');
	for (int i = 0; i < count; i++)
		json_out_string(out, files[i].url);
	json_out_close(out, ']');
	json_out_key(out, "media");
	json_out_open(out, '[');
	for (int i = 0; i < count; i++) {
		json_out_open(out, '{');
		json_out_member(out, "url", files[i].url);
		json_out_member(out, "content_type", files[i].type);
		json_out_member_int(out, "bytes", files[i].bytes);
		json_out_member(out, "sha256", files[i].sha256);
		json_out_close(out, '}');
	}
	json_out_close(out, ']');
}

static int show_output(struct json_out *out, struct db_row *row,
		       const char *status, struct fault *reterr_fault)
{
	struct shown_file *files;
	int rows, count, r;

	json_out_key(out, "output");
	if (strcmp(status, "completed") != 0) {
		json_out_raw(out, NULL);
		return 0;
	}
	rows = count_rows(row);
	files = arena_alloc(row->arena, (size_t)rows * sizeof(*files));
	if (!files)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = read_files(row, files, rows, &count, reterr_fault);
	if (r < 0)
		return r;
	json_out_open(out, '{');
	show_files(out, files, count);
	json_out_key(out, "raw");
	json_out_raw(out, db_row_text_or_null(row, "output"));
	json_out_close(out, '}');
	return 0;
}

/* "error" of a job that ended so; "last_error" of one that goes on. */
static void show_error(struct json_out *out, struct db_row *row, bool ended)
{
	const char *code = db_row_text_or_null(row, "error_code");
	const char *message = db_row_text_or_null(row, "error_message");
	const char *billed = db_row_text_or_null(row, "billed");

	json_out_key(out, ended ? "last_error" : "error");
	json_out_raw(out, NULL);
	json_out_key(out, ended ? "error" : "last_error");
	if (!code) {
		json_out_raw(out, NULL);
		return;
	}
	json_out_open(out, '{');
	json_out_member(out, "code", code);
	json_out_member(out, "message", message);
	json_out_member(out, "billed", billed ? billed : "no");
	json_out_close(out, '}');
}

static void show_progress(struct json_out *out, struct db_row *row)
{
	double progress = db_row_double_or(row, "progress", -1);

	json_out_key(out, "progress");
	if (progress < 0)
		json_out_raw(out, NULL);
	else
		json_out_number(out, progress);
}

/* The columns that a job's row has in every statement. */
static void show_job_head(struct json_out *out, struct db_row *row,
			  const char *status, bool cancelling)
{
	json_out_member(out, "name", db_row_text(row, "name"));
	json_out_member(out, "provider", db_row_text(row, "provider"));
	json_out_member(out, "model", db_row_text(row, "model"));
	json_out_member(out, "status", status);
	json_out_key(out, "cancelling");
	json_out_bool(out, cancelling);
	json_out_member_int(out, "attempt", db_row_int32(row, "attempt"));
	show_progress(out, row);
	json_out_member_int(out, "version", db_row_int64(row, "version"));
}

int show_job_find(struct db_row *row, const struct request *request,
		  struct shown_job *ret, struct fault *reterr_fault)
{
	struct shown_job job = {
		.id = db_row_text(row, "id"),
		.execution_id = db_row_text(row, "execution_id"),
	};
	bool is_owner = strcmp(db_row_text(row, "owner"), request->owner) == 0;
	int r;

	job.status = db_row_text(row, "status");
	job.version = db_row_int64(row, "version");
	job.cancelling = db_row_bool(row, "cancelling");
	r = db_row_end(row, reterr_fault);
	if (r < 0)
		return r;
	if (!is_owner)
		return SHOW_E_NOT_FOUND;
	*ret = job;
	return 0;
}

int show_job_text(struct db_row *row, const struct shown_job *job,
		  const char **ret_text, struct fault *reterr_fault)
{
	struct json_out out = json_out_init(row->arena);
	int r;

	json_out_reserve(&out, JOB_TEXT_BYTES);
	json_out_open(&out, '{');
	json_out_member(&out, "id", job->id);
	json_out_member(&out, "execution_id", job->execution_id);
	show_job_head(&out, row, job->status, job->cancelling);
	json_out_member_time(&out, "created_at",
			     db_row_int64(row, "created_unix_ms"));
	json_out_member_time(&out, "started_at",
			     db_row_int64_or(row, "started_unix_ms", 0));
	json_out_member_time(&out, "completed_at",
			     db_row_int64_or(row, "completed_unix_ms", 0));
	json_out_member(&out, "provider_job_id",
			db_row_text_or_null(row, "provider_job_id"));
	json_out_member(&out, "completed_via",
			db_row_text_or_null(row, "completed_via"));
	r = show_output(&out, row, job->status, reterr_fault);
	show_error(&out, row,
		   job_is_terminal(job_state_from_name(job->status)));
	show_job_links(&out, job->id, row->arena);
	json_out_close(&out, '}');
	if (r == 0)
		r = db_row_end(row, reterr_fault);
	if (r == 0)
		*ret_text = json_out_end(&out, NULL);
	return r;
}

int show_job(struct worker *worker, const struct request *request,
	     const char *id, struct shown_job *ret, const char **ret_text,
	     struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	static const int64_t known = 0;
	struct shown_job job;
	struct db_row row;
	const char *params[2];
	int r;

	if (!text_is_uuid(id))
		return SHOW_E_NOT_FOUND;
	params[0] = db_array_text(&id, 1, request->arena);
	params[1] = db_array_int64(&known, 1, request->arena);
	if (!params[0] || !params[1])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = read_run(worker_db(worker), DB_job_read_alone, params, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(rows) == 0)
		return SHOW_E_NOT_FOUND;

	row = db_row(rows, 0, request->arena);
	r = show_job_find(&row, request, &job, reterr_fault);
	if (r == 0)
		r = show_job_text(&row, &job, ret_text, reterr_fault);
	if (r == 0)
		*ret = job;
	return r;
}

/* ---- executions --------------------------------------------------------- */

void show_execution_links(struct json_out *out, const char *id,
			  struct arena *arena)
{
	json_out_key(out, "links");
	json_out_open(out, '{');
	json_out_member(out, "self",
			arena_printf(arena, "/api/executions/%s", id));
	json_out_member(out, "cancel",
			arena_printf(arena, "/api/executions/%s/cancel", id));
	json_out_close(out, '}');
}

static void show_counts(struct json_out *out, struct db_row *row)
{
	int64_t total = db_row_int32(row, "jobs_total");
	int64_t completed = db_row_int32(row, "jobs_completed");
	int64_t failed = db_row_int32(row, "jobs_failed");
	int64_t cancelled = db_row_int32(row, "jobs_cancelled");
	int64_t skipped = db_row_int32(row, "jobs_skipped");

	json_out_key(out, "counts");
	json_out_open(out, '{');
	json_out_member_int(out, "total", total);
	json_out_member_int(out, "running",
			    total - completed - failed - cancelled - skipped);
	json_out_member_int(out, "completed", completed);
	json_out_member_int(out, "failed", failed);
	json_out_member_int(out, "cancelled", cancelled);
	json_out_member_int(out, "skipped", skipped);
	json_out_close(out, '}');
}

int show_execution_row(const PGresult *rows, int i, struct arena *arena,
		       struct json_out *out, const char **ret_id,
		       struct fault *reterr_fault)
{
	struct db_row row = db_row(rows, i, arena);
	const char *id = db_row_text(&row, "execution_id");

	json_out_open(out, '{');
	json_out_member(out, "id", id);
	json_out_member(out, "name",
			db_row_text_or_null(&row, "execution_name"));
	json_out_member(out, "status", db_row_text(&row, "execution_status"));
	show_counts(out, &row);
	json_out_key(out, "metadata");
	json_out_raw(out, db_row_text(&row, "metadata"));
	json_out_member_time(out, "created_at",
			     db_row_int64(&row, "created_unix_ms"));
	json_out_member_time(out, "completed_at",
			     db_row_int64_or(&row, "completed_unix_ms", 0));
	show_execution_links(out, id, arena);
	*ret_id = id;
	return db_row_end(&row, reterr_fault);
}

static int show_jobs(const PGresult *rows, struct arena *arena,
		     struct json_out *out, bool *ret_cancelling,
		     struct fault *reterr_fault)
{
	bool any_cancelling = false;
	int r;

	json_out_key(out, "jobs");
	json_out_open(out, '[');
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		const char *job_id = db_row_text(&row, "id");
		bool cancelling = db_row_bool(&row, "cancelling");

		any_cancelling |= cancelling;
		json_out_open(out, '{');
		json_out_member(out, "id", job_id);
		show_job_head(out, &row, db_row_text(&row, "status"),
			      cancelling);
		json_out_member(out, "error_code",
				db_row_text_or_null(&row, "error_code"));
		show_job_links(out, job_id, arena);
		json_out_close(out, '}');
		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
	}
	json_out_close(out, ']');
	*ret_cancelling = any_cancelling;
	return 0;
}

int show_execution(struct worker *worker, const struct request *request,
		   const char *id, struct shown_execution *ret,
		   const char **ret_text, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct json_out out = json_out_init(request->arena);
	const char *params[] = { id, request->owner };
	struct shown_execution shown = { 0 };
	struct db_row row;
	const char *id_again;
	int r;

	if (!text_is_uuid(id))
		return SHOW_E_NOT_FOUND;
	r = read_run(worker_db(worker), DB_execution_read, params, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(rows) == 0)
		return SHOW_E_NOT_FOUND;

	row = db_row(rows, 0, request->arena);
	shown.status = db_row_text(&row, "execution_status");
	r = show_execution_row(rows, 0, request->arena, &out, &id_again,
			       reterr_fault);
	if (r == 0)
		r = show_jobs(rows, request->arena, &out, &shown.cancelling,
			      reterr_fault);
	if (r < 0)
		return r;
	json_out_close(&out, '}');
	*ret_text = json_out_end(&out, NULL);
	*ret = shown;
	return 0;
}
