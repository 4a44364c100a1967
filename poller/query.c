/* SPDX-License-Identifier: MIT */
#include "poller/query.h"

#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/backoff.h"
#include "common/model/limits.h"
#include "poller/look.h"
#include "poller/poller.h"

#include <errno.h>

enum {
	AWAY_LEAST_MS = 100,
	AWAY_SPREAD_MS = 600,
	AGAIN_FIRST_MS = 500,
	AGAIN_MOST_MS = 10 * 1000,
};

static void note_lost(struct poller *poller, const struct fault *fault)
{
	poller->database_tries++;
	if (poller->database_lost)
		return;
	poller->database_lost = true;
	log_event(LOG_ERR, LOG_ID_DATABASE_LOST, NULL,
		  "the database is away (%s); %zu jobs stay in hand, trying "
		  "again",
		  fault->text, poller->works.count);
	poller_say(poller);
}

static void note_back(struct poller *poller)
{
	poller->database_tries = 0;
	if (!poller->database_lost)
		return;
	poller->database_lost = false;
	log_event(LOG_NOTICE, LOG_ID_DATABASE_BACK, NULL,
		  "the database is back");
	poller_say(poller);
	look_soon(poller);
}

int query_note(struct poller *poller, int r, const struct fault *fault,
	       bool connected)
{
	switch (r) {
	case -EAGAIN:
		if (!connected)
			note_lost(poller, fault);
		else
			poller->database_tries++;
		return r;
	case -EPROTO:
		poller_fail(poller, fault->text);
		return r;
	case DB_E_DATA:
		log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, NULL,
			  "a statement of ours was refused: %s", fault->text);
		return -EINVAL;
	default:
		if (r < 0)
			log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, NULL, "%s",
				  fault->text);
		else
			note_back(poller);
		return r;
	}
}

int query_run(struct poller *poller, enum db_query which,
	      const char *const *params, PGresult **ret)
{
	struct fault fault = { "" };
	int r;

	workers_wait(poller->aside);
	r = db_run(poller->db, which, params, ret, &fault);
	return query_note(poller, r, &fault, db_connected(poller->db));
}

/* ---- beside the loop ----------------------------------------------------- */

struct query *query_new(struct poller *poller, enum db_query which)
{
	struct arena *arena = arena_new(LIMIT_ARENA_TICK_BYTES);
	struct query *query = arena ? arena_alloc(arena, sizeof(*query)) : NULL;

	if (!query) {
		(void)arena_free(arena);
		return NULL;
	}
	query->poller = poller;
	query->arena = arena;
	query->query = which;
	return query;
}

struct query *query_free(struct query *query)
{
	if (query) {
		(void)db_result_free(query->result);
		(void)arena_free(query->arena);
	}
	return NULL;
}

static struct query *of_task(struct workers_task *task)
{
	return (struct query *)((char *)task - offsetof(struct query, task));
}

static void run(struct workers_task *task)
{
	struct query *query = of_task(task);
	struct db *db = query->poller->db;

	query->r = db_run(db, query->query, query->params, &query->result,
			  &query->fault);
	query->connected = db_connected(db);
}

static void finish(struct workers_task *task)
{
	_cleanup_(query_freep) struct query *query = of_task(task);

	if (!query->poller->closing)
		query->r = query_note(query->poller, query->r, &query->fault,
				      query->connected);
	query->done(query);
}

void query_send(struct query *query, void (*done)(struct query *query))
{
	query->task = (struct workers_task){ .run = run, .done = finish };
	query->done = done;
	workers_run(query->poller->aside, &query->task);
}

int64_t query_again_ms(const struct poller *poller)
{
	if (poller->database_lost)
		return AWAY_LEAST_MS + dice_uint32() % AWAY_SPREAD_MS;
	return backoff_delay_ms(AGAIN_FIRST_MS, AGAIN_MOST_MS,
				poller->database_tries, 0, dice_uint32());
}
