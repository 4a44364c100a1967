/* SPDX-License-Identifier: MIT */
#include "common/provider/wire.h"

#include "common/model/json_text.h"
#include "common/model/retry_after.h"

#include <errno.h>

struct provider_event wire_event(enum job_event kind)
{
	return (struct provider_event){ .kind = kind, .progress = -1 };
}

struct provider_event wire_only_id(enum job_event kind,
				   const struct provider_event *from)
{
	struct provider_event event = wire_event(kind);

	event.provider_job_id = from->provider_job_id;
	return event;
}

int wire_event_done(const struct provider_event *event,
		    const struct arena *arena, struct provider_event *ret,
		    struct fault *reterr_fault)
{
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the provider's answer");

	*ret = *event;
	return 0;
}

const char *wire_message_json(json_t *value, struct arena *arena)
{
	const char *text = json_string_value(value);

	if (!text)
		text = json_text_write(value, arena);
	return text ? wire_message(text, arena) : NULL;
}

void wire_explain(struct provider_event *event, const char *code,
		  const char *text, struct arena *arena)
{
	event->error_code = code;
	event->error_message = text ? wire_message(text, arena) : NULL;
}

int64_t wire_retry_after_ms(const struct http_response *response,
			    int64_t now_unix_s)
{
	const char *value = http_header_value(
		response->header, response->header_count, "Retry-After");
	const char *date = http_header_value(response->header,
					     response->header_count, "Date");
	int64_t ms = 0;

	if (value)
		(void)retry_after_parse(
			value, retry_after_base(date, now_unix_s), &ms);
	return ms;
}

static const char *refusal_code(unsigned status)
{
	switch (status) {
	case 400:
	case 413:
	case 414:
	case 415:
	case 422:
		return "invalid_input";
	case 401:
	case 403:
		return "provider_auth";
	case 402:
		return "provider_quota";
	case 404:
		return "model_not_found";
	case 429:
		return "provider_throttled";
	default:
		return "provider_refused";
	}
}

static bool is_refused(unsigned status, bool documented)
{
	switch (status) {
	case 401:
	case 413:
	case 414:
	case 429:
	case 431:
		return true;
	case 408: /* whoever waited gave up; the other side may go on */
	case 409:
	case 499:
		return false;
	default:
		return status >= 400 && status < 500 && documented;
	}
}

struct provider_event wire_start_refusal(const struct http_response *response,
					 int64_t now_unix_s, bool documented,
					 const char *text, struct arena *arena)
{
	struct provider_event event;

	if (!is_refused(response->status, documented))
		return wire_start_lost(response, now_unix_s, arena);

	event = wire_event(response->status == 429 ? JOB_THROTTLED
						   : JOB_REFUSED);
	event.billed = JOB_BILLED_NO;
	event.retry_after_ms = wire_retry_after_ms(response, now_unix_s);
	if (!text)
		text = arena_printf(arena, "the provider answered HTTP %u",
				    response->status);
	wire_explain(&event, refusal_code(response->status), text, arena);
	return event;
}

struct provider_event wire_start_lost(const struct http_response *response,
				      int64_t now_unix_s, struct arena *arena)
{
	struct provider_event event = wire_event(JOB_START_LOST);

	event.billed = JOB_BILLED_UNKNOWN;
	event.retry_after_ms = wire_retry_after_ms(response, now_unix_s);
	event.error_code = "start_unconfirmed";
	event.error_message = arena_printf(
		arena,
		"the provider answered HTTP %u to the start, which does not "
		"tell whether it was taken",
		response->status);
	return event;
}

struct provider_event wire_no_answer(const struct http_response *response,
				     int64_t now_unix_s, struct arena *arena)
{
	struct provider_event event = wire_event(JOB_NO_ANSWER);
	unsigned status = response->status;

	event.retry_after_ms = wire_retry_after_ms(response, now_unix_s);
	if (status == 401 || status == 403)
		event.error_code = "provider_auth";
	else if (status == 429)
		event.error_code = "provider_throttled";
	else if (status >= 500)
		event.error_code = "provider_unavailable";
	else
		event.error_code = "provider_answer_unusable";
	event.error_message = arena_printf(
		arena, "the provider answered HTTP %u, of no use", status);
	return event;
}

struct provider_event wire_job_gone(struct arena *arena)
{
	struct provider_event event = wire_event(JOB_PROVIDER_FAILED);

	event.billed = JOB_BILLED_UNKNOWN;
	wire_explain(&event, "provider_job_gone",
		     "the provider does not know this job any more", arena);
	return event;
}
