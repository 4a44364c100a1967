/* SPDX-License-Identifier: MIT */
#ifndef POLLER_CLAIM_H
#define POLLER_CLAIM_H

#include "poller/poller.h"

/*
 * Claims: due jobs taken in hand, lane by lane. A lane is one provider in one
 * state.
 */

/* @claimed  how many; negative when the database could not be asked */
typedef void claim_done_fn(struct poller *poller, int claimed);

/**
 * Claim what is due and there is room for, beside the loop, and begin with it.
 *
 * @done  called from the loop after that
 *
 * @return 1, and done will be called; 0 when there is no room in any lane;
 *	   -ENOMEM
 */
_must_check_ int claim_due(struct poller *poller, claim_done_fn *done);

/* The same for ended jobs alone, which are claimed to be settled, at once.
 * @return 0; negative when the database could not be asked */
_must_check_ int claim_ended(struct poller *poller);

/**
 * Milliseconds until a claim of the lanes that have room could find work;
 * REST_NEVER.
 *
 * @return 0; negative when the database could not be asked
 */
_must_check_ int claim_next_due(struct poller *poller, int64_t *ret_due_ms);

/* Is there a lane that gave the last claim all that it asked for, and which has
 * room again, for the parts-th part of what it may hold and one at least? */
bool claim_may_go_on(const struct poller *poller, size_t parts);

#endif
