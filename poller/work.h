/* SPDX-License-Identifier: MIT */
#ifndef POLLER_WORK_H
#define POLLER_WORK_H

#include "common/base/arena.h"
#include "common/flow/advance.h"
#include "common/flow/move.h"
#include "common/io/db.h"
#include "common/io/http_client.h"
#include "common/model/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Works: the jobs this poller has claimed, from the claim to the move that
 * ends it. A work owns an arena with the row and all that is made for it, and
 * whatever is under way for it; freeing it stops that.
 */

struct poller;
struct provider_state;
struct work;

/* A work is in at most one queue at a time. */
struct work_queue {
	struct work *first, *last;
	size_t count;
};

typedef void work_step_fn(struct work *work);
/* The move was written (or not: see outcome). The work is the callback's to
 * go on with or to free. */
typedef void work_moved_fn(struct work *work, const struct move_result *result);

struct work {
	struct poller *poller;
	struct provider_state *provider;
	struct arena *arena;
	struct arena *draft; /* input and request of a start, with the files
				in them; gone once it is sent. NULL: none */

	/* the row, as claimed */
	struct job job;
	const char *input; /* as it was submitted; job.input is resolved */
	const char *execution_id;
	const char *dependency_defaults;
	const char *media_source;
	const char *error_code; /* what ailed it at the last move */
	int64_t claim;
	int32_t max_attempts;
	int32_t poll_attempts;
	int32_t start_failures;
	int32_t falters;
	int32_t store_failures;
	int64_t cancel_age_ms;
	int64_t unknown_age_ms;
	bool has_references;
	bool restart_if_absent;
	bool cancel_requested;
	bool cancel_tried;
	bool deadline_passed;
	bool childless; /* see struct move */

	/* work.c */
	struct work *next, *previous;
	struct work *bucket_next;
	bool hashed; /* found by its id; not once it is overtaken */
	bool seen;   /* by the renewal under way */
	struct work_queue *queue;
	struct work *queue_next, *queue_previous;

	/* what is under way */
	struct http_exchange *exchange;
	work_step_fn *step;    /* once there is a token */
	work_step_fn *stop;    /* ends what only its owner knows; or NULL */
	void *owned;	       /* that owner's, in the arena */
	bool on_wire;	       /* its paid start is; must be heard out */
	bool renewed_token;    /* an answer said that the token was bad */
	int pages;	       /* of a list, read so far */
	const char *page;      /* the cursor of the one that was asked for */
	const char *candidate; /* the id of one that may be ours; or NULL */
	const char *candidate_page; /* where it is */
	bool settled;		    /* no other page has another */
	bool unclear; /* it was answered, and does not tell which it is */

	/* outbox.c */
	struct move move;
	work_moved_fn *moved;
	bool stripped; /* sent again without what may have been refused */
};

enum { WORKS_BUCKETS = 1024 };

struct works {
	struct work *first;
	size_t count;
	struct work *bucket[WORKS_BUCKETS];
	size_t in_lane[CONF_PROVIDERS][JOB_STATE_MAX];
	size_t decided[CONF_PROVIDERS][JOB_STATE_MAX]; /* of them */
	/* claim.c: what the claim under way asks for, and which lanes gave the
	 * last one all that it asked for */
	size_t asked[CONF_PROVIDERS][JOB_STATE_MAX];
	bool more[CONF_PROVIDERS][JOB_STATE_MAX];
	size_t more_lanes; /* of them; 0 while a claim is under way */
};

/**
 * Take a row of job_claim in hand. A work for the same job that was there
 * before lost its lease to this claim: it is freed, but for a start on the
 * wire, which is heard out, and a move that is being written.
 *
 * @return 0; -EBADMSG for a row that makes no sense; -ENOMEM
 */
_must_check_ int work_new(struct poller *poller, const PGresult *result,
			  int index, struct work **ret,
			  struct fault *reterr_fault);

/* Stop all that is under way for it and forget it. */
void work_free(struct work *work);

/* The work in hand for a job, or NULL. */
struct work *work_find(struct poller *poller, const char *id);

/* Is what becomes of it waiting to be written, or being so? */
bool work_is_decided(const struct work *work);

/* It counts in another lane from now on. */
void work_set_state(struct work *work, enum job_state state);

void work_enqueue(struct work_queue *queue, struct work *work);
void work_dequeue(struct work *work); /* from wherever it is; may be nowhere */

/* The arena for what is large and does not live long; NULL without memory. */
struct arena *work_draft(struct work *work);

/* Release it, and whatever of the job lies in it. */
void work_drop_draft(struct work *work);

/* The work as advance_event() wants it. */
struct advance_job work_advance_job(const struct work *work);

/**
 * Decide an event and put it into the outbox; the work is freed once it is
 * written. The strings of the event may belong to an exchange.
 *
 * An event that makes no sense in the job's state, or no memory, puts the job
 * off (work_postpone()).
 */
void work_advance(struct work *work, const struct provider_event *event);

/**
 * The first half of work_advance(), for those who have something to add.
 *
 * @return whether there is a move for work_send(); if not, the work was put
 *	   off
 */
_must_check_ bool work_decide(struct work *work,
			      const struct provider_event *event,
			      struct move *ret);

/**
 * A move of this work by an event of our own, for work_send() after what goes
 * with it was filled in.
 *
 * The event must be possible in the work's state.
 */
struct move work_move(const struct work *work, enum job_event event);

/* Put a move into the outbox. It is copied, its strings too.
 *
 * @moved  NULL: the work is freed when it is written */
void work_send(struct work *work, const struct move *move,
	       work_moved_fn *moved);

/**
 * Give the job back as it is, due again after a while, without a line in its
 * timeline: we, not the provider, are to blame. Only a start that may have
 * been sent cannot go back: it becomes start_unknown.
 *
 * @code, message  what ails it, or NULL; static or of any owner
 */
void work_postpone(struct work *work, int64_t delay_ms, const char *code,
		   const char *message);

/* The move that fails the job for a reason of our own; it is not sent. */
struct move work_failure(const struct work *work, enum job_event event,
			 const char *code, const char *message,
			 enum job_billed billed);

/* Fail the job for a reason of our own. */
void work_fail(struct work *work, enum job_event event, const char *code,
	       const char *message, enum job_billed billed);

/* For log lines. */
struct log_context work_context(const struct work *work);

#endif
