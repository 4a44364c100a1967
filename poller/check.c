/* SPDX-License-Identifier: MIT */
#include "poller/check.h"

#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/ask.h"
#include "poller/reconcile.h"
#include "poller/start.h"
#include "poller/token.h"

#include <errno.h>
#include <string.h>

enum {
	/* While a cancellation is to be confirmed. */
	CANCEL_POLL_LEAST_MS = 1000,
	CANCEL_POLL_SPREAD_MS = 2000,
	ODD_REQUEST_MS = 60 * 1000,
};

static const char unknown_status_code[] = "provider_status_unknown";

static bool is_running(enum job_event kind)
{
	return kind == JOB_ACCEPTED || kind == JOB_PROGRESS ||
	       kind == JOB_NO_ANSWER || kind == JOB_CANCEL_TRIED;
}

static bool cancel_is_over(const struct work *work)
{
	return work->cancel_requested &&
	       work->cancel_age_ms >=
		       work->poller->conf->cancel_confirm_s * 1000;
}

/* A request that cannot even be made: our own mistake, or a row of an older
 * version. Waiting is all that can be done until the deadline. */
static void cannot_ask(struct work *work, const struct fault *fault)
{
	const struct log_context context = work_context(work);

	log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, &context,
		  "the provider cannot be asked about the job: %s",
		  fault->text);
	if (work->deadline_passed)
		work_fail(work, JOB_DEADLINE, "deadline_exceeded", fault->text,
			  JOB_BILLED_UNKNOWN);
	else
		work_postpone(work, ODD_REQUEST_MS, "provider_not_asked",
			      fault->text);
}

/* ---- what became of it --------------------------------------------------- */

/* @asked  whether the provider has been asked to stop; if it could not be, it
 *	   is asked on when the job has ended, for it may render for hours */
static void give_up_cancelling(struct work *work, bool asked)
{
	struct move move = work_failure(
		work, JOB_CANCEL_EXPIRED, "cancel_unconfirmed",
		"the provider did not confirm the cancellation in time",
		JOB_BILLED_UNKNOWN);

	move.provider_job_id = work->job.provider_job_id;
	move.stray = !asked;
	work_send(work, &move, NULL);
}

/* What is still being rendered there is of no use to anybody. */
static void miss_deadline(struct work *work)
{
	struct move move = work_move(work, JOB_DEADLINE);

	move.error_code = "deadline_exceeded";
	move.error_message = "the deadline passed while the provider was "
			     "rendering";
	move.billed = job_billed_name(JOB_BILLED_UNKNOWN);
	move.provider_job_id = work->job.provider_job_id;
	move.stray = true;
	work_send(work, &move, NULL);
}

/* Said once a job: the code in its row remembers it. */
static void note_unknown_status(struct work *work,
				const struct provider_event *event,
				struct move *move)
{
	const struct log_context context = work_context(work);

	move->error_code = unknown_status_code;
	move->error_message =
		arena_printf(work->arena,
			     "the provider reports \"%s\", which its manual "
			     "does not name; taken as running",
			     event->unknown_status);
	move->detail = NULL;
	if (work->error_code &&
	    strcmp(work->error_code, unknown_status_code) == 0)
		return;
	log_event(LOG_WARNING, LOG_ID_STATUS_UNKNOWN, &context, "%s",
		  move->error_message ? move->error_message : "");
}

/* What both the job's row and its start's have already need not be written
 * into either. */
static void forget_known(const struct work *work, struct move *move)
{
	const char *known = work->job.provider_job_id;

	if (known && move->provider_job_id &&
	    strcmp(known, move->provider_job_id) == 0)
		move->provider_job_id = NULL;
}

static void still_running(struct work *work, const struct provider_event *event)
{
	struct move move;

	if (work->job.state == JOB_START_UNKNOWN &&
	    event->kind == JOB_NO_ANSWER) {
		reconcile_wait(work, event);
		return;
	}
	if (work->job.state == JOB_PROCESSING && cancel_is_over(work)) {
		give_up_cancelling(work,
				   work->cancel_tried ||
					   event->kind == JOB_CANCEL_TRIED);
		return;
	}
	if (work->job.state == JOB_PROCESSING && work->deadline_passed) {
		miss_deadline(work);
		return;
	}
	if (!work_decide(work, event, &move))
		return;
	if (event->unknown_status)
		note_unknown_status(work, event, &move);
	if (work->job.state == JOB_PROCESSING && work->cancel_requested)
		move.due_ms = CANCEL_POLL_LEAST_MS +
			      dice_uint32() % CANCEL_POLL_SPREAD_MS;
	if (event->kind == JOB_CANCEL_TRIED) {
		move.cancel_tried = true;
		move.quiet = false;
		move.detail = event->error_message;
	}
	if (work->job.state == JOB_PROCESSING)
		forget_known(work, &move);
	else if (!move.provider_job_id)
		move.provider_job_id = work->job.provider_job_id;
	work_send(work, &move, NULL);
}

