/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_H
#define COMMON_IO_STORE_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/conf.h"

#include <systemd/sd-event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where media lives: a folder that nginx serves, or an S3 bucket. Keys are
 * ours: execution/job/attempt/index.ext, relative, of letters, digits and
 * -_.~!$&'()*+,;=:@ in parts that are not empty, "." or "..".
 *
 * Writing is the business of transfer.h.
 */
struct store;
struct store_read;

/**
 * Open the store of STORE_URL.
 *
 * @event  the loop that reads and transfers run on; a reference is taken
 * @conf   must outlive the store
 *
 * @return 0; -ENOENT, -EACCES and the like when the folder cannot be used;
 *	   -EINVAL; -ENOMEM
 */
_must_check_ int store_open(sd_event *event, const struct conf *conf,
			    struct store **ret, struct fault *reterr_fault);

/* Waits for what its threads are doing. After transfers_free(). */
struct store *store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close);

/* The public URL of a key: CDN_BASE_URL/key. @return arena text, or NULL
 * when the arena is full. Needs no open store, so rushes-fcgi can use it. */
char *store_public_url(const struct conf *conf, const char *key,
		       struct arena *arena);

/* Valid during the callback only.
 *	error  0; -ENOENT no such object; -EFBIG; -EACCES; -EAGAIN */
struct store_content {
	int error;
	const void *bytes;
	size_t size;
	struct fault fault;
};

typedef void store_read_fn(const struct store_content *content, void *userdata);

/**
 * Read a whole object into memory, for providers that want bytes.
 *
 * @bytes_max  at most this many; 20 MiB is what $media may have
 * @ret_read   for store_read_cancel(); valid until the callback is entered.
 *	       May be NULL
 *
 * @return 0, and the callback will be called from the loop; -EINVAL for a key
 *	   that is none of ours; -ENOMEM
 */
_must_check_ int store_read(struct store *store, const char *key,
			    size_t bytes_max, store_read_fn *done,
			    void *userdata, struct store_read **ret_read);

void store_read_cancel(struct store_read *read); /* NULL is fine */

/**
 * Remove what writers that were killed left behind (file stores; an S3 store
 * never shows an upload that did not end). Walks the whole folder and blocks:
 * for --cleanup.
 *
 * @older_than_s  leave younger files alone: somebody may be writing them
 *
 * @return 0 and *ret_count files removed; -errno
 */
_must_check_ int store_sweep(struct store *store, int64_t older_than_s,
			     size_t *ret_count, struct fault *reterr_fault);

#endif
