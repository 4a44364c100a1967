/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_COMMON_IO_PEER_H
#define TESTS_UNIT_COMMON_IO_PEER_H

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

/*
 * A peer on loopback that speaks as much HTTP/1.1 as a test wants, and
 * misbehaves as it is told: one thread a connection, one function a request.
 */

enum { PEER_CONNECTIONS_MAX = 128, PEER_REQUEST_MAX = 65536 };

struct peer;

/* Answer a request (head and body, NUL-terminated) by writing to fd. @return
 * whether the connection stays */
typedef bool peer_serve_fn(struct peer *peer, int fd, const char *request);

struct peer {
	int listen_fd;
	uint16_t port;
	pthread_t thread;
	peer_serve_fn *serve;
	atomic_int connections, requests;
	atomic_bool stopping;
	int fd[PEER_CONNECTIONS_MAX];
	pthread_t threads[PEER_CONNECTIONS_MAX];
};

struct peer_connection {
	struct peer *peer;
	int fd;
};

static inline void peer_write(int fd, const void *bytes, size_t size)
{
	const char *next = bytes;

	while (size > 0) {
		ssize_t n = send(fd, next, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		next += n;
		size -= (size_t)n;
	}
}

static inline void peer_say(int fd, const char *text)
{
	peer_write(fd, text, strlen(text));
}

/* Read one request to its end. @return false when there is none */
static inline bool peer_read_request(int fd, char *buffer, size_t size)
{
	size_t have = 0, want = SIZE_MAX;

	while (have < want) {
		ssize_t n = recv(fd, buffer + have, size - 1 - have, 0);
		const char *end, *length;

		if (n <= 0)
			return false;
		have += (size_t)n;
		buffer[have] = '\0';
		end = strstr(buffer, "\r\n\r\n");
		if (!end || want != SIZE_MAX)
			continue;
		length = strcasestr(buffer, "\r\nContent-Length:");
		want = (size_t)(end + 4 - buffer) +
		       (length && length < end ? strtoul(length + 17, NULL, 10)
					       : 0);
	}
	return true;
}

static inline void *peer_run_connection(void *userdata)
{
	struct peer_connection *connection = userdata;
	struct peer *peer = connection->peer;
	char *buffer = malloc(PEER_REQUEST_MAX);
	int fd = connection->fd;

	free(connection);
	while (buffer && peer_read_request(fd, buffer, PEER_REQUEST_MAX)) {
		(void)atomic_fetch_add(&peer->requests, 1);
		if (!peer->serve(peer, fd, buffer))
			break;
	}
	(void)shutdown(fd, SHUT_RDWR);
	free(buffer);
	return NULL;
}

static inline void *peer_run(void *userdata)
{
	struct peer *peer = userdata;
	int fd;

	while ((fd = accept(peer->listen_fd, NULL, NULL)) >= 0) {
		struct peer_connection *connection =
			malloc(sizeof(*connection));
		int i = atomic_load(&peer->connections);

		assert(connection && i < PEER_CONNECTIONS_MAX);
		*connection = (struct peer_connection){ peer, fd };
		peer->fd[i] = fd;
		/* Counted before it is served, so that whoever has an answer
		 * finds it counted. */
		(void)atomic_fetch_add(&peer->connections, 1);
		(void)pthread_create(&peer->threads[i], NULL,
				     peer_run_connection, connection);
	}
	return NULL;
}

/* A port that nobody listens on. */
static inline uint16_t peer_bind(int *ret_fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(*ret_fd >= 0);
	if (bind(*ret_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockname(*ret_fd, (struct sockaddr *)&address, &size) < 0)
		abort();
	return ntohs(address.sin_port);
}

static inline void peer_start(struct peer *peer, peer_serve_fn *serve)
{
	memset(peer, 0, sizeof(*peer));
	peer->serve = serve;
	peer->port = peer_bind(&peer->listen_fd);
	if (listen(peer->listen_fd, 128) < 0 ||
	    pthread_create(&peer->thread, NULL, peer_run, peer) != 0)
		abort();
}

static inline void peer_stop(struct peer *peer)
{
	int count;

	atomic_store(&peer->stopping, true);
	(void)shutdown(peer->listen_fd, SHUT_RDWR);
	(void)pthread_join(peer->thread, NULL);
	count = atomic_load(&peer->connections);
	for (int i = 0; i < count; i++)
		(void)shutdown(peer->fd[i], SHUT_RDWR);
	for (int i = 0; i < count; i++) {
		(void)pthread_join(peer->threads[i], NULL);
		(void)close(peer->fd[i]);
	}
	(void)close(peer->listen_fd);
}

/* http://127.0.0.1:port/path, in one of a few buffers that take turns. */
static inline const char *peer_url(const struct peer *peer, const char *path)
{
	static char buffers[8][256];
	static int turn;
	char *url = buffers[turn++ % 8];

	(void)snprintf(url, sizeof(buffers[0]), "http://127.0.0.1:%u%s",
		       (unsigned)peer->port, path);
	return url;
}

/* Run the loop until *done reaches want; abort the test after 20 s. */
static inline void peer_run_loop(sd_event *event, const int *done, int want)
{
	uint64_t start, now;

	(void)sd_event_now(event, CLOCK_MONOTONIC, &start);
	while (*done < want) {
		(void)sd_event_run(event, 100000);
		(void)sd_event_now(event, CLOCK_MONOTONIC, &now);
		if (now - start > 20 * UINT64_C(1000000)) {
			(void)fprintf(stderr, "nothing after 20 s\n");
			abort();
		}
	}
}

/* Run the loop for some time, for what must not happen. */
static inline void peer_run_for(sd_event *event, uint64_t ms)
{
	uint64_t start, now;

	(void)sd_event_now(event, CLOCK_MONOTONIC, &start);
	do {
		(void)sd_event_run(event, 20000);
		(void)sd_event_now(event, CLOCK_MONOTONIC, &now);
	} while (now - start < ms * 1000);
}

#endif
