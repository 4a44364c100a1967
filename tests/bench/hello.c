/* SPDX-License-Identifier: MIT */
/*
 * hello SOCKET THREADS - the least a FastCGI program can do: read a request,
 * answer "hello". What nginx and libfcgi cost, for comparison with
 * rushes-fcgi. Kept connections wait in one epoll set, and threads take those
 * that have a request, as in fcgi/accept.c; there is no other protection, so
 * it is not to be used for anything else.
 *
 * hello SOCKET THREADS DATABASE STATEMENT FIRST - the least that a program
 * does which answers what is committed: all requests that wait are one call of
 * STATEMENT, which is given the numbers of the first and the last of them.
 */
#include "common/base/macro.h"

#include <errno.h>
#include <fcgiapp.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, BATCH_MAX = 512 };

/* A request that is being served, or a spare one. */
struct asked {
	FCGX_Request request;
	struct asked *next;
};

struct hello {
	int epoll_fd;
	int listen_fd;
	PGconn *conn; /* NULL: answer at once */
	int64_t number;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t filled;
	struct asked *waiting, *spare;
};

static void await(const struct hello *hello, int fd, int operation)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
		.data.fd = fd,
	};

	(void)epoll_ctl(hello->epoll_fd, operation, fd, &event);
}

/* ---- one request ---- */

static struct asked *asked_new(struct hello *hello)
{
	struct asked *asked;

	pthread_mutex_lock(&hello->lock);
	asked = hello->spare;
	if (asked)
		hello->spare = asked->next;
	pthread_mutex_unlock(&hello->lock);
	if (asked)
		return asked;
	asked = calloc(1, sizeof(*asked));
	if (!asked || FCGX_InitRequest(&asked->request, -1, 0) != 0)
		abort();
	return asked;
}

static void put(struct hello *hello, struct asked **list, struct asked *asked)
{
	pthread_mutex_lock(&hello->lock);
	asked->next = *list;
	*list = asked;
	pthread_cond_signal(&hello->filled);
	pthread_mutex_unlock(&hello->lock);
}

/* @return whether there is a request to answer */
static bool read_request(FCGX_Request *request, int fd)
{
	char piece[4096];

	request->ipcFd = fd;
	request->keepConnection = 1;
	if (FCGX_Accept_r(request) < 0) {
		if (request->ipcFd >= 0)
			(void)close(request->ipcFd);
		request->ipcFd = -1;
		return false;
	}
	while (FCGX_GetStr(piece, sizeof(piece), request->in) > 0)
		continue;
	return true;
}

static void answer(struct hello *hello, struct asked *asked)
{
	FCGX_Request *request = &asked->request;

	(void)FCGX_PutS("Content-Type: text/plain\r\n\r\nhello\n",
			request->out);
	FCGX_Finish_r(request);
	if (request->ipcFd >= 0)
		await(hello, request->ipcFd, EPOLL_CTL_MOD);
	request->ipcFd = -1;
	put(hello, &hello->spare, asked);
}

static void serve_one(struct hello *hello, int fd)
{
	struct asked *asked = asked_new(hello);

	if (!read_request(&asked->request, fd))
		put(hello, &hello->spare, asked);
	else if (hello->conn)
		put(hello, &hello->waiting, asked);
	else
		answer(hello, asked);
}

static void *serve(void *context)
{
	struct hello *hello = context;

	for (;;) {
		struct epoll_event event;
		int fd;

		if (epoll_wait(hello->epoll_fd, &event, 1, -1) != 1)
			continue;
		if (event.data.fd != hello->listen_fd) {
			serve_one(hello, event.data.fd);
			continue;
		}
		fd = accept4(hello->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			await(hello, fd, EPOLL_CTL_ADD);
	}
	return NULL;
}

/* ---- the database ---- */

static bool is_fine(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!fine)
		(void)fprintf(stderr, "hello: %s",
			      PQresultErrorMessage(result));
	PQclear(result);
	return fine;
}

/* As our own sessions plan. */
static bool connect_to(struct hello *hello, const char *database,
		       const char *statement)
{
	hello->conn = PQconnectdb(database);
	return is_fine(PQexec(hello->conn,
			      "SET plan_cache_mode = force_generic_plan; "
			      "SET enable_seqscan = off; SET jit = off")) &&
	       is_fine(PQprepare(hello->conn, "rows", statement, 0, NULL));
}

static bool write_rows(struct hello *hello, size_t count)
{
	char first[24], last[24];
	const char *const params[] = { first, last };

	(void)snprintf(first, sizeof(first), "%" PRId64, hello->number);
	hello->number += (int64_t)count;
	(void)snprintf(last, sizeof(last), "%" PRId64, hello->number - 1);
	return is_fine(
		PQexecPrepared(hello->conn, "rows", 2, params, NULL, NULL, 0));
}

static size_t take_all(struct hello *hello, struct asked **ret)
{
	size_t count = 0;

	pthread_mutex_lock(&hello->lock);
	while (!hello->waiting)
		pthread_cond_wait(&hello->filled, &hello->lock);
	for (; hello->waiting && count < BATCH_MAX; count++) {
		ret[count] = hello->waiting;
		hello->waiting = hello->waiting->next;
	}
	pthread_mutex_unlock(&hello->lock);
	return count;
}

static void *commit(void *context)
{
	struct hello *hello = context;
	struct asked *taken[BATCH_MAX];

	for (;;) {
		size_t count = take_all(hello, taken);

		if (!write_rows(hello, count))
			_exit(1); /* the load then sees errors */
		for (size_t i = 0; i < count; i++)
			answer(hello, taken[i]);
	}
	return NULL;
}

/* ---- beginning ---- */

static bool begin(struct hello *hello, void *(*work)(void *))
{
	pthread_t thread;

	return pthread_create(&thread, NULL, work, hello) == 0;
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
	struct hello hello = {
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.filled = PTHREAD_COND_INITIALIZER,
	};
	bool commits = argc == 6;
	long threads = argc == 3 || commits ? strtol(argv[2], NULL, 10) : 0;

	if (threads < 1 || threads > 64) {
		(void)fprintf(stderr, "usage: hello SOCKET THREADS "
				      "[DATABASE STATEMENT FIRST]\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (commits) {
		hello.number = strtoll(argv[5], NULL, 10);
		if (!connect_to(&hello, argv[3], argv[4]))
			return 1;
	}
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
	if (commits && !begin(&hello, commit))
		return 1;
	for (long i = 1; i < threads; i++) {
		if (!begin(&hello, serve))
			return 1;
	}
	(void)serve(&hello);
	return 0;
}
