/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_HTTP_CLIENT_LOOP_H
#define COMMON_IO_HTTP_CLIENT_LOOP_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <curl/curl.h>
#include <systemd/sd-event.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * One libcurl multi handle on an sd-event loop, and the rules that every
 * handle of ours keeps: which protocols, which addresses, no proxy. Private
 * to common/io: http_client, transfer and store_s3 stand on it.
 */
struct http_loop;

_must_check_ int http_loop_new(sd_event *event, struct http_loop **ret,
			       struct fault *reterr_fault);
struct http_loop *http_loop_free(struct http_loop *loop);
DEFINE_CLEANUP(struct http_loop *, http_loop_free);

/* Where a handle may connect to. */
enum http_reach {
	HTTP_REACH_PUBLIC = 0, /* https to public addresses */
	HTTP_REACH_LOOPBACK,   /* also http, also loopback (ALLOW_LOOPBACK) */
	HTTP_REACH_ANY,	       /* what the operator configured as his own */
};

struct http_wire;
typedef void http_wire_done_fn(CURLcode code, void *userdata);

/* One libcurl handle. Its owner sets options on .easy between prepare and
 * start. Zero it first. */
struct http_wire {
	CURL *easy;
	struct http_loop *loop; /* while it runs, else NULL */
	http_wire_done_fn *done;
	void *userdata;
	enum http_reach reach;
	const char *refused; /* why an address was not allowed, or NULL */
	bool reached; /* connected; the request was about to be written */
	bool starved; /* we had no descriptor for a connection */
	char error[CURL_ERROR_SIZE];
};

/* A fresh handle with the rules applied, in place of what was there.
 * @return 0 or -ENOMEM */
_must_check_ int http_wire_prepare(struct http_wire *wire,
				   enum http_reach reach);

/* What it asks for. @return 0 or -ENOMEM */
_must_check_ int http_wire_aim(struct http_wire *wire, const char *url);

/**
 * Run it. done is called once, from the loop, when it has left the loop
 * again, and not at all after http_wire_stop().
 *
 * @return 0; -ENOMEM
 */
_must_check_ int http_wire_start(struct http_wire *wire, struct http_loop *loop,
				 http_wire_done_fn *done, void *userdata);

/* Take it out of the loop if it is in it. Not from libcurl's callbacks. */
void http_wire_stop(struct http_wire *wire);

/* Stop and release; may be repeated. */
void http_wire_done(struct http_wire *wire);

/* Why it ended: libcurl's words where they cannot hold more than a host's
 * name, its general words otherwise. */
void http_wire_explain(const struct http_wire *wire, CURLcode code,
		       struct fault *ret);

/* Append "name: value" to a list. @return 0; -EINVAL: a control character
 * anywhere is refused; -ENOMEM */
_must_check_ int http_list_add(struct curl_slist **list, const char *name,
			       const char *value);

static inline struct curl_slist *http_list_free(struct curl_slist *list)
{
	curl_slist_free_all(list);
	return NULL;
}
DEFINE_CLEANUP(struct curl_slist *, http_list_free);

#endif
