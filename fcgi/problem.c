/* SPDX-License-Identifier: MIT */
#include "fcgi/problem.h"

#include "common/flow/json_out.h"

#include <errno.h>
#include <string.h>

/* In seconds. Static: a 503 for want of memory has it as well. */
static const char retry_after[] = "2";

const char *problem_title(unsigned status)
{
	static const struct {
		unsigned status;
		const char *title;
	} titles[] = {
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Content" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < COUNT_OF(titles); i++) {
		if (titles[i].status == status)
			return titles[i].title;
	}
	return "Error";
}

static const char *problem_text(const struct problem *problem,
				const struct request *request)
{
	struct json_out out = json_out_init(request->arena);

	json_out_open(&out, '{');
	json_out_member(&out, "type", "about:blank");
	json_out_member(&out, "title", problem_title(problem->status));
	json_out_member_int(&out, "status", problem->status);
	if (problem->detail)
		json_out_member(&out, "detail", problem->detail);
	json_out_member(&out, "code", problem->code);
	if (problem->pointer)
		json_out_member(&out, "pointer", problem->pointer);
	if (problem->field)
		json_out_member(&out, "field", problem->field);
	json_out_member(&out, "request_id", request->id);
	json_out_close(&out, '}');
	return json_out_end(&out, NULL);
}

void problem_reply(const struct problem *problem, const struct request *request,
		   struct reply *ret)
{
	static const char no_memory[] =
		"{\"type\":\"about:blank\",\"title\":\"Service Unavailable\","
		"\"status\":503,\"code\":\"out_of_memory\"}";
	const char *text = problem_text(problem, request);

	*ret = (struct reply){
		.status = text ? problem->status : 503,
		.content_type = "application/problem+json",
		.body = text ? text : no_memory,
	};
	ret->body_bytes = strlen(ret->body);

	if (ret->status == 503)
		reply_add_header(ret, "Retry-After", retry_after);
	if (ret->status == 401)
		reply_add_header(ret, "WWW-Authenticate",
				 "Bearer realm=\"rushes\"");
}

int refuse(const struct request *request, struct reply *ret, unsigned status,
	   const char *code, const char *detail)
{
	problem_reply(&(struct problem){ .status = status,
					 .code = code,
					 .detail = detail },
		      request, ret);
	return 0;
}

int refuse_for_now(const struct request *request, struct reply *ret,
		   const char *code, const char *detail)
{
	return refuse(request, ret, 503, code, detail);
}

void problem_from_failure(int r, const struct request *request,
			  struct reply *ret)
{
	if (r == -EAGAIN)
		(void)refuse_for_now(request, ret, "database_away",
				     "The database cannot be reached; nothing "
				     "is known to have changed.");
	else if (r == -ENOMEM)
		(void)refuse_for_now(request, ret, "out_of_memory",
				     "The answer does not fit the memory of "
				     "one request.");
	else
		(void)refuse(request, ret, 500, "internal_error",
			     "The request could not be served; the journal "
			     "has the reason under its request_id.");
}