static void ended(struct work *work, const struct provider_event *event)
{
	struct move move;

	if (!work_decide(work, event, &move))
		return;
	if (!move.provider_job_id)
		move.provider_job_id = work->job.provider_job_id;
	if (work->job.state == JOB_PROCESSING && !move.provider_ref)
		forget_known(work, &move);
	if (event->kind == JOB_RENDERED && work->cancel_requested)
		move.detail = "it was done before it could be cancelled";
	work_send(work, &move, NULL);
}

static void on_result(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;
	struct provider_event event;

	ask_answered(work, result);
	event = ask_event(work, result, work->provider->ops->result_event,
			  JOB_NO_ANSWER);
	check_take(work, &event);
}

static void ask_result(struct work *work)
{
	const struct provider_state *provider = work->provider;
	struct http_request request;
	struct fault fault = { "" };
	int r;

	r = provider->ops->result_request(&work->job, &provider->conf,
					  work->arena, &request, &fault);
	if (r == 0)
		r = ask_send(work, &request, false, on_result);
	if (r < 0)
		cannot_ask(work, &fault);
}

void check_take(struct work *work, const struct provider_event *event)
{
	struct provider_event none = *event;

	if (event->kind != JOB_RESULT_READY) {
		if (is_running(event->kind))
			still_running(work, event);
		else
			ended(work, event);
		return;
	}
	if (work->provider->ops->result_request) {
		token_then(work, ask_result);
		return;
	}
	none.kind = JOB_NO_ANSWER;
	still_running(work, &none);
}

/* ---- asking -------------------------------------------------------------- */

static void on_status(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;
	struct provider_event event;

	ask_answered(work, result);
	event = ask_event(work, result, work->provider->ops->status_event,
			  JOB_NO_ANSWER);
	if (ask_wants_new_token(work, result))
		token_then(work, check_ask);
	else
		check_take(work, &event);
}

void check_ask(struct work *work)
{
	const struct provider_state *provider = work->provider;
	struct http_request request;
	struct fault fault = { "" };
	int r;

	r = provider->ops->status_request(&work->job, &provider->conf,
					  work->arena, &request, &fault);
	if (r == 0)
		r = ask_send(work, &request, false, on_status);
	if (r < 0)
		cannot_ask(work, &fault);
}

/* ---- cancelling ---------------------------------------------------------- */

static void on_cancel(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;
	struct provider_event event;

	ask_answered(work, result);
	event = ask_event(work, result, work->provider->ops->cancel_event,
			  JOB_NO_ANSWER);
	check_take(work, &event);
}

static void cannot_cancel(struct work *work, const char *why)
{
	const struct provider_event event = {
		.kind = JOB_CANCEL_TRIED,
		.progress = -1,
		.error_message = why,
	};

	still_running(work, &event);
}

static void ask_cancel(struct work *work)
{
	const struct provider_state *provider = work->provider;
	struct http_request request;
	struct fault fault = { "" };
	int r;

	if (!provider->ops->cancel_request) {
		cannot_cancel(work, "this provider cannot be asked to stop a "
				    "job; its end is waited for");
		return;
	}
	r = provider->ops->cancel_request(&work->job, &provider->conf,
					  work->arena, &request, &fault);
	if (r == 0)
		r = ask_send(work, &request, false, on_cancel);
	/* Without memory it was not tried, and will be. */
	if (r == -ENOMEM)
		cannot_ask(work, &fault);
	else if (r < 0)
		cannot_cancel(work, fault.text);
}

void check_begin(struct work *work)
{
	if (!work->provider->configured) {
		const struct fault fault = {
			"its credential is not configured any more",
		};

		if (cancel_is_over(work))
			give_up_cancelling(work, work->cancel_tried);
		else
			cannot_ask(work, &fault);
		return;
	}
	work->job.webhook_url =
		start_webhook_url(work, work->job.attempt, work->arena);
	if (work->cancel_requested && !work->cancel_tried)
		token_then(work, ask_cancel);
	else
		token_then(work, check_ask);
}
