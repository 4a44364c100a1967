/* SPDX-License-Identifier: MIT */
#include "common/io/transfer_pool.h"

#include "common/io/log.h"
#include "common/io/store.h"
#include "common/io/thread.h"
#include "common/model/limits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

/*
 * A transfer is handed to a mover by its inbox, and comes back by the pool's
 * outbox, whatever became of it: only the pool's thread frees it. In between
 * it is the mover's, but for "cancelled".
 */

enum {
	MOVERS_MAX = 4,
	/* A mover's lanes (see transfer_job) want room to leave. */
	MOVER_TRANSFERS_LEAST = 4,
	/* A mover that is silent for so long, or twice that, hangs. */
	ASK_EVERY_US = 5 * 1000 * 1000,
	HANGS_LONG = 12, /* asked so often in vain: a minute */
	NO_MEMORY_US = 50 * 1000,
	ARENA_BYTES = 128 * LIMIT_KIB,
};

struct mover;

struct pooled_transfer {
	struct mover *mover;
	struct pooled_transfer *next, *previous;
	struct arena *arena; /* of the job */
	struct http_request request;
	struct transfer_job job;
	char *base64;
	transfer_done_fn *done;
	void *userdata;
	struct transfer *transfer; /* while it runs */
	struct transfer_result result;
	atomic_bool cancelled;
};

struct list {
	struct pooled_transfer *first, *last;
};

struct mover {
	struct transfer_pool *pool;
	struct conf conf; /* with its share of TRANSFERS_MAX */
	sd_event *event;
	struct store *store;
	struct transfers *transfers;
	struct list running; /* its thread's */
	sd_event_source *wake;
	int wake_fd; /* eventfd: look at the inbox, and at who is cancelled */
	pthread_mutex_t lock;
	struct list inbox; /* under the lock */
	pthread_t thread;
	bool started;
	atomic_bool closing;
	atomic_bool asked; /* whether it is alive, and did not answer yet */
	/* the pool's thread's */
	unsigned hangs; /* asked so often in vain */
	size_t count;	/* handed to it and not yet back */
};

struct transfer_pool {
	sd_event_source *source, *timer;
	int done_fd; /* eventfd: something is in the outbox */
	pthread_mutex_t lock;
	struct list outbox;	    /* under the lock */
	atomic_size_t inline_bytes; /* that wait to be decoded */
	size_t mover_count;
	struct mover mover[MOVERS_MAX];
};

static void list_add(struct list *list, struct pooled_transfer *pooled)
{
	pooled->next = NULL;
	pooled->previous = list->last;
	if (list->last)
		list->last->next = pooled;
	else
		list->first = pooled;
	list->last = pooled;
}

static void list_remove(struct list *list, struct pooled_transfer *pooled)
{
	if (pooled->previous)
		pooled->previous->next = pooled->next;
	else
		list->first = pooled->next;
	if (pooled->next)
		pooled->next->previous = pooled->previous;
	else
		list->last = pooled->previous;
}

static struct list take_all(struct list *list, pthread_mutex_t *lock)
{
	struct list all;

	(void)pthread_mutex_lock(lock);
	all = *list;
	*list = (struct list){ NULL, NULL };
	(void)pthread_mutex_unlock(lock);
	return all;
}

