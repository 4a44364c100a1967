/* SPDX-License-Identifier: MIT */
#include "fcgi/pending.h"

#include "common/base/clock.h"

#include <stdlib.h>

static size_t bytes_of(const struct request *request,
		       const struct commit *commit)
{
	return request->body_bytes + (commit->kind == COMMIT_SUBMIT
					      ? submit_bytes(&commit->submit)
					      : 0);
}

struct pending *pending_new(struct exchange *exchange, struct commit *commit)
{
	const struct request *request = exchange_request(exchange);
	struct request *copy = arena_alloc(request->arena, sizeof(*copy));
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!copy || !pending) {
		free(pending);
		return NULL;
	}
	/* The exchange may be answered by another thread while this one
	 * still works on the request. */
	*copy = *request;
	pending->exchange = exchange;
	pending->request = copy;
	pending->commit = commit;
	pending->bytes = bytes_of(request, commit);
	pending->since_ms = clock_monotonic_ms();
	pending->refs = 1;
	return pending;
}

struct pending *pending_free(struct pending *pending)
{
	if (pending)
		(void)arena_free(pending->arena);
	free(pending);
	return NULL;
}

void pending_queue_init(struct pending_queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

void pending_queue_add(struct pending_queue *queue, struct pending *pending)
{
	pending->next = NULL;
	*queue->last = pending;
	queue->last = &pending->next;
}

struct pending *pending_queue_take(struct pending_queue *queue)
{
	struct pending *pending = queue->first;

	if (!pending)
		return NULL;
	queue->first = pending->next;
	if (!queue->first)
		queue->last = &queue->first;
	return pending;
}
