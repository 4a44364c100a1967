/* SPDX-License-Identifier: MIT */
#include "fcgi/fresh.h"

#include <stddef.h>

void fresh_init(struct fresh *fresh, int64_t now_ms)
{
	*fresh = (struct fresh){
		.saved_ms = FRESH_SAVED_MOST * FRESH_LEAST_MS,
		.saved_at_ms = now_ms,
	};
	(void)pthread_mutex_init(&fresh->lock, NULL);
	(void)pthread_cond_init(&fresh->done, NULL);
}

void fresh_done(struct fresh *fresh)
{
	(void)pthread_cond_destroy(&fresh->done);
	(void)pthread_mutex_destroy(&fresh->lock);
}

/* A reading for something missed; under the lock. */
static bool spend(struct fresh *fresh, int64_t now_ms)
{
	fresh->saved_ms += now_ms - fresh->saved_at_ms;
	fresh->saved_at_ms = now_ms;
	if (fresh->saved_ms > FRESH_SAVED_MOST * FRESH_LEAST_MS)
		fresh->saved_ms = FRESH_SAVED_MOST * FRESH_LEAST_MS;
	if (fresh->saved_ms < FRESH_LEAST_MS)
		return false;
	fresh->saved_ms -= FRESH_LEAST_MS;
	return true;
}

static bool is_old(const struct fresh *fresh, int64_t now_ms)
{
	bool rested = fresh->tried_ms == 0 ||
		      now_ms - fresh->tried_ms >= FRESH_LEAST_MS;

	return rested &&
	       (fresh->read_ms == 0 || now_ms - fresh->read_ms >= FRESH_FOR_MS);
}

bool fresh_due(struct fresh *fresh, bool missed, int64_t now_ms)
{
	bool due = false;

	pthread_mutex_lock(&fresh->lock);
	if (fresh->reading) {
		while (missed && fresh->reading)
			pthread_cond_wait(&fresh->done, &fresh->lock);
	} else {
		due = is_old(fresh, now_ms) || (missed && spend(fresh, now_ms));
	}
	if (due) {
		fresh->reading = true;
		fresh->tried_ms = now_ms;
	}
	pthread_mutex_unlock(&fresh->lock);
	return due;
}

void fresh_read(struct fresh *fresh, bool success, int64_t now_ms)
{
	pthread_mutex_lock(&fresh->lock);
	fresh->reading = false;
	if (success)
		fresh->read_ms = now_ms;
	pthread_cond_broadcast(&fresh->done);
	pthread_mutex_unlock(&fresh->lock);
}

bool fresh_trusted(struct fresh *fresh, int64_t now_ms)
{
	bool trusted;

	pthread_mutex_lock(&fresh->lock);
	trusted = fresh->read_ms != 0 &&
		  now_ms - fresh->read_ms < FRESH_FOR_MS + FRESH_LEAST_MS;
	pthread_mutex_unlock(&fresh->lock);
	return trusted;
}
