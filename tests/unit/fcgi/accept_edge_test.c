/* SPDX-License-Identifier: MIT */
/*
 * Peers that mean no good, or break off, at every place of a request: nothing
 * is served but what began as a request of its own, nobody else waits, and
 * nothing stays behind.
 */
#include "fcgi/accept.h"

#include "common/base/macro.h"
#include "tests/unit/fcgi/loop.h"

#include <dirent.h>
#include <malloc.h>
#include <semaphore.h>
#include <stdlib.h>

enum {
	BODY_MOST = 256 * 1024,
	MANY = 32, /* more than a thread takes at once */
	ROUNDS = 300,
	/* What malloc may keep of its own after so many rounds. */
	GROWTH_BYTES = 8 * 1024,
};

static _Atomic int calls, forged_calls;
static sem_t go_on;
static struct wire wire;
static struct loop loop;

/* "/forged" is what must never be asked; "/early" does not want its body;
 * "/wait" goes on when it is told to, and lets others look for requests
 * meanwhile; "/hang" does not. */
static void serve(void *context, size_t thread, struct exchange *exchange)
{
	const struct request *request = exchange_request(exchange);
	struct reply reply = { .status = 404, .body = "x", .body_bytes = 1 };

	(void)context;
	(void)thread;
	calls++;
	forged_calls += strcmp(request->path, "/forged") == 0;
	if (strcmp(request->path, "/wait") == 0)
		exchange_may_wait();
	if (strcmp(request->path, "/wait") == 0 ||
	    strcmp(request->path, "/hang") == 0)
		assert_int_equal(sem_wait(&go_on), 0);
	if (strcmp(request->path, "/early") != 0)
		reply.status = exchange_read_body(exchange, BODY_MOST) == 0
				       ? 200
				       : 400;
	exchange_answer(exchange, &reply, true);
}

static int start(void **state)
{
	struct accept_options options;

	(void)state;
	calls = forged_calls = 0;
	(void)sem_init(&go_on, 0, 0);
	loop_listen(&loop);
	options = loop_options(&loop, serve, NULL);
	options.connections_max = 1000;
	options.io_timeout_ms = 200;
	options.request_timeout_ms = 1000;
	loop_start(&loop, &options);
	return 0;
}

static int end(void **state)
{
	(void)state;
	/* A test that failed may have left some that wait. */
	for (int i = 0; i < 2 * MANY; i++)
		(void)sem_post(&go_on);
	loop_end(&loop);
	return 0;
}

static void check_others_are_served(const char *name)
{
	static struct wire get;
	int fd = loop_connect(&loop);

	get.size = 0;
	wire_get(&get, "/");
	loop_send(fd, &get);
	CHECK_NUMBER(name, loop_answer(&loop, fd, NULL, 0), 200);
	close(fd);
}

static void check_nobody_is_left(void)
{
	struct accept_figures figures;
	int64_t until_ms = clock_monotonic_ms() + LOOP_WAIT_MS;

	do {
		(void)loop_wait(&loop, loop.listen_fd, 20);
		figures = accept_figures(loop.accept);
	} while ((figures.connections > 0 || figures.busy > 0) &&
		 clock_monotonic_ms() < until_ms);
	CHECK_NUMBER("connections left", (int)figures.connections, 0);
	CHECK_NUMBER("threads held", (int)figures.busy, 0);
}

/* ---- records that are not the body's ------------------------------------ */

static const uint8_t begin_body[8] = { 0, FCGI_RESPONDER, FCGI_KEEP_CONN };

/* What libfcgi would answer from a buffer for three of them. */
static void put_many_values(void)
{
	static struct wire names;

	names.size = 0;
	for (int i = 0; i < 100; i++)
		wire_pair(&names, FCGI_MAX_CONNS, "");
	wire_record(&wire, FCGI_GET_VALUES, 0, names.bytes, names.size);
}

/* libfcgi would lose a little memory for each. */
static void put_many_unknown(void)
{
	for (int i = 0; i < 100; i++)
		wire_record(&wire, 200, 0, "", 0);
}

static void put_odd_end(void)
{
	wire_record(&wire, FCGI_STDIN, 1, "", 0);
	wire.bytes[wire.size - 2] = 8;
	wire_put(&wire, begin_body, sizeof(begin_body));
}

static void put_odd_version(void)
{
	wire_record(&wire, FCGI_STDIN, 1, "x", 1);
	wire.bytes[wire.size - 9] = 2;
}

