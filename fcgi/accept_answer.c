/* SPDX-License-Identifier: MIT */
/*
 * An answer as the records of FastCGI: one piece of memory, sent at once.
 * libfcgi would take and give back three buffers for it, and its writer knows
 * no way not to wait.
 */
#include "common/base/clock.h"
#include "fcgi/accept_private.h"

#include <errno.h>
#include <fastcgi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	HEADERS_BYTES = 512, /* of an answer, mostly */
	RECORD_BYTES_MAX = 32 * 1024,
	/* What follows the last record of an answer's text. */
	TAIL_BYTES = FCGI_HEADER_LEN + sizeof(FCGI_EndRequestRecord),
};

void reply_add_header(struct reply *reply, const char *name, const char *value)
{
	reply->header[reply->header_count++] = (struct http_header){
		.name = name,
		.value = value,
	};
}

/* A record that is being filled. */
struct writer {
	const struct exchange *exchange;
	bool patient;
	bool waits; /* for the peer: it did not read what it was sent */
	bool failed;
	uint8_t *bytes; /* header and content, room for a tail behind them */
	size_t content_most;
	size_t content;
};

static void put_record(uint8_t *to, const struct writer *writer, unsigned type,
		       size_t content_bytes)
{
	unsigned request = writer->exchange->incoming.records.request;

	memset(to, 0, FCGI_HEADER_LEN);
	to[0] = FCGI_VERSION_1;
	to[1] = (uint8_t)type;
	to[2] = (uint8_t)(request >> 8);
	to[3] = (uint8_t)request;
	to[4] = (uint8_t)(content_bytes >> 8);
	to[5] = (uint8_t)content_bytes;
}

/* The first time that it has to wait: not for ever, and not for the others. */
static void begin_to_wait(struct writer *writer)
{
	struct accept *accept = writer->exchange->accept;

	writer->waits = true;
	exchange_may_wait();
	connection_deadline(accept, writer->exchange->fd,
			    clock_monotonic_ms() +
				    accept->options.answer_timeout_ms);
}

static void send_bytes(struct writer *writer, size_t size)
{
	size_t at = 0;

	while (at < size && !writer->failed) {
		ssize_t sent = send(
			writer->exchange->fd, writer->bytes + at, size - at,
			MSG_NOSIGNAL | (writer->waits ? 0 : MSG_DONTWAIT));

		if (sent >= 0)
			at += (size_t)sent;
		else if (errno == EAGAIN && writer->patient && !writer->waits)
			begin_to_wait(writer);
		else
			writer->failed = errno != EINTR;
	}
}

static void put(struct writer *writer, const char *text, size_t size)
{
	while (size > 0 && !writer->failed) {
		size_t room = writer->content_most - writer->content;
		size_t piece = size < room ? size : room;

		memcpy(writer->bytes + FCGI_HEADER_LEN + writer->content, text,
		       piece);
		writer->content += piece;
		text += piece;
		size -= piece;
		if (writer->content < writer->content_most || size == 0)
			continue;
		put_record(writer->bytes, writer, FCGI_STDOUT, writer->content);
		send_bytes(writer, FCGI_HEADER_LEN + writer->content);
		writer->content = 0;
	}
}

static void put_text(struct writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

static void put_header(struct writer *writer, const char *name,
		       const char *value)
{
	put_text(writer, name);
	put(writer, ": ", 2);
	put_text(writer, value);
	put(writer, "\r\n", 2);
}

static void put_number(struct writer *writer, const char *name, size_t number)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%zu", number);
	put_header(writer, name, text);
}

static void put_reply(struct writer *writer, const struct reply *reply)
{
	const struct request *request = &writer->exchange->request;

	put_number(writer, "Status", reply->status);
	if (reply->body) {
		put_header(writer, "Content-Type",
			   reply->content_type ? reply->content_type
					       : "application/json");
		put_number(writer, "Content-Length", reply->body_bytes);
	}
	put_header(writer, "Cache-Control", "no-store");
	put_header(writer, "X-Request-Id", request->id);
	for (size_t i = 0; i < reply->header_count; i++)
		put_header(writer, reply->header[i].name,
			   reply->header[i].value);
	put(writer, "\r\n", 2);
	if (reply->body && request->method != HTTP_HEAD)
		put(writer, reply->body, reply->body_bytes);
}

/* The last of the text, the end of its stream, and the end of the request. */
static void put_end(struct writer *writer)
{
	uint8_t *tail = writer->bytes + FCGI_HEADER_LEN + writer->content;

	put_record(writer->bytes, writer, FCGI_STDOUT, writer->content);
	put_record(tail, writer, FCGI_STDOUT, 0);
	tail += FCGI_HEADER_LEN;
	put_record(tail, writer, FCGI_END_REQUEST, sizeof(FCGI_EndRequestBody));
	memset(tail + FCGI_HEADER_LEN, 0, sizeof(FCGI_EndRequestBody));
	send_bytes(writer, FCGI_HEADER_LEN + writer->content + TAIL_BYTES);
}

bool answer_write(const struct exchange *exchange, const struct reply *reply,
		  bool patient)
{
	size_t body_bytes = reply->body ? reply->body_bytes : 0;
	struct writer writer = {
		.exchange = exchange,
		.patient = patient,
		.content_most = RECORD_BYTES_MAX,
	};

	if (body_bytes < RECORD_BYTES_MAX - HEADERS_BYTES)
		writer.content_most = body_bytes + HEADERS_BYTES;
	writer.bytes =
		malloc(FCGI_HEADER_LEN + writer.content_most + TAIL_BYTES);
	if (!writer.bytes)
		return false;
	put_reply(&writer, reply);
	if (!writer.failed)
		put_end(&writer);
	free(writer.bytes);
	return !writer.failed;
}
