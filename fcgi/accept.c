/* SPDX-License-Identifier: MIT */
#include "fcgi/accept.h"

#include "common/base/clock.h"
#include "common/model/limits.h"
#include "fcgi/accept_head.h"
#include "fcgi/accept_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ACCEPTS_A_WAKEUP = 16,
	DESCRIPTORS_MOST = 65536, /* however high the limit is */
	THREAD_STACK_BYTES = 1024 * 1024,
	PEER_GROUPS_MAX = 256,
	/* Threads that one that looks for requests can keep busy. */
	THREADS_A_SEAT = 8,
};

/* ---- connections ---- */

/*
 * Of a connection it is told once that something came, whether or not it can be
 * served then: what came meanwhile is remembered (connection->again), so that
 * it need not be watched anew after each request. The listening socket is.
 */
static void watch(struct accept *accept, int fd, int operation)
{
	bool listens = fd == accept->options.listen_fd;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP |
			  (listens ? EPOLLONESHOT : EPOLLET),
		.data.fd = fd,
	};

	(void)epoll_ctl(accept->epoll_fd, operation, fd, &event);
}

/* Watch the listening socket again if there is room; under the lock. */
static void unpause(struct accept *accept)
{
	if (!accept->paused || accept->stopping ||
	    accept->connection_count >= accept->options.connections_max)
		return;
	accept->paused = false;
	watch(accept, accept->options.listen_fd, EPOLL_CTL_MOD);
}

static void connection_close_locked(struct accept *accept, int fd)
{
	accept->connection[fd].state = CONNECTION_NONE;
	accept->connection_count--;
	(void)close(fd);
	unpause(accept);
}

void connection_deadline(struct accept *accept, int fd, int64_t deadline_ms)
{
	pthread_mutex_lock(&accept->lock);
	accept->connection[fd].deadline_ms = deadline_ms;
	pthread_mutex_unlock(&accept->lock);
}

void connection_return(struct accept *accept, int fd, bool keep, bool more)
{
	struct connection *connection = &accept->connection[fd];

	pthread_mutex_lock(&accept->lock);
	connection->deadline_ms = 0;
	if (connection->cut_off || !keep) {
		connection_close_locked(accept, fd);
	} else {
		connection->state = CONNECTION_IDLE;
		connection->since_ms = 0;
		if ((more || connection->again) && !accept->stopping)
			watch(accept, fd, EPOLL_CTL_MOD);
	}
	pthread_mutex_unlock(&accept->lock);
}

/* Is it that one among the peer's other groups? A peer in more of them than
 * fit here is not nginx. */
static bool has_group(int fd, gid_t gid)
{
	gid_t group[PEER_GROUPS_MAX];
	socklen_t size = sizeof(group);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, group, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(*group); i++) {
		if (group[i] == gid)
			return true;
	}
	return false;
}

/* As of when it connected. In a namespace of users (PrivateUsers=) all other
 * users look alike, but a group of our own is seen. */
static bool is_known_peer(struct accept *accept, int fd)
{
	const struct accept_options *options = &accept->options;
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (options->has_peer_gid &&
	    (peer.gid == options->peer_gid || has_group(fd, options->peer_gid)))
		return true;
	for (size_t i = 0; i < accept->options.peer_count; i++) {
		if (accept->peer_uid[i] == peer.uid)
			return true;
	}
	return false;
}

static void set_timeouts(const struct accept *accept, int fd)
{
	struct timeval timeout = {
		.tv_sec = accept->options.io_timeout_ms / 1000,
		.tv_usec = accept->options.io_timeout_ms % 1000 * 1000,
	};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
			 sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
			 sizeof(timeout));
}

/* Take a new connection in; under the lock. */
static void add_connection(struct accept *accept, int fd)
{
	if ((size_t)fd >= accept->connection_room ||
	    !is_known_peer(accept, fd)) {
		accept->strangers++;
		(void)close(fd);
		return;
	}
	set_timeouts(accept, fd);
	accept->connection[fd] = (struct connection){
		.state = CONNECTION_IDLE,
	};
	accept->connection_count++;
	watch(accept, fd, EPOLL_CTL_ADD);
}

