/* SPDX-License-Identifier: MIT */
#include "common/io/http_client.h"

#include "common/io/http_client_loop.h"
#include "tests/unit/common/io/peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a callback saw, copied out of its reach. */
struct seen {
	int count;
	enum http_outcome outcome;
	unsigned status;
	char body[256], header[256], fault[256];
	size_t header_count;
	bool too_big;
};

struct fixture {
	sd_event *event;
	struct conf conf;
	struct http_client *client;
	struct peer peer;
	struct seen seen;
};

static void on_done(const struct http_result *result, void *userdata)
{
	struct seen *seen = userdata;
	const char *value =
		http_header_value(result->response.header,
				  result->response.header_count, "x-answer");

	seen->count++;
	seen->outcome = result->outcome;
	seen->status = result->response.status;
	seen->too_big = result->too_big;
	seen->header_count = result->response.header_count;
	(void)snprintf(seen->body, sizeof(seen->body), "%s",
		       result->response.body ? result->response.body : "");
	(void)snprintf(seen->header, sizeof(seen->header), "%s",
		       value ? value : "");
	(void)snprintf(seen->fault, sizeof(seen->fault), "%s",
		       result->fault.text);
}

/* The path says how to misbehave. */
static bool serve(struct peer *peer, int fd, const char *request)
{
	char text[512] = "";
	const char *body = strstr(request, "\r\n\r\n") + 4;

	if (strstr(request, " /echo ")) {
		(void)snprintf(text, sizeof(text),
			       "HTTP/1.1 201 Created\r\nX-Answer:  yes \r\n"
			       "Content-Length: %zu\r\n\r\n%s",
			       strlen(body), body);
		peer_say(fd, text);
		return true;
	}
	if (strstr(request, " /head ")) {
		bool form = strcasestr(request, "Content-Type:") != NULL;
		bool expect = strcasestr(request, "Expect:") != NULL;
		bool encoding = strcasestr(request, "Accept-Encoding:") != NULL;

		(void)snprintf(
			text, sizeof(text),
			"HTTP/1.1 100 Continue\r\nX-Answer: early\r\n\r\n"
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
			"%d%d%d",
			form, expect, encoding);
		peer_say(fd, text);
		return true;
	}
	if (strstr(request, " /target")) {
		const char *target = strstr(request, " /target") + 1;
		size_t length = strcspn(target, " ");

		(void)snprintf(text, sizeof(text),
			       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n"
			       "%.*s",
			       length, (int)length, target);
		peer_say(fd, text);
		return true;
	}
	if (strstr(request, " /moved ")) {
		peer_say(fd, "HTTP/1.1 302 Found\r\nLocation: /echo\r\n"
			     "Content-Length: 0\r\n\r\n");
		return true;
	}
	if (strstr(request, " /big ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\n\r\n");
		for (int i = 0; i < 200; i++)
			peer_write(fd, text, sizeof(text));
		return false;
	}
	if (strstr(request, " /cut ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
			     "ten bytes.");
		return false;
	}
	if (strstr(request, " /headers ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nX-Answer: first\r\n"
			     "Content-Length: 0\r\n");
		for (int i = 0; i < 200; i++)
			peer_say(fd, "X-More: and more\r\n");
		peer_say(fd, "\r\n");
		return true;
	}
	if (strstr(request, " /die "))
		return false;
	while (strstr(request, " /hang ") && !atomic_load(&peer->stopping))
		(void)usleep(10000);
	return false;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->conf = (struct conf){ .allow_loopback = true,
				 .connect_timeout_ms = 2000,
				 .answer_timeout_ms = 5000 };
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(http_client_new(f->event, &f->conf, &f->client, NULL),
			 0);
	peer_start(&f->peer, serve);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)http_client_free(f->client);
	peer_stop(&f->peer);
	(void)sd_event_unref(f->event);
	free(f);
	return 0;
}

