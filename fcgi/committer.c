/* SPDX-License-Identifier: MIT */
#include "fcgi/committer.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/io/wake.h"
#include "common/model/limits.h"
#include "fcgi/pending.h"
#include "fcgi/problem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	BATCH_REQUESTS_MAX = 512,
	BATCH_BYTES_MAX = 16 * 1024 * 1024,
	/* Longer answers are written by the thread that may wait. Far below
	 * what a socket's buffer takes at once. */
	SHORT_ANSWER_BYTES = 32 * 1024,
};

/*
 * Who serves what. One thread a kind that writes, so that a batch is all that
 * waits: two would share it, and wait for the disk one after the other. What
 * is read is in memory: there a second one goes on while the first waits for
 * the database.
 */
static const enum commit_kind serves[] = {
	COMMIT_SUBMIT,
	COMMIT_WEBHOOK,
	COMMIT_READ_JOB,
	COMMIT_READ_JOB,
};
enum { BATCHERS = COUNT_OF(serves) };

/* Requests that wait for one kind of statement. */
struct line {
	struct pending_queue waiting;
	pthread_cond_t filled;
};

/* A thread that takes all that wait in a line and serves them together. */
struct batcher {
	struct committer *committer;
	enum commit_kind kind;
	struct worker worker;
	pthread_t thread;
	bool started;
	_Atomic int64_t busy_since_ms; /* 0: waiting */
	/* under the lock */
	struct pending *taken[BATCH_REQUESTS_MAX];
	size_t taken_count;
};

struct committer {
	const struct service *service;
	struct batcher batcher[BATCHERS];
	struct worker answering; /* the thread that may wait */
	pthread_t answer_thread;
	bool answer_started;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t answerable;
	struct line line[COMMIT_KINDS];
	struct pending_queue done; /* to be answered at leisure */
	size_t requests;
	size_t bytes;
	size_t batchers_running;
	bool stopping;

	_Atomic uint64_t commits, committed, expired;
	_Atomic bool database_up;
};

/* ---- the queue; all of it under the lock -------------------------------- */

/* NULL is fine. @return what is to be freed, without the lock: others want it
 * meanwhile */
_must_check_ static struct pending *pending_unref(struct committer *committer,
						  struct pending *pending)
{
	if (!pending || --pending->refs > 0)
		return NULL;
	committer->requests--;
	committer->bytes -= pending->bytes;
	return pending;
}

int committer_add(struct committer *committer, struct exchange *exchange,
		  struct commit *commit)
{
	struct pending *pending = pending_new(exchange, commit);
	struct line *line;
	int r = 0;

	if (!pending)
		return -EAGAIN;
	pthread_mutex_lock(&committer->lock);
	if (committer->stopping ||
	    committer->requests >= COMMITTER_REQUESTS_MAX ||
	    committer->bytes >= COMMITTER_BYTES_MAX) {
		(void)pending_free(pending);
		r = -EAGAIN;
	} else {
		pending->arena = exchange_take_arena(exchange);
		committer->requests++;
		committer->bytes += pending->bytes;
		line = &committer->line[commit->kind];
		pending_queue_add(&line->waiting, pending);
		pthread_cond_signal(&line->filled);
	}
	pthread_mutex_unlock(&committer->lock);
	return r;
}

/* The right to answer; NULL if somebody else had it. */
static struct exchange *take_exchange(struct committer *committer,
				      struct pending *pending)
{
	struct exchange *exchange;

	pthread_mutex_lock(&committer->lock);
	exchange = TAKE_PTR(pending->exchange);
	pthread_mutex_unlock(&committer->lock);
	return exchange;
}

/* ---- answering ---------------------------------------------------------- */

static void make_reply(struct worker *worker, const struct pending *pending,
		       struct reply *ret)
{
	struct fault fault = { "" };
	int r = 0;

