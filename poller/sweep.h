/* SPDX-License-Identifier: MIT */
#ifndef POLLER_SWEEP_H
#define POLLER_SWEEP_H

#include "poller/poller.h"

/*
 * What nobody else would notice: slots of pollers that died, and jobs whose
 * deadline passed where no lane could take them, every ten seconds; whether
 * the counters of slots are right, every minute. Both once after the start.
 */

_must_check_ int sweep_init(struct poller *poller, struct fault *reterr_fault);
void sweep_done(struct poller *poller);

#endif
