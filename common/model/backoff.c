/* SPDX-License-Identifier: MIT */
#include "common/model/backoff.h"

static int64_t clamp(int64_t ms)
{
	if (ms < 0)
		return 0;
	return ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS;
}

int64_t backoff_delay_ms(int64_t first_ms, int64_t most_ms, uint32_t tries,
			 int64_t retry_after_ms, uint32_t dice)
{
	int64_t full_ms = clamp(first_ms);
	int64_t delay_ms;

	most_ms = clamp(most_ms);
	/* Ends after 27 rounds: both sides are below 2^27 by then. */
	while (tries-- > 0 && full_ms > 0 && full_ms < most_ms)
		full_ms *= 2;
	if (full_ms > most_ms)
		full_ms = most_ms;

	/* full_ms + 1 and dice are below 2^32, so this fits; the high half
	 * is uniform in [0, full_ms] without the bias of a remainder. */
	delay_ms = (int64_t)((uint64_t)(full_ms + 1) * dice >> 32);
	if (delay_ms < BACKOFF_FLOOR_MS)
		delay_ms = BACKOFF_FLOOR_MS;
	return retry_after_ms > 0 ? delay_ms + retry_after_ms : delay_ms;
}
