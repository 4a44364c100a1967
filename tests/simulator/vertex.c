/* SPDX-License-Identifier: MIT */
/* Veo on Vertex AI: long-running predictions. */
#include "tests/simulator/google.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/start.h"

#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

enum { SAMPLES_MOST = 4, MODEL_PATH_MAX = 512 };

static const struct {
	unsigned http;
	int rpc;
	const char *status;
	const char *message;
} codes[] = {
	{ 400, 3, "INVALID_ARGUMENT", "Request contains an invalid argument." },
	{ 400, 9, "FAILED_PRECONDITION", "Precondition check failed." },
	{ 401, 16, "UNAUTHENTICATED",
	  "Request had invalid authentication credentials. Expected OAuth 2 "
	  "access token." },
	{ 403, 7, "PERMISSION_DENIED", "Permission denied on resource." },
	{ 404, 5, "NOT_FOUND", "Requested entity was not found." },
	{ 408, 4, "DEADLINE_EXCEEDED", "Deadline exceeded." },
	{ 409, 10, "ABORTED", "The operation was aborted." },
	{ 429, 8, "RESOURCE_EXHAUSTED",
	  "Quota exceeded for online prediction requests per base model." },
	{ 499, 1, "CANCELLED", "The operation was cancelled." },
	{ 500, 13, "INTERNAL", "Internal error encountered." },
	{ 503, 14, "UNAVAILABLE", "The service is currently unavailable." },
	{ 504, 4, "DEADLINE_EXCEEDED", "Deadline exceeded." },
};

static json_t *error_json(unsigned code, const char *message,
			  const char *status)
{
	return json_pack("{s:{s:i, s:s, s:s, s:[]}}", "error", "code",
			 (int)code, "message", message, "status", status,
			 "details");
}

json_t *google_error(struct request *request, unsigned code, const char *status)
{
	const char *message = "Simulated.";
	bool found = false;

	(void)request;
	for (size_t i = 0; i < COUNT_OF(codes) && !found; i++) {
		if (codes[i].http != code ||
		    (status && strcmp(status, codes[i].status) != 0))
			continue;
		found = true;
		status = codes[i].status;
		message = codes[i].message;
	}
	return error_json(code, message, status ? status : "UNKNOWN");
}

void google_fail(struct request *request, unsigned code, const char *message)
{
	json_t *json = google_error(request, code, NULL);

	(void)json_object_set_new(json_object_get(json, "error"), "message",
				  json_string(message));
	request->sim->provider[SIM_VERTEX].refused++;
	reply_json(request, code, json);
}

static void invalid(struct request *request, const char *message)
{
	google_fail(request, 400, message);
}

bool google_knows(struct request *request, char ret_account[17])
{
	struct sim *sim = request->sim;
	const char *authorization = request_header(request, "Authorization");
	const json_t *wanted = sim->provider[SIM_VERTEX].credentials;
	const char *token = NULL, *account = NULL;
	bool known;

	if (authorization && text_starts_with(authorization, "Bearer "))
		token = authorization + strlen("Bearer ");
	if (token && oauth_is_ours(token)) {
		account = oauth_token_account(sim, token);
		known = account != NULL;
		if (known) {
			(void)mischief_knows(request, SIM_VERTEX, account,
					     ret_account);
			known = !json_is_array(wanted) ||
				mischief_knows(request, SIM_VERTEX, token,
					       ret_account);
		}
	} else {
		known = !json_is_true(wanted) &&
			mischief_knows(request, SIM_VERTEX, token, ret_account);
	}
	if (known)
		return true;
	sim->provider[SIM_VERTEX].refused++;
	reply_json(request, 401, google_error(request, 401, NULL));
	return false;
}

/* "PNG", JPEG or WebP by its first bytes? */
static bool is_picture(const uint8_t *bytes, size_t size)
{
	return (size > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) ||
	       (size > 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) ||
	       (size > 12 && memcmp(bytes, "RIFF", 4) == 0 &&
		memcmp(bytes + 8, "WEBP", 4) == 0);
}

/* @return what is wrong with an image of the request, or NULL */
static const char *check_image(struct request *request, const json_t *image)
{
	const json_t *inlined = json_object_get(image, "bytesBase64Encoded");
	const char *uri = json_string_value(json_object_get(image, "gcsUri"));
	uint8_t *bytes;
	size_t size;

	if (!image)
		return NULL;
	if (!json_is_string(json_object_get(image, "mimeType")))
		return "image.mimeType is required";
	if (uri)
		return text_starts_with(uri, "gs://")
			       ? NULL
			       : "image.gcsUri must begin with gs://";
	if (!json_is_string(inlined))
		return "image has neither bytesBase64Encoded nor gcsUri";
	bytes = text_from_base64(json_string_value(inlined),
				 json_string_length(inlined), TEXT_BASE64,
				 request->arena, &size);
	if (!bytes)
		return "image.bytesBase64Encoded is not base64";
	return is_picture(bytes, size) ? NULL : "Unsupported image format";
}

