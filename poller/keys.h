/* SPDX-License-Identifier: MIT */
#ifndef POLLER_KEYS_H
#define POLLER_KEYS_H

#include "poller/poller.h"

/*
 * The keys that providers sign their webhooks with. rushes-fcgi calls nobody,
 * so the poller fetches them into table provider_keys: where there are none,
 * every hour, and when somebody wakes us (a webhook may have come with a key
 * nobody knows), but at most once a minute.
 */

/* Look whether keys are to be fetched, and fetch them. Part of each look. */
void keys_check(struct poller *poller, bool woken);

/* Is a fetch under way? */
bool keys_are_busy(const struct poller *poller);

void keys_done(struct poller *poller);

#endif
