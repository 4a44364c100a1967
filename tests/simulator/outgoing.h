/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_OUTGOING_H
#define TESTS_SIMULATOR_OUTGOING_H

#include "tests/simulator/sim.h"

#include "common/base/crypto.h"
#include "common/model/http.h"

/*
 * HTTP out: webhooks and fetches of inputs, by libcurl in our loop.
 */
struct outgoing;

enum { OUTGOING_HEADERS_MAX = 8 };

/* One exchange. The caller owns it and keeps it until done is called. */
struct exchange {
	const char *url;
	const char *body; /* POST it; NULL: GET */
	size_t body_bytes;
	struct http_header header[OUTGOING_HEADERS_MAX];
	size_t header_count;
	int64_t timeout_ms;
	bool follow; /* redirects */
	void (*done)(struct exchange *exchange, void *context);
	void *context;

	/* filled in for done() */
	unsigned status; /* 0: no answer */
	int64_t took_ms;
	int64_t bytes;
	char sha256[SHA256_HEX_SIZE]; /* of the answer's body */

	/* outgoing.c's own */
	void *easy;
	void *list;
	struct sha256 *hash;
	struct exchange *next; /* that waits */
	size_t index;
	bool running; /* libcurl has it */
};

struct outgoing *outgoing_new(struct sim *sim); /* NULL if libcurl fails */
struct outgoing *outgoing_free(struct outgoing *outgoing);

/* Send it; done() is called later, never from here. */
void outgoing_send(struct outgoing *outgoing, struct exchange *exchange);

#endif
