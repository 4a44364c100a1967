/* SPDX-License-Identifier: MIT */
#include "common/flow/advance.h"

#include "common/base/dice.h"
#include "common/model/backoff.h"
#include "common/model/json_text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum {
	/* Waits before a start is sent again. */
	START_FIRST_MS = 1000,
	START_MOST_MS = 60 * 1000,
	/* Where nobody is reached: it costs nobody much to try. */
	UNREACHED_MOST_MS = 15 * 1000,
	/* The first look for a start nobody answered. */
	RECONCILE_FIRST_MS = 15 * 1000,
};

static bool from_webhook(const struct advance_job *job)
{
	return job->claim == MOVE_ANY;
}

/* What an event means to a retry that looks for the last start. */
static enum job_event settle_retry(const struct advance_job *job,
				   enum job_event event)
{
	if (!job->restart_if_absent || job->cancel_requested)
		return event;
	if (job->state == JOB_START_UNKNOWN &&
	    (event == JOB_PROVIDER_FAILED || event == JOB_PROVIDER_FALTERED ||
	     event == JOB_PROVIDER_CANCELLED))
		return JOB_ABSENT;
	/* Not the client but we cancelled it, before the retry. */
	if (job->state == JOB_PROCESSING && event == JOB_PROVIDER_CANCELLED)
		return JOB_PROVIDER_FALTERED;
	return event;
}

/* What an event means once its tries are counted. A start that never left is
 * tried until the deadline: names and networks come back. */
static enum job_event settle_tries(const struct conf *conf,
				   const struct advance_job *job,
				   const struct provider_event *what)
{
	enum job_event event = settle_retry(job, what->kind);

	if (event == JOB_NOT_STARTED && !what->unreached &&
	    job->start_failures + 1 > conf->start_retries)
		return JOB_REFUSED;
	if (event == JOB_PROVIDER_FALTERED && job->cancel_requested)
		return JOB_PROVIDER_CANCELLED;
	if (event == JOB_PROVIDER_FALTERED &&
	    job->falters + 1 >= job->max_attempts)
		return JOB_PROVIDER_FAILED;
	return event;
}

/* For job_starts: what became of this paid start, as far as the event says. */
static const char *start_outcome(enum job_event event)
{
	switch (event) {
	case JOB_ACCEPTED:
	case JOB_PROGRESS:
	case JOB_RENDERED:
	case JOB_PROVIDER_FAILED:
	case JOB_PROVIDER_FALTERED:
	case JOB_PROVIDER_CANCELLED:
		return "accepted";
	case JOB_NOT_STARTED:
	case JOB_THROTTLED:
		return "not_started";
	case JOB_REFUSED:
		return "refused";
	case JOB_START_LOST:
		return "unknown";
	default:
		return NULL;
	}
}

static int64_t poll_most_ms(const struct conf *conf,
			    const struct provider_ops *ops)
{
	const struct provider_settings *settings =
		conf_provider(conf, ops->name);

	return settings && settings->poll_most_ms > 0 ? settings->poll_most_ms
						      : ops->poll_most_ms;
}

int64_t advance_poll_delay_ms(const struct conf *conf,
			      const struct provider_ops *ops, int32_t tries,
			      int64_t retry_after_ms)
{
	const struct provider_settings *settings =
		conf_provider(conf, ops->name);
	int64_t first_ms = ops->poll_first_ms;

	if (settings && settings->poll_first_ms > 0)
		first_ms = settings->poll_first_ms;
	return backoff_delay_ms(first_ms, poll_most_ms(conf, ops),
				(uint32_t)tries, retry_after_ms, dice_uint32());
}

int64_t advance_longest_ms(const struct conf *conf,
			   const struct provider_ops *ops, enum job_state state)
{
	return state == JOB_PROCESSING ? poll_most_ms(conf, ops)
				       : START_MOST_MS;
}

/* When a start is sent again. */
static int64_t restart_delay_ms(const struct advance_job *job,
				const struct provider_event *event,
				enum job_event kind)
{
	/* attempt grows with every start, throttled ones too */
	int32_t tries = kind == JOB_PROVIDER_FALTERED ? job->falters
			: kind == JOB_NOT_STARTED && !event->unreached
				? job->start_failures
				: job->attempt;

	return backoff_delay_ms(
		START_FIRST_MS,
		event->unreached ? UNREACHED_MOST_MS : START_MOST_MS,
		(uint32_t)tries, event->retry_after_ms, dice_uint32());
}

