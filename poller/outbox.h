/* SPDX-License-Identifier: MIT */
#ifndef POLLER_OUTBOX_H
#define POLLER_OUTBOX_H

#include "common/base/fault.h"
#include "common/base/macro.h"

/*
 * Moves wait here until the loop has nothing else to do, or (while there are
 * many) for 25 ms, and are then written together, beside the loop; those that
 * come meanwhile go together next. While the database is away they stay.
 */

struct poller;
struct work;

_must_check_ int outbox_init(struct poller *poller, struct fault *reterr_fault);
void outbox_done(struct poller *poller);

/* Queue the move that the work holds. */
void outbox_add(struct work *work);

/* Write what is there as soon as what is being written is. */
void outbox_flush(struct poller *poller);

/* Write what is there and wait for it, and for all else that is being run. */
void outbox_finish(struct poller *poller);

#endif
