/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_MISCHIEF_H
#define TESTS_SIMULATOR_MISCHIEF_H

#include "tests/simulator/job.h"
#include "tests/simulator/server.h"

/*
 * Faults of requests: what the words "start", "poll", ... do to one of them.
 */

enum mischief_drop {
	DROP_NONE,
	DROP_BEFORE,
	DROP_AFTER,
	DROP_PARTIAL,
};

enum mischief_answer {
	ANSWER_GOOD,
	ANSWER_GARBAGE,
	ANSWER_EMPTY,
	ANSWER_NO_ID,
	ANSWER_HUGE,
};

struct mischief {
	int64_t latency_ms;
	unsigned status; /* 0: none */
	const char *error;
	const json_t *body;
	bool accepted;
	int64_t retry_after_s; /* -1: not said */
	const char *retry_after_form;
	bool hang;
	enum mischief_drop drop;
	enum mischief_answer answer;
	/* of lists */
	bool hide, omit_webhook, in_flight;
	int64_t lag_ms;
};

/**
 * What is to happen to this request; counts it.
 *
 * @operation  "start", "poll", "result", "cancel", "list", "token", "keys"
 * @own        the job's words, or NULL
 * @key        whose counters, with own
 */
struct mischief mischief_of(struct request *request, enum sim_provider provider,
			    const char *operation, const json_t *own,
			    const char *key);
struct mischief mischief_of_job(struct request *request, struct job *job,
				const char *operation);

/* When the head of a request is in: is its connection to be closed unread? */
bool mischief_at_head(struct request *request);

/* Count one thing and say how often it was counted. */
int64_t mischief_count(struct sim *sim, const char *key);

/* How a provider words an error; error may be NULL. New reference. */
typedef json_t *error_body_fn(struct request *request, unsigned status,
			      const char *error);

/* Apply what refuses a request; false: it may go on. */
bool mischief_refuse(struct request *request, const struct mischief *mischief,
		     error_body_fn *body);
/* Apply what spoils a reply that is ready. */
void mischief_spoil(struct request *request, const struct mischief *mischief,
		    error_body_fn *body);

/*
 * The reply of an accepted start is ready: spoil it, and hold it for as long
 * as the job's words or prefer_ms want.
 */
void mischief_start(struct request *request, struct job *job,
		    const struct mischief *mischief, error_body_fn *body);

/* Is there no room for one more start now? Takes a token if there is. */
bool mischief_over_rate(struct sim_account *account);

/* The credential passes? Sets *ret_hash to 16 hex digits. */
bool mischief_knows(struct request *request, enum sim_provider provider,
		    const char *credential, char ret_hash[17]);

#endif