	switch (pending->commit->kind) {
	case COMMIT_SUBMIT:
		r = commit_answer_submit(worker, pending->request,
					 pending->commit, ret, &fault);
		break;
	case COMMIT_WEBHOOK:
		r = commit_answer_webhook(pending->request, pending->commit,
					  ret);
		break;
	case COMMIT_READ_JOB:
		r = commit_answer_read_job(worker, pending->request,
					   pending->commit, ret, &fault);
		break;
	}
	if (r == 0)
		return;
	log_event(r == -EAGAIN ? LOG_DEBUG : LOG_WARNING, LOG_ID_REQUEST_FAILED,
		  &(struct log_context){ .request = pending->request->id },
		  "a request could not be answered: %s", fault.text);
	problem_from_failure(r, pending->request, ret);
}

/* Gives the right to answer back. */
static void answer_later(struct committer *committer, struct pending *pending,
			 struct exchange *exchange)
{
	pthread_mutex_lock(&committer->lock);
	pending->exchange = exchange;
	pending->refs++;
	pending_queue_add(&committer->done, pending);
	pthread_cond_signal(&committer->answerable);
	pthread_mutex_unlock(&committer->lock);
}

/* Answer from a thread that many wait for, and which waits for nobody. */
static void answer_now(struct batcher *batcher, struct pending *pending,
		       struct exchange *exchange)
{
	struct committer *committer = batcher->committer;
	struct reply reply;

	if (commit_needs_read(pending->commit)) {
		answer_later(committer, pending, exchange);
		return;
	}
	make_reply(&batcher->worker, pending, &reply);
	if (reply.body_bytes > SHORT_ANSWER_BYTES) {
		commit_detach(pending->commit);
		answer_later(committer, pending, exchange);
		return;
	}
	exchange_answer(exchange, &reply, false);
}

/* The right to answer of all of them is taken at once. */
static void answer_batch(struct batcher *batcher)
{
	struct exchange *exchange[BATCH_REQUESTS_MAX];
	const size_t count = batcher->taken_count;

	pthread_mutex_lock(&batcher->committer->lock);
	for (size_t i = 0; i < count; i++)
		exchange[i] = TAKE_PTR(batcher->taken[i]->exchange);
	pthread_mutex_unlock(&batcher->committer->lock);
	for (size_t i = 0; i < count; i++) {
		if (exchange[i])
			answer_now(batcher, batcher->taken[i], exchange[i]);
	}
}

/* The thread that may wait: for the database, and for clients. */
static void *answer_thread(void *context)
{
	struct committer *committer = context;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		struct pending *pending = pending_queue_take(&committer->done);
		struct exchange *exchange = NULL;
		struct reply reply;

		if (!pending && committer->batchers_running == 0)
			break;
		if (!pending) {
			pthread_cond_wait(&committer->answerable,
					  &committer->lock);
			continue;
		}
		if (pending->exchange) {
			pthread_mutex_unlock(&committer->lock);
			make_reply(&committer->answering, pending, &reply);
			exchange = take_exchange(committer, pending);
			if (exchange)
				exchange_answer(exchange, &reply, true);
			pthread_mutex_lock(&committer->lock);
		}
		pending = pending_unref(committer, pending);
		pthread_mutex_unlock(&committer->lock);
		(void)pending_free(pending);
		pthread_mutex_lock(&committer->lock);
	}
	pthread_mutex_unlock(&committer->lock);
	return NULL;
}

/* ---- batches ------------------------------------------------------------ */

static struct line *line_of(struct batcher *batcher)
{
	return &batcher->committer->line[batcher->kind];
}

/* All that wait, up to what one statement should hold; under the lock. */
static void take_batch(struct batcher *batcher)
{
	struct pending_queue *waiting = &line_of(batcher)->waiting;
	size_t bytes = 0;

	batcher->taken_count = 0;
	while (waiting->first && batcher->taken_count < BATCH_REQUESTS_MAX) {
		bytes += waiting->first->bytes;
		if (batcher->taken_count > 0 && bytes > BATCH_BYTES_MAX)
			break;
		batcher->taken[batcher->taken_count++] =
			pending_queue_take(waiting);
	}
}

static void wake_poller(const struct batcher *batcher)
{
	wake_send(batcher->committer->service->conf->wake_socket);
}