static const char *check_start(struct request *request, const json_t *body)
{
	const json_t *instance =
		json_array_get(json_object_get(body, "instances"), 0);
	const json_t *parameters = json_object_get(body, "parameters");
	const json_t *samples = json_object_get(parameters, "sampleCount");
	const json_t *duration = json_object_get(parameters, "durationSeconds");
	const json_t *storage = json_object_get(parameters, "storageUri");
	const char *wrong;

	if (!json_is_object(instance))
		return "instances must have one object";
	if (!json_is_string(json_object_get(instance, "prompt")) &&
	    !json_object_get(instance, "image"))
		return "Either prompt or image must be given";
	wrong = check_image(request, json_object_get(instance, "image"));
	if (!wrong)
		wrong = check_image(request,
				    json_object_get(instance, "lastFrame"));
	if (wrong)
		return wrong;
	if (parameters && !json_is_object(parameters))
		return "parameters must be an object";
	if (samples && (json_integer_value(samples) < 1 ||
			json_integer_value(samples) > SAMPLES_MOST))
		return "sampleCount must be between 1 and 4";
	if (duration && !json_is_integer(duration))
		return "durationSeconds must be an integer";
	if (storage &&
	    (!json_is_string(storage) ||
	     !text_starts_with(json_string_value(storage), "gs://") ||
	     strchr("/", json_string_value(storage)[5])))
		return "storageUri must be gs:// and a bucket";
	return NULL;
}

/* "projects/P/locations/L/publishers/google/models/M" of the path. */
static char *model_path(struct request *request, const char *verb)
{
	const char *path = request->path + strlen("/vertex/");
	const char *colon = strrchr(path, ':');

	path += text_starts_with(path, "v1beta1/") ? strlen("v1beta1/")
						   : strlen("v1/");
	if (!colon || colon <= path || strcmp(colon + 1, verb) != 0 ||
	    colon - path > MODEL_PATH_MAX ||
	    !text_starts_with(path, "projects/") ||
	    !strstr(path, "/publishers/google/models/"))
		return NULL;
	return request_decode(request, path, (size_t)(colon - path), false);
}

static void start(struct request *request, const char *account,
		  const char *model)
{
	json_t *body = start_parse_body(request), *parameters;
	const char *wrong = body ? check_start(request, body)
				 : "Invalid JSON payload received.";
	const json_t *samples;
	struct mischief mischief;
	struct job *job = NULL;
	char id[37];

	parameters = json_object_get(body, "parameters");
	samples = json_object_get(parameters, "sampleCount");
	start_random_uuid(id);
	if (wrong) {
		invalid(request, wrong);
	} else {
		struct start_request wanted = {
			.provider = SIM_VERTEX,
			.id = id,
			.account = account,
			.model = model,
			.input = body,
			.words = json_object_get(parameters, "rushes_sim"),
			.media_wanted =
				samples ? (size_t)json_integer_value(samples)
					: 1,
			.error_body = google_error,
			.invalid = invalid,
		};

		job = start_accept(request, &wanted, &mischief);
	}
	if (job) {
		const char *storage = json_string_value(
			json_object_get(parameters, "storageUri"));
		char *name = arena_printf(request->arena, "%s/operations/%s",
					  model, id);

		job->storage_uri = storage ? take_text(storage) : NULL;
		job_begin(job);
		reply_json(request, 200, json_pack("{s:s?}", "name", name));
		mischief_start(request, job, &mischief, google_error);
	}
	json_decref(body);
}

static json_t *video_json(struct job *job, size_t file)
{
	const char *type = media_type(job->media[file].kind);
	_cleanup_text_ char *text = NULL, *bucket = NULL, *uri = NULL;

	if (!job->storage_uri) {
		text = media_base64(job, file);
		return json_pack("{s:s, s:s}", "bytesBase64Encoded",
				 text ? text : "", "mimeType", type);
	}
	text = gcs_object_name(job, file);
	bucket = gcs_bucket(job);
	uri = take_printf("gs://%s/%s", bucket, text);
	return json_pack("{s:s, s:s}", "gcsUri", uri, "mimeType", type);
}

