/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_BACKOFF_H
#define COMMON_MODEL_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FLOOR_MS = 500,
	BACKOFF_MOST_MS = 24 * 60 * 60 * 1000, /* no cap is above this */
};

/**
 * How long to wait before the next try: full jitter,
 * uniform(0, min(most, first * 2^tries)), never below BACKOFF_FLOOR_MS.
 *
 * @first_ms        ceiling of the first wait; most_ms of all later ones
 * @tries           tries made so far; 0 before the first wait
 * @retry_after_ms  what the other side asked for; 0 if nothing. It comes on
 *                  top, also beyond most_ms: many that were told the same
 *                  moment shall not come back at it.
 * @dice            32 random bits; passed in so that tests are exact
 *
 * @return milliseconds. Values below 0 count as 0, above BACKOFF_MOST_MS as
 *	   that (but for retry_after_ms, which has its own limit).
 *
 * Why full jitter: see "Backoff" in docs/JOB_ORCHESTRATION.md.
 */
int64_t backoff_delay_ms(int64_t first_ms, int64_t most_ms, uint32_t tries,
			 int64_t retry_after_ms, uint32_t dice);

#endif
