/* SPDX-License-Identifier: MIT */
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/*
 * GET /api/jobs/{id} - a job as it stands. Its ETag is its version, so asking
 * again costs next to nothing while nothing has changed.
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

int get_job(struct worker *worker, const struct request *request,
	    struct reply *ret, struct fault *reterr_fault)
{
	struct shown_job job;
	const char *text, *tag;
	int r;

	r = show_job(worker, request, request->capture[0], &job, &text,
		     reterr_fault);
	if (r == SHOW_E_NOT_FOUND)
		return refuse(request, ret, 404, "job_not_found",
			      "There is no such job.");
	if (r < 0)
		return r;
	tag = arena_printf(request->arena, "\"%" PRId64 "\"", job.version);
	if (!tag)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");

	if (has_tag(request, tag)) {
		*ret = (struct reply){ .status = 304 };
	} else {
		r = reply_json(ret, 200, text, reterr_fault);
		if (r < 0)
			return r;
	}
	reply_add_header(ret, "ETag", tag);
	return 0;
}
