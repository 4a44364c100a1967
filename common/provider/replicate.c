/* SPDX-License-Identifier: MIT */
/*
 * Replicate, HTTP API v1.
 *
 * Manual: https://replicate.com/docs/reference/http (read 2026-11-23).
 * Fixtures: tests/fixtures/replicate/.
 *
 * Oddities: one prediction object is the answer to start, poll and cancel,
 * the item of lists and the body of webhooks. "aborted" is final, though
 * their own JavaScript client does not know it. Inputs, outputs and logs go
 * an hour after the end, and then a success has no output and says
 * data_removed. Progress is only in the logs, as tqdm prints it. Waiting for
 * the result (Prefer: wait) is never asked for: it turns outputs into data:
 * URIs and holds the connection of a paid start.
 */

#include "common/provider/replicate.h"
#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/provider/standard_webhooks.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>

enum {
	VERSION_MAX = 64,
	LIST_SKEW_MS = 60 * 1000, /* their clock against ours */
	/* After the longest wait for the answer to a start, and the skew. */
	LIST_SPAN_MS = 15 * 60 * 1000,
};

static bool is_version_id(const char *text)
{
	return strlen(text) == VERSION_MAX &&
	       strspn(text, "0123456789abcdefABCDEF") == VERSION_MAX;
}

/* Where a model is started, and what "version" it takes there; NULL: none. */
struct target {
	const char *path;
	const char *version;
};

static int find_target(const char *model, struct arena *arena,
		       struct target *ret, struct fault *reterr_fault)
{
	const char *colon = strchr(model, ':');
	struct target target = { 0 };

	if (is_version_id(model)) {
		target.path = "/predictions";
		target.version = model;
	} else if (colon) {
		const char *name =
			arena_strndup(arena, model, (size_t)(colon - model));

		if (name && wire_is_path(name, 2, 2) &&
		    wire_is_name(colon + 1, strlen(colon + 1))) {
			target.path = "/predictions";
			target.version =
				is_version_id(colon + 1) ? colon + 1 : model;
		}
	} else if (text_starts_with(model, "deployments/")) {
		if (wire_is_path(model, 3, 3))
			target.path =
				arena_printf(arena, "/%s/predictions", model);
	} else if (wire_is_path(model, 2, 2)) {
		target.path =
			arena_printf(arena, "/models/%s/predictions", model);
	}

	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the model's name");
	if (!target.path)
		return fault_set(
			reterr_fault, -EINVAL,
			"model: replicate wants owner/name, owner/name:version,"
			" a version of 64 hexadecimal digits, or "
			"deployments/owner/name");
	*ret = target;
	return 0;
}

/* The input is passed as the text it is, so that no number changes. */
static const char *start_body(const struct job *job,
			      const struct target *target, struct arena *arena)
{
	json_auto_t *rest = json_object();
	const char *text;

	if (target->version)
		(void)json_object_set_new(rest, "version",
					  json_string(target->version));
	if (job->webhook_url) {
		(void)json_object_set_new(rest, "webhook",
					  json_string(job->webhook_url));
		(void)json_object_set_new(
			rest, "webhook_events_filter",
			json_pack("[s,s]", "start", "completed"));
	}
	if (json_object_size(rest) == 0)
		return arena_printf(arena, "{\"input\":%s}", job->input);
	text = json_text_write(rest, arena);
	return text ? arena_printf(arena, "{\"input\":%s,%s", job->input,
				   text + 1)
		    : NULL;
}

static int start_request(const struct job *job,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST };
	json_auto_t *input = NULL;
	struct target target = { 0 };
	int r;

	r = find_target(job->model, arena, &target, reterr_fault);
	if (r < 0)
		return r;
	r = wire_parse_input(job, &input, reterr_fault);
	if (r < 0)
		return r;
	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	request.url = arena_printf(arena, "%s%s", conf->base_url, target.path);
	wire_json_body(&request, start_body(job, &target, arena));
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* A request about the prediction that the job has become. */
static int prediction_request(const struct job *job,
			      const struct provider_conf *conf,
			      const char *suffix, struct arena *arena,
			      struct http_request *request,
			      struct fault *reterr_fault)
{
	if (!job->provider_job_id ||
	    !wire_is_id(job->provider_job_id, WIRE_ID_MAX))
		return fault_set(reterr_fault, -EINVAL,
				 "the job has no usable prediction id");