static void commit_submits(struct batcher *batcher, struct arena *arena)
{
	struct submit_item *items[BATCH_REQUESTS_MAX] = { NULL };
	size_t count = batcher->taken_count;
	bool wake = false;

	for (size_t i = 0; i < count; i++)
		items[i] = &batcher->taken[i]->commit->submit;
	submit_commit(batcher->worker.db, items, count, arena);
	for (size_t i = 0; i < count; i++)
		wake |= items[i]->outcome == SUBMIT_STORED;
	if (wake)
		wake_poller(batcher);
}

static void commit_webhooks(struct batcher *batcher, struct arena *arena)
{
	struct webhook_item *items[BATCH_REQUESTS_MAX] = { NULL };
	size_t count = batcher->taken_count;
	bool wake = false;

	for (size_t i = 0; i < count; i++)
		items[i] = &batcher->taken[i]->commit->webhook;
	webhook_commit(batcher->committer->service->conf, batcher->worker.db,
		       items, count, arena);
	for (size_t i = 0; i < count; i++)
		wake |= items[i]->wake;
	if (wake)
		wake_poller(batcher);
}

static void read_jobs(struct batcher *batcher, struct arena *arena,
		      PGresult **ret_rows)
{
	struct read_job *items[BATCH_REQUESTS_MAX] = { NULL };

	for (size_t i = 0; i < batcher->taken_count; i++)
		items[i] = &batcher->taken[i]->commit->read_job;
	commit_read_jobs(&batcher->worker, items, batcher->taken_count, arena,
			 ret_rows);
}

static void serve_batch(struct batcher *batcher)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	_cleanup_(db_result_freep) PGresult *rows = NULL;

	/* Without an arena the outcomes stay what they are: away. */
	if (arena) {
		switch (batcher->kind) {
		case COMMIT_SUBMIT:
			commit_submits(batcher, arena);
			break;
		case COMMIT_WEBHOOK:
			commit_webhooks(batcher, arena);
			break;
		case COMMIT_READ_JOB:
			read_jobs(batcher, arena, &rows);
			break;
		}
	}
	answer_batch(batcher);
}

/* Said once when the database goes and once when it is back. */
static void note_database(struct batcher *batcher)
{
	struct committer *committer = batcher->committer;
	bool up = db_connected(batcher->worker.db);

	if (up == committer->database_up)
		return;
	committer->database_up = up;
	if (up)
		log_event(LOG_NOTICE, LOG_ID_DATABASE_BACK, NULL,
			  "the database is back");
	else
		log_event(LOG_ERR, LOG_ID_DATABASE_LOST, NULL,
			  "the database is away: requests that write are "
			  "answered 503 until it is back");
}

static bool writes(const struct batcher *batcher)
{
	return batcher->kind != COMMIT_READ_JOB;
}

static void count_batch(struct batcher *batcher)
{
	if (!writes(batcher))
		return;
	batcher->committer->commits++;
	batcher->committer->committed += batcher->taken_count;
	note_database(batcher);
}

static void release_batch(struct batcher *batcher)
{
	struct committer *committer = batcher->committer;
	size_t count;

	pthread_mutex_lock(&committer->lock);
	count = batcher->taken_count;
	batcher->taken_count = 0;
	for (size_t i = 0; i < count; i++)
		batcher->taken[i] = pending_unref(committer, batcher->taken[i]);
	pthread_mutex_unlock(&committer->lock);
	for (size_t i = 0; i < count; i++)
		(void)pending_free(batcher->taken[i]);
}

static void *batch_thread(void *context)
{
	struct batcher *batcher = context;
	struct committer *committer = batcher->committer;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		take_batch(batcher);
		if (batcher->taken_count == 0 && committer->stopping)
			break;
		if (batcher->taken_count == 0) {
			pthread_cond_wait(&line_of(batcher)->filled,
					  &committer->lock);
			continue;
		}
		pthread_mutex_unlock(&committer->lock);
		batcher->busy_since_ms = clock_monotonic_ms();
		serve_batch(batcher);
		count_batch(batcher);
		batcher->busy_since_ms = 0;
		release_batch(batcher);
		pthread_mutex_lock(&committer->lock);
	}
	committer->batchers_running--;
	pthread_cond_broadcast(&committer->answerable);
	pthread_mutex_unlock(&committer->lock);
	return NULL;
}

