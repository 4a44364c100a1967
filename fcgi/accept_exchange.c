/* SPDX-License-Identifier: MIT */
/*
 * A request in libfcgi's hands: made of its parameters, its body read to the
 * end, its answer written.
 */
#include "common/base/clock.h"
#include "common/base/dice.h"
#include "common/base/text.h"
#include "common/model/limits.h"
#include "fcgi/accept_private.h"

#include <ctype.h>
#include <errno.h>
#include <fcgios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { DRAIN_PIECE_BYTES = 16 * 1024 };

/* ---- what libfcgi reads ---- */

/* Of the request whose bytes this thread has libfcgi read. */
static _Thread_local struct incoming *incoming_now;

/*
 * In place of libfcgi's own, which is a plain read(): that would take as much
 * of the next request as is there already, and whatever else a peer says
 * between the records of a body. See accept_head.h.
 */
int OS_Read(int fd, char *buf, size_t len)
{
	struct incoming *incoming = incoming_now;
	ssize_t size;

	if (incoming->passed == 0) {
		size = recv(fd, buf, len, MSG_PEEK);
		if (size <= 0)
			return (int)size;
		incoming->passed = body_records_pass(
			&incoming->records, (uint8_t *)buf, (size_t)size);
		incoming->more =
			(size_t)size > incoming->passed || (size_t)size == len;
	}
	if (incoming->passed == 0) {
		errno = EPROTO;
		return -1;
	}
	size = recv(fd, buf, len < incoming->passed ? len : incoming->passed,
		    0);
	if (size > 0)
		incoming->passed -= (size_t)size;
	return (int)size;
}

/* In place of libfcgi's own, which would close what is not its. */
int OS_IpcClose(int fd, int shutdown)
{
	(void)fd;
	(void)shutdown;
	return 0;
}

/* libfcgi's memory is given back by the thread that took it, and before
 * anybody waits: what another one frees is not found again as fast. */
static void end_reading(struct exchange *exchange)
{
	if (!exchange->read)
		FCGX_Free(&exchange->fcgx, 0);
	exchange->read = true;
}

/* ---- the request ---- */

static enum http_method method_from_name(const char *name)
{
	static const struct {
		const char *name;
		enum http_method method;
	} methods[] = {
		{ "GET", HTTP_GET },	   { "HEAD", HTTP_HEAD },
		{ "POST", HTTP_POST },	   { "PUT", HTTP_PUT },
		{ "DELETE", HTTP_DELETE },
	};

	for (size_t i = 0; i < COUNT_OF(methods); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return methods[i].method;
	}
	return HTTP_OTHER;
}

static const char *param(const FCGX_Request *fcgx, const char *name)
{
	const char *value = FCGX_GetParam(name, fcgx->envp);

	return value ? value : "";
}

/* HTTP_IF_NONE_MATCH=… as a header: if-none-match */
static void add_header(struct request *request, struct http_header *header,
		       const char *text)
{
	const char *equals = strchr(text, '=');
	char *name =
		arena_strndup(request->arena, text, (size_t)(equals - text));

	if (!name)
		return;
	for (char *at = name; *at; at++)
		*at = (char)(*at == '_' ? '-' : tolower((unsigned char)*at));
	*header = (struct http_header){
		.name = name,
		.value = arena_strdup(request->arena, equals + 1),
	};
	request->header_count++;
}

/* All HTTP_… parameters in their order, so that doubled ones can be seen. */
static void copy_headers(struct request *request, char *const *envp)
{
	static const char prefix[] = "HTTP_";
	struct http_header *headers;
	size_t count = 0;

	for (char *const *p = envp; *p; p++)
		count += strncmp(*p, prefix, sizeof(prefix) - 1) == 0;
	headers = arena_alloc(request->arena, (count + 1) * sizeof(*headers));
	if (!headers)
		return;
	request->header = headers;
	for (char *const *p = envp; *p; p++) {
		if (strncmp(*p, prefix, sizeof(prefix) - 1) == 0)
			add_header(request, &headers[request->header_count],
				   *p + sizeof(prefix) - 1);
	}
}

/* Fit to stand in a header, a log line and a JSON text. */
static bool is_request_id(const char *id)
{
	size_t length = strlen(id);

	return length > 0 && length <= LIMIT_REQUEST_ID_BYTES &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			  "0123456789._-") == length;
}

/* The client's own id if it is sound, else nginx's, else a new one. */
static const char *choose_id(const FCGX_Request *fcgx, struct arena *arena)
{
	uint8_t bits[16];

	if (is_request_id(param(fcgx, "HTTP_X_REQUEST_ID")))
		return arena_strdup(arena, param(fcgx, "HTTP_X_REQUEST_ID"));
	if (is_request_id(param(fcgx, "REQUEST_ID")))
		return arena_strdup(arena, param(fcgx, "REQUEST_ID"));
	dice_fill(bits, sizeof(bits));
	return text_to_hex(bits, sizeof(bits), arena);
}

static bool fill_request(struct exchange *exchange)
{
	const FCGX_Request *fcgx = &exchange->fcgx;
	struct arena *arena = exchange->arena;
	const char *type = param(fcgx, "CONTENT_TYPE");
	const char *length = param(fcgx, "CONTENT_LENGTH");

	exchange->request = (struct request){
		.arena = arena,
		.method = method_from_name(param(fcgx, "REQUEST_METHOD")),
		.path = arena_strdup(arena, param(fcgx, "DOCUMENT_URI")),
		.query = arena_strdup(arena, param(fcgx, "QUERY_STRING")),
		.content_type = *type ? arena_strdup(arena, type) : NULL,
		.id = choose_id(fcgx, arena),
		.body = "",
	};
	copy_headers(&exchange->request, fcgx->envp);
	exchange->body_length = -1;
	(void)text_to_int64(length, 0, INT64_MAX, &exchange->body_length);
	if (*length == '\0')
		exchange->body_length = 0;
	return !arena_failed(arena);
}