	request->url =
		arena_printf(arena, "%s/predictions/%s%s", conf->base_url,
			     job->provider_job_id, suffix);
	return wire_authorize(request, "Bearer", conf->credential, arena,
			      reterr_fault);
}

static int status_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	int r = prediction_request(job, conf, "", arena, &request,
				   reterr_fault);

	if (r < 0)
		return r;
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int cancel_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST, .body = "" };
	int r = prediction_request(job, conf, "/cancel", arena, &request,
				   reterr_fault);

	if (r < 0)
		return r;
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* So long after the start, as it stands in a URL. */
static const char *list_time(const struct job *job, int64_t ms,
			     struct arena *arena)
{
	const char *time = wire_time(job->started_unix_ms + ms, arena);

	return time ? text_to_percent(time, false, arena) : NULL;
}

/* Both ends are said: a start that is looked for a day later shall not be
 * buried under a day's predictions. */
static int list_request(const struct job *job, const struct provider_conf *conf,
			const char *cursor, struct arena *arena,
			struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	const char *since, *until;
	int r;

	if (!job->webhook_url || job->started_unix_ms <= 0)
		return fault_set(reterr_fault, -EINVAL,
				 "nothing to know the prediction by: it was "
				 "started without a webhook");

	if (cursor) {
		if (!wire_same_origin(cursor, conf->base_url, arena))
			return fault_set(reterr_fault,
					 arena_failed(arena) ? -ENOMEM
							     : -EINVAL,
					 "the list goes on elsewhere");
		request.url = arena_strdup(arena, cursor);
	} else {
		since = list_time(job, -LIST_SKEW_MS, arena);
		until = list_time(job, LIST_SPAN_MS, arena);
		if (since && until)
			request.url =
				arena_printf(arena,
					     "%s/predictions?created_after=%s"
					     "&created_before=%s",
					     conf->base_url, since, until);
	}

	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int media_request(const struct provider_media *media,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request;
	int r = wire_media_request(media, arena, &request, reterr_fault);

	if (r < 0)
		return r;

	/* Their delivery hosts hand files out to anybody who knows the URL;
	 * only the files of the API itself ask for the token. */
	if (wire_same_origin(request.url, conf->base_url, arena)) {
		r = wire_authorize(&request, "Bearer", conf->credential, arena,
				   reterr_fault);
		if (r < 0)
			return r;
	}
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int keys_request(const struct provider_conf *conf, struct arena *arena,
			struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	int r = wire_authorize(&request, "Bearer", conf->credential, arena,
			       reterr_fault);

	if (r < 0)
		return r;
	request.url = arena_printf(arena, "%s/webhooks/default/secret",
				   conf->base_url);
	return wire_request_done(&request, arena, ret, reterr_fault);
}

const struct provider_ops replicate_provider = {
	.name = "replicate",
	.poll_first_ms = 30 * 1000,
	.poll_most_ms = 5 * 60 * 1000,
	/* It echoes the input, which may be the largest we take. */
	.response_bytes_max = 8 * LIMIT_MIB,
	.retention_s = 60 * 60,
	.has_webhook = true,
	.start_request = start_request,
	.start_event = replicate_start_event,
	.status_request = status_request,
	.status_event = replicate_status_event,
	.cancel_request = cancel_request,
	.cancel_event = replicate_cancel_event,
	.list_request = list_request,
	.list_event = replicate_list_event,
	.media_request = media_request,
	.verify = standard_webhooks_verify,
	.webhook_event = replicate_webhook_event,
	.keys_request = keys_request,
	.keys_event = replicate_keys_event,
};
