/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_WEBHOOK_DECIDE_H
#define COMMON_FLOW_WEBHOOK_DECIDE_H

#include "common/flow/move.h"
#include "common/flow/webhook.h"

/*
 * What a webhook does to a job, as it stands: webhook.c reads the job before
 * and writes what comes of it.
 */

/* A row of job_for_webhook: the job, and the attempt the webhook is about. */
struct webhook_target {
	const char *id; /* NULL: no such job */
	const char *execution_id;
	const char *provider;
	const char *known_id; /* the provider's, of that attempt */
	bool was_accepted;    /* that attempt */
	enum job_state state;
	int64_t version;
	int32_t attempt;
	int32_t max_attempts;
	int32_t falters;
	int32_t start_failures;
	bool cancel_requested;
	bool restart_if_absent;
	bool repeated;
};

enum {
	DECIDED_OUTCOME = 0, /* nothing is to be written */
	DECIDED_MOVE,	     /* the job moves */
	DECIDED_NOTE,	     /* it does not; remember that it came */
	DECIDED_POKE,	     /* nothing is known; look now */
};

/* Of a start: it was taken, and is paid for. */
bool webhook_says_it_lives(const struct provider_event *event);

/* Is it to be looked at only? An event that asks for another request of ours
 * is a hint, however genuine it is. */
bool webhook_is_hint(const struct webhook_item *item);

/**
 * Decide, and set the item's outcome and wake for the case that it is so.
 *
 * @ret  the move of DECIDED_MOVE, in arena memory
 *
 * @return DECIDED_…; -ENOMEM
 */
_must_check_ int webhook_decide(const struct conf *conf,
				const struct webhook_target *target,
				struct webhook_item *item, struct arena *arena,
				struct move *ret, struct fault *reterr_fault);

#endif
