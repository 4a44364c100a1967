/* SPDX-License-Identifier: MIT */
#ifndef FCGI_COMMIT_H
#define FCGI_COMMIT_H

#include "common/flow/submit.h"
#include "common/flow/webhook.h"
#include "fcgi/exchange.h"
#include "fcgi/service.h"

/*
 * A request's part in a common statement: parsed and checked by a handler,
 * written together with others by the committer, answered afterwards.
 */

enum commit_kind {
	COMMIT_SUBMIT = 1,
	COMMIT_WEBHOOK,
	COMMIT_KINDS,
};

struct commit {
	enum commit_kind kind;
	struct submit_item submit;
	struct webhook_item webhook;
	bool refuse_webhook; /* once the poller was told to look */
};

/**
 * Answer a request whose outcome is known.
 *
 * @request  of the arena that the commit lies in
 *
 * @return 0 and the reply; negative as a handler
 */
int commit_answer_submit(struct worker *worker, const struct request *request,
			 const struct commit *commit, struct reply *ret,
			 struct fault *reterr_fault);
int commit_answer_webhook(const struct request *request,
			  const struct commit *commit, struct reply *ret);

/* Does the answer have to be read from the database? */
bool commit_needs_read(const struct commit *commit);

/* The batch it was part of goes away: a twin's answer is read from now on. */
void commit_detach(struct commit *commit);

#endif
