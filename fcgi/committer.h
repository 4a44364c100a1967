/* SPDX-License-Identifier: MIT */
#ifndef FCGI_COMMITTER_H
#define FCGI_COMMITTER_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "fcgi/commit.h"
#include "fcgi/exchange.h"
#include "fcgi/service.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Group commit. Threads that have parsed and checked a request hand it over
 * whole and go on; a thread for each kind takes all that wait, writes them with
 * one statement, and answers each after the commit. Jobs that are asked for are
 * read in the same way. One more thread gives the answers that take time: long
 * ones, and those that are made of several statements.
 *
 * What waits is limited in number, bytes and time. Over a limit the request
 * is answered 503 by the thread that brought it; after the time by the main
 * thread: the committer itself never waits for a client.
 */

struct committer;

enum {
	COMMITTER_REQUESTS_MAX = 2048,
	/* While less waits, the next is taken however large it is: one as
	 * large as BODY_BYTES_MAX allows must not be refused for ever. */
	COMMITTER_BYTES_MAX = 64 * 1024 * 1024,
	COMMITTER_WAIT_MS = 5000,
};

/* @return 0; -ENOMEM; -errno of a thread; as db_open() */
_must_check_ int committer_new(const struct service *service,
			       struct committer **ret,
			       struct fault *reterr_fault);

/* No request is taken any more; those that wait are committed and answered. */
void committer_stop(struct committer *committer);
struct committer *committer_free(struct committer *committer);
DEFINE_CLEANUP(struct committer *, committer_free);

/**
 * Hand a request over.
 *
 * @commit  in the request's arena, which goes with it
 *
 * @return 0, and exchange and commit are gone; -EAGAIN when too much waits,
 *	   and they are still the caller's
 */
_must_check_ int committer_add(struct committer *committer,
			       struct exchange *exchange,
			       struct commit *commit);

/* Answer what has waited too long; call it every 250 ms or so. */
void committer_tick(struct committer *committer);

struct committer_figures {
	size_t waiting; /* requests, those being committed included */
	uint64_t commits;
	uint64_t committed; /* requests in them */
	uint64_t expired;
	int64_t stuck_ms; /* how long the statement in hand has been running */
	bool database_up;
};

struct committer_figures committer_figures(struct committer *committer);

#endif
