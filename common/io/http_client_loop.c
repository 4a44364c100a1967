/* SPDX-License-Identifier: MIT */
#include "common/io/http_client_loop.h"

#include "common/model/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDLE_CONNECTIONS_MAX = 512,
	/* Servers close idle connections after a minute or so, and a request
	 * written into a connection that just closed is a request lost. */
	IDLE_CONNECTION_S = 30,
	NAME_KEPT_S = 5,
	/* Sockets served before other sources of the loop get their turn. */
	EVENTS_AT_ONCE = 64,
};

/* The sockets are in an epoll set of their own, which is one source of the
 * event loop: sd-event asks the kernel about all sources that are ready again
 * for each that it dispatches, and here there may be thousands. */
struct http_loop {
	sd_event *event;
	sd_event_source *timer, *sockets;
	int sockets_fd;
	CURLM *multi;
};

/* libcurl's answer to work done is a list of handles that are through. */
static void reap(struct http_loop *loop)
{
	struct http_wire *wire;
	CURLMsg *message;
	CURLcode code;
	int left;

	while ((message = curl_multi_info_read(loop->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		/* The message dies with the handle's removal. */
		code = message->data.result;
		wire = NULL;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
					&wire);
		assert(wire);
		http_wire_stop(wire);
		wire->done(code, wire->userdata);
	}
}

static void act(struct http_loop *loop, int fd, uint32_t revents)
{
	int running, what = 0;

	if (revents & (EPOLLIN | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (revents & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	(void)curl_multi_socket_action(loop->multi, fd, what, &running);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents,
		 void *userdata)
{
	struct http_loop *loop = userdata;
	struct epoll_event ready[EVENTS_AT_ONCE];
	int count = epoll_wait(fd, ready, EVENTS_AT_ONCE, 0);

	(void)source;
	(void)revents;
	/* One may close the socket of a later one, and even open another with
	 * its number: libcurl ignores the first and only looks in vain at the
	 * second. */
	for (int i = 0; i < count; i++)
		act(loop, ready[i].data.fd, ready[i].events);
	reap(loop);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct http_loop *loop = userdata;
	int running;

	(void)source;
	(void)usec;
	(void)curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0,
				       &running);
	reap(loop);
	return 0;
}

/* libcurl wants a socket watched. That it is already is kept as the socket's
 * own pointer in libcurl. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *userdata,
		 void *watched)
{
	struct epoll_event event = { .data.fd = fd };
	struct http_loop *loop = userdata;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(loop->sockets_fd, EPOLL_CTL_DEL, fd, NULL);
		(void)curl_multi_assign(loop->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(loop->sockets_fd, watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		      fd, &event) < 0)
		return -1;
	if (!watched)
		(void)curl_multi_assign(loop->multi, fd, loop);
	return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *userdata)
{
	struct http_loop *loop = userdata;

	(void)multi;
	if (timeout_ms < 0)
		return sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
	if (sd_event_source_set_time_relative(loop->timer,
					      (uint64_t)timeout_ms * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(loop->timer, SD_EVENT_ONESHOT);
}

static void init_once(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	/* A peer that hangs up is an error to handle, not a reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
}

int http_loop_new(sd_event *event, struct http_loop **ret,
		  struct fault *reterr_fault)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	_cleanup_(http_loop_freep) struct http_loop *loop = NULL;
	int r;

	(void)pthread_once(&once, init_once);
	loop = calloc(1, sizeof(*loop));
	if (loop) {
		loop->sockets_fd = epoll_create1(EPOLL_CLOEXEC);
		loop->multi = curl_multi_init();
	}
	if (!loop || !loop->multi)
		return fault_set(reterr_fault, -ENOMEM, "no memory for HTTP");

	loop->event = sd_event_ref(event);
	r = loop->sockets_fd < 0 ? -errno : 0;
	if (r >= 0)
		r = sd_event_add_io(event, &loop->sockets, loop->sockets_fd,
				    EPOLLIN, on_io, loop);
	if (r >= 0)
		r = sd_event_add_time(event, &loop->timer, CLOCK_MONOTONIC, 0,
				      1, on_timer, loop);
	if (r >= 0)
		r = sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
	if (r < 0)
		return fault_set(reterr_fault, r, "HTTP: %s", strerror(-r));

	(void)curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, watch);
	(void)curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	(void)curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	(void)curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS,
				(long)IDLE_CONNECTIONS_MAX);

	*ret = TAKE_PTR(loop);
	return 0;
}

struct http_loop *http_loop_free(struct http_loop *loop)
{
	if (!loop)
		return NULL;
	if (loop->multi)
		(void)curl_multi_cleanup(loop->multi);
	(void)sd_event_source_disable_unref(loop->timer);
	(void)sd_event_source_disable_unref(loop->sockets);
	if (loop->sockets_fd >= 0)
		(void)close(loop->sockets_fd);
	(void)sd_event_unref(loop->event);
	free(loop);
	return NULL;
}

/* May this handle talk to that address? It is asked about the address that
 * is about to be used, whatever names, redirects and encodings led there. */
static bool may_reach(struct http_wire *wire, const struct sockaddr *address,
		      socklen_t size)
{
	if (wire->reach != HTTP_REACH_ANY)
		wire->refused = address_refusal(
			address, size, wire->reach == HTTP_REACH_LOOPBACK);
	return !wire->refused;
}

static curl_socket_t open_socket(void *userdata, curlsocktype purpose,
				 struct curl_sockaddr *address)
{
	struct http_wire *wire = userdata;
	int fd;

	if (purpose != CURLSOCKTYPE_IPCXN ||
	    !may_reach(wire, &address->addr, address->addrlen))
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
		    address->protocol);
	wire->starved = fd < 0 && (errno == EMFILE || errno == ENFILE ||
				   errno == ENOBUFS || errno == ENOMEM);
	return fd;
}

/* Called also when a kept connection is used again, where open_socket() is
 * not: the connection may have been opened for a handle with wider reach. */
static int before_request(void *userdata, char *peer, char *local,
			  int peer_port, int local_port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct http_wire *wire = userdata;
	bool may = false;

	(void)local;
	(void)peer_port;
	(void)local_port;
	if (inet_pton(AF_INET, peer, &four.sin_addr) == 1)
		may = may_reach(wire, (struct sockaddr *)&four, sizeof(four));
	else if (inet_pton(AF_INET6, peer, &six.sin6_addr) == 1)
		may = may_reach(wire, (struct sockaddr *)&six, sizeof(six));
	if (!may)
		return CURL_PREREQFUNC_ABORT;
	wire->reached = true;
	return CURL_PREREQFUNC_OK;
}

/* What libcurl copies, and may have no memory for: a handle without these
 * rules must not be used. */
static bool set_texts(CURL *easy, enum http_reach reach)
{
	const char *protocols =
		reach == HTTP_REACH_PUBLIC ? "https" : "https,http";
	const struct {
		CURLoption option;
		const char *text;
	} texts[] = {
		{ CURLOPT_PROTOCOLS_STR, protocols },
		{ CURLOPT_REDIR_PROTOCOLS_STR, protocols },
		/* A proxy in the environment would make the address filter
		 * see the proxy instead of the peer. */
		{ CURLOPT_PROXY, "" },
		{ CURLOPT_NOPROXY, "*" },
		{ CURLOPT_USERAGENT, "rushes" },
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (curl_easy_setopt(easy, texts[i].option, texts[i].text) !=
		    CURLE_OK)
			return false;
	}
	return true;
}

int http_wire_prepare(struct http_wire *wire, enum http_reach reach)
{
	CURL *easy;

	http_wire_done(wire);
	easy = curl_easy_init();
	if (!easy)
		return -ENOMEM;

	if (!set_texts(easy, reach)) {
		curl_easy_cleanup(easy);
		return -ENOMEM;
	}
	*wire = (struct http_wire){ .easy = easy, .reach = reach };
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, wire);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, wire->error);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Giving up while a name is being looked up must not wait for it. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	/* A wrong answer of a name server, a forbidden address above all,
	 * would else be believed for a minute after it was right again. */
	(void)curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT,
			       (long)NAME_KEPT_S);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
			       (long)CURL_HTTP_VERSION_2TLS);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_SSLVERSION,
			       (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN,
			       (long)IDLE_CONNECTION_S);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, wire);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, wire);
	return 0;
}

