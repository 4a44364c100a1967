/* SPDX-License-Identifier: MIT */
/* libcurl's multi interface in our loop. */
#include "tests/simulator/outgoing.h"

#include "tests/simulator/memory.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { CONNECTIONS_MAX = 128, CONNECT_TIMEOUT_MS = 5000 };

struct outgoing {
	struct sim *sim;
	CURLM *multi;
	struct loop_timer timer;
	struct exchange **under_way; /* to end them when we end */
	size_t count, room;
	/* More than libcurl is given at once: whenever one ends it would go
	 * through all that wait for a connection. */
	struct exchange *waiting, *last_waiting;
	size_t running;
};

static void run(struct outgoing *outgoing, struct exchange *exchange)
{
	exchange->running = true;
	outgoing->running++;
	(void)curl_multi_add_handle(outgoing->multi, exchange->easy);
}

static void run_next(struct outgoing *outgoing)
{
	struct exchange *exchange = outgoing->waiting;

	if (!exchange || outgoing->running >= CONNECTIONS_MAX)
		return;
	outgoing->waiting = exchange->next;
	run(outgoing, exchange);
}

static void finish(struct outgoing *outgoing, struct exchange *exchange,
		   bool answered)
{
	uint8_t hash[SHA256_BYTES];
	curl_off_t took_us = 0;
	long status = 0;

	(void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE,
				&status);
	(void)curl_easy_getinfo(exchange->easy, CURLINFO_TOTAL_TIME_T,
				&took_us);
	exchange->status = answered ? (unsigned)status : 0;
	exchange->took_ms = took_us / 1000;
	sha256_finish(exchange->hash, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(exchange->sha256 + 2 * i, 3, "%02x", hash[i]);
	exchange->hash = sha256_free(exchange->hash);
	if (exchange->running) {
		(void)curl_multi_remove_handle(outgoing->multi, exchange->easy);
		outgoing->running--;
	}
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->list);
	exchange->easy = NULL;
	exchange->list = NULL;
	outgoing->under_way[exchange->index] =
		outgoing->under_way[--outgoing->count];
	outgoing->under_way[exchange->index]->index = exchange->index;
	exchange->done(exchange, exchange->context);
}

static void collect(struct outgoing *outgoing)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(outgoing->multi, &left))) {
		struct exchange *exchange = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
					(char **)&exchange);
		finish(outgoing, exchange, message->data.result == CURLE_OK);
		run_next(outgoing);
	}
}

struct socket_watch {
	struct outgoing *outgoing;
	curl_socket_t fd;
	struct loop_watch *watch;
};

static void on_socket(void *context, uint32_t events)
{
	struct socket_watch *socket = context;
	struct outgoing *outgoing = socket->outgoing;
	int running, what = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		what |= CURL_CSELECT_IN;
	if (events & (EPOLLOUT | EPOLLERR))
		what |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(outgoing->multi, socket->fd, what,
				       &running);
	collect(outgoing);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context,
			void *of_socket)
{
	struct outgoing *outgoing = context;
	struct socket_watch *socket = of_socket;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (socket) {
			loop_remove(outgoing->sim->loop, socket->watch);
			free(socket);
			(void)curl_multi_assign(outgoing->multi, fd, NULL);
		}
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (socket) {
		loop_change(outgoing->sim->loop, socket->watch, events);
		return 0;
	}
	socket = take(sizeof(*socket));
	*socket = (struct socket_watch){ .outgoing = outgoing, .fd = fd };
	socket->watch =
		loop_add(outgoing->sim->loop, fd, events, on_socket, socket);
	if (!socket->watch)
		abort();
	(void)curl_multi_assign(outgoing->multi, fd, socket);
	return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct outgoing *outgoing = context;

	(void)multi;
	if (timeout_ms < 0)
		loop_disarm(outgoing->sim->loop, &outgoing->timer);
	else
		loop_arm(outgoing->sim->loop, &outgoing->timer, timeout_ms);
	return 0;
}

static void on_timer(void *context)
{
	struct outgoing *outgoing = context;
	int running;

	(void)curl_multi_socket_action(outgoing->multi, CURL_SOCKET_TIMEOUT, 0,
				       &running);
	collect(outgoing);
}

struct outgoing *outgoing_new(struct sim *sim)
{
	struct outgoing *outgoing = take(sizeof(*outgoing));

	outgoing->sim = sim;
	outgoing->timer =
		(struct loop_timer){ .fn = on_timer, .context = outgoing };
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		outgoing->multi = curl_multi_init();
	if (!outgoing->multi) {
		free(outgoing);
		return NULL;
	}
	(void)curl_multi_setopt(outgoing->multi, CURLMOPT_SOCKETFUNCTION,
				watch_socket);
	(void)curl_multi_setopt(outgoing->multi, CURLMOPT_SOCKETDATA, outgoing);
	(void)curl_multi_setopt(outgoing->multi, CURLMOPT_TIMERFUNCTION,
				set_timer);
	(void)curl_multi_setopt(outgoing->multi, CURLMOPT_TIMERDATA, outgoing);
	(void)curl_multi_setopt(outgoing->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
				(long)CONNECTIONS_MAX);
	return outgoing;
}

struct outgoing *outgoing_free(struct outgoing *outgoing)
{
	if (!outgoing)
		return NULL;
	while (outgoing->count > 0)
		finish(outgoing, outgoing->under_way[0], false);
	(void)curl_multi_cleanup(outgoing->multi);
	loop_disarm(outgoing->sim->loop, &outgoing->timer);
	curl_global_cleanup();
	free(outgoing->under_way);
	free(outgoing);
	return NULL;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct exchange *exchange = context;

	exchange->bytes += (int64_t)(size * count);
	sha256_add(exchange->hash, bytes, size * count);
	return size * count;
}

static void set_options(struct exchange *exchange, CURL *easy)
{
	struct curl_slist *list = NULL;

	for (size_t i = 0; i < exchange->header_count; i++) {
		_cleanup_text_ char *line =
			take_printf("%s: %s", exchange->header[i].name,
				    exchange->header[i].value);

		list = curl_slist_append(list, line);
	}
	exchange->list = list;
	(void)curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)CONNECT_TIMEOUT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
			       (long)exchange->timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION,
			       exchange->follow ? 1L : 0L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 3L);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "rushes-simulator");
	if (exchange->body) {
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)exchange->body_bytes);
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
				       exchange->body);
	}
}

void outgoing_send(struct outgoing *outgoing, struct exchange *exchange)
{
	CURL *easy = curl_easy_init();

	exchange->hash = sha256_new();
	if (!easy || !exchange->hash)
		abort();
	exchange->easy = easy;
	exchange->status = 0;
	exchange->bytes = 0;
	set_options(exchange, easy);
	if (outgoing->count == outgoing->room) {
		outgoing->room = outgoing->room ? 2 * outgoing->room : 64;
		outgoing->under_way =
			reallocarray(outgoing->under_way, outgoing->room,
				     sizeof(struct exchange *));
		if (!outgoing->under_way)
			abort();
	}
	exchange->index = outgoing->count;
	outgoing->under_way[outgoing->count++] = exchange;
	exchange->running = false;
	exchange->next = NULL;
	if (outgoing->running < CONNECTIONS_MAX) {
		run(outgoing, exchange);
		return;
	}
	if (outgoing->waiting)
		outgoing->last_waiting->next = exchange;
	else
		outgoing->waiting = exchange;
	outgoing->last_waiting = exchange;
}
