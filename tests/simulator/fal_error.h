/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_FAL_ERROR_H
#define TESTS_SIMULATOR_FAL_ERROR_H

#include "tests/simulator/server.h"

/* fal's documented errors, by their type. */

unsigned fal_error_status(const char *type); /* 422 if unknown */
/* {"detail": …} as the model or the queue words it. New reference. */
json_t *fal_error_body(const char *type);
/* Answer with it, headers included. */
void fal_answer_error(struct request *request, const char *type);
/* For faults: an error_body_fn. */
json_t *fal_request_error(struct request *request, unsigned status,
			  const char *type);

#endif
