/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/model/retry_after.h"
#include "common/provider/replicate.h"
#include "common/provider/standard_webhooks.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	LOGS_TAIL_BYTES = 64 * 1024, /* of the logs, searched for progress */
	KEY_MAX = 256,
	NAME_SIZE = UUID_SIZE + 32,   /* of job and attempt in a webhook URL */
	CANDIDATE_MS = 2 * 60 * 1000, /* from our start to their created_at */
};

/* clang-format off */
static const struct {
	const char *word;
	enum job_event kind;
} statuses[] = {
	{ "starting",	JOB_PROGRESS },
	{ "processing",	JOB_PROGRESS },
	{ "succeeded",	JOB_RENDERED },
	{ "succeed",	JOB_RENDERED },
	{ "failed",	JOB_PROVIDER_FAILED },
	{ "canceled",	JOB_PROVIDER_CANCELLED },
	{ "cancelled",	JOB_PROVIDER_CANCELLED },
	{ "aborted",	JOB_PROVIDER_CANCELLED }, /* before it began to run */
};

/* The codes in error texts that its manual lists, and E005, with which the
 * safety filters of many models answer; others are the model's own. */
static const struct {
	const char *word;
	enum job_event kind;
	const char *code;
} errors[] = {
	{ "E005",  JOB_PROVIDER_FAILED,	  "content_refused" },
	{ "E1001", JOB_PROVIDER_FAILED,	  "out_of_memory" },
	{ "E4875", JOB_PROVIDER_FAILED,	  "invalid_input" },
	{ "E8367", JOB_PROVIDER_FAILED,	  "provider_stopped" },
	{ "E6716", JOB_PROVIDER_FALTERED, "provider_faltered" },
	{ "E8765", JOB_PROVIDER_FALTERED, "provider_faltered" },
	{ "E9243", JOB_PROVIDER_FALTERED, "provider_faltered" },
	{ "E9825", JOB_PROVIDER_FALTERED, "provider_faltered" },
};
/* clang-format on */

/* "...: 40%|####      | 4/10 [...": the percentage, or -1. */
static double line_progress(const char *line, size_t length)
{
	const char *end = line + length;
	const char *percent = memchr(line, '%', length);
	const char *digit = percent, *bar, *slash;
	double value = 0, scale = 1;

	if (!percent || end - percent < 2 || percent[1] != '|')
		return -1;
	for (; digit > line && digit[-1] >= '0' && digit[-1] <= '9'; digit--) {
		value += (digit[-1] - '0') * scale;
		scale *= 10;
	}
	bar = memchr(percent + 2, '|', (size_t)(end - percent - 2));
	slash = bar ? memchr(bar, '/', (size_t)(end - bar)) : NULL;
	if (digit == percent || !slash || slash[-1] < '0' || slash[-1] > '9' ||
	    value > 100)
		return -1;
	return value / 100;
}

/* What the last line that speaks of progress says, or -1. */
static double logs_progress(const json_t *logs)
{
	const char *text = json_string_value(logs);
	size_t length = json_string_length(logs);
	const char *line, *end;

	if (!text)
		return -1;
	end = text + length;
	if (length > LOGS_TAIL_BYTES)
		text = end - LOGS_TAIL_BYTES;

	while (end > text) {
		double progress;

		for (line = end;
		     line > text && line[-1] != '\n' && line[-1] != '\r';
		     line--)
			;
		progress = line_progress(line, (size_t)(end - line));
		if (progress >= 0)
			return progress;
		end = line > text ? line - 1 : text;
	}
	return -1;
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* Is the code in the text, and not just a part of some longer id? */
static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if ((at == text || !is_alphanumeric(at[-1])) &&
		    !is_alphanumeric(at[length]))
			return true;
	return false;
}

static void explain_failure(json_t *prediction, struct arena *arena,
			    struct provider_event *event)
{
	json_t *error = json_object_get(prediction, "error");
	const char *text = json_string_value(error);
	const char *code = "provider_failed";

	for (size_t i = 0; text && i < COUNT_OF(errors); i++) {
		if (!has_word(text, errors[i].word))
			continue;
		event->kind = errors[i].kind;
		code = errors[i].code;
		break;
	}
	event->billed = JOB_BILLED_UNKNOWN;
	event->error_code = code;
	event->error_message = !error || json_is_null(error)
				       ? "the model failed and gave no reason"
				       : wire_message_json(error, arena);
}

