/* SPDX-License-Identifier: MIT */
#ifndef POLLER_ASK_H
#define POLLER_ASK_H

#include "poller/poller.h"

/*
 * Questions to providers, for one job each: the token first, then the
 * request, then the answer as an event.
 */

/**
 * Send a question about the work's job. Its callback has the work as its
 * userdata and starts with ask_answered().
 *
 * @once  a paid start
 *
 * @return 0; -EINVAL, -ENOMEM as http_client_send()
 */
_must_check_ int ask_send(struct work *work, const struct http_request *request,
			  bool once, http_done_fn *done);

/* The exchange is over: note what it says about the provider. */
void ask_answered(struct work *work, const struct http_result *result);

/**
 * An answer as an event, by one of the provider's functions. Without an
 * answer, or one that memory does not hold, it is "otherwise".
 *
 * @otherwise  JOB_NO_ANSWER or JOB_START_LOST
 */
struct provider_event ask_event(struct work *work,
				const struct http_result *result,
				provider_event_fn *translate,
				enum job_event otherwise);

/* Did the provider refuse our token, and is another worth a try? Then the
 * token is dropped and the work marked, so that it happens once. A 403 is no
 * such answer: it knows us, and a new token carries no new right. */
bool ask_wants_new_token(struct work *work, const struct http_result *result);

#endif
