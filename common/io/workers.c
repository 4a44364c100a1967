/* SPDX-License-Identifier: MIT */
#include "common/io/workers.h"

#include "common/io/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

struct queue {
	struct workers_task *first, *last;
	size_t count;
};

struct workers {
	sd_event_source *source;
	int done_fd; /* eventfd: something is in "done" */
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct queue todo, done; /* under the lock */
	size_t running, waiting; /* threads; under the lock */
	bool closing;		 /* under the lock */
	size_t thread_count, threads_most;
	pthread_t threads[THREADS_MAX];
};

static void queue_add(struct queue *queue, struct workers_task *task)
{
	task->next = NULL;
	if (queue->last)
		queue->last->next = task;
	else
		queue->first = task;
	queue->last = task;
	queue->count++;
}

static struct workers_task *queue_take(struct queue *queue)
{
	struct workers_task *task = queue->first;

	if (task) {
		queue->first = task->next;
		if (!queue->first)
			queue->last = NULL;
		queue->count--;
	}
	return task;
}

static void *run_thread(void *userdata)
{
	struct workers *workers = userdata;
	uint64_t one = 1;

	(void)pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct workers_task *task = queue_take(&workers->todo);

		if (!task && workers->closing)
			break;
		if (!task) {
			workers->waiting++;
			(void)pthread_cond_wait(&workers->more, &workers->lock);
			workers->waiting--;
			continue;
		}
		workers->running++;
		(void)pthread_mutex_unlock(&workers->lock);
		task->run(task);
		(void)pthread_mutex_lock(&workers->lock);
		workers->running--;
		queue_add(&workers->done, task);
		if (workers->running == 0 && !workers->todo.first)
			(void)pthread_cond_broadcast(&workers->idle);
		(void)!write(workers->done_fd, &one, sizeof(one));
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static void finish_done(struct workers *workers)
{
	struct workers_task *task;

	for (;;) {
		(void)pthread_mutex_lock(&workers->lock);
		task = queue_take(&workers->done);
		(void)pthread_mutex_unlock(&workers->lock);
		if (!task)
			return;
		task->done(task);
	}
}

static int on_done(sd_event_source *source, int fd, uint32_t revents,
		   void *userdata)
{
	uint64_t count;

	(void)source;
	(void)revents;
	(void)!read(fd, &count, sizeof(count));
	finish_done(userdata);
	return 0;
}

static int add_thread(struct workers *workers)
{
	int r = thread_start(&workers->threads[workers->thread_count],
			     run_thread, workers);

	if (r >= 0)
		workers->thread_count++;
	return r;
}

int workers_new(sd_event *event, size_t threads, struct workers **ret,
		struct fault *reterr_fault)
{
	_cleanup_(workers_freep) struct workers *workers =
		calloc(1, sizeof(*workers));
	int r;

	if (!workers)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for threads");
	(void)pthread_mutex_init(&workers->lock, NULL);
	(void)pthread_cond_init(&workers->more, NULL);
	(void)pthread_cond_init(&workers->idle, NULL);
	workers->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = workers->done_fd < 0 ? -errno : 0;
	if (r >= 0)
		r = sd_event_add_io(event, &workers->source, workers->done_fd,
				    EPOLLIN, on_done, workers);
	workers->threads_most = threads < THREADS_MAX ? threads : THREADS_MAX;
	/* The others come when they are needed; should they not, fewer are
	 * slower, but none would be the end. */
	if (r >= 0)
		r = add_thread(workers);
	if (r < 0)
		return fault_set(reterr_fault, r, "no threads: %s",
				 strerror(-r));
	*ret = TAKE_PTR(workers);
	return 0;
}

struct workers *workers_free(struct workers *workers)
{
	if (!workers)
		return NULL;
	(void)pthread_mutex_lock(&workers->lock);
	workers->closing = true;
	(void)pthread_cond_broadcast(&workers->more);
	(void)pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->thread_count; i++)
		(void)pthread_join(workers->threads[i], NULL);
	finish_done(workers);
	(void)sd_event_source_disable_unref(workers->source);
	if (workers->done_fd >= 0)
		(void)close(workers->done_fd);
	(void)pthread_cond_destroy(&workers->more);
	(void)pthread_cond_destroy(&workers->idle);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
	return NULL;
}

void workers_run(struct workers *workers, struct workers_task *task)
{
	bool busy;

	(void)pthread_mutex_lock(&workers->lock);
	queue_add(&workers->todo, task);
	busy = workers->todo.count > workers->waiting;
	(void)pthread_cond_signal(&workers->more);
	(void)pthread_mutex_unlock(&workers->lock);
	if (busy && workers->thread_count < workers->threads_most)
		(void)add_thread(workers);
}

void workers_wait(struct workers *workers)
{
	(void)pthread_mutex_lock(&workers->lock);
	while (workers->running > 0 || workers->todo.first)
		(void)pthread_cond_wait(&workers->idle, &workers->lock);
	(void)pthread_mutex_unlock(&workers->lock);
}

void workers_finish(struct workers *workers)
{
	workers_wait(workers);
	finish_done(workers);
}
