/* SPDX-License-Identifier: MIT */
#ifndef POLLER_STRAY_H
#define POLLER_STRAY_H

#include "poller/poller.h"

/*
 * Strays: starts that nobody waits for any more, because another attempt
 * overtook them or their job ended. They cost money, so they are cancelled at
 * their provider; after some tries that is given up. An open breaker holds them
 * back, and an outage uses up no tries.
 */

/* Claim some and ask their providers. Part of each look.
 * @return 0; negative when the database could not be asked */
_must_check_ int stray_claim(struct poller *poller);

/* Drop what is under way. */
void stray_done(struct poller *poller);

#endif
