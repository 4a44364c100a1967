/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_PROVIDERS_H
#define TESTS_SIMULATOR_PROVIDERS_H

#include "tests/simulator/job.h"

/*
 * How each provider words a job in its webhooks. New references.
 */

/* view: what is to be told, whatever the truth is by now. */
enum replicate_view {
	VIEW_TRUE,
	VIEW_RUNNING,	  /* no end, no output */
	VIEW_WITH_OUTPUT, /* the "output" event: output, but no end */
};

json_t *replicate_prediction(struct job *job, enum replicate_view view);
json_t *fal_webhook(struct job *job, bool with_payload);

#endif
