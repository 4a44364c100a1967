/* SPDX-License-Identifier: MIT */
/* Replicate: predictions. */
#include "tests/simulator/handlers.h"
#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/providers.h"
#include "tests/simulator/start.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROOT "/replicate/v1"

enum { PAGE = 100, WAIT_MOST_S = 60 };

static json_t *error_body(struct request *request, unsigned status,
			  const char *error)
{
	static const struct {
		unsigned status;
		const char *title, *detail;
	} known[] = {
		{ 401, "Unauthenticated",
		  "You did not pass a valid authentication token" },
		{ 402, "Insufficient credit",
		  "You have insufficient credit to run this model. Go to "
		  "billing to purchase credit." },
		{ 403, "Forbidden", "You do not have permission" },
		{ 404, "Not Found",
		  "The requested resource could not be found." },
		{ 422, "Input validation failed",
		  "- input: prompt is required\n" },
		{ 429, NULL,
		  "Request was throttled. Your rate limit resets in ~30s." },
		{ 500, "Internal Server Error", "An error occurred" },
	};

	(void)request;
	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (known[i].status != status)
			continue;
		if (status == 429)
			return json_pack("{s:s}", "detail", known[i].detail);
		return json_pack("{s:s, s:s, s:i}", "title",
				 error ? error : known[i].title, "detail",
				 known[i].detail, "status", (int)status);
	}
	return json_pack("{s:s, s:s, s:i}", "title", error ? error : "Error",
			 "detail", "simulated", "status", (int)status);
}

static void fail(struct request *request, unsigned status, const char *title,
		 const char *detail)
{
	request->sim->provider[SIM_REPLICATE].refused++;
	reply_json(request, status,
		   json_pack("{s:s, s:s, s:i}", "title", title, "detail",
			     detail, "status", (int)status));
}

static void invalid(struct request *request, const char *message)
{
	request->sim->provider[SIM_REPLICATE].refused++;
	reply_json(request, 422,
		   json_pack("{s:s, s:s, s:i, s:[{s:s, s:s}]}", "title",
			     "Input validation failed", "detail", message,
			     "status", 422, "invalid_fields", "field", "input",
			     "description", message));
}

static const char *status_of(const struct job *job)
{
	switch (job->outcome) {
	case OUTCOME_SUCCEED:
	case OUTCOME_PARTIAL:
	case OUTCOME_NOTHING:
		return "succeeded";
	case OUTCOME_CANCEL:
		return "canceled";
	case OUTCOME_ABORT:
		return "aborted";
	case OUTCOME_FAIL:
	case OUTCOME_REFUSE:
	case OUTCOME_NEVER:
	case OUTCOME_VANISH:
		break;
	}
	return "failed";
}

static json_t *output_of(struct job *job)
{
	struct words words = job_words(job);
	const char *form = words_text(&words, "media", "form", "auto");
	bool data = strcmp(form, "data") == 0;
	json_t *list, *first;

	if (strcmp(form, "text") == 0)
		return json_string("The model answers in words.");
	list = json_array();
	for (size_t i = 0; i < job->media_count; i++) {
		_cleanup_text_ char *url =
			data ? media_data_uri(job, i) : media_url(job, i);

		(void)json_array_append_new(list, json_string(url));
	}
	if (strcmp(form, "array") == 0 || job->media_count != 1 ||
	    (strcmp(form, "auto") == 0 &&
	     media_is_picture_model(job->start->model)))
		return list;
	first = json_incref(json_array_get(list, 0));
	json_decref(list);
	if (strcmp(form, "object") == 0)
		return json_pack("{s:o, s:s}", "video", first, "note",
				 "simulated");
	return first;
}

static json_t *error_of(const struct job *job)
{
	struct words words = job_words(job);
	const char *otherwise = "Prediction failed: simulated";

	if (job->outcome == OUTCOME_REFUSE)
		otherwise = "The input or output was flagged as sensitive. "
			    "Please try again with different inputs. (E005)";
	else if (job->outcome != OUTCOME_FAIL)
		return json_null();
	if (job->error)
		return json_string(job->error);
	return json_string(words_text(&words, NULL, "error", otherwise));
}

