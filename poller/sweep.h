/* SPDX-License-Identifier: MIT */
#ifndef POLLER_SWEEP_H
#define POLLER_SWEEP_H

#include "poller/poller.h"

/*
 * What nobody else would notice, once after the start and then every minute:
 * slots of pollers that died, jobs whose deadline passed where no lane could
 * take them, and whether the counters of slots are right.
 */

_must_check_ int sweep_init(struct poller *poller, struct fault *reterr_fault);
void sweep_done(struct poller *poller);

#endif
