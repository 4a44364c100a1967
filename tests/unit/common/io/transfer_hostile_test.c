/* SPDX-License-Identifier: MIT */
#include "tests/unit/common/io/transfer_fixture.h"

#include <malloc.h>
#include <netinet/in.h>
#include <sys/syscall.h>

/* Sources that mean harm: bodies without end, cuts of every kind, trickles.
 * What we read is counted where libcurl reads it. */

enum {
	CAP_BYTES = 128 * 1024,
	OVER_BYTES = 64 * 1024, /* of the body, read beyond the cap at most */
	FRAME_BYTES = 1024,	/* the head, and the lines before chunks */
	PIECE_BYTES = 16 * 1024,
	MIB = 1024 * 1024,
	TRANSFER_MEMORY_BYTES = 512 * 1024, /* of one, whatever its size */
};

/* ---- counting ----------------------------------------------------------- */

static _Thread_local bool is_counted;
static size_t bytes_read;

/* In the place of libc's. The peer's threads are not counted. */
/* NOLINTNEXTLINE(readability-inconsistent-*): libc's names are reserved */
ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
	ssize_t got = (ssize_t)syscall(SYS_recvfrom, fd, bytes, size, flags,
				       NULL, NULL);

	if (is_counted && got > 0)
		bytes_read += (size_t)got;
	return got;
}

/* ---- bodies without end ------------------------------------------------- */

#define CHUNKED	   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define PNG_HEX	   "10\r\n\x89PNG\r\n\x1a\n\0\0\0\rIHDR\r\n"
#define TEXT(text) text, sizeof(text) - 1