static json_t *time_or_null(int64_t unix_ms)
{
	char text[TIME_SIZE];

	return unix_ms ? json_string(time_text(unix_ms, text)) : json_null();
}

static json_t *urls_of(const struct job *job)
{
	const char *base = job->url_base, *id = job->start->id;
	_cleanup_text_ char *get =
		take_printf("%s" ROOT "/predictions/%s", base, id);
	_cleanup_text_ char *cancel = take_printf("%s/cancel", get);
	_cleanup_text_ char *web = take_printf("%s/replicate/p/%s", base, id);

	return json_pack("{s:s, s:s, s:s}", "get", get, "cancel", cancel, "web",
			 web);
}

static void set_text(json_t *json, const char *name, const char *value)
{
	if (value)
		(void)json_object_set_new(json, name, json_string(value));
}

json_t *replicate_prediction(struct job *job, enum replicate_view view)
{
	struct words words = job_words(job);
	bool ended = view == VIEW_TRUE && job->phase == JOB_ENDED;
	bool gone = ended && job_output_gone(job);
	const char *running =
		job->phase == JOB_IN_QUEUE ? "starting" : "processing";
	_cleanup_text_ char *logs = gone ? take_text("") : job_logs(job);
	json_t *output = (ended || view == VIEW_WITH_OUTPUT) &&
					 job_has_output(job) && !gone
				 ? output_of(job)
				 : json_null();
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:O?, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:b, "
		"s:s, s:o}",
		"id", job->start->id, "model", job->start->model, "version",
		job->version, "input", gone ? NULL : job->input, "output",
		output, "error", ended ? error_of(job) : json_null(), "logs",
		logs, "status",
		ended ? status_of(job)
		      : words_text(&words, NULL, "unknown_status", running),
		"created_at", time_or_null(job->created_ms), "started_at",
		time_or_null(job->started_ms), "completed_at",
		time_or_null(ended ? job->ended_ms : 0), "data_removed", gone,
		"source", "api", "urls", urls_of(job));

	if (!json_object_get(json, "input"))
		(void)json_object_set_new(json, "input", json_object());
	if (ended)
		(void)json_object_set_new(
			json, "metrics",
			json_pack("{s:f, s:f}", "predict_time",
				  job->started_ms ? (double)(job->ended_ms -
							     job->started_ms) /
							    1000.0
						  : 0.0,
				  "total_time",
				  (double)(job->ended_ms - job->created_ms) /
					  1000.0));
	set_text(json, "deployment", job->deployment);
	set_text(json, "deadline", job->deadline);
	set_text(json, "webhook", job->start->webhook);
	if (job->filter)
		(void)json_object_set(json, "webhook_events_filter",
				      job->filter);
	return json;
}

static bool is_version(const char *text)
{
	uint8_t bytes[32];

	return text_from_hex(text, bytes, sizeof(bytes));
}

/* What a start names: a version, an official model or a deployment. */
struct target {
	char *model, *version, *deployment; /* arena */
};

/* "owner/name", "owner/name:version" or a version alone. */
static bool parse_version(struct request *request, const char *text,
			  struct target *ret)
{
	const char *colon = text ? strchr(text, ':') : NULL;
	const char *slash = text ? strchr(text, '/') : NULL;

	if (!text)
		return false;
	if (is_version(text)) {
		ret->version = arena_strdup(request->arena, text);
		ret->model = arena_strdup(request->arena, "simulator/version");
		return true;
	}
	if (!slash || slash == text || strchr(slash + 1, '/') ||
	    (colon && !is_version(colon + 1)))
		return false;
	ret->version =
		arena_strdup(request->arena, colon ? colon + 1 : "hidden");
	ret->model =
		arena_strndup(request->arena, text,
			      colon ? (size_t)(colon - text) : strlen(text));
	return true;
}

/* "/models/o/n/predictions" -> "o/n" */
static char *middle(struct request *request, const char *prefix)
{
	const char *rest = request->path + strlen(prefix);
	size_t length = strlen(rest);
	const char *slash = strchr(rest, '/');

	if (length < sizeof("/predictions"))
		return NULL;
	length -= sizeof("/predictions") - 1;
	if (!slash || (size_t)(slash - rest) >= length ||
	    memchr(slash + 1, '/', length - (size_t)(slash - rest) - 1))
		return NULL;
	return request_decode(request, rest, length, false);
}

