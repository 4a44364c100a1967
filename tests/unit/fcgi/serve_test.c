/* SPDX-License-Identifier: MIT */
/*
 * Routes, keys, handlers and the committer together, through the accept loop,
 * with a database that is away: what is answered then, and that nothing else
 * depends on it.
 */
#include "fcgi/serve.h"

#include "common/model/limits.h"
#include "fcgi/api_key.h"
#include "fcgi/committer.h"
#include "fcgi/webhook_key.h"
#include "tests/unit/fcgi/loop.h"

#include <pthread.h>
#include <stdlib.h>

#define NOWHERE "host=/nonexistent dbname=rushes"
#define JOB	"01890000-0000-7000-8000-000000000001"

enum { THREADS = 2 };

static const char *const providers[] = { "replicate", "fal" };
static struct conf conf;
static struct service service;
static struct worker workers[THREADS];
static struct server server = { .worker = workers };
static struct loop loop;
static struct arena *arena;

static int start(void **state)
{
	struct accept_options options;
	struct fault fault = { "" };
	struct api_key key = { .owner = NULL };

	(void)state;
	loop_listen(&loop);
	arena = arena_new(1024 * 1024);
	conf = (struct conf){
		.database_url = NOWHERE,
		.body_bytes_max = 4096,
		.deadline_s = 100,
		.webhook_secret = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
		.webhook_secret_count = 1,
		.token_keys = { .count = 1 },
	};
	service = (struct service){
		.conf = &conf,
		.rules = { 100, providers, COUNT_OF(providers) },
		.api_keys = api_keys_new(),
		.webhook_keys = webhook_keys_new(&conf),
	};
	crypto_sha256("rsh_test", 8, key.sha256);
	key.owner = arena_strdup(arena, "tester");
	assert_int_equal(api_keys_replace(service.api_keys, &key, 1), 0);
	for (size_t i = 0; i < THREADS; i++) {
		workers[i].service = &service;
		assert_int_equal(
			db_open(NOWHERE, "test", &workers[i].db, &fault), 0);
	}
	if (committer_new(&service, &service.committer, &fault) < 0)
		fail_msg("%s", fault.text);
	options = loop_options(&loop, serve_exchange, &server);
	options.threads = THREADS;
	loop_start(&loop, &options);
	return 0;
}

static int end(void **state)
{
	(void)state;
	accept_begin_stop(loop.accept);
	for (int i = 0; i < 1000 && !accept_has_stopped(loop.accept); i++)
		(void)poll(NULL, 0, 5);
	service.committer = committer_free(service.committer);
	loop_end(&loop);
	service.api_keys = api_keys_free(service.api_keys);
	service.webhook_keys = webhook_keys_free(service.webhook_keys);
	for (size_t i = 0; i < THREADS; i++)
		workers[i].db = db_close(workers[i].db);
	arena = arena_free(arena);
	return 0;
}

/* ---- asking ------------------------------------------------------------- */

static char text[65536];

static int ask_with(const char *method, const char *path, const char *body,
		    const char *const *extra)
{
	static struct wire wire;
	int fd = loop_connect(&loop);
	int status;

	wire.size = 0;
	wire_head(&wire, method, path, body ? strlen(body) : 0, extra);
	wire_body(&wire, body ? body : "", body ? strlen(body) : 0);
	loop_send(fd, &wire);
	status = loop_answer(&loop, fd, text, sizeof(text));
	close(fd);
	return status;
}

static const char *const with_key[] = {
	"HTTP_AUTHORIZATION",
	"Bearer rsh_test",
	NULL,
};

static int ask(const char *method, const char *path, const char *body)
{
	return ask_with(method, path, body, with_key);
}

static void check_code(const char *name, const char *code)
{
	char member[128];

	(void)snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
	if (!strstr(text, member))
		fail_msg("%s: no %s in %s", name, member, text);
	if (!strstr(text, "Content-Type: application/problem+json\r\n") ||
	    !strstr(text, "Cache-Control: no-store\r\n"))
		fail_msg("%s: a header is missing in %s", name, text);
}

