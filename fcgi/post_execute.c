/* SPDX-License-Identifier: MIT */
#include "common/flow/json_out.h"
#include "common/flow/read.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "fcgi/commit.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/*
 * POST /api/execute - take a pipeline in.
 *
 * Parsed and checked here, stored together with others by the committer, and
 * answered 202 after the commit; no provider is asked meanwhile.
 */

/* A media type by its name, parameters aside. */
static bool is_json(const char *content_type)
{
	static const char json[] = "application/json";

	return strncasecmp(content_type, json, sizeof(json) - 1) == 0 &&
	       strchr(" ;\t", content_type[sizeof(json) - 1]);
}

enum { KEY_E_BAD = 1 };

/* The Idempotency-Key, or NULL without one. */
static int find_key(const struct request *request, const char **ret_key)
{
	static const char name[] = "idempotency-key";
	const char *key =
		http_header_value(request->header, request->header_count, name);
	size_t length = key ? strlen(key) : 0;

	*ret_key = key;
	if (!key)
		return 0;
	if (http_header_count(request->header, request->header_count, name) !=
		    1 ||
	    length == 0 || length > LIMIT_IDEMPOTENCY_KEY_BYTES)
		return KEY_E_BAD;
	for (const char *c = key; *c; c++) {
		if (*c < 0x20 || *c > 0x7e)
			return KEY_E_BAD;
	}
	return 0;
}

static int refuse_key(const struct request *request, struct reply *ret)
{
	problem_reply(
		&(struct problem){
			.status = 400,
			.code = "bad_idempotency_key",
			.detail = "Idempotency-Key is given once, with "
				  "1 to 255 printable ASCII characters.",
			.field = "Idempotency-Key",
		},
		request, ret);
	return 0;
}

/* ---- dry run ------------------------------------------------------------ */

static void show_plan(const struct submission *submission, size_t i,
		      int64_t deadline_s, struct json_out *out)
{
	const struct submission_job *job = &submission->job[i];

	json_out_open(out, '{');
	json_out_member(out, "name", job->name);
	json_out_member(out, "provider", job->provider);
	json_out_member(out, "model", job->model);
	json_out_member(out, "status",
			job->depends_on_count > 0 ? "waiting" : "queued");
	json_out_key(out, "depends_on");
	json_out_open(out, '[');
	for (size_t d = 0; d < job->depends_on_count; d++)
		json_out_string(out, submission->job[job->depends_on[d]].name);
	json_out_close(out, ']');
	json_out_member(out, "on_dependency_failure",
			policy_name(job->on_dependency_failure));
	json_out_member_int(out, "deadline_s",
			    job->deadline_s > 0 ? job->deadline_s : deadline_s);
	json_out_member_int(out, "max_attempts",
			    job->max_attempts > 0 ? job->max_attempts
						  : SUBMIT_ATTEMPTS);
	json_out_close(out, '}');
}

static int answer_dry_run(const struct submission *submission,
			  int64_t deadline_s, const struct request *request,
			  struct reply *ret, struct fault *reterr_fault)
{
	struct json_out out = json_out_init(request->arena);

	json_out_open(&out, '{');
	json_out_key(&out, "dry_run");
	json_out_bool(&out, true);
	json_out_member(&out, "name", submission->name);
	json_out_key(&out, "jobs");
	json_out_open(&out, '[');
	for (size_t i = 0; i < submission->job_count; i++)
		show_plan(submission, i, deadline_s, &out);
	json_out_close(&out, ']');
	json_out_close(&out, '}');
	return reply_json(ret, 200, json_out_end(&out, NULL), reterr_fault);
}

/* ---- the request -------------------------------------------------------- */

static int refuse_body(const struct request *request, int r,
		       const struct submission_problem *wrong,
		       struct reply *ret)
{
	problem_reply(
		&(struct problem){
			.status = r == SUBMISSION_E_MALFORMED ? 400 : 422,
			.code = wrong->code,
			.detail = wrong->detail,
			.pointer = wrong->pointer,
		},
		request, ret);
	return 0;
}

static int prepare(const struct conf *conf, const struct request *request,
		   const struct submission *submission, const char *key,
		   struct reply *ret, struct fault *reterr_fault)
{
	const struct submit_options options = {
		.owner = request->owner,
		.idempotency_key = key,
		.body = request->body,
		.body_bytes = request->body_bytes,
		.deadline_s = conf->deadline_s,
	};
	struct commit *commit = arena_alloc(request->arena, sizeof(*commit));
	int r;

	if (!commit)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	commit->kind = COMMIT_SUBMIT;
	r = submit_prepare(submission, &options, request->arena,
			   &commit->submit, reterr_fault);
	if (r == 0)
		*ret = (struct reply){ .commit = commit };
	return r;
}

int post_execute(struct worker *worker, const struct request *request,
		 struct reply *ret, struct fault *reterr_fault)
{
	const struct service *service = worker->service;
	struct submission_problem wrong = { 0 };
	struct submission submission;
	const char *key;
	int r;

