/* SPDX-License-Identifier: MIT */
#include "fcgi/accept.h"

#include "common/base/macro.h"
#include "tests/unit/fcgi/loop.h"

#include <grp.h>
#include <stdlib.h>

/* What serve() does is asked for by the path of the request. */
static _Atomic int calls, forged_calls;

static struct wire wire;

static void answer(struct exchange *exchange, unsigned status, const char *text)
{
	exchange_answer(exchange,
			&(struct reply){
				.status = status,
				.body = text,
				.body_bytes = strlen(text),
			},
			true);
}

/* Headers that came, as "name=value;" each. */
static void answer_headers(struct exchange *exchange)
{
	const struct request *request = exchange_request(exchange);
	char *text = arena_strdup(request->arena, "");

	for (size_t i = 0; i < request->header_count; i++)
		text = arena_printf(request->arena, "%s%s=%s;", text,
				    request->header[i].name,
				    request->header[i].value);
	answer(exchange, 200, text);
}

static void answer_long(struct exchange *exchange, bool patient)
{
	static char text[4 * 1024 * 1024];

	memset(text, 'x', sizeof(text));
	exchange_answer(exchange,
			&(struct reply){
				.status = 200,
				.body = text,
				.body_bytes = sizeof(text),
			},
			patient);
}

static void serve(void *context, size_t thread, struct exchange *exchange)
{
	const struct request *request = exchange_request(exchange);
	int r;

	(void)context;
	(void)thread;
	calls++;
	if (strcmp(request->path, "/forged") == 0) {
		forged_calls++;
		answer(exchange, 200, "forged");
	} else if (strcmp(request->path, "/early") == 0) {
		answer(exchange, 404, "early");
	} else if (strcmp(request->path, "/hurried") == 0) {
		exchange_answer(exchange, &(struct reply){ .status = 404 },
				false);
	} else if (strcmp(request->path, "/long") == 0) {
		answer_long(exchange, true);
	} else if (strcmp(request->path, "/long-hurried") == 0) {
		answer_long(exchange, false);
	} else if (strcmp(request->path, "/headers") == 0) {
		answer_headers(exchange);
	} else {
		r = exchange_read_body(exchange, 20000);
		answer(exchange,
		       r == 0			   ? 200
		       : r == EXCHANGE_E_TOO_LARGE ? 413
		       : r == EXCHANGE_E_BROKEN	   ? 400
						   : 503,
		       request->body);
	}
}

static struct loop loop;

static int start(void **state)
{
	struct accept_options options;

	(void)state;
	calls = forged_calls = 0;
	loop_listen(&loop);
	options = loop_options(&loop, serve, NULL);
	loop_start(&loop, &options);
	return 0;
}

static int end(void **state)
{
	(void)state;
	loop_end(&loop);
	return 0;
}

static int ask(int fd, const char *path)
{
	wire.size = 0;
	wire_get(&wire, path);
	loop_send(fd, &wire);
	return loop_answer(&loop, fd, NULL, 0);
}

static void a_kept_connection_serves_again_and_again(void **state)
{
	int fd = loop_connect(&loop);

	(void)state;
	for (int i = 0; i < 50; i++)
		CHECK_NUMBER("answer", ask(fd, "/"), 200);
	CHECK_NUMBER("calls", calls, 50);
	close(fd);
}

static void the_body_comes_back_whole(void **state)
{
	int fd = loop_connect(&loop);
	static char body[20000], text[65536];

	(void)state;
	memset(body, 'b', sizeof(body));
	wire.size = 0;
	wire_head(&wire, "POST", "/", sizeof(body), NULL);
	wire_body(&wire, body, sizeof(body));
	loop_send(fd, &wire);
	CHECK_NUMBER("status", loop_answer(&loop, fd, text, sizeof(text)), 200);
	CHECK_NUMBER("length", strlen(strstr(text, "\r\n\r\n") + 4),
		     sizeof(body));
	close(fd);
}

