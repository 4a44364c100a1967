/* SPDX-License-Identifier: MIT */
#ifndef POLLER_RENEW_H
#define POLLER_RENEW_H

#include "poller/poller.h"

/*
 * Leases: renewed for all jobs in hand at a third of their time, and soon
 * after a wake, because a job that was cancelled or moved by a webhook does
 * not come back from a renewal: what is being done for it stops.
 */

_must_check_ int renew_init(struct poller *poller, struct fault *reterr_fault);
void renew_done(struct poller *poller);

/* Renew now, or within the second if that was done just before. */
void renew_soon(struct poller *poller);

#endif
