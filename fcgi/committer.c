/* SPDX-License-Identifier: MIT */
#include "fcgi/committer.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/io/wake.h"
#include "common/model/limits.h"
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

/* A request in our hands. */
struct pending {
	struct pending *next;
	struct exchange *exchange; /* whoever takes it, answers; else NULL */
	struct arena *arena;	   /* of the request and what is below */
	const struct request *request;
	struct commit *commit;
	size_t bytes;
	int64_t since_ms;
	unsigned refs; /* under the lock; gone with the last */
};

struct queue {
	struct pending *first;
	struct pending **last;
};

struct committer {
	const struct service *service;
	struct worker committing; /* the thread that commits */
	struct worker answering;  /* the thread that may wait */
	pthread_t commit_thread, answer_thread;
	bool commit_started, answer_started;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t filled, answerable;
	struct queue waiting; /* to be committed */
	struct queue done;    /* to be answered at leisure */
	struct pending *taken[BATCH_REQUESTS_MAX]; /* being committed */
	size_t taken_count;
	size_t requests;
	size_t bytes;
	bool stopping, committing_done;

	_Atomic uint64_t commits, committed, expired;
	_Atomic int64_t busy_since_ms;
	_Atomic bool database_up;
};

/* ---- the queue; all of it under the lock -------------------------------- */

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_add(struct queue *queue, struct pending *pending)
{
	pending->next = NULL;
	*queue->last = pending;
	queue->last = &pending->next;
}

static struct pending *queue_take(struct queue *queue)
{
	struct pending *pending = queue->first;

	if (!pending)
		return NULL;
	queue->first = pending->next;
	if (!queue->first)
		queue->last = &queue->first;
	return pending;
}

static void pending_unref(struct committer *committer, struct pending *pending)
{
	if (--pending->refs > 0)
		return;
	committer->requests--;
	committer->bytes -= pending->bytes;
	(void)arena_free(pending->arena);
	free(pending);
}

/* What a request takes of the ceilings. */
static size_t bytes_of(const struct request *request,
		       const struct commit *commit)
{
	return request->body_bytes + (commit->kind == COMMIT_SUBMIT
					      ? submit_bytes(&commit->submit)
					      : 0);
}

static struct pending *pending_new(struct exchange *exchange,
				   struct commit *commit)
{
	const struct request *request = exchange_request(exchange);
	struct request *copy = arena_alloc(request->arena, sizeof(*copy));
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!copy || !pending) {
		free(pending);
		return NULL;
	}
	/* The exchange may be answered by another thread while this one
	 * still works on the request. */
	*copy = *request;
	pending->exchange = exchange;
	pending->request = copy;
	pending->commit = commit;
	pending->bytes = bytes_of(request, commit);
	pending->since_ms = clock_monotonic_ms();
	pending->refs = 1;
	return pending;
}

int committer_add(struct committer *committer, struct exchange *exchange,
		  struct commit *commit)
{
	struct pending *pending = pending_new(exchange, commit);
	int r = 0;

	if (!pending)
		return -EAGAIN;
	pthread_mutex_lock(&committer->lock);
	if (committer->stopping ||
	    committer->requests >= COMMITTER_REQUESTS_MAX ||
	    pending->bytes > COMMITTER_BYTES_MAX - committer->bytes) {
		free(pending);
		r = -EAGAIN;
	} else {
		pending->arena = exchange_take_arena(exchange);
		committer->requests++;
		committer->bytes += pending->bytes;
		queue_add(&committer->waiting, pending);
		pthread_cond_signal(&committer->filled);
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
	int r;

	if (pending->commit->kind == COMMIT_SUBMIT)
		r = commit_answer_submit(worker, pending->request,
					 pending->commit, ret, &fault);
	else
		r = commit_answer_webhook(pending->request, pending->commit,
					  ret);
	if (r == 0)
		return;
	log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED,
		  &(struct log_context){ .request = pending->request->id },
		  "a committed request could not be answered: %s", fault.text);
	problem_from_failure(r, pending->request, ret);
}

static void answer_later(struct committer *committer, struct pending *pending)
{
	pthread_mutex_lock(&committer->lock);
	pending->refs++;
	queue_add(&committer->done, pending);
	pthread_cond_signal(&committer->answerable);
	pthread_mutex_unlock(&committer->lock);
}

