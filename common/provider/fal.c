/* SPDX-License-Identifier: MIT */
/*
 * fal.ai, queue API.
 *
 * Manual: https://docs.fal.ai/model-endpoints/queue (read 2026-11-23).
 * Fixtures: tests/fixtures/fal/.
 *
 * Oddities: the body of a start is the model's input itself, without an
 * envelope. Failed and cancelled requests are COMPLETED, too: with an error,
 * or with nothing at all until the result is fetched, which then has the
 * model's own HTTP status. Status, result and cancel drop the sub path of
 * the endpoint id; the start's answer has their URLs. Those are followed
 * only within the configured origin, for the key goes with them.
 *
 * The queue repeats a request by itself when its runner cannot be reached
 * (503, 504, connection errors; up to ten times) and bills none of that. So
 * x-fal-no-retry is not sent, and what the queue has given up on counts as
 * failed for good: another paid start on top would multiply the tries.
 * Failures that it does not repeat may be tried again by us.
 */

#include "common/provider/fal.h"

#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>

enum {
	MODEL_PARTS_MAX = 8,
	LIST_ITEMS = 100,	  /* the most that one page may have */
	LIST_SKEW_MS = 60 * 1000, /* their clock against ours */
};

static int check_model(const struct job *job, struct fault *reterr_fault)
{
	if (!job->model || strlen(job->model) > LIMIT_MODEL_BYTES ||
	    !wire_is_path(job->model, 2, MODEL_PARTS_MAX))
		return fault_set(reterr_fault, -EINVAL,
				 "model: fal wants owner/app, or owner/app and "
				 "a path below it");
	return 0;
}

static int start_request(const struct job *job,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST };
	json_auto_t *input = NULL;
	const char *webhook;
	int r;

	r = check_model(job, reterr_fault);
	if (r < 0)
		return r;
	r = wire_parse_input(job, &input, reterr_fault);
	if (r < 0)
		return r;
	r = wire_authorize(&request, "Key", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	if (job->webhook_url) {
		webhook = text_to_percent(job->webhook_url, false, arena);
		request.url = arena_printf(arena, "%s/%s?fal_webhook=%s",
					   conf->base_url, job->model,
					   webhook ? webhook : "");
	} else {
		request.url = arena_printf(arena, "%s/%s", conf->base_url,
					   job->model);
	}
	/* As the text it is, so that no number changes. */
	wire_json_body(&request, arena_strdup(arena, job->input));
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* Bytes of the model that its requests are kept under: owner/app, with one
 * part more in the namespaces that have one. */
static size_t app_length(const char *model)
{
	int parts = text_starts_with(model, "workflows/") ||
				    text_starts_with(model, "comfy/")
			    ? 3
			    : 2;
	size_t length = strcspn(model, "/");

	for (int i = 1; i < parts && model[length] == '/'; i++)
		length += 1 + strcspn(model + length + 1, "/");
	return length;
}

/* The URL that the start's answer gave, if it is safe; NULL otherwise. */
static const char *given_url(const struct job *job,
			     const struct provider_conf *conf, const char *key,
			     struct arena *arena)
{
	json_auto_t *ref = NULL;
	const char *url, *part;

	if (!job->provider_ref ||
	    wire_parse(job->provider_ref, strlen(job->provider_ref), &ref) < 0)
		return NULL;
	url = wire_string(ref, key);
	if (!url || strlen(url) > WIRE_REF_URL_MAX ||
	    !wire_same_origin(url, conf->base_url, arena))
		return NULL;
	part = arena_printf(arena, "/requests/%s", job->provider_job_id);
	return part && strstr(url, part) && !strstr(url, "..")
		       ? arena_strdup(arena, url)
		       : NULL;
}

/* Where to ask about the queued request that the job has become. */
static const char *queue_url(const struct job *job,
			     const struct provider_conf *conf, const char *key,
			     const char *suffix, struct arena *arena)
{
	const char *url = given_url(job, conf, key, arena);

	if (url)
		return url;
	return arena_printf(arena, "%s/%.*s/requests/%s%s", conf->base_url,
			    (int)app_length(job->model), job->model,
			    job->provider_job_id, suffix);
}

static int known_request(const struct job *job,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *request,
			 struct fault *reterr_fault)
{
	int r = check_model(job, reterr_fault);

	if (r < 0)
		return r;
	if (!job->provider_job_id ||
	    !wire_is_id(job->provider_job_id, WIRE_ID_MAX))
		return fault_set(reterr_fault, -EINVAL,
				 "the job has no usable request id");
	return wire_authorize(request, "Key", conf->credential, arena,
			      reterr_fault);
}

static int status_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	int r = known_request(job, conf, arena, &request, reterr_fault);

	if (r < 0)
		return r;
	request.url = queue_url(job, conf, "status_url", "/status", arena);
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int result_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	int r = known_request(job, conf, arena, &request, reterr_fault);

	if (r < 0)
		return r;
	request.url = queue_url(job, conf, "response_url", "", arena);
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int cancel_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_PUT, .body = "" };
	int r = known_request(job, conf, arena, &request, reterr_fault);

	if (r < 0)
		return r;
	request.url = queue_url(job, conf, "cancel_url", "/cancel", arena);
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int list_request(const struct job *job, const struct provider_conf *conf,
			const char *cursor, struct arena *arena,
			struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	const char *since, *model, *url;
	int r = check_model(job, reterr_fault);

	if (r < 0)
		return r;
	if (job->started_unix_ms <= 0)
		return fault_set(reterr_fault, -EINVAL,
				 "the job was never started");
	r = wire_authorize(&request, "Key", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	since = wire_time(job->started_unix_ms - LIST_SKEW_MS, arena);
	since = since ? text_to_percent(since, false, arena) : NULL;
	model = text_to_percent(job->model, false, arena);
	url = arena_printf(arena,
			   "%s/models/requests/by-endpoint?endpoint_id=%s"
			   "&start=%s&limit=%d&expand=payloads",
			   conf->list_url, model ? model : "",
			   since ? since : "", LIST_ITEMS);
	if (cursor && url) {
		const char *escaped = text_to_percent(cursor, false, arena);

		url = arena_printf(arena, "%s&cursor=%s", url,
				   escaped ? escaped : "");
	}
	request.url = url;
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* Their media is public; the key stays here. */
static int media_request(const struct provider_media *media,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	(void)conf;
	return wire_media_request(media, arena, ret, reterr_fault);
}

static int keys_request(const struct provider_conf *conf, struct arena *arena,
			struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };

	if (!conf->keys_url)
		return fault_set(reterr_fault, -EINVAL,
				 "no address of fal's keys is configured");
	request.url = arena_strdup(arena, conf->keys_url);
	return wire_request_done(&request, arena, ret, reterr_fault);
}

const struct provider_ops fal_provider = {
	.name = "fal",
	.poll_first_ms = 30 * 1000,
	.poll_most_ms = 5 * 60 * 1000,
	/* A result may hold a data: URI, if the input asked for it. */
	.response_bytes_max = 8 * LIMIT_MIB,
	.retention_s = 24 * 60 * 60,
	.has_webhook = true,
	.start_request = start_request,
	.start_event = fal_start_event,
	.status_request = status_request,
	.status_event = fal_status_event,
	.result_request = result_request,
	.result_event = fal_result_event,
	.cancel_request = cancel_request,
	.cancel_event = fal_cancel_event,
	.list_request = list_request,
	.list_event = fal_list_event,
	.media_request = media_request,
	.verify = fal_verify,
	.webhook_event = fal_webhook_event,
	.keys_request = keys_request,
	.keys_event = fal_keys_event,
};
