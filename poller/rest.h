/* SPDX-License-Identifier: MIT */
#ifndef POLLER_REST_H
#define POLLER_REST_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When the poller looks at the queue next, and when it may end. Pure.
 */

enum { REST_NEVER = -1 };

struct rest_facts {
	bool busy;	   /* something is in hand or to be written */
	bool looked;	   /* the last look could be made at all */
	int64_t due_ms;	   /* until the next job is due; REST_NEVER */
	int64_t period_ms; /* until the timer starts us again, at most */
};

/**
 * Is there nothing to stay for?
 *
 * What is due before the timer fires again is worth waiting for: the timer
 * would come too late for it. So is what is due within REST_STAY_MS: being
 * started by the timer until then costs more than waiting.
 */
bool rest_may_end(const struct rest_facts *facts);

/**
 * How long to sleep before the next look.
 *
 * @due_ms      until the next job is due; REST_NEVER
 * @period_ms   look at least so often: other hosts free what we wait for
 * @idle_looks  looks in a row that found nothing although something was due
 *		(somebody else holds it): wait longer each time
 *
 * @return milliseconds in [REST_GAP_MS, period_ms]
 */
int64_t rest_delay_ms(int64_t due_ms, int64_t period_ms, uint32_t idle_looks);

/**
 * How long to wait at least between two looks.
 *
 * @took_ms  what the last one took: twice that, so that most of the database's
 *	     time is left for other things
 * @claimed  what it found: where there is much, more comes at once, and is
 *	     cheaper by the row
 *
 * @return milliseconds in [REST_GAP_LEAST_MS, REST_GAP_BUSY_MS]
 */
int64_t rest_gap_ms(int64_t took_ms, int claimed);

enum {
	/* As far ahead as polls are planned by default: who has a job that
	 * renders stays. */
	REST_STAY_MS = 5 * 60 * 1000,
	REST_GAP_LEAST_MS = 1,
	REST_GAP_MS = 10,
	REST_GAP_BUSY_MS = 20,
	REST_BUSY_LEAST = 8, /* jobs in one claim */
	REST_IDLE_FIRST_MS = 20,
	REST_IDLE_MOST_MS = 1000,
};

#endif