/* ---- tests -------------------------------------------------------------- */

#define ONE                                                                    \
	"{\"jobs\":[{\"name\":\"a\",\"provider\":\"fal\",\"model\":\"m/"       \
	"n\",\"input\":{}}"

static void requests_are_refused_for_what_is_wrong(void **state)
{
	static const struct {
		const char *name, *method, *path, *body;
		int status;
		const char *code;
	} cases[] = {
		{ "nowhere", "GET", "/nowhere", NULL, 404, "not_found" },
		{ "method", "GET", "/api/execute", NULL, 405,
		  "method_not_allowed" },
		{ "no JSON", "POST", "/api/execute", "{", 400,
		  "malformed_json" },
		{ "no pipeline", "POST", "/api/execute", "{}", 422,
		  "missing_field" },
		{ "provider", "POST", "/api/execute",
		  "{\"jobs\":[{\"name\":\"a\",\"provider\":\"vertex\","
		  "\"model\":\"m\",\"input\":{}}]}",
		  422, "unknown_provider" },
		{ "no id", "GET", "/api/jobs/x", NULL, 404, "job_not_found" },
		{ "no id", "GET", "/api/executions/x", NULL, 404,
		  "execution_not_found" },
		{ "no id", "POST", "/api/jobs/x/cancel", NULL, 404,
		  "job_not_found" },
		{ "no id", "POST", "/api/jobs/x/retry", NULL, 404,
		  "job_not_found" },
		{ "no id", "POST", "/api/executions/x/cancel", NULL, 404,
		  "execution_not_found" },
		{ "no id", "POST", "/api/webhooks/job/x/1.a", "{}", 404,
		  "job_not_found" },
		{ "limit", "GET", "/api/jobs/" JOB "/events", NULL, 503,
		  "database_away" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		CHECK_NUMBER(cases[i].name,
			     ask(cases[i].method, cases[i].path, cases[i].body),
			     cases[i].status);
		check_code(cases[i].name, cases[i].code);
	}
}

static void keys_are_asked_for(void **state)
{
	static const char *const none[] = { NULL };
	static const char *const basic[] = { "HTTP_AUTHORIZATION",
					     "Basic cnNoOnRlc3Q=", NULL };
	static const char *const wrong[] = { "HTTP_AUTHORIZATION",
					     "Bearer cnNoOnRlc3Q=", NULL };
	static const char *const twice[] = {
		"HTTP_AUTHORIZATION",
		"Bearer rsh_test",
		"HTTP_AUTHORIZATION",
		"Bearer rsh_test",
		NULL,
	};

	(void)state;
	CHECK_NUMBER("none", ask_with("GET", "/api/executions", NULL, none),
		     401);
	check_code("none", "missing_key");
	assert_non_null(strstr(text, "WWW-Authenticate: Bearer"));
	CHECK_NUMBER("basic", ask_with("GET", "/api/executions", NULL, basic),
		     401);
	check_code("basic", "missing_key");
	assert_non_null(strstr(text, "Authorization: Bearer rsh_"));
	CHECK_NUMBER("wrong", ask_with("GET", "/api/executions", NULL, wrong),
		     401);
	check_code("wrong", "unknown_key");
	CHECK_NUMBER("twice", ask_with("GET", "/api/executions", NULL, twice),
		     401);
	check_code("twice", "unknown_key");
}

static void bodies_and_their_headers_are_checked(void **state)
{
	static const char *const form[] = {
		"HTTP_AUTHORIZATION",
		"Bearer rsh_test",
		"CONTENT_TYPE",
		"application/x-www-form-urlencoded",
		NULL,
	};
	static const char *const utf8[] = {
		"HTTP_AUTHORIZATION",
		"Bearer rsh_test",
		"CONTENT_TYPE",
		"application/json; charset=utf-8",
		NULL,
	};
	static const char *const two_keys[] = {
		"HTTP_AUTHORIZATION",
		"Bearer rsh_test",
		"HTTP_IDEMPOTENCY_KEY",
		"a",
		"HTTP_IDEMPOTENCY_KEY",
		"a",
		NULL,
	};
	static char large[8192];

	(void)state;
	CHECK_NUMBER("form", ask_with("POST", "/api/execute", "{}", form), 415);
	check_code("form", "not_json");
	CHECK_NUMBER("JSON", ask_with("POST", "/api/execute", "{}", utf8), 422);
	CHECK_NUMBER("two keys",
		     ask_with("POST", "/api/execute", ONE "]}", two_keys), 400);
	check_code("two keys", "bad_idempotency_key");
	memset(large, ' ', sizeof(large) - 1);
	CHECK_NUMBER("large", ask("POST", "/api/execute", large), 413);
	check_code("large", "body_too_large");
}

static void headers_are_counted(void **state)
{
	const char *extra[2 * (LIMIT_HEADERS + 1) + 1] = { NULL };

	(void)state;
	for (int i = 0; i < 2 * LIMIT_HEADERS; i += 2) {
		extra[i] = "HTTP_A";
		extra[i + 1] = "";
	}
	CHECK_NUMBER("all", ask_with("GET", "/healthz", NULL, extra), 200);
	extra[2 * LIMIT_HEADERS] = "HTTP_A";
	extra[2 * LIMIT_HEADERS + 1] = "";
	CHECK_NUMBER("more", ask_with("GET", "/healthz", NULL, extra), 431);
	check_code("more", "too_many_headers");
}

static void a_dry_run_needs_no_database(void **state)
{
	(void)state;
	CHECK_NUMBER("dry run",
		     ask("POST", "/api/execute",
			 ONE ",{\"name\":\"b\",\"provider\":\"fal\",\"model\":"
			     "\"m/n\",\"input\":{\"u\":\"${a.output.url}\"}}],"
			     "\"dry_run\":true}"),
		     200);
	assert_non_null(strstr(text, "\"dry_run\":true"));
	assert_non_null(strstr(text, "\"name\":\"a\",\"provider\":\"fal\","
				     "\"model\":\"m/n\",\"status\":\"queued\","
				     "\"depends_on\":[]"));
	assert_non_null(strstr(text, "\"status\":\"waiting\","
				     "\"depends_on\":[\"a\"]"));
	assert_non_null(strstr(text, "\"deadline_s\":100"));
}

static void liveness_needs_no_database_and_readiness_does(void **state)
{
	(void)state;
	CHECK_NUMBER("healthz", ask("GET", "/healthz", NULL), 200);
	assert_non_null(strstr(text, "\"status\":\"ok\""));
	CHECK_NUMBER("HEAD", ask("HEAD", "/healthz", NULL), 200);
	assert_null(strstr(text, "\"status\""));
	CHECK_NUMBER("readyz", ask("GET", "/readyz", NULL), 503);
	check_code("readyz", "database_away");
	assert_non_null(strstr(text, "Retry-After: "));
}

static void what_cannot_be_committed_is_answered_503(void **state)
{
	char *token, *path;

	(void)state;
	CHECK_NUMBER("submit", ask("POST", "/api/execute", ONE "]}"), 503);
	check_code("submit", "database_away");
	assert_non_null(strstr(text, "Retry-After: "));

	/* fal's keys are not known: a hint, which is committed as well */
	token = token_make(&conf.token_keys, JOB, 1, "fal", arena);
	path = arena_printf(arena, "/api/webhooks/job/" JOB "/%s", token);
	CHECK_NUMBER("webhook", ask_with("POST", path, "{}", NULL), 503);
	check_code("webhook", "database_away");
}

static void forged_webhooks_need_no_database(void **state)
{
	char *token = token_make(&conf.token_keys, JOB, 1, "replicate", arena);
	char *path = arena_printf(arena, "/api/webhooks/job/" JOB "/%s", token);
	static const char *const html[] = { "CONTENT_TYPE", "text/html", NULL };

	(void)state;
	CHECK_NUMBER("unsigned, secret known",
		     ask_with("POST", path, "{\"id\":\"x\"}", NULL), 401);
	check_code("unsigned", "bad_signature");
	assert_null(strstr(text, "WWW-Authenticate"));
	CHECK_NUMBER("not JSON", ask_with("POST", path, "<p>", html), 415);
	CHECK_NUMBER(
		"provider without webhooks",
		ask_with("POST",
			 arena_printf(arena, "/api/webhooks/job/" JOB "/%s",
				      token_make(&conf.token_keys, JOB, 1,
						 "vertex", arena)),
			 "{}", NULL),
		401);
	/* whether the job exists is not known, so a bad token is no 401 yet */
	path[strlen(path) - 1] ^= 1;
	CHECK_NUMBER("token", ask_with("POST", path, "{}", NULL), 503);
}

static void *submit_one(void *context)
{
	static struct wire wires[16];
	struct wire *wire = &wires[(intptr_t)context];
	static const char body[] = ONE "]}";
	int fd = loop_connect(&loop);
	intptr_t status = 0;

	wire->size = 0;
	wire_head(wire, "POST", "/api/execute", sizeof(body) - 1, with_key);
	wire_body(wire, body, sizeof(body) - 1);
	for (int i = 0; i < 20; i++) {
		loop_send(fd, wire);
		status += loop_answer(&loop, fd, NULL, 0) == 503;
	}
	close(fd);
	return (void *)status;
}

static void many_at_once_are_all_answered(void **state)
{
	pthread_t threads[16];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, submit_one,
						(void *)(intptr_t)i),
				 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		void *status = NULL;

		assert_int_equal(pthread_join(threads[i], &status), 0);
		CHECK_NUMBER("answers", (intptr_t)status, 20);
	}
	/* What was answered is let go a moment later. */
	for (int i = 0; i < LOOP_WAIT_MS &&
			committer_figures(service.committer).waiting > 0;
	     i++)
		usleep(1000);
	CHECK_NUMBER("nothing waits",
		     (int)committer_figures(service.committer).waiting, 0);
}

