/* SPDX-License-Identifier: MIT */
/* fal's documented errors. */
#include "tests/simulator/fal_error.h"

#include "common/base/macro.h"

#include <stdio.h>
#include <string.h>

enum kind {
	KIND_MODEL,   /* detail is a list */
	KIND_REQUEST, /* detail is text, error_type beside it */
	KIND_BARE,    /* detail is text, nothing beside it */
};

/* clang-format off */
static const struct error {
	const char *type;
	unsigned status;
	enum kind kind;
	bool transient;
	const char *message;
} table[] = {
	{ "content_policy_violation", 422, KIND_MODEL, false,
	  "The content could not be processed because it contained material "
	  "flagged by a content checker." },
	{ "no_media_generated", 422, KIND_MODEL, false,
	  "No media was generated." },
	{ "generation_timeout", 504, KIND_MODEL, true,
	  "The generation timed out." },
	{ "internal_server_error", 500, KIND_MODEL, true,
	  "Internal server error" },
	{ "downstream_service_error", 500, KIND_MODEL, true,
	  "Downstream service error" },
	{ "downstream_service_unavailable", 503, KIND_MODEL, true,
	  "Downstream service unavailable" },
	{ "file_download_error", 422, KIND_MODEL, false,
	  "Failed to download the file." },
	{ "image_too_small", 422, KIND_MODEL, false,
	  "Image dimensions are too small." },
	{ "image_too_large", 422, KIND_MODEL, false,
	  "Image dimensions are too large." },
	{ "feature_not_supported", 422, KIND_MODEL, false,
	  "This feature is not supported." },
	{ "request_timeout", 504, KIND_REQUEST, true, "Request timed out" },
	{ "startup_timeout", 504, KIND_REQUEST, true,
	  "Runner did not start in time" },
	{ "runner_scheduling_failure", 503, KIND_REQUEST, true,
	  "No runner could be scheduled" },
	{ "runner_connection_timeout", 503, KIND_REQUEST, true,
	  "Connection to the runner timed out" },
	{ "runner_disconnected", 503, KIND_REQUEST, true,
	  "The runner disconnected" },
	{ "runner_connection_refused", 503, KIND_REQUEST, true,
	  "The runner refused the connection" },
	{ "runner_connection_error", 503, KIND_REQUEST, true,
	  "Connection to the runner failed" },
	{ "runner_incomplete_response", 502, KIND_REQUEST, true,
	  "The runner's response was incomplete" },
	{ "runner_server_error", 500, KIND_REQUEST, true,
	  "The runner failed" },
	{ "internal_error", 500, KIND_REQUEST, true, "Internal error" },
	{ "client_disconnected", 499, KIND_REQUEST, false,
	  "The client disconnected" },
	{ "client_cancelled", 499, KIND_REQUEST, false,
	  "Request was cancelled by the client" },
	{ "bad_request", 400, KIND_REQUEST, false, "Bad request" },
	{ "concurrent_requests_limit", 429, KIND_REQUEST, true,
	  "Maximum number of concurrent requests reached" },
	{ "exhausted_balance", 403, KIND_BARE, false,
	  "User is locked. Reason: Exhausted balance. Top up your balance." },
	{ "unauthorized", 401, KIND_BARE, false,
	  "Cannot access application without a valid key." },
};
/* clang-format on */

static const struct error *find(const char *type)
{
	for (size_t i = 0; type && i < COUNT_OF(table); i++)
		if (strcmp(table[i].type, type) == 0)
			return &table[i];
	return NULL;
}

/* What a status alone stands for. */
static const struct error *find_by_status(unsigned status)
{
	static const struct {
		unsigned status;
		const char *type;
	} usual[] = {
		{ 400, "bad_request" },
		{ 401, "unauthorized" },
		{ 403, "exhausted_balance" },
		{ 429, "concurrent_requests_limit" },
		{ 499, "client_disconnected" },
		{ 500, "internal_error" },
		{ 502, "runner_incomplete_response" },
		{ 503, "runner_scheduling_failure" },
		{ 504, "request_timeout" },
	};

	for (size_t i = 0; i < COUNT_OF(usual); i++)
		if (usual[i].status == status)
			return find(usual[i].type);
	return NULL;
}

unsigned fal_error_status(const char *type)
{
	const struct error *error = find(type);

	return error ? error->status : 422;
}

static json_t *body_of(const struct error *error, const char *type)
{
	if (error && error->kind == KIND_REQUEST)
		return json_pack("{s:s, s:s}", "detail", error->message,
				 "error_type", error->type);
	if (error && error->kind == KIND_BARE)
		return json_pack("{s:s}", "detail", error->message);
	return json_pack("{s:[{s:[s, s], s:s, s:s, s:s+}]}", "detail", "loc",
			 "body", "prompt", "msg",
			 error ? error->message : "Value is not valid", "type",
			 type, "url", "https://docs.fal.ai/errors#", type);
}

json_t *fal_error_body(const char *type)
{
	return body_of(find(type), type);
}

static void say_kind(struct request *request, const struct error *error)
{
	if (!error || error->kind == KIND_MODEL)
		reply_header(request, "X-Fal-Retryable",
			     error && error->transient ? "true" : "false");
	else if (error->kind == KIND_REQUEST)
		reply_header(request, "X-Fal-Error-Type", error->type);
	if (error && error->status == 429)
		reply_header(request, "X-Fal-needs-retry", "1");
}

void fal_answer_error(struct request *request, const char *type)
{
	say_kind(request, find(type));
	reply_json(request, fal_error_status(type), fal_error_body(type));
}

json_t *fal_request_error(struct request *request, unsigned status,
			  const char *type)
{
	const struct error *error = type ? find(type) : find_by_status(status);

	if (!type && !error)
		return json_pack("{s:s}", "detail", "simulated");
	say_kind(request, error);
	return body_of(error, error ? error->type : type);
}
