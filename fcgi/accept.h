/* SPDX-License-Identifier: MIT */
#ifndef FCGI_ACCEPT_H
#define FCGI_ACCEPT_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "fcgi/exchange.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Our own accept loop around libfcgi: threads serve requests, not
 * connections. Every connection that nginx keeps waits in one epoll set; a
 * thread takes it only when the head of a request is there as a whole, so
 * neither idle connections nor half requests pin anything. One thread of eight
 * looks for requests and serves what it finds, until it has to wait for
 * something: then the next one looks (see exchange_may_wait()).
 *
 * libfcgi trusts its peers, so they are checked: who they are (SO_PEERCRED,
 * SO_PEERGROUPS), how much they say in the parameters (before libfcgi sees
 * them), and how long they take.
 */

struct accept;

typedef void accept_serve_fn(void *context, size_t thread,
			     struct exchange *exchange);

struct accept_options {
	int listen_fd; /* systemd's: never closed, never shut down */
	const uid_t *peer_uid;
	size_t peer_count;
	bool has_peer_gid; /* whoever is in this group may connect as well */
	gid_t peer_gid;
	size_t threads;
	size_t connections_max;
	int64_t io_timeout_ms;	     /* of one read or write */
	int64_t request_timeout_ms;  /* of a request's head, and of its body */
	int64_t answer_timeout_ms;   /* of writing a whole answer */
	size_t body_drain_bytes_max; /* read and dropped of an unwanted body */
	size_t arena_bytes_max;	     /* memory of one request */
	accept_serve_fn *serve; /* ends in exchange_answer(), maybe elsewhere */
	void *context;
};

/**
 * Start the threads. All signals must be blocked by now: a signal in the
 * middle of a read looks like the end of a body.
 *
 * @return 0; -errno
 */
_must_check_ int accept_start(const struct accept_options *options,
			      struct accept **ret, struct fault *reterr_fault);

/* Take a connection that a process before us was serving; owns it. */
void accept_adopt(struct accept *accept, int fd);

/* Deadlines, half requests, a full process: call it every 250 ms or so. */
void accept_tick(struct accept *accept);

/* No further request is begun; does not wait. */
void accept_begin_stop(struct accept *accept);

/* Have all threads ended, and all requests been answered? accept_tick() is
 * still needed meanwhile. */
bool accept_has_stopped(struct accept *accept);

/* After accept_begin_stop(): take the next connections, at
 * most so many; the caller owns them. @return how many, 0: no more */
size_t accept_take_connections(struct accept *accept, int *ret_fds,
			       size_t most);

struct accept_figures {
	size_t connections;
	size_t busy;
	uint64_t requests;
	uint64_t strangers; /* refused for who they are */
	uint64_t malformed; /* refused by their head */
	uint64_t dropped;   /* closed because of a body, a deadline, a write */
	int64_t stuck_ms;   /* how long no thread has been free; 0: one is */
};

struct accept_figures accept_figures(struct accept *accept);

/* Closes what connections are left. NULL is fine; returns NULL. */
struct accept *accept_free(struct accept *accept);
DEFINE_CLEANUP(struct accept *, accept_free);

#endif
