/* SPDX-License-Identifier: MIT */
#ifndef POLLER_QUERY_H
#define POLLER_QUERY_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/io/db.h"
#include "common/io/workers.h"

#include <stdbool.h>

/*
 * Statements of the poller, and what becomes of us when one cannot be run:
 * a database that is away is waited for (said once, when it goes and when it
 * comes back); one that does not fit our statements ends the program.
 *
 * There is one connection and one thread that waits for it (poller->aside):
 * what is sent is run in its order, beside the loop. What is run by the loop
 * itself waits until the thread has nothing to do.
 */

struct poller;

enum { QUERY_PARAMS_MOST = 4 };

struct query {
	struct workers_task task;
	struct poller *poller;
	struct arena *arena; /* parameters and whatever goes with it */
	enum db_query query;
	const char *params[QUERY_PARAMS_MOST];
	PGresult *result; /* of r 0 */
	struct fault fault;
	bool connected; /* after it was run */
	int r;
	void (*done)(struct query *query);
	void *userdata; /* its sender's, in the arena */
};

/* One to be sent, or NULL without memory. */
struct query *query_new(struct poller *poller, enum db_query which);
struct query *query_free(struct query *query);
DEFINE_CLEANUP(struct query *, query_free);

/**
 * Run it beside the loop. It is freed after done.
 *
 * @done  from the loop; r is as from query_run()
 */
void query_send(struct query *query, void (*done)(struct query *query));

/* db_run() now, with all of that. DB_E_DATA is logged and comes back as
 * -EINVAL. @return 0 or negative */
_must_check_ int query_run(struct poller *poller, enum db_query which,
			   const char *const *params, PGresult **ret);

/* The same for the result of something else that used poller->db.
 *
 * @connected  whether it still was, afterwards; true where that is not it */
int query_note(struct poller *poller, int r, const struct fault *fault,
	       bool connected);

/* When to try again what could not be run. While the database is away that is
 * within a second, so that work goes on as soon as it is back: a try that is
 * refused costs next to nothing, and there are few of us. Else it backs off. */
int64_t query_again_ms(const struct poller *poller);

#endif