static void headers_keep_their_order_and_doubles(void **state)
{
	static const char *const extra[] = {
		"HTTP_WEBHOOK_ID",
		"1",
		"HTTP_X_REQUEST_ID",
		"ask-me.7",
		"HTTP_WEBHOOK_ID",
		"2",
		NULL,
	};
	int fd = loop_connect(&loop);
	char text[4096];

	(void)state;
	wire.size = 0;
	wire_head(&wire, "GET", "/headers", 0, extra);
	wire_body(&wire, "", 0);
	loop_send(fd, &wire);
	CHECK_NUMBER("status", loop_answer(&loop, fd, text, sizeof(text)), 200);
	assert_non_null(strstr(text, "webhook-id=1;x-request-id=ask-me.7;"
				     "webhook-id=2;"));
	assert_non_null(strstr(text, "X-Request-Id: ask-me.7\r\n"));
	close(fd);
}

static void a_request_id_that_is_none_is_not_echoed(void **state)
{
	static const char *const extra[] = {
		"HTTP_X_REQUEST_ID",
		"a\r\nSet-Cookie: b",
		"REQUEST_ID",
		"0123456789abcdef",
		NULL,
	};
	int fd = loop_connect(&loop);
	char text[4096];

	(void)state;
	wire.size = 0;
	wire_head(&wire, "GET", "/", 0, extra);
	wire_body(&wire, "", 0);
	loop_send(fd, &wire);
	CHECK_NUMBER("status", loop_answer(&loop, fd, text, sizeof(text)), 200);
	assert_null(strstr(text, "Set-Cookie"));
	assert_non_null(strstr(text, "X-Request-Id: 0123456789abcdef\r\n"));
	close(fd);
}

/* ---- bodies that hold requests ------------------------------------------ */

enum { BEHIND = 8 * 1024 };

/* A body with a whole request behind its first 8 KiB, which is how much
 * libfcgi reads at once. */
static size_t forge_body(uint8_t *body)
{
	static struct wire forged;

	memset(body, ' ', BEHIND);
	forged.size = 0;
	for (int i = 0; i < 5; i++)
		wire_get(&forged, "/forged");
	memcpy(body + BEHIND, forged.bytes, forged.size);
	return BEHIND + forged.size;
}

static void no_early_answer_lets_a_body_forge_a_request(void **state)
{
	static const struct {
		const char *name;
		const char *path;
		long said; /* CONTENT_LENGTH: more than there is, or less */
		bool ended;
		int want; /* 0: answered or not, but closed */
		bool kept;
	} cases[] = {
		{ "no such route", "/early", 0, true, 404, true },
		{ "too large", "/", 30000, true, 413, true },
		{ "announced longer", "/", 500, true, 400, true },
		{ "announced shorter", "/", -300, true, 400, true },
		{ "never ends", "/early", 0, false, 0, false },
		{ "never ends, too large", "/", 30000, false, 0, false },
		{ "answered in a hurry", "/hurried", 0, true, 404, false },
		{ "taken", "/", 0, true, 200, true },
	};
	static uint8_t body[64 * 1024];
	size_t size = forge_body(body);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd = loop_connect(&loop);
		int calls_before = calls, status;

		wire.size = 0;
		wire_head(&wire, "POST", cases[i].path,
			  (size_t)((long)size + cases[i].said), NULL);
		wire_body(&wire, body, size);
		if (!cases[i].ended)
			wire.size -= FCGI_HEADER_LEN;
		loop_send(fd, &wire);
		status = loop_answer(&loop, fd, NULL, 0);
		if (cases[i].want)
			CHECK_NUMBER(cases[i].name, status, cases[i].want);
		if (cases[i].kept)
			CHECK_NUMBER(cases[i].name, ask(fd, "/"), 200);
		else
			CHECK(cases[i].name, loop_is_closed(&loop, fd));
		CHECK_NUMBER(cases[i].name, calls - calls_before,
			     cases[i].kept ? 2 : 1);
		close(fd);
	}
	CHECK_NUMBER("forged requests served", forged_calls, 0);
}

static void a_body_beyond_all_limits_ends_the_connection(void **state)
{
	static uint8_t piece[32 * 1024];
	int fd = loop_connect(&loop);

	(void)state;
	wire.size = 0;
	wire_head(&wire, "POST", "/", 8 * 1024 * 1024, NULL);
	loop_send(fd, &wire);
	for (int i = 0; i < 256; i++) {
		wire.size = 0;
		wire_record(&wire, FCGI_STDIN, 1, piece, sizeof(piece));
		loop_send(fd, &wire);
	}
	(void)loop_answer(&loop, fd, NULL, 0);
	CHECK("closed", loop_is_closed(&loop, fd));
	CHECK_NUMBER("calls", calls, 1);
	close(fd);
}