static const struct {
	const char *name;
	int type, request;
	void (*put)(void);
} strays[] = {
	{ "values asked for", FCGI_GET_VALUES, 0, NULL },
	{ "a hundred values asked for", 0, 0, put_many_values },
	{ "values told", FCGI_GET_VALUES_RESULT, 0, NULL },
	{ "unknown management", 200, 0, NULL },
	{ "a hundred of them", 0, 0, put_many_unknown },
	{ "unknown type", 200, 1, NULL },
	{ "abort", FCGI_ABORT_REQUEST, 1, NULL },
	{ "end", FCGI_END_REQUEST, 1, NULL },
	{ "parameters again", FCGI_PARAMS, 1, NULL },
	{ "output", FCGI_STDOUT, 1, NULL },
	{ "data of a filter", FCGI_DATA, 1, NULL },
	{ "begun again", FCGI_BEGIN_REQUEST, 1, NULL },
	{ "another begun beside it", FCGI_BEGIN_REQUEST, 2, NULL },
	{ "body of nobody", FCGI_STDIN, 0, NULL },
	{ "body of another", FCGI_STDIN, 2, NULL },
	{ "padding at the end", 0, 0, put_odd_end },
	{ "another version", 0, 0, put_odd_version },
};

/* A request with that much of its body before the stray record, and a whole
 * forged one behind it. */
static void put_stray(const char *path, size_t which, size_t before)
{
	static uint8_t body[BODY_MOST];

	wire.size = 0;
	wire_head(&wire, "POST", path, before + 1, NULL);
	for (size_t at = 0; at < before; at += 16 * 1024)
		wire_record(&wire, FCGI_STDIN, 1, body,
			    before - at < 16 * 1024 ? before - at : 16 * 1024);
	if (strays[which].put)
		strays[which].put();
	else
		wire_record(&wire, strays[which].type, strays[which].request,
			    begin_body, sizeof(begin_body));
	wire_record(&wire, FCGI_STDIN, 1, "x", 1);
	wire_record(&wire, FCGI_STDIN, 1, "", 0);
	wire_get(&wire, "/forged");
}

/* @return how many bytes came until the connection was closed; -1: it stays */
static ssize_t read_to_end(int fd, void *bytes, size_t size)
{
	size_t at = 0;

	while (at < size && loop_wait(&loop, fd, LOOP_WAIT_MS)) {
		ssize_t got = read(fd, (char *)bytes + at, size - at);

		if (got <= 0)
			return (ssize_t)at;
		at += (size_t)got;
	}
	return -1;
}

static void check_stray(const char *path, size_t which, size_t before,
			const char *answer)
{
	const char *name = strays[which].name;
	int calls_before = calls, fd = loop_connect(&loop);
	uint8_t bytes[4096];
	ssize_t size;

	put_stray(path, which, before);
	loop_send(fd, &wire);
	size = read_to_end(fd, bytes, sizeof(bytes));
	CHECK(name, size >= 0);
	CHECK_NUMBER(name, calls - calls_before, 1);
	/* The one answer, if we could still read it: libfcgi did not see the
	 * stray, or it would have answered that first. */
	CHECK(name, size == 0 || (bytes[1] == FCGI_STDOUT && bytes[3] == 1 &&
				  memcmp(bytes + FCGI_HEADER_LEN, answer,
					 strlen(answer)) == 0));
	close(fd);
}

static void a_record_that_is_not_the_body_s_ends_the_connection(void **state)
{
	/* Within the first look, and far behind it. */
	static const size_t befores[] = { 0, 1, 9000, 200 * 1024 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(strays); i++) {
		for (size_t k = 0; k < COUNT_OF(befores); k++) {
			check_stray("/", i, befores[k], "Status: 400");
			check_stray("/early", i, befores[k], "Status: 404");
		}
	}
	CHECK_NUMBER("forged", forged_calls, 0);
	check_others_are_served("others");
	check_nobody_is_left();
}

/* ---- requests behind each other ----------------------------------------- */

