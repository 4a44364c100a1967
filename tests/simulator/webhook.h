/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_WEBHOOK_H
#define TESTS_SIMULATOR_WEBHOOK_H

#include "tests/simulator/job.h"

/* Did the start ask for this event (start, output, logs, completed)? */
bool webhook_wants(const struct job *job, const char *event);

/* Deliver an event of a job that still runs, if it is wanted. */
void webhook_event(struct job *job, const char *event);

/* Deliver the end, with all that its words do to it. */
void webhook_end(struct job *job);

/* The simulator ends: give up what is not delivered. */
void webhook_stop(struct sim *sim);

/* Deliver the present state again; own: words of "webhook", or NULL. */
void webhook_repeat(struct job *job, const json_t *own);

#endif