/* ---- peers that do not get on ------------------------------------------- */

static void silent_peers_and_half_requests_hold_up_nobody(void **state)
{
	int silent[40], half[20], fd;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(silent); i++)
		silent[i] = loop_connect(&loop);
	wire.size = 0;
	wire_get(&wire, "/");
	for (size_t i = 0; i < COUNT_OF(half); i++) {
		struct wire part = wire;

		half[i] = loop_connect(&loop);
		part.size = 1 + i * 3;
		loop_send(half[i], &part);
	}
	fd = loop_connect(&loop);
	CHECK_NUMBER("somebody else", ask(fd, "/"), 200);

	/* the other half comes after all */
	wire.size = 0;
	wire_get(&wire, "/");
	for (size_t i = 0; i < COUNT_OF(half); i++) {
		size_t sent = 1 + i * 3;

		assert_true(write(half[i], wire.bytes + sent,
				  wire.size - sent) > 0);
		CHECK_NUMBER("late half", loop_answer(&loop, half[i], NULL, 0),
			     200);
		close(half[i]);
	}
	for (size_t i = 0; i < COUNT_OF(silent); i++) {
		CHECK_NUMBER("late start", ask(silent[i], "/"), 200);
		close(silent[i]);
	}
	close(fd);
}

static void half_a_head_is_waited_for_only_so_long(void **state)
{
	int fd = loop_connect(&loop);

	(void)state;
	wire.size = 0;
	wire_get(&wire, "/");
	wire.size = 20;
	loop_send(fd, &wire);
	CHECK("closed", loop_is_closed(&loop, fd));
	CHECK_NUMBER("calls", calls, 0);
	CHECK_NUMBER("dropped", (int)accept_figures(loop.accept).dropped, 1);
	close(fd);
}

static void a_body_that_trickles_is_cut_off(void **state)
{
	int64_t began_ms = clock_monotonic_ms();
	int fd = loop_connect(&loop);
	bool closed = false;

	(void)state;
	wire.size = 0;
	wire_head(&wire, "POST", "/", 10000, NULL);
	loop_send(fd, &wire);
	/* One byte at a time never runs into the timeout of one read. */
	while (!closed && clock_monotonic_ms() - began_ms < LOOP_WAIT_MS) {
		wire.size = 0;
		wire_record(&wire, FCGI_STDIN, 1, "x", 1);
		closed = send(fd, wire.bytes, wire.size, MSG_NOSIGNAL) < 0;
		(void)loop_wait(&loop, loop.listen_fd, 100);
	}
	CHECK("cut off", closed);
	CHECK("not too early", clock_monotonic_ms() - began_ms > 1500);
	close(fd);
	fd = loop_connect(&loop);
	CHECK_NUMBER("others", ask(fd, "/"), 200);
	close(fd);
}

static void peers_that_hang_up_leave_nothing_behind(void **state)
{
	static uint8_t body[4096];
	struct accept_figures figures;
	int fd;

	(void)state;
	for (size_t cut = 0; cut < 40; cut++) {
		wire.size = 0;
		wire_head(&wire, "POST", "/", sizeof(body), NULL);
		wire_body(&wire, body, sizeof(body));
		wire.size = wire.size * cut / 40;
		fd = loop_connect(&loop);
		loop_send(fd, &wire);
		close(fd);
	}
	/* nginx gives a request up */
	wire.size = 0;
	wire_head(&wire, "POST", "/", sizeof(body), NULL);
	wire_record(&wire, FCGI_ABORT_REQUEST, 1, "", 0);
	fd = loop_connect(&loop);
	loop_send(fd, &wire);
	CHECK_NUMBER("aborted", loop_answer(&loop, fd, NULL, 0), 400);
	CHECK("closed", loop_is_closed(&loop, fd));
	close(fd);

	fd = loop_connect(&loop);
	CHECK_NUMBER("others", ask(fd, "/"), 200);
	close(fd);
	for (int i = 0; i < 100; i++) {
		figures = accept_figures(loop.accept);
		if (figures.connections == 0)
			break;
		(void)loop_wait(&loop, loop.listen_fd, 20);
	}
	CHECK_NUMBER("connections left", (int)figures.connections, 0);
}