/* The path and query of a URL that libcurl would send as they are; or NULL. */
static const char *plain_target(const char *url)
{
	const char *host = strstr(url, "://");
	const char *path = host ? strpbrk(host + 3, "/?#") : NULL;

	if (!path || *path != '/' || strstr(path, "/."))
		return NULL;
	for (const char *c = path; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '#')
			return NULL;
	return path;
}

/* Said once more as what to put into the request's line: libcurl 7.88 goes on
 * without a URL's query when it has no memory for it, so a start would be paid
 * for with no webhook, and a list be another one. */
int http_wire_aim(struct http_wire *wire, const char *url)
{
	return curl_easy_setopt(wire->easy, CURLOPT_URL, url) == CURLE_OK &&
			       curl_easy_setopt(wire->easy,
						CURLOPT_REQUEST_TARGET,
						plain_target(url)) == CURLE_OK
		       ? 0
		       : -ENOMEM;
}

int http_wire_start(struct http_wire *wire, struct http_loop *loop,
		    http_wire_done_fn *done, void *userdata)
{
	assert(!wire->loop);
	wire->done = done;
	wire->userdata = userdata;
	wire->refused = NULL;
	wire->reached = wire->starved = false;
	wire->error[0] = '\0';
	/* Nothing but memory may be wrong with a fresh handle. */
	if (curl_multi_add_handle(loop->multi, wire->easy) != CURLM_OK)
		return -ENOMEM;
	wire->loop = loop;
	return 0;
}

void http_wire_stop(struct http_wire *wire)
{
	if (wire->loop)
		(void)curl_multi_remove_handle(wire->loop->multi, wire->easy);
	wire->loop = NULL;
}

void http_wire_done(struct http_wire *wire)
{
	http_wire_stop(wire);
	if (wire->easy)
		curl_easy_cleanup(wire->easy);
	wire->easy = NULL;
}

void http_wire_explain(const struct http_wire *wire, CURLcode code,
		       struct fault *ret)
{
	const char *text = "";

	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
		text = wire->error;
		break;
	default:
		break;
	}
	if (!*text)
		text = curl_easy_strerror(code);
	if (wire->refused)
		(void)fault_set(ret, 0, "address not allowed: %s",
				wire->refused);
	else if (wire->starved)
		(void)fault_set(ret, 0, "no descriptor is left for it");
	else
		(void)fault_set(ret, 0, "%s", text);
}

static bool is_clean(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

int http_list_add(struct curl_slist **list, const char *name, const char *value)
{
	struct curl_slist *longer;
	char *line = NULL;
	int length;

	if (!*name || !is_clean(name) || !is_clean(value) ||
	    strpbrk(name, ":; "))
		return -EINVAL;
	/* "name;" is libcurl's way to say a header without a value; "name:"
	 * would take the header away. */
	length = *value ? asprintf(&line, "%s: %s", name, value)
			: asprintf(&line, "%s;", name);
	if (length < 0)
		return -ENOMEM;
	longer = curl_slist_append(*list, line);
	free(line);
	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}
