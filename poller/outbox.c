/* SPDX-License-Identifier: MIT */
#include "poller/outbox.h"

#include "common/io/log.h"
#include "poller/look.h"
#include "poller/poller.h"
#include "poller/query.h"
#include "poller/start.h"
#include "poller/work.h"
#include "poller/write.h"

#include <errno.h>

enum {
	FLUSH_AFTER_MS = 25,
	/* A batch of so many means that the next ones will come soon. Then
	 * they are worth waiting for: a statement costs as much as twenty
	 * rows, so at most one is written in FLUSH_AFTER_MS. */
	BUSY_LEAST = 8,
	FLUSH_MOST = 512, /* moves in one statement: a lane's */
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

/* They stay. Nobody knows whether they were written: if so, the next time
 * shows them as lost. */
static void wait_for_database(struct write *write)
{
	struct poller *poller = write->poller;

	for (size_t i = 0; i < write->count; i++)
		work_enqueue(&poller->outbox, write->works[i]);
	poller->outbox_waits = true;
	(void)sd_event_source_set_enabled(poller->outbox_idle, SD_EVENT_OFF);
	poller_arm(poller->outbox_timer, query_again_ms(poller));
}

static void arm(struct poller *poller)
{
	if (!poller->outbox_busy)
		(void)sd_event_source_set_enabled(poller->outbox_idle,
						  SD_EVENT_ONESHOT);
	poller_arm(poller->outbox_timer,
		   poller->outbox.count < FLUSH_MOST ? FLUSH_AFTER_MS : 0);
}

static void on_written(struct write *write)
{
	struct poller *poller = write->poller;

	poller->outbox_writing = false;
	poller->outbox_busy = write->count >= BUSY_LEAST;
	if (poller->closing)
		return;
	if (write->r < 0) {
		wait_for_database(write);
		return;
	}
	for (size_t i = 0; i < write->count; i++)
		take_result(write->works[i], &write->results[i]);
	start_check_late(poller);
	if (write->effect.unsettled > 0)
		poller->unsettled = true;
	if (write->effect.released > 0 || write->effect.unsettled > 0)
		look_soon(poller);
	if (poller->outbox.count > 0)
		arm(poller);
}

void outbox_flush(struct poller *poller)
{
	struct write *write;

	poller->outbox_waits = false;
	if (poller->outbox_writing || poller->outbox.count == 0)
		return;
	write = write_new(poller, FLUSH_MOST);
	if (!write) {
		poller_arm(poller->outbox_timer, query_again_ms(poller));
		return;
	}
	while (poller->outbox.first && write->count < write->most)
		write_add(write, poller->outbox.first,
			  &poller->outbox.first->move);
	poller->outbox_writing = true;
	write_send(write, on_written);
}

void outbox_finish(struct poller *poller)
{
	/* What callbacks queue again waits for the next turn. */
	size_t rounds = poller->outbox.count / FLUSH_MOST + 1;

	workers_finish(poller->aside);
	for (; rounds > 0 && poller->outbox.count > 0 && !poller->outbox_waits;
	     rounds--) {
		outbox_flush(poller);
		workers_finish(poller->aside);
	}
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

	work_enqueue(&poller->outbox, work);
	look_when_room(poller);
	if (poller->outbox_waits || poller->outbox_writing)
		return;
	if (poller->outbox.count == 1 || poller->outbox.count == FLUSH_MOST)
		arm(poller);
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
