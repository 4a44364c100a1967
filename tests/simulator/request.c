/* SPDX-License-Identifier: MIT */
/* Reading a request and writing its reply. */
#include "tests/simulator/server.h"

#include "tests/simulator/memory.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const char *request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
					   name);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *request_decode(const struct request *request, const char *text,
		     size_t length, bool plus_is_blank)
{
	char *plain = arena_alloc(request->arena, length + 1);
	size_t size = 0;

	if (!plain)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '%') {
			int high, low;

			if (i + 2 >= length)
				return NULL;
			high = hex_digit(text[i + 1]);
			low = hex_digit(text[i + 2]);
			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return NULL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus_is_blank) {
			c = ' ';
		}
		plain[size++] = c;
	}
	return plain;
}

char *request_query(const struct request *request, const char *name)
{
	size_t name_length = strlen(name);

	for (const char *at = request->query; *at;) {
		size_t length = strcspn(at, "&");

		if (length > name_length && at[name_length] == '=' &&
		    memcmp(at, name, name_length) == 0)
			return request_decode(request, at + name_length + 1,
					      length - name_length - 1, true);
		at += length;
		if (*at == '&')
			at++;
	}
	return NULL;
}

const char *request_base(const struct request *request)
{
	const char *host = request_header(request, "Host");

	if (request->sim->options.public_url)
		return request->sim->options.public_url;
	if (!host || strpbrk(host, "/?#@ \"\\"))
		return request->sim->own_url;
	return arena_printf(request->arena, "http://%s", host);
}

int64_t request_time(const char *text)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int hours = 0, minutes = 0, fraction = 0, scale = 100;
	char sign;

	if (!at)
		return -1;
	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9'; at++) {
			fraction += (*at - '0') * scale;
			scale /= 10;
		}
	/* A blank is a plus that went through a query string. */
	if (sscanf(at, "%c%2d:%2d", &sign, &hours, &minutes) >= 2) {
		if (sign == '-') {
			hours = -hours;
			minutes = -minutes;
		}
	} else if (strcmp(at, "Z") != 0 && strcmp(at, "z") != 0) {
		return -1;
	}
	return ((int64_t)timegm(&tm) - hours * 3600 - minutes * 60) * 1000 +
	       fraction;
}

void reply_json(struct request *request, unsigned status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text)
		abort();
	free(request->reply.body);
	request->reply.status = status;
	request->reply.type = "application/json";
	request->reply.body = text;
	request->reply.bytes = strlen(text);
}

void reply_text(struct request *request, unsigned status, const char *type,
		const char *text)
{
	free(request->reply.body);
	request->reply.status = status;
	request->reply.type = type;
	request->reply.body = take_text(text);
	request->reply.bytes = strlen(text);
}

void reply_header(struct request *request, const char *name, const char *value)
{
	struct reply *reply = &request->reply;
	char *copy = arena_strdup(request->arena, value);

	/* The last word counts: a fault may correct what was said before. */
	for (size_t i = 0; copy && i < reply->header_count; i++)
		if (strcasecmp(reply->header[i].name, name) == 0) {
			reply->header[i].value = copy;
			return;
		}
	if (copy && reply->header_count < REPLY_HEADERS_MAX)
		reply->header[reply->header_count++] =
			(struct http_header){ .name = name, .value = copy };
}