static void explain_cancel(const char *status, struct arena *arena,
			   struct provider_event *event)
{
	bool before_start = strcasecmp(status, "aborted") == 0;

	event->billed = before_start ? JOB_BILLED_NO : JOB_BILLED_UNKNOWN;
	wire_explain(event, "provider_cancelled",
		     before_start ? "aborted before it began to run"
				  : "cancelled at the provider",
		     arena);
}

static void take_output(json_t *prediction, struct arena *arena,
			struct provider_event *event)
{
	json_t *output = json_object_get(prediction, "output");

	if (output && !json_is_null(output)) {
		wire_find_media(output, arena, event);
		event->output = wire_output(output, arena);
	}
	if (event->media_count > 0)
		return;

	event->kind = JOB_PROVIDER_FAILED;
	event->billed = JOB_BILLED_YES;
	if (json_is_true(json_object_get(prediction, "data_removed")))
		wire_explain(event, "media_expired",
			     "the provider has removed the result, which it "
			     "keeps for an hour",
			     arena);
	else
		wire_explain(event, "no_media",
			     "the model succeeded and made no file", arena);
}

/**
 * What a prediction object says.
 *
 * @return whether it is one, and (where we know it) the one asked for
 */
static bool read_prediction(json_t *prediction, const char *want_id,
			    struct arena *arena, struct provider_event *ret)
{
	const char *id = wire_string(prediction, "id");
	const char *status = wire_string(prediction, "status");
	struct provider_event event = wire_event(JOB_PROGRESS);
	bool known = false;

	if (!id || !status || !wire_is_id(id, WIRE_ID_MAX) ||
	    (want_id && strcmp(id, want_id) != 0))
		return false;

	for (size_t i = 0; i < COUNT_OF(statuses); i++) {
		if (strcasecmp(statuses[i].word, status) != 0)
			continue;
		event.kind = statuses[i].kind;
		known = true;
	}
	event.provider_job_id = arena_strdup(arena, id);
	if (!known)
		event.unknown_status = wire_message(status, arena);

	if (event.kind == JOB_RENDERED)
		take_output(prediction, arena, &event);
	else if (event.kind == JOB_PROVIDER_FAILED)
		explain_failure(prediction, arena, &event);
	else if (event.kind == JOB_PROVIDER_CANCELLED)
		explain_cancel(status, arena, &event);
	else
		event.progress =
			logs_progress(json_object_get(prediction, "logs"));

	*ret = event;
	return true;
}

/* ---- refusals ---- */

/* The number in "... resets in ~30s.", or 0. */
static int64_t resets_in_s(const char *detail)
{
	const char *number = detail ? strstr(detail, "resets in ~") : NULL;
	int64_t seconds = 0;

	if (!number)
		return 0;
	for (number += strlen("resets in ~");
	     *number >= '0' && *number <= '9' && seconds < LIMIT_RETRY_AFTER_S;
	     number++)
		seconds = seconds * 10 + (*number - '0');
	return seconds;
}

/* How long a 429 asks us to wait. The places are tried in the order in which
 * they deserve trust; the last is on every answer. */
static int64_t throttled_ms(const struct http_response *response,
			    const json_t *body, int64_t now_unix_s)
{
	const json_t *member = json_object_get(body, "retry_after");
	const char *reset = http_header_value(
		response->header, response->header_count, "ratelimit-reset");
	int64_t ms = wire_retry_after_ms(response, now_unix_s);
	double seconds = json_number_value(member);

	if (ms > 0)
		return ms;
	if (!json_is_number(member))
		seconds = 0;
	if (seconds <= 0)
		seconds = (double)resets_in_s(wire_string(body, "detail"));
	if (seconds <= 0 && reset && retry_after_parse(reset, now_unix_s, &ms))
		return ms;
	if (seconds > LIMIT_RETRY_AFTER_S)
		seconds = LIMIT_RETRY_AFTER_S;
	return seconds > 0 ? (int64_t)(seconds * 1000) : 0;
}

/* An answer to a start that is no success. body may be NULL. */
static struct provider_event refused(const struct http_response *response,
				     json_t *body, int64_t now_unix_s,
				     struct arena *arena)
{
	json_t *detail = json_object_get(body, "detail");
	const char *title = wire_string(body, "title");
	struct provider_event event;

	event = wire_start_refusal(response, now_unix_s, detail || title, title,
				   arena);
	if (event.kind == JOB_START_LOST)
		return event;
	if (detail)
		event.error_message = wire_message_json(detail, arena);
	if (event.kind == JOB_THROTTLED)
		event.retry_after_ms = throttled_ms(response, body, now_unix_s);
	return event;
}

