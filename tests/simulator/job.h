/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_JOB_H
#define TESTS_SIMULATOR_JOB_H

#include "tests/simulator/sim.h"

#include "common/base/uuid.h"

/*
 * A job as the provider sees it: accepted, queued, running, ended. Time moves
 * it; the provider's files only describe it in their own words.
 */

enum job_phase {
	JOB_IN_QUEUE,
	JOB_RUNNING,
	JOB_FETCHING, /* its time is over; its inputs are being fetched */
	JOB_ENDED,
};

enum job_outcome {
	OUTCOME_SUCCEED,
	OUTCOME_FAIL,
	OUTCOME_CANCEL,
	OUTCOME_ABORT,
	OUTCOME_REFUSE,
	OUTCOME_PARTIAL,
	OUTCOME_NOTHING,
	OUTCOME_NEVER,
	OUTCOME_VANISH,
};

enum { JOB_MEDIA_MAX = 16, JOB_RECORDS_MAX = 64 };

enum media_kind {
	MEDIA_MP4,
	MEDIA_PNG,
	MEDIA_HTML,
	MEDIA_EMPTY,
	MEDIA_RANDOM,
};

struct media_file {
	enum media_kind kind;
	int64_t bytes; /* of the whole file */
	int64_t served, complete, fetches;
	char *sha256; /* hex, when somebody asked; else NULL */
	char *path;   /* "/media/…", from the root of the simulator */
};

struct job {
	struct sim *sim;
	enum sim_provider provider;
	struct start *start; /* its line in the ledger; outlives it */
	struct job *older, *newer;
	struct job *next_queued; /* waiting for concurrency */
	struct job *next_ended;
	int refs; /* deliveries and downloads that still need it */
	bool queued, rendering;
	bool forgotten; /* by a reset; waits for its last reference */
	bool fetch;	/* its inputs, before it succeeds */

	char *key;	/* of its "times" counters */
	char *url_base; /* http://host:port as its client sees us */
	json_t *input;	/* as it was given; NULL if too large to keep */
	json_t *words;
	enum job_phase phase;
	enum job_outcome outcome;
	char *error; /* said by its end, instead of the default */
	int64_t created_ms, started_ms, ended_ms; /* unix */
	int64_t delay_ms, queue_ms;
	struct loop_timer timer; /* the next change of phase */
	struct loop_timer tick;	 /* logs events while it runs */
	struct loop_timer limit; /* Cancel-After */

	int64_t polls, results, cancels, listed;
	size_t status_place; /* in "statuses" */
	int64_t regress_left;
	bool end_told, cancelling;
	struct media_file media[JOB_MEDIA_MAX];
	size_t media_count;
	size_t media_wanted;

	/* Replicate */
	char *version;
	char *deployment;
	char *deadline;
	json_t *filter; /* webhook_events_filter, or NULL */
	/* Vertex */
	char *storage_uri;

	json_t *deliveries;	/* for the ledger */
	json_t *fetched_inputs; /* likewise */
	json_t *postponed;	/* webhook events for after the end */
	struct delivery *delivery_first, *delivery_last; /* not yet sent */
	bool sending;		 /* one of its deliveries is out */
	struct loop_timer late;	 /* its late webhook; holds a reference */
	struct request *waiter;	 /* a start's answer that waits for the end */
	bool waits_for_delivery; /* ... or for its webhook's answer */
};

struct words job_words(const struct job *job);

/* What a start asks for; pointers are borrowed. */
struct job_plan {
	enum sim_provider provider;
	const char *id;
	const char *account; /* hash of the credential */
	const char *model;
	const char *webhook; /* or NULL */
	const json_t *input; /* to keep and echo; or NULL */
	const char *input_sha256;
	const json_t *words; /* or NULL */
	const char *key;
	const char *url_base;
	size_t media_wanted;
	bool fetch_inputs;
};

/* Accept a job: it is in the ledger and its time runs. Never NULL. */
struct job *job_new(struct sim *sim, const struct job_plan *plan);
void job_begin(struct job *job); /* once its provider's members are filled */

struct job *job_find(const struct sim *sim, enum sim_provider provider,
		     const char *id);
struct job *job_find_any(const struct sim *sim, const char *id);

/* End it now as its words say, without fetching anything. */
void job_end_by_words(struct job *job);
/* End it now; ended ones are left as they are. */
void job_end(struct job *job, enum job_outcome outcome, const char *error);
bool job_outcome_from_name(const char *name, enum job_outcome *ret);

/* Is the end to be told, or does the job play for time (regress)? Counts. */
bool job_tells_end(struct job *job);
/* The next of "statuses", or NULL when the truth is to be told. */
const char *job_next_status(struct job *job);
/* Is its output past retention? */
bool job_output_gone(const struct job *job);
/* 0 to 1 */
double job_progress(const struct job *job);
bool job_has_output(const struct job *job);
/* Lines of a log, as far as it has come. Caller frees. */
char *job_logs(const struct job *job);

struct job *job_ref(struct job *job);
void job_unref(struct job *job);
/* Forget all jobs but those that something still refers to. */
void job_forget_all(struct sim *sim);

#endif
