/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/provider/fal.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
	/* From our start to the time at which they say they got it. */
	CANDIDATE_BEFORE_MS = 60 * 1000,
	CANDIDATE_AFTER_MS = 2 * 60 * 1000,
	CURSOR_MAX = 1024,
};

static const char *header(const struct http_response *response,
			  const char *name)
{
	return http_header_value(response->header, response->header_count,
				 name);
}

/* ---- start ---- */

/* Keep the URLs of a start's answer, as far as they may be of use. */
static const char *keep_urls(const json_t *body, struct arena *arena)
{
	static const char *const keys[] = {
		"status_url",
		"response_url",
		"cancel_url",
	};
	json_auto_t *ref = json_object();

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		const char *url = wire_string(body, keys[i]);

		if (url && strlen(url) <= WIRE_REF_URL_MAX &&
		    wire_is_url(url, arena))
			(void)json_object_set_new(ref, keys[i],
						  json_string(url));
	}
	return json_object_size(ref) > 0 ? json_text_write(ref, arena) : NULL;
}

static struct provider_event accepted(const struct http_response *response,
				      const json_t *body, int64_t now_unix_s,
				      struct arena *arena)
{
	struct provider_event event;
	const char *id = wire_string(body, "request_id");

	/* The id of a paid request is worth a look at the header. */
	if (!id)
		id = header(response, "x-fal-request-id");
	if (!id || !wire_is_id(id, WIRE_ID_MAX))
		return wire_start_lost(response, now_unix_s, arena);

	event = wire_event(JOB_ACCEPTED);
	event.provider_job_id = arena_strdup(arena, id);
	event.provider_ref = keep_urls(body, arena);
	return event;
}

static struct provider_event refused(const struct http_response *response,
				     json_t *body, int64_t now_unix_s,
				     struct arena *arena)
{
	struct fal_trouble trouble = { .type = NULL };
	bool documented = fal_read_trouble(body, &trouble);
	const char *text = json_string_value(trouble.message);
	struct provider_event event;

	event = wire_start_refusal(response, now_unix_s, documented, text,
				   arena);
	if (event.kind != JOB_REFUSED)
		return event;

	if (!text && trouble.message)
		event.error_message = wire_message_json(trouble.message, arena);
	if (response->status == 403 && text &&
	    (strcasestr(text, "balance") || strcasestr(text, "locked")))
		event.error_code = "provider_quota";
	else if (fal_is_known(trouble.type))
		event.error_code = fal_failure(&trouble, arena).error_code;
	return event;
}