/* Whoever answers, and whether or not the body was wanted: the connection
 * stays, or each request would pay for a new one. */
static void connections_are_kept_on_every_path(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int status;
	} cases[] = {
		{ "GET", "/healthz", "", 200 },
		{ "GET", "/nowhere", "a body nobody wants", 404 },
		{ "GET", "/api/jobs/" JOB, "", 503 },
		{ "GET", "/api/jobs/" JOB, "a body nobody wants", 503 },
		{ "GET", "/api/executions", "", 503 },
		{ "POST", "/api/execute", ONE "]}", 503 },
	};
	static struct wire wire;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd = loop_connect(&loop);

		for (int again = 0; again < 3; again++) {
			wire.size = 0;
			wire_head(&wire, cases[i].method, cases[i].path,
				  strlen(cases[i].body), with_key);
			wire_body(&wire, cases[i].body, strlen(cases[i].body));
			loop_send(fd, &wire);
			CHECK_NUMBER(cases[i].path,
				     loop_answer(&loop, fd, text, sizeof(text)),
				     cases[i].status);
		}
		close(fd);
	}
}

/* A body with whole requests in it: behind as much as is read at once, or
 * within what an API body may have. */
static size_t forge_body(uint8_t *body, bool large)
{
	static struct wire forged;
	size_t before = large ? 8 * 1024 : 16;

	memset(body, ' ', before);
	forged.size = 0;
	for (int i = 0; i < 5; i++)
		wire_get(&forged, "/healthz");
	memcpy(body + before, forged.bytes, forged.size);
	return before + forged.size;
}