static struct exchange *exchange_free(struct exchange *exchange)
{
	if (!exchange)
		return NULL;
	(void)arena_free(exchange->arena);
	free(exchange);
	return NULL;
}
DEFINE_CLEANUP(struct exchange *, exchange_free);

/* Of what is there as a whole nobody has to wait for more. */
static void await_body(struct exchange *exchange)
{
	struct accept *accept = exchange->accept;

	if (exchange->incoming.records.ended)
		return;
	exchange->has_deadline = true;
	connection_deadline(accept, exchange->fd,
			    exchange->began_ms +
				    accept->options.request_timeout_ms);
}

struct exchange *exchange_begin(struct accept *accept, int fd,
				const struct incoming *incoming)
{
	_cleanup_(exchange_freep) struct exchange *exchange =
		calloc(1, sizeof(*exchange));

	if (exchange)
		exchange->arena = arena_new(accept->options.arena_bytes_max);
	if (!exchange || !exchange->arena) {
		accept->dropped++;
		connection_return(accept, fd, false, false);
		return NULL;
	}
	exchange->accept = accept;
	exchange->fd = fd;
	exchange->incoming = *incoming;
	exchange->began_ms = clock_monotonic_ms();

	(void)FCGX_InitRequest(&exchange->fcgx, -1, 0);
	exchange->fcgx.ipcFd = fd;
	/* Otherwise the Finish that is part of Accept ends it. */
	exchange->fcgx.keepConnection = 1;
	incoming_now = &exchange->incoming;
	if (FCGX_Accept_r(&exchange->fcgx) < 0) {
		accept->malformed++;
		connection_return(accept, fd, false, false);
		return NULL;
	}
	exchange->kept = exchange->fcgx.keepConnection != 0;
	await_body(exchange);

	if (!fill_request(exchange)) {
		end_reading(exchange);
		accept->dropped++;
		connection_return(accept, fd, false, false);
		return NULL;
	}
	return TAKE_PTR(exchange);
}

struct request *exchange_request(struct exchange *exchange)
{
	return &exchange->request;
}

int64_t exchange_body_length(const struct exchange *exchange)
{
	return exchange->body_length;
}

struct arena *exchange_take_arena(struct exchange *exchange)
{
	return TAKE_PTR(exchange->arena);
}

int64_t exchange_began_ms(const struct exchange *exchange)
{
	return exchange->began_ms;
}

/* ---- the body ---- */

/* Was the end record read, and nothing wrong on the way? */
static bool is_at_end(const struct exchange *exchange)
{
	return FCGX_HasSeenEOF(exchange->fcgx.in) != 0 &&
	       FCGX_GetError(exchange->fcgx.in) == 0;
}

void exchange_drain_body(struct exchange *exchange)
{
	size_t left = exchange->accept->options.body_drain_bytes_max;
	char piece[DRAIN_PIECE_BYTES];

	if (exchange->read)
		return;
	if (!exchange->incoming.records.ended)
		exchange_may_wait();
	incoming_now = &exchange->incoming;
	while (!exchange->read && left > 0) {
		size_t want = left < sizeof(piece) ? left : sizeof(piece);
		int got = FCGX_GetStr(piece, (int)want, exchange->fcgx.in);

		left -= (size_t)got;
		if ((size_t)got < want) {
			exchange->body_at_end = is_at_end(exchange);
			end_reading(exchange);
		}
	}
}

int exchange_read_body(struct exchange *exchange, size_t bytes_most)
{
	FCGX_Stream *in = exchange->fcgx.in;
	int64_t length = exchange->body_length;
	char *body;

	/* It may take long to come, and to be made sense of. */
	if (!exchange->incoming.records.ended)
		exchange_may_wait();
	incoming_now = &exchange->incoming;
	if (length < 0)
		return EXCHANGE_E_BROKEN;
	if ((uint64_t)length > bytes_most) {
		exchange_drain_body(exchange);
		return EXCHANGE_E_TOO_LARGE;
	}
	body = arena_alloc(exchange->arena, (size_t)length + 1);
	if (!body)
		return -ENOMEM;
	if (FCGX_GetStr(body, (int)length, in) != length)
		return EXCHANGE_E_BROKEN;
	/* The end record is part of the body: what is left unread would be
	 * parsed as the next request. */
	if (FCGX_GetChar(in) != EOF || !is_at_end(exchange))
		return EXCHANGE_E_BROKEN;

	exchange->body_at_end = true;
	end_reading(exchange);
	exchange->request.body = body;
	exchange->request.body_bytes = (size_t)length;
	if (exchange->has_deadline)
		connection_deadline(exchange->accept, exchange->fd, 0);
	return 0;
}

/* ---- the answer ---- */

void exchange_answer(struct exchange *exchange, const struct reply *reply,
		     bool patient)
{
	struct accept *accept = exchange->accept;
	bool sound;

	if (patient && !exchange->body_at_end)
		exchange_drain_body(exchange);
	end_reading(exchange);
	sound = answer_write(exchange, reply, patient) && exchange->body_at_end;
	if (!sound)
		accept->dropped++;
	connection_return(accept, exchange->fd, sound && exchange->kept,
			  exchange->incoming.more);
	(void)exchange_free(exchange);
}
