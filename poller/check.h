/* SPDX-License-Identifier: MIT */
#ifndef POLLER_CHECK_H
#define POLLER_CHECK_H

#include "poller/poller.h"

/*
 * Jobs that their provider renders: asked how they are, their result fetched
 * where that takes a request of its own, cancelled when the client wants it.
 */

/* Begin with a job in "processing". */
void check_begin(struct work *work);

/* Ask for the status of a job whose provider id is known, in "processing" or
 * "start_unknown". Needs a token. */
void check_ask(struct work *work);

/* An answer about the job came from elsewhere (a list): go on with it. */
void check_take(struct work *work, const struct provider_event *event);

#endif
