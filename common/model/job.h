/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_JOB_H
#define COMMON_MODEL_JOB_H

#include "common/base/macro.h"
#include "common/base/uuid.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * What a job is and how it may change. Pure: no clock, no database, no log.
 * The table in job.c is the only place where transitions are decided; the
 * database stores the result and refuses a stale one (sql/queries/job.sql).
 */

enum job_state {
	JOB_STATE_NONE = 0, /* so that a zeroed struct is not a valid job */
	JOB_WAITING,	    /* for the jobs it depends on */
	JOB_QUEUED,	    /* may be started as soon as there is room */
	JOB_STARTING,	    /* its paid start is on the wire */
	JOB_START_UNKNOWN,  /* nobody knows whether the start was taken */
	JOB_PROCESSING,	    /* the provider renders it */
	JOB_STORING,	    /* its media is on the way to our store */
	JOB_COMPLETED,
	JOB_FAILED,
	JOB_CANCELLED,
	JOB_SKIPPED, /* a dependency failed and the job said "skip" */
	JOB_STATE_MAX,
};

enum job_event {
	JOB_EVENT_NONE = 0,
	JOB_RELEASED,		/* all it waited for is there */
	JOB_DEPENDENCY_FAILED,	/* policy "fail" met a failed dependency */
	JOB_DEPENDENCY_SKIPPED, /* policy "skip" met a failed dependency */
	JOB_INPUT_INVALID,     /* its input cannot be made: no such reference */
	JOB_START,	       /* the paid start leaves now */
	JOB_UNSENT,	       /* it did not leave: we stop */
	JOB_NOT_STARTED,       /* it surely did not start; try again */
	JOB_THROTTLED,	       /* refused for now (429); costs no try */
	JOB_REFUSED,	       /* the provider will never start it */
	JOB_ACCEPTED,	       /* the provider took it and gave us an id */
	JOB_START_LOST,	       /* sent, and no usable answer came back */
	JOB_NOT_FOUND_YET,     /* reconciling: not in the provider's list yet */
	JOB_ABSENT,	       /* reconciling for a retry: surely not there */
	JOB_GAVE_UP,	       /* reconciling: nobody could tell in time */
	JOB_PROGRESS,	       /* the provider still renders */
	JOB_NO_ANSWER,	       /* the provider could not be asked; ask again */
	JOB_RESULT_READY,      /* done; its result takes a request of its own */
	JOB_RENDERED,	       /* the provider has media for us to fetch */
	JOB_PROVIDER_FAILED,   /* it failed at the provider for good */
	JOB_PROVIDER_FALTERED, /* it failed at the provider; may try again */
	JOB_PROVIDER_CANCELLED, /* the provider says it was cancelled */
	JOB_STORE_AGAIN,	/* storing failed; try again */
	JOB_STORE_FAILED,	/* storing failed for good */
	JOB_STORED,		/* media is in our store */
	JOB_CANCEL,		/* the client asked for it */
	JOB_CANCEL_TRIED,	/* the provider was asked to cancel */
	JOB_CANCEL_EXPIRED,	/* the provider did not confirm in time */
	JOB_DEADLINE,		/* its total time is over */
	JOB_RETRY,		/* the client asked to run it again */
	JOB_RETRY_RECONCILE,	/* ...but it may have been billed: look first */
	JOB_RETRY_STORE,	/* ...and only storing had failed */
	JOB_REVIVED,		/* what stopped it is being retried */
	JOB_SETTLED,		/* its dependents were told */
	JOB_EVENT_MAX,
};

/* Outcomes of job_decide(); every caller handles both. */
enum {
	JOB_E_STALE = 1, /* already terminal: a late or repeated event */
	JOB_E_ILLEGAL,	 /* this event makes no sense in this state */
};

struct job_decision {
	enum job_state to;
	const char *why; /* static text for the log and the timeline */
};

/**
 * Decide what an event does to a job.
 *
 * @return 0 and *ret; JOB_E_STALE; JOB_E_ILLEGAL. Never negative.
 */
_must_check_ int job_decide(enum job_state from, enum job_event on,
			    struct job_decision *ret);

bool job_is_terminal(enum job_state state);

/* May it be rendering at the provider, and so hold a slot there? */
bool job_may_render(enum job_state state);

const char *job_state_name(enum job_state state);     /* the value in SQL */
enum job_state job_state_from_name(const char *name); /* or JOB_STATE_NONE */
const char *job_event_name(enum job_event event);

/* The table as text, one rule a line: the golden test and docs/ use it. */
void job_print_rules(FILE *out);

/* Whether a failure cost money, as far as anybody can know. */
enum job_billed {
	JOB_BILLED_NO = 0,
	JOB_BILLED_YES,
	JOB_BILLED_UNKNOWN,
};

const char *job_billed_name(enum job_billed billed); /* no, yes, unknown */

/* What a provider needs to know of a job to speak about it. Strings belong
 * to the arena that the job was read into. */
struct job {
	char id[UUID_SIZE];
	enum job_state state;
	const char *provider;
	const char *model;	     /* the caller's, verbatim */
	const char *input;	     /* JSON object text, references resolved */
	const char *provider_job_id; /* NULL until JOB_ACCEPTED */
	const char *provider_ref;    /* provider's own JSON text, or NULL */
	const char *webhook_url;     /* where its provider reports, or NULL */
	int32_t attempt;	     /* paid starts so far */
	int64_t started_unix_ms;     /* of this attempt; 0 before */
};

#endif
