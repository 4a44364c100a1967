/* SPDX-License-Identifier: MIT */
#ifndef FCGI_ACCEPT_PRIVATE_H
#define FCGI_ACCEPT_PRIVATE_H

#include "fcgi/accept.h"
#include "fcgi/accept_head.h"

#include <fcgiapp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

/* Shared by fcgi/accept*.c, the only files that know libfcgi. */

enum connection_state {
	CONNECTION_NONE = 0, /* not ours */
	CONNECTION_IDLE,     /* to be served when something comes */
	CONNECTION_HALF,     /* a request's head is there in part */
	CONNECTION_BUSY,     /* a request of it is being served */
};

/* Indexed by descriptor. Changed under accept.lock. */
struct connection {
	enum connection_state state;
	int64_t since_ms;    /* CONNECTION_HALF: since when */
	int64_t deadline_ms; /* CONNECTION_BUSY: cut off then; 0: no limit */
	bool cut_off;
	bool again; /* something came while it was busy */
};

enum { EVENTS_A_WAKEUP = 16 };

struct worker_thread {
	struct accept *accept;
	size_t index;
	pthread_t thread;
	bool started;
	_Atomic bool looking;			   /* it has one of the seats */
	_Atomic int64_t busy_since_ms;		   /* 0: waiting */
	uint8_t *look;				   /* HEAD_LOOK_BYTES */
	uint8_t *scratch;			   /* LIMIT_PARAMS_BYTES */
	struct epoll_event event[EVENTS_A_WAKEUP]; /* not looked at yet: */
	size_t event_next, event_count;
};

struct accept {
	struct accept_options options;
	uid_t *peer_uid;
	int epoll_fd;
	int stop_fd;
	_Atomic bool stopping;
	struct worker_thread *thread;
	size_t thread_count;
	_Atomic size_t threads_running;

	pthread_mutex_t lock; /* of what follows */
	struct connection *connection;
	size_t connection_room; /* highest descriptor and one */
	size_t connection_count;
	size_t hand_over_next;
	bool paused; /* the listening socket is not being watched */
	pthread_cond_t seat_free;
	size_t seats_free; /* threads that may look for requests */

	_Atomic uint64_t requests, strangers, malformed, dropped;
};

/* What libfcgi may read of a connection. */
struct incoming {
	size_t passed; /* bytes that are there, looked at and found good */
	struct body_records records; /* state behind those */
	bool more; /* something may be there behind what passed */
};

struct exchange {
	struct request request;
	struct arena *arena;
	FCGX_Request fcgx;
	struct incoming incoming;
	struct accept *accept;
	int fd;
	int64_t began_ms;
	int64_t body_length; /* CONTENT_LENGTH; -1: none or nonsense */
	bool body_at_end;    /* the stream's end record was read */
	bool read;	     /* libfcgi has done its part */
	bool kept;	     /* the peer wants to use the connection again */
	bool has_deadline;
};

/* Read the request whose head is there. On failure the connection is gone.
 * @return the exchange, or NULL */
struct exchange *exchange_begin(struct accept *accept, int fd,
				const struct incoming *incoming);

/* Cut the connection off if it is not done by then; 0: no limit. */
void connection_deadline(struct accept *accept, int fd, int64_t deadline_ms);

/* The request is done: wait for the next one, or close. @more  the next one
 * may be there already */
void connection_return(struct accept *accept, int fd, bool keep, bool more);

/**
 * Write an answer as FastCGI records.
 *
 * @patient  wait while the peer reads, at most answer_timeout_ms
 *
 * @return whether all of it went out
 */
bool answer_write(const struct exchange *exchange, const struct reply *reply,
		  bool patient);

#endif
