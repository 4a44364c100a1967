/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_WORKER_H
#define COMMON_IO_STORE_WORKER_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <systemd/sd-event.h>

#include <stddef.h>

/*
 * A few threads for what would block the event loop: fsync, rename, libs3.
 * Private to the stores.
 */
struct store_workers;

/* Embedded in whoever wants work done; must live until done() is called. */
struct store_work {
	void (*run)(struct store_work *work);  /* on some thread */
	void (*done)(struct store_work *work); /* on the loop, afterwards */
	struct store_work *next;
};

_must_check_ int store_workers_new(sd_event *event, size_t threads,
				   struct store_workers **ret,
				   struct fault *reterr_fault);

/* Waits for all work handed in, and calls every done(). */
struct store_workers *store_workers_free(struct store_workers *workers);
DEFINE_CLEANUP(struct store_workers *, store_workers_free);

/* Hand in; first come, first served. */
void store_workers_run(struct store_workers *workers, struct store_work *work);

#endif