/* An answer to a check that is no success. */
static struct provider_event unanswered(const struct http_response *response,
					int64_t now_unix_s, struct arena *arena)
{
	struct provider_event event =
		wire_no_answer(response, now_unix_s, arena);
	json_auto_t *body = NULL;

	if (response->status == 429) {
		if (wire_parse(response->body, response->body_bytes, &body) < 0)
			body = NULL;
		event.retry_after_ms = throttled_ms(response, body, now_unix_s);
	}
	return event;
}

/* A success without a result, which a list or a webhook may have left out? */
static bool is_empty(const struct provider_event *event)
{
	return event->error_code &&
	       strcmp(event->error_code, "no_media") == 0 && !event->output;
}

/* ---- the table's functions ---- */

int replicate_start_event(const struct job *job,
			  const struct http_response *response,
			  int64_t now_unix_s, struct arena *arena,
			  struct provider_event *ret,
			  struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse_answer(response, &body, reterr_fault);

	(void)job;
	if (r < 0)
		return r;

	if (!wire_is_success(response)) {
		event = refused(response, body, now_unix_s, arena);
	} else if (!body || !read_prediction(body, NULL, arena, &event)) {
		event = wire_start_lost(response, now_unix_s, arena);
	} else if (event.kind != JOB_RENDERED) {
		/* Whatever else it says, the first check will say again. */
		event = wire_only_id(JOB_ACCEPTED, &event);
	}
	return wire_event_done(&event, arena, ret, reterr_fault);
}