int fal_start_event(const struct job *job, const struct http_response *response,
		    int64_t now_unix_s, struct arena *arena,
		    struct provider_event *ret, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse_answer(response, &body, reterr_fault);

	(void)job;
	if (r < 0)
		return r;
	if (wire_is_success(response))
		event = accepted(response, body, now_unix_s, arena);
	else
		event = refused(response, body, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- status ---- */

/* COMPLETED: with a result, or with an error. */
static struct provider_event completed(json_t *body, struct arena *arena)
{
	json_t *error = json_object_get(body, "error");
	struct fal_trouble trouble = {
		.type = wire_string(body, "error_type"),
		.message = error,
		.status = fal_status_in_text(json_string_value(error)),
	};

	if (fal_is_known(trouble.type) || trouble.status >= 500)
		return fal_failure(&trouble, arena);
	/* Without an error there is a result; with one that says little, the
	 * result has the model's own words for it. */
	return wire_event(JOB_RESULT_READY);
}

/* @return whether the body was about the job at all */
static bool read_status(json_t *body, const struct job *job,
			struct arena *arena, struct provider_event *ret)
{
	const char *status = wire_string(body, "status");
	const char *id = wire_string(body, "request_id");

	if (!status || (id && (!wire_is_id(id, WIRE_ID_MAX) ||
			       (job->provider_job_id &&
				strcmp(id, job->provider_job_id) != 0))))
		return false;

	if (strcasecmp(status, "COMPLETED") == 0) {
		*ret = completed(body, arena);
	} else {
		*ret = wire_event(JOB_PROGRESS);
		if (strcasecmp(status, "IN_QUEUE") != 0 &&
		    strcasecmp(status, "IN_PROGRESS") != 0)
			ret->unknown_status = wire_message(status, arena);
	}
	if (id)
		ret->provider_job_id = arena_strdup(arena, id);
	return true;
}

int fal_status_event(const struct job *job,
		     const struct http_response *response, int64_t now_unix_s,
		     struct arena *arena, struct provider_event *ret,
		     struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse_answer(response, &body, reterr_fault);

	if (r < 0)
		return r;
	if (response->status == 404 || response->status == 410)
		event = wire_job_gone(arena);
	else if (!wire_is_success(response) ||
		 !read_status(body, job, arena, &event))
		event = wire_no_answer(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- result ---- */

/* The queue said that it was completed, and has the result no more. */
static struct provider_event expired(struct arena *arena)
{
	struct provider_event event = wire_event(JOB_PROVIDER_FAILED);

	event.billed = JOB_BILLED_UNKNOWN;
	wire_explain(&event, "media_expired",
		     "the provider has removed the result, which it keeps for "
		     "an hour at most",
		     arena);
	return event;
}

/* An error answer to the request for the result: is it the model's own
 * error, or was the result just not to be had now? */
static struct provider_event no_result(const struct http_response *response,
				       json_t *body, int64_t now_unix_s,
				       struct arena *arena)
{
	const char *retryable = header(response, "X-Fal-Retryable");
	const char *type = header(response, "X-Fal-Error-Type");
	struct fal_trouble trouble = {
		.status = response->status,
		.retryable = retryable && strcasecmp(retryable, "true") == 0,
		.not_retryable =
			retryable && strcasecmp(retryable, "false") == 0,
	};
	bool documented = fal_read_trouble(body, &trouble);
	const char *text = json_string_value(trouble.message);

	if (!trouble.type)
		trouble.type = type;
	if (fal_is_known(trouble.type))
		return fal_failure(&trouble, arena);

	switch (response->status) {
	case 404:
	case 410:
		return expired(arena);
	case 401:
	case 403:
	case 408:
	case 409:
	case 429:
		return wire_no_answer(response, now_unix_s, arena);
	default:
		break;
	}
	/* Asked too early, says the queue. */
	if (response->status == 400 && text && strcasestr(text, "in progress"))
		return wire_event(JOB_PROGRESS);
	if (documented && response->status >= 400 &&
	    (response->status < 500 || retryable || trouble.type))
		return fal_failure(&trouble, arena);
	return wire_no_answer(response, now_unix_s, arena);
}

int fal_result_event(const struct job *job,
		     const struct http_response *response, int64_t now_unix_s,
		     struct arena *arena, struct provider_event *ret,
		     struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse_answer(response, &body, reterr_fault);

	(void)job;
	if (r < 0)
		return r;
	if (!wire_is_success(response))
		event = no_result(response, body, now_unix_s, arena);
	else if (body)
		event = fal_rendered(body, arena);
	else
		event = wire_no_answer(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- cancel ---- */

int fal_cancel_event(const struct job *job,
		     const struct http_response *response, int64_t now_unix_s,
		     struct arena *arena, struct provider_event *ret,
		     struct fault *reterr_fault)
{
	unsigned status = response->status;
	struct provider_event event;

	(void)job;
	/* Too late, or not known: a check will say what it came to. */
	if (wire_is_success(response) || status == 400 || status == 404 ||
	    status == 409 || status == 410)
		event = wire_event(JOB_CANCEL_TRIED);
	else
		event = wire_no_answer(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- list ---- */

/* fal repeats nothing that names our job, so that an item is ours if its
 * input is, and it came when we sent it. */
static bool may_be_ours(json_t *item, const struct job *job, json_t *input)
{
	const char *sent = wire_string(item, "sent_at");
	const char *id = wire_string(item, "request_id");
	json_t *item_input = json_object_get(item, "json_input");
	int64_t sent_ms;

	if (!sent)
		sent = wire_string(item, "started_at");
	return id && wire_is_id(id, WIRE_ID_MAX) && sent && item_input &&
	       wire_parse_time(sent, &sent_ms) &&
	       sent_ms >= job->started_unix_ms - CANDIDATE_BEFORE_MS &&
	       sent_ms <= job->started_unix_ms + CANDIDATE_AFTER_MS &&
	       wire_same(item_input, input);
}

/* The one that was found: with its result, if the list has it, because the
 * queue forgets it sooner than the list does. */
static struct provider_event found(json_t *item, struct arena *arena)
{
	json_t *status = json_object_get(item, "status_code");
	json_t *output = json_object_get(item, "json_output");
	struct provider_event event = wire_event(JOB_ACCEPTED);

	if (json_integer_value(status) == 200 && json_is_object(output)) {
		event = fal_rendered(output, arena);
		if (event.kind != JOB_RENDERED)
			event = wire_event(JOB_ACCEPTED);
	}
	event.provider_job_id =
		arena_strdup(arena, wire_string(item, "request_id"));
	return event;
}

int fal_list_event(const struct job *job, const struct http_response *response,
		   int64_t now_unix_s, struct arena *arena,
		   struct provider_event *ret, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	json_auto_t *input = NULL;
	struct provider_event event = wire_event(JOB_NOT_FOUND_YET);
	json_t *items, *item = NULL;
	const char *next;
	bool goes_on;
	size_t count;
	int r = wire_parse_answer(response, &body, reterr_fault);

	if (r < 0)
		return r;
	r = wire_parse_input(job, &input, NULL);
	if (r == -ENOMEM)
		return fault_set(reterr_fault, r, "no memory for the input");

	items = json_object_get(body, "items");
	if (!wire_is_success(response) || !json_is_array(items) || !input) {
		event = wire_no_answer(response, now_unix_s, arena);
		return wire_event_done(&event, arena, ret, reterr_fault);
	}

	/* Which of two is ours cannot be told, so looking ends. Of one that is
	 * followed by more pages the caller sees whether it stays alone. */
	goes_on = json_is_true(json_object_get(body, "has_more"));
	next = wire_string(body, "next_cursor");
	count = wire_count_candidates(items, job, input, may_be_ours, &item);
	if (count > 1) {
		event = wire_event(JOB_NO_ANSWER);
		return wire_event_done(&event, arena, ret, reterr_fault);
	}
	if (count == 1)
		event = found(item, arena);
	if (goes_on && next && wire_is_visible(next, CURSOR_MAX))
		event.cursor = arena_strdup(arena, next);
	else if (goes_on)
		/* A list whose end cannot be seen proves nothing. */
		event = wire_event(JOB_NO_ANSWER);
	return wire_event_done(&event, arena, ret, reterr_fault);
}
