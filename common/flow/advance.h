/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_ADVANCE_H
#define COMMON_FLOW_ADVANCE_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/flow/move.h"
#include "common/io/conf.h"
#include "common/provider/provider.h"

/*
 * From what a provider said to what becomes of the job. The webhook handler
 * and the poller both end here, so a result means the same whichever way it
 * came. Pure but for the dice.
 */

/* A job as far as its next move depends on it. */
struct advance_job {
	const char *id;
	const char *execution_id;
	const struct provider_ops *ops;
	enum job_state state;
	int64_t claim;	 /* MOVE_ANY from a webhook */
	int64_t version; /* MOVE_ANY from the poller */
	int32_t attempt;
	int32_t max_attempts;
	int32_t poll_attempts;
	int32_t start_failures;
	int32_t falters;
	bool cancel_requested;
	bool restart_if_absent; /* retried: look for the last start first */
	const char *via;	/* webhook or polling */
};

/**
 * Turn an event into a move: decide, count tries, plan the next look.
 *
 * Takes care of what depends on counters: JOB_NOT_STARTED becomes JOB_REFUSED
 * after START_RETRIES, JOB_PROVIDER_FALTERED becomes JOB_PROVIDER_FAILED after
 * max_attempts; waits grow with full jitter and never undercut the provider's
 * wish; a cancelled job that fails in passing is not tried again. Where a retry
 * looks for the last start and that one has ended without a result, or ends
 * because we had it cancelled, there is nothing to adopt: it is a new start.
 *
 * @return 0 and *ret; JOB_E_STALE or JOB_E_ILLEGAL as job_decide(), when
 *	   there is nothing to do; -ENOMEM
 */
_must_check_ int advance_event(const struct conf *conf,
			       const struct advance_job *job,
			       const struct provider_event *event,
			       struct arena *arena, struct move *ret,
			       struct fault *reterr_fault);

/* The waits between two looks at a job, by its provider and settings. */
int64_t advance_poll_delay_ms(const struct conf *conf,
			      const struct provider_ops *ops, int32_t tries,
			      int64_t retry_after_ms);

/* The longest wait there is before a job in that state lets its provider be
 * asked (again). */
int64_t advance_longest_ms(const struct conf *conf,
			   const struct provider_ops *ops,
			   enum job_state state);

/* media_source for a rendered event: JSON array of {"url", "content_type"}
 * or {"inline": index}. @return arena text, or NULL when it is full */
const char *advance_media_source(const struct provider_event *event,
				 struct arena *arena);

#endif