static void send_it(struct fixture *f, struct http_request *request,
		    const struct http_options *options)
{
	int want = f->seen.count + 1;

	assert_int_equal(http_client_send(f->client, request, options, on_done,
					  &f->seen, NULL),
			 0);
	assert_int_equal(f->seen.count, want - 1); /* never from within */
	peer_run_loop(f->event, &f->seen.count, want);
	assert_int_equal(http_client_count(f->client), 0);
}

static void get(struct fixture *f, const char *path,
		const struct http_options *options)
{
	struct http_request request = { .method = HTTP_GET,
					.url = peer_url(&f->peer, path) };

	send_it(f, &request, options);
}

static void post(struct fixture *f, const char *path,
		 const struct http_options *options)
{
	struct http_request request = { .method = HTTP_POST,
					.url = peer_url(&f->peer, path),
					.body = "{\"a\":1}",
					.body_bytes = 7 };

	send_it(f, &request, options);
}

static void an_answer_comes_whole(void **state)
{
	struct fixture *f = *state;

	post(f, "/echo", NULL);
	assert_int_equal(f->seen.outcome, HTTP_ANSWERED);
	assert_int_equal(f->seen.status, 201);
	assert_string_equal(f->seen.body, "{\"a\":1}");
	assert_string_equal(f->seen.header, "yes");
	post(f, "/echo", NULL);
	assert_int_equal(atomic_load(&f->peer.connections), 1);
}

/* On one handle, one after the other. */
static void the_target_is_what_the_url_says(void **state)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{ "/target?a=%26b&c=d/e?f", "/target?a=%26b&c=d/e?f" },
		{ "/target", "/target" },
		{ "/target?a#b", "/target?a" },
		{ "/a/../target?a", "/target?a" },
		{ "/target?", "/target?" },
		{ "/target/%20", "/target/%20" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		get(f, cases[i].path, NULL);
		assert_string_equal(f->seen.body, cases[i].want);
	}
}

static void nothing_is_added_that_nobody_asked_for(void **state)
{
	struct fixture *f = *state;

	/* Neither a type, nor a wait for 100, nor compression; and what an
	 * interim answer said is forgotten. */
	post(f, "/head", NULL);
	assert_string_equal(f->seen.body, "000");
	assert_string_equal(f->seen.header, "");
}

static void headers_have_a_ceiling(void **state)
{
	struct fixture *f = *state;

	get(f, "/headers", NULL);
	assert_int_equal(f->seen.outcome, HTTP_ANSWERED);
	assert_string_equal(f->seen.header, "first");
	assert_int_equal(f->seen.header_count, HTTP_RESPONSE_HEADER_MAX);
}

static void a_redirect_is_an_answer(void **state)
{
	struct fixture *f = *state;

	get(f, "/moved", NULL);
	assert_int_equal(f->seen.outcome, HTTP_ANSWERED);
	assert_int_equal(f->seen.status, 302);
	assert_int_equal(atomic_load(&f->peer.requests), 1);
}

static void a_closed_port_means_not_sent(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_POST,
					.body = "x",
					.body_bytes = 1 };
	char url[64];
	int fd;

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       (unsigned)peer_bind(&fd));
	request.url = url;
	send_it(f, &request, NULL);
	assert_int_equal(f->seen.outcome, HTTP_NOT_SENT);
	assert_true(strlen(f->seen.fault) > 0);
	(void)close(fd);
}

static void failed_tls_means_not_sent(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_POST,
					.body = "x",
					.body_bytes = 1 };
	char url[64];

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/echo",
		       (unsigned)f->peer.port);
	request.url = url;
	send_it(f, &request,
		&(struct http_options){ .connect_timeout_ms = 500 });
	assert_int_equal(f->seen.outcome, HTTP_NOT_SENT);
}

static void loopback_is_refused_unless_allowed(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_GET };
	char url[64];

	(void)http_client_free(f->client);
	f->conf.allow_loopback = false;
	assert_int_equal(http_client_new(f->event, &f->conf, &f->client, NULL),
			 0);
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/echo",
		       (unsigned)f->peer.port);
	request.url = url;
	send_it(f, &request, NULL);
	assert_int_equal(f->seen.outcome, HTTP_NOT_SENT);
	assert_non_null(strstr(f->seen.fault, "address not allowed"));
	get(f, "/echo", NULL); /* http itself */
	assert_int_equal(f->seen.outcome, HTTP_NOT_SENT);
	assert_int_equal(atomic_load(&f->peer.connections), 0);
}

