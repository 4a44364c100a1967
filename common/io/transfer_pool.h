/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_TRANSFER_POOL_H
#define COMMON_IO_TRANSFER_POOL_H

#include "common/io/transfer.h"

/*
 * Transfers on threads of their own, each with a loop and a store: more than
 * one processor can receive, hash, encrypt and write, and a disk that hangs
 * holds up nobody but the files on their way to it. That is logged.
 *
 * All functions are for the thread of the loop, and callbacks come from it.
 */
struct transfer_pool;
struct pooled_transfer;

/**
 * Make it. Threads start when there is something for them to do.
 *
 * @conf  as for transfers_new() and store_open(); must outlive
 *
 * @return 0; -errno as of these two
 */
_must_check_ int transfer_pool_new(sd_event *event, const struct conf *conf,
				   struct transfer_pool **ret,
				   struct fault *reterr_fault);

/* Drops what is under way without calling back, and waits for the threads.
 * Not from a callback. */
struct transfer_pool *transfer_pool_free(struct transfer_pool *pool);
DEFINE_CLEANUP(struct transfer_pool *, transfer_pool_free);

/**
 * Queue a transfer, as by transfer_start(); all of the job is copied. What is
 * wrong with it is said by the callback: a request that makes no sense is
 * refused (-EACCES) on the source's side, and without room in SPOOL_DIR it may
 * be tried again (-EAGAIN) on nobody's.
 *
 * @ret_transfer  for transfer_pool_cancel(); valid until the callback is
 *		  entered. May be NULL
 *
 * @return 0, and the callback will be called; -ENOMEM: no memory, no thread,
 *	   or too much inline media waits already
 */
_must_check_ int transfer_pool_start(struct transfer_pool *pool,
				     const struct transfer_job *job,
				     transfer_done_fn *done, void *userdata,
				     struct pooled_transfer **ret_transfer,
				     struct fault *reterr_fault);

/* Give up on a transfer; its callback is not called. It ends as soon as its
 * thread hears of it. NULL is fine. */
void transfer_pool_cancel(struct pooled_transfer *transfer);

/* Has a thread been waiting for a disk of ours for a minute? NULL: no. */
bool transfer_pool_hangs(const struct transfer_pool *pool);

#endif
