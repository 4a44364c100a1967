/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_RETRY_H
#define COMMON_FLOW_RETRY_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/db.h"
#include "common/model/job.h"

#include <stddef.h>

/*
 * Running a failed or cancelled job again, and giving those another chance
 * that its failure stopped, in one statement: all of it happens or nothing.
 *
 * Nothing is paid twice that can be helped: a result that could only not be
 * stored is stored again; a start that may have been paid is looked for at
 * the provider first, and adopted if it is there.
 */

enum {
	RETRY_E_NOT_FOUND = 1, /* not there, or not this owner's */
	RETRY_E_STATE,	       /* it did not fail and was not cancelled */
	RETRY_E_DEPENDENCY,    /* retry the job named in *ret instead */
	RETRY_E_WAITING,       /* a job that it depends on still runs, or one
				  that those to be revived depend on */
};

struct retried {
	enum job_state state; /* what the job is now (or was found in) */
	size_t revived;	      /* other jobs that wait again */
	const char *blocker;  /* RETRY_E_DEPENDENCY: id of the job to retry */
	const char *blocker_name;
};

/**
 * @return 0; RETRY_E_…, with *ret; as db_run(), and -EAGAIN also when others
 *	   were faster again and again
 */
_must_check_ int retry_job(struct db *db, const char *job_id, const char *owner,
			   struct arena *arena, struct retried *ret,
			   struct fault *reterr_fault);

#endif
