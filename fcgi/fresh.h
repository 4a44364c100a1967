/* SPDX-License-Identifier: MIT */
#ifndef FCGI_FRESH_H
#define FCGI_FRESH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * When a table kept in memory is read again: after FRESH_FOR_MS, and at once
 * for something that is not in it. The latter is limited to one reading in
 * FRESH_LEAST_MS (with a few saved up, for a key that was made a moment ago),
 * so that guesses cost no queries. One thread reads; the others go on with
 * what is there, or wait if they miss something.
 */

enum {
	FRESH_FOR_MS = 10 * 1000,
	FRESH_LEAST_MS = 1000,
	FRESH_SAVED_MOST = 5,
};

struct fresh {
	pthread_mutex_t lock;
	pthread_cond_t done;
	int64_t read_ms;  /* the last success; 0: never */
	int64_t tried_ms; /* the last try; 0: never */
	int64_t saved_ms; /* readings saved up, FRESH_LEAST_MS for each */
	int64_t saved_at_ms;
	bool reading;
};

void fresh_init(struct fresh *fresh, int64_t now_ms);
void fresh_done(struct fresh *fresh);

/**
 * Should the caller read the table now? Whoever is told so calls
 * fresh_read() afterwards.
 *
 * @missed  what was looked for is not in it; if another thread is reading,
 *	    waits for that, and then nothing is due
 */
bool fresh_due(struct fresh *fresh, bool missed, int64_t now_ms);
void fresh_read(struct fresh *fresh, bool success, int64_t now_ms);

/* Is what the table says recent enough to call something unknown? */
bool fresh_trusted(struct fresh *fresh, int64_t now_ms);

#endif