void accept_adopt(struct accept *accept, int fd)
{
	pthread_mutex_lock(&accept->lock);
	add_connection(accept, fd);
	pthread_mutex_unlock(&accept->lock);
}

/* Several a wake-up. Under the lock, for a descriptor's number may only be
 * given out again when its row in the table is free. */
static void accept_some(struct accept *accept)
{
	const struct accept_options *options = &accept->options;
	bool full = false;

	pthread_mutex_lock(&accept->lock);
	for (int i = 0; i < ACCEPTS_A_WAKEUP && !full; i++) {
		int fd;

		if (accept->connection_count >= options->connections_max) {
			full = true;
			break;
		}
		fd = accept4(options->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			add_connection(accept, fd);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		/* Out of descriptors or memory: those in the backlog wait
		 * until a connection closes or accept_tick() comes by. */
		full = errno != EAGAIN && errno != EWOULDBLOCK;
		break;
	}
	accept->paused = true;
	if (!full)
		unpause(accept);
	pthread_mutex_unlock(&accept->lock);
}

/* ---- seats ---- */

/*
 * Only so many threads wait in the epoll set. Each event would wake one more
 * of those that do, and a request would cost as much for that as for all the
 * rest: one that is awake anyway serves many, as long as it never waits for
 * anything else. Whoever is about to gives his seat to another.
 */
static _Thread_local struct worker_thread *looker; /* NULL: without a seat */

void exchange_may_wait(void)
{
	struct worker_thread *thread = looker;
	struct accept *accept;

	if (!thread)
		return;
	accept = thread->accept;
	looker = NULL;
	thread->looking = false;
	pthread_mutex_lock(&accept->lock);
	/* What it has not begun is found again by whoever is next. */
	for (; thread->event_next < thread->event_count; thread->event_next++) {
		int fd = thread->event[thread->event_next].data.fd;

		if (fd != accept->stop_fd)
			watch(accept, fd, EPOLL_CTL_MOD);
	}
	accept->seats_free++;
	pthread_cond_signal(&accept->seat_free);
	pthread_mutex_unlock(&accept->lock);
}

/* @return whether there is one; none any more when stopping */
static bool take_seat(struct worker_thread *thread)
{
	struct accept *accept = thread->accept;

	if (looker)
		return !accept->stopping;
	pthread_mutex_lock(&accept->lock);
	while (accept->seats_free == 0 && !accept->stopping)
		pthread_cond_wait(&accept->seat_free, &accept->lock);
	if (!accept->stopping) {
		accept->seats_free--;
		looker = thread;
	}
	pthread_mutex_unlock(&accept->lock);
	thread->looking = looker != NULL;
	return looker != NULL;
}

/* ---- threads ---- */

/* Wait for the rest of a head without a thread: accept_tick() looks again. */
static void park(struct accept *accept, int fd)
{
	struct connection *connection = &accept->connection[fd];

	pthread_mutex_lock(&accept->lock);
	if (connection->since_ms == 0)
		connection->since_ms = clock_monotonic_ms();
	connection->state = CONNECTION_HALF;
	pthread_mutex_unlock(&accept->lock);
}

enum sight {
	SIGHT_NOTHING, /* what came was read before */
	SIGHT_GONE,
	SIGHT_BAD,
	SIGHT_HALF,
	SIGHT_HEAD,
};

/* What is there of a request? @ret of SIGHT_HEAD */
static enum sight look_at(struct worker_thread *thread, int fd,
			  struct incoming *ret)
{
	ssize_t size = recv(fd, thread->look, HEAD_LOOK_BYTES,
			    MSG_PEEK | MSG_DONTWAIT);
	enum head head;
	size_t bytes;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return SIGHT_NOTHING;
	if (size <= 0)
		return SIGHT_GONE;
	head = head_check(thread->look, (size_t)size, thread->scratch,
			  LIMIT_PARAMS_BYTES, &bytes);
	if (head == HEAD_MORE && size < HEAD_LOOK_BYTES)
		return SIGHT_HALF;
	if (head != HEAD_COMPLETE)
		return SIGHT_BAD;
	*ret = (struct incoming){ .records = body_records_of(thread->look) };
	ret->passed =
		bytes + body_records_pass(&ret->records, thread->look + bytes,
					  (size_t)size - bytes);
	ret->more = (size_t)size > ret->passed || size == HEAD_LOOK_BYTES;
	return SIGHT_HEAD;
}

static void serve_request(struct worker_thread *thread, int fd,
			  const struct incoming *incoming)
{
	struct accept *accept = thread->accept;
	struct exchange *exchange = exchange_begin(accept, fd, incoming);

	if (!exchange)
		return;
	accept->requests++;
	accept->options.serve(accept->options.context, thread->index, exchange);
}

static void serve_connection(struct worker_thread *thread, int fd)
{
	struct accept *accept = thread->accept;
	struct incoming incoming;

	switch (look_at(thread, fd, &incoming)) {
	case SIGHT_HEAD:
		serve_request(thread, fd, &incoming);
		break;
	case SIGHT_HALF:
		park(accept, fd);
		break;
	case SIGHT_NOTHING:
		connection_return(accept, fd, true, false);
		break;
	case SIGHT_BAD:
		accept->malformed++;
		connection_return(accept, fd, false, false);
		break;
	case SIGHT_GONE:
		connection_return(accept, fd, false, false);
		break;
	}
}

/* May this thread serve it now? Not while stopping: what is not begun is
 * left, unread, to the next process. That the peer has ended is told once,
 * maybe with a request that it sent before. */
static bool take(struct accept *accept, int fd, bool ended)
{
	struct connection *connection = &accept->connection[fd];
	bool taken = false;

	pthread_mutex_lock(&accept->lock);
	if (!accept->stopping) {
		taken = connection->state == CONNECTION_IDLE;
		connection->again =
			ended || connection->state == CONNECTION_BUSY;
	}
	if (taken)
		connection->state = CONNECTION_BUSY;
	pthread_mutex_unlock(&accept->lock);
	return taken;
}

static void serve_events(struct worker_thread *thread)
{
	struct accept *accept = thread->accept;

	while (thread->event_next < thread->event_count) {
		const struct epoll_event event =
			thread->event[thread->event_next++];
		int fd = event.data.fd;

		thread->busy_since_ms = clock_monotonic_ms();
		if (fd == accept->options.listen_fd)
			accept_some(accept);
		else if (fd != accept->stop_fd &&
			 take(accept, fd, event.events & EPOLLRDHUP))
			serve_connection(thread, fd);
	}
	thread->busy_since_ms = 0;
}

static void *serve_thread(void *context)
{
	struct worker_thread *thread = context;
	struct accept *accept = thread->accept;

	while (take_seat(thread)) {
		int count = epoll_wait(accept->epoll_fd, thread->event,
				       EVENTS_A_WAKEUP, -1);

		thread->event_next = 0;
		thread->event_count = count > 0 ? (size_t)count : 0;
		serve_events(thread);
	}
	accept->threads_running--;
	return NULL;
}

/* ---- from the main thread ---- */

static void tick_connection(struct accept *accept, int fd, int64_t now_ms)
{
	struct connection *connection = &accept->connection[fd];

	if (connection->state == CONNECTION_HALF) {
		if (now_ms - connection->since_ms >
		    accept->options.request_timeout_ms) {
			accept->dropped++;
			connection_close_locked(accept, fd);
			return;
		}
		connection->state = CONNECTION_IDLE;
		watch(accept, fd, EPOLL_CTL_MOD);
	} else if (connection->state == CONNECTION_BUSY &&
		   connection->deadline_ms != 0 && !connection->cut_off &&
		   now_ms > connection->deadline_ms) {
		/* Whoever reads or writes there now fails and closes it. */
		connection->cut_off = true;
		accept->dropped++;
		(void)shutdown(fd, SHUT_RDWR);
	}
}

void accept_tick(struct accept *accept)
{
	int64_t now_ms = clock_monotonic_ms();

	pthread_mutex_lock(&accept->lock);
	for (size_t fd = 0; fd < accept->connection_room; fd++) {
		if (accept->connection[fd].state != CONNECTION_NONE)
			tick_connection(accept, (int)fd, now_ms);
	}
	unpause(accept);
	pthread_mutex_unlock(&accept->lock);
}

struct accept_figures accept_figures(struct accept *accept)
{
	struct accept_figures figures = {
		.requests = accept->requests,
		.strangers = accept->strangers,
		.malformed = accept->malformed,
		.dropped = accept->dropped,
	};
	int64_t now_ms = clock_monotonic_ms(), youngest_ms = 0;
	bool is_free = false;

	pthread_mutex_lock(&accept->lock);
	for (size_t i = 0; i < accept->thread_count; i++) {
		const struct worker_thread *thread = &accept->thread[i];
		int64_t since_ms = thread->busy_since_ms;

		/* Who waits for a seat is of use if there is one. */
		is_free |= since_ms == 0 &&
			   (thread->looking || accept->seats_free > 0);
		if (since_ms > youngest_ms)
			youngest_ms = since_ms;
	}
	if (!is_free && youngest_ms > 0)
		figures.stuck_ms = now_ms - youngest_ms;
	figures.connections = accept->connection_count;
	for (size_t fd = 0; fd < accept->connection_room; fd++)
		figures.busy += accept->connection[fd].state == CONNECTION_BUSY;
	pthread_mutex_unlock(&accept->lock);
	return figures;
}

void accept_begin_stop(struct accept *accept)
{
	static const uint64_t one = 1;
	ssize_t written;

	pthread_mutex_lock(&accept->lock);
	accept->stopping = true;
	pthread_cond_broadcast(&accept->seat_free);
	pthread_mutex_unlock(&accept->lock);
	/* It stays readable, so every thread wakes up. */
	written = write(accept->stop_fd, &one, sizeof(one));
	(void)written;
}

bool accept_has_stopped(struct accept *accept)
{
	bool stopped = accept->threads_running == 0;

	pthread_mutex_lock(&accept->lock);
	for (size_t fd = 0; stopped && fd < accept->connection_room; fd++)
		stopped = accept->connection[fd].state != CONNECTION_BUSY;
	pthread_mutex_unlock(&accept->lock);
	return stopped;
}

size_t accept_take_connections(struct accept *accept, int *ret_fds, size_t most)
{
	size_t count = 0;

	pthread_mutex_lock(&accept->lock);
	for (; accept->hand_over_next < accept->connection_room && count < most;
	     accept->hand_over_next++) {
		struct connection *connection =
			&accept->connection[accept->hand_over_next];

		if (connection->state != CONNECTION_IDLE &&
		    connection->state != CONNECTION_HALF)
			continue;
		connection->state = CONNECTION_NONE;
		accept->connection_count--;
		ret_fds[count++] = (int)accept->hand_over_next;
	}
	pthread_mutex_unlock(&accept->lock);
	return count;
}

/* ---- beginning and end ---- */

static int start_thread(struct accept *accept, size_t index,
			struct fault *reterr_fault)
{
	struct worker_thread *thread = &accept->thread[index];
	pthread_attr_t attributes;
	int r;

	thread->accept = accept;
	thread->index = index;
	thread->look = malloc(HEAD_LOOK_BYTES);
	thread->scratch = malloc(LIMIT_PARAMS_BYTES);
	if (!thread->look || !thread->scratch)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for a thread");

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
	accept->threads_running++;
	r = pthread_create(&thread->thread, &attributes, serve_thread, thread);
	(void)pthread_attr_destroy(&attributes);
	if (r != 0) {
		accept->threads_running--;
		return fault_set(reterr_fault, -r, "no thread: %s",
				 strerror(r));
	}
	thread->started = true;
	return 0;
}

/* How high descriptors can get. */
static size_t descriptors_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	return limit.rlim_cur < DESCRIPTORS_MOST ? (size_t)limit.rlim_cur
						 : DESCRIPTORS_MOST;
}

