/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_SERVER_H
#define TESTS_SIMULATOR_SERVER_H

#include "tests/simulator/sim.h"

#include "common/base/arena.h"
#include "common/model/http.h"

#include <microhttpd.h>

/*
 * HTTP in: libmicrohttpd run by our own loop. A handler fills in the
 * request's reply and returns; it may then have the reply held back.
 */

enum {
	REQUEST_BODY_MAX = 96 << 20, /* Veo takes images inline */
	REPLY_HEADERS_MAX = 12,
};

enum reply_kind {
	REPLY_SEND,
	REPLY_CLOSE,   /* close the connection without a byte */
	REPLY_PARTIAL, /* close it in the middle of the body */
};

struct reply {
	enum reply_kind kind;
	unsigned status;
	const char *type;
	char *body; /* malloc; the reply's */
	size_t bytes;
	struct MHD_Response *response; /* in place of a body */
	struct http_header header[REPLY_HEADERS_MAX];
	size_t header_count;
};

struct request {
	struct sim *sim;
	struct MHD_Connection *connection;
	struct arena *arena;
	enum http_method method;
	char *url;	   /* raw */
	const char *path;  /* still percent-encoded, no query */
	const char *query; /* raw; "" without one */
	char *body;	   /* NUL-terminated */
	size_t body_bytes, body_room;
	bool body_too_large;
	bool reused;	/* not the first one on its connection */
	bool begun;	/* its head was seen */
	bool head_done; /* ... and mischief_at_head() has decided */
	bool handled;
	bool suspended;
	int64_t hold_ms; /* hold the reply: so long; -1: until woken */
	struct loop_timer timer;
	struct request *next_held, *previous_held;
	struct job *waited_for; /* whose waiter this is */
	bool tells_end;	    /* held until that job's end: describe it then */
	struct job *served; /* whose media this is; referenced */
	size_t served_file;
	bool served_cut;
	struct reply reply;
};

typedef void request_fn(struct request *request);

struct server *server_new(struct sim *sim, struct fault *reterr_fault);
struct server *server_free(struct server *server);
uint16_t server_port(const struct server *server);

/* Do what is due. @return ms until it wants to be called again, or -1 */
int64_t server_work(struct server *server);

/* From a body's reader: nothing to send for so long. */
void request_suspend(struct request *request, int64_t for_ms);

/* What a reply says that waited for the end of its job (replicate.c). */
void replicate_tell_end(struct request *request, struct job *job);

/* Let a held reply go now. */
void request_wake(struct request *request);

/* The value of a request header, or NULL. */
const char *request_header(const struct request *request, const char *name);
/* A query parameter, decoded, or NULL. Arena memory. */
char *request_query(const struct request *request, const char *name);
/* http://host:port as the client spells it. Arena memory. */
const char *request_base(const struct request *request);
/* Percent-decode. Arena memory; NULL for what is not an encoding. */
char *request_decode(const struct request *request, const char *text,
		     size_t length, bool plus_is_blank);
/* Milliseconds since 1970 of an ISO 8601 text; -1 if it is none. */
int64_t request_time(const char *text);

/* Answer. The json is taken; text is copied. */
void reply_json(struct request *request, unsigned status, json_t *json);
void reply_text(struct request *request, unsigned status, const char *type,
		const char *text);
/* Values are copied to the arena. */
void reply_header(struct request *request, const char *name, const char *value);

#endif
