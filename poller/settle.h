/* SPDX-License-Identifier: MIT */
#ifndef POLLER_SETTLE_H
#define POLLER_SETTLE_H

#include "poller/poller.h"

/*
 * Ended jobs whose dependents have not been told. The statement that ends a
 * job settles its direct dependents; those that ended by that and have some
 * of their own become due, and come here, one generation after the other.
 */

/* Begin with an ended job. */
void settle_begin(struct work *work);

/* Go on through the generations for a while, without the rest of a look
 * between each two. */
void settle_generations(struct poller *poller);

#endif