int replicate_status_event(const struct job *job,
			   const struct http_response *response,
			   int64_t now_unix_s, struct arena *arena,
			   struct provider_event *ret,
			   struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = 0;

	if (wire_is_success(response))
		r = wire_parse_answer(response, &body, reterr_fault);
	if (r < 0)
		return r;

	if (response->status == 404 || response->status == 410)
		event = wire_job_gone(arena);
	else if (!body ||
		 !read_prediction(body, job->provider_job_id, arena, &event))
		event = unanswered(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

int replicate_cancel_event(const struct job *job,
			   const struct http_response *response,
			   int64_t now_unix_s, struct arena *arena,
			   struct provider_event *ret,
			   struct fault *reterr_fault)
{
	struct provider_event event = wire_event(JOB_NO_ANSWER);
	int r = replicate_status_event(job, response, now_unix_s, arena, &event,
				       reterr_fault);

	if (r < 0)
		return r;
	/* Still running, or refused in some way that a later check explains:
	 * the provider has been asked. */
	if (event.kind == JOB_PROGRESS ||
	    (response->status < 500 && response->status != 401 &&
	     response->status != 403 && response->status != 429 &&
	     (event.kind == JOB_NO_ANSWER || response->status == 404 ||
	      response->status == 410)))
		event = wire_event(JOB_CANCEL_TRIED);
	*ret = event;
	return 0;
}

/* Is this item of a list the job's? By the webhook URL, which names job and
 * attempt and which the item echoes. Only by them: the host before and the
 * signature behind are those of the start, and both may have been changed
 * since. */
static bool is_ours(const json_t *item, const struct job *job)
{
	const char *webhook = wire_string(item, "webhook");
	char name[NAME_SIZE];

	(void)snprintf(name, sizeof(name), "/job/%s/%d.", job->id,
		       (int)job->attempt);
	return webhook && strstr(webhook, name);
}

/* Whether lists carry the webhook URL is not documented. An item without one
 * may be ours if its input is the job's and it was made when we asked. */
static bool may_be_ours(json_t *item, const struct job *job, json_t *input)
{
	const char *created = wire_string(item, "created_at");
	json_t *item_input = json_object_get(item, "input");
	int64_t created_ms;

	return !json_object_get(item, "webhook") && item_input && created &&
	       wire_parse_time(created, &created_ms) &&
	       created_ms >= job->started_unix_ms - CANDIDATE_MS &&
	       created_ms <= job->started_unix_ms + CANDIDATE_MS &&
	       wire_same(item_input, input);
}

static json_t *find_ours(const json_t *results, const struct job *job)
{
	for (size_t i = 0; i < json_array_size(results); i++) {
		json_t *item = json_array_get(results, i);

		if (is_ours(item, job))
			return item;
	}
	return NULL;
}

/* Newest first: is the page's last item older than anything of ours? */
static bool is_past(const json_t *results, const struct job *job)
{
	size_t count = json_array_size(results);
	const char *created =
		count ? wire_string(json_array_get(results, count - 1),
				    "created_at")
		      : NULL;
	int64_t created_ms;

	return created && wire_parse_time(created, &created_ms) &&
	       created_ms < job->started_unix_ms - CANDIDATE_MS;
}

/* An item may lack what is large: then a check asks for it. */
static struct provider_event found(json_t *item, struct arena *arena)
{
	struct provider_event event;

	if (!read_prediction(item, NULL, arena, &event))
		return wire_event(JOB_NO_ANSWER);
	return event.kind == JOB_PROGRESS || is_empty(&event)
		       ? wire_only_id(JOB_ACCEPTED, &event)
		       : event;
}

/* What a page says to which no webhook URL gives the answer. Which of two is
 * ours cannot be told, and where the list goes on neither if it does not say:
 * both prove nothing. Of one that is followed by more pages the caller sees
 * whether it stays alone. */
static struct provider_event look_through(const json_t *body,
					  const struct job *job, json_t *input,
					  struct arena *arena)
{
	const json_t *results = json_object_get(body, "results");
	const json_t *next = json_object_get(body, "next");
	const char *url = json_string_value(next);
	struct provider_event event = wire_event(JOB_NOT_FOUND_YET);
	json_t *item = NULL;
	size_t count =
		wire_count_candidates(results, job, input, may_be_ours, &item);

	if (count > 1)
		return wire_event(JOB_NO_ANSWER);
	if (count == 1)
		event = found(item, arena);
	if (!next || json_is_null(next) || is_past(results, job))
		return event;
	if (!url || !wire_is_url(url, arena))
		return wire_event(JOB_NO_ANSWER);
	event.cursor = arena_strdup(arena, url);
	return event;
}

int replicate_list_event(const struct job *job,
			 const struct http_response *response,
			 int64_t now_unix_s, struct arena *arena,
			 struct provider_event *ret, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	json_auto_t *input = NULL;
	struct provider_event event;
	const json_t *results;
	json_t *item;
	int r = 0;

	if (wire_is_success(response))
		r = wire_parse_answer(response, &body, reterr_fault);
	if (r < 0)
		return r;
	r = wire_parse_input(job, &input, NULL);
	if (r == -ENOMEM)
		return fault_set(reterr_fault, r, "no memory for the input");

	results = json_object_get(body, "results");
	item = find_ours(results, job);
	if (item)
		event = found(item, arena);
	else if (json_is_array(results) && input)
		event = look_through(body, job, input, arena);
	else
		event = unanswered(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

int replicate_webhook_event(const struct provider_webhook *webhook,
			    struct arena *arena, struct provider_event *ret,
			    struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse(webhook->body, webhook->body_bytes, &body);

	if (r < 0)
		return fault_set(reterr_fault, r,
				 r == -ENOMEM ? "no memory for the webhook"
					      : "not a JSON object");
	if (!read_prediction(body, NULL, arena, &event))
		return fault_set(reterr_fault, -EBADMSG,
				 "a prediction has an id and a status");

	/* Nothing to fetch in it: see what a check says. */
	if (is_empty(&event)) {
		event = wire_only_id(JOB_PROGRESS, &event);
		event.hint = true;
	}
	return wire_event_done(&event, arena, ret, reterr_fault);
}

int replicate_keys_event(const struct http_response *response,
			 struct arena *arena, struct provider_key *ret_keys,
			 size_t most, size_t *ret_count,
			 struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	const char *key, *copy;
	int r = 0;

	if (!wire_is_success(response))
		return fault_set(reterr_fault, -EBADMSG,
				 "webhook secret: the provider answered "
				 "HTTP %u",
				 response->status);
	r = wire_parse_answer(response, &body, reterr_fault);
	if (r < 0)
		return r;

	key = wire_string(body, "key");
	if (!key || strlen(key) > KEY_MAX ||
	    !standard_webhooks_is_key(key, arena) || most == 0)
		return fault_set(reterr_fault,
				 arena_failed(arena) ? -ENOMEM : -EBADMSG,
				 "webhook secret: the answer has no key");
	copy = arena_strdup(arena, key);
	if (!copy)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the answer");

	ret_keys[0] = (struct provider_key){ .id = "", .key = copy };
	*ret_count = 1;
	return 0;
}
