/* SPDX-License-Identifier: MIT */
#include "common/flow/json_out.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FIRST_ROOM = 1024 };

struct json_out json_out_init(struct arena *arena)
{
	return (struct json_out){ .arena = arena };
}

/* Room for so many bytes more and a NUL. @return where they go, or NULL */
static char *make_room(struct json_out *out, size_t bytes)
{
	size_t room = out->room ? out->room : FIRST_ROOM;
	char *bigger;

	if (out->room > out->bytes && bytes < out->room - out->bytes)
		return out->text + out->bytes;
	if (arena_failed(out->arena))
		return NULL;

	while (room - out->bytes <= bytes) {
		if (room > SIZE_MAX / 2)
			return NULL;
		room *= 2;
	}
	bigger = arena_alloc(out->arena, room);
	if (!bigger)
		return NULL;
	if (out->bytes)
		memcpy(bigger, out->text, out->bytes);
	out->text = bigger;
	out->room = room;
	return bigger + out->bytes;
}

void json_out_reserve(struct json_out *out, size_t bytes)
{
	if (out->room || bytes >= SIZE_MAX - 1)
		return;
	out->text = arena_alloc(out->arena, bytes + 1);
	out->room = out->text ? bytes + 1 : 0;
}

static void put(struct json_out *out, const char *text, size_t bytes)
{
	char *to = make_room(out, bytes);

	if (!to)
		return;
	memcpy(to, text, bytes);
	out->bytes += bytes;
}

static void put_comma(struct json_out *out)
{
	if (out->comma)
		put(out, ",", 1);
	out->comma = true;
}

void json_out_open(struct json_out *out, char bracket)
{
	put_comma(out);
	put(out, &bracket, 1);
	out->comma = false;
}

void json_out_close(struct json_out *out, char bracket)
{
	put(out, &bracket, 1);
	out->comma = true;
}

void json_out_key(struct json_out *out, const char *key)
{
	put_comma(out);
	put(out, "\"", 1);
	put(out, key, strlen(key));
	put(out, "\":", 2);
	out->comma = false;
}

static void put_escaped(struct json_out *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c == '"' || c == '\\') {
		text[1] = (char)c;
		put(out, text, 2);
	} else {
		put(out, text, sizeof(text));
	}
}

void json_out_string(struct json_out *out, const char *text)
{
	const char *plain = text;

	if (!text) {
		json_out_raw(out, NULL);
		return;
	}
	put_comma(out);
	put(out, "\"", 1);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		put(out, plain, (size_t)(text - plain));
		put_escaped(out, c);
		plain = text + 1;
	}
	put(out, plain, (size_t)(text - plain));
	put(out, "\"", 1);
}

void json_out_int(struct json_out *out, int64_t number)
{
	char text[24], *at = text + sizeof(text);
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		*--at = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (number < 0)
		*--at = '-';
	put_comma(out);
	put(out, at, (size_t)(text + sizeof(text) - at));
}

void json_out_bool(struct json_out *out, bool value)
{
	json_out_raw(out, value ? "true" : "false");
}

void json_out_number(struct json_out *out, double number)
{
	char text[40];
	int length;

	if (!isfinite(number)) {
		json_out_raw(out, NULL);
		return;
	}
	length = snprintf(text, sizeof(text), "%.6g", number);
	put_comma(out);
	put(out, text, (size_t)length);
}

void json_out_raw(struct json_out *out, const char *json)
{
	put_comma(out);
	if (!json)
		json = "null";
	put(out, json, strlen(json));
}

void json_out_values(struct json_out *out, const char *json, size_t bytes)
{
	if (bytes == 0)
		return;
	put_comma(out);
	put(out, json, bytes);
}

void json_out_member(struct json_out *out, const char *key, const char *text)
{
	json_out_key(out, key);
	json_out_string(out, text);
}

void json_out_member_int(struct json_out *out, const char *key, int64_t number)
{
	json_out_key(out, key);
	json_out_int(out, number);
}

/* So many digits of it, the last ones. */
static void put_digits(char *to, int number, int digits)
{
	for (int i = digits; i-- > 0; number /= 10)
		to[i] = (char)('0' + number % 10);
}

void json_out_member_time(struct json_out *out, const char *key,
			  int64_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	char text[] = "\"0000-00-00T00:00:00.000Z\"";
	struct tm tm;

	json_out_key(out, key);
	if (unix_ms <= 0 || !gmtime_r(&seconds, &tm) || tm.tm_year > 8099) {
		json_out_raw(out, NULL);
		return;
	}
	put_digits(text + 1, tm.tm_year + 1900, 4);
	put_digits(text + 6, tm.tm_mon + 1, 2);
	put_digits(text + 9, tm.tm_mday, 2);
	put_digits(text + 12, tm.tm_hour, 2);
	put_digits(text + 15, tm.tm_min, 2);
	put_digits(text + 18, tm.tm_sec, 2);
	put_digits(text + 21, (int)(unix_ms % 1000), 3);
	json_out_raw(out, text);
}

const char *json_out_end(struct json_out *out, size_t *ret_bytes)
{
	char *end = make_room(out, 0);

	if (!end || arena_failed(out->arena))
		return NULL;
	*end = '\0';
	if (ret_bytes)
		*ret_bytes = out->bytes;
	return out->text;
}