/* ---- what waits too long ------------------------------------------------ */

enum { EXPIRE_AT_ONCE = 64 };

struct expired {
	struct pending *pending;
	struct exchange *exchange;
};

static bool is_expired(const struct pending *pending, int64_t now_ms)
{
	return pending->exchange &&
	       now_ms - pending->since_ms > COMMITTER_WAIT_MS;
}

static struct expired expire(struct pending *pending)
{
	pending->refs++;
	return (struct expired){ pending, TAKE_PTR(pending->exchange) };
}

/* What find_expired() has found so far. */
struct expiring {
	int64_t now_ms;
	struct expired *found;
	size_t count;
};

static void expire_if_old(struct expiring *expiring, struct pending *pending)
{
	if (expiring->count < EXPIRE_AT_ONCE &&
	    is_expired(pending, expiring->now_ms))
		expiring->found[expiring->count++] = expire(pending);
}

/* What waits unsent is not sent any more. */
static void expire_waiting(struct expiring *expiring,
			   struct pending_queue *waiting)
{
	struct pending **link = &waiting->first;

	while (*link && expiring->count < EXPIRE_AT_ONCE) {
		struct pending *pending = *link;

		if (!is_expired(pending, expiring->now_ms)) {
			link = &pending->next;
			continue;
		}
		*link = pending->next;
		if (!*link)
			waiting->last = link;
		expire_if_old(expiring, pending);
		pending->refs--; /* the queue's */
	}
}

/* Under the lock. Of what is being committed nobody knows what becomes. */
static size_t find_expired(struct committer *committer, int64_t now_ms,
			   struct expired *ret)
{
	struct expiring expiring = { .now_ms = now_ms, .found = ret };

	for (size_t i = 0; i < COMMIT_KINDS; i++)
		expire_waiting(&expiring, &committer->line[i].waiting);
	for (size_t b = 0; b < BATCHERS; b++) {
		const struct batcher *batcher = &committer->batcher[b];

		for (size_t i = 0; i < batcher->taken_count; i++)
			expire_if_old(&expiring, batcher->taken[i]);
	}
	for (struct pending *pending = committer->done.first; pending;
	     pending = pending->next)
		expire_if_old(&expiring, pending);
	return expiring.count;
}

static void answer_expired(const struct expired *expired)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_KIB * 8);
	struct request request = *expired->pending->request;
	struct reply reply = { .status = 503 };

	/* Its own arena may be in use by the thread that commits. */
	request.arena = arena;
	if (arena)
		(void)refuse_for_now(&request, &reply, "too_slow",
				     "The database did not answer in time; "
				     "whether the request took effect is not "
				     "known.");
	exchange_answer(expired->exchange, &reply, false);
}

static void release_expired(struct committer *committer,
			    struct expired *expired, size_t count)
{
	pthread_mutex_lock(&committer->lock);
	for (size_t i = 0; i < count; i++)
		expired[i].pending =
			pending_unref(committer, expired[i].pending);
	pthread_mutex_unlock(&committer->lock);
	for (size_t i = 0; i < count; i++)
		(void)pending_free(expired[i].pending);
}

void committer_tick(struct committer *committer)
{
	struct expired expired[EXPIRE_AT_ONCE];
	size_t count;

	do {
		pthread_mutex_lock(&committer->lock);
		count = find_expired(committer, clock_monotonic_ms(), expired);
		pthread_mutex_unlock(&committer->lock);
		for (size_t i = 0; i < count; i++)
			answer_expired(&expired[i]);
		committer->expired += count;

		release_expired(committer, expired, count);
	} while (count == EXPIRE_AT_ONCE);
}

struct committer_figures committer_figures(struct committer *committer)
{
	struct committer_figures figures = {
		.commits = committer->commits,
		.committed = committer->committed,
		.expired = committer->expired,
		.database_up = committer->database_up,
	};
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < BATCHERS; i++) {
		int64_t since_ms = committer->batcher[i].busy_since_ms;

		if (since_ms != 0 && now_ms - since_ms > figures.stuck_ms)
			figures.stuck_ms = now_ms - since_ms;
	}
	pthread_mutex_lock(&committer->lock);
	figures.waiting = committer->requests;
	pthread_mutex_unlock(&committer->lock);
	return figures;
}

