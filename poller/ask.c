/* SPDX-License-Identifier: MIT */
#include "poller/ask.h"

#include "common/base/clock.h"
#include "common/model/json_text.h"
#include "poller/gate.h"
#include "poller/token.h"

#include <errno.h>

int ask_send(struct work *work, const struct http_request *request, bool once,
	     http_done_fn *done)
{
	const struct http_options options = {
		.response_bytes_max = work->provider->ops->response_bytes_max,
		.once = once,
	};

	return http_client_send(work->poller->http, request, &options, done,
				work, &work->exchange);
}

void ask_answered(struct work *work, const struct http_result *result)
{
	work->exchange = NULL;
	gate_note(work->provider, result);
}

/* Nothing came that could be read. */
static struct provider_event no_event(const struct http_result *result,
				      enum job_event kind, const char *why)
{
	return (struct provider_event){
		.kind = kind,
		.progress = -1,
		.error_code = result->too_big ? "provider_answer_too_large"
			      : kind == JOB_START_LOST ? "start_unconfirmed"
						       : "provider_unavailable",
		.error_message = why,
		.billed = kind == JOB_START_LOST ? JOB_BILLED_UNKNOWN
						 : JOB_BILLED_NO,
	};
}

struct provider_event ask_event(struct work *work,
				const struct http_result *result,
				provider_event_fn *translate,
				enum job_event otherwise)
{
	struct provider_event event = { 0 };
	struct fault fault = { "" };
	const char *why;
	int r;

	if (result->outcome == HTTP_ANSWERED) {
		json_text_watch();
		r = translate(&work->job, &result->response, clock_unix_s(),
			      result->arena, &event, &fault);
		/* Half understood is not understood. */
		if (r == 0 && json_text_starved())
			r = fault_set(&fault, -ENOMEM,
				      "no memory for the answer");
		if (r == 0)
			return event;
		/* The exchange's arena is full; the words must live
		 * elsewhere. */
		why = arena_strdup(work->arena, fault.text);
	} else {
		why = arena_printf(result->arena,
				   "the provider did not answer: %s",
				   result->fault.text);
	}
	return no_event(result, otherwise, why);
}

bool ask_wants_new_token(struct work *work, const struct http_result *result)
{
	if (!work->provider->ops->token_request || work->renewed_token ||
	    result->outcome != HTTP_ANSWERED || result->response.status != 401)
		return false;
	work->renewed_token = true;
	token_drop(work->provider);
	return true;
}
