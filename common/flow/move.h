/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_MOVE_H
#define COMMON_FLOW_MOVE_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/db.h"
#include "common/model/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Moves: the only way a job changes. A move says what was decided (event,
 * from, to) and carries what goes with it; moves_apply() writes many at once
 * by the statement job_move (sql/queries/job.sql) or a short form of it, which
 * compares and sets.
 */

enum {
	MOVE_ANY = -1, /* of claim and version: not compared */
	MOVE_KEEP =
		-1, /* of counters: as they are; of due_ms: not planned anew */
};

struct move {
	char id[UUID_SIZE];
	enum job_event event;
	enum job_state was;
	enum job_state becomes;
	const char *why;    /* static, from job_decide() */
	const char *detail; /* for the timeline; NULL for none */
	bool quiet;	    /* leaves no line in the timeline and no log line */

	int64_t claim;	  /* ours; MOVE_ANY from outside (webhook, client) */
	int64_t version;  /* as read; MOVE_ANY */
	int64_t due_ms;	  /* when the poller looks next, from now; MOVE_KEEP.
			     Cut to the deadline; nothing for ended jobs */
	int64_t lease_ms; /* 0: the lease ends with the move */
	bool saw_cancel;  /* the worker knew that cancelling was asked for */

	int32_t attempt;	   /* the paid start this is about; 0: none */
	const char *start_outcome; /* accepted, not_started, refused, unknown;
				      kept in job_starts; or NULL */
	const char *provider_job_id;
	const char *provider_ref; /* JSON text */
	double progress;	  /* 0 to 1; negative: as it is */
	const char *output;	  /* JSON text of the provider's result */
	const char *media_source; /* JSON array: what is to be fetched */
	const char *media;	  /* JSON array: what was stored */
	const char *via;	  /* webhook or polling */
	const char *error_code;	  /* what ails it; kept while it is retried */
	const char *error_message;
	const char *billed;	  /* no, yes, unknown */
	const char *delivery_key; /* of a webhook, for the inbox */
	bool cancel;		  /* remember that cancelling was asked for */
	bool cancel_tried;
	bool childless; /* it is known that no job depends on this one */
	bool stray;	/* cancel this attempt's start at its provider */
	bool restart_if_absent;
	int32_t poll_attempts; /* MOVE_KEEP and so on */
	int32_t start_failures;
	int32_t falters;
	int32_t store_failures;
	int32_t max_attempts;

	/* for log lines; borrowed */
	const char *execution_id;
	const char *provider;
};

/* A move that changes nothing yet: everything optional left as it is. */
struct move move_init(const char *id, enum job_event event, enum job_state was,
		      const struct job_decision *decision);

enum move_outcome {
	MOVE_LOST = 0, /* the row was not as expected: somebody was faster */
	MOVE_DONE,
	MOVE_BAD, /* PostgreSQL refused what is in it */
};

struct move_result {
	enum move_outcome outcome;
	int32_t attempt; /* after the move */
	int64_t version;
	int64_t claim;
	struct fault fault; /* of MOVE_BAD */
};

/* What a batch did beside its own moves. */
struct moves_effect {
	size_t released;  /* dependents that are queued now */
	size_t unsettled; /* dependents that ended and have some of their own */
};

struct move_batch {
	const struct move *moves;
	size_t count;
	bool all_or_none; /* one set: any that is lost makes all of them lost */
};

/**
 * Write a batch. Logs one line for each job that changed its state.
 *
 * A batch refused for its data is split until the bad move is alone; the rest
 * is written. A deadlock or serialization failure is repeated.
 *
 * @ret_result   one for each move, in order
 * @ret_effect   may be NULL
 *
 * @return 0; -EAGAIN when the database is away: what was not committed shows
 *	   as MOVE_LOST or may have been committed all the same, so look again;
 *	   -EPROTO; -ENOMEM
 */
_must_check_ int moves_apply(struct db *db, const struct move_batch *batch,
			     struct arena *arena,
			     struct move_result *ret_result,
			     struct moves_effect *ret_effect,
			     struct fault *reterr_fault);

#endif
