/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_LEDGER_H
#define TESTS_SIMULATOR_LEDGER_H

#include "tests/simulator/job.h"

#include "common/base/crypto.h"

/*
 * What was paid for. Each accepted start is a record here, written to the
 * file before its answer leaves; records outlive their jobs.
 */
struct ledger;
struct request;

struct start {
	struct start *newer;
	int64_t seq;
	int64_t time_ms;
	enum sim_provider provider;
	char *id, *account, *model;
	char *webhook;	     /* or NULL */
	char job[UUID_SIZE]; /* ours, from the webhook; "" without one */
	int64_t attempt;
	char input_sha256[SHA256_HEX_SIZE];
	bool answered;
	struct job *live; /* NULL once the job is forgotten */
};

struct ledger *ledger_new(struct sim *sim, struct fault *reterr_fault);
struct ledger *ledger_free(struct ledger *ledger);

struct start *ledger_add(struct sim *sim, const struct job_plan *plan);
void ledger_forget_all(struct sim *sim);

/* Append one line to the file; fields are taken. */
void ledger_note(struct sim *sim, const char *event, json_t *fields);

/* GET /_ledger */
void ledger_reply(struct request *request);

/* Our job's id and attempt out of a webhook URL; false if it has none. */
bool ledger_parse_webhook(const char *webhook, char ret_job[UUID_SIZE],
			  int64_t *ret_attempt);

#endif
