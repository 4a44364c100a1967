/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_TRANSFER_H
#define COMMON_IO_TRANSFER_H

#include "common/base/crypto.h"
#include "common/base/fault.h"
#include "common/io/conf.h"
#include "common/io/store.h"
#include "common/model/http.h"

#include <systemd/sd-event.h>

#include <stddef.h>
#include <stdint.h>

/*
 * Brings media home: download, check, store. Memory is bounded whatever the
 * size: a known length is piped straight into the store, anything else goes
 * through an unlinked file in SPOOL_DIR. Nothing is published before its
 * container was recognised and its last byte has come.
 *
 * Only https to public addresses (ALLOW_LOOPBACK adds http and loopback), at
 * most three redirects, headers of the request to its own origin only.
 *
 * Everything happens on the thread that runs the loop, except what would
 * block it.
 */
struct transfers;
struct transfer;

enum {
	TRANSFER_KEY_SIZE = 256,
	TRANSFER_TYPE_SIZE = 64,
};

struct transfer_job {
	const struct http_request *request; /* GET of the media, or NULL */
	const char *base64;		    /* inline media, if no request */
	size_t base64_bytes;
	const char *key_prefix; /* execution/job/attempt/index; the extension
				   comes from the content */
	int64_t bytes_max;	/* 0: MEDIA_BYTES_MAX */
	const char *lane;	/* provider; one lane never takes all slots.
				   May be NULL */
};

enum transfer_side {
	TRANSFER_NOWHERE = 0, /* it went well, or we are to blame */
	TRANSFER_SOURCE,
	TRANSFER_STORE,
};

/*
 * Valid during the callback only.
 *
 *	error  0	 stored
 *	       -EAGAIN	 trying again may help: connections, cuts, timeouts,
 *			 408, 425, 429, 401 (the token may be renewed), 403
 *			 where credentials were shown, 5xx, a full disk; a
 *			 name that leads (now) where we may not go
 *	       -ENOENT	 the link is gone: another 403, 404, 410
 *	       -EFBIG	 more than bytes_max
 *	       -EBADMSG	 not media, empty, an answer whose end cannot be told,
 *			 another status, too many redirects
 *	       -EACCES	 refused: an address or scheme that is not allowed
 *			 (TRANSFER_SOURCE), or the store does not let us in
 *			 (TRANSFER_STORE: credentials, bucket, folder)
 *	       -ENOMEM
 */
struct transfer_result {
	int error;
	enum transfer_side side; /* who failed */
	unsigned http_status;	 /* of the source; 0: no answer */
	bool unreached; /* the source's own host; not where it redirects to */
	char key[TRANSFER_KEY_SIZE];
	char content_type[TRANSFER_TYPE_SIZE];
	int64_t bytes; /* stored; on failure, received so far */
	char sha256[SHA256_HEX_SIZE];
	struct fault fault; /* never a URL, never a secret */
};

/* Called once for each transfer, from the loop and never from within
 * transfer_start(). It may start and cancel other transfers. */
typedef void transfer_done_fn(const struct transfer_result *result,
			      void *userdata);

/**
 * Make the mover.
 *
 * @conf   TRANSFERS_MAX, MEDIA_BYTES_MAX, SPOOL_DIR, timeouts; must outlive
 * @store  where to; must outlive
 *
 * @return 0; -ENOMEM; -errno when SPOOL_DIR cannot be used
 */
_must_check_ int transfers_new(sd_event *event, const struct conf *conf,
			       struct store *store, struct transfers **ret,
			       struct fault *reterr_fault);

/* Drops what is under way without calling back. Not from a callback. */
struct transfers *transfers_free(struct transfers *transfers);
DEFINE_CLEANUP(struct transfers *, transfers_free);

/**
 * Queue a transfer; TRANSFERS_MAX run at once. Request, prefix and base64
 * are copied (the last to the spool file, at once).
 *
 * The same key_prefix may be transferred again at any time: the last one
 * that succeeds wins, and nobody ever sees half of one.
 *
 * @ret_transfer  for transfer_cancel(); valid until the callback is entered.
 *		  May be NULL
 *
 * @return 0, and the callback will be called; -EINVAL for a job that makes
 *	   no sense; -ENOMEM; -errno of the spool file: then it will not
 */
_must_check_ int transfer_start(struct transfers *transfers,
				const struct transfer_job *job,
				transfer_done_fn *done, void *userdata,
				struct transfer **ret_transfer,
				struct fault *reterr_fault);

/* Give up on a transfer; its callback is not called. What is stored stays,
 * what is not leaves nothing behind. NULL is fine. */
void transfer_cancel(struct transfer *transfer);

/* Transfers queued and running. */
size_t transfers_count(const struct transfers *transfers);

#endif
