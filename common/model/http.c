/* SPDX-License-Identifier: MIT */
#include "common/model/http.h"

#include <assert.h>
#include <strings.h>

const char *http_header_value(const struct http_header *header, size_t count,
			      const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(header[i].name, name) == 0)
			return header[i].value;
	return NULL;
}

size_t http_header_count(const struct http_header *header, size_t count,
			 const char *name)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += strcasecmp(header[i].name, name) == 0;
	return found;
}

void http_add_header(struct http_request *request, const char *name,
		     const char *value)
{
	assert(request->header_count < HTTP_REQUEST_HEADER_MAX);
	request->header[request->header_count++] = (struct http_header){
		.name = name,
		.value = value,
	};
}

const char *http_method_name(enum http_method method)
{
	switch (method) {
	case HTTP_GET:
		return "GET";
	case HTTP_HEAD:
		return "HEAD";
	case HTTP_POST:
		return "POST";
	case HTTP_PUT:
		return "PUT";
	case HTTP_DELETE:
		return "DELETE";
	case HTTP_OTHER:
		break;
	}
	return "OTHER";
}
