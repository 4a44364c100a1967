/* SPDX-License-Identifier: MIT */
#include "common/io/http_client.h"

#include "common/base/clock.h"
#include "common/io/http_client_loop.h"
#include "common/model/limits.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BODY_FIRST_BYTES = 4096,
	/* Exchanges that are over are kept with their libcurl handles, which
	 * take longer to make than a request to send; while nothing is in
	 * flight only a few. */
	SPARE_MOST = 128,
	SPARE_IDLE_MOST = 4,
	/* What the callback may add to its exchange's arena besides answers. */
	ARENA_ROOM_BYTES = 256 * LIMIT_KIB,
};

struct http_client {
	struct http_loop *loop;
	struct http_exchange *first, *spare;
	size_t count, spare_count;
	int64_t connect_timeout_ms;
	int64_t total_timeout_ms;
	enum http_reach reach;
};

struct http_exchange {
	struct http_client *client;
	struct http_exchange *next, *previous;
	struct http_wire wire; /* prepared once; from here on of one request */
	http_done_fn *done;
	void *userdata;
	int64_t started_ms;
	struct arena *arena;

	struct curl_slist *headers;
	char *sent; /* the request's body */
	size_t sent_bytes, sent_offset;
	bool body_left; /* part of it was handed to libcurl */
	bool once;

	struct http_header header[HTTP_RESPONSE_HEADER_MAX];
	size_t header_count, header_bytes;
	bool in_body; /* what looks like a header now is a trailer */
	char *body;
	size_t body_bytes, body_size, body_bytes_max;
	bool too_big;
};

int http_client_new(sd_event *event, const struct conf *conf,
		    struct http_client **ret, struct fault *reterr_fault)
{
	_cleanup_(http_client_freep) struct http_client *client =
		calloc(1, sizeof(*client));
	int r;

	if (!client)
		return fault_set(reterr_fault, -ENOMEM, "no memory for HTTP");
	client->connect_timeout_ms = conf->connect_timeout_ms;
	client->total_timeout_ms = conf->answer_timeout_ms;
	client->reach =
		conf->allow_loopback ? HTTP_REACH_LOOPBACK : HTTP_REACH_PUBLIC;
	r = http_loop_new(event, &client->loop, reterr_fault);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(client);
	return 0;
}

static struct http_exchange *exchange_free(struct http_exchange *exchange)
{
	if (!exchange)
		return NULL;
	http_wire_done(&exchange->wire);
	curl_slist_free_all(exchange->headers);
	(void)arena_free(exchange->arena);
	free(exchange->sent);
	free(exchange->body);
	free(exchange);
	return NULL;
}
DEFINE_CLEANUP(struct http_exchange *, exchange_free);

