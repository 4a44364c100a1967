/* SPDX-License-Identifier: MIT */
/* fal: the queue. */
#include "tests/simulator/fal_error.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/providers.h"
#include "tests/simulator/start.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

#define QUEUE "/fal/queue/"

enum { PAGE_MOST = 100 };

static void invalid(struct request *request, const char *message)
{
	request->sim->provider[SIM_FAL].refused++;
	reply_header(request, "X-Fal-Retryable", "false");
	reply_json(request, 422,
		   json_pack("{s:[{s:[s, s], s:s, s:s}]}", "detail", "loc",
			     "body", "rushes_sim", "msg", message, "type",
			     "value_error"));
}

static const char *default_error(const struct job *job)
{
	switch (job->outcome) {
	case OUTCOME_REFUSE:
		return "content_policy_violation";
	case OUTCOME_CANCEL:
	case OUTCOME_ABORT:
		return "client_cancelled";
	case OUTCOME_NOTHING:
	case OUTCOME_SUCCEED:
	case OUTCOME_PARTIAL:
		return NULL;
	case OUTCOME_FAIL:
	case OUTCOME_NEVER:
	case OUTCOME_VANISH:
		break;
	}
	return "internal_server_error";
}

/* The error type a job ended with, or NULL. */
static const char *error_of(const struct job *job)
{
	const char *otherwise = default_error(job);
	struct words words = job_words(job);

	if (!otherwise || job->outcome == OUTCOME_CANCEL ||
	    job->outcome == OUTCOME_ABORT || job->outcome == OUTCOME_REFUSE)
		return otherwise;
	if (job->error)
		return job->error;
	return words_text(&words, NULL, "error", otherwise);
}

static json_t *file_json(struct job *job, size_t file)
{
	struct words words = job_words(job);
	bool data = strcmp(words_text(&words, "media", "form", "auto"),
			   "data") == 0 ||
		    json_is_true(json_object_get(job->input, "sync_mode"));
	_cleanup_text_ char *url =
		data ? media_data_uri(job, file) : media_url(job, file);
	_cleanup_text_ char *name = take_printf(
		"output_%zu.%s", file, media_extension(job->media[file].kind));

	return json_pack("{s:s, s:s, s:s, s:I}", "url", url, "content_type",
			 media_type(job->media[file].kind), "file_name", name,
			 "file_size", (json_int_t)job->media[file].bytes);
}

/* {"video_url", "thumbnail_url"}: what ffmpeg-api/compose answers. */
static json_t *composed(struct job *job)
{
	_cleanup_text_ char *video = media_url(job, 0);
	_cleanup_text_ char *thumbnail = media_url(job, 1);

	return json_pack("{s:s, s:s}", "video_url", video, "thumbnail_url",
			 thumbnail);
}

static json_t *files_of(struct job *job)
{
	json_t *output, *images;

	if (!job_has_output(job) || job->media_count == 0)
		return json_object();
	if (job->fetch && job->media_count == 2)
		return composed(job);
	if (!media_is_picture_model(job->start->model)) {
		output = json_pack("{s:o, s:i}", "video", file_json(job, 0),
				   "seed", 42);
		if (job->media_count == 1)
			return output;
		images = json_array();
		for (size_t i = 0; i < job->media_count; i++)
			(void)json_array_append_new(images, file_json(job, i));
		(void)json_object_set_new(output, "videos", images);
		return output;
	}
	images = json_array();
	for (size_t i = 0; i < job->media_count; i++) {
		json_t *image = file_json(job, i);

		(void)json_object_set_new(image, "width", json_integer(160));
		(void)json_object_set_new(image, "height", json_integer(90));
		(void)json_array_append_new(images, image);
	}
	return json_pack("{s:o, s:{s:f}, s:i, s:[b]}", "images", images,
			 "timings", "inference", 0.5, "seed", 42,
			 "has_nsfw_concepts", 0);
}

