/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_SUBMIT_H
#define COMMON_FLOW_SUBMIT_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/uuid.h"
#include "common/io/db.h"
#include "common/model/submission.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Accepting pipelines: a checked submission becomes rows (by many threads),
 * and many submissions become one statement (by one).
 */

enum { SUBMIT_ATTEMPTS = 3 }; /* paid starts of a job that does not say */

enum submit_outcome {
	SUBMIT_AWAY = 0, /* the database is: it may have been stored or not */
	SUBMIT_STORED,
	SUBMIT_TWIN,	 /* of another in the same batch: see twin_of */
	SUBMIT_REPEATED, /* stored before under the same key: see id */
	SUBMIT_CONFLICT, /* the key was used for another body */
	SUBMIT_BAD,	 /* PostgreSQL refuses what is in it */
};

struct submit_job {
	char id[UUID_SIZE];
	const char *name;
	bool waits; /* for others; else it is queued */
};

/* One submission on its way. */
struct submit_item {
	char id[UUID_SIZE];
	const char *owner;
	const char *idempotency_key; /* or NULL */
	const char *body_sha256;     /* hex */
	const struct submit_job *job;
	size_t job_count;

	/* JSON objects with commas between them: rows for the statement */
	const char *execution_rows, *job_rows, *edge_rows;
	size_t execution_bytes, job_bytes, edge_bytes;

	/* put in by submit_commit() */
	enum submit_outcome outcome;
	const struct submit_item *twin_of;

	/* meanwhile: what its key was used for before; or NULL */
	const char *used_id;
	const char *used_sha256; /* hex */
};

struct submit_options {
	const char *owner;
	const char *idempotency_key; /* or NULL */
	const char *body;
	size_t body_bytes;
	int64_t deadline_s; /* of jobs that do not say */
};

/**
 * Give a submission its ids and write its rows down.
 *
 * @ret  arena memory, about the size of the submission
 *
 * @return 0; -ENOMEM
 */
_must_check_ int submit_prepare(const struct submission *submission,
				const struct submit_options *options,
				struct arena *arena, struct submit_item *ret,
				struct fault *reterr_fault);

/* How much of a statement it is. */
size_t submit_bytes(const struct submit_item *item);

/**
 * Store a batch. Twins are merged before they are sent; a submission that
 * PostgreSQL refuses fails alone; after a lost connection the ids are looked
 * up before anything is sent again.
 *
 * @items  each gets its outcome; an id that was stored before is put in
 * @arena  for the statement; the items keep nothing of it
 */
void submit_commit(struct db *db, struct submit_item *const *items,
		   size_t count, struct arena *arena);

#endif