static void requests_sent_at_once_are_served_one_by_one(void **state)
{
	static struct wire forged;
	int fd = loop_connect(&loop);

	(void)state;
	forged.size = 0;
	for (int i = 0; i < 50; i++)
		wire_get(&forged, "/forged");
	wire.size = 0;
	for (int i = 0; i < 10; i++) {
		const char *path = i % 2 ? "/" : "/early";

		wire_get(&wire, path);
		wire_head(&wire, "POST", path, forged.size, NULL);
		wire_body(&wire, forged.bytes, forged.size);
	}
	loop_send(fd, &wire);
	for (int i = 0; i < 10; i++) {
		CHECK_NUMBER("GET", loop_answer(&loop, fd, NULL, 0),
			     i % 2 ? 200 : 404);
		CHECK_NUMBER("POST", loop_answer(&loop, fd, NULL, 0),
			     i % 2 ? 200 : 404);
	}
	CHECK_NUMBER("calls", calls, 20);
	CHECK_NUMBER("forged", forged_calls, 0);
	close(fd);
	check_nobody_is_left();
}

/* ---- requests that wait ------------------------------------------------- */

static int ask(const char *path)
{
	int fd = loop_connect(&loop);

	wire.size = 0;
	wire_get(&wire, path);
	loop_send(fd, &wire);
	return fd;
}

static void check_answers(int fd)
{
	CHECK_NUMBER("answer", loop_answer(&loop, fd, NULL, 0), 200);
	close(fd);
}

/* A moment after the answers are there. */
static void check_gets_on(void)
{
	int64_t until_ms = clock_monotonic_ms() + LOOP_WAIT_MS;
	int64_t stuck_ms;

	/* Whoever serves is busy for a moment. */
	while ((stuck_ms = accept_figures(loop.accept).stuck_ms) > 0 &&
	       clock_monotonic_ms() < until_ms)
		(void)loop_wait(&loop, loop.listen_fd, 20);
	CHECK_NUMBER("stuck", (int)stuck_ms, 0);
}

static void a_request_that_waits_lets_others_be_found(void **state)
{
	int waits, others[MANY];

	(void)state;
	waits = ask("/wait");
	for (size_t i = 0; i < COUNT_OF(others); i++)
		others[i] = ask("/");
	for (size_t i = 0; i < COUNT_OF(others); i++)
		check_answers(others[i]);
	check_gets_on();
	(void)sem_post(&go_on);
	check_answers(waits);
	check_nobody_is_left();
}

/* All that come in one wake-up, some of which wait: as many threads as there
 * are serve them, and none is forgotten. */
static void what_one_thread_has_found_others_serve(void **state)
{
	int hangs = ask("/hang"), waits[MANY];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(waits); i++)
		waits[i] = ask("/wait");
	for (size_t i = 0; i < COUNT_OF(waits) + 1; i++)
		(void)sem_post(&go_on);
	check_answers(hangs);
	for (size_t i = 0; i < COUNT_OF(waits); i++)
		check_answers(waits[i]);
	check_nobody_is_left();
}

/* Other threads are free, and still nobody serves. */
static void a_thread_that_hangs_is_seen(void **state)
{
	int64_t until_ms = clock_monotonic_ms() + LOOP_WAIT_MS;
	int fd = ask("/hang");

	(void)state;
	while (accept_figures(loop.accept).stuck_ms == 0 &&
	       clock_monotonic_ms() < until_ms)
		(void)loop_wait(&loop, fd, 20);
	CHECK("stuck", accept_figures(loop.accept).stuck_ms > 0);
	(void)sem_post(&go_on);
	check_answers(fd);
	check_gets_on();
}

/* ---- every byte --------------------------------------------------------- */

static void put_post(const char *path)
{
	wire.size = 0;
	wire_head(&wire, "POST", path, 12, NULL);
	wire_record(&wire, FCGI_STDIN, 1, "{\"a\":", 5);
	wire_record(&wire, FCGI_STDIN, 1, "\"bcde\"}", 7);
	wire_record(&wire, FCGI_STDIN, 1, "", 0);
}

static int send_part(size_t from, size_t to, int fd)
{
	return (int)send(fd, wire.bytes + from, to - from, MSG_NOSIGNAL);
}

static void a_request_may_come_in_two_pieces_cut_anywhere(void **state)
{
	static int fds[1000];

	(void)state;
	put_post("/");
	assert_in_range(wire.size, 100, COUNT_OF(fds));
	for (size_t cut = 1; cut < wire.size; cut++) {
		fds[cut] = loop_connect(&loop);
		(void)send_part(0, cut, fds[cut]);
		/* Bodies hold a thread meanwhile: one at a time. */
		if (cut % 8 == 0)
			(void)loop_wait(&loop, loop.listen_fd, 1);
		(void)send_part(cut, wire.size, fds[cut]);
		CHECK_NUMBER("whole", loop_answer(&loop, fds[cut], NULL, 0),
			     200);
		close(fds[cut]);
	}
	CHECK_NUMBER("calls", calls, (int)wire.size - 1);
	check_nobody_is_left();
}