/* When a start nobody answered is looked for first. */
static int64_t first_look_ms(int64_t wish_ms)
{
	if (wish_ms <= RECONCILE_FIRST_MS)
		return RECONCILE_FIRST_MS;
	return backoff_delay_ms(RECONCILE_FIRST_MS, RECONCILE_FIRST_MS, 0,
				wish_ms, dice_uint32());
}

/* When to look at the job next, in the state it has now. */
static void plan(const struct conf *conf, const struct advance_job *job,
		 const struct provider_event *event, struct move *move)
{
	int64_t wish_ms = event->retry_after_ms;

	switch (move->becomes) {
	case JOB_QUEUED:
		if (move->event == JOB_NOT_STARTED && !event->unreached)
			move->start_failures = job->start_failures + 1;
		if (move->event == JOB_PROVIDER_FALTERED)
			move->falters = job->falters + 1;
		if (move->event == JOB_ABSENT) {
			move->due_ms = 0;
			break;
		}
		move->due_ms = restart_delay_ms(job, event, move->event);
		break;
	case JOB_PROCESSING:
		move->start_failures = 0;
		if (event->hint)
			move->due_ms = 0;
		else if (job->state != JOB_PROCESSING)
			move->due_ms = advance_poll_delay_ms(conf, job->ops, 0,
							     wish_ms);
		else if (!from_webhook(job)) {
			move->poll_attempts = job->poll_attempts + 1;
			move->due_ms = advance_poll_delay_ms(
				conf, job->ops, job->poll_attempts, wish_ms);
		}
		break;
	case JOB_START_UNKNOWN:
		move->due_ms = event->hint ? 0 : first_look_ms(wish_ms);
		break;
	case JOB_STORING:
		move->start_failures = 0;
		move->due_ms = 0;
		break;
	default:
		break;
	}
}

/* A failure has a code and says whether it cost money. */
static void explain(const struct provider_event *event, struct move *move)
{
	static const struct {
		enum job_event event;
		const char *code;
	} codes[] = {
		{ JOB_REFUSED, "start_refused" },
		{ JOB_PROVIDER_CANCELLED, "provider_cancelled" },
	};

	move->error_code = event->error_code;
	move->error_message = event->error_message;
	move->detail = event->error_message;
	if (!job_is_terminal(move->becomes))
		return;
	move->billed = job_billed_name(event->billed);
	for (size_t i = 0; i < COUNT_OF(codes) && !move->error_code; i++) {
		if (codes[i].event == move->event)
			move->error_code = codes[i].code;
	}
	if (!move->error_code)
		move->error_code = "provider_failed";
	if (!move->error_message)
		move->error_message = move->why;
}

int advance_event(const struct conf *conf, const struct advance_job *job,
		  const struct provider_event *event, struct arena *arena,
		  struct move *ret, struct fault *reterr_fault)
{
	struct job_decision decision;
	struct move move;
	int r;

	r = job_decide(job->state, settle_tries(conf, job, event), &decision);
	if (r != 0)
		return r;

	move = move_init(job->id, settle_tries(conf, job, event), job->state,
			 &decision);
	move.execution_id = job->execution_id;
	move.provider = job->ops->name;
	move.claim = job->claim;
	move.version = job->version;
	move.saw_cancel = job->cancel_requested;
	move.attempt = job->attempt;
	move.provider_job_id = event->provider_job_id;
	move.provider_ref = event->provider_ref;
	move.progress = event->progress;
	move.quiet = move.becomes == job->state;
	if (job->state != JOB_PROCESSING)
		move.start_outcome = start_outcome(event->kind);
	plan(conf, job, event, &move);
	if (move.event == JOB_RENDERED) {
		move.output = event->output;
		move.via = job->via;
		move.media_source = advance_media_source(event, arena);
		if (!move.media_source)
			return fault_set(reterr_fault, -ENOMEM,
					 "arena is full");
	} else {
		explain(event, &move);
	}

	*ret = move;
	return 0;
}

static json_t *media_to_json(const struct provider_media *media, size_t index)
{
	if (!media->url)
		return json_pack("{s:I}", "inline", (json_int_t)index);
	return json_pack("{s:s, s:s*}", "url", media->url, "content_type",
			 media->content_type);
}

const char *advance_media_source(const struct provider_event *event,
				 struct arena *arena)
{
	json_auto_t *array = json_array();

	for (size_t i = 0; i < event->media_count; i++) {
		if (json_array_append_new(
			    array, media_to_json(&event->media[i], i)) < 0)
			return NULL;
	}
	return json_text_write(array, arena);
}
