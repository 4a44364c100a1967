/* SPDX-License-Identifier: MIT */
#include "poller/outbox.h"

#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/look.h"
#include "poller/poller.h"
#include "poller/query.h"
#include "poller/start.h"
#include "poller/work.h"

#include <errno.h>

enum {
	FLUSH_AFTER_MS = 25,
	FLUSH_MOST = 500, /* moves in one statement */
};

/* What PostgreSQL may have refused in a move: text of strangers. Without it
 * the move still says what became of the job. */
static bool strip(struct work *work)
{
	struct move *move = &work->move;

	if (work->stripped)
		return false;
	work->stripped = true;
	move->output = NULL;
	move->provider_ref = NULL;
	move->detail = NULL;
	move->progress = -1;
	if (move->error_message)
		move->error_message =
			"the provider's words could not be stored";
	return true;
}

static void take_bad(struct work *work, const struct move_result *result)
{
	const struct log_context context = work_context(work);

	if (strip(work)) {
		log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, &context,
			  "the database refused what the provider said (%s); "
			  "written again without it",
			  result->fault.text);
		work_enqueue(&work->poller->outbox, work);
		return;
	}
	log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, &context,
		  "the database refused the move \"%s\": %s",
		  job_event_name(work->move.event), result->fault.text);
	work_free(work);
}

static void take_result(struct work *work, const struct move_result *result)
{
	work_moved_fn *moved = work->moved;

	if (result->outcome == MOVE_BAD) {
		take_bad(work, result);
		return;
	}
	if (result->outcome == MOVE_DONE &&
	    work->move.becomes == JOB_COMPLETED &&
	    work->move.was != JOB_COMPLETED)
		work->poller->completed++;
	if (result->outcome == MOVE_DONE && work->move.due_ms >= 0 &&
	    !job_is_terminal(work->move.becomes))
		look_in(work->poller, work->move.due_ms);
	if (result->outcome == MOVE_LOST) {
		const struct log_context context = work_context(work);

		log_event(LOG_DEBUG, LOG_ID_LEASE_LOST, &context,
			  "\"%s\" was not needed any more: the job had moved",
			  job_event_name(work->move.event));
	}
	work->moved = NULL;
	if (moved)
		moved(work, result);
	else
		work_free(work);
}

/* Write the first of the queue. @return moves_apply()'s */
static int write_some(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	struct moves_effect effect = { 0 };
	struct fault fault = { "" };
	struct move_result *results;
	struct work **works;
	struct move *moves;
	size_t count = 0;
	int r;

	if (!arena)
		return -ENOMEM;
	moves = arena_alloc(arena, FLUSH_MOST * sizeof(*moves));
	results = arena_alloc(arena, FLUSH_MOST * sizeof(*results));
	works = arena_alloc(arena, FLUSH_MOST * sizeof(struct work *));
	if (arena_failed(arena))
		return -ENOMEM;
	for (struct work *work = poller->outbox.first;
	     work && count < FLUSH_MOST; work = work->queue_next) {
		works[count] = work;
		moves[count++] = work->move;
	}
	r = moves_apply(poller->db,
			&(const struct move_batch){ moves, count, false },
			arena, results, &effect, &fault);
	r = query_note(poller, r, &fault);
	if (r < 0)
		return r;

	/* Out of the queue first: a callback may queue its work again. */
	for (size_t i = 0; i < count; i++)
		work_dequeue(works[i]);
	for (size_t i = 0; i < count; i++)
		take_result(works[i], &results[i]);
	start_check_late(poller);
	if (effect.unsettled > 0)
		poller->unsettled = true;
	if (effect.released > 0 || effect.unsettled > 0)
		look_soon(poller);
	return 0;
}

void outbox_flush(struct poller *poller)
{
	size_t left = poller->outbox.count;

	poller->outbox_waits = false;
	while (poller->outbox.count > 0) {
		if (write_some(poller) < 0) {
			poller->outbox_waits = true;
			(void)sd_event_source_set_enabled(poller->outbox_idle,
							  SD_EVENT_OFF);
			poller_arm(poller->outbox_timer,
				   query_again_ms(poller));
			return;
		}
		/* What callbacks queue again waits for the next turn. */
		if (left <= FLUSH_MOST)
			break;
		left -= FLUSH_MOST;
	}
	if (poller->outbox.count > 0)
		poller_arm(poller->outbox_timer, 0);
}

static int on_idle(sd_event_source *source, void *userdata)
{
	(void)source;
	outbox_flush(userdata);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	outbox_flush(userdata);
	return 0;
}

void outbox_add(struct work *work)
{
	struct poller *poller = work->poller;
	bool first = poller->outbox.count == 0;

	work_enqueue(&poller->outbox, work);
	if (poller->outbox_waits)
		return;
	(void)sd_event_source_set_enabled(poller->outbox_idle,
					  SD_EVENT_ONESHOT);
	if (first)
		poller_arm(poller->outbox_timer, FLUSH_AFTER_MS);
	else if (poller->outbox.count >= FLUSH_MOST)
		poller_arm(poller->outbox_timer, 0);
}

int outbox_init(struct poller *poller, struct fault *reterr_fault)
{
	int r;

	r = sd_event_add_defer(poller->event, &poller->outbox_idle, on_idle,
			       poller);
	if (r >= 0)
		r = sd_event_source_set_enabled(poller->outbox_idle,
						SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(poller->outbox_idle,
						 SD_EVENT_PRIORITY_IDLE);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event sources");
	r = poller_add_timer(poller, &poller->outbox_timer, on_timer,
			     reterr_fault);
	if (r < 0)
		return r;
	(void)sd_event_source_set_priority(poller->outbox_timer,
					   SD_EVENT_PRIORITY_IMPORTANT);
	return 0;
}

void outbox_done(struct poller *poller)
{
	poller->outbox_idle =
		sd_event_source_disable_unref(poller->outbox_idle);
	poller->outbox_timer =
		sd_event_source_disable_unref(poller->outbox_timer);
}