static int prepare(struct accept *accept, const struct accept_options *options,
		   struct fault *reterr_fault)
{
	struct epoll_event event = { .events = EPOLLIN };

	accept->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	accept->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (accept->epoll_fd < 0 || accept->stop_fd < 0)
		return fault_set(reterr_fault, -errno, "epoll: %s",
				 strerror(errno));
	event.data.fd = accept->stop_fd;
	(void)epoll_ctl(accept->epoll_fd, EPOLL_CTL_ADD, accept->stop_fd,
			&event);

	accept->connection_room = descriptors_max();
	accept->connection =
		calloc(accept->connection_room, sizeof(*accept->connection));
	accept->thread = calloc(options->threads, sizeof(*accept->thread));
	accept->peer_uid =
		calloc(options->peer_count + 1, sizeof(*accept->peer_uid));
	if (!accept->connection || !accept->thread || !accept->peer_uid)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	accept->thread_count = options->threads;
	memcpy(accept->peer_uid, options->peer_uid,
	       options->peer_count * sizeof(*accept->peer_uid));

	/* systemd hands listening sockets over in blocking mode. */
	if (fcntl(options->listen_fd, F_SETFL, O_NONBLOCK) < 0)
		return fault_set(reterr_fault, -errno, "listening socket: %s",
				 strerror(errno));
	if (FCGX_Init() != 0)
		return fault_set(reterr_fault, -EIO, "libfcgi does not start");
	return 0;
}

