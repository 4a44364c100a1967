/* SPDX-License-Identifier: MIT */
#include "poller/work.h"

#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/ask.h"
#include "poller/look.h"
#include "poller/outbox.h"
#include "poller/poller.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ODD_EVENT_MS = 30 * 1000,
	START_LOST_MS = 15 * 1000,
};

/* ---- lists --------------------------------------------------------------- */

static size_t bucket_of(const char *id)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *id; id++)
		hash = (hash ^ (uint8_t)*id) * 16777619u;
	return hash % WORKS_BUCKETS;
}

struct work *work_find(struct poller *poller, const char *id)
{
	struct work *work = poller->works.bucket[bucket_of(id)];

	while (work && strcmp(work->job.id, id) != 0)
		work = work->bucket_next;
	return work;
}

bool work_is_decided(const struct work *work)
{
	const struct poller *poller = work->poller;

	return work->queue == &poller->outbox ||
	       work->queue == &poller->writing;
}

static void unhash(struct work *work)
{
	struct work **link =
		&work->poller->works.bucket[bucket_of(work->job.id)];

	if (!work->hashed)
		return;
	while (*link != work)
		link = &(*link)->bucket_next;
	*link = work->bucket_next;
	work->hashed = false;
}

static void link_work(struct work *work)
{
	struct works *works = &work->poller->works;
	struct work **bucket = &works->bucket[bucket_of(work->job.id)];

	work->bucket_next = *bucket;
	*bucket = work;
	work->hashed = true;
	work->next = works->first;
	if (works->first)
		works->first->previous = work;
	works->first = work;
	works->count++;
	works->in_lane[work->provider->index][work->job.state]++;
}

void work_set_state(struct work *work, enum job_state state)
{
	struct works *works = &work->poller->works;

	works->in_lane[work->provider->index][work->job.state]--;
	work->job.state = state;
	works->in_lane[work->provider->index][work->job.state]++;
}

static void count_decided(const struct work *work, int change)
{
	if (work_is_decided(work))
		work->poller->works
			.decided[work->provider->index][work->job.state] +=
			(size_t)change;
}

void work_enqueue(struct work_queue *queue, struct work *work)
{
	work_dequeue(work);
	work->queue = queue;
	work->queue_next = NULL;
	work->queue_previous = queue->last;
	if (queue->last)
		queue->last->queue_next = work;
	else
		queue->first = work;
	queue->last = work;
	queue->count++;
	count_decided(work, 1);
}

void work_dequeue(struct work *work)
{
	struct work_queue *queue = work->queue;

	if (!queue)
		return;
	count_decided(work, -1);
	if (work->queue_previous)
		work->queue_previous->queue_next = work->queue_next;
	else
		queue->first = work->queue_next;
	if (work->queue_next)
		work->queue_next->queue_previous = work->queue_previous;
	else
		queue->last = work->queue_previous;
	queue->count--;
	work->queue = NULL;
}

/* ---- making and freeing -------------------------------------------------- */

static int read_row(struct db_row *row, struct work *work,
		    struct fault *reterr_fault)
{
	const char *id = db_row_text(row, "id");
	const char *provider = db_row_text(row, "provider");
	int r;

	work->job = (struct job){
		.state = job_state_from_name(db_row_text(row, "status")),
		.model = db_row_text(row, "model"),
		.input = db_row_text(row, "input"),
		.provider_job_id = db_row_text_or_null(row, "provider_job_id"),
		.provider_ref = db_row_text_or_null(row, "provider_ref"),
		.attempt = db_row_int32(row, "attempt"),
		.started_unix_ms = db_row_int64(row, "started_unix_ms"),
	};
	work->input = work->job.input;
	work->execution_id = db_row_text(row, "execution_id");
	work->dependency_defaults =
		db_row_text_or_null(row, "dependency_defaults");
	work->media_source = db_row_text_or_null(row, "media_source");
	work->error_code = db_row_text_or_null(row, "error_code");
	work->claim = db_row_int64(row, "claim");
	work->max_attempts = db_row_int32(row, "max_attempts");
	work->poll_attempts = db_row_int32(row, "poll_attempts");
	work->start_failures = db_row_int32(row, "start_failures");
	work->falters = db_row_int32(row, "falters");
	work->store_failures = db_row_int32(row, "store_failures");
	work->cancel_age_ms = db_row_int64(row, "cancel_age_ms");
	work->unknown_age_ms = db_row_int64(row, "unknown_age_ms");
	work->has_references = db_row_bool(row, "has_references");
	work->restart_if_absent = db_row_bool(row, "restart_if_absent");
	work->cancel_requested = db_row_bool(row, "cancel_requested");
	work->cancel_tried = db_row_bool(row, "cancel_tried");
	work->deadline_passed = db_row_bool(row, "deadline_passed");
	work->childless = db_row_bool(row, "childless");
	r = db_row_end(row, reterr_fault);
	if (r < 0)
		return r;

