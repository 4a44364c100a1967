/* SPDX-License-Identifier: MIT */
/*
 * Answers of providers. Input: bytes that choose provider, call and status, a
 * Retry-After header as one line, then the body.
 */
#include "tests/fuzz/event.h"

#include <errno.h>

enum { NOW_UNIX_S = 1764000000, ARENA_BYTES = 8 * 1024 * 1024, KEYS = 4 };

static const unsigned statuses[] = { 200, 201, 202, 204, 400, 401, 402,
				     403, 404, 408, 409, 413, 422, 429,
				     499, 500, 502, 503, 302 };

static const char secret[] = "the-credential-of-the-operator";

static const struct {
	const char *model, *id, *base_url;
} worlds[] = {
	{ "owner/name", "rrr4z55ocneqzikepnug6xezpe",
	  "https://api.replicate.example/v1" },
	{ "fal-ai/kling-video/v2.1/standard/image-to-video",
	  "80e732af-660e-45cd-bd63-580e4f2a94cc", "https://queue.fal.example" },
	{ "veo-3.0-generate-001",
	  "projects/p/locations/us-central1/publishers/google/models/"
	  "veo-3.0-generate-001/operations/8b3f1a2c",
	  "https://us-central1-aiplatform.example/v1" },
};

struct call {
	const struct provider_ops *ops;
	struct job job;
	struct provider_conf conf;
	struct http_header header;
	struct http_response response;
	uint8_t kind;
};

/* An address we would fetch is one that the client can use, and our
 * credential goes nowhere but to the provider. */
static void check_media(const struct call *call,
			const struct provider_media *media, struct arena *arena)
{
	struct http_request request = { .url = NULL };
	struct fault fault = { "" };
	struct url url;
	bool ours;
	int r = call->ops->media_request(media, &call->conf, arena, &request,
					 &fault);

	HOLDS(r == 0 || r == -EINVAL || r == -ENOMEM);
	if (r < 0) {
		HOLDS(!request.url && fault.text[0]);
		return;
	}
	HOLDS(request.method == HTTP_GET && !request.body);
	HOLDS(strlen(request.url) > LIMIT_URL_BYTES ||
	      url_split(request.url, arena, &url, NULL) == 0);
	ours = wire_same_origin(request.url, call->conf.base_url, arena) ||
	       wire_same_origin(request.url, call->conf.storage_url, arena);
	for (size_t i = 0; i < request.header_count; i++) {
		HOLDS(request.header_count <= HTTP_REQUEST_HEADER_MAX);
		HOLDS(ours || !strstr(request.header[i].value, secret));
	}
	HOLDS(!strstr(request.url, secret) || strstr(media->url, secret));
}

static bool is_from_start(enum job_event kind)
{
	return kind == JOB_ACCEPTED || kind == JOB_RENDERED ||
	       kind == JOB_REFUSED || kind == JOB_NOT_STARTED ||
	       kind == JOB_THROTTLED || kind == JOB_START_LOST;
}

static bool is_from_check(enum job_event kind)
{
	return kind == JOB_PROGRESS || kind == JOB_NO_ANSWER ||
	       kind == JOB_RESULT_READY || kind == JOB_RENDERED ||
	       kind == JOB_PROVIDER_FAILED || kind == JOB_PROVIDER_FALTERED ||
	       kind == JOB_PROVIDER_CANCELLED;
}

static bool is_right_kind(const struct call *call, enum job_event kind)
{
	switch (call->kind) {
	case 0:
		return is_from_start(kind);
	case 3:
		return is_from_check(kind) || kind == JOB_CANCEL_TRIED;
	case 4:
		return is_from_check(kind) || is_from_start(kind) ||
		       kind == JOB_NOT_FOUND_YET;
	default:
		return is_from_check(kind);
	}
}

static void check_start(const struct call *call,
			const struct provider_event *event)
{
	unsigned status = call->response.status;

	/* Money: what may have been started is never said to be refused. */
	HOLDS(event->kind != JOB_ACCEPTED || event->provider_job_id);
	if (status >= 500 || status == 408 || status == 409 || status == 499)
		HOLDS(event->kind == JOB_START_LOST ||
		      event->kind == JOB_NOT_STARTED);
	if (status >= 200 && status < 300)
		HOLDS(event->kind != JOB_NOT_STARTED &&
		      event->kind != JOB_THROTTLED);
	if (event->kind == JOB_THROTTLED)
		HOLDS(status == 429);
}

