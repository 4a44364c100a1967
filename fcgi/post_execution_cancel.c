/* SPDX-License-Identifier: MIT */
#include "common/flow/cancel.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

/*
 * POST /api/executions/{id}/cancel - cancel all of its jobs that have not
 * ended: 202 while providers are being asked, else 200.
 */
int post_execution_cancel(struct worker *worker, const struct request *request,
			  struct reply *ret, struct fault *reterr_fault)
{
	const char *id = request->capture[0];
	struct shown_execution shown;
	const char *text;
	bool wake = false;
	int r;

	/* Whose is it? */
	r = show_execution(worker, request, id, &shown, &text, reterr_fault);
	if (r == 0)
		r = cancel_execution(worker_db(worker), id, &wake,
				     reterr_fault);
	if (r == 0)
		r = show_execution(worker, request, id, &shown, &text,
				   reterr_fault);
	if (r == SHOW_E_NOT_FOUND)
		return refuse(request, ret, 404, "execution_not_found",
			      "There is no such execution.");
	if (r == 0)
		r = reply_json(ret, shown.cancelling ? 202 : 200, text,
			       reterr_fault);
	ret->wake = wake;
	return r;
}
