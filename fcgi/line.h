/* SPDX-License-Identifier: MIT */
#ifndef FCGI_LINE_H
#define FCGI_LINE_H

#include "fcgi/pending.h"

#include <pthread.h>
#include <stdbool.h>

/* Requests that wait for one kind of statement. All of it under a lock of the
 * caller's. */
struct line {
	struct pending_queue waiting;
	size_t count;
	size_t wanted; /* so many are worth waking whoever serves them */
	bool closed;
	pthread_cond_t filled;
};

void line_init(struct line *line);
void line_done(struct line *line);

/* Nobody waits for more any longer. */
void line_close(struct line *line);

void line_add(struct line *line, struct pending *pending);
struct pending *line_take(struct line *line); /* or NULL */

/* Wait until something may be there, or it is closed. */
void line_wait(struct line *line, pthread_mutex_t *lock);

/**
 * Wait a moment for others to come: a statement costs the database as much as
 * some twenty rows.
 *
 * @crowd  how many may come at once, those that are there included: who was
 *	   just answered asks again. Of one or two none is made to wait
 *
 * It ends when they are there, or as many as make a batch worth its while;
 * when nobody else came for a quarter of a millisecond; after two.
 */
void line_gather(struct line *line, pthread_mutex_t *lock, size_t crowd);

#endif
