/* SPDX-License-Identifier: MIT */
/* One epoll set and a heap of timers. */
#include "tests/simulator/loop.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 64, WAIT_MOST_MS = 60000 };

struct loop_watch {
	int fd;
	loop_fd_fn *fn; /* NULL: removed while its event was on the way */
	void *context;
	struct loop_watch *next_dead;
};

struct loop {
	int epoll_fd;
	bool stopped;
	struct loop_timer **heap;
	size_t count;
	size_t room;
	struct loop_watch *dead; /* freed when no event can name them */
};

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	return loop;
}

static void bury(struct loop *loop)
{
	while (loop->dead) {
		struct loop_watch *watch = loop->dead;

		loop->dead = watch->next_dead;
		free(watch);
	}
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	bury(loop);
	(void)close(loop->epoll_fd);
	free(loop->heap);
	free(loop);
	return NULL;
}

struct loop_watch *loop_add(struct loop *loop, int fd, uint32_t events,
			    loop_fd_fn *fn, void *context)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (!watch)
		return NULL;
	*watch = (struct loop_watch){ .fd = fd, .fn = fn, .context = context };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(watch);
		return NULL;
	}
	return watch;
}

void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fn = NULL;
	watch->next_dead = loop->dead;
	loop->dead = watch;
}

static void put(struct loop *loop, size_t place, struct loop_timer *timer)
{
	loop->heap[place - 1] = timer;
	timer->place = place;
}

/* Move the timer up or down from a free place to where it belongs. */
static void settle(struct loop *loop, size_t place, struct loop_timer *timer)
{
	while (place > 1 && loop->heap[place / 2 - 1]->due_ms > timer->due_ms) {
		put(loop, place, loop->heap[place / 2 - 1]);
		place /= 2;
	}
	for (;;) {
		size_t child = place * 2;

		if (child > loop->count)
			break;
		if (child < loop->count &&
		    loop->heap[child]->due_ms < loop->heap[child - 1]->due_ms)
			child++;
		if (loop->heap[child - 1]->due_ms >= timer->due_ms)
			break;
		put(loop, place, loop->heap[child - 1]);
		place = child;
	}
	put(loop, place, timer);
}

void loop_disarm(struct loop *loop, struct loop_timer *timer)
{
	size_t place = timer->place;
	struct loop_timer *last;

	if (place == 0)
		return;
	timer->place = 0;
	last = loop->heap[--loop->count];
	if (last != timer)
		settle(loop, place, last);
}

void loop_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
	loop_disarm(loop, timer);
	if (loop->count == loop->room) {
		size_t room = loop->room ? 2 * loop->room : 256;
		struct loop_timer **heap = reallocarray(
			loop->heap, room, sizeof(struct loop_timer *));

		/* A test tool: without memory there is no test to save. */
		if (!heap)
			abort();
		loop->heap = heap;
		loop->room = room;
	}
	timer->due_ms = clock_monotonic_ms() + (delay_ms > 0 ? delay_ms : 0);
	loop->count++;
	settle(loop, loop->count, timer);
}

/* @return ms until the next timer, 0 if it is due; -1: there is none */
static int64_t next_timer_ms(const struct loop *loop)
{
	int64_t wait_ms;

	if (loop->count == 0)
		return -1;
	wait_ms = loop->heap[0]->due_ms - clock_monotonic_ms();
	return wait_ms > 0 ? wait_ms : 0;
}

static void run_timers(struct loop *loop)
{
	/* Only those due by now: one that arms itself again must wait. */
	int64_t now_ms = clock_monotonic_ms();

	while (loop->count > 0 && loop->heap[0]->due_ms <= now_ms) {
		struct loop_timer *timer = loop->heap[0];

		loop_disarm(loop, timer);
		timer->fn(timer->context);
	}
}

int loop_run(struct loop *loop, loop_idle_fn *idle, void *context,
	     struct fault *reterr_fault)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	loop->stopped = false;
	while (!loop->stopped) {
		int64_t wait_ms, idle_ms;
		int count;

		/* Timers first, since they give idle() work; and idle() may
		 * arm timers, so the wait is reckoned last. */
		run_timers(loop);
		idle_ms = idle(context);
		wait_ms = next_timer_ms(loop);
		if (idle_ms >= 0 && (wait_ms < 0 || idle_ms < wait_ms))
			wait_ms = idle_ms;
		if (loop->stopped)
			break;
		if (wait_ms > WAIT_MOST_MS)
			wait_ms = WAIT_MOST_MS;
		count = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE,
				   (int)wait_ms);
		if (count < 0 && errno != EINTR)
			return fault_set(reterr_fault, -errno, "epoll_wait: %s",
					 strerror(errno));
		for (int i = 0; i < count; i++) {
			struct loop_watch *watch = events[i].data.ptr;

			if (watch->fn)
				watch->fn(watch->context, events[i].events);
		}
		bury(loop);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}
