/* SPDX-License-Identifier: MIT */
#include "poller/reconcile.h"

#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/backoff.h"
#include "common/model/limits.h"
#include "poller/ask.h"
#include "poller/check.h"
#include "poller/prepare.h"
#include "poller/query.h"
#include "poller/start.h"
#include "poller/token.h"

#include <errno.h>
#include <string.h>

enum {
	FIRST_MS = 15 * 1000,
	SECOND_MS = 60 * 1000,
	EVERY_MS = 5 * 60 * 1000,
	/* A clock of theirs or a timer of ours that is early must not make
	 * two looks of one. */
	SLACK_MS = 1000,
	PAGES_MOST = 50,
};

int64_t reconcile_delay_ms(int64_t age_ms, int64_t most_ms)
{
	int64_t at_ms = FIRST_MS;

	if (age_ms + SLACK_MS >= SECOND_MS)
		at_ms = SECOND_MS +
			EVERY_MS * ((age_ms + SLACK_MS - SECOND_MS) / EVERY_MS +
				    1);
	else if (age_ms + SLACK_MS >= FIRST_MS)
		at_ms = SECOND_MS;
	if (at_ms > most_ms)
		at_ms = most_ms;
	return at_ms - age_ms > RECONCILE_LEAST_MS ? at_ms - age_ms
						   : RECONCILE_LEAST_MS;
}

/* ---- without a result ---------------------------------------------------- */

static int64_t most_ms(const struct work *work)
{
	return work->poller->conf->reconcile_s * 1000;
}

/* What may yet tell is waited for until the deadline. */
static bool is_over(const struct work *work, bool heard)
{
	return work->deadline_passed ||
	       (heard && work->unknown_age_ms >= most_ms(work));
}

static void give_up(struct work *work)
{
	struct move move = work_move(work, JOB_GAVE_UP);

	move.error_code = "may_have_been_billed";
	move.error_message = "no usable answer came to the start, and it could "
			     "not be found out whether the provider took it";
	move.billed = job_billed_name(JOB_BILLED_UNKNOWN);
	move.start_outcome = "unknown";
	/* If its id is known, only the deadline ends the asking. */
	move.stray = true;
	work_send(work, &move, NULL);
}

/* Its cancelling is not waited for any longer. If an id is known all the same
 * (nobody could be asked about it), it is asked for when the job has ended. */
static void give_up_cancelling(struct work *work)
{
	struct move move = work_failure(
		work, JOB_CANCEL_EXPIRED, "may_have_been_billed",
		"cancelled; it could not be found out whether the provider "
		"took the start",
		JOB_BILLED_UNKNOWN);

	move.stray = true;
	work_send(work, &move, NULL);
}

static void be_absent(struct work *work)
{
	struct move move = work_move(work, JOB_ABSENT);

	move.due_ms = 0;
	work_send(work, &move, NULL);
}

void reconcile_wait(struct work *work, const struct provider_event *event)
{
	enum job_event kind = event->kind == JOB_NO_ANSWER ? JOB_NO_ANSWER
							   : JOB_NOT_FOUND_YET;
	bool heard = kind == JOB_NOT_FOUND_YET || work->unclear;
	int64_t confirm_ms = work->poller->conf->cancel_confirm_s * 1000 -
			     work->cancel_age_ms;
	struct move move;

	if (kind == JOB_NOT_FOUND_YET && work->restart_if_absent) {
		be_absent(work);
		return;
	}
	if (is_over(work, heard)) {
		give_up(work);
		return;
	}
	move = work_move(work, kind);
	move.quiet = true;
	move.due_ms = reconcile_delay_ms(work->unknown_age_ms,
					 heard ? most_ms(work) : INT64_MAX);
	if (event->retry_after_ms > move.due_ms)
		move.due_ms =
			backoff_delay_ms(FIRST_MS, FIRST_MS, 0,
					 event->retry_after_ms, dice_uint32());
	if (work->cancel_requested && confirm_ms < move.due_ms)
		move.due_ms = confirm_ms > 0 ? confirm_ms : 0;
	move.poll_attempts = work->poll_attempts + 1;
	move.error_code =
		event->error_code ? event->error_code : "start_unconfirmed";
	move.error_message = event->error_message;
	work_send(work, &move, NULL);
}

/* Nobody can be asked: only the webhook can tell. */
static void wait_for_webhook(struct work *work)
{
	const struct provider_event event = {
		.kind = JOB_NOT_FOUND_YET,
		.progress = -1,
	};

	reconcile_wait(work, &event);
}

/* Somebody could be asked, but not now. */
static void ask_later(struct work *work)
{
	const struct provider_event event = {
		.kind = JOB_NO_ANSWER,
		.progress = -1,
	};

	reconcile_wait(work, &event);
}

/* The answer leaves open which one it is, or whether it is there at all. */
static void stay_unclear(struct work *work)
{
	work->unclear = !arena_failed(work->arena);
	ask_later(work);
}

/* ---- the list ------------------------------------------------------------ */

/* Does this prediction belong to another start already? @return 1, 0, or
 * negative */