/* Answer from the committing thread, which waits for nobody. */
static void answer_now(struct committer *committer, struct pending *pending)
{
	struct exchange *exchange;
	struct reply reply;

	if (commit_needs_read(pending->commit)) {
		answer_later(committer, pending);
		return;
	}
	make_reply(&committer->committing, pending, &reply);
	if (reply.body_bytes > SHORT_ANSWER_BYTES) {
		commit_detach(pending->commit);
		answer_later(committer, pending);
		return;
	}
	exchange = take_exchange(committer, pending);
	if (exchange)
		exchange_answer(exchange, &reply, false);
}

/* The thread that may wait: for the database, and for clients. */
static void *answer_thread(void *context)
{
	struct committer *committer = context;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		struct pending *pending = queue_take(&committer->done);
		struct exchange *exchange = NULL;
		struct reply reply;

		if (!pending && committer->committing_done)
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
		pending_unref(committer, pending);
	}
	pthread_mutex_unlock(&committer->lock);
	return NULL;
}

/* ---- committing --------------------------------------------------------- */

/* All that wait, up to what one statement should hold; under the lock. */
static void take_batch(struct committer *committer)
{
	size_t bytes = 0;

	committer->taken_count = 0;
	while (committer->waiting.first &&
	       committer->taken_count < BATCH_REQUESTS_MAX) {
		bytes += committer->waiting.first->bytes;
		if (committer->taken_count > 0 && bytes > BATCH_BYTES_MAX)
			break;
		committer->taken[committer->taken_count++] =
			queue_take(&committer->waiting);
	}
}

/* @return whether there is work for the poller */
static bool commit_submits(struct committer *committer, struct arena *arena)
{
	struct submit_item *items[BATCH_REQUESTS_MAX];
	bool wake = false;
	size_t count = 0;

	for (size_t i = 0; i < committer->taken_count; i++) {
		if (committer->taken[i]->commit->kind == COMMIT_SUBMIT)
			items[count++] = &committer->taken[i]->commit->submit;
	}
	if (count == 0)
		return false;
	submit_commit(committer->committing.db, items, count, arena);
	committer->commits++;
	for (size_t i = 0; i < count; i++)
		wake |= items[i]->outcome == SUBMIT_STORED;
	return wake;
}

static bool commit_webhooks(struct committer *committer, struct arena *arena)
{
	struct webhook_item *items[BATCH_REQUESTS_MAX];
	bool wake = false;
	size_t count = 0;

	for (size_t i = 0; i < committer->taken_count; i++) {
		if (committer->taken[i]->commit->kind == COMMIT_WEBHOOK)
			items[count++] = &committer->taken[i]->commit->webhook;
	}
	if (count == 0)
		return false;
	webhook_commit(committer->service->conf, committer->committing.db,
		       items, count, arena);
	committer->commits++;
	for (size_t i = 0; i < count; i++)
		wake |= items[i]->wake;
	return wake;
}

static void answer_kind(struct committer *committer, enum commit_kind kind)
{
	for (size_t i = 0; i < committer->taken_count; i++) {
		if (committer->taken[i]->commit->kind == kind)
			answer_now(committer, committer->taken[i]);
	}
}

static void commit_batch(struct committer *committer)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	bool wake = false;

	/* Without an arena the outcomes stay what they are: away. */
	if (arena)
		wake = commit_submits(committer, arena);
	answer_kind(committer, COMMIT_SUBMIT);
	if (arena)
		wake |= commit_webhooks(committer, arena);
	answer_kind(committer, COMMIT_WEBHOOK);

	if (wake)
		wake_send(committer->service->conf->wake_socket);
	committer->committed += committer->taken_count;
}

