/* SPDX-License-Identifier: MIT */
/*
 * Bodies of webhooks. Input: a byte that chooses the provider, one that sets
 * how much memory there is, the body. Vertex AI sends none: whatever comes in
 * its name is refused before it is read, which the first line here relies on.
 */
#include "tests/fuzz/event.h"

#include <errno.h>

static int read_body(const struct provider_ops *ops, const char *body,
		     size_t size, size_t arena_bytes, struct arena **ret_arena,
		     struct provider_event *event)
{
	struct provider_webhook webhook = {
		.body = body,
		.body_bytes = size,
		.now_unix_s = 1764000000,
	};
	struct fault fault = { "" };
	int r;

	*ret_arena = arena_new(arena_bytes);
	HOLDS(*ret_arena);
	*event = (struct provider_event){ .kind = JOB_EVENT_MAX };
	r = ops->webhook_event(&webhook, *ret_arena, event, &fault);
	HOLDS(r == 0 || r == -EBADMSG || r == -ENOMEM);
	HOLDS((r == 0) == (event->kind != JOB_EVENT_MAX));
	HOLDS((r != 0) == (fault.text[0] != '\0'));
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *arena = NULL, *again = NULL,
					    *tight = NULL;
	struct input input = { data, size };
	const struct provider_ops *ops = provider_at(input_byte(&input) % 3);
	size_t tight_bytes = input_byte(&input) * (size_t)16, length;
	struct provider_event event, event_again, event_tight;
	char *body;
	int r;

	HOLDS(ops->has_webhook == (ops->webhook_event != NULL));
	if (!ops->has_webhook)
		return 0;
	body = input_rest(&input, &length);
	r = read_body(ops, body, length, EVENT_ARENA_BYTES, &arena, &event);
	if (r == 0) {
		event_holds(&event);
		/* A webhook is always about some job of the provider's. */
		HOLDS(event.provider_job_id);
		HOLDS(event.kind == JOB_PROGRESS ||
		      event.kind == JOB_RENDERED ||
		      (event_is_failure(event.kind) &&
		       event.kind != JOB_REFUSED));
		HOLDS(read_body(ops, body, length, EVENT_ARENA_BYTES, &again,
				&event_again) == 0);
		HOLDS(event_same(&event, &event_again));
	}
	/* Without memory it says so, and never another thing. */
	if (read_body(ops, body, length, tight_bytes, &tight, &event_tight) ==
	    0)
		HOLDS(r == 0 && event_same(&event, &event_tight));
	free(body);
	return 0;
}
