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
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ACCEPTS_A_WAKEUP = 16,
	DESCRIPTORS_MOST = 65536, /* however high the limit is */
	THREAD_STACK_BYTES = 1024 * 1024,
	PEER_GROUPS_MAX = 256,
};

/* ---- connections ---- */

static void watch(struct accept *accept, int fd, int operation)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
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

void connection_return(struct accept *accept, int fd, bool keep)
{
	struct connection *connection = &accept->connection[fd];

	pthread_mutex_lock(&accept->lock);
	connection->deadline_ms = 0;
	if (connection->cut_off || !keep) {
		connection_close_locked(accept, fd);
	} else {
		connection->state = CONNECTION_IDLE;
		connection->since_ms = 0;
		if (!accept->stopping)
			watch(accept, fd, EPOLL_CTL_MOD);
	}
	pthread_mutex_unlock(&accept->lock);
}

void connection_lend(struct accept *accept, int fd)
{
	pthread_mutex_lock(&accept->lock);
	accept->connection[fd].state = CONNECTION_NONE;
	pthread_mutex_unlock(&accept->lock);
}

void connection_lent(struct accept *accept, int fd, bool got)
{
	pthread_mutex_lock(&accept->lock);
	if (got) {
		accept->connection[fd] = (struct connection){
			.state = CONNECTION_BUSY,
		};
	} else {
		accept->connection_count--;
		unpause(accept);
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

/* Is the head of a request there? @ret of HEAD_COMPLETE */
static enum head look_at(struct worker_thread *thread, int fd, bool *ret_gone,
			 struct incoming *ret)
{
	ssize_t size = recv(fd, thread->look, HEAD_LOOK_BYTES,
			    MSG_PEEK | MSG_DONTWAIT);
	enum head head;
	size_t bytes;

	*ret_gone =
		size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR);
	if (size <= 0)
		return HEAD_MORE;
	head = head_check(thread->look, (size_t)size, thread->scratch,
			  LIMIT_PARAMS_BYTES, &bytes);
	if (head == HEAD_MORE && size == HEAD_LOOK_BYTES)
		head = HEAD_BAD;
	if (head == HEAD_COMPLETE) {
		ret->records = body_records_of(thread->look);
		ret->passed = bytes + body_records_pass(&ret->records,
							thread->look + bytes,
							(size_t)size - bytes);
	}
	return head;
}

static void serve_connection(struct worker_thread *thread, int fd)
{
	struct accept *accept = thread->accept;
	struct incoming incoming;
	struct exchange *exchange;
	enum head head;
	bool gone;

	head = look_at(thread, fd, &gone, &incoming);
	if (gone || head == HEAD_BAD) {
		if (!gone)
			accept->malformed++;
		connection_return(accept, fd, false);
		return;
	}
	if (head == HEAD_MORE) {
		park(accept, fd);
		return;
	}

	exchange = exchange_begin(accept, fd, &incoming);
	if (!exchange)
		return;
	accept->requests++;
	accept->options.serve(accept->options.context, thread->index, exchange);
}

/* May this thread serve it now? Not while stopping: what is not begun is
 * left, unread, to the next process. */
static bool take(struct accept *accept, int fd)
{
	bool taken = false;

	pthread_mutex_lock(&accept->lock);
	if (!accept->stopping &&
	    accept->connection[fd].state == CONNECTION_IDLE) {
		accept->connection[fd].state = CONNECTION_BUSY;
		taken = true;
	}
	pthread_mutex_unlock(&accept->lock);
	return taken;
}

static void *serve_thread(void *context)
{
	struct worker_thread *thread = context;
	struct accept *accept = thread->accept;

	while (!accept->stopping) {
		struct epoll_event event;

		if (epoll_wait(accept->epoll_fd, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == accept->stop_fd)
			break;
		thread->busy_since_ms = clock_monotonic_ms();
		if (event.data.fd == accept->options.listen_fd)
			accept_some(accept);
		else if (take(accept, event.data.fd))
			serve_connection(thread, event.data.fd);
		thread->busy_since_ms = 0;
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

	for (size_t i = 0; i < accept->thread_count; i++) {
		int64_t since_ms = accept->thread[i].busy_since_ms;

		is_free |= since_ms == 0;
		if (since_ms > youngest_ms)
			youngest_ms = since_ms;
	}
	if (!is_free && youngest_ms > 0)
		figures.stuck_ms = now_ms - youngest_ms;

	pthread_mutex_lock(&accept->lock);
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
	/* libfcgi would linger two seconds for a peer that it hangs up on. */
	if (setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "50", 0) < 0 ||
	    FCGX_Init() != 0)
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
	(void)pthread_mutex_init(&accept->lock, NULL);
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
	(void)pthread_mutex_destroy(&accept->lock);
	free(accept->connection);
	free(accept->thread);
	free(accept->peer_uid);
	free(accept);
	return NULL;
}
