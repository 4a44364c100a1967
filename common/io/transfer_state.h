/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_TRANSFER_STATE_H
#define COMMON_IO_TRANSFER_STATE_H

#include "common/io/http_client_loop.h"
#include "common/io/store_put.h"
#include "common/io/store_writer.h"
#include "common/io/transfer.h"
#include "common/model/media_type.h"
#include "common/model/url.h"

#include <stdbool.h>

/* One transfer from the inside; private to transfer*.c. */

enum { TRANSFER_LANES_MAX = 16, TRANSFER_LANE_SIZE = 33 };

struct transfer_list {
	struct transfer *first, *last;
	size_t count;
};

struct transfer_lane {
	char name[TRANSFER_LANE_SIZE];
	size_t running;
};

struct transfers {
	sd_event_source *pump; /* starts what is queued, from the loop */
	const struct conf *conf;
	struct store *store;
	struct http_loop *loop;
	struct transfer_list queued, running;
	struct transfer_lane lane[TRANSFER_LANES_MAX];
	size_t lane_count;
};

struct transfer {
	struct transfers *transfers;
	struct transfer_list *list; /* which of the two it is in */
	struct transfer *next, *previous;
	struct transfer_lane *lane;
	transfer_done_fn *done;
	void *userdata;

	/* what is wanted */
	struct arena *arena; /* of the strings here */
	const char *url;     /* of this hop */
	struct url origin;   /* where the request's headers may go */
	struct curl_slist *headers;
	const char *key_prefix;
	int64_t bytes_max;

	/* the answer of this hop */
	struct http_wire wire;
	unsigned status;
	int redirects;
	int64_t length;	 /* Content-Length; -1: none */
	bool chunked;	 /* its end is marked */
	bool ambiguous;	 /* its length is said in ways that cannot be trusted */
	int64_t ignored; /* bytes of an answer that is not the media */

	/* the content */
	char head[MEDIA_TYPE_SNIFF_BYTES];
	size_t head_size;
	const struct media_type *type; /* once it is known */
	struct sha256 *sha256;
	int64_t bytes;
	int spool_fd;
	struct store_writer spool; /* what writes it */
	struct store_put *put;
	bool paused;		/* libcurl holds bytes back for us */
	sd_event_source *retry; /* gives them another chance */

	struct transfer_result result;
};

/* Begin (or begin again, at t->url) to fetch; ends in transfer_fail() or
 * transfer_finish(). */
void transfer_fetch(struct transfer *t);

/* Everything is in: hash, and let the store publish it. */
void transfer_store(struct transfer *t);

/* How the store calls back. */
extern const struct store_put_events transfer_put_events;

/* Take note of why it failed; the first reason stands. @return error */
_printf_(4, 5) int transfer_note(struct transfer *t, enum transfer_side side,
				 int error, const char *format, ...);

/* Call back and release it. */
void transfer_end(struct transfer *t);

/* The content's type from t->head, and from it the key. @return 0 or
 * -EBADMSG, noted */
int transfer_sniff(struct transfer *t);

#endif
