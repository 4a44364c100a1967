/* SPDX-License-Identifier: MIT */
#include "fcgi/route.h"

#include "tests/support/arena.h"

#define ID "01890000-0000-7000-8000-000000000001"

static void every_route_is_found(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		handler_fn *handle;
		const char *first, *second;
	} cases[] = {
		{ HTTP_POST, "/api/execute", post_execute, NULL, NULL },
		{ HTTP_GET, "/api/executions", get_executions, NULL, NULL },
		{ HTTP_HEAD, "/api/executions", get_executions, NULL, NULL },
		{ HTTP_GET, "/api/executions/" ID, get_execution, ID, NULL },
		{ HTTP_POST, "/api/executions/" ID "/cancel",
		  post_execution_cancel, ID, NULL },
		{ HTTP_GET, "/api/jobs/" ID, get_job, ID, NULL },
		{ HTTP_GET, "/api/jobs/" ID "/events", get_job_events, ID,
		  NULL },
		{ HTTP_POST, "/api/jobs/" ID "/cancel", post_job_cancel, ID,
		  NULL },
		{ HTTP_POST, "/api/jobs/" ID "/retry", post_job_retry, ID,
		  NULL },
		{ HTTP_POST, "/api/webhooks/job/" ID "/1.abc", post_webhook, ID,
		  "1.abc" },
		{ HTTP_POST, "/api/webhooks/job/" ID, post_webhook, ID, NULL },
		{ HTTP_GET, "/healthz", get_healthz, NULL, NULL },
		{ HTTP_HEAD, "/readyz", get_readyz, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *capture[REQUEST_CAPTURES], *allow = NULL;
		const struct route *route = NULL;

		CHECK_NUMBER(cases[i].path,
			     route_find(cases[i].method, cases[i].path, arena,
					&route, capture, &allow),
			     0);
		CHECK(cases[i].path, route->handle == cases[i].handle);
		CHECK_TEXT(cases[i].path, capture[0], cases[i].first);
		CHECK_TEXT(cases[i].path, capture[1], cases[i].second);
	}
}

static void other_paths_and_methods_are_not(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		int want;
		const char *allow;
	} cases[] = {
		{ HTTP_GET, "", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/api", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/api/executions/", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/api/executions/" ID "/", ROUTE_E_NOT_FOUND,
		  NULL },
		{ HTTP_GET, "/api/jobs/" ID "/event", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/api/jobs/" ID "/events2", ROUTE_E_NOT_FOUND,
		  NULL },
		{ HTTP_GET, "/api/jobs//events", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_POST, "/api/webhooks/job/" ID "/1.abc/more",
		  ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/healthz2", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "healthz", ROUTE_E_NOT_FOUND, NULL },
		{ HTTP_GET, "/api/execute", ROUTE_E_METHOD, "POST" },
		{ HTTP_OTHER, "/api/execute", ROUTE_E_METHOD, "POST" },
		{ HTTP_POST, "/healthz", ROUTE_E_METHOD, "GET, HEAD" },
		{ HTTP_DELETE, "/api/jobs/" ID, ROUTE_E_METHOD, "GET, HEAD" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *capture[REQUEST_CAPTURES], *allow = NULL;
		const struct route *route = NULL;

		CHECK_NUMBER(cases[i].path,
			     route_find(cases[i].method, cases[i].path, arena,
					&route, capture, &allow),
			     cases[i].want);
		CHECK_TEXT(cases[i].path, allow, cases[i].allow);
	}
}

static void only_health_and_webhooks_need_no_key(void **state)
{
	const struct route *route;

	(void)state;
	for (size_t i = 0; (route = route_at(i)); i++) {
		bool open = route->handle == get_healthz ||
			    route->handle == get_readyz ||
			    route->handle == post_webhook;

		CHECK(route->pattern, route->needs_key != open);
		CHECK(route->pattern, route->method == HTTP_POST ||
					      route->body == ROUTE_NO_BODY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_is_found),
		cmocka_unit_test(other_paths_and_methods_are_not),
		cmocka_unit_test(only_health_and_webhooks_need_no_key),
	};

	return cmocka_run_group_tests(tests, start, end);
}