static const char *const as_form[] = {
	"HTTP_AUTHORIZATION",
	"Bearer rsh_test",
	"CONTENT_TYPE",
	"text/plain",
	NULL,
};
static const char *const key_is_long[] = {
	"HTTP_AUTHORIZATION",
	"Bearer rsh_test",
	"HTTP_IDEMPOTENCY_KEY",
	"\x7f",
	NULL,
};

/* Every answer that there is before a body was looked at, or without. */
static void no_answer_leaves_a_body_that_becomes_a_request(void **state)
{
	static const struct {
		int status;
		const char *method, *path;
		const char *const *headers;
		bool large;
		size_t lie; /* announced beyond what comes */
	} cases[] = {
		{ 200, "GET", "/healthz", with_key, true, 0 },
		{ 400, "POST", "/api/execute", with_key, false, 0 },
		{ 400, "POST", "/api/execute", with_key, false, 7 },
		{ 400, "POST", "/api/execute", key_is_long, false, 0 },
		{ 400, "POST", "/api/webhooks/job/" JOB, NULL, false, 7 },
		{ 401, "POST", "/api/execute", NULL, true, 0 },
		{ 401, "GET", "/api/jobs/" JOB, NULL, true, 0 },
		{ 404, "POST", "/nowhere", with_key, true, 0 },
		{ 404, "GET", "/api/jobs/x", with_key, true, 0 },
		{ 404, "POST", "/api/jobs/x/cancel", with_key, false, 0 },
		{ 404, "POST", "/api/webhooks/job/x/1.a", NULL, true, 0 },
		{ 405, "PUT", "/api/execute", with_key, true, 0 },
		{ 405, "BREW", "/healthz", with_key, true, 0 },
		{ 413, "POST", "/api/execute", with_key, true, 0 },
		{ 413, "POST", "/api/jobs/" JOB "/retry", with_key, true, 0 },
		{ 415, "POST", "/api/execute", as_form, false, 0 },
		{ 503, "POST", "/api/webhooks/job/" JOB, as_form, true, 0 },
		{ 503, "GET", "/api/jobs/" JOB, with_key, true, 0 },
		{ 503, "GET", "/readyz", with_key, true, 0 },
		{ 503, "POST", "/api/jobs/" JOB "/retry", with_key, false, 0 },
	};
	static uint8_t body[16 * 1024];
	static struct wire wire;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t size = forge_body(body, cases[i].large);
		uint64_t before = accept_figures(loop.accept).requests;
		int fd = loop_connect(&loop), status;
		char name[64];

		(void)snprintf(name, sizeof(name), "%zu: %d %s", i,
			       cases[i].status, cases[i].path);
		wire.size = 0;
		wire_head(&wire, cases[i].method, cases[i].path,
			  size + cases[i].lie, cases[i].headers);
		wire_body(&wire, body, size);
		loop_send(fd, &wire);
		status = loop_answer(&loop, fd, text, sizeof(text));
		CHECK_NUMBER(name, status, cases[i].status);
		wire.size = 0;
		wire_head(&wire, "GET", "/nowhere", 0, NULL);
		wire_body(&wire, "", 0);
		loop_send(fd, &wire);
		status = loop_answer(&loop, fd, text, sizeof(text));
		CHECK_NUMBER(name, status, 404);
		CHECK_NUMBER(name,
			     accept_figures(loop.accept).requests - before, 2);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_refused_for_what_is_wrong),
		cmocka_unit_test(keys_are_asked_for),
		cmocka_unit_test(bodies_and_their_headers_are_checked),
		cmocka_unit_test(headers_are_counted),
		cmocka_unit_test(a_dry_run_needs_no_database),
		cmocka_unit_test(liveness_needs_no_database_and_readiness_does),
		cmocka_unit_test(what_cannot_be_committed_is_answered_503),
		cmocka_unit_test(forged_webhooks_need_no_database),
		cmocka_unit_test(many_at_once_are_all_answered),
		cmocka_unit_test(connections_are_kept_on_every_path),
		cmocka_unit_test(
			no_answer_leaves_a_body_that_becomes_a_request),
	};

	return cmocka_run_group_tests(tests, start, end);
}
