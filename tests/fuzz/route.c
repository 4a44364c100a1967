/* SPDX-License-Identifier: MIT */
/* The router and the query's reader. Input: a byte that chooses the method,
 * the path as one line, the query. */
#include "fcgi/route.h"
#include "common/model/limits.h"
#include "fcgi/query.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

enum { ARENA_BYTES = 256 * 1024, SEGMENTS = 16, UNTOUCHED = 4711 };

/* Cut at every slash. @return how many; more than SEGMENTS: too many */
static size_t split(char *path, char *segment[SEGMENTS])
{
	size_t count = 0;

	for (char *at = path; at && count <= SEGMENTS; count++) {
		char *slash = strchr(at, '/');

		if (count < SEGMENTS)
			segment[count] = at;
		if (slash)
			*slash++ = '\0';
		at = slash;
	}
	return count;
}

/* A second opinion. @return whether the path is the pattern's, and then the
 * segments that {…} stand for */
static bool matches(const char *pattern, const char *path,
		    char *ret_capture[REQUEST_CAPTURES][2])
{
	char *want[SEGMENTS], *have[SEGMENTS];
	char *want_text = copy_of(pattern, strlen(pattern));
	char *have_text = copy_of(path, strlen(path));
	size_t want_count = split(want_text, want);
	size_t have_count = split(have_text, have), captures = 0;
	bool same = want_count == have_count && want_count <= SEGMENTS;

	for (size_t i = 0; same && i < want_count; i++) {
		if (*want[i] != '{') {
			same = strcmp(want[i], have[i]) == 0;
			continue;
		}
		same = *have[i] != '\0';
		if (same)
			*ret_capture[captures++] =
				copy_of(have[i], strlen(have[i]));
	}
	for (size_t i = captures; !same && captures > 0; i = captures) {
		free(*ret_capture[i - 1]);
		*ret_capture[--captures] = NULL;
	}
	free(want_text);
	free(have_text);
	return same;
}

static void check_route(enum http_method method, const char *path,
			struct arena *arena)
{
	enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
	const char *capture[REQUEST_CAPTURES] = { NULL }, *allow = NULL;
	char *expected[REQUEST_CAPTURES][2] = { { NULL } };
	const struct route *found = NULL, *right = NULL, *route;
	bool other = false;
	int r = route_find(method, path, arena, &found, capture, &allow);

	for (size_t i = 0; (route = route_at(i)); i++) {
		char *taken[REQUEST_CAPTURES][2] = { { NULL } };

		if (!matches(route->pattern, path, taken))
			continue;
		other |= route->method != wanted;
		/* Two rows for one request: which would answer? */
		HOLDS(route->method != wanted || !right);
		for (size_t n = 0; n < REQUEST_CAPTURES; n++) {
			if (route->method == wanted)
				expected[n][0] = taken[n][0];
			else
				free(taken[n][0]);
		}
		if (route->method == wanted)
			right = route;
	}
	HOLDS(found == right);
	HOLDS(right ? r == 0 || r == -ENOMEM
		    : r == (other ? ROUTE_E_METHOD : ROUTE_E_NOT_FOUND));
	HOLDS((r == ROUTE_E_METHOD) == (allow != NULL));
	for (size_t n = 0; n < REQUEST_CAPTURES; n++) {
		HOLDS(r != 0 ||
		      (!capture[n] ? !expected[n][0]
				   : expected[n][0] &&
					     strcmp(capture[n],
						    expected[n][0]) == 0));
		free(expected[n][0]);
	}
}

static void check_query(const struct request *request)
{
	const char *value = "untouched", *after = "untouched";
	int64_t limit = UNTOUCHED;
	struct reply reply = { .status = 0 };
	int r = query_limit(request, 50, 200, &limit, &reply);

	HOLDS(r == 0 || r == QUERY_E_BAD || r == -ENOMEM);
	HOLDS(r != 0 || (limit >= 1 && limit <= 200));
	HOLDS(r != QUERY_E_BAD || reply.status == 400);

	r = query_text(request, "status", &value, &reply);
	HOLDS(r == 0 || r == QUERY_E_BAD);
	if (r == 0 && !strstr(request->query, "status"))
		HOLDS(!value);
	HOLDS(r != 0 || !value || strlen(value) <= strlen(request->query));

	r = query_cursor(request, 'e', &after, &reply);
	HOLDS(r == 0 || r == QUERY_E_BAD || r == -ENOMEM);
	if (r == 0 && after) {
		/* Only what cursor_make() wrote is taken. */
		const char *made = cursor_make('e', after, request->arena);
		const char *given = NULL;

		HOLDS(strlen(after) <= LIMIT_CURSOR_BYTES);
		HOLDS(query_text(request, "cursor", &given, &reply) == 0);
		HOLDS(!made || strcmp(made, given) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum http_method methods[] = { HTTP_GET,	 HTTP_POST,
						    HTTP_HEAD,	 HTTP_PUT,
						    HTTP_DELETE, HTTP_OTHER };
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct input input = { data, size };
	struct request request = {
		.method = methods[input_byte(&input) % COUNT_OF(methods)],
		.id = "fuzz",
		.arena = arena,
	};
	char *path = input_line(&input), *query;
	size_t length;

	query = input_rest(&input, &length);
	request.path = path;
	request.query = query;
	check_route(request.method, path, arena);
	check_query(&request);
	free(path);
	free(query);
	return 0;
}
