/* SPDX-License-Identifier: MIT */
#ifndef FCGI_PENDING_H
#define FCGI_PENDING_H

#include "common/base/arena.h"
#include "fcgi/commit.h"
#include "fcgi/exchange.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A request in the committer's hands, and queues of them. Nothing here locks:
 * the committer does.
 */

struct pending {
	struct pending *next;
	struct exchange *exchange; /* whoever takes it, answers; else NULL */
	struct arena *arena;	   /* of the request and what is below */
	const struct request *request;
	struct commit *commit;
	size_t bytes; /* what it takes of the ceiling */
	int64_t since_ms;
	unsigned refs; /* gone with the last */
};

/* The exchange stays the caller's until he takes its arena over into
 * pending->arena. @return with one reference; NULL without memory */
struct pending *pending_new(struct exchange *exchange, struct commit *commit);
struct pending *pending_free(struct pending *pending); /* returns NULL */

struct pending_queue {
	struct pending *first;
	struct pending **last;
};

void pending_queue_init(struct pending_queue *queue);
void pending_queue_add(struct pending_queue *queue, struct pending *pending);
struct pending *pending_queue_take(struct pending_queue *queue); /* or NULL */

#endif