static void run_event(const struct call *call, provider_event_fn *fn)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct provider_event event = { .kind = JOB_EVENT_MAX };
	struct provider_event again = { .kind = JOB_EVENT_MAX };
	struct fault fault = { "" };
	int r = fn(&call->job, &call->response, NOW_UNIX_S, arena, &event,
		   &fault);

	/* An answer nobody understands is an event too. */
	HOLDS(r == 0 || r == -ENOMEM);
	HOLDS((r == 0) == (event.kind != JOB_EVENT_MAX));
	if (r < 0)
		return;
	event_holds(&event);
	HOLDS(is_right_kind(call, event.kind));
	if (call->kind == 0)
		check_start(call, &event);
	for (size_t i = 0; i < event.media_count; i++)
		check_media(call, &event.media[i], arena);
	r = fn(&call->job, &call->response, NOW_UNIX_S, arena, &again, NULL);
	HOLDS(r == -ENOMEM || (r == 0 && event_same(&event, &again)));
}

static void run_token(const struct call *call)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	const char *token = NULL;
	int64_t lifetime_s = -1;
	int r;

	if (!call->ops->token_event)
		return;
	r = call->ops->token_event(&call->response, arena, &token, &lifetime_s,
				   NULL);
	HOLDS(r == 0 || r == -EBADMSG || r == -ENOMEM);
	HOLDS((r == 0) == (token != NULL));
	if (r == 0) {
		HOLDS(wire_is_visible(token, strlen(token)));
		HOLDS(lifetime_s > 0);
	}
}

static void run_keys(const struct call *call)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct provider_key key[KEYS];
	size_t count = 99;
	int r;

	if (!call->ops->keys_event)
		return;
	r = call->ops->keys_event(&call->response, arena, key, KEYS, &count,
				  NULL);
	HOLDS(r == 0 || r == -EBADMSG || r == -ENOMEM);
	HOLDS(r == 0 ? count >= 1 && count <= KEYS : count == 99);
	for (size_t i = 0; r == 0 && i < count; i++)
		HOLDS(key[i].id && key[i].key && *key[i].key);
}

static void run(const struct call *call)
{
	const struct provider_ops *ops = call->ops;
	provider_event_fn *const fns[] = {
		ops->start_event,  ops->status_event, ops->result_event,
		ops->cancel_event, ops->list_event,
	};

	if (call->kind == COUNT_OF(fns))
		run_token(call);
	else if (call->kind > COUNT_OF(fns))
		run_keys(call);
	else if (fns[call->kind])
		run_event(call, fns[call->kind]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	size_t place = input_byte(&input) % COUNT_OF(worlds), length;
	struct call call = {
		.ops = provider_at(place),
		.kind = input_byte(&input) % 7,
		.job = {
			.id = "0199f1c2-7a3b-7c4d-8e5f-0123456789ab",
			.state = JOB_PROCESSING,
			.provider = provider_at(place)->name,
			.model = worlds[place].model,
			.input = "{\"prompt\":\"a cat\"}",
			.webhook_url = "https://rushes.example/api/webhooks",
			.attempt = 1,
			.started_unix_ms = (NOW_UNIX_S - 30) * INT64_C(1000),
		},
		.conf = {
			.base_url = worlds[place].base_url,
			.credential = secret,
			.project = "p",
			.location = "us-central1",
			.storage_url = "https://storage.example",
		},
	};
	char *retry_after, *body;

	if (call.kind != 0)
		call.job.provider_job_id = worlds[place].id;
	call.response.status =
		statuses[input_byte(&input) % COUNT_OF(statuses)];
	retry_after = input_line(&input);
	body = input_rest(&input, &length);
	call.header = (struct http_header){ "Retry-After", retry_after };
	call.response.header = &call.header;
	call.response.header_count = *retry_after ? 1 : 0;
	call.response.body = body;
	call.response.body_bytes = length;
	run(&call);
	free(retry_after);
	free(body);
	return 0;
}