static bool find_target(struct request *request, const json_t *body,
			struct target *ret)
{
	const char *version =
		json_string_value(json_object_get(body, "version"));

	if (text_starts_with(request->path, ROOT "/models/")) {
		ret->model = middle(request, ROOT "/models/");
		ret->version = arena_strdup(request->arena, "hidden");
		return ret->model != NULL;
	}
	if (text_starts_with(request->path, ROOT "/deployments/")) {
		ret->deployment = middle(request, ROOT "/deployments/");
		ret->model = ret->deployment;
		ret->version = arena_strdup(request->arena, "hidden");
		return ret->model != NULL;
	}
	if (!version)
		version = json_string_value(json_object_get(body, "model"));
	return parse_version(request, version, ret);
}

static bool good_filter(const json_t *filter)
{
	static const char *const events[] = { "start", "output", "logs",
					      "completed" };
	const json_t *one;
	size_t i;

	if (!filter)
		return true;
	if (!json_is_array(filter))
		return false;
	json_array_foreach((json_t *)(uintptr_t)filter, i, one)
	{
		bool known = false;

		for (size_t e = 0; e < COUNT_OF(events); e++)
			known = known || (json_is_string(one) &&
					  strcmp(json_string_value(one),
						 events[e]) == 0);
		if (!known)
			return false;
	}
	return true;
}

/* "Prefer: wait" or "wait=N"; 0 without. */
static int64_t wait_ms_of(struct request *request)
{
	const char *prefer = request_header(request, "Prefer");
	int64_t seconds = WAIT_MOST_S;

	if (!prefer || !text_starts_with(prefer, "wait"))
		return 0;
	if (prefer[4] == '=' &&
	    !text_to_int64(prefer + 5, 1, WAIT_MOST_S, &seconds))
		return 0;
	reply_header(request, "Preference-Applied", prefer);
	return seconds * 1000;
}

/* "Cancel-After: 90s", "1m", "2h30m10s" in ms; 0 without one. */
static int64_t cancel_after_ms(struct request *request)
{
	const char *at = request_header(request, "Cancel-After");
	int64_t total_s = 0;

	while (at && *at) {
		char *end;
		long value = strtol(at, &end, 10);

		if (end == at || value < 0 || value > 86400)
			return 0;
		if (*end == 'h')
			value *= 3600;
		else if (*end == 'm')
			value *= 60;
		total_s += value;
		at = *end ? end + 1 : end;
	}
	return total_s * 1000;
}

static void fill_in(struct request *request, struct job *job,
		    const struct target *target, const json_t *body)
{
	int64_t limit_ms = cancel_after_ms(request);

	job->version = take_text(target->version);
	job->deployment =
		target->deployment ? take_text(target->deployment) : NULL;
	job->filter =
		json_incref(json_object_get(body, "webhook_events_filter"));
	if (limit_ms > 0) {
		char text[TIME_SIZE];

		job->deadline =
			take_text(time_text(job->created_ms + limit_ms, text));
		loop_arm(job->sim->loop, &job->limit, limit_ms);
	}
	job_begin(job);
}

/* Hold the answer until the job ends, for clients that wish to wait. */
static void wait_for_end(struct request *request, struct job *job,
			 int64_t wait_ms)
{
	if (wait_ms == 0 || job->phase == JOB_ENDED || job->waiter ||
	    request->reply.kind != REPLY_SEND)
		return;
	request->hold_ms = wait_ms;
	request->waited_for = job;
	job->waiter = request;
	request->tells_end = true;
}

void replicate_tell_end(struct request *request, struct job *job)
{
	reply_json(request, 201, replicate_prediction(job, VIEW_TRUE));
}

