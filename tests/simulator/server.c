/* SPDX-License-Identifier: MIT */
/* libmicrohttpd, driven by our loop; requests, replies and held replies. */
#include "tests/simulator/server.h"

#include "tests/simulator/handlers.h"
#include "tests/simulator/job.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/mischief.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, BACKLOG = 1024, ARENA_MAX = 256 << 20 };

struct server {
	struct sim *sim;
	struct MHD_Daemon *daemon;
	struct loop_watch *watch;
	struct request *held; /* suspended connections */
	uint16_t port;
};

/* What is known of a connection: libmicrohttpd keeps it with the socket. */
struct peer {
	int64_t requests;
};

static const struct {
	const char *prefix;
	request_fn *fn;
} routes[] = {
	{ "/replicate/v1/", replicate_handle },
	{ "/fal/", fal_handle },
	{ "/vertex/", vertex_handle },
	{ "/gcs/storage/v1/b/", gcs_handle },
	{ "/google/token", oauth_handle },
	{ "/media/", media_handle },
	{ "/_", control_handle },
};

static void hold(struct request *request)
{
	struct server *server = request->sim->server;

	MHD_suspend_connection(request->connection);
	request->suspended = true;
	request->previous_held = NULL;
	request->next_held = server->held;
	if (server->held)
		server->held->previous_held = request;
	server->held = request;
	if (request->hold_ms > 0)
		loop_arm(request->sim->loop, &request->timer, request->hold_ms);
}

void request_suspend(struct request *request, int64_t for_ms)
{
	request->hold_ms = for_ms;
	hold(request);
}

void request_wake(struct request *request)
{
	struct server *server = request->sim->server;

	request->hold_ms = 0;
	loop_disarm(request->sim->loop, &request->timer);
	if (!request->suspended)
		return;
	request->suspended = false;
	if (request->previous_held)
		request->previous_held->next_held = request->next_held;
	else
		server->held = request->next_held;
	if (request->next_held)
		request->next_held->previous_held = request->previous_held;
	MHD_resume_connection(request->connection);
}

static void wake_by_time(void *context)
{
	request_wake(context);
}

static enum http_method method_of(const char *name)
{
	static const enum http_method methods[] = {
		HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE,
	};

	for (size_t i = 0; i < COUNT_OF(methods); i++)
		if (strcmp(name, http_method_name(methods[i])) == 0)
			return methods[i];
	return HTTP_OTHER;
}

/* libmicrohttpd hands over the raw target first: here a request begins. */
static void *begin_request(void *context, const char *url,
			   struct MHD_Connection *connection)
{
	struct server *server = context;
	struct request *request = take(sizeof(*request));
	char *query;

	request->sim = server->sim;
	request->connection = connection;
	request->arena = arena_new(ARENA_MAX);
	request->url = take_text(url);
	request->timer =
		(struct loop_timer){ .fn = wake_by_time, .context = request };
	query = strchr(request->url, '?');
	if (query)
		*query++ = '\0';
	request->path = request->url;
	request->query = query ? query : "";
	server->sim->requests++;
	return request;
}

static void end_request(void *context, struct MHD_Connection *connection,
			void **req_cls, enum MHD_RequestTerminationCode code)
{
	struct request *request = *req_cls;

	(void)context;
	(void)connection;
	if (!request)
		return;
	*req_cls = NULL;
	if (request->served)
		media_served(request,
			     code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (request->waited_for)
		request->waited_for->waiter = NULL;
	loop_disarm(request->sim->loop, &request->timer);
	if (request->reply.response)
		MHD_destroy_response(request->reply.response);
	free(request->reply.body);
	free(request->body);
	free(request->url);
	arena_free(request->arena);
	free(request);
}

static void note_connection(void *context, struct MHD_Connection *connection,
			    void **socket_context,
			    enum MHD_ConnectionNotificationCode code)
{
	(void)context;
	(void)connection;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = take(sizeof(struct peer));
	} else {
		free(*socket_context);
		*socket_context = NULL;
	}
}

static void count_on_connection(struct request *request)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		request->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct peer *peer = info ? info->socket_context : NULL;

	if (peer)
		request->reused = peer->requests++ > 0;
}

static void add_to_body(struct request *request, const char *bytes, size_t size)
{
	if (request->body_bytes + size > REQUEST_BODY_MAX) {
		request->body_too_large = true;
		return;
	}
	if (request->body_bytes + size + 1 > request->body_room) {
		size_t room = 2 * request->body_room;
		char *body;

		if (room < request->body_bytes + size + 1)
			room = request->body_bytes + size + 1024;
		body = realloc(request->body, room);
		if (!body)
			abort();
		request->body = body;
		request->body_room = room;
	}
	memcpy(request->body + request->body_bytes, bytes, size);
	request->body_bytes += size;
	request->body[request->body_bytes] = '\0';
}

struct half {
	size_t bytes;
	char body[];
};