/* Forget the request; the handle and its options stay. */
static void exchange_reset(struct http_exchange *exchange)
{
	size_t from = offsetof(struct http_exchange, done);

	http_wire_stop(&exchange->wire);
	(void)curl_easy_setopt(exchange->wire.easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(exchange->headers);
	(void)arena_free(exchange->arena);
	free(exchange->sent);
	free(exchange->body);
	memset((char *)exchange + from, 0, sizeof(*exchange) - from);
}

/* Keep it for the next request, if not too many are. */
static struct http_exchange *exchange_spare(struct http_exchange *exchange)
{
	struct http_client *client = exchange->client;

	if (!exchange->wire.easy || client->spare_count >= SPARE_MOST)
		return exchange_free(exchange);
	exchange_reset(exchange);
	exchange->next = client->spare;
	client->spare = exchange;
	client->spare_count++;
	return NULL;
}
DEFINE_CLEANUP(struct http_exchange *, exchange_spare);

static struct http_exchange *take_spare(struct http_client *client)
{
	struct http_exchange *exchange = client->spare;

	if (exchange) {
		client->spare = exchange->next;
		client->spare_count--;
		exchange->next = NULL;
	}
	return exchange;
}

static void exchange_unlink(struct http_exchange *exchange)
{
	struct http_client *client = exchange->client;

	if (exchange->previous)
		exchange->previous->next = exchange->next;
	else
		client->first = exchange->next;
	if (exchange->next)
		exchange->next->previous = exchange->previous;
	exchange->next = NULL;
	exchange->previous = NULL;
	client->count--;
	while (client->count == 0 && client->spare_count > SPARE_IDLE_MOST)
		(void)exchange_free(take_spare(client));
}

void http_exchange_cancel(struct http_exchange *exchange)
{
	if (!exchange)
		return;
	exchange_unlink(exchange);
	(void)exchange_free(exchange);
}

struct http_client *http_client_free(struct http_client *client)
{
	if (!client)
		return NULL;
	while (client->first)
		http_exchange_cancel(client->first);
	while (client->spare)
		(void)exchange_free(take_spare(client));
	(void)http_loop_free(client->loop);
	free(client);
	return NULL;
}

size_t http_client_count(const struct http_client *client)
{
	return client->count;
}

/* ---- libcurl's callbacks ------------------------------------------------ */

static size_t give_body(char *buffer, size_t size, size_t count, void *userdata)
{
	struct http_exchange *exchange = userdata;
	size_t left = exchange->sent_bytes - exchange->sent_offset;
	size_t bytes = size * count < left ? size * count : left;

	memcpy(buffer, exchange->sent + exchange->sent_offset, bytes);
	exchange->sent_offset += bytes;
	exchange->body_left = true;
	return bytes;
}

/* libcurl rewinds the body to repeat a request on a new connection when a
 * kept one died before the first byte of an answer. For a paid start that
 * would be paying twice, so there the rewind fails. */
static int seek_body(void *userdata, curl_off_t offset, int origin)
{
	struct http_exchange *exchange = userdata;

	if (exchange->once || origin != SEEK_SET || offset < 0 ||
	    (size_t)offset > exchange->sent_bytes)
		return CURL_SEEKFUNC_FAIL;
	exchange->sent_offset = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t take_header(char *line, size_t size, size_t count, void *userdata)
{
	struct http_exchange *exchange = userdata;
	size_t bytes = size * count, length = bytes, start;
	const char *colon = memchr(line, ':', bytes);
	struct http_header header;

	if (bytes >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		/* An interim answer (1xx) came before: start again. */
		exchange->header_count = 0;
		return bytes;
	}
	exchange->header_bytes += bytes;
	if (!colon || exchange->in_body ||
	    exchange->header_bytes > LIMIT_HEADERS_BYTES ||
	    exchange->header_count == HTTP_RESPONSE_HEADER_MAX)
		return bytes;

	start = (size_t)(colon - line) + 1;
	while (start < length && (line[start] == ' ' || line[start] == '\t'))
		start++;
	while (length > start && isspace((unsigned char)line[length - 1]))
		length--;
	header.name =
		arena_strndup(exchange->arena, line, (size_t)(colon - line));
	header.value =
		arena_strndup(exchange->arena, line + start, length - start);
	if (header.name && header.value)
		exchange->header[exchange->header_count++] = header;
	return bytes;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *userdata)
{
	struct http_exchange *exchange = userdata;
	size_t more = size * count, want;
	char *longer;

	exchange->in_body = true;
	if (more > exchange->body_bytes_max - exchange->body_bytes) {
		exchange->too_big = true;
		return 0;
	}
	want = exchange->body_bytes + more + 1;
	if (want > exchange->body_size) {
		size_t room = exchange->body_size ? exchange->body_size * 2
						  : BODY_FIRST_BYTES;

		if (room < want)
			room = want;
		longer = realloc(exchange->body, room);
		if (!longer)
			return 0;
		exchange->body = longer;
		exchange->body_size = room;
	}
	memcpy(exchange->body + exchange->body_bytes, bytes, more);
	exchange->body_bytes += more;
	exchange->body[exchange->body_bytes] = '\0';
	return more;
}

static void explain(const struct http_exchange *exchange, CURLcode code,
		    struct http_result *ret)
{
	bool left = exchange->sent_bytes > 0 ? exchange->body_left
					     : exchange->wire.reached;

	ret->outcome = left ? HTTP_LOST : HTTP_NOT_SENT;
	ret->too_big = exchange->too_big;
	ret->starved = !left &&
		       (exchange->wire.starved || code == CURLE_OUT_OF_MEMORY);
	if (exchange->too_big)
		(void)fault_set(&ret->fault, 0, "answer of more than %zu bytes",
				exchange->body_bytes_max);
	else
		http_wire_explain(&exchange->wire, code, &ret->fault);
}

static void on_done(CURLcode code, void *userdata)
{
	_cleanup_(exchange_sparep) struct http_exchange *exchange = userdata;
	struct http_result result = {
		.arena = exchange->arena,
		.elapsed_ms = clock_monotonic_ms() - exchange->started_ms,
	};
	long status = 0;

	exchange_unlink(exchange);
	if (code == CURLE_OK)
		(void)curl_easy_getinfo(exchange->wire.easy,
					CURLINFO_RESPONSE_CODE, &status);
	if (status > 0) {
		result.outcome = HTTP_ANSWERED;
		result.response = (struct http_response){
			.status = (unsigned)status,
			.header = exchange->header,
			.header_count = exchange->header_count,
			.body = exchange->body ? exchange->body : "",
			.body_bytes = exchange->body_bytes,
		};
	} else {
		explain(exchange, code, &result);
	}
	exchange->done(&result, exchange->userdata);
}

/* ---- sending ------------------------------------------------------------ */

/* Not into the list's own place: where there is no memory it stays. */
static bool add_bare(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer)
		*list = longer;
	return longer;
}

static int copy_request(struct http_exchange *exchange,
			const struct http_request *request)
{
	bool typed = false;
	int r;

	for (size_t i = 0; i < request->header_count; i++) {
		const struct http_header *header = &request->header[i];

		r = http_list_add(&exchange->headers, header->name,
				  header->value);
		if (r < 0)
			return r;
		if (strcasecmp(header->name, "Content-Type") == 0)
			typed = true;
	}
	if (request->body_bytes == 0 && request->method == HTTP_GET)
		return 0;
	/* What libcurl would add by itself: a wait of a second for an interim
	 * answer before a large body, and the type of a form. */
	if (!add_bare(&exchange->headers, "Expect:") ||
	    (!typed && !add_bare(&exchange->headers, "Content-Type:")))
		return -ENOMEM;

	if (request->body_bytes > 0) {
		exchange->sent = malloc(request->body_bytes);
		if (!exchange->sent)
			return -ENOMEM;
		memcpy(exchange->sent, request->body, request->body_bytes);
		exchange->sent_bytes = request->body_bytes;
	}
	return 0;
}

static int set_method(struct http_exchange *exchange, enum http_method method)
{
	curl_off_t bytes = (curl_off_t)exchange->sent_bytes;
	CURL *easy = exchange->wire.easy;
	CURLcode code = CURLE_OK;

	/* The handle may have sent something else before; a GET it is unless
	 * something else is said after it. */
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	switch (method) {
	case HTTP_GET:
		return bytes ? -EINVAL : 0;
	case HTTP_HEAD:
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return bytes ? -EINVAL : 0;
	case HTTP_PUT:
		code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
		break;
	case HTTP_DELETE:
		code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
		break;
	case HTTP_POST:
		break;
	default:
		return -EINVAL;
	}
	(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, bytes);
	return code == CURLE_OK ? 0 : -ENOMEM;
}

/* Of the handle, for all requests that it will send. */
static int prepare(struct http_exchange *exchange)
{
	CURL *easy;
	int r;

	r = http_wire_prepare(&exchange->wire, exchange->client->reach);
	if (r < 0)
		return r;
	easy = exchange->wire.easy;
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
	(void)curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	return 0;
}

static int set_options(struct http_exchange *exchange,
		       const struct http_request *request,
		       const struct http_options *options)
{
	const struct http_client *client = exchange->client;
	int64_t connect_ms = options->connect_timeout_ms > 0
				     ? options->connect_timeout_ms
				     : client->connect_timeout_ms;
	int64_t total_ms = options->total_timeout_ms > 0
				   ? options->total_timeout_ms
				   : client->total_timeout_ms;
	CURL *easy = exchange->wire.easy;

	if (http_wire_aim(&exchange->wire, request->url) < 0)
		return -ENOMEM;
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)connect_ms);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)total_ms);
	/* Better to wait for a connection that many requests can share than
	 * to open one for each. */
	(void)curl_easy_setopt(easy, CURLOPT_PIPEWAIT,
			       strncmp(request->url, "https:", 6) ? 0L : 1L);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
	return set_method(exchange, request->method);
}