	work->provider = poller_provider(work->poller, provider);
	if (work->job.state == JOB_STATE_NONE || !work->provider ||
	    strlen(id) != UUID_SIZE - 1)
		return fault_set(reterr_fault, -EBADMSG,
				 "a job of an unknown state or provider");
	work->job.provider = work->provider->ops->name;
	memcpy(work->job.id, id, UUID_SIZE);
	return 0;
}

static struct work *work_release(struct work *work)
{
	if (work) {
		(void)arena_free(work->draft);
		(void)arena_free(work->arena);
		free(work);
	}
	return NULL;
}
DEFINE_CLEANUP(struct work *, work_release);

int work_new(struct poller *poller, const PGresult *result, int index,
	     struct work **ret, struct fault *reterr_fault)
{
	_cleanup_(work_releasep) struct work *work = calloc(1, sizeof(*work));
	struct work *older;
	struct db_row row;
	int r;

	if (work)
		work->arena = arena_new(LIMIT_ARENA_EXCHANGE_BYTES);
	if (!work || !work->arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory for a job");
	work->poller = poller;
	row = db_row(result, index, work->arena);
	r = read_row(&row, work, reterr_fault);
	if (r < 0)
		return r;

	older = work_find(poller, work->job.id);
	if (older && (older->on_wire || work_is_decided(older)))
		unhash(older); /* it may bring the id of a paid start */
	else if (older)
		work_free(older);
	link_work(work);
	*ret = TAKE_PTR(work);
	return 0;
}

void work_free(struct work *work)
{
	struct poller *poller = work->poller;
	struct works *works = &poller->works;

	http_exchange_cancel(work->exchange);
	if (work->stop)
		work->stop(work);
	if (work->on_wire)
		work->provider->on_wire--;
	work_dequeue(work);
	unhash(work);
	if (work->previous)
		work->previous->next = work->next;
	else
		works->first = work->next;
	if (work->next)
		work->next->previous = work->previous;
	works->count--;
	works->in_lane[work->provider->index][work->job.state]--;
	(void)work_release(work);
	look_after_work(poller);
}

struct arena *work_draft(struct work *work)
{
	if (!work->draft)
		work->draft = arena_new(LIMIT_ARENA_INLINE_BYTES);
	return work->draft;
}

void work_drop_draft(struct work *work)
{
	work->job.input = work->input;
	work->draft = arena_free(work->draft);
}

/* ---- moves --------------------------------------------------------------- */

struct log_context work_context(const struct work *work)
{
	return (struct log_context){
		.job = work->job.id,
		.execution = work->execution_id,
		.provider = work->job.provider,
		.state = job_state_name(work->job.state),
		.attempt = work->job.attempt,
	};
}

struct advance_job work_advance_job(const struct work *work)
{
	return (struct advance_job){
		.id = work->job.id,
		.execution_id = work->execution_id,
		.ops = work->provider->ops,
		.state = work->job.state,
		.claim = work->claim,
		.version = MOVE_ANY,
		.attempt = work->job.attempt,
		.max_attempts = work->max_attempts,
		.poll_attempts = work->poll_attempts,
		.start_failures = work->start_failures,
		.falters = work->falters,
		.cancel_requested = work->cancel_requested,
		.restart_if_absent = work->restart_if_absent,
		.via = "polling",
	};
}

struct move work_move(const struct work *work, enum job_event event)
{
	struct job_decision decision = { 0 };
	struct move move;
	int r = job_decide(work->job.state, event, &decision);