static void nonsense_is_closed_unserved(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static const uint8_t get_values[8] = { 1, FCGI_GET_VALUES };
	int fd;

	(void)state;
	fd = loop_connect(&loop);
	assert_true(write(fd, http, sizeof(http)) > 0);
	CHECK("HTTP", loop_is_closed(&loop, fd));
	close(fd);
	fd = loop_connect(&loop);
	assert_true(write(fd, get_values, sizeof(get_values)) > 0);
	wire.size = 0;
	wire_get(&wire, "/");
	loop_send(fd, &wire);
	CHECK("management", loop_is_closed(&loop, fd));
	close(fd);
	CHECK_NUMBER("calls", calls, 0);
	CHECK_NUMBER("malformed", (int)accept_figures(loop.accept).malformed,
		     2);
}

static void an_answer_is_given_to_those_who_read(void **state)
{
	int fd = loop_connect(&loop);
	size_t total = 0;
	char piece[65536];
	ssize_t got;

	(void)state;
	wire.size = 0;
	wire_get(&wire, "/long");
	loop_send(fd, &wire);
	while (total < 4 * 1024 * 1024 && loop_wait(&loop, fd, LOOP_WAIT_MS) &&
	       (got = read(fd, piece, sizeof(piece))) > 0)
		total += (size_t)got;
	CHECK("whole", total >= 4 * 1024 * 1024);
	close(fd);

	/* who does not read, and is not waited for, is dropped at once */
	fd = loop_connect(&loop);
	wire.size = 0;
	wire_head(&wire, "GET", "/long-hurried", 0, NULL);
	wire_body(&wire, "", 0);
	loop_send(fd, &wire);
	for (int i = 0;
	     i < LOOP_WAIT_MS && accept_figures(loop.accept).connections > 0;
	     i++)
		usleep(1000);
	for (total = 0; loop_wait(&loop, fd, LOOP_WAIT_MS);
	     total += (size_t)got) {
		got = read(fd, piece, sizeof(piece));
		if (got <= 0)
			break;
	}
	CHECK("cut", total < 4 * 1024 * 1024);
	close(fd);
}

/* ---- who and how many --------------------------------------------------- */

static void strangers_are_refused(void **state)
{
	struct accept_options options;
	uid_t somebody = getuid() + 1;
	int fd;

	(void)state;
	calls = 0;
	loop_listen(&loop);
	options = loop_options(&loop, serve, NULL);
	options.peer_uid = &somebody;
	loop_start(&loop, &options);
	fd = loop_connect(&loop);
	wire.size = 0;
	wire_get(&wire, "/");
	loop_send(fd, &wire);
	CHECK("closed", loop_is_closed(&loop, fd));
	CHECK_NUMBER("calls", calls, 0);
	CHECK_NUMBER("strangers", (int)accept_figures(loop.accept).strangers,
		     1);
	close(fd);
	loop_end(&loop);
}

/* Does the loop let us in for being in that group? */
static bool is_let_in(gid_t gid)
{
	struct accept_options options;
	uid_t somebody = getuid() + 1;
	bool refused;
	int fd;

	calls = 0;
	loop_listen(&loop);
	options = loop_options(&loop, serve, NULL);
	options.peer_uid = &somebody;
	options.has_peer_gid = true;
	options.peer_gid = gid;
	loop_start(&loop, &options);
	fd = loop_connect(&loop);
	wire.size = 0;
	wire_get(&wire, "/");
	loop_send(fd, &wire);
	refused = loop_is_closed(&loop, fd);
	CHECK_NUMBER("calls", calls, refused ? 0 : 1);
	close(fd);
	loop_end(&loop);
	return !refused;
}

/* It may be the peer's first group or one of its others, of which only root
 * can make itself a member. */
static void members_of_the_group_are_let_in(void **state)
{
	static const gid_t others[] = { 54321, 54322 };
	gid_t before[64];
	int count = getgroups(COUNT_OF(before), before);

	(void)state;
	CHECK("first", is_let_in(getgid()));
	CHECK("no member", !is_let_in(54320));
	if (geteuid() != 0)
		return;
	assert_int_equal(setgroups(COUNT_OF(others), others), 0);
	CHECK("first of the others", is_let_in(54321));
	CHECK("last of the others", is_let_in(54322));
	CHECK("still no member", !is_let_in(54320));
	assert_int_equal(setgroups((size_t)count, before), 0);
}

