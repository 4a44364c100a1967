/* SPDX-License-Identifier: MIT */
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

/* GET /api/executions/{id} - an execution and its jobs. */
int get_execution(struct worker *worker, const struct request *request,
		  struct reply *ret, struct fault *reterr_fault)
{
	struct shown_execution shown;
	const char *text;
	int r;

	r = show_execution(worker, request, request->capture[0], &shown, &text,
			   reterr_fault);
	if (r == SHOW_E_NOT_FOUND)
		return refuse(request, ret, 404, "execution_not_found",
			      "There is no such execution.");
	return r < 0 ? r : reply_json(ret, 200, text, reterr_fault);
}
