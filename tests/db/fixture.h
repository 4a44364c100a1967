/* SPDX-License-Identifier: MIT */
#ifndef TESTS_DB_FIXTURE_H
#define TESTS_DB_FIXTURE_H

#include "tests/support/check.h"

#include "common/flow/move.h"
#include "common/io/db.h"

#include <stdbool.h>

/*
 * What the database tests share: a connection to DATABASE_URL (a database of
 * the program's own, migrated), pipelines to play with, and moves.
 */

enum { PIPELINE_JOBS_MAX = 1024 };

struct pipeline {
	char execution[UUID_SIZE];
	char job[PIPELINE_JOBS_MAX][UUID_SIZE];
	size_t count;
};

struct edge {
	size_t parent;
	size_t child;
};

struct db *fixture_open(void);
struct arena *fixture_arena(void);

/* The first column of the first row, as a number. Plain SQL: a test may look
 * where the programs do not. */
int64_t fixture_number(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* The first column of the first row, as text for free(). */
char *fixture_text(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* Run any SQL; fails the test on an error. */
void fixture_sql(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How many jobs, and what waits for what. */
struct shape {
	size_t count;
	const struct edge *edges;
	size_t edge_count;
};

/* Submit an execution of that shape, all jobs at one provider. */
void fixture_submit(struct db *db, const char *provider, const char *policy,
		    const struct shape *shape, struct pipeline *ret);

/* What a claim gave for one job; ids compare with pipeline.job. */
struct claimed {
	char id[UUID_SIZE];
	int64_t claim;
	char state[16];
	bool childless;
};

/* Claim up to "most" jobs of a lane. @return how many */
size_t fixture_claim(struct db *db, const char *provider, const char *state,
		     int most, int64_t lease_ms, struct claimed *ret);

/* A move by the rule table, with what the schema insists on filled in. */
struct move fixture_move(const char *id, enum job_state was,
			 enum job_event event, int64_t claim);

/* Apply one move. @return its outcome */
enum move_outcome fixture_apply(struct db *db, const struct move *move);

/* Bring a queued job to a state by the shortest way, also a bad end. */
void fixture_bring(struct db *db, const char *id, const char *provider,
		   enum job_state to);

/* All counters, slots, edges and leases of the database agree. */
void fixture_check_invariants(void);

#endif
