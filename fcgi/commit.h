/* SPDX-License-Identifier: MIT */
#ifndef FCGI_COMMIT_H
#define FCGI_COMMIT_H

#include "common/flow/submit.h"
#include "common/flow/webhook.h"
#include "fcgi/exchange.h"
#include "fcgi/service.h"

/*
 * A request's part in a common statement: parsed and checked by a handler,
 * written (or read) together with others by the committer, then answered.
 */

enum commit_kind {
	COMMIT_SUBMIT = 0,
	COMMIT_WEBHOOK,
	COMMIT_READ_JOB,
};
enum { COMMIT_KINDS = COMMIT_READ_JOB + 1 };

enum read_outcome {
	READ_AWAY = 0,	/* the database is */
	READ_FOUND,	/* in rows */
	READ_NOT_FOUND, /* there is no such job */
	READ_ALONE,	/* by whoever answers */
};

struct read_job {
	const char *id;
	int64_t known; /* version that the client has; 0: none */
	enum read_outcome outcome;
	const PGresult *rows; /* while the batch lasts */
	int row;
};

struct commit {
	enum commit_kind kind;
	struct submit_item submit;
	struct webhook_item webhook;
	struct read_job read_job;
	bool refuse_webhook; /* once the poller was told to look */
};

/**
 * Answer a request whose outcome is known.
 *
 * @request  of the arena that the commit lies in
 *
 * @return 0 and the reply; negative as a handler
 */
int commit_answer_submit(struct worker *worker, const struct request *request,
			 const struct commit *commit, struct reply *ret,
			 struct fault *reterr_fault);
int commit_answer_webhook(const struct request *request,
			  const struct commit *commit, struct reply *ret);

int commit_answer_read_job(struct worker *worker, const struct request *request,
			   const struct commit *commit, struct reply *ret,
			   struct fault *reterr_fault);

/* Read jobs with one statement; *ret_rows is what their outcomes point into. */
void commit_read_jobs(struct worker *worker, struct read_job *const *items,
		      size_t count, struct arena *arena, PGresult **ret_rows);

/* Does the answer have to be read from the database? */
bool commit_needs_read(const struct commit *commit);

/* The batch it was part of goes away: what its answer takes from the batch is
 * read from now on. */
void commit_detach(struct commit *commit);

#endif
