/* SPDX-License-Identifier: MIT */
#ifndef POLLER_STOP_H
#define POLLER_STOP_H

#include "poller/poller.h"

/*
 * SIGTERM and SIGINT: nothing new is claimed; what is prepared or only being
 * asked goes back at once; starts on the wire get half a minute to be
 * answered; what is known is written. A second signal ends it all: leases
 * expire, and nothing is lost.
 *
 * The signals must be blocked.
 */

_must_check_ int stop_init(struct poller *poller, struct fault *reterr_fault);
void stop_done(struct poller *poller);

/* Give back what is in hand and need not be heard out. */
void stop_give_back(struct poller *poller);

#endif