/* Said once when the database goes and once when it is back. */
static void note_database(struct committer *committer)
{
	bool up = db_connected(committer->committing.db);

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

static void *commit_thread(void *context)
{
	struct committer *committer = context;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		take_batch(committer);
		if (committer->taken_count == 0 && committer->stopping)
			break;
		if (committer->taken_count == 0) {
			pthread_cond_wait(&committer->filled, &committer->lock);
			continue;
		}
		pthread_mutex_unlock(&committer->lock);
		committer->busy_since_ms = clock_monotonic_ms();
		commit_batch(committer);
		note_database(committer);
		committer->busy_since_ms = 0;
		pthread_mutex_lock(&committer->lock);
		for (size_t i = 0; i < committer->taken_count; i++)
			pending_unref(committer, committer->taken[i]);
		committer->taken_count = 0;
	}
	committer->committing_done = true;
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

/* Under the lock. What waits unsent is not sent any more; of what is being
 * committed nobody knows what becomes. */
static size_t find_expired(struct committer *committer, int64_t now_ms,
			   struct expired *ret)
{
	struct pending **link = &committer->waiting.first;
	size_t count = 0;

	while (*link && count < EXPIRE_AT_ONCE) {
		struct pending *pending = *link;

		if (!is_expired(pending, now_ms)) {
			link = &pending->next;
			continue;
		}
		*link = pending->next;
		if (!*link)
			committer->waiting.last = link;
		ret[count++] = expire(pending);
		pending->refs--; /* the queue's */
	}
	for (size_t i = 0; i < committer->taken_count && count < EXPIRE_AT_ONCE;
	     i++) {
		if (is_expired(committer->taken[i], now_ms))
			ret[count++] = expire(committer->taken[i]);
	}
	for (struct pending *pending = committer->done.first;
	     pending && count < EXPIRE_AT_ONCE; pending = pending->next) {
		if (is_expired(pending, now_ms))
			ret[count++] = expire(pending);
	}
	return count;
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

		pthread_mutex_lock(&committer->lock);
		for (size_t i = 0; i < count; i++)
			pending_unref(committer, expired[i].pending);
		pthread_mutex_unlock(&committer->lock);
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
	int64_t since_ms = committer->busy_since_ms;

	if (since_ms != 0)
		figures.stuck_ms = clock_monotonic_ms() - since_ms;
	pthread_mutex_lock(&committer->lock);
	figures.waiting = committer->requests;
	pthread_mutex_unlock(&committer->lock);
	return figures;
}

/* ---- beginning and end -------------------------------------------------- */

static int start(struct committer *committer, struct fault *reterr_fault)
{
	const char *database_url = committer->service->conf->database_url;
	int r;

	r = db_open(database_url, "rushes-fcgi commit",
		    &committer->committing.db, reterr_fault);
	if (r == 0)
		r = db_open_later(database_url, "rushes-fcgi answer",
				  &committer->answering.db, reterr_fault);
	if (r < 0)
		return r;
	committer->database_up = db_connected(committer->committing.db);

	r = pthread_create(&committer->commit_thread, NULL, commit_thread,
			   committer);
	committer->commit_started = r == 0;
	if (r == 0)
		r = pthread_create(&committer->answer_thread, NULL,
				   answer_thread, committer);
	committer->answer_started = r == 0;
	return r == 0 ? 0
		      : fault_set(reterr_fault, -r, "no thread: %s",
				  strerror(r));
}

int committer_new(const struct service *service, struct committer **ret,
		  struct fault *reterr_fault)
{
	_cleanup_(committer_freep) struct committer *committer =
		calloc(1, sizeof(*committer));
	int r;

	if (!committer)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	committer->service = service;
	committer->committing.service = service;
	committer->answering.service = service;
	queue_init(&committer->waiting);
	queue_init(&committer->done);
	(void)pthread_mutex_init(&committer->lock, NULL);
	(void)pthread_cond_init(&committer->filled, NULL);
	(void)pthread_cond_init(&committer->answerable, NULL);
	r = start(committer, reterr_fault);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(committer);
	return 0;
}

void committer_stop(struct committer *committer)
{
	pthread_mutex_lock(&committer->lock);
	committer->stopping = true;
	if (!committer->commit_started)
		committer->committing_done = true;
	pthread_cond_broadcast(&committer->filled);
	pthread_cond_broadcast(&committer->answerable);
	pthread_mutex_unlock(&committer->lock);
	if (committer->commit_started)
		(void)pthread_join(committer->commit_thread, NULL);
	if (committer->answer_started)
		(void)pthread_join(committer->answer_thread, NULL);
	committer->commit_started = committer->answer_started = false;
}

struct committer *committer_free(struct committer *committer)
{
	if (!committer)
		return NULL;
	committer_stop(committer);
	(void)db_close(committer->committing.db);
	(void)db_close(committer->answering.db);
	(void)pthread_cond_destroy(&committer->filled);
	(void)pthread_cond_destroy(&committer->answerable);
	(void)pthread_mutex_destroy(&committer->lock);
	free(committer);
	return NULL;
}