	if (request->content_type && !is_json(request->content_type))
		return refuse(request, ret, 415, "not_json",
			      "The body is sent as application/json.");
	if (find_key(request, &key) != 0)
		return refuse_key(request, ret);

	r = submission_parse(request->body, request->body_bytes,
			     &service->rules, request->arena, &submission,
			     &wrong);
	if (r > 0)
		return refuse_body(request, r, &wrong, ret);
	if (r < 0)
		return fault_set(reterr_fault, r, "submission: no memory");
	if (submission.dry_run)
		return answer_dry_run(&submission, service->conf->deadline_s,
				      request, ret, reterr_fault);
	return prepare(service->conf, request, &submission, key, ret,
		       reterr_fault);
}

/* ---- the answer --------------------------------------------------------- */

static void show_accepted(const char *id, const struct submit_item *item,
			  struct arena *arena, struct json_out *out)
{
	json_out_open(out, '{');
	json_out_member(out, "id", id);
	json_out_member(out, "status", "running");
	json_out_key(out, "jobs");
	json_out_open(out, '[');
	for (size_t i = 0; i < item->job_count; i++) {
		const struct submit_job *job = &item->job[i];

		json_out_open(out, '{');
		json_out_member(out, "id", job->id);
		json_out_member(out, "name", job->name);
		json_out_member(out, "status",
				job->waits ? "waiting" : "queued");
		show_job_links(out, job->id, arena);
		json_out_close(out, '}');
	}
	json_out_close(out, ']');
	show_execution_links(out, id, arena);
	json_out_close(out, '}');
}

static int answer_accepted(const struct request *request, const char *id,
			   const char *text, struct reply *ret,
			   struct fault *reterr_fault)
{
	const char *location =
		arena_printf(request->arena, "/api/executions/%s", id);
	int r;

	r = reply_json(ret, 202, location ? text : NULL, reterr_fault);
	if (r == 0)
		reply_add_header(ret, "Location", location);
	return r;
}

static int answer_stored(const struct request *request, const char *id,
			 const struct submit_item *item, struct reply *ret,
			 struct fault *reterr_fault)
{
	struct json_out out = json_out_init(request->arena);

	show_accepted(id, item, request->arena, &out);
	return answer_accepted(request, id, json_out_end(&out, NULL), ret,
			       reterr_fault);
}

static int write_repeated_jobs(const PGresult *rows, struct arena *arena,
			       struct json_out *out, struct fault *reterr_fault)
{
	int r;

	json_out_key(out, "jobs");
	json_out_open(out, '[');
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		const char *job_id = db_row_text(&row, "id");

		json_out_open(out, '{');
		json_out_member(out, "id", job_id);
		json_out_member(out, "name", db_row_text(&row, "name"));
		json_out_member(out, "status", db_row_text(&row, "status"));
		show_job_links(out, job_id, arena);
		json_out_close(out, '}');
		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
	}
	json_out_close(out, ']');
	return 0;
}

/* The same answer again, with the states of now. */
static int answer_repeated(struct worker *worker, const struct request *request,
			   const char *id, struct reply *ret,
			   struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct json_out out = json_out_init(request->arena);
	const char *params[] = { id, request->owner };
	struct db_row row;
	int r;

	r = read_run(worker_db(worker), DB_execution_read, params, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(rows) == 0) /* it was cleaned away a moment ago */
		return refuse_for_now(request, ret, "try_again",
				      "The execution of this key was just "
				      "removed.");
	row = db_row(rows, 0, request->arena);
	json_out_open(&out, '{');
	json_out_member(&out, "id", id);
	json_out_member(&out, "status", db_row_text(&row, "execution_status"));
	r = write_repeated_jobs(rows, request->arena, &out, reterr_fault);
	if (r < 0)
		return r;
	show_execution_links(&out, id, request->arena);
	json_out_close(&out, '}');
	return answer_accepted(request, id, json_out_end(&out, NULL), ret,
			       reterr_fault);
}

int commit_answer_submit(struct worker *worker, const struct request *request,
			 const struct commit *commit, struct reply *ret,
			 struct fault *reterr_fault)
{
	const struct submit_item *item = &commit->submit;

	switch (item->outcome) {
	case SUBMIT_STORED:
		return answer_stored(request, item->id, item, ret,
				     reterr_fault);
	case SUBMIT_TWIN:
		return answer_stored(request, item->id, item->twin_of, ret,
				     reterr_fault);
	case SUBMIT_REPEATED:
		return answer_repeated(worker, request, item->id, ret,
				       reterr_fault);
	case SUBMIT_CONFLICT:
		return refuse(request, ret, 422, "idempotency_conflict",
			      "This Idempotency-Key was used with another "
			      "body.");
	case SUBMIT_BAD:
		return refuse(request, ret, 422, "unstorable",
			      "The database cannot store a value in this "
			      "body.");
	case SUBMIT_AWAY:
		break;
	}
	return refuse_for_now(request, ret, "database_away",
			      "The database cannot be reached. Whether the "
			      "execution was stored is not known: repeat it "
			      "with the same Idempotency-Key.");
}
