/* SPDX-License-Identifier: MIT */
#ifndef POLLER_QUERY_H
#define POLLER_QUERY_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/io/db.h"

/*
 * Statements of the poller, and what becomes of us when one cannot be run:
 * a database that is away is waited for (said once, when it goes and when it
 * comes back); one that does not fit our statements ends the program.
 */

struct poller;

/* db_run() with all of that. DB_E_DATA is logged and comes back as -EINVAL.
 * @return 0 or negative */
_must_check_ int query_run(struct poller *poller, enum db_query query,
			   const char *const *params, PGresult **ret);

/* The same for the result of something else that used poller->db. */
int query_note(struct poller *poller, int r, const struct fault *fault);

/* When to try again what could not be run. While the database is away that is
 * within a second, so that work goes on as soon as it is back: a try that is
 * refused costs next to nothing, and there are few of us. Else it backs off. */
int64_t query_again_ms(const struct poller *poller);

#endif
