/* SPDX-License-Identifier: MIT */
#include "poller/sweep.h"

#include "common/base/clock.h"
#include "common/flow/advance.h"
#include "common/flow/move.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/look.h"
#include "poller/query.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	/* After the first look, which somebody may be waiting for. */
	SWEEP_FIRST_MS = 100,
	SWEEP_EVERY_MS = 10 * 1000,
	SLOTS_EVERY_MS = 60 * 1000,
	OVERDUE_MOST = 500,
	REPLAN_MOST = 500, /* of each lane */
};

/* Run a statement that says how many jobs it changed. */
static int run_counting(struct poller *poller, enum db_query query,
			const char *const *params, struct arena *arena,
			int64_t *ret_count)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct fault fault = { "" };
	struct db_row row;
	int r;

	r = query_run(poller, query, params, &result);
	if (r < 0)
		return r;
	row = db_row(result, 0, arena);
	*ret_count = db_row_int64(&row, "jobs");
	r = db_row_end(&row, &fault);
	return r < 0 ? query_note(poller, r, &fault, true) : 0;
}

/* How far ahead a job may be planned: the longest pause between two looks, on
 * top of what a provider may wish for. */
static int64_t furthest_ms(const struct poller *poller)
{
	int64_t longest_ms = 0;

	for (size_t i = 0; i < poller->provider_count; i++) {
		int64_t pause_ms = advance_longest_ms(
			poller->conf, poller->provider[i].ops, JOB_PROCESSING);

		if (pause_ms > longest_ms)
			longest_ms = pause_ms;
	}
	return longest_ms + (LIMIT_RETRY_AFTER_S + 60) * 1000;
}

/* The database's clock may have been set back. */
static int replan(struct poller *poller, struct arena *arena)
{
	char most[16], furthest[24];
	const char *params[] = { most, furthest };
	int64_t count = 0;
	int r;

	(void)snprintf(most, sizeof(most), "%d", REPLAN_MOST);
	(void)snprintf(furthest, sizeof(furthest), "%" PRId64,
		       furthest_ms(poller));
	r = run_counting(poller, DB_job_replan, params, arena, &count);
	if (r < 0 || count == 0)
		return r;
	log_event(LOG_WARNING, LOG_ID_LEASE_LOST, NULL,
		  "%" PRId64 " jobs were planned too far ahead: the database's "
		  "clock was set back; they are due now",
		  count);
	look_soon(poller);
	return 0;
}

static int release_expired(struct poller *poller, struct arena *arena)
{
	int64_t count = 0;
	int r;

	r = run_counting(poller, DB_job_release_expired, NULL, arena, &count);
	if (r < 0)
		return r;
	if (count > 0) {
		log_event(LOG_WARNING, LOG_ID_LEASE_LOST, NULL,
			  "%" PRId64 " jobs were claimed and never started: "
			  "their poller is gone; they are free again",
			  count);
		look_soon(poller);
	}
	return 0;
}

/* ---- deadlines ----------------------------------------------------------- */

static void explain_overdue(int32_t attempt, struct move *move)
{
	move->error_code = "deadline_exceeded";
	if (move->was == JOB_QUEUED) {
		move->error_message = "the deadline passed before the job was "
				      "started";
		move->billed = job_billed_name(JOB_BILLED_NO);
	} else {
		move->error_message = "the deadline passed while the provider "
				      "could not be asked";
		move->billed = job_billed_name(JOB_BILLED_UNKNOWN);
		move->attempt = attempt;
		move->stray = true;
	}
}

static int read_overdue(const PGresult *result, int index, struct arena *arena,
			struct move *ret, struct fault *reterr_fault)
{
	struct db_row row = db_row(result, index, arena);
	const char *id = db_row_text(&row, "id");
	const char *execution_id = db_row_text(&row, "execution_id");
	const char *provider = db_row_text(&row, "provider");
	enum job_state state = job_state_from_name(db_row_text(&row, "status"));
	int64_t version = db_row_int64(&row, "version");
	int32_t attempt = db_row_int32(&row, "attempt");
	bool to_cancel =
		db_row_bool(&row, "cancel_requested") && state == JOB_QUEUED;
	enum job_event event = to_cancel ? JOB_CANCEL : JOB_DEADLINE;
	struct job_decision decision;
	int r = db_row_end(&row, reterr_fault);

