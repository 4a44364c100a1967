/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/flow/cancel.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>

/*
 * POST /api/jobs/{id}/cancel - 200 when it is cancelled, 202 while its
 * provider is being asked, 409 when it ended otherwise.
 */

static int refuse_ended(const struct request *request, enum job_state state,
			struct reply *ret)
{
	const char *detail =
		arena_printf(request->arena, "The job has ended already: %s.",
			     job_state_name(state));

	return refuse(request, ret, 409, "already_terminal", detail);
}

int post_job_cancel(struct worker *worker, const struct request *request,
		    struct reply *ret, struct fault *reterr_fault)
{
	const char *id = request->capture[0];
	struct cancelled cancelled = { .state = JOB_STATE_NONE };
	struct shown_job job;
	const char *text;
	int r = CANCEL_E_NOT_FOUND;

	if (text_is_uuid(id))
		r = cancel_job(worker_db(worker), id, request->owner,
			       request->arena, &cancelled, reterr_fault);
	if (r == CANCEL_E_ENDED)
		return refuse_ended(request, cancelled.state, ret);
	if (r == 0)
		r = show_job(worker, request, id, &job, &text, reterr_fault);
	if (r > 0)
		return refuse(request, ret, 404, "job_not_found",
			      "There is no such job.");
	if (r == 0)
		r = reply_json(ret, job.cancelling ? 202 : 200, text,
			       reterr_fault);
	ret->wake = cancelled.wake;
	return r;
}
