/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_JSON_OUT_H
#define COMMON_FLOW_JSON_OUT_H

#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON text written from the front to the back, for rows that go to the
 * database and answers that go to clients: no tree is built of what is only
 * written down. Commas are put in by themselves.
 *
 * Failure is the arena's and sticky: check json_out_end() once.
 */
struct json_out {
	struct arena *arena;
	char *text;
	size_t bytes;
	size_t room;
	bool comma; /* before the next value or key */
};

struct json_out json_out_init(struct arena *arena);

/* Room for so many bytes at once, where they are known or guessed. */
void json_out_reserve(struct json_out *out, size_t bytes);

void json_out_open(struct json_out *out, char bracket);	 /* { or [ */
void json_out_close(struct json_out *out, char bracket); /* } or ] */

/* @key  static text that needs no escapes */
void json_out_key(struct json_out *out, const char *key);

void json_out_string(struct json_out *out, const char *text); /* or null */
void json_out_int(struct json_out *out, int64_t number);
void json_out_bool(struct json_out *out, bool value);
void json_out_number(struct json_out *out, double number);

/* JSON that is text already; NULL is null. */
void json_out_raw(struct json_out *out, const char *json);

/* Likewise, but one or more values with commas between them; none is fine. */
void json_out_values(struct json_out *out, const char *json, size_t bytes);

/* key and value in one line */
void json_out_member(struct json_out *out, const char *key, const char *text);
void json_out_member_int(struct json_out *out, const char *key, int64_t number);

/* A time as RFC 3339 in UTC with milliseconds; null for 0. */
void json_out_member_time(struct json_out *out, const char *key,
			  int64_t unix_ms);

/* @return the text, with a NUL after it, or NULL when the arena was full;
 * ret_bytes may be NULL */
const char *json_out_end(struct json_out *out, size_t *ret_bytes);

#endif
