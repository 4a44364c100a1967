/* SPDX-License-Identifier: MIT */
#include "common/flow/webhook_decide.h"

#include "common/flow/advance.h"
#include "common/io/log.h"

#include <string.h>

bool webhook_says_it_lives(const struct provider_event *event)
{
	return event->kind == JOB_RENDERED || event->kind == JOB_PROGRESS ||
	       event->kind == JOB_ACCEPTED || event->kind == JOB_RESULT_READY;
}

static int decide_event(const struct conf *conf,
			const struct webhook_target *target,
			struct webhook_item *item, struct arena *arena,
			struct move *ret, struct fault *reterr_fault)
{
	const struct advance_job job = {
		.id = target->id,
		.execution_id = target->execution_id,
		.ops = item->ops,
		.state = target->state,
		.claim = MOVE_ANY,
		.version = target->version,
		.attempt = target->attempt,
		.max_attempts = target->max_attempts,
		.start_failures = target->start_failures,
		.falters = target->falters,
		.cancel_requested = target->cancel_requested,
		.restart_if_absent = target->restart_if_absent,
		.via = "webhook",
	};
	int r;

	r = advance_event(conf, &job, &item->event, arena, ret, reterr_fault);
	if (r < 0)
		return r;
	if (r > 0)
		return DECIDED_NOTE;
	/* Cancelling was asked for while nobody could cancel: now somebody
	 * can, so the job is due at once. */
	if (ret->becomes == JOB_PROCESSING && ret->was != JOB_PROCESSING)
		ret->saw_cancel = false;
	/* What rendered is known by its id in the job's row and its start's. */
	if (target->state == JOB_PROCESSING && target->known_id &&
	    ret->provider_job_id && !ret->provider_ref &&
	    strcmp(ret->provider_job_id, target->known_id) == 0)
		ret->provider_job_id = NULL;
	item->wake = ret->becomes != target->state;
	ret->delivery_key = item->delivery_key;
	return DECIDED_MOVE;
}

bool webhook_is_hint(const struct webhook_item *item)
{
	return item->hint || item->event.hint ||
	       item->event.kind == JOB_RESULT_READY ||
	       item->event.kind == JOB_NO_ANSWER;
}

/* Does the body speak of the start that this attempt is? Without a token
 * that says so, it has to name it; with one, it must not name another. */
static bool names_the_start(const struct webhook_item *item,
			    const struct webhook_target *target)
{
	if (item->hint)
		return item->attempt != 0;
	if (!item->event.provider_job_id || !target->known_id)
		return item->attempt != 0;
	return strcmp(item->event.provider_job_id, target->known_id) == 0;
}

/* A genuine webhook, sent to the address of another job. */
static void log_wrong_job(const struct webhook_target *target)
{
	log_event(LOG_WARNING, LOG_ID_WEBHOOK_REFUSED,
		  &(struct log_context){
			  .job = target->id,
			  .execution = target->execution_id,
			  .provider = target->provider,
			  .attempt = target->attempt,
		  },
		  "a webhook names another start than its address");
}

static bool may_be_rendering(enum job_state state)
{
	return state == JOB_PROCESSING || state == JOB_START_UNKNOWN;
}

/* It was heard of before, and is over, or the job would not be queued: that it
 * ran is old news. A start taken for lost was not heard of. */
static bool is_outdated(const struct webhook_item *item,
			const struct webhook_target *target)
{
	return target->state == JOB_QUEUED && target->was_accepted &&
	       item->event.kind == JOB_PROGRESS;
}

/* That it runs, of a job that is known to have come so far: of a start whose
 * id is known there is nothing to write, however often it comes. */
static bool is_no_news(const struct webhook_item *item,
		       const struct webhook_target *target)
{
	const struct provider_event *event = &item->event;

	return (event->kind == JOB_PROGRESS || event->kind == JOB_ACCEPTED) &&
	       event->progress < 0 && !event->provider_ref &&
	       event->provider_job_id && target->known_id &&
	       (target->state == JOB_PROCESSING ||
		target->state == JOB_STORING || job_is_terminal(target->state));
}

int webhook_decide(const struct conf *conf, const struct webhook_target *target,
		   struct webhook_item *item, struct arena *arena,
		   struct move *ret, struct fault *reterr_fault)
{
	item->wake = false;
	item->outcome = WEBHOOK_NO_EFFECT;
	if (!target->id || strcmp(target->provider, item->ops->name) != 0) {
		item->outcome = WEBHOOK_JOB_UNKNOWN;
		return DECIDED_OUTCOME;
	}
	if (!names_the_start(item, target)) {
		log_wrong_job(target);
		if (item->attempt == 0)
			item->outcome = WEBHOOK_WRONG_JOB;
		return DECIDED_OUTCOME;
	}
	if (target->repeated || item->attempt > target->attempt)
		return DECIDED_OUTCOME;
	if (item->attempt != 0 && item->attempt < target->attempt)
		return item->hint ? DECIDED_OUTCOME : DECIDED_NOTE;
	if (webhook_is_hint(item))
		return may_be_rendering(target->state) ? DECIDED_POKE
						       : DECIDED_OUTCOME;
	if (is_outdated(item, target))
		return DECIDED_NOTE;
	if (is_no_news(item, target)) {
		if (target->state == JOB_PROCESSING)
			item->outcome = WEBHOOK_TAKEN;
		return DECIDED_OUTCOME;
	}
	return decide_event(conf, target, item, arena, ret, reterr_fault);
}