int http_client_send(struct http_client *client,
		     const struct http_request *request,
		     const struct http_options *options, http_done_fn *done,
		     void *userdata, struct http_exchange **ret_exchange)
{
	static const struct http_options defaults = { 0 };
	_cleanup_(exchange_freep) struct http_exchange *exchange = NULL;
	int r;

	if (!options)
		options = &defaults;
	if (!request->url || strlen(request->url) > LIMIT_URL_BYTES)
		return -EINVAL;
	/* Without a body there is nothing that libcurl must rewind before it
	 * repeats a request, so nothing to stop it with. */
	if (options->once && request->body_bytes == 0)
		return -EINVAL;
	exchange = take_spare(client);
	if (!exchange)
		exchange = calloc(1, sizeof(*exchange));
	if (!exchange)
		return -ENOMEM;
	exchange->client = client;
	if (!exchange->wire.easy) {
		r = prepare(exchange);
		if (r < 0)
			return r;
	}
	exchange->done = done;
	exchange->userdata = userdata;
	exchange->once = options->once;
	exchange->started_ms = clock_monotonic_ms();
	exchange->body_bytes_max = options->response_bytes_max > 0
					   ? options->response_bytes_max
					   : LIMIT_PROVIDER_JSON_BYTES;
	exchange->arena = arena_new(LIMIT_HEADERS_BYTES * 2 + ARENA_ROOM_BYTES +
				    exchange->body_bytes_max * 4);
	if (!exchange->arena)
		return -ENOMEM;
	r = copy_request(exchange, request);
	if (r >= 0)
		r = set_options(exchange, request, options);
	if (r >= 0)
		r = http_wire_start(&exchange->wire, client->loop, on_done,
				    exchange);
	if (r < 0)
		return r;

	exchange->next = client->first;
	if (client->first)
		client->first->previous = exchange;
	client->first = exchange;
	client->count++;
	if (ret_exchange)
		*ret_exchange = exchange;
	exchange = NULL;
	return 0;
}
