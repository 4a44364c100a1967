/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FCGI_LOOP_H
#define TESTS_UNIT_FCGI_LOOP_H

#include "common/base/clock.h"
#include "fcgi/accept.h"
#include "tests/support/check.h"
#include "tests/unit/fcgi/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The accept loop on a socket of its own, and clients of it. */

enum { LOOP_WAIT_MS = 10 * 1000 };

struct loop {
	struct accept *accept;
	int listen_fd;
	char path[64];
	char folder[32];
	uid_t uid;
};

static inline struct accept_options
loop_options(struct loop *loop, accept_serve_fn *serve, void *context)
{
	return (struct accept_options){
		.listen_fd = loop->listen_fd,
		.peer_uid = &loop->uid,
		.peer_count = 1,
		.threads = 2,
		.connections_max = 100,
		.io_timeout_ms = 2000,
		.request_timeout_ms = 2000,
		.answer_timeout_ms = 2000,
		.body_drain_bytes_max = 1024 * 1024,
		.arena_bytes_max = 1024 * 1024,
		.serve = serve,
		.context = context,
	};
}

static inline void loop_listen(struct loop *loop)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	sigset_t set;

	(void)sigfillset(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	*loop = (struct loop){ .folder = "/tmp/rushes-fcgi-XXXXXX",
			       .uid = getuid() };
	assert_non_null(mkdtemp(loop->folder));
	(void)snprintf(loop->path, sizeof(loop->path), "%s/sock", loop->folder);
	memcpy(address.sun_path, loop->path, strlen(loop->path) + 1);
	loop->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(loop->listen_fd >= 0);
	assert_int_equal(bind(loop->listen_fd, (struct sockaddr *)&address,
			      sizeof(address)),
			 0);
	assert_int_equal(listen(loop->listen_fd, 128), 0);
}

static inline void loop_start(struct loop *loop,
			      const struct accept_options *options)
{
	struct fault fault = { "" };

	if (accept_start(options, &loop->accept, &fault) < 0)
		fail_msg("%s", fault.text);
}

static inline void loop_end(struct loop *loop)
{
	loop->accept = accept_free(loop->accept);
	(void)close(loop->listen_fd);
	(void)unlink(loop->path);
	(void)rmdir(loop->folder);
}

static inline int loop_connect(const struct loop *loop)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, loop->path, strlen(loop->path) + 1);
	assert_true(fd >= 0);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void loop_send(int fd, const struct wire *wire)
{
	size_t at = 0;

	while (at < wire->size) {
		ssize_t sent = write(fd, wire->bytes + at, wire->size - at);

		if (sent < 0) /* the other side hung up, as it may */
			return;
		at += (size_t)sent;
	}
}

/* Tick while waiting. @return whether there is something to read */
static inline bool loop_wait(struct loop *loop, int fd, int64_t most_ms)
{
	int64_t until_ms = clock_monotonic_ms() + most_ms;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	while (clock_monotonic_ms() < until_ms) {
		if (loop->accept)
			accept_tick(loop->accept);
		if (poll(&poll_fd, 1, 20) > 0)
			return true;
	}
	return false;
}

static inline bool loop_read(struct loop *loop, int fd, void *ret, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t got;

		if (!loop_wait(loop, fd, LOOP_WAIT_MS))
			return false;
		got = read(fd, (char *)ret + at, size - at);
		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

/* Read an answer to its end record. @return its status; 0: the connection
 * was closed instead. ret_text, if not NULL, gets headers and body. */
static inline int loop_answer(struct loop *loop, int fd, char *ret_text,
			      size_t size)
{
	char text[65536] = "";
	size_t length = 0;
	int status = 0;

	for (;;) {
		uint8_t header[FCGI_HEADER_LEN];
		char content[65536 + 256];
		size_t bytes;

		if (!loop_read(loop, fd, header, sizeof(header)))
			return 0;
		bytes = (size_t)header[4] << 8 | header[5];
		if (!loop_read(loop, fd, content, bytes + header[6]))
			return 0;
		if (header[1] == FCGI_END_REQUEST)
			break;
		if (header[1] == FCGI_STDOUT && length + bytes < sizeof(text)) {
			memcpy(text + length, content, bytes);
			length += bytes;
		}
	}
	text[length] = '\0';
	(void)sscanf(text, "Status: %d", &status);
	if (ret_text)
		(void)snprintf(ret_text, size, "%s", text);
	return status;
}

/* Is the connection closed, with nothing left to read? */
static inline bool loop_is_closed(struct loop *loop, int fd)
{
	char byte;

	if (!loop_wait(loop, fd, LOOP_WAIT_MS))
		return false;
	return read(fd, &byte, 1) <= 0;
}

#endif
