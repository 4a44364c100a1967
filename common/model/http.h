/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_HTTP_H
#define COMMON_MODEL_HTTP_H

#include <stddef.h>

/*
 * HTTP as plain data. Nothing here opens a socket; common/io/http_client.h
 * does. All pointers belong to the arena of the request or exchange in hand.
 */

enum http_method {
	HTTP_OTHER = 0, /* no route takes it */
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
};

enum {
	HTTP_REQUEST_HEADER_MAX = 12,
	HTTP_RESPONSE_HEADER_MAX = 64,
};

struct http_header {
	const char *name; /* compared without regard to case */
	const char *value;
};

struct http_request {
	enum http_method method;
	const char *url;
	struct http_header header[HTTP_REQUEST_HEADER_MAX];
	size_t header_count;
	const char *body; /* NULL for none */
	size_t body_bytes;
};

struct http_response {
	unsigned status;
	const struct http_header *header;
	size_t header_count;
	const char *body; /* NUL-terminated as a courtesy; may hold NULs */
	size_t body_bytes;
};

/* The value of the first header of that name, or NULL. */
const char *http_header_value(const struct http_header *header, size_t count,
			      const char *name);

/* How many headers have that name: two signatures are one too many. */
size_t http_header_count(const struct http_header *header, size_t count,
			 const char *name);

/* Append a header; the caller stays below HTTP_REQUEST_HEADER_MAX. */
void http_add_header(struct http_request *request, const char *name,
		     const char *value);

const char *http_method_name(enum http_method method);

#endif
