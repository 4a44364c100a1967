/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_HTTP_CLIENT_H
#define COMMON_IO_HTTP_CLIENT_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/conf.h"
#include "common/model/http.h"

#include <systemd/sd-event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Many HTTP exchanges on one event loop, over kept-alive connections.
 *
 * For the APIs of providers: short requests, short answers. Only https to
 * public addresses (ALLOW_LOOPBACK adds http and loopback), no proxy, no
 * redirects (a 3xx is an answer like any other), no cookies. Not for threads:
 * everything happens on the thread that runs the loop.
 */
struct http_client;
struct http_exchange;

enum http_outcome {
	HTTP_OUTCOME_NONE = 0,
	HTTP_ANSWERED, /* a whole answer, whatever its status */
	HTTP_NOT_SENT, /* surely never left: no name, no connection, no TLS,
			  or not a byte of the body was asked for */
	HTTP_LOST,     /* anything else: it may have been carried out */
};

/* Valid during the callback only, response and arena included. */
struct http_result {
	enum http_outcome outcome;
	struct http_response response; /* of HTTP_ANSWERED */
	struct arena *arena; /* the exchange's own; the callback may use it,
				it takes four times response_bytes_max */
	struct fault fault;  /* of the others: why, without URL or secrets */
	int64_t elapsed_ms;
	bool too_big; /* HTTP_LOST because of response_bytes_max */
	bool starved; /* HTTP_NOT_SENT because we had no memory or descriptor
			 for it: it says nothing of the other side */
};

/* Called once for each exchange, from the loop and never from within
 * http_client_send(). It may send and cancel other exchanges. */
typedef void http_done_fn(const struct http_result *result, void *userdata);

struct http_options {
	int64_t connect_timeout_ms; /* 0: CONNECT_TIMEOUT_MS */
	int64_t total_timeout_ms;   /* 0: ANSWER_TIMEOUT_MS */
	size_t response_bytes_max;  /* 0: 1 MiB */
	bool once; /* a paid start: its body (it must have one) is never sent
		      twice, even when a kept connection dies under it */
};

/**
 * Make a client.
 *
 * @event  the loop; a reference is taken
 * @conf   timeouts and ALLOW_LOOPBACK; read here only
 *
 * @return 0; -ENOMEM
 */
_must_check_ int http_client_new(sd_event *event, const struct conf *conf,
				 struct http_client **ret,
				 struct fault *reterr_fault);

/* Drops what is in flight without calling back. Not from a callback. */
struct http_client *http_client_free(struct http_client *client);
DEFINE_CLEANUP(struct http_client *, http_client_free);

/**
 * Start an exchange. The request is copied; nothing of it needs to live on.
 *
 * @options       NULL for the defaults
 * @ret_exchange  for http_exchange_cancel(); valid until the callback is
 *		  entered. May be NULL
 *
 * @return 0, and the callback will be called; -EINVAL for a request that
 *	   cannot be sent (no URL, a control character in a header), -ENOMEM:
 *	   then it will not
 */
_must_check_ int http_client_send(struct http_client *client,
				  const struct http_request *request,
				  const struct http_options *options,
				  http_done_fn *done, void *userdata,
				  struct http_exchange **ret_exchange);

/* Give up on an exchange; its callback is not called. NULL is fine. */
void http_exchange_cancel(struct http_exchange *exchange);

/* Exchanges in flight. */
size_t http_client_count(const struct http_client *client);

#endif
