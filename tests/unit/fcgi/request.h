/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FCGI_REQUEST_H
#define TESTS_UNIT_FCGI_REQUEST_H

#include "common/base/arena.h"
#include "fcgi/exchange.h"
#include "tests/support/check.h"

#include <jansson.h>

/* Requests that no server brought, and what replies say. */

static inline struct request request_make(struct arena *arena,
					  const char *query)
{
	return (struct request){
		.method = HTTP_GET,
		.path = "/",
		.query = query,
		.id = "test-request",
		.owner = "tester",
		.body = "",
		.arena = arena,
	};
}

static inline const char *reply_header(const struct reply *reply,
				       const char *name)
{
	return http_header_value(reply->header, reply->header_count, name);
}

/* The member of a reply's JSON body, as text; arena memory. */
static inline const char *reply_member(const struct reply *reply,
				       const char *name, struct arena *arena)
{
	json_t *body = json_loadb(reply->body, reply->body_bytes, 0, NULL);
	const json_t *member = json_object_get(body, name);
	const char *text = NULL;

	if (!body)
		fail_msg("not JSON: %s", reply->body);
	if (json_is_string(member))
		text = arena_strdup(arena, json_string_value(member));
	else if (json_is_integer(member))
		text = arena_printf(arena, "%lld",
				    (long long)json_integer_value(member));
	json_decref(body);
	return text;
}

#endif