static void private_addresses_are_refused_even_then(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_GET,
					.url = "http://10.0.0.1/" };

	send_it(f, &request, NULL);
	assert_int_equal(f->seen.outcome, HTTP_NOT_SENT);
	assert_non_null(strstr(f->seen.fault, "address not allowed"));
}

static void on_wire(CURLcode code, void *userdata)
{
	*(int *)userdata = (int)code + 1000;
}

/* A kept connection is judged again: here it was opened by a handle with a
 * wider reach, and open_socket() is not asked. */
static void a_kept_connection_is_judged_again(void **state)
{
	struct fixture *f = *state;
	struct http_loop *loop = NULL;
	struct http_wire wire[2] = { { .easy = NULL }, { .easy = NULL } };
	int code = 0;

	assert_int_equal(http_loop_new(f->event, &loop, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			http_wire_prepare(&wire[i], HTTP_REACH_LOOPBACK), 0);
		(void)curl_easy_setopt(wire[i].easy, CURLOPT_URL,
				       peer_url(&f->peer, "/moved"));
	}
	wire[1].reach = HTTP_REACH_PUBLIC;
	assert_int_equal(http_wire_start(&wire[0], loop, on_wire, &code), 0);
	peer_run_loop(f->event, &code, 1000);
	assert_int_equal(code, 1000 + CURLE_OK);
	code = 0;
	assert_int_equal(http_wire_start(&wire[1], loop, on_wire, &code), 0);
	peer_run_loop(f->event, &code, 1000);
	assert_int_equal(code, 1000 + CURLE_ABORTED_BY_CALLBACK);
	assert_non_null(wire[1].refused);
	assert_int_equal(atomic_load(&f->peer.connections), 1);
	assert_int_equal(atomic_load(&f->peer.requests), 1);
	http_wire_done(&wire[0]);
	http_wire_done(&wire[1]);
	(void)http_loop_free(loop);
}

static void a_proxy_in_the_environment_is_not_used(void **state)
{
	struct fixture *f = *state;

	(void)setenv("http_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	get(f, "/moved", NULL);
	(void)unsetenv("http_proxy");
	(void)unsetenv("ALL_PROXY");
	assert_int_equal(f->seen.outcome, HTTP_ANSWERED);
}

static void too_large_an_answer_is_given_up(void **state)
{
	struct fixture *f = *state;

	get(f, "/big", &(struct http_options){ .response_bytes_max = 50000 });
	assert_int_equal(f->seen.outcome, HTTP_LOST);
	assert_true(f->seen.too_big);
}

static void a_cut_answer_is_lost(void **state)
{
	struct fixture *f = *state;

	get(f, "/cut", NULL);
	assert_int_equal(f->seen.outcome, HTTP_LOST);
	assert_false(f->seen.too_big);
}

static void no_answer_in_time_is_lost(void **state)
{
	struct fixture *f = *state;

	post(f, "/hang", &(struct http_options){ .total_timeout_ms = 200 });
	assert_int_equal(f->seen.outcome, HTTP_LOST);
}

/* What libcurl does by itself, so that the next test means something. */
static void a_request_on_a_dead_connection_is_repeated(void **state)
{
	struct fixture *f = *state;

	post(f, "/echo", NULL);
	post(f, "/die", NULL);
	assert_int_equal(f->seen.outcome, HTTP_LOST);
	assert_int_equal(atomic_load(&f->peer.requests), 3);
}

static void a_paid_start_is_never_repeated(void **state)
{
	struct fixture *f = *state;

	post(f, "/echo", NULL);
	post(f, "/die", &(struct http_options){ .once = true });
	assert_int_equal(f->seen.outcome, HTTP_LOST);
	/* libcurl may connect again before it finds that it cannot rewind;
	 * what counts is what is said there. */
	peer_run_for(f->event, 50);
	assert_int_equal(atomic_load(&f->peer.requests), 2);
}

static void a_paid_start_uses_kept_connections(void **state)
{
	struct fixture *f = *state;
	const struct http_options once = { .once = true };

	for (int i = 0; i < 5; i++) {
		post(f, "/echo", &once);
		assert_int_equal(f->seen.outcome, HTTP_ANSWERED);
	}
	assert_int_equal(atomic_load(&f->peer.connections), 1);
}

static void what_is_cancelled_does_not_call_back(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_GET,
					.url = peer_url(&f->peer, "/hang") };
	struct http_exchange *exchange = NULL;

	assert_int_equal(http_client_send(f->client, &request, NULL, on_done,
					  &f->seen, &exchange),
			 0);
	peer_run_for(f->event, 100);
	assert_int_equal(http_client_count(f->client), 1);
	http_exchange_cancel(exchange);
	assert_int_equal(http_client_count(f->client), 0);
	peer_run_for(f->event, 100);
	assert_int_equal(f->seen.count, 0);
}

