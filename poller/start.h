/* SPDX-License-Identifier: MIT */
#ifndef POLLER_START_H
#define POLLER_START_H

#include "poller/poller.h"

/*
 * Paid starts. A queued job is prepared whole (input, token, request), then
 * waits its turn; "starting" is committed for a small group at a time and
 * their bytes go out at once, so that a crash leaves few starts in doubt. A
 * start is sent once; whatever happens after its first byte and is no clear
 * answer makes the job start_unknown, never a second start.
 */

_must_check_ int start_init(struct poller *poller, struct fault *reterr_fault);
void start_done(struct poller *poller);

/* Begin with queued jobs. */
void start_begin(struct poller *poller, struct work **works, size_t count);

/* Groups may be sent again: an answer came. */
void start_more(struct poller *poller);

/* A job found in "starting": whoever sent its start is gone. */
void start_found(struct work *work);

/* After moves were written: look at the jobs whose start's answer came too
 * late, all by one statement. */
void start_check_late(struct poller *poller);

/* We stop: what is prepared goes back to the queue. */
void start_give_back(struct poller *poller);

/* The URL a provider reports to for one paid start, or NULL where it does
 * not report (or the arena is full). */
const char *start_webhook_url(const struct work *work, int32_t attempt,
			      struct arena *arena);

#endif
