/* SPDX-License-Identifier: MIT */
#include "poller/write.h"

#include "common/model/limits.h"
#include "poller/poller.h"
#include "poller/query.h"
#include "poller/work.h"

static struct write *of_task(struct workers_task *task)
{
	return (struct write *)((char *)task - offsetof(struct write, task));
}

struct write *write_new(struct poller *poller, size_t most)
{
	struct arena *arena = arena_new(LIMIT_ARENA_TICK_BYTES);
	struct write *write = arena ? arena_alloc(arena, sizeof(*write)) : NULL;

	if (!write) {
		(void)arena_free(arena);
		return NULL;
	}
	*write = (struct write){
		.poller = poller,
		.arena = arena,
		.works = arena_alloc(arena, most * sizeof(struct work *)),
		.moves = arena_alloc(arena, most * sizeof(struct move)),
		.results =
			arena_alloc(arena, most * sizeof(struct move_result)),
		.most = most,
	};
	if (arena_failed(arena)) {
		(void)arena_free(arena);
		return NULL;
	}
	return write;
}

void write_add(struct write *write, struct work *work, const struct move *move)
{
	work_enqueue(&write->poller->writing, work);
	write->works[write->count] = work;
	write->moves[write->count++] = *move;
}

static void run(struct workers_task *task)
{
	struct write *write = of_task(task);
	struct db *db = write->poller->db;

	write->r = moves_apply(
		db,
		&(const struct move_batch){ write->moves, write->count, false },
		write->arena, write->results, &write->effect, &write->fault);
	write->connected = db_connected(db);
}

static void finish(struct workers_task *task)
{
	struct write *write = of_task(task);

	if (!write->poller->closing)
		write->r = query_note(write->poller, write->r, &write->fault,
				      write->connected);
	/* Out of the queue first: who comes next may queue them again. */
	for (size_t i = 0; i < write->count; i++)
		work_dequeue(write->works[i]);
	write->done(write);
	(void)arena_free(write->arena);
}

void write_send(struct write *write, void (*done)(struct write *write))
{
	write->task = (struct workers_task){ .run = run, .done = finish };
	write->done = done;
	workers_run(write->poller->aside, &write->task);
}