static json_t *operation_error(const struct job *job)
{
	struct words words = job_words(job);
	const json_t *error = words_find(&words, NULL, "error");
	int64_t code = json_is_integer(error) ? json_integer_value(error) : 13;
	const char *message = json_string_value(error);

	if (job->error)
		message = job->error;
	for (size_t i = 0; i < COUNT_OF(codes) && !message; i++)
		if (codes[i].rpc == code)
			message = codes[i].message;
	return json_pack("{s:I, s:s}", "code", (json_int_t)code, "message",
			 message ? message : "Simulated.");
}

static json_t *safety_reason(const struct job *job)
{
	struct words words = job_words(job);
	const json_t *error = words_find(&words, NULL, "error");
	int64_t code =
		json_is_integer(error) ? json_integer_value(error) : 64151117;
	_cleanup_text_ char *text = take_printf(
		"The prompt could not be submitted. It contains words that "
		"violate Vertex AI's usage guidelines. Support codes: %lld",
		(long long)code);

	return json_string(text);
}

static json_t *operation_response(struct job *job)
{
	json_t *videos = json_array(), *response;
	size_t filtered = 0;

	if (job->outcome == OUTCOME_REFUSE)
		filtered = job->media_wanted;
	else if (job->outcome == OUTCOME_PARTIAL)
		filtered = job->media_wanted - job->media_count;
	for (size_t i = 0; job_has_output(job) && i < job->media_count; i++)
		(void)json_array_append_new(videos, video_json(job, i));
	response =
		json_pack("{s:s, s:I}", "@type",
			  "type.googleapis.com/"
			  "cloud.ai.large_models.vision.GenerateVideoResponse",
			  "raiMediaFilteredCount", (json_int_t)filtered);
	if (filtered > 0)
		(void)json_object_set_new(response, "raiMediaFilteredReasons",
					  json_pack("[o]", safety_reason(job)));
	if (json_array_size(videos) > 0)
		(void)json_object_set_new(response, "videos", videos);
	else
		json_decref(videos);
	return response;
}

static json_t *operation(struct job *job, const char *name)
{
	const char *told = job_next_status(job);
	json_t *json = json_pack("{s:s}", "name", name);
	bool done = told ? strcmp(told, "done") == 0 : job_tells_end(job);

	if (!done || job->phase != JOB_ENDED) {
		/* Both spellings of "not yet" are the real service's. */
		if (job->polls % 2)
			(void)json_object_set_new(json, "done", json_false());
		return json;
	}
	(void)json_object_set_new(json, "done", json_true());
	if (job->outcome == OUTCOME_FAIL)
		(void)json_object_set_new(json, "error", operation_error(job));
	else if (job->outcome == OUTCOME_CANCEL ||
		 job->outcome == OUTCOME_ABORT)
		(void)json_object_set_new(
			json, "error",
			json_pack("{s:i, s:s}", "code", 1, "message",
				  "The operation was cancelled."));
	else
		(void)json_object_set_new(json, "response",
					  operation_response(job));
	return json;
}

static void poll(struct request *request, const char *account,
		 const char *model)
{
	json_t *body = start_parse_body(request);
	const char *name =
		json_string_value(json_object_get(body, "operationName"));
	const char *id = name ? strrchr(name, '/') : NULL;
	struct job *job =
		id ? job_find(request->sim, SIM_VERTEX, id + 1) : NULL;
	struct mischief mischief;

	if (!name) {
		invalid(request, "operationName is required");
	} else if (!job || strcmp(job->start->account, account) != 0 ||
		   strcmp(job->start->model, model) != 0) {
		reply_json(request, 404, google_error(request, 404, NULL));
	} else {
		job->polls++;
		request->sim->provider[SIM_VERTEX].polls++;
		mischief = mischief_of_job(request, job, "poll");
		if (!mischief_refuse(request, &mischief, google_error)) {
			reply_json(request, 200, operation(job, name));
			mischief_spoil(request, &mischief, google_error);
		}
	}
	json_decref(body);
}

void vertex_handle(struct request *request)
{
	char account[17];
	char *model;

	if (!google_knows(request, account))
		return;
	if (request->method == HTTP_GET &&
	    strstr(request->path, "/operations/")) {
		/* The real service's trap: operations of publisher models
		 * cannot be read by a plain GET. */
		google_fail(request, 400,
			    "The Operation ID must be a Long, but was instead: "
			    "a UUID");
		return;
	}
	if (request->method == HTTP_POST) {
		model = model_path(request, "predictLongRunning");
		if (model) {
			start(request, account, model);
			return;
		}
		model = model_path(request, "fetchPredictOperation");
		if (model) {
			poll(request, account, model);
			return;
		}
	}
	reply_json(request, 404, google_error(request, 404, NULL));
}