static const struct endless {
	const char *name;
	const char *head;
	size_t head_bytes;
	const char *piece; /* said again and again; NULL: media */
	size_t piece_bytes;
	int error;
	size_t envelope; /* bytes on the wire for one of the body */
} endless[] = {
	{ "large chunks", TEXT(CHUNKED PNG_HEX), TEXT("4000\r\n@\r\n"), -EFBIG,
	  1 },
	{ "small chunks", TEXT(CHUNKED PNG_HEX), TEXT("1\r\nx\r\n"), -EFBIG,
	  6 },
	{ "one chunk of 2^62 bytes",
	  TEXT(CHUNKED "4000000000000000\r\n\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
	  NULL, 0, -EFBIG, 1 },
	{ "no length", TEXT("HTTP/1.1 200 OK\r\n\r\n"), NULL, 0, -EBADMSG, 1 },
	{ "no length, HTTP/1.0", TEXT("HTTP/1.0 200 OK\r\n\r\n"), NULL, 0,
	  -EBADMSG, 1 },
	{ "more than allowed",
	  TEXT("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n"
	       "\r\n"),
	  NULL, 0, -EFBIG, 1 },
	{ "page of an error",
	  TEXT("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"),
	  TEXT("4000\r\n@\r\n"), -ENOENT, 1 },
	{ "page of a redirect that leads nowhere",
	  TEXT("HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n"),
	  TEXT("4000\r\n@\r\n"), -EBADMSG, 1 },
	{ "header lines", TEXT("HTTP/1.1 200 OK\r\n"), TEXT("A: b\r\n"),
	  -EAGAIN, 1 },
	/* libcurl has a limit for a line, and calls it so. */
	{ "one header line", TEXT("HTTP/1.1 200 OK\r\nA: "), TEXT("b"), -ENOMEM,
	  1 },
	{ "status line", TEXT("HTTP/1.1 200 "), TEXT("O"), -ENOMEM, 1 },
	{ "interim answers", TEXT(""), TEXT("HTTP/1.1 100 Continue\r\n\r\n"),
	  -EAGAIN, 1 },
	{ "chunk extension", TEXT(CHUNKED PNG_HEX "1;a="), TEXT("b"), -EAGAIN,
	  1 },
	{ "chunk size of zeros", TEXT(CHUNKED PNG_HEX), TEXT("0"), -EAGAIN, 1 },
	{ "trailers", TEXT(CHUNKED PNG_HEX "0\r\n"), TEXT("A: b\r\n"), -EAGAIN,
	  1 },
	{ "one trailer", TEXT(CHUNKED PNG_HEX "0\r\nA: "), TEXT("b"), -EAGAIN,
	  1 },
};

/* A page of pieces; "@" in one stands for what fills a chunk of 4000h. */
static size_t fill(const struct endless *what, char *page, size_t size)
{
	size_t length = 0;

	while (what->piece && length + what->piece_bytes + 0x4000 < size) {
		const char *at = memchr(what->piece, '@', what->piece_bytes);
		size_t before =
			at ? (size_t)(at - what->piece) : what->piece_bytes;

		memcpy(page + length, what->piece, before);
		length += before;
		if (!at)
			continue;
		memset(page + length, 'x', 0x4000);
		length += 0x4000;
		memcpy(page + length, at + 1, what->piece_bytes - before - 1);
		length += what->piece_bytes - before - 1;
	}
	return length;
}

/* As fast as it is taken, until nobody takes it any more. */
static void pour(struct peer *peer, int fd, const struct endless *what)
{
	char *page = malloc(4 * PIECE_BYTES);
	size_t size = page ? fill(what, page, 4 * PIECE_BYTES) : 0;

	peer_write(fd, what->head, what->head_bytes);
	while (page && !atomic_load(&peer->stopping)) {
		const char *from = what->piece ? page : media;

		if (send(fd, from, what->piece ? size : PIECE_BYTES,
			 MSG_NOSIGNAL) <= 0)
			break;
	}
	free(page);
}

/* ---- cuts --------------------------------------------------------------- */

enum end {
	END_FIN,
	END_RESET,
	END_SILENT, /* the connection stays, nothing more comes */
};

static const struct cut {
	const char *name;
	const char *head;
	size_t head_bytes;
	size_t media_bytes; /* after the head */
	const char *tail;
	enum end end;
	int error; /* 0: it is whole */
} cuts[] = {
	/* clang-format off */
	{ "whole, by length", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 1000, "", END_FIN, 0 },
	{ "whole, by chunks", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, 0 },
	{ "whole, with trailer", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r\nContent-Length: 5\r\n\r\n", END_FIN, 0 },
	{ "whole, chunk extension", TEXT(CHUNKED "3e8;a=\"b\"\r\n"), 1000, "\r\n0;c\r\n\r\n", END_FIN, 0 },
	{ "whole, after an interim answer", TEXT("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 1000, "", END_FIN, 0 },
	{ "whole, length said twice alike", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Length: 1000\r\n\r\n"), 1000, "", END_FIN, 0 },
	{ "whole but for the last line feed", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r\n\r", END_FIN, 0 },
	{ "more than its length", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 1005, "", END_FIN, 0 },

	{ "nothing at all", TEXT(""), 0, "", END_FIN, -EAGAIN },
	{ "nothing at all, reset", TEXT(""), 0, "", END_RESET, -EAGAIN },
	{ "in the status line", TEXT("HTTP/1.1 2"), 0, "", END_FIN, -EAGAIN },
	{ "in the headers", TEXT("HTTP/1.1 200 OK\r\nContent-Le"), 0, "", END_FIN, -EBADMSG },
	{ "before the empty line", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n"), 0, "", END_FIN, -EAGAIN },
	{ "behind the headers", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 0, "", END_FIN, -EAGAIN },
	{ "a byte short", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 999, "", END_FIN, -EAGAIN },
	{ "a byte short, reset", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 999, "", END_RESET, -EAGAIN },
	{ "a byte short, silent", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 999, "", END_SILENT, -EAGAIN },
	{ "a byte short, kept alive", TEXT("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1000\r\n\r\n"), 999, "", END_FIN, -EAGAIN },
	{ "in a chunk", TEXT(CHUNKED "3e8\r\n"), 999, "", END_FIN, -EAGAIN },
	{ "in a chunk, reset", TEXT(CHUNKED "3e8\r\n"), 999, "", END_RESET, -EAGAIN },
	{ "in a chunk, silent", TEXT(CHUNKED "3e8\r\n"), 999, "", END_SILENT, -EAGAIN },
	{ "behind a chunk", TEXT(CHUNKED "3e8\r\n"), 1000, "", END_FIN, -EAGAIN },
	{ "behind a chunk's end", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n", END_FIN, -EAGAIN },
	{ "in a chunk's size", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n3", END_FIN, -EAGAIN },
	{ "in the last chunk's line", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r", END_FIN, -EAGAIN },
	{ "behind the last chunk", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r\n", END_FIN, -EAGAIN },
	{ "in the trailer", TEXT(CHUNKED "3e8\r\n"), 1000, "\r\n0\r\nA: b", END_FIN, -EAGAIN },

	{ "to the end of the connection", TEXT("HTTP/1.1 200 OK\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "to the end of the connection, said so", TEXT("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "to the end of the connection, HTTP/1.0", TEXT("HTTP/1.0 200 OK\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "a part, asked for by nobody", TEXT("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-999/2000\r\nContent-Length: 1000\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },

	{ "lengths that differ", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Length: 500\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "length and chunks", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EBADMSG },
	{ "chunks and length", TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1000\r\n\r\n3e8\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EBADMSG },
	{ "negative length", TEXT("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "length beyond 64 bits", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709552616\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "length with a sign", TEXT("HTTP/1.1 200 OK\r\nContent-Length: +1000\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "length in words", TEXT("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "a list of lengths", TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1000, 1000\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "chunk size beyond 64 bits", TEXT(CHUNKED "fffffffffffffffff\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EAGAIN },
	{ "negative chunk size", TEXT(CHUNKED "-1\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EAGAIN },
	{ "no chunk size", TEXT(CHUNKED "\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EAGAIN },
	{ "chunk size in words", TEXT(CHUNKED "many\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EAGAIN },
	{ "chunk longer than its size", TEXT(CHUNKED "3e7\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EAGAIN },
	{ "no chunk", TEXT(CHUNKED), 0, "0\r\n\r\n", END_FIN, -EBADMSG },
	{ "encoded chunks", TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3e8\r\n"), 1000, "\r\n0\r\n\r\n", END_FIN, -EBADMSG },
	{ "encoded body", TEXT("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1000\r\n\r\n"), 1000, "", END_FIN, -EBADMSG },
	{ "HTTP/0.9", TEXT(""), 1000, "", END_FIN, -EBADMSG },
	/* clang-format on */
};

static bool say_cut(struct peer *peer, int fd, const struct cut *cut)
{
	struct linger now = { .l_onoff = 1 };
	int nothing;

	peer_write(fd, cut->head, cut->head_bytes);
	peer_write(fd, media, cut->media_bytes);
	peer_say(fd, cut->tail);
	/* A reset would overtake what is still on its way. */
	if (cut->end == END_RESET) {
		(void)usleep(20000);
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
		(void)dup2(nothing, fd); /* it stays the peer's to close */
		(void)close(nothing);
	}
	while (cut->end == END_SILENT && !atomic_load(&peer->stopping) &&
	       !atomic_load(&gate_open))
		(void)usleep(5000);
	return false;
}

/* ---- trickles and large files ------------------------------------------- */

/* A byte every 50 ms: never silent, and never done. */
static void drip(struct peer *peer, int fd, const char *text, size_t size)
{
	for (size_t i = 0; i < size && !atomic_load(&peer->stopping); i++) {
		if (send(fd, text + i, 1, MSG_NOSIGNAL) <= 0)
			return;
		(void)usleep(50000);
	}
}

static const char *const drips[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", CHUNKED,
	"", /* the headers themselves */
};

static void say_drip(struct peer *peer, int fd, const char *head)
{
	peer_say(fd, head);
	if (*head)
		peer_write(fd, media, 16);
	else
		peer_say(fd, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 100 && !atomic_load(&peer->stopping); i++)
		drip(peer, fd, *head ? "1\r\nx\r\n" : "A: b\r\n", 6);
}

static void say_large(int fd, bool chunked, size_t mib)
{
	if (!chunked)
		say_length(fd, 200, mib * MIB);
	else
		peer_say(fd, CHUNKED);
	for (size_t done = 0; done < mib * MIB; done += PIECE_BYTES) {
		if (chunked)
			peer_say(fd, "4000\r\n");
		peer_write(fd, media, PIECE_BYTES);
		if (chunked)
			peer_say(fd, "\r\n");
	}
	if (chunked)
		peer_say(fd, "0\r\n\r\n");
}

static bool serve_hostile(struct peer *peer, int fd, const char *request)
{
	unsigned n;

	if (sscanf(request, "GET /endless/%u ", &n) == 1)
		pour(peer, fd, &endless[n]);
	else if (sscanf(request, "GET /cut/%u ", &n) == 1)
		return say_cut(peer, fd, &cuts[n]);
	else if (sscanf(request, "GET /drip/%u ", &n) == 1)
		say_drip(peer, fd, drips[n]);
	else if (sscanf(request, "GET /length/%u ", &n) == 1)
		say_large(fd, false, n);
	else if (sscanf(request, "GET /chunks/%u ", &n) == 1)
		say_large(fd, true, n);
	return false;
}

/* ---- tests -------------------------------------------------------------- */

static int set_up_hostile(void **state)
{
	struct fixture *f;
	int r = set_up(state);

	f = *state;
	peer_stop(&f->peer);
	peer_start(&f->peer, serve_hostile);
	f->conf.media_bytes_max = CAP_BYTES;
	f->conf.stall_timeout_s = 1;
	return r;
}

static const char *numbered(const struct fixture *f, const char *kind, size_t n)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/%s/%zu", kind, n);
	return peer_url(&f->peer, path);
}

static void what_never_ends_is_given_up(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(endless); i++) {
		size_t most;

		bytes_read = 0;
		(void)move_url(f, numbered(f, "endless", i));
		if (f->seen.result.error != endless[i].error)
			fail_msg("%s: %d (%s)", endless[i].name,
				 f->seen.result.error,
				 f->seen.result.fault.text);
		assert_failed(f, endless[i].error, TRANSFER_SOURCE);
		assert_true(f->seen.result.bytes <= CAP_BYTES);
		/* Headers and the like are bounded by time alone. */
		most = (size_t)(CAP_BYTES + OVER_BYTES) * endless[i].envelope +
		       FRAME_BYTES;
		if (endless[i].error != -EAGAIN && bytes_read > most)
			fail_msg("%s: %zu bytes", endless[i].name, bytes_read);
	}
}

static void every_cut_is_noticed(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(cuts); i++) {
		(void)move_url(f, numbered(f, "cut", i));
		if (f->seen.result.error != cuts[i].error)
			fail_msg("%s: %d (%s)", cuts[i].name,
				 f->seen.result.error,
				 f->seen.result.fault.text);
		if (cuts[i].error < 0)
			assert_failed(f, cuts[i].error, TRANSFER_SOURCE);
		else
			assert_int_equal(f->seen.result.bytes, 1000);
		(void)nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
		assert_int_equal(mkdir(f->folder, 0700), 0);
		f->transfers = transfers_free(f->transfers);
		f->store = store_close(f->store);
		open_all(f);
	}
}

static void a_trickle_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct timespec begun, ended;

	for (size_t i = 0; i < COUNT_OF(drips); i++) {
		(void)clock_gettime(CLOCK_MONOTONIC, &begun);
		(void)move_url(f, numbered(f, "drip", i));
		(void)clock_gettime(CLOCK_MONOTONIC, &ended);
		assert_failed(f, -EAGAIN, TRANSFER_SOURCE);
		/* STALL_TIMEOUT_S is 1 here; the rest is a slow machine's. */
		assert_true(ended.tv_sec - begun.tv_sec <= 10);
	}
}

/* Run one transfer. @return the most memory it had allocated on the way */
static size_t memory_of(struct fixture *f, const char *url)
{
	size_t before = mallinfo2().uordblks, most = before;
	int want = f->seen.count + 1;

	begin(f, url, &f->seen, NULL, NULL);
	while (f->seen.count < want) {
		size_t now = mallinfo2().uordblks;

		(void)sd_event_run(f->event, 100000);
		most = now > most ? now : most;
	}
	assert_int_equal(f->seen.result.error, 0);
	return most - before;
}

static void memory_does_not_grow_with_the_file(void **state)
{
	static const char *const kinds[] = { "length", "chunks" };
	struct fixture *f = *state;

	f->conf.media_bytes_max = 256 * MIB;
	f->conf.stall_timeout_s = 10;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		size_t small, large;

		/* once for what stays: buffers of the multi handle, names */
		(void)memory_of(f, numbered(f, kinds[i], 1));
		/* long enough to be looked at when all its buffers are there */
		small = memory_of(f, numbered(f, kinds[i], 8));
		large = memory_of(f, numbered(f, kinds[i], 64));
		assert_int_equal(f->seen.result.bytes, 64 * MIB);
		/* The peer's buffer for a request may be in it or not. */
		assert_true(large <= small + PEER_REQUEST_MAX + OVER_BYTES);
		assert_true(large <= TRANSFER_MEMORY_BYTES);
	}
}

#define HOSTILE(name)                                                          \
	cmocka_unit_test_setup_teardown(name, set_up_hostile, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOSTILE(what_never_ends_is_given_up),
		HOSTILE(every_cut_is_noticed),
		HOSTILE(a_trickle_is_given_up),
		HOSTILE(memory_does_not_grow_with_the_file),
	};

	make_media();
	is_counted = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
