/* SPDX-License-Identifier: MIT */
#include "fcgi/line.h"

#include <time.h>

enum {
	CROWD_LEAST = 3,
	CROWD_ENOUGH = 64,
	MOMENT_US = 250,
	MOMENTS_MOST = 8,
};

void line_init(struct line *line)
{
	pthread_condattr_t attributes;

	*line = (struct line){ .wanted = 1 };
	pending_queue_init(&line->waiting);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&line->filled, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

void line_done(struct line *line)
{
	(void)pthread_cond_destroy(&line->filled);
}

void line_close(struct line *line)
{
	line->closed = true;
	pthread_cond_broadcast(&line->filled);
}

void line_add(struct line *line, struct pending *pending)
{
	pending_queue_add(&line->waiting, pending);
	if (++line->count >= line->wanted)
		pthread_cond_signal(&line->filled);
}

struct pending *line_take(struct line *line)
{
	struct pending *pending = pending_queue_take(&line->waiting);

	if (pending)
		line->count--;
	return pending;
}

void line_wait(struct line *line, pthread_mutex_t *lock)
{
	if (line->count == 0 && !line->closed)
		pthread_cond_wait(&line->filled, lock);
}

static void wait_a_moment(struct line *line, pthread_mutex_t *lock)
{
	enum { SECOND_NS = 1000 * 1000 * 1000 };
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += MOMENT_US * 1000;
	if (until.tv_nsec >= SECOND_NS) {
		until.tv_nsec -= SECOND_NS;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&line->filled, lock, &until);
}

void line_gather(struct line *line, pthread_mutex_t *lock, size_t crowd)
{
	if (crowd < CROWD_LEAST)
		return;
	line->wanted = crowd < CROWD_ENOUGH ? crowd : CROWD_ENOUGH;
	for (int i = 0;
	     i < MOMENTS_MOST && line->count < line->wanted && !line->closed;
	     i++) {
		size_t before = line->count;

		wait_a_moment(line, lock);
		if (before > 0 && line->count == before)
			break;
	}
	line->wanted = 1;
}
