/* SPDX-License-Identifier: MIT */
#ifndef POLLER_RECONCILE_H
#define POLLER_RECONCILE_H

#include "poller/poller.h"

/*
 * Starts nobody knows about: looked for in the provider's list after 15 s,
 * after a minute, then every five, while its webhook may still tell. What is
 * not found in RECONCILE_S fails as "may have been billed", but while the
 * provider cannot be asked only at the job's deadline; it is never started
 * again by itself.
 */

/* Begin with a job in "start_unknown". */
void reconcile_begin(struct work *work);

/* It was not found, or could not be asked for: wait, or give up. */
void reconcile_wait(struct work *work, const struct provider_event *event);

/**
 * When to look next.
 *
 * @age_ms   since the start was lost
 * @most_ms  RECONCILE_S: a look falls there in any case; INT64_MAX once that
 *	     is over and nobody could be asked
 *
 * @return milliseconds from now, at least RECONCILE_LEAST_MS
 */
int64_t reconcile_delay_ms(int64_t age_ms, int64_t most_ms);

enum { RECONCILE_LEAST_MS = 1000 };

#endif
