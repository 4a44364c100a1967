/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_WORKERS_H
#define COMMON_IO_WORKERS_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <systemd/sd-event.h>

#include <stddef.h>

/*
 * A few threads for what would block an event loop: fsync, rename, libs3, a
 * statement. All functions are for the loop's thread.
 */
struct workers;

/* Embedded in whoever wants work done; must live until done() is called. */
struct workers_task {
	void (*run)(struct workers_task *task);	 /* on some thread */
	void (*done)(struct workers_task *task); /* on the loop, afterwards */
	struct workers_task *next;
};

/* @threads  at most so many; they are started as they are needed.
 *
 * @return 0; -ENOMEM; -errno */
_must_check_ int workers_new(sd_event *event, size_t threads,
			     struct workers **ret, struct fault *reterr_fault);

/* Waits for all work handed in, and calls every done(). */
struct workers *workers_free(struct workers *workers);
DEFINE_CLEANUP(struct workers *, workers_free);

/* Hand in; first come, first served. */
void workers_run(struct workers *workers, struct workers_task *task);

/* Wait until all that was handed in was run; each done() is still to come. */
void workers_wait(struct workers *workers);

/* The same, and call each done(). */
void workers_finish(struct workers *workers);

#endif