/* With as many words beside the files as were asked for. */
static json_t *output_of(struct job *job)
{
	struct words words = job_words(job);
	int64_t count = words_int(&words, NULL, "notes", 0);
	json_t *output = files_of(job), *notes;

	if (count == 0)
		return output;
	notes = json_array();
	for (int64_t i = 0; i < count; i++) {
		_cleanup_text_ char *note = take_printf(
			"note %d: \"é\" and \\, 🎬 and\ttabs, and so on "
			"until there are about a hundred of them in a row",
			(int)i);

		(void)json_array_append_new(notes, json_string(note));
	}
	(void)json_object_set_new(output, "notes", notes);
	return output;
}

json_t *fal_webhook(struct job *job, bool with_payload)
{
	const char *error = error_of(job);
	char text[64];
	json_t *json;

	json = json_pack("{s:s, s:s, s:s}", "request_id", job->start->id,
			 "gateway_request_id", job->start->id, "status",
			 error ? "ERROR" : "OK");
	if (error) {
		(void)snprintf(text, sizeof(text), "Invalid status code: %u",
			       fal_error_status(error));
		(void)json_object_set_new(json, "error", json_string(text));
		(void)json_object_set_new(json, "payload",
					  fal_error_body(error));
	} else if (with_payload) {
		(void)json_object_set_new(json, "payload", output_of(job));
	} else {
		(void)json_object_set_new(json, "payload", json_null());
		(void)json_object_set_new(
			json, "payload_error",
			json_string("Response payload is not JSON "
				    "serializable"));
	}
	return json;
}

/* How many leading segments of an endpoint id its queue URLs keep. */
static size_t kept_length(const char *endpoint)
{
	int segments = text_starts_with(endpoint, "workflows/") ||
				       text_starts_with(endpoint, "comfy/")
			       ? 3
			       : 2;
	const char *at = endpoint;

	while (segments > 0 && *at) {
		at += strcspn(at, "/");
		if (--segments > 0 && *at)
			at++;
	}
	return (size_t)(at - endpoint);
}

static json_t *queue_urls(const struct job *job)
{
	const char *endpoint = job->start->model;
	_cleanup_text_ char *one = take_printf(
		"%s" QUEUE "%.*s/requests/%s", job->url_base,
		(int)kept_length(endpoint), endpoint, job->start->id);
	_cleanup_text_ char *status = take_printf("%s/status", one);
	_cleanup_text_ char *cancel = take_printf("%s/cancel", one);

	return json_pack("{s:s, s:s, s:s, s:s}", "request_id", job->start->id,
			 "response_url", one, "status_url", status,
			 "cancel_url", cancel);
}

static int64_t queue_position(const struct job *job)
{
	int64_t ahead = 0;

	for (const struct job *at = job->sim->provider[SIM_FAL].queue_head;
	     job->queued && at && at != job; at = at->next_queued)
		ahead++;
	return ahead;
}

static void submit(struct request *request, const char *account)
{
	const char *rest = request->path + sizeof(QUEUE) - 1;
	char *endpoint = request_decode(request, rest, strlen(rest), false);
	const char *webhook = request_query(request, "fal_webhook");
	json_t *body = start_parse_body(request), *json;
	bool compose =
		endpoint && strcmp(endpoint, "fal-ai/ffmpeg-api/compose") == 0;
	struct mischief mischief;
	struct job *job = NULL;
	char id[37];

	start_random_uuid(id);
	if (!endpoint || !strchr(endpoint, '/')) {
		reply_json(
			request, 404,
			json_pack("{s:s}", "detail", "Application not found"));
	} else if (!body) {
		invalid(request, "body must be a JSON object");
	} else if (compose && !json_is_array(json_object_get(body, "tracks"))) {
		reply_json(request, 422,
			   json_pack("{s:[{s:[s, s], s:s, s:s}]}", "detail",
				     "loc", "body", "tracks", "msg",
				     "field required", "type",
				     "value_error.missing"));
	} else {
		struct start_request wanted = {
			.provider = SIM_FAL,
			.id = id,
			.account = account,
			.model = endpoint,
			.webhook = webhook && *webhook ? webhook : NULL,
			.input = body,
			.words = json_object_get(body, "rushes_sim"),
			.media_wanted = compose ? 2 : 1,
			.fetch_inputs = compose,
			.error_body = fal_request_error,
			.invalid = invalid,
		};

		job = start_accept(request, &wanted, &mischief);
	}
	if (job) {
		job_begin(job);
		json = queue_urls(job);
		(void)json_object_set_new(json, "status",
					  json_string("IN_QUEUE"));
		(void)json_object_set_new(json, "queue_position",
					  json_integer(queue_position(job)));
		reply_header(request, "x-fal-request-id", job->start->id);
		reply_json(request, 200, json);
		mischief_start(request, job, &mischief, fal_request_error);
	}
	json_decref(body);
}

