/* SPDX-License-Identifier: MIT */
#ifndef POLLER_PREPARE_H
#define POLLER_PREPARE_H

#include "poller/poller.h"

/*
 * Inputs: references replaced by the results of the jobs they name, files
 * read from our store for providers that want bytes.
 */

/**
 * The input is in work->job.input (and that in the work's draft), or it is
 * known why not.
 *
 * @error  0; TEMPLATE_E_REFERENCE_MISSING; -EFBIG; -EAGAIN (database or
 *	   store); -EINVAL, -EBADMSG, -ENOMEM. The fault says why
 */
typedef void prepare_done_fn(struct work *work, int error,
			     const struct fault *fault);

/**
 * Prepare the inputs of some works; what they depend on is read for all of
 * them together. Each work gets its call of done, now or from the loop.
 */
void prepare_inputs(struct poller *poller, struct work **works, size_t count,
		    prepare_done_fn *done);

#endif