static void connections_beyond_the_limit_wait(void **state)
{
	struct accept_options options;
	int fds[3], waiting;

	(void)state;
	loop_listen(&loop);
	options = loop_options(&loop, serve, NULL);
	options.connections_max = COUNT_OF(fds);
	loop_start(&loop, &options);
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		fds[i] = loop_connect(&loop);
		CHECK_NUMBER("within", ask(fds[i], "/"), 200);
	}
	waiting = loop_connect(&loop);
	wire.size = 0;
	wire_get(&wire, "/");
	loop_send(waiting, &wire);
	CHECK("waits", !loop_wait(&loop, waiting, 300));
	close(fds[0]);
	CHECK_NUMBER("its turn", loop_answer(&loop, waiting, NULL, 0), 200);
	close(waiting);
	close(fds[1]);
	close(fds[2]);
	loop_end(&loop);
}

/* ---- stopping ----------------------------------------------------------- */

static void stop_and_wait(struct accept *accept)
{
	int64_t until_ms = clock_monotonic_ms() + LOOP_WAIT_MS;

	accept_begin_stop(accept);
	while (!accept_has_stopped(accept) && clock_monotonic_ms() < until_ms) {
		accept_tick(accept);
		(void)poll(NULL, 0, 5);
	}
	CHECK("stopped", accept_has_stopped(accept));
}

static void a_restart_loses_no_request_on_kept_connections(void **state)
{
	struct accept_options options = loop_options(&loop, serve, NULL);
	static const char body[] = "{\"a\":1}";
	struct accept *old = loop.accept;
	int fds[10], half, late, handed[20];
	size_t count;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		fds[i] = loop_connect(&loop);
		CHECK_NUMBER("before", ask(fds[i], "/"), 200);
	}
	half = loop_connect(&loop);
	wire.size = 0;
	wire_get(&wire, "/");
	assert_true(write(half, wire.bytes, 30) == 30);
	(void)loop_wait(&loop, half, 100);

	stop_and_wait(old);
	/* sent while nobody is there */
	wire.size = 0;
	wire_head(&wire, "POST", "/", sizeof(body) - 1, NULL);
	wire_body(&wire, body, sizeof(body) - 1);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		loop_send(fds[i], &wire);
	late = loop_connect(&loop);
	loop_send(late, &wire);

	count = accept_take_connections(old, handed, COUNT_OF(handed));
	CHECK_NUMBER("handed over", (int)count, COUNT_OF(fds) + 1);
	CHECK_NUMBER("no more", (int)accept_take_connections(old, handed, 1),
		     0);
	loop.accept = accept_free(old);
	CHECK_NUMBER("not served by the old", calls, COUNT_OF(fds));

	loop_start(&loop, &options);
	for (size_t i = 0; i < count; i++)
		accept_adopt(loop.accept, handed[i]);
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		CHECK_NUMBER("after", loop_answer(&loop, fds[i], NULL, 0), 200);
		close(fds[i]);
	}
	CHECK_NUMBER("new one", loop_answer(&loop, late, NULL, 0), 200);
	wire.size = 0;
	wire_get(&wire, "/");
	assert_true(write(half, wire.bytes + 30, wire.size - 30) > 0);
	CHECK_NUMBER("half", loop_answer(&loop, half, NULL, 0), 200);
	close(late);
	close(half);
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, start, end)
	const struct CMUnitTest tests[] = {
		IN_LOOP(a_kept_connection_serves_again_and_again),
		IN_LOOP(the_body_comes_back_whole),
		IN_LOOP(headers_keep_their_order_and_doubles),
		IN_LOOP(a_request_id_that_is_none_is_not_echoed),
		IN_LOOP(no_early_answer_lets_a_body_forge_a_request),
		IN_LOOP(a_body_beyond_all_limits_ends_the_connection),
		IN_LOOP(silent_peers_and_half_requests_hold_up_nobody),
		IN_LOOP(half_a_head_is_waited_for_only_so_long),
		IN_LOOP(a_body_that_trickles_is_cut_off),
		IN_LOOP(peers_that_hang_up_leave_nothing_behind),
		IN_LOOP(nonsense_is_closed_unserved),
		IN_LOOP(an_answer_is_given_to_those_who_read),
		cmocka_unit_test(strangers_are_refused),
		cmocka_unit_test(members_of_the_group_are_let_in),
		cmocka_unit_test(connections_beyond_the_limit_wait),
		IN_LOOP(a_restart_loses_no_request_on_kept_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
