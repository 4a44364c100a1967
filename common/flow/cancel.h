/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_CANCEL_H
#define COMMON_FLOW_CANCEL_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/db.h"
#include "common/model/job.h"

#include <stdbool.h>

/*
 * Stopping jobs on request. What nobody has started yet, and what is only
 * being stored, is cancelled at once. What may be rendering remembers the
 * request and becomes due: the poller asks the provider, and the job's state
 * stays what it is until that is answered.
 */

enum {
	CANCEL_E_NOT_FOUND = 1, /* not there, or not this owner's */
	CANCEL_E_ENDED,		/* it has ended otherwise: see its state */
};

struct cancelled {
	enum job_state state; /* of the job, as far as this call knows */
	bool wake;	      /* there is work for the poller */
};

/**
 * Cancel one job. Cancelling what is cancelled, or being cancelled, is fine.
 *
 * @ret  also filled in with CANCEL_E_ENDED
 *
 * @return 0; CANCEL_E_NOT_FOUND; CANCEL_E_ENDED; as db_run(), and -EAGAIN
 *	   also when others were faster again and again
 */
_must_check_ int cancel_job(struct db *db, const char *job_id,
			    const char *owner, struct arena *arena,
			    struct cancelled *ret, struct fault *reterr_fault);

/**
 * Cancel all jobs of an execution that have not ended, children before
 * parents, so that none of them fails because of the one above it.
 *
 * The caller has made sure whose execution it is.
 *
 * @ret_wake  there is work for the poller
 *
 * @return 0, also when nothing was left to be cancelled; as cancel_job()
 */
_must_check_ int cancel_execution(struct db *db, const char *execution_id,
				  bool *ret_wake, struct fault *reterr_fault);

#endif
