/* SPDX-License-Identifier: MIT */
#ifndef POLLER_COMPLETE_H
#define POLLER_COMPLETE_H

#include "poller/poller.h"

/*
 * The completion routine, second half: whoever brought the result, webhook or
 * polling, the job is in "storing" and its media_source says what to fetch.
 * Each file goes into our store, then one move completes the job and releases
 * its dependents. Every step may be repeated: the key of a file depends on
 * execution, job, attempt and index alone.
 */
void complete_begin(struct work *work);

/* Its files could not be fetched now: again, but not more than STORE_RETRIES
 * times. */
void complete_again(struct work *work, const char *message);

#endif
