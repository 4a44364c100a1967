/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_PUT_H
#define COMMON_IO_STORE_PUT_H

#include "common/io/store.h"
#include "common/io/workers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What is inside a store, for the stores themselves and for transfer.c.
 */

/* What a store must know before the first byte. */
enum store_needs {
	STORE_NEEDS_NOTHING = 0, /* takes bytes as they come */
	STORE_NEEDS_BYTES,	 /* takes them as they come, but counted */
	STORE_NEEDS_SPOOL,	 /* wants a file that is complete */
};

/* An object about to be written. */
struct store_object {
	const char *key;
	const char *content_type; /* static storage */
	int64_t bytes;		  /* -1: not known */
	int spool_fd;	    /* the whole content from offset 0; -1: it comes by
			       store_put_write(). May be closed after the put
			       was cancelled or is done */
	const char *sha256; /* hex; NULL while it comes by store_put_write() */
};

/* An object on its way. Stores put this at the start of their own struct. */
struct store_put {
	struct store *store;
	const struct store_put_events *events;
	void *userdata;
};

/* Both are called from the loop, never from within a store_put function. */
struct store_put_events {
	/* There may be room again, after store_put_write() had none. */
	void (*ready)(void *userdata);

	/* It is over, and the put is gone. May come before the last byte if
	 * the store has failed. error 0 means: durably published. */
	void (*done)(int error, const struct fault *fault, void *userdata);
};

struct store_ops {
	enum store_needs (*needs)(const struct store *store);
	int (*open)(struct store *store, struct fault *reterr_fault);
	void (*close)(struct store *store);
	int (*put_start)(struct store *store, const struct store_object *object,
			 const struct store_put_events *events, void *userdata,
			 struct store_put **ret, struct fault *reterr_fault);
	int (*put_write)(struct store_put *put, const void *bytes, size_t size,
			 struct fault *reterr_fault);
	void (*put_finish)(struct store_put *put);
	void (*put_cancel)(struct store_put *put);
	int (*read)(struct store *store, const char *key, size_t bytes_max,
		    store_read_fn *done, void *userdata,
		    struct store_read **ret);
	void (*read_cancel)(struct store_read *read);
	int (*sweep)(struct store *store, int64_t older_than_s,
		     size_t *ret_count, struct fault *reterr_fault);
};

struct store {
	const struct store_ops *ops;
	sd_event *event;
	const struct conf *conf;
	struct workers *workers;
	void *state; /* the store's own */
};

/* Stores put this at the start of their own struct. */
struct store_read {
	struct store *store;
	store_read_fn *done;
	void *userdata;
	bool cancelled;
};

extern const struct store_ops store_file_ops, store_s3_ops, store_s3_v2_ops;

enum store_needs store_needs(const struct store *store);

/**
 * Begin an object. With a spool file that is all; done comes by itself.
 *
 * @return 0; -EACCES, -EAGAIN, -ENOMEM …
 */
_must_check_ int store_put_start(struct store *store,
				 const struct store_object *object,
				 const struct store_put_events *events,
				 void *userdata, struct store_put **ret,
				 struct fault *reterr_fault);

/**
 * Give it bytes: all of them or none.
 *
 * @return 0; -EAGAIN: no room now, ready will be called; another -errno: it
 *	   has failed, cancel it
 */
_must_check_ int store_put_write(struct store_put *put, const void *bytes,
				 size_t size, struct fault *reterr_fault);

/* All bytes are in; done will be called. */
void store_put_finish(struct store_put *put);

/* Forget it: nothing is published, nothing left behind, done not called. */
void store_put_cancel(struct store_put *put);

/* Is this a key of ours? See store.h. */
bool store_key_is_valid(const char *key);

/* -errno of a file system call as one of ours: what an operator must mend is
 * -EACCES, what may mend itself -EAGAIN. */
int store_error_of(int error);

#endif