	assert(r == 0);
	(void)r;
	move = move_init(work->job.id, event, work->job.state, &decision);
	move.execution_id = work->execution_id;
	move.provider = work->job.provider;
	move.claim = work->claim;
	move.saw_cancel = work->cancel_requested;
	move.attempt = work->job.attempt;
	move.childless = work->childless;
	return move;
}

/* A start of which nothing can be said. */
static struct move lose_start(const struct work *work)
{
	struct move move = work_move(work, JOB_START_LOST);

	move.start_outcome = "unknown";
	move.error_code = "start_unconfirmed";
	move.error_message = "nobody knows whether the start was taken";
	move.due_ms = START_LOST_MS;
	return move;
}

bool work_decide(struct work *work, const struct provider_event *event,
		 struct move *ret)
{
	const struct advance_job job = work_advance_job(work);
	const struct log_context context = work_context(work);
	struct fault fault = { "" };
	int r;

	r = advance_event(work->poller->conf, &job, event, work->arena, ret,
			  &fault);
	if (r != 0 && work->job.state == JOB_STARTING) {
		/* It was sent: never back to the queue. */
		*ret = lose_start(work);
		ret->provider_job_id = event->provider_job_id;
		return true;
	}
	if (r != 0) {
		log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, &context,
			  "nothing can be done with \"%s\" now (%s); looking "
			  "again in %d s",
			  job_event_name(event->kind),
			  r < 0 ? fault.text : "not in this state",
			  ODD_EVENT_MS / 1000);
		work_postpone(work, ODD_EVENT_MS, NULL, NULL);
		return false;
	}
	/* Cancelling was asked for while nobody could cancel: now somebody
	 * can, so the job is due at once. */
	if (ret->becomes == JOB_PROCESSING && ret->was != JOB_PROCESSING)
		ret->saw_cancel = false;
	return true;
}

void work_advance(struct work *work, const struct provider_event *event)
{
	struct move move;

	if (work_decide(work, event, &move))
		work_send(work, &move, NULL);
}

static const char *keep(struct arena *arena, const char *text)
{
	return text ? arena_strdup(arena, text) : NULL;
}

void work_send(struct work *work, const struct move *move, work_moved_fn *moved)
{
	struct arena *arena = work->arena;

	work->move = *move;
	work->move.detail = keep(arena, move->detail);
	work->move.provider_job_id = keep(arena, move->provider_job_id);
	work->move.provider_ref = keep(arena, move->provider_ref);
	work->move.output = keep(arena, move->output);
	work->move.media_source = keep(arena, move->media_source);
	work->move.media = keep(arena, move->media);
	work->move.error_code = keep(arena, move->error_code);
	work->move.error_message = keep(arena, move->error_message);
	work->moved = moved;
	if (arena_failed(arena)) {
		const struct log_context context = work_context(work);

		log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, &context,
			  "no memory to write what became of the job; it is "
			  "looked at again when its lease ends");
		work_free(work);
		return;
	}
	outbox_add(work);
}

/* The event that leaves a job in the state it has. */
static enum job_event give_back_event(enum job_state state)
{
	switch (state) {
	case JOB_QUEUED:
		return JOB_UNSENT;
	case JOB_START_UNKNOWN:
	case JOB_PROCESSING:
		return JOB_NO_ANSWER;
	case JOB_STORING:
		return JOB_STORE_AGAIN;
	default:
		return JOB_SETTLED;
	}
}

void work_postpone(struct work *work, int64_t delay_ms, const char *code,
		   const char *message)
{
	struct move move;

	if (work->job.state == JOB_STARTING) {
		move = lose_start(work);
		work_send(work, &move, NULL);
		return;
	}
	move = work_move(work, give_back_event(work->job.state));
	move.quiet = move.becomes == work->job.state;
	move.due_ms = delay_ms;
	move.error_code = code ? code : work->error_code;
	move.error_message = message;
	work_send(work, &move, NULL);
}

struct move work_failure(const struct work *work, enum job_event event,
			 const char *code, const char *message,
			 enum job_billed billed)
{
	struct move move = work_move(work, event);

	move.error_code = code;
	move.error_message = message;
	move.detail = message;
	move.billed = job_billed_name(billed);
	return move;
}

void work_fail(struct work *work, enum job_event event, const char *code,
	       const char *message, enum job_billed billed)
{
	const struct move move =
		work_failure(work, event, code, message, billed);

	work_send(work, &move, NULL);
}
