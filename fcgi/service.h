/* SPDX-License-Identifier: MIT */
#ifndef FCGI_SERVICE_H
#define FCGI_SERVICE_H

#include "common/io/conf.h"
#include "common/io/db.h"
#include "common/model/submission.h"
#include "fcgi/exchange.h"

/* What handlers are given. */

struct api_keys;
struct webhook_keys;
struct committer;

/* One for the program; not changed once threads run. */
struct service {
	const struct conf *conf;
	struct submission_rules rules;
	struct api_keys *api_keys;
	struct webhook_keys *webhook_keys;
	struct committer *committer;
	int64_t started_ms; /* monotonic */
};

/* One a thread: a connection is for one thread at a time. */
struct worker {
	const struct service *service;
	struct db *db;
};

/* A handler's way to the database, which it will wait for. */
static inline struct db *worker_db(const struct worker *worker)
{
	exchange_may_wait();
	return worker->db;
}

#endif