static void start(struct request *request, const char *account)
{
	json_t *body = start_parse_body(request);
	json_t *input = json_object_get(body, "input");
	const char *webhook =
		json_string_value(json_object_get(body, "webhook"));
	struct target target = { 0 };
	struct mischief mischief;
	struct job *job = NULL;
	char id[27];

	start_random_id(id);
	if (!json_is_object(input)) {
		invalid(request, "- input: object is required");
	} else if (!find_target(request, body, &target)) {
		fail(request, 422, "Invalid version or not permitted",
		     "The specified version does not exist (or perhaps you "
		     "don't have permission to use it?)");
	} else if (webhook && !text_starts_with(webhook, "http")) {
		invalid(request, "- webhook: does not match format 'uri'");
	} else if (!good_filter(
			   json_object_get(body, "webhook_events_filter"))) {
		invalid(request, "- webhook_events_filter: unknown event");
	} else {
		struct start_request wanted = {
			.provider = SIM_REPLICATE,
			.id = id,
			.account = account,
			.model = target.model,
			.webhook = webhook && *webhook ? webhook : NULL,
			.input = input,
			.words = json_object_get(input, "rushes_sim"),
			.media_wanted = 1,
			.error_body = error_body,
			.invalid = invalid,
		};

		job = start_accept(request, &wanted, &mischief);
	}
	if (job) {
		fill_in(request, job, &target, body);
		reply_json(request, 201,
			   replicate_prediction(job, VIEW_RUNNING));
		mischief_start(request, job, &mischief, error_body);
		wait_for_end(request, job, wait_ms_of(request));
	}
	json_decref(body);
}

static json_t *poll_view(struct job *job)
{
	const char *status = job_next_status(job);
	json_t *json;

	if (status) {
		json = replicate_prediction(job, VIEW_TRUE);
		(void)json_object_set_new(json, "status", json_string(status));
		return json;
	}
	return replicate_prediction(job, job_tells_end(job) ? VIEW_TRUE
							    : VIEW_RUNNING);
}

/* The job a path names, if it is this account's; else 404 is answered. */
static struct job *find(struct request *request, const char *account,
			const char *id, size_t length)
{
	char *plain = arena_strndup(request->arena, id, length);
	struct job *job =
		plain ? job_find(request->sim, SIM_REPLICATE, plain) : NULL;

	if (job && strcmp(job->start->account, account) == 0)
		return job;
	reply_json(request, 404, error_body(request, 404, NULL));
	return NULL;
}

static void get(struct request *request, const char *account, const char *id)
{
	struct job *job = find(request, account, id, strlen(id));
	struct mischief mischief;

	if (!job)
		return;
	job->polls++;
	request->sim->provider[SIM_REPLICATE].polls++;
	mischief = mischief_of_job(request, job, "poll");
	if (mischief_refuse(request, &mischief, error_body))
		return;
	reply_json(request, 200, poll_view(job));
	mischief_spoil(request, &mischief, error_body);
}

static void cancel(struct request *request, const char *account, const char *id,
		   size_t length)
{
	struct job *job = find(request, account, id, length);
	struct mischief mischief;
	struct words words;

	if (!job)
		return;
	job->cancels++;
	request->sim->provider[SIM_REPLICATE].cancels++;
	mischief = mischief_of_job(request, job, "cancel");
	if (mischief_refuse(request, &mischief, error_body))
		return;
	ledger_note(request->sim, "cancel",
		    json_pack("{s:s, s:s}", "provider", "replicate", "id",
			      job->start->id));
	words = job_words(job);
	if (!words_bool(&words, NULL, "ignore_cancel", false))
		job_end(job,
			job->phase == JOB_IN_QUEUE ? OUTCOME_ABORT
						   : OUTCOME_CANCEL,
			NULL);
	reply_json(request, 200, replicate_prediction(job, VIEW_TRUE));
	mischief_spoil(request, &mischief, error_body);
}

static bool is_listed(const struct job *job, const char *account,
		      const struct mischief *mischief)
{
	return job->outcome != OUTCOME_VANISH &&
	       strcmp(job->start->account, account) == 0 && !mischief->hide &&
	       clock_unix_ms() - job->created_ms >= mischief->lag_ms;
}

