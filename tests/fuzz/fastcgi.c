/* SPDX-License-Identifier: MIT */
/*
 * A FastCGI stream through our accept loop, and through the head's own reader,
 * byte by byte.
 *
 * A second reader, which knows nothing but the form of a record, cuts the
 * stream first. Requests as nginx makes them are sent as nginx does, each
 * after the answer to the one before. The rest is sent in one go. A request can
 * only begin where a record does: what lies in a body, or is left behind by
 * one, is never served.
 */
#include "common/model/limits.h"
#include "fcgi/accept_head.h"
#include "fcgi/accept_private.h"
#include "tests/fuzz/fuzz.h"

#include <fastcgi.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	STREAM_MAX = 8 * 1024,
	PREFIXES_MAX = 512, /* bytes up to which every prefix is looked at */
	DESCRIPTORS_MAX = 64,
	BODY_MAX = 4 * 1024,
	WAIT_MS = 10 * 1000,
};

/* ---- the head ---- */

static enum head look(const uint8_t *data, size_t size)
{
	static uint8_t scratch[LIMIT_PARAMS_BYTES];
	uint8_t *exact = malloc(size > 0 ? size : 1);
	enum head head;
	size_t bytes;

	HOLDS(exact);
	if (size > 0)
		memcpy(exact, data, size);
	head = head_check(exact, size, scratch, sizeof(scratch), &bytes);
	HOLDS(head != HEAD_COMPLETE || bytes <= size);
	free(exact);
	return head;
}

/* "More" may become anything; what is decided stays decided. */
static void check_head(const uint8_t *data, size_t size)
{
	enum head decided = HEAD_MORE;

	for (size_t end = 0; end <= size && end <= PREFIXES_MAX; end++) {
		enum head head = look(data, end);

		HOLDS(decided == HEAD_MORE || head == decided);
		decided = head;
	}
	HOLDS(decided == HEAD_MORE || look(data, size) == decided);
}

/* ---- the loop ---- */

static struct {
	_Atomic size_t calls;
	bool last_is_whole; /* the body of the last one was what it said */
} served;

static void serve(void *context, size_t thread, struct exchange *exchange)
{
	const struct request *request = exchange_request(exchange);
	struct reply reply = { .status = 200, .body = "x", .body_bytes = 1 };

	(void)context;
	(void)thread;
	HOLDS(request->path && request->query && request->id);
	for (size_t i = 0; i < request->header_count; i++)
		HOLDS(request->header[i].name && request->header[i].value);
	served.last_is_whole = true;
	/* Some handlers want no body: then the answer drops it. */
	if (strcmp(request->path, "/early") != 0) {
		served.last_is_whole =
			exchange_read_body(exchange, BODY_MAX) == 0;
		HOLDS(!served.last_is_whole ||
		      (int64_t)request->body_bytes ==
			      exchange_body_length(exchange));
	}
	served.calls++;
	exchange_answer(exchange, &reply, true);
}

static struct accept *start_loop(int *ret_listen_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uid_t ours = getuid();
	struct accept_options options = {
		.peer_uid = &ours,
		.peer_count = 1,
		.threads = 1,
		.connections_max = 8,
		.io_timeout_ms = WAIT_MS,
		.request_timeout_ms = WAIT_MS,
		.answer_timeout_ms = WAIT_MS,
		.body_drain_bytes_max = BODY_MAX,
		.arena_bytes_max = 256 * 1024,
		.serve = serve,
	};
	struct accept *accept = NULL;

	/* The name is the kernel's choice: nobody connects to it. */
	options.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	HOLDS(options.listen_fd >= 0 &&
	      bind(options.listen_fd, (struct sockaddr *)&address,
		   sizeof(sa_family_t)) == 0 &&
	      listen(options.listen_fd, 8) == 0);
	HOLDS(accept_start(&options, &accept, NULL) == 0);
	*ret_listen_fd = options.listen_fd;
	return accept;
}

/* ---- the second reader ---- */

/* One request as nginx says it. @return its size; 0: something is odd */
static size_t clean_request(const uint8_t *data, size_t size)
{
	size_t at = 0, step = 0;

	/* 0: begin, 1: parameters, 2: body */
	while (size - at >= FCGI_HEADER_LEN) {
		static const uint8_t types[] = { FCGI_BEGIN_REQUEST,
						 FCGI_PARAMS, FCGI_STDIN };
		const uint8_t *header = data + at;
		size_t content = (size_t)(header[4] << 8) + header[5];

		if (header[0] != FCGI_VERSION_1 || header[1] != types[step] ||
		    header[2] != 0 || header[3] != 1 || header[6] != 0 ||
		    content > size - at - FCGI_HEADER_LEN)
			return 0;
		at += FCGI_HEADER_LEN + content;
		if (step == 0 || content == 0)
			step++;
		if (step == COUNT_OF(types))
			return at;
	}
	return 0;
}

