/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/flow/retry.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>

/*
 * POST /api/jobs/{id}/retry - run a failed or cancelled job again, and let
 * those wait again that its failure stopped: 202.
 */

static int refuse_state(const struct request *request, enum job_state state,
			struct reply *ret)
{
	const char *detail = arena_printf(
		request->arena,
		"Only a failed or cancelled job can be retried; this one is "
		"%s.",
		job_state_name(state));

	return refuse(request, ret, 409, "not_retryable", detail);
}

static int refuse_dependency(const struct request *request,
			     const struct retried *retried, struct reply *ret)
{
	const char *detail = arena_printf(
		request->arena,
		"It was stopped by a job that it depends on: retry \"%s\" "
		"(%s), which revives this one.",
		retried->blocker_name, retried->blocker);

	return refuse(request, ret, 409, "not_retryable", detail);
}

static int answer(struct worker *worker, const struct request *request,
		  const struct retried *retried, struct reply *ret,
		  struct fault *reterr_fault)
{
	struct json_out out = json_out_init(request->arena);
	struct shown_job job;
	const char *text;
	int r;

	r = show_job(worker, request, request->capture[0], &job, &text,
		     reterr_fault);
	if (r != 0)
		return r < 0 ? r : -EPROTO;
	json_out_open(&out, '{');
	json_out_member(&out, "id", request->capture[0]);
	json_out_member(&out, "status", job.status);
	json_out_member_int(&out, "revived_jobs", (int64_t)retried->revived);
	json_out_key(&out, "job");
	json_out_raw(&out, text);
	show_job_links(&out, request->capture[0], request->arena);
	json_out_close(&out, '}');
	return reply_json(ret, 202, json_out_end(&out, NULL), reterr_fault);
}

int post_job_retry(struct worker *worker, const struct request *request,
		   struct reply *ret, struct fault *reterr_fault)
{
	struct retried retried = { 0 };
	int r = RETRY_E_NOT_FOUND;

	if (text_is_uuid(request->capture[0]))
		r = retry_job(worker_db(worker), request->capture[0],
			      request->owner, request->arena, &retried,
			      reterr_fault);
	if (r == RETRY_E_NOT_FOUND)
		return refuse(request, ret, 404, "job_not_found",
			      "There is no such job.");
	if (r == RETRY_E_STATE)
		return refuse_state(request, retried.state, ret);
	if (r == RETRY_E_WAITING)
		return refuse(
			request, ret, 409, "not_retryable",
			"A job that it, or what it would revive, depends on "
			"is running again; retry it when that one has ended.");
	if (r == RETRY_E_DEPENDENCY)
		return refuse_dependency(request, &retried, ret);
	if (r == 0)
		r = answer(worker, request, &retried, ret, reterr_fault);
	ret->wake = true;
	return r;
}