static json_t *next_page(struct request *request, int64_t seq)
{
	const char *after = request_query(request, "created_after");
	const char *before = request_query(request, "created_before");
	char *url = arena_printf(
		request->arena, "%s" ROOT "/predictions?cursor=%lld%s%s%s%s",
		request_base(request), (long long)seq,
		after ? "&created_after=" : "",
		after ? text_to_percent(after, false, request->arena) : "",
		before ? "&created_before=" : "",
		before ? text_to_percent(before, false, request->arena) : "");

	return url ? json_string(url) : json_null();
}

static void list(struct request *request, const char *account)
{
	struct sim_account *own = &request->sim->provider[SIM_REPLICATE];
	struct mischief mischief =
		mischief_of(request, SIM_REPLICATE, "list", NULL, NULL);
	const char *after = request_query(request, "created_after");
	const char *before = request_query(request, "created_before");
	const char *cursor = request_query(request, "cursor");
	int64_t after_ms = after ? request_time(after) : 0;
	int64_t before_ms = before ? request_time(before) : INT64_MAX;
	int64_t below = INT64_MAX;
	json_t *results = json_array(), *next = NULL;

	own->lists++;
	if ((cursor && !text_to_int64(cursor, 1, INT64_MAX, &below)) ||
	    after_ms < 0 || before_ms < 0) {
		json_decref(results);
		invalid(request, "cursor or times are not understood");
		return;
	}
	if (mischief_refuse(request, &mischief, error_body)) {
		json_decref(results);
		return;
	}
	for (struct job *job = own->newest; job; job = job->older) {
		json_t *item;

		if (job->created_ms <= after_ms)
			break;
		if (job->start->seq >= below || job->created_ms >= before_ms ||
		    !is_listed(job, account, &mischief))
			continue;
		if (json_array_size(results) == PAGE) {
			next = next_page(request, job->start->seq + 1);
			break;
		}
		job->listed++;
		item = replicate_prediction(job, VIEW_TRUE);
		if (mischief.omit_webhook)
			(void)json_object_del(item, "webhook");
		(void)json_array_append_new(results, item);
	}
	reply_json(request, 200,
		   json_pack("{s:n, s:o?, s:o}", "previous", "next", next,
			     "results", results));
	mischief_spoil(request, &mischief, error_body);
}

static void secret(struct request *request)
{
	struct mischief mischief =
		mischief_of(request, SIM_REPLICATE, "keys", NULL, NULL);

	if (mischief_refuse(request, &mischief, error_body))
		return;
	reply_json(
		request, 200,
		json_pack("{s:s}", "key", keys_secret(request->sim->keys, 0)));
	mischief_spoil(request, &mischief, error_body);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length > end_length &&
	       strcmp(text + length - end_length, end) == 0;
}

static void route(struct request *request, const char *account)
{
	const char *path = request->path;
	const char *id = path + sizeof(ROOT "/predictions/") - 1;
	bool one = text_starts_with(path, ROOT "/predictions/");

	if (request->method == HTTP_POST && ends_with(path, "/predictions"))
		start(request, account);
	else if (request->method == HTTP_POST && one &&
		 ends_with(path, "/cancel"))
		cancel(request, account, id, strlen(id) - strlen("/cancel"));
	else if (request->method == HTTP_GET && one && !strchr(id, '/'))
		get(request, account, id);
	else if (request->method == HTTP_GET &&
		 strcmp(path, ROOT "/predictions") == 0)
		list(request, account);
	else if (request->method == HTTP_GET &&
		 strcmp(path, ROOT "/webhooks/default/secret") == 0)
		secret(request);
	else
		reply_json(request, 404, error_body(request, 404, NULL));
}

void replicate_handle(struct request *request)
{
	const char *authorization = request_header(request, "Authorization");
	const char *token = NULL;
	char account[17];

	if (authorization && (text_starts_with(authorization, "Bearer ") ||
			      text_starts_with(authorization, "Token ")))
		token = strchr(authorization, ' ') + 1;
	reply_header(request, "ratelimit-remaining", "599");
	reply_header(request, "ratelimit-reset", "1");
	if (!mischief_knows(request, SIM_REPLICATE, token, account)) {
		request->sim->provider[SIM_REPLICATE].refused++;
		reply_json(request, 401, error_body(request, 401, NULL));
		return;
	}
	route(request, account);
}
