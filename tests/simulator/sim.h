/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_SIM_H
#define TESTS_SIMULATOR_SIM_H

#include "tests/simulator/loop.h"
#include "tests/simulator/table.h"
#include "tests/simulator/words.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The whole simulator: one struct, one thread. Everything is reached from
 * here, and nothing is global.
 */

enum sim_provider {
	SIM_REPLICATE,
	SIM_FAL,
	SIM_VERTEX,
	SIM_PROVIDERS,
};

enum { SIM_SECRETS_MAX = 8, SIM_FAULTS_MAX = 8 };

struct sim_options {
	const char *host;
	uint16_t port;
	const char *port_file;
	const char *public_url; /* NULL: from each request's Host */
	const char *ledger_path;
	const char *account_path;
	const char *secrets[SIM_SECRETS_MAX];
	size_t secret_count;
	int64_t delay_ms;
	int64_t jobs_max;
	int64_t media_bytes; /* -1: as it comes */
	bool quiet;
};

struct sim_rate {
	double per_s; /* 0: no limit */
	double burst;
	double tokens;
	int64_t filled_ms; /* monotonic */
};

/* What one provider did, and what it is told to do. */
struct sim_account {
	const char *name;
	json_t *words;	     /* POST /_control, this provider */
	json_t *credentials; /* array of texts; true: issued only; NULL: any */
	struct sim_rate rate;
	int64_t concurrency; /* most that render; 0: any */
	bool down;

	int64_t starts, refused, polls, results, cancels, lists;
	int64_t running, running_most; /* accepted and not ended */
	int64_t rendering; /* of them, those that the concurrency let in */
	int64_t deliveries, forged;
	struct job *newest; /* all jobs, by age */
	struct job *oldest;
	struct job *queue_head; /* held back by the concurrency */
	struct job *queue_tail;
};

struct sim {
	struct sim_options options;
	int64_t begun_ms; /* monotonic */
	struct loop *loop;
	struct loop_watch *signal_watch;
	int signal_fd;
	struct server *server;
	struct outgoing *outgoing;
	struct keys *keys;
	struct ledger *ledger;
	char *own_url; /* http://host:port */

	struct sim_account provider[SIM_PROVIDERS];
	json_t *words_for_all;
	struct table *counters;	     /* of "times": key to a number */
	struct table *tokens;	     /* Google tokens issued */
	struct table *jobs;	     /* by "provider/id" */
	struct table *ours;	     /* newest start of each job of ours */
	struct delivery *deliveries; /* all that are not over */
	struct job *ended_head;	     /* ended jobs, oldest end first */
	struct job *ended_tail;
	int64_t ended_count;
	int64_t requests;
	bool stopping;
	int64_t tokens_issued;
};

/* What the words say: a job's own, then its provider's, then all's. */
struct words sim_words(const struct sim *sim, enum sim_provider provider,
		       const json_t *own);

/* One line on standard error, unless --quiet. */
_printf_(2, 3) void sim_say(const struct sim *sim, const char *format, ...);

#endif