static void a_client_may_go_with_exchanges_in_flight(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_GET,
					.url = peer_url(&f->peer, "/hang") };

	for (int i = 0; i < 10; i++)
		assert_int_equal(http_client_send(f->client, &request, NULL,
						  on_done, &f->seen, NULL),
				 0);
	peer_run_for(f->event, 50);
	f->client = http_client_free(f->client);
	assert_int_equal(f->seen.count, 0);
}

static void many_are_in_flight_at_once(void **state)
{
	struct fixture *f = *state;
	struct http_request request = { .method = HTTP_GET,
					.url = peer_url(&f->peer, "/hang") };
	const struct http_options options = { .total_timeout_ms = 2500 };

	for (int i = 0; i < 100; i++)
		assert_int_equal(http_client_send(f->client, &request, &options,
						  on_done, &f->seen, NULL),
				 0);
	assert_int_equal(http_client_count(f->client), 100);
	peer_run_loop(f->event, &f->seen.count, 100);
	assert_int_equal(atomic_load(&f->peer.requests), 100);
}

static void what_cannot_be_sent_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct http_request request = {
		.method = HTTP_GET,
		.url = peer_url(&f->peer, "/echo"),
		.header = { { "X-Evil", "a\r\nHost: b" } },
		.header_count = 1,
	};

	assert_int_equal(http_client_send(f->client, &request, NULL, on_done,
					  NULL, NULL),
			 -EINVAL);
	request.header_count = 0;
	request.url = NULL;
	assert_int_equal(http_client_send(f->client, &request, NULL, on_done,
					  NULL, NULL),
			 -EINVAL);
	request.url = peer_url(&f->peer, "/echo");
	request.method = HTTP_POST;
	assert_int_equal(
		http_client_send(f->client, &request,
				 &(struct http_options){ .once = true },
				 on_done, NULL, NULL),
		-EINVAL);
	assert_int_equal(http_client_count(f->client), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_answer_comes_whole),
		CASE(the_target_is_what_the_url_says),
		CASE(nothing_is_added_that_nobody_asked_for),
		CASE(headers_have_a_ceiling),
		CASE(a_redirect_is_an_answer),
		CASE(a_closed_port_means_not_sent),
		CASE(failed_tls_means_not_sent),
		CASE(loopback_is_refused_unless_allowed),
		CASE(private_addresses_are_refused_even_then),
		CASE(a_kept_connection_is_judged_again),
		CASE(a_proxy_in_the_environment_is_not_used),
		CASE(too_large_an_answer_is_given_up),
		CASE(a_cut_answer_is_lost),
		CASE(no_answer_in_time_is_lost),
		CASE(a_request_on_a_dead_connection_is_repeated),
		CASE(a_paid_start_is_never_repeated),
		CASE(a_paid_start_uses_kept_connections),
		CASE(what_is_cancelled_does_not_call_back),
		CASE(a_client_may_go_with_exchanges_in_flight),
		CASE(many_are_in_flight_at_once),
		CASE(what_cannot_be_sent_is_refused_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
