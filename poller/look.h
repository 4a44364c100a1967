/* SPDX-License-Identifier: MIT */
#ifndef POLLER_LOOK_H
#define POLLER_LOOK_H

#include "poller/poller.h"

/*
 * Looking at the queue: claim what is due, plan the next look, and end when
 * there is nothing to stay for. The wake socket is emptied before each look
 * and never after the last one, so that a datagram which came too late is
 * still there for systemd to start us again by.
 */

_must_check_ int look_init(struct poller *poller, struct fault *reterr_fault);
void look_done(struct poller *poller);

/* There may be work: look as soon as the loop gets to it. */
void look_soon(struct poller *poller);

/* A job was planned: look when it is due, if not before. */
void look_in(struct poller *poller, int64_t due_ms);

/* A job's result is known: look if that makes room in a lane that has more. */
void look_when_room(struct poller *poller);

/* Something is out of hand: look if that makes room or ends everything. */
void look_after_work(struct poller *poller);

#endif