static void a_peer_that_hangs_up_anywhere_leaves_nothing(void **state)
{
	(void)state;
	for (int early = 0; early < 2; early++) {
		put_post(early ? "/early" : "/");
		for (size_t cut = 0; cut <= wire.size; cut++) {
			int fd = loop_connect(&loop);

			(void)send_part(0, cut, fd);
			close(fd);
		}
	}
	check_others_are_served("others");
	check_nobody_is_left();
}

/* Silent after each byte: heads hold no thread at all, bodies hold theirs for
 * one timeout. */
static void a_peer_that_falls_silent_anywhere_is_left(void **state)
{
	static int fds[1000];
	size_t head, count;

	(void)state;
	wire.size = 0;
	wire_head(&wire, "POST", "/", 12, NULL);
	head = wire.size;
	put_post("/");
	assert_in_range(wire.size, head, COUNT_OF(fds));
	for (count = 0; count < head; count++) {
		fds[count] = loop_connect(&loop);
		(void)send_part(0, count, fds[count]);
	}
	check_others_are_served("beside heads");
	CHECK_NUMBER("before any of them was given up",
		     (int)accept_figures(loop.accept).dropped, 0);
	CHECK_NUMBER("calls", calls, 1);

	/* One who has not said a word may stay, as nginx does. */
	for (size_t i = 1; i < count; i++) {
		CHECK("head", loop_is_closed(&loop, fds[i]));
		close(fds[i]);
	}
	close(fds[0]);

	for (count = 0; head + count < wire.size; count++) {
		fds[count] = loop_connect(&loop);
		(void)send_part(0, head + count, fds[count]);
	}
	for (size_t i = 0; i < count; i++) {
		CHECK_NUMBER("body", loop_answer(&loop, fds[i], NULL, 0), 400);
		CHECK("body", loop_is_closed(&loop, fds[i]));
		close(fds[i]);
	}
	check_others_are_served("after bodies");
	check_nobody_is_left();
}

/* ---- nothing stays ------------------------------------------------------ */

static size_t count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void hostile_round(size_t round)
{
	static const char *const paths[] = { "/", "/early" };
	int fd = loop_connect(&loop);
	uint8_t bytes[4096];

	put_stray(paths[round % COUNT_OF(paths)], round % COUNT_OF(strays),
		  round * 97 % 20000);
	if (round % 3 == 0)
		wire.size = round * 31 % wire.size;
	loop_send(fd, &wire);
	if (round % 5 != 0) {
		(void)shutdown(fd, SHUT_WR);
		CHECK("closed", read_to_end(fd, bytes, sizeof(bytes)) >= 0);
	}
	close(fd);
}

static void hostile_peers_leave_no_descriptor_and_no_memory(void **state)
{
	size_t descriptors, memory;

	(void)state;
	for (size_t i = 0; i < ROUNDS; i++)
		hostile_round(i);
	check_nobody_is_left();
	descriptors = count_descriptors();
	memory = mallinfo2().uordblks;
	for (size_t i = 0; i < 2 * ROUNDS; i++)
		hostile_round(i);
	check_nobody_is_left();
	CHECK_NUMBER("descriptors", (int)count_descriptors(), (int)descriptors);
	CHECK("memory", mallinfo2().uordblks < memory + GROWTH_BYTES);
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, start, end)
	const struct CMUnitTest tests[] = {
		IN_LOOP(a_record_that_is_not_the_body_s_ends_the_connection),
		IN_LOOP(requests_sent_at_once_are_served_one_by_one),
		IN_LOOP(a_request_that_waits_lets_others_be_found),
		IN_LOOP(what_one_thread_has_found_others_serve),
		IN_LOOP(a_thread_that_hangs_is_seen),
		IN_LOOP(a_request_may_come_in_two_pieces_cut_anywhere),
		IN_LOOP(a_peer_that_hangs_up_anywhere_leaves_nothing),
		IN_LOOP(a_peer_that_falls_silent_anywhere_is_left),
		IN_LOOP(hostile_peers_leave_no_descriptor_and_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
