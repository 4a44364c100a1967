/* SPDX-License-Identifier: MIT */
#include "fcgi/commit.h"

bool commit_needs_read(const struct commit *commit)
{
	switch (commit->kind) {
	case COMMIT_SUBMIT:
		return commit->submit.outcome == SUBMIT_REPEATED;
	case COMMIT_READ_JOB:
		return commit->read_job.outcome == READ_ALONE;
	case COMMIT_WEBHOOK:
		break;
	}
	return false;
}

void commit_detach(struct commit *commit)
{
	if (commit->kind == COMMIT_SUBMIT &&
	    commit->submit.outcome == SUBMIT_TWIN)
		commit->submit.outcome = SUBMIT_REPEATED;
	if (commit->kind == COMMIT_READ_JOB)
		commit->read_job.outcome = READ_ALONE;
}