int accept_start(const struct accept_options *options, struct accept **ret,
		 struct fault *reterr_fault)
{
	_cleanup_(accept_freep) struct accept *accept =
		calloc(1, sizeof(*accept));
	int r;

	if (!accept)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	accept->options = *options;
	accept->epoll_fd = accept->stop_fd = -1;
	accept->seats_free = 1 + (options->threads - 1) / THREADS_A_SEAT;
	(void)pthread_mutex_init(&accept->lock, NULL);
	(void)pthread_cond_init(&accept->seat_free, NULL);
	r = prepare(accept, options, reterr_fault);
	if (r < 0)
		return r;

	watch(accept, options->listen_fd, EPOLL_CTL_ADD);
	for (size_t i = 0; i < options->threads; i++) {
		r = start_thread(accept, i, reterr_fault);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(accept);
	return 0;
}

struct accept *accept_free(struct accept *accept)
{
	if (!accept)
		return NULL;

	if (accept->stop_fd >= 0)
		accept_begin_stop(accept);
	for (size_t i = 0; i < accept->thread_count; i++) {
		if (accept->thread[i].started)
			(void)pthread_join(accept->thread[i].thread, NULL);
	}
	for (size_t i = 0; i < accept->thread_count; i++) {
		free(accept->thread[i].look);
		free(accept->thread[i].scratch);
	}
	for (size_t fd = 0; accept->connection && fd < accept->connection_room;
	     fd++) {
		if (accept->connection[fd].state != CONNECTION_NONE)
			(void)close((int)fd);
	}
	if (accept->epoll_fd >= 0)
		(void)close(accept->epoll_fd);
	if (accept->stop_fd >= 0)
		(void)close(accept->stop_fd);
	(void)pthread_cond_destroy(&accept->seat_free);
	(void)pthread_mutex_destroy(&accept->lock);
	free(accept->connection);
	free(accept->thread);
	free(accept->peer_uid);
	free(accept);
	return NULL;
}