static json_t *logs_of(const struct job *job)
{
	_cleanup_text_ char *text = job_logs(job);
	json_t *logs = json_array();
	char *line, *rest = text, time[TIME_SIZE];

	while ((line = strsep(&rest, "\n")))
		if (*line)
			(void)json_array_append_new(
				logs,
				json_pack("{s:s, s:s, s:s}", "message", line,
					  "level", "INFO", "timestamp",
					  time_text(clock_unix_ms(), time)));
	return logs;
}

static json_t *status_json(struct request *request, struct job *job, bool ended)
{
	struct words words = job_words(job);
	const char *logs = request_query(request, "logs");
	const char *error = ended ? error_of(job) : NULL;
	const char *status =
		job->phase == JOB_IN_QUEUE ? "IN_QUEUE" : "IN_PROGRESS";
	json_t *json = queue_urls(job);
	char text[64];

	if (ended)
		status = "COMPLETED";
	else
		status = words_text(&words, NULL, "unknown_status", status);
	(void)json_object_del(json, "cancel_url");
	(void)json_object_set_new(json, "status", json_string(status));
	(void)json_object_set_new(json, "logs",
				  logs && strcmp(logs, "1") == 0 ? logs_of(job)
								 : json_null());
	if (strcmp(status, "IN_QUEUE") == 0)
		(void)json_object_set_new(json, "queue_position",
					  json_integer(queue_position(job)));
	if (!ended)
		return json;
	(void)json_object_set_new(
		json, "metrics",
		json_pack("{s:f}", "inference_time",
			  (double)(job->ended_ms - job->created_ms) / 1000.0));
	if (error) {
		(void)snprintf(text, sizeof(text), "Invalid status code: %u",
			       fal_error_status(error));
		(void)json_object_set_new(json, "error", json_string(text));
		(void)json_object_set_new(json, "error_type",
					  json_string(error));
	}
	return json;
}

static void status(struct request *request, struct job *job)
{
	struct mischief mischief;
	const char *told;
	json_t *json;
	bool ended;

	job->polls++;
	request->sim->provider[SIM_FAL].polls++;
	mischief = mischief_of_job(request, job, "poll");
	if (mischief_refuse(request, &mischief, fal_request_error))
		return;
	told = job_next_status(job);
	ended = told ? strcmp(told, "COMPLETED") == 0 : job_tells_end(job);
	json = status_json(request, job, ended && job->phase == JOB_ENDED);
	if (told)
		(void)json_object_set_new(json, "status", json_string(told));
	reply_json(request, ended ? 200 : 202, json);
	mischief_spoil(request, &mischief, fal_request_error);
}

static void result(struct request *request, struct job *job)
{
	struct mischief mischief;
	const char *error;

	job->results++;
	request->sim->provider[SIM_FAL].results++;
	mischief = mischief_of_job(request, job, "result");
	if (mischief_refuse(request, &mischief, fal_request_error))
		return;
	if (job->phase != JOB_ENDED) {
		reply_json(request, 400,
			   json_pack("{s:s}", "detail",
				     "Request is still in progress"));
	} else if (job_output_gone(job)) {
		reply_json(request, 404,
			   json_pack("{s:s}", "detail", "Request not found"));
	} else {
		error = error_of(job);
		if (error)
			fal_answer_error(request, error);
		else
			reply_json(request, 200, output_of(job));
	}
	mischief_spoil(request, &mischief, fal_request_error);
}

