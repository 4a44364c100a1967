/* SPDX-License-Identifier: MIT */
#ifndef FCGI_EXCHANGE_H
#define FCGI_EXCHANGE_H

#include "common/base/arena.h"
#include "common/base/macro.h"
#include "common/model/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One HTTP request and the way to answer it. How it came (FastCGI) is the
 * business of fcgi/accept*.c alone: handlers turn a struct request into a
 * struct reply and know nothing else.
 */

enum {
	REQUEST_CAPTURES = 2, /* {…} in a route */
	REPLY_HEADERS_MAX = 8,
};

/* All pointers belong to the arena, which lives until the answer is out. */
struct request {
	enum http_method method;
	const char *path;		  /* normalised, without the query */
	const char *query;		  /* as sent; "" for none */
	const struct http_header *header; /* all of them, doubled ones too */
	size_t header_count;
	const char *content_type; /* or NULL */
	const char *id;		  /* for X-Request-Id and the log */
	const char *body;	  /* NUL-terminated as a courtesy */
	size_t body_bytes;
	struct arena *arena;

	/* put in by serve.c */
	const char *owner; /* whose API key it is; NULL on open routes */
	const char *capture[REQUEST_CAPTURES]; /* what {…} stood for */
};

struct commit;

struct reply {
	unsigned status;
	const char *content_type; /* NULL: application/json */
	const char *body;	  /* NULL: none */
	size_t body_bytes;
	struct http_header header[REPLY_HEADERS_MAX];
	size_t header_count;
	struct commit *commit; /* not an answer yet: hand this to the
				  committer, which answers */
	bool wake;	       /* there is work for the poller */
};

/* The caller stays below REPLY_HEADERS_MAX; name and value are free of
 * control characters. */
void reply_add_header(struct reply *reply, const char *name, const char *value);

/* The thread that calls this is about to wait, for the database or for a peer,
 * or has much to do: another one is to look for requests meanwhile. Nothing
 * happens if it has said so before or is none that looks. */
void exchange_may_wait(void);

struct exchange;

struct request *exchange_request(struct exchange *exchange);

/* How long the body says it is; -1: it does not say, or nonsense. */
int64_t exchange_body_length(const struct exchange *exchange);

enum {
	EXCHANGE_E_BROKEN = 1, /* the body ended early, late or not at all */
	EXCHANGE_E_TOO_LARGE,
};

/**
 * Read the whole body into the request, to the very end of the record stream.
 *
 * Blocks until it is there, at most the request's deadline. One that is too
 * large is read and dropped, so that the client gets to see the answer.
 *
 * @return 0; EXCHANGE_E_TOO_LARGE; EXCHANGE_E_BROKEN; -ENOMEM
 */
_must_check_ int exchange_read_body(struct exchange *exchange,
				    size_t bytes_most);

/* Read what is left of the body and forget it, up to the end record. Whoever
 * is to answer without waiting is handed exchanges that are read to the end. */
void exchange_drain_body(struct exchange *exchange);

/**
 * Send the answer and end the exchange; its memory is gone afterwards.
 *
 * What is left of the body is read first; if it cannot be read to its end,
 * the connection is closed, for what stays in it would be taken for the next
 * request.
 *
 * @patient  wait while the peer reads. The thread that many wait for does
 *	     not: an answer that does not fit the socket's buffer then drops
 *	     the connection.
 */
void exchange_answer(struct exchange *exchange, const struct reply *reply,
		     bool patient);

/* Take the request's memory over: it then outlives the exchange. */
struct arena *exchange_take_arena(struct exchange *exchange);

/* When it was begun, monotonic clock. */
int64_t exchange_began_ms(const struct exchange *exchange);

#endif