static ssize_t read_half(void *context, uint64_t at, char *buffer, size_t most)
{
	struct half *half = context;
	size_t left = half->bytes - (size_t)at;

	if (left == 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (left > most)
		left = most;
	memcpy(buffer, half->body + at, left);
	return (ssize_t)left;
}

static struct MHD_Response *response_of(struct reply *reply)
{
	struct MHD_Response *response = reply->response;

	reply->response = NULL;
	if (response)
		return response;
	if (reply->kind == REPLY_PARTIAL) {
		struct half *half = take(sizeof(*half) + reply->bytes);

		half->bytes = reply->bytes / 2;
		if (reply->bytes > 0)
			memcpy(half->body, reply->body, half->bytes);
		return MHD_create_response_from_callback(reply->bytes, 65536,
							 read_half, half, free);
	}
	response = MHD_create_response_from_buffer(
		reply->bytes, reply->body,
		reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (response)
		reply->body = NULL;
	return response;
}

static enum MHD_Result send_reply(struct request *request)
{
	struct reply *reply = &request->reply;
	struct MHD_Response *response;
	enum MHD_Result result;

	if (reply->kind == REPLY_CLOSE)
		return MHD_NO;
	response = response_of(reply);
	if (!response)
		return MHD_NO;
	if (reply->type)
		(void)MHD_add_response_header(response, "Content-Type",
					      reply->type);
	for (size_t i = 0; i < reply->header_count; i++)
		(void)MHD_add_response_header(response, reply->header[i].name,
					      reply->header[i].value);
	result = MHD_queue_response(request->connection, reply->status,
				    response);
	MHD_destroy_response(response);
	return result;
}

static void handle(struct request *request)
{
	request->handled = true;
	if (request->body_too_large) {
		reply_text(request, 413, "text/plain", "too large\n");
		return;
	}
	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		size_t length = strlen(routes[i].prefix);

		if (strncmp(request->path, routes[i].prefix, length) != 0)
			continue;
		routes[i].fn(request);
		return;
	}
	reply_json(request, 404,
		   json_pack("{s:s, s:i}", "detail", "no such route", "status",
			     404));
}

/* Its parameters are libmicrohttpd's.
 * NOLINTNEXTLINE(readability-function-size) */
static enum MHD_Result on_request(void *context,
				  struct MHD_Connection *connection,
				  const char *url, const char *method,
				  const char *version, const char *upload,
				  size_t *upload_size, void **req_cls)
{
	struct request *request = *req_cls;

	(void)context;
	(void)connection;
	(void)url;
	(void)version;
	if (!request->begun) {
		request->begun = true;
		request->method = method_of(method);
		count_on_connection(request);
		if (mischief_at_head(request))
			return MHD_NO;
		request->head_done = true;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		add_to_body(request, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (!request->handled) {
		handle(request);
		if (request->hold_ms != 0) {
			hold(request);
			return MHD_YES;
		}
	}
	if (request->tells_end && request->waited_for)
		replicate_tell_end(request, request->waited_for);
	return send_reply(request);
}

static void on_readable(void *context, uint32_t events)
{
	(void)context; /* server_work() is called after every wait */
	(void)events;
}

static int listen_on(const struct sim_options *options, uint16_t *ret_port,
		     struct fault *reterr_fault)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(options->port) };
	socklen_t size = sizeof(address);
	int fd, r, one = 1;

	if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1)
		return fault_set(reterr_fault, -EINVAL,
				 "--host %s is not an IPv4 address",
				 options->host);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fault_set(reterr_fault, -errno, "socket: %s",
				 strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
		r = fault_set(reterr_fault, -errno, "listen on %s:%u: %s",
			      options->host, options->port, strerror(errno));
		(void)close(fd);
		return r;
	}
	*ret_port = ntohs(address.sin_port);
	return fd;
}

struct server *server_new(struct sim *sim, struct fault *reterr_fault)
{
	struct server *server = take(sizeof(*server));
	const union MHD_DaemonInfo *info = NULL;
	int fd;

	server->sim = sim;
	fd = listen_on(&sim->options, &server->port, reterr_fault);
	if (fd < 0) {
		free(server);
		return NULL;
	}
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536,
		MHD_OPTION_CONNECTION_TIMEOUT, 120u,
		MHD_OPTION_URI_LOG_CALLBACK, begin_request, server,
		MHD_OPTION_NOTIFY_COMPLETED, end_request, server,
		MHD_OPTION_NOTIFY_CONNECTION, note_connection, server,
		MHD_OPTION_END);
	if (server->daemon)
		info = MHD_get_daemon_info(server->daemon,
					   MHD_DAEMON_INFO_EPOLL_FD);
	if (info)
		server->watch = loop_add(sim->loop, info->epoll_fd, EPOLLIN,
					 on_readable, server);
	if (!server->watch) {
		(void)fault_set(reterr_fault, -ENOMEM,
				"libmicrohttpd does not start");
		return server_free(server);
	}
	return server;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	while (server->held) {
		server->held->reply.kind = REPLY_CLOSE;
		request_wake(server->held);
	}
	if (server->watch)
		loop_remove(server->sim->loop, server->watch);
	if (server->daemon) {
		(void)MHD_run(server->daemon);
		MHD_stop_daemon(server->daemon);
	}
	free(server);
	return NULL;
}

uint16_t server_port(const struct server *server)
{
	return server->port;
}

int64_t server_work(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	(void)MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES)
		return -1;
	return wait_ms > INT32_MAX ? INT32_MAX : (int64_t)wait_ms;
}
