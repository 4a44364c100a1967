/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FCGI_WIRE_H
#define TESTS_UNIT_FCGI_WIRE_H

#include <fastcgi.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FastCGI as nginx would say it, or as somebody would who means no good. */

struct wire {
	uint8_t bytes[256 * 1024];
	size_t size;
};

static inline void wire_put(struct wire *wire, const void *bytes, size_t size)
{
	if (size > sizeof(wire->bytes) - wire->size)
		abort();
	memcpy(wire->bytes + wire->size, bytes, size);
	wire->size += size;
}

static inline void wire_record(struct wire *wire, int type, int request,
			       const void *content, size_t size)
{
	const uint8_t header[FCGI_HEADER_LEN] = {
		FCGI_VERSION_1,	  (uint8_t)type,	(uint8_t)(request >> 8),
		(uint8_t)request, (uint8_t)(size >> 8), (uint8_t)size,
	};

	wire_put(wire, header, sizeof(header));
	wire_put(wire, content, size);
}

static inline void wire_begin(struct wire *wire, bool keep)
{
	const uint8_t body[8] = { 0, FCGI_RESPONDER,
				  keep ? FCGI_KEEP_CONN : 0 };

	wire_record(wire, FCGI_BEGIN_REQUEST, 1, body, sizeof(body));
}

static inline void wire_length(struct wire *wire, size_t length)
{
	const uint8_t four[4] = {
		(uint8_t)(0x80 | length >> 24),
		(uint8_t)(length >> 16),
		(uint8_t)(length >> 8),
		(uint8_t)length,
	};
	uint8_t one = (uint8_t)length;

	if (length < 128)
		wire_put(wire, &one, 1);
	else
		wire_put(wire, four, sizeof(four));
}

static inline void wire_pair(struct wire *wire, const char *name,
			     const char *value)
{
	wire_length(wire, strlen(name));
	wire_length(wire, strlen(value));
	wire_put(wire, name, strlen(name));
	wire_put(wire, value, strlen(value));
}

/* BEGIN_REQUEST and parameters; extra is NULL or name, value, …, NULL. */
static inline void wire_head(struct wire *wire, const char *method,
			     const char *path, size_t content_length,
			     const char *const *extra)
{
	struct wire *params = calloc(1, sizeof(*params));
	char length[24];

	if (!params)
		abort();
	(void)snprintf(length, sizeof(length), "%zu", content_length);
	wire_pair(params, "REQUEST_METHOD", method);
	wire_pair(params, "DOCUMENT_URI", path);
	wire_pair(params, "QUERY_STRING", "");
	wire_pair(params, "CONTENT_LENGTH", content_length ? length : "");
	for (; extra && *extra; extra += 2)
		wire_pair(params, extra[0], extra[1]);
	wire_begin(wire, true);
	wire_record(wire, FCGI_PARAMS, 1, params->bytes, params->size);
	wire_record(wire, FCGI_PARAMS, 1, "", 0);
	free(params);
}

/* The body in records, and the record that ends it. */
static inline void wire_body(struct wire *wire, const void *body, size_t size)
{
	const uint8_t *at = body;

	while (size > 0) {
		size_t piece = size < 32 * 1024 ? size : 32 * 1024;

		wire_record(wire, FCGI_STDIN, 1, at, piece);
		at += piece;
		size -= piece;
	}
	wire_record(wire, FCGI_STDIN, 1, "", 0);
}

static inline void wire_get(struct wire *wire, const char *path)
{
	wire_head(wire, "GET", path, 0, NULL);
	wire_body(wire, "", 0);
}

#endif