/* ---- beginning and end -------------------------------------------------- */

static int start_batcher(struct batcher *batcher, struct fault *reterr_fault)
{
	struct committer *committer = batcher->committer;
	const char *database_url = committer->service->conf->database_url;
	int r;

	if (writes(batcher))
		r = db_open(database_url, "rushes-fcgi commit",
			    &batcher->worker.db, reterr_fault);
	else
		r = db_open_later(database_url, "rushes-fcgi read",
				  &batcher->worker.db, reterr_fault);
	if (r < 0)
		return r;
	if (writes(batcher))
		committer->database_up = db_connected(batcher->worker.db);
	r = pthread_create(&batcher->thread, NULL, batch_thread, batcher);
	if (r != 0)
		return fault_set(reterr_fault, -r, "no thread: %s",
				 strerror(r));
	batcher->started = true;
	pthread_mutex_lock(&committer->lock);
	committer->batchers_running++;
	pthread_mutex_unlock(&committer->lock);
	return 0;
}

static int start_answering(struct committer *committer,
			   struct fault *reterr_fault)
{
	int r;

	r = db_open_later(committer->service->conf->database_url,
			  "rushes-fcgi answer", &committer->answering.db,
			  reterr_fault);
	if (r < 0)
		return r;
	r = pthread_create(&committer->answer_thread, NULL, answer_thread,
			   committer);
	committer->answer_started = r == 0;
	return r == 0 ? 0
		      : fault_set(reterr_fault, -r, "no thread: %s",
				  strerror(r));
}

static void line_init(struct line *line)
{
	pending_queue_init(&line->waiting);
	(void)pthread_cond_init(&line->filled, NULL);
}

int committer_new(const struct service *service, struct committer **ret,
		  struct fault *reterr_fault)
{
	_cleanup_(committer_freep) struct committer *committer =
		calloc(1, sizeof(*committer));
	int r = 0;

	if (!committer)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	committer->service = service;
	committer->answering.service = service;
	for (size_t i = 0; i < COMMIT_KINDS; i++)
		line_init(&committer->line[i]);
	pending_queue_init(&committer->done);
	(void)pthread_mutex_init(&committer->lock, NULL);
	(void)pthread_cond_init(&committer->answerable, NULL);
	for (size_t i = 0; i < BATCHERS && r == 0; i++) {
		struct batcher *batcher = &committer->batcher[i];

		batcher->committer = committer;
		batcher->worker.service = service;
		batcher->kind = serves[i];
		r = start_batcher(batcher, reterr_fault);
	}
	if (r == 0)
		r = start_answering(committer, reterr_fault);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(committer);
	return 0;
}

void committer_stop(struct committer *committer)
{
	pthread_mutex_lock(&committer->lock);
	committer->stopping = true;
	for (size_t i = 0; i < COMMIT_KINDS; i++)
		pthread_cond_broadcast(&committer->line[i].filled);
	pthread_cond_broadcast(&committer->answerable);
	pthread_mutex_unlock(&committer->lock);
	for (size_t i = 0; i < BATCHERS; i++) {
		if (committer->batcher[i].started)
			(void)pthread_join(committer->batcher[i].thread, NULL);
		committer->batcher[i].started = false;
	}
	if (committer->answer_started)
		(void)pthread_join(committer->answer_thread, NULL);
	committer->answer_started = false;
}

struct committer *committer_free(struct committer *committer)
{
	if (!committer)
		return NULL;
	committer_stop(committer);
	for (size_t i = 0; i < BATCHERS; i++)
		(void)db_close(committer->batcher[i].worker.db);
	(void)db_close(committer->answering.db);
	for (size_t i = 0; i < COMMIT_KINDS; i++)
		(void)pthread_cond_destroy(&committer->line[i].filled);
	(void)pthread_cond_destroy(&committer->answerable);
	(void)pthread_mutex_destroy(&committer->lock);
	free(committer);
	return NULL;
}
