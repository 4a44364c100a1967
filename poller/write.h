/* SPDX-License-Identifier: MIT */
#ifndef POLLER_WRITE_H
#define POLLER_WRITE_H

#include "common/flow/move.h"
#include "common/io/workers.h"

#include <stddef.h>

/*
 * A batch of moves on its way into the database, while the loop goes on. Until
 * it comes back its works are in poller->writing: nobody frees them, and
 * nothing else is done for them.
 */

struct poller;
struct work;

struct write {
	struct workers_task task;
	struct poller *poller;
	struct arena *arena;
	struct work **works;
	struct move *moves;
	struct move_result *results;
	size_t count, most;
	struct moves_effect effect;
	struct fault fault;
	bool connected; /* after it was run */
	int r;		/* moves_apply()'s */
	void (*done)(struct write *write);
};

/* A batch for so many, or NULL without memory. */
struct write *write_new(struct poller *poller, size_t most);

/* Take a work's move in, out of whichever queue it was in. */
void write_add(struct write *write, struct work *work, const struct move *move);

/**
 * Write it. It is freed after done.
 *
 * @done  from the loop; r is 0, or negative and was made known by
 *	  query_note(). It has to do something about every work
 */
void write_send(struct write *write, void (*done)(struct write *write));

#endif