/* Records that begin a request. */
static size_t count_begun(const uint8_t *data, size_t size)
{
	size_t at = 0, begun = 0;

	while (size - at >= FCGI_HEADER_LEN) {
		begun += data[at + 1] == FCGI_BEGIN_REQUEST;
		at += (size_t)FCGI_HEADER_LEN + (size_t)(data[at + 4] << 8) +
		      data[at + 5] + data[at + 6];
		if (at > size)
			break;
	}
	return begun;
}

/* ---- the peer ---- */

struct peer {
	struct accept *accept;
	int listen_fd, fd, theirs;
	uint8_t bytes[64 * 1024]; /* what came back */
	size_t size;
	bool closed;
};

static void peer_connect(struct peer *peer)
{
	int fds[2];

	peer->accept = start_loop(&peer->listen_fd);
	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	peer->fd = fds[0];
	peer->theirs = fds[1];
	accept_adopt(peer->accept, fds[1]);
}

/* Whole records came back. @return how many requests were answered; one that
 * was begun inside another is only refused */
static size_t peer_answers(const struct peer *peer, bool *ret_whole)
{
	size_t at = 0, ended = 0;

	while (peer->size - at >= FCGI_HEADER_LEN) {
		const uint8_t *header = peer->bytes + at;
		size_t content = (size_t)(header[4] << 8) + header[5];

		HOLDS(header[0] == FCGI_VERSION_1);
		if (content + header[6] > peer->size - at - FCGI_HEADER_LEN)
			break;
		ended += header[1] == FCGI_END_REQUEST &&
			 header[FCGI_HEADER_LEN + 4] == FCGI_REQUEST_COMPLETE;
		at += FCGI_HEADER_LEN + content + header[6];
	}
	*ret_whole = at == peer->size;
	return ended;
}

static void peer_read(struct peer *peer, int wait_ms)
{
	struct pollfd wait = { .fd = peer->fd, .events = POLLIN };
	ssize_t got;

	if (poll(&wait, 1, wait_ms) <= 0)
		return;
	HOLDS(peer->size < sizeof(peer->bytes));
	got = recv(peer->fd, peer->bytes + peer->size,
		   sizeof(peer->bytes) - peer->size, MSG_DONTWAIT);
	if (got > 0)
		peer->size += (size_t)got;
	else
		peer->closed = true;
}

/* A request, and its answer. @return whether another may follow */
static bool peer_ask(struct peer *peer, const uint8_t *data, size_t size)
{
	size_t calls = served.calls, answered;
	bool keep = data[FCGI_HEADER_LEN + 2] & FCGI_KEEP_CONN, whole;

	HOLDS(send(peer->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
	do {
		peer_read(peer, WAIT_MS);
		answered = peer_answers(peer, &whole);
	} while (!peer->closed && answered == calls);
	HOLDS(served.calls == calls + 1);
	HOLDS(!keep || !served.last_is_whole || !peer->closed);
	return keep && served.last_is_whole;
}

/* Is the loop waiting for the rest of a head, which will never come? */
static bool peer_is_parked(struct peer *peer)
{
	struct accept *accept = peer->accept;
	bool parked;

	pthread_mutex_lock(&accept->lock);
	parked = accept->connection_count > 0 &&
		 accept->connection[peer->theirs].state == CONNECTION_HALF;
	pthread_mutex_unlock(&accept->lock);
	return parked;
}

static void peer_send_rest(struct peer *peer, const uint8_t *data, size_t size)
{
	size_t calls = served.calls;
	bool whole;

	/* It may have been closed already. */
	(void)send(peer->fd, data, size, MSG_NOSIGNAL);
	(void)shutdown(peer->fd, SHUT_WR);
	for (int i = 0; !peer->closed && !peer_is_parked(peer); i++) {
		HOLDS(i < WAIT_MS);
		peer_read(peer, 1);
	}
	HOLDS(served.calls - calls <= count_begun(data, size));
	HOLDS(peer_answers(peer, &whole) <= served.calls);
}

static void check_loop(const uint8_t *data, size_t size)
{
	static struct peer peer;
	size_t clean;
	bool more = true;

	memset(&peer, 0, sizeof(peer));
	served.calls = 0;
	peer_connect(&peer);
	while (more && (clean = clean_request(data, size)) > 0 &&
	       look(data, clean) == HEAD_COMPLETE) {
		more = peer_ask(&peer, data, clean);
		data += clean;
		size -= clean;
	}
	if (more)
		peer_send_rest(&peer, data, size);
	(void)accept_free(peer.accept);
	(void)close(peer.fd);
	(void)close(peer.listen_fd);
}

/* ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;

	if (!ready) {
		struct rlimit limit = { DESCRIPTORS_MAX, DESCRIPTORS_MAX };

		/* The loop has a row for every descriptor there may be. */
		HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		(void)signal(SIGPIPE, SIG_IGN);
		ready = true;
	}
	if (size > STREAM_MAX)
		return 0;
	check_head(data, size);
	check_loop(data, size);
	return 0;
}
