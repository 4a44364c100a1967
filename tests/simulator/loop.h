/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_LOOP_H
#define TESTS_SIMULATOR_LOOP_H

#include "common/base/fault.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The simulator's only thread: descriptors to watch and timers, in one
 * epoll set. Nothing in the simulator blocks, so nothing needs a lock.
 */
struct loop;

typedef void loop_fd_fn(void *context, uint32_t events);
typedef void loop_timer_fn(void *context);

struct loop_watch; /* one watched descriptor */

/* A timer lives in its owner's struct; a zeroed one is not armed. */
struct loop_timer {
	int64_t due_ms; /* monotonic */
	size_t place;	/* in the heap, from 1; 0: not armed */
	loop_timer_fn *fn;
	void *context;
};

struct loop *loop_new(void); /* NULL without memory or descriptors */
struct loop *loop_free(struct loop *loop);

/* Watch fd for EPOLL* events. @return NULL if that cannot be had */
struct loop_watch *loop_add(struct loop *loop, int fd, uint32_t events,
			    loop_fd_fn *fn, void *context);
void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events);
void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Call fn(context) once, delay_ms from now; an armed timer is moved. */
void loop_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_disarm(struct loop *loop, struct loop_timer *timer);

/* Called before each wait: what it returns bounds the wait, in ms; -1: no
 * bound. libmicrohttpd has work that no descriptor announces. */
typedef int64_t loop_idle_fn(void *context);

/* Run until loop_stop(). @return 0 or -errno */
int loop_run(struct loop *loop, loop_idle_fn *idle, void *context,
	     struct fault *reterr_fault);
void loop_stop(struct loop *loop);

#endif
