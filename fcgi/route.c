/* SPDX-License-Identifier: MIT */
#include "fcgi/route.h"

#include <errno.h>
#include <string.h>

/* clang-format off */
static const struct route routes[] = {
	{ HTTP_POST, "/api/execute",                    post_execute,          ROUTE_API_BODY,     true },
	{ HTTP_GET,  "/api/executions",                 get_executions,        ROUTE_NO_BODY,      true },
	{ HTTP_GET,  "/api/executions/{id}",            get_execution,         ROUTE_NO_BODY,      true },
	{ HTTP_POST, "/api/executions/{id}/cancel",     post_execution_cancel, ROUTE_SMALL_BODY,   true },
	{ HTTP_GET,  "/api/jobs/{id}",                  get_job,               ROUTE_NO_BODY,      true },
	{ HTTP_GET,  "/api/jobs/{id}/events",           get_job_events,        ROUTE_NO_BODY,      true },
	{ HTTP_POST, "/api/jobs/{id}/cancel",           post_job_cancel,       ROUTE_SMALL_BODY,   true },
	{ HTTP_POST, "/api/jobs/{id}/retry",            post_job_retry,        ROUTE_SMALL_BODY,   true },
	{ HTTP_POST, "/api/webhooks/job/{id}/{token}",  post_webhook,          ROUTE_WEBHOOK_BODY, false },
	{ HTTP_POST, "/api/webhooks/job/{id}",          post_webhook,          ROUTE_WEBHOOK_BODY, false },
	{ HTTP_GET,  "/healthz",                        get_healthz,           ROUTE_NO_BODY,      false },
	{ HTTP_GET,  "/readyz",                         get_readyz,            ROUTE_NO_BODY,      false },
};
/* clang-format on */

struct capture {
	const char *text;
	size_t length;
};

/* Segment by segment. @return whether the path is the pattern's */
static bool matches(const char *pattern, const char *path,
		    struct capture captures[REQUEST_CAPTURES])
{
	size_t count = 0;

	while (*pattern == '/' && *path == '/') {
		size_t want = strcspn(++pattern, "/");
		size_t have = strcspn(++path, "/");

		if (*pattern == '{') {
			if (have == 0 || count == REQUEST_CAPTURES)
				return false;
			captures[count++] = (struct capture){ path, have };
		} else if (want != have || memcmp(pattern, path, want) != 0) {
			return false;
		}
		pattern += want;
		path += have;
	}
	return *pattern == '\0' && *path == '\0';
}

static int copy_captures(const struct capture captures[REQUEST_CAPTURES],
			 struct arena *arena,
			 const char *ret_capture[REQUEST_CAPTURES])
{
	for (size_t i = 0; i < REQUEST_CAPTURES; i++) {
		ret_capture[i] = NULL;
		if (!captures[i].text)
			continue;
		ret_capture[i] = arena_strndup(arena, captures[i].text,
					       captures[i].length);
		if (!ret_capture[i])
			return -ENOMEM;
	}
	return 0;
}

int route_find(enum http_method method, const char *path, struct arena *arena,
	       const struct route **ret,
	       const char *ret_capture[REQUEST_CAPTURES],
	       const char **ret_allow)
{
	enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
	const struct route *other = NULL;

	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		struct capture captures[REQUEST_CAPTURES] = { 0 };

		if (!matches(routes[i].pattern, path, captures))
			continue;
		if (routes[i].method != wanted) {
			other = &routes[i];
			continue;
		}
		*ret = &routes[i];
		return copy_captures(captures, arena, ret_capture);
	}
	if (!other)
		return ROUTE_E_NOT_FOUND;
	*ret_allow = other->method == HTTP_GET ? "GET, HEAD" : "POST";
	return ROUTE_E_METHOD;
}

const struct route *route_at(size_t index)
{
	return index < COUNT_OF(routes) ? &routes[index] : NULL;
}