	if (r < 0)
		return r;
	if (strlen(id) != UUID_SIZE - 1 ||
	    job_decide(state, event, &decision) != 0)
		return fault_set(reterr_fault, -EBADMSG,
				 "an overdue job in an odd state");
	*ret = move_init(id, event, state, &decision);
	ret->version = version;
	ret->execution_id = execution_id;
	ret->provider = provider;
	if (!to_cancel)
		explain_overdue(attempt, ret);
	return 0;
}

static int fail_overdue(struct poller *poller, struct arena *arena)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	char most[16];
	const char *params[] = { most };
	struct moves_effect effect = { 0 };
	struct fault fault = { "" };
	struct move_result *results;
	struct move *moves;
	int count, r;

	(void)snprintf(most, sizeof(most), "%d", OVERDUE_MOST);
	r = query_run(poller, DB_job_overdue, params, &result);
	if (r < 0)
		return r;
	count = db_rows(result);
	moves = arena_alloc(arena, OVERDUE_MOST * sizeof(*moves));
	results = arena_alloc(arena, OVERDUE_MOST * sizeof(*results));
	if (arena_failed(arena))
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		r = read_overdue(result, i, arena, &moves[i], &fault);
		if (r < 0)
			return query_note(poller, r, &fault, true);
	}
	if (count == 0)
		return 0;
	r = moves_apply(
		poller->db,
		&(const struct move_batch){ moves, (size_t)count, false },
		arena, results, &effect, &fault);
	look_soon(poller);
	return query_note(poller, r, &fault, db_connected(poller->db));
}

/* ---- slots --------------------------------------------------------------- */

static int log_repair(struct poller *poller, const PGresult *result, int index,
		      struct arena *arena)
{
	struct db_row row = db_row(result, index, arena);
	const struct log_context context = {
		.provider = db_row_text(&row, "name"),
	};
	int64_t counted = db_row_int64(&row, "counted");
	int64_t found = db_row_int64(&row, "found");
	struct fault fault = { "" };
	int r = db_row_end(&row, &fault);

	if (r < 0)
		return query_note(poller, r, &fault, true);
	log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, &context,
		  "the counter of slots said %" PRId64 " and the jobs %" PRId64
		  "; repaired",
		  counted, found);
	return 0;
}

/* A transaction, because the second statement must not see less than what
 * was committed before the first had its locks. */
static int check_slots(struct poller *poller, struct arena *arena)
{
	_cleanup_(db_result_freep) PGresult *begun = NULL, *locked = NULL;
	_cleanup_(db_result_freep) PGresult *repaired = NULL, *ended = NULL;
	int r, end;

	r = query_run(poller, DB_transaction_begin, NULL, &begun);
	if (r < 0)
		return r;
	r = query_run(poller, DB_provider_lock_slots, NULL, &locked);
	if (r >= 0)
		r = query_run(poller, DB_provider_recount_slots, NULL,
			      &repaired);
	end = query_run(poller,
			r < 0 ? DB_transaction_rollback : DB_transaction_commit,
			NULL, &ended);
	for (int i = 0; r >= 0 && end >= 0 && i < db_rows(repaired); i++)
		r = log_repair(poller, repaired, i, arena);
	return r < 0 ? r : end;
}

static void sweep(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	int64_t now_ms = clock_monotonic_ms();

	if (!arena || !poller->configured || poller->database_lost ||
	    replan(poller, arena) < 0 || release_expired(poller, arena) < 0 ||
	    fail_overdue(poller, arena) < 0)
		return;
	if (poller->swept && now_ms < poller->slots_checked_ms + SLOTS_EVERY_MS)
		return;
	if (check_slots(poller, arena) >= 0)
		poller->slots_checked_ms = now_ms;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	if (poller->stopping)
		return 0;
	sweep(poller);
	poller->swept = true;
	poller_arm(poller->sweep_timer, SWEEP_EVERY_MS);
	look_after_work(poller);
	return 0;
}

int sweep_init(struct poller *poller, struct fault *reterr_fault)
{
	int r = poller_add_timer(poller, &poller->sweep_timer, on_timer,
				 reterr_fault);

	if (r < 0)
		return r;
	poller_arm(poller->sweep_timer, SWEEP_FIRST_MS);
	return 0;
}

void sweep_done(struct poller *poller)
{
	poller->sweep_timer =
		sd_event_source_disable_unref(poller->sweep_timer);
}
