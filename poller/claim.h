/* SPDX-License-Identifier: MIT */
#ifndef POLLER_CLAIM_H
#define POLLER_CLAIM_H

#include "poller/poller.h"

/*
 * Claims: due jobs taken in hand, lane by lane. A lane is one provider in one
 * state.
 */

/**
 * Claim what is due and there is room for, and begin with it.
 *
 * @ret_count  how many
 *
 * @return 0; negative when the database could not be asked
 */
_must_check_ int claim_due(struct poller *poller, size_t *ret_count);

/* The same for ended jobs alone, which are claimed to be settled. */
_must_check_ int claim_ended(struct poller *poller, size_t *ret_count);

/**
 * Milliseconds until a claim of the lanes that have room could find work;
 * REST_NEVER.
 *
 * @return 0; negative when the database could not be asked
 */
_must_check_ int claim_next_due(struct poller *poller, int64_t *ret_due_ms);

/* Have all lanes room for more? */
bool claim_has_room(const struct poller *poller);

#endif