static void cancel(struct request *request, struct job *job)
{
	struct mischief mischief;
	struct words words = job_words(job);

	job->cancels++;
	request->sim->provider[SIM_FAL].cancels++;
	mischief = mischief_of_job(request, job, "cancel");
	if (mischief_refuse(request, &mischief, fal_request_error))
		return;
	ledger_note(request->sim, "cancel",
		    json_pack("{s:s, s:s}", "provider", "fal", "id",
			      job->start->id));
	if (job->phase == JOB_ENDED) {
		reply_json(request, 400,
			   json_pack("{s:s}", "status", "ALREADY_COMPLETED"));
	} else {
		reply_json(
			request, 202,
			json_pack("{s:s}", "status", "CANCELLATION_REQUESTED"));
		if (!words_bool(&words, NULL, "ignore_cancel", false))
			job_end(job, OUTCOME_CANCEL, NULL);
	}
	mischief_spoil(request, &mischief, fal_request_error);
}

/* …/requests/{id}[/status|/response|/cancel] of the app it belongs to. */
static void one_request(struct request *request, const char *account,
			const char *requests)
{
	const char *app = request->path + sizeof(QUEUE) - 1;
	size_t app_length = (size_t)(requests - app);
	const char *id = requests + strlen("/requests/");
	size_t id_length = strcspn(id, "/");
	const char *verb = id + id_length;
	char *plain = arena_strndup(request->arena, id, id_length);
	struct job *job = plain ? job_find(request->sim, SIM_FAL, plain) : NULL;

	if (!job || strcmp(job->start->account, account) != 0 ||
	    kept_length(job->start->model) != app_length ||
	    memcmp(job->start->model, app, app_length) != 0) {
		bool put = request->method == HTTP_PUT;

		reply_json(request, 404,
			   json_pack("{s:s}", put ? "status" : "detail",
				     put ? "NOT_FOUND" : "Request not found"));
		return;
	}
	reply_header(request, "x-fal-request-id", job->start->id);
	if (request->method == HTTP_GET && strcmp(verb, "/status") == 0)
		status(request, job);
	else if (request->method == HTTP_GET &&
		 (*verb == '\0' || strcmp(verb, "/response") == 0))
		result(request, job);
	else if (request->method == HTTP_PUT && strcmp(verb, "/cancel") == 0)
		cancel(request, job);
	else
		reply_json(request, 405,
			   json_pack("{s:s}", "detail", "Method Not Allowed"));
}

static json_t *list_item(struct job *job, bool payloads)
{
	const char *error = error_of(job);
	bool ended = job->phase == JOB_ENDED;
	char started[TIME_SIZE], sent[TIME_SIZE], over[TIME_SIZE];
	json_t *item = json_pack(
		"{s:s, s:s, s:s, s:s}", "request_id", job->start->id,
		"endpoint_id", job->start->model, "started_at",
		time_text(job->started_ms ? job->started_ms : job->created_ms,
			  started),
		"sent_at", time_text(job->created_ms, sent));

	if (ended) {
		(void)json_object_set_new(
			item, "ended_at",
			json_string(time_text(job->ended_ms, over)));
		(void)json_object_set_new(
			item, "status_code",
			json_integer(error ? fal_error_status(error) : 200));
		(void)json_object_set_new(
			item, "duration",
			json_real((double)(job->ended_ms - job->created_ms) /
				  1000.0));
	}
	if (payloads && job->input)
		(void)json_object_set(item, "json_input", job->input);
	if (payloads && ended)
		(void)json_object_set_new(item, "json_output",
					  error ? fal_error_body(error)
						: output_of(job));
	return item;
}

struct list_filter {
	const char *endpoint, *account, *request_id, *status;
	int64_t start_ms, end_ms, below;
	struct mischief mischief;
};

static bool is_listed(const struct job *job, const struct list_filter *filter)
{
	const char *error = error_of(job);
	bool ended = job->phase == JOB_ENDED;
	int64_t at_ms = ended ? job->ended_ms : clock_unix_ms();

	if (job->outcome == OUTCOME_VANISH || filter->mischief.hide ||
	    (!ended && !filter->mischief.in_flight) ||
	    clock_unix_ms() - job->created_ms < filter->mischief.lag_ms ||
	    strcmp(job->start->account, filter->account) != 0 ||
	    strcmp(job->start->model, filter->endpoint) != 0 ||
	    job->start->seq >= filter->below || at_ms < filter->start_ms ||
	    at_ms > filter->end_ms)
		return false;
	if (filter->request_id &&
	    strcmp(filter->request_id, job->start->id) != 0)
		return false;
	if (!filter->status)
		return true;
	if (strcmp(filter->status, "success") == 0)
		return ended && !error;
	return ended && error &&
	       (fal_error_status(error) < 500) ==
		       (strcmp(filter->status, "user_error") == 0);
}

