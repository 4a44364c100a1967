/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_READ_H
#define COMMON_FLOW_READ_H

#include "common/base/fault.h"
#include "common/io/db.h"

/**
 * db_run() for statements that change nothing: after a lost connection they
 * are run once more, so that a restart of the server goes unnoticed. What
 * their parameters are refused for is our mistake.
 *
 * @return 0; -EAGAIN; -EPROTO
 */
_must_check_ int read_run(struct db *db, enum db_query query,
			  const char *const *params, PGresult **ret,
			  struct fault *reterr_fault);

#endif