static int is_taken(struct work *work, const char *provider_job_id)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int r;

	if (!arena)
		return -ENOMEM;
	const char *params[] = {
		work->job.provider,
		db_array_text(&provider_job_id, 1, arena),
		work->job.id,
		arena_printf(arena, "%d", (int)work->job.attempt),
	};
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(work->poller, DB_start_known_ids, params, &result);
	return r < 0 ? r : db_rows(result) > 0;
}

/* Something that must be this start was found. */
static void adopt(struct work *work, const struct provider_event *event)
{
	if (event->provider_job_id)
		work->job.provider_job_id =
			arena_strdup(work->arena, event->provider_job_id);
	if (event->provider_ref)
		work->job.provider_ref =
			arena_strdup(work->arena, event->provider_ref);
	check_take(work, event);
}

static void take_found(struct work *work, const struct provider_event *event)
{
	int taken;

	/* Where results are found by their place, the provider's id stays
	 * unknown; only what has ended can be gone on with then. */
	if (!event->provider_job_id) {
		if (event->kind == JOB_RENDERED)
			adopt(work, event);
		else
			stay_unclear(work);
		return;
	}
	taken = is_taken(work, event->provider_job_id);
	if (taken == 0)
		adopt(work, event);
	else if (taken < 0)
		ask_later(work);
	else
		wait_for_webhook(work);
}

static bool is_found(const struct provider_event *event)
{
	return event->kind != JOB_NOT_FOUND_YET && event->kind != JOB_NO_ANSWER;
}

static void ask_list(struct work *work);
static void send_list(struct work *work, const char *cursor);

/* Is it the one that an earlier page had? Pages move as new items come. */
static bool is_candidate(const struct work *work,
			 const struct provider_event *event)
{
	return is_found(event) && event->provider_job_id && work->candidate &&
	       strcmp(event->provider_job_id, work->candidate) == 0;
}

/* @return whether it could be remembered and is the only one so far */
static bool keep_candidate(struct work *work,
			   const struct provider_event *event)
{
	if (is_candidate(work, event))
		return true;
	if (work->candidate || !event->provider_job_id)
		return false;
	work->candidate = arena_strdup(work->arena, event->provider_job_id);
	work->candidate_page = work->page;
	return work->candidate;
}

static void end_list(struct work *work, const struct provider_event *event)
{
	if (is_candidate(work, event) ||
	    (is_found(event) && !work->candidate)) {
		take_found(work, event);
	} else if (is_found(event) || work->settled) {
		/* Which of two it is cannot be told. */
		stay_unclear(work);
	} else if (event->kind == JOB_NOT_FOUND_YET && work->candidate) {
		/* Its page again, for what else it says. */
		work->settled = true;
		send_list(work, work->candidate_page);
	} else {
		reconcile_wait(work, event);
	}
}

static void on_list(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;
	struct provider_event event;

	ask_answered(work, result);
	event = ask_event(work, result, work->provider->ops->list_event,
			  JOB_NO_ANSWER);
	if (ask_wants_new_token(work, result))
		token_then(work, ask_list);
	else if (!event.cursor || work->settled)
		end_list(work, &event);
	else if (work->pages >= PAGES_MOST ||
		 (is_found(&event) && !keep_candidate(work, &event)))
		/* A list without an end, or with two, proves nothing. */
		stay_unclear(work);
	else
		send_list(work, event.cursor);
}

static void send_list(struct work *work, const char *cursor)
{
	const struct provider_state *provider = work->provider;
	struct http_request request;
	struct fault fault = { "" };
	int r;

	work->pages++;
	work->page = cursor ? arena_strdup(work->arena, cursor) : NULL;
	if (cursor && !work->page) {
		ask_later(work);
		return;
	}
	r = provider->ops->list_request(&work->job, &provider->conf, work->page,
					work->arena, &request, &fault);
	if (r == -EINVAL && cursor) {
		/* It goes on where we do not go: its end proves nothing. */
		stay_unclear(work);
		return;
	}
	if (r == -EINVAL) {
		wait_for_webhook(work);
		return;
	}
	if (r == 0)
		r = ask_send(work, &request, false, on_list);
	if (r < 0)
		ask_later(work);
}

static void ask_list(struct work *work)
{
	work->pages = 0;
	work->candidate = NULL;
	work->settled = false;
	send_list(work, NULL);
}

/* Some providers are searched by the input, which is the resolved one. */
static void on_prepared(struct work *work, int error, const struct fault *fault)
{
	(void)fault;
	if (error == -EAGAIN || error == -ENOMEM)
		ask_later(work);
	else if (error != 0)
		wait_for_webhook(work);
	else
		token_then(work, ask_list);
}

void reconcile_begin(struct work *work)
{
	const struct provider_state *provider = work->provider;

	if (work->cancel_requested &&
	    work->cancel_age_ms >=
		    work->poller->conf->cancel_confirm_s * 1000) {
		give_up_cancelling(work);
		return;
	}
	work->job.webhook_url =
		start_webhook_url(work, work->job.attempt, work->arena);
	/* Without its credential nobody can be asked, which proves nothing. */
	if (!provider->configured)
		ask_later(work);
	else if (work->job.provider_job_id)
		token_then(work, check_ask);
	else if (provider->ops->list_request)
		prepare_inputs(work->poller, &work, 1, on_prepared);
	else
		wait_for_webhook(work);
}
