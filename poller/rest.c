/* SPDX-License-Identifier: MIT */
#include "poller/rest.h"

bool rest_may_end(const struct rest_facts *facts)
{
	if (facts->busy || !facts->looked)
		return false;
	return facts->due_ms == REST_NEVER ||
	       (facts->due_ms > facts->period_ms &&
		facts->due_ms > REST_STAY_MS);
}

int64_t rest_delay_ms(int64_t due_ms, int64_t period_ms, uint32_t idle_looks)
{
	int64_t delay_ms = due_ms == REST_NEVER ? period_ms : due_ms;
	int64_t least_ms = REST_GAP_MS;

	if (idle_looks > 0) {
		least_ms = REST_IDLE_FIRST_MS;
		while (--idle_looks > 0 && least_ms < REST_IDLE_MOST_MS)
			least_ms *= 2;
		if (least_ms > REST_IDLE_MOST_MS)
			least_ms = REST_IDLE_MOST_MS;
	}
	if (delay_ms > period_ms)
		delay_ms = period_ms;
	return delay_ms > least_ms ? delay_ms : least_ms;
}

int64_t rest_gap_ms(int64_t took_ms, int claimed)
{
	int64_t gap_ms = took_ms * 2;

	if (claimed >= REST_BUSY_LEAST)
		return REST_GAP_BUSY_MS;
	if (gap_ms > REST_GAP_MS)
		return REST_GAP_MS;
	return gap_ms > REST_GAP_LEAST_MS ? gap_ms : REST_GAP_LEAST_MS;
}