static void ring(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void hear(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

static void drop_inline(struct pooled_transfer *pooled)
{
	if (pooled->base64)
		(void)atomic_fetch_sub(&pooled->mover->pool->inline_bytes,
				       pooled->job.base64_bytes);
	free(TAKE_PTR(pooled->base64));
}

static struct pooled_transfer *pooled_free(struct pooled_transfer *pooled)
{
	if (!pooled)
		return NULL;
	drop_inline(pooled);
	(void)arena_free(pooled->arena);
	free(pooled);
	return NULL;
}
DEFINE_CLEANUP(struct pooled_transfer *, pooled_free);

/* ---- on a mover's thread ------------------------------------------------- */

static void give_back(struct pooled_transfer *pooled)
{
	struct transfer_pool *pool = pooled->mover->pool;

	list_remove(&pooled->mover->running, pooled);
	(void)pthread_mutex_lock(&pool->lock);
	list_add(&pool->outbox, pooled);
	(void)pthread_mutex_unlock(&pool->lock);
	ring(pool->done_fd);
}

static void on_transferred(const struct transfer_result *result, void *userdata)
{
	struct pooled_transfer *pooled = userdata;

	pooled->transfer = NULL;
	pooled->result = *result;
	give_back(pooled);
}

static void begin(struct mover *mover, struct pooled_transfer *pooled)
{
	struct transfer_result *result = &pooled->result;
	int r;

	r = transfer_start(mover->transfers, &pooled->job, on_transferred,
			   pooled, &pooled->transfer, &result->fault);
	/* It is in the spool file now, and may be large. */
	drop_inline(pooled);
	if (r >= 0)
		return;
	result->error = r == -EINVAL ? -EACCES : r == -ENOMEM ? r : -EAGAIN;
	result->side = r == -EINVAL ? TRANSFER_SOURCE : TRANSFER_NOWHERE;
	give_back(pooled);
}

/* Those who are cancelled, or all. */
static void abandon(struct mover *mover, bool all)
{
	struct pooled_transfer *next;

	for (struct pooled_transfer *pooled = mover->running.first; pooled;
	     pooled = next) {
		next = pooled->next;
		if (!all && !atomic_load(&pooled->cancelled))
			continue;
		transfer_cancel(TAKE_PTR(pooled->transfer));
		give_back(pooled);
	}
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents,
		   void *userdata)
{
	struct mover *mover = userdata;
	struct pooled_transfer *next;
	struct list inbox;
	bool closing;

	(void)source;
	(void)revents;
	hear(fd);
	atomic_store(&mover->asked, false);
	closing = atomic_load(&mover->closing);
	inbox = take_all(&mover->inbox, &mover->lock);
	for (struct pooled_transfer *pooled = inbox.first; pooled;
	     pooled = next) {
		next = pooled->next;
		list_add(&mover->running, pooled);
		if (!closing && !atomic_load(&pooled->cancelled))
			begin(mover, pooled);
	}
	abandon(mover, closing);
	return closing ? sd_event_exit(mover->event, 0) : 0;
}

/* The loop ends by itself where there is no memory. Nothing is lost by that,
 * and nobody else would go on with what this thread has. */
static void *run_mover(void *userdata)
{
	struct mover *mover = userdata;

	while (sd_event_loop(mover->event) < 0)
		(void)usleep(NO_MEMORY_US);
	return NULL;
}

/* ---- on the pool's thread ------------------------------------------------ */

static int on_done(sd_event_source *source, int fd, uint32_t revents,
		   void *userdata)
{
	struct transfer_pool *pool = userdata;
	struct pooled_transfer *next;
	struct list outbox;

	(void)source;
	(void)revents;
	hear(fd);
	outbox = take_all(&pool->outbox, &pool->lock);
	for (struct pooled_transfer *pooled = outbox.first; pooled;
	     pooled = next) {
		next = pooled->next;
		pooled->mover->count--;
		/* An earlier one's callback may just have cancelled it. */
		if (!atomic_load(&pooled->cancelled))
			pooled->done(&pooled->result, pooled->userdata);
		(void)pooled_free(pooled);
	}
	return 0;
}

/* @return whether it has to be asked again */
static bool ask_mover(struct mover *mover)
{
	bool hangs = atomic_load(&mover->asked);

	if (mover->count == 0 && mover->hangs == 0)
		return false;
	if (hangs && mover->hangs++ == 0)
		log_event(LOG_ERR, LOG_ID_STORE_HANGS, NULL,
			  "the disk of the store or of SPOOL_DIR hangs: %zu "
			  "files wait for it",
			  mover->count);
	if (hangs)
		return true;
	if (mover->hangs > 0)
		log_event(LOG_NOTICE, LOG_ID_STORE_HANGS, NULL,
			  "the disk of the store goes on");
	mover->hangs = 0;
	atomic_store(&mover->asked, true);
	ring(mover->wake_fd);
	return true;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct transfer_pool *pool = userdata;
	bool again = false;

	(void)usec;
	for (size_t i = 0; i < pool->mover_count; i++)
		again |= ask_mover(&pool->mover[i]);
	if (!again)
		return 0;
	(void)sd_event_source_set_time_relative(source, ASK_EVERY_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Somebody has to do something, and is to be asked about it. */
static void watch(struct transfer_pool *pool)
{
	int enabled = SD_EVENT_ON;

	(void)sd_event_source_get_enabled(pool->timer, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	(void)sd_event_source_set_time_relative(pool->timer, ASK_EVERY_US);
	(void)sd_event_source_set_enabled(pool->timer, SD_EVENT_ONESHOT);
}

static int copy_inline(struct pooled_transfer *pooled)
{
	atomic_size_t *waiting = &pooled->mover->pool->inline_bytes;
	size_t bytes = pooled->job.base64_bytes, before = atomic_load(waiting);

	if (before > 0 && before + bytes > LIMIT_INLINE_WAITING_BYTES)
		return -ENOMEM;
	pooled->base64 = malloc(bytes + 1);
	if (!pooled->base64)
		return -ENOMEM;
	(void)atomic_fetch_add(waiting, bytes);
	memcpy(pooled->base64, pooled->job.base64, bytes);
	pooled->job.base64 = pooled->base64;
	return 0;
}

static int copy_job(struct pooled_transfer *pooled,
		    const struct transfer_job *job)
{
	struct http_request *request = &pooled->request;
	struct arena *arena = pooled->arena;

	pooled->job = *job;
	pooled->job.key_prefix = arena_strdup(arena, job->key_prefix);
	if (job->lane)
		pooled->job.lane = arena_strdup(arena, job->lane);
	if (job->request) {
		*request = *job->request;
		request->body = NULL; /* refused anyway if there is one */
		if (request->url)
			request->url = arena_strdup(arena, request->url);
		for (size_t i = 0; i < request->header_count; i++) {
			struct http_header *header = &request->header[i];

			header->name = arena_strdup(arena, header->name);
			header->value = arena_strdup(arena, header->value);
		}
		pooled->job.request = request;
	} else if (job->base64 && copy_inline(pooled) < 0) {
		return -ENOMEM;
	}
	return arena_failed(arena) ? -ENOMEM : 0;
}

static int start_mover(struct mover *mover, struct fault *reterr_fault)
{
	int r = mover->started ? 0
			       : thread_start(&mover->thread, run_mover, mover);

	if (r < 0)
		return fault_set(reterr_fault, -ENOMEM, "no thread: %s",
				 strerror(-r));
	mover->started = true;
	return 0;
}

/* Rather any that is alive than one whose disk hangs; without a thread of its
 * own none is any use. @return NULL if none is */
static struct mover *least_busy(struct transfer_pool *pool,
				struct fault *reterr_fault)
{
	struct mover *least = NULL;

	for (size_t i = 0; i < pool->mover_count; i++) {
		struct mover *mover = &pool->mover[i];

		if (least && (mover->hangs > least->hangs ||
			      (mover->hangs == least->hangs &&
			       mover->count >= least->count)))
			continue; /* the longer it hangs, the later */
		if (start_mover(mover, reterr_fault) == 0)
			least = mover;
	}
	return least;
}

int transfer_pool_start(struct transfer_pool *pool,
			const struct transfer_job *job, transfer_done_fn *done,
			void *userdata, struct pooled_transfer **ret_transfer,
			struct fault *reterr_fault)
{
	_cleanup_(pooled_freep) struct pooled_transfer *pooled =
		calloc(1, sizeof(*pooled));
	struct mover *mover = least_busy(pool, reterr_fault);

	if (!mover)
		return -ENOMEM;
	if (pooled) {
		pooled->mover = mover;
		pooled->arena = arena_new(ARENA_BYTES);
	}
	if (!pooled || !pooled->arena || copy_job(pooled, job) < 0)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	pooled->done = done;
	pooled->userdata = userdata;

	mover->count++;
	watch(pool);
	if (ret_transfer)
		*ret_transfer = pooled;
	(void)pthread_mutex_lock(&mover->lock);
	list_add(&mover->inbox, TAKE_PTR(pooled));
	(void)pthread_mutex_unlock(&mover->lock);
	ring(mover->wake_fd);
	return 0;
}

void transfer_pool_cancel(struct pooled_transfer *transfer)
{
	if (!transfer)
		return;
	atomic_store(&transfer->cancelled, true);
	ring(transfer->mover->wake_fd);
}

bool transfer_pool_hangs(const struct transfer_pool *pool)
{
	for (size_t i = 0; pool && i < pool->mover_count; i++) {
		if (pool->mover[i].hangs >= HANGS_LONG)
			return true;
	}
	return false;
}

/* ---- the whole ----------------------------------------------------------- */

/* Not by one thread alone if there are processors for more, nor by so many
 * that a mover has only few places. */
static size_t movers_for(int64_t transfers_max)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t most = transfers_max / MOVER_TRANSFERS_LEAST;

	if (most > MOVERS_MAX)
		most = MOVERS_MAX;
	if (most > processors)
		most = processors;
	return most > 1 ? (size_t)most : 1;
}

static int mover_open(struct mover *mover, struct transfer_pool *pool,
		      const struct conf *conf, int64_t share,
		      struct fault *reterr_fault)
{
	int r;

	mover->pool = pool;
	mover->conf = *conf;
	mover->conf.transfers_max = share;
	mover->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)pthread_mutex_init(&mover->lock, NULL);
	r = mover->wake_fd < 0 ? -errno : sd_event_new(&mover->event);
	if (r >= 0)
		r = sd_event_add_io(mover->event, &mover->wake, mover->wake_fd,
				    EPOLLIN, on_wake, mover);
	if (r < 0)
		return fault_set(reterr_fault, r, "transfers: %s",
				 strerror(-r));
	r = store_open(mover->event, &mover->conf, &mover->store, reterr_fault);
	if (r < 0)
		return r;
	return transfers_new(mover->event, &mover->conf, mover->store,
			     &mover->transfers, reterr_fault);
}

static void mover_close(struct mover *mover)
{
	if (mover->started) {
		atomic_store(&mover->closing, true);
		ring(mover->wake_fd);
		(void)pthread_join(mover->thread, NULL);
	}
	(void)transfers_free(mover->transfers);
	(void)store_close(mover->store);
	(void)sd_event_source_disable_unref(mover->wake);
	(void)sd_event_unref(mover->event);
	if (mover->wake_fd >= 0)
		(void)close(mover->wake_fd);
	(void)pthread_mutex_destroy(&mover->lock);
}

int transfer_pool_new(sd_event *event, const struct conf *conf,
		      struct transfer_pool **ret, struct fault *reterr_fault)
{
	_cleanup_(transfer_pool_freep) struct transfer_pool *pool =
		calloc(1, sizeof(*pool));
	int64_t movers = (int64_t)movers_for(conf->transfers_max);
	int r;

	if (!pool)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	(void)pthread_mutex_init(&pool->lock, NULL);
	pool->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = pool->done_fd < 0
		    ? -errno
		    : sd_event_add_io(event, &pool->source, pool->done_fd,
				      EPOLLIN, on_done, pool);
	if (r >= 0)
		r = sd_event_add_time(event, &pool->timer, CLOCK_MONOTONIC, 0,
				      ASK_EVERY_US / 5, on_timer, pool);
	if (r >= 0)
		r = sd_event_source_set_enabled(pool->timer, SD_EVENT_OFF);
	if (r < 0)
		return fault_set(reterr_fault, r, "transfers: %s",
				 strerror(-r));
	for (int64_t i = 0; i < movers; i++) {
		int64_t share = (conf->transfers_max + i) / movers;

		r = mover_open(&pool->mover[pool->mover_count++], pool, conf,
			       share, reterr_fault);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(pool);
	return 0;
}

struct transfer_pool *transfer_pool_free(struct transfer_pool *pool)
{
	struct pooled_transfer *next;

	if (!pool)
		return NULL;
	for (size_t i = 0; i < pool->mover_count; i++)
		mover_close(&pool->mover[i]);
	for (struct pooled_transfer *pooled = pool->outbox.first; pooled;
	     pooled = next) {
		next = pooled->next;
		(void)pooled_free(pooled);
	}
	(void)sd_event_source_disable_unref(pool->timer);
	(void)sd_event_source_disable_unref(pool->source);
	if (pool->done_fd >= 0)
		(void)close(pool->done_fd);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
	return NULL;
}
