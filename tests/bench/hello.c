/* SPDX-License-Identifier: MIT */
/*
 * hello SOCKET THREADS - the least a FastCGI program can do: read a request,
 * answer "hello". What nginx and libfcgi cost, for comparison with
 * rushes-fcgi. Kept connections wait in one epoll set, and threads take those
 * that have a request, as in fcgi/accept.c; there is no other protection, so
 * it is not to be used for anything else.
 */
#include "common/base/macro.h"

#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

struct hello {
	int epoll_fd;
	int listen_fd;
};

static void await(const struct hello *hello, int fd, int operation)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
		.data.fd = fd,
	};

	(void)epoll_ctl(hello->epoll_fd, operation, fd, &event);
}

static void answer(const struct hello *hello, FCGX_Request *request, int fd)
{
	char piece[4096];

	request->ipcFd = fd;
	request->keepConnection = 1;
	if (FCGX_Accept_r(request) < 0) {
		if (request->ipcFd >= 0)
			(void)close(request->ipcFd);
		request->ipcFd = -1;
		return;
	}
	while (FCGX_GetStr(piece, sizeof(piece), request->in) > 0)
		continue;
	(void)FCGX_PutS("Content-Type: text/plain\r\n\r\nhello\n",
			request->out);
	FCGX_Finish_r(request);
	if (request->ipcFd >= 0)
		await(hello, request->ipcFd, EPOLL_CTL_MOD);
	request->ipcFd = -1;
}

static void *serve(void *context)
{
	const struct hello *hello = context;
	FCGX_Request request;

	(void)FCGX_InitRequest(&request, -1, 0);
	for (;;) {
		struct epoll_event event;
		int fd;

		if (epoll_wait(hello->epoll_fd, &event, 1, -1) != 1)
			continue;
		if (event.data.fd != hello->listen_fd) {
			answer(hello, &request, event.data.fd);
			continue;
		}
		fd = accept4(hello->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			await(hello, fd, EPOLL_CTL_ADD);
	}
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct hello hello = { .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	long threads = argc == 3 ? strtol(argv[2], NULL, 10) : 0;

	if (threads < 1 || threads > 64) {
		(void)fprintf(stderr, "usage: hello SOCKET THREADS\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	hello.listen_fd = listen_at(argv[1]);
	if (hello.listen_fd < 0 || FCGX_Init() != 0) {
		(void)fprintf(stderr, "hello: %s: %s\n", argv[1],
			      strerror(-hello.listen_fd));
		return 1;
	}
	/* libfcgi has taken it, and would only note it. */
	(void)signal(SIGTERM, SIG_DFL);
	event.data.fd = hello.listen_fd;
	(void)epoll_ctl(hello.epoll_fd, EPOLL_CTL_ADD, hello.listen_fd, &event);
	for (long i = 1; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, &hello) != 0)
			return 1;
	}
	(void)serve(&hello);
	return 0;
}