static bool read_filter(struct request *request, struct list_filter *ret)
{
	const char *start = request_query(request, "start");
	const char *end = request_query(request, "end");
	const char *cursor = request_query(request, "cursor");

	ret->endpoint = request_query(request, "endpoint_id");
	ret->request_id = request_query(request, "request_id");
	ret->status = request_query(request, "status");
	ret->start_ms = start ? request_time(start)
			      : clock_unix_ms() - INT64_C(86400000);
	ret->end_ms = end ? request_time(end) : INT64_MAX;
	ret->below = INT64_MAX;
	return ret->endpoint && ret->start_ms >= 0 && ret->end_ms >= 0 &&
	       (!cursor || text_to_int64(cursor, 1, INT64_MAX, &ret->below));
}

static void list(struct request *request, const char *account)
{
	struct sim_account *own = &request->sim->provider[SIM_FAL];
	const char *limit_text = request_query(request, "limit");
	const char *expand = request_query(request, "expand");
	struct list_filter filter = { .account = account };
	int64_t limit = 50;
	json_t *items, *cursor = NULL;
	char text[32];

	own->lists++;
	filter.mischief = mischief_of(request, SIM_FAL, "list", NULL, NULL);
	if (mischief_refuse(request, &filter.mischief, fal_request_error))
		return;
	if (!read_filter(request, &filter) ||
	    (limit_text && !text_to_int64(limit_text, 1, PAGE_MOST, &limit))) {
		reply_json(request, 422,
			   json_pack("{s:{s:s, s:s}}", "error", "type",
				     "validation_error", "message",
				     "a query parameter is missing or wrong"));
		return;
	}
	items = json_array();
	for (struct job *job = own->newest; job; job = job->older) {
		if (!is_listed(job, &filter))
			continue;
		if ((int64_t)json_array_size(items) == limit) {
			(void)snprintf(text, sizeof(text), "%lld",
				       (long long)job->start->seq + 1);
			cursor = json_string(text);
			break;
		}
		job->listed++;
		(void)json_array_append_new(
			items,
			list_item(job,
				  expand && strcmp(expand, "payloads") == 0));
	}
	reply_json(request, 200,
		   json_pack("{s:o, s:b, s:o?}", "items", items, "has_more",
			     cursor != NULL, "next_cursor", cursor));
	mischief_spoil(request, &filter.mischief, fal_request_error);
}

static void jwks(struct request *request)
{
	struct mischief mischief =
		mischief_of(request, SIM_FAL, "keys", NULL, NULL);

	if (mischief_refuse(request, &mischief, fal_request_error))
		return;
	reply_json(request, 200, keys_jwks(request->sim->keys));
	mischief_spoil(request, &mischief, fal_request_error);
}

void fal_handle(struct request *request)
{
	const char *authorization = request_header(request, "Authorization");
	const char *key = NULL, *requests;
	char account[17];

	if (strcmp(request->path, "/fal/rest/.well-known/jwks.json") == 0 ||
	    strcmp(request->path, "/fal/.well-known/jwks.json") == 0) {
		jwks(request);
		return;
	}
	if (authorization && text_starts_with(authorization, "Key "))
		key = authorization + 4;
	if (!mischief_knows(request, SIM_FAL, key, account)) {
		request->sim->provider[SIM_FAL].refused++;
		reply_json(request, 401, fal_request_error(request, 401, NULL));
		return;
	}
	requests = strstr(request->path, "/requests/");
	if (strcmp(request->path, "/fal/api/v1/models/requests/by-endpoint") ==
	    0)
		list(request, account);
	else if (!text_starts_with(request->path, QUEUE))
		reply_json(request, 404,
			   json_pack("{s:s}", "detail", "Not Found"));
	else if (requests && request->method != HTTP_POST)
		one_request(request, account, requests);
	else if (request->method == HTTP_POST)
		submit(request, account);
	else
		reply_json(request, 405,
			   json_pack("{s:s}", "detail", "Method Not Allowed"));
}
