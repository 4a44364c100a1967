/* SPDX-License-Identifier: MIT */
#include "common/io/transfer.h"

#include "common/base/text.h"
#include "common/io/store_put.h"
#include "tests/unit/common/io/peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { MEDIA_BYTES = 200000 };

#define PREFIX "0193a1b2-0000-7000-8000-000000000001/job/1/0"

struct seen {
	int count;
	struct transfer_result result;
};

struct fixture {
	sd_event *event;
	struct conf conf;
	char folder[64];
	struct store *store;
	struct transfers *transfers;
	struct peer peer, other;
	struct seen seen;
};

static char media[MEDIA_BYTES];
static char media_sha256[SHA256_HEX_SIZE];
static atomic_int credentials_seen;
static atomic_int gate_open; /* lets slow answers end */

static void make_media(void)
{
	uint8_t digest[SHA256_BYTES];

	for (size_t i = 0; i < sizeof(media); i++)
		media[i] = (char)(i * 7 + i / 251);
	memcpy(media, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
	crypto_sha256(media, sizeof(media), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(media_sha256 + 2 * i, 3, "%02x", digest[i]);
}

static void say_length(int fd, unsigned status, size_t bytes)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 %u X\r\nContent-Length: %zu\r\n\r\n", status,
		       bytes);
	peer_say(fd, text);
}

static void say_chunks(int fd, size_t bytes, bool end)
{
	char text[32];

	peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t done = 0; done < bytes; done += 1000) {
		(void)snprintf(text, sizeof(text), "%x\r\n", 1000);
		peer_say(fd, text);
		peer_write(fd, media + done, 1000);
		peer_say(fd, "\r\n");
	}
	if (end)
		peer_say(fd, "0\r\n\r\n");
}

static void redirect(int fd, const char *url)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 302 Found\r\nLocation: %s\r\n"
		       "Content-Length: 5\r\n\r\nhello",
		       url);
	peer_say(fd, text);
}

static bool serve_other(struct peer *peer, int fd, const char *request)
{
	(void)peer;
	if (strcasestr(request, "X-Api-Key:"))
		(void)atomic_fetch_add(&credentials_seen, 1);
	say_length(fd, 200, sizeof(media));
	peer_write(fd, media, sizeof(media));
	return true;
}

static bool serve_odd(struct peer *peer, int fd, const char *request)
{
	if (strstr(request, " /cut ")) {
		say_length(fd, 200, sizeof(media));
		peer_write(fd, media, sizeof(media) / 2);
	} else if (strstr(request, " /cut-chunk ")) {
		say_chunks(fd, sizeof(media) / 2, false);
	} else if (strstr(request, " /endless ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
		peer_write(fd, media, sizeof(media));
	} else if (strstr(request, " /zipped ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
			     "Content-Length: 20\r\n\r\n");
		peer_write(fd, media, 20);
	} else if (strstr(request, " /two-lengths ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n14\r\n");
		peer_write(fd, media, 20);
		peer_say(fd, "\r\n0\r\n\r\n");
	} else if (strstr(request, " /page ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n"
			     "<html>not yet</html>\n");
	} else if (strstr(request, " /empty ")) {
		say_length(fd, 200, 0);
	} else if (strstr(request, " /none ")) {
		peer_say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
	} else if (strstr(request, " /noise ")) {
		peer_say(fd, "\x89PNG\r\n\x1a\n not HTTP at all");
	} else if (strstr(request, " /hang ")) {
		say_length(fd, 200, sizeof(media));
		peer_write(fd, media, sizeof(media) / 2);
		while (!atomic_load(&peer->stopping) &&
		       !atomic_load(&gate_open))
			(void)usleep(5000);
		peer_write(fd, media + sizeof(media) / 2, sizeof(media) / 2);
	}
	return false;
}

static bool serve(struct peer *peer, int fd, const char *request)
{
	unsigned status;
	char url[64];

	if (strstr(request, " /media ")) {
		say_length(fd, 200, sizeof(media));
		peer_write(fd, media, sizeof(media));
	} else if (strstr(request, " /chunked ")) {
		say_chunks(fd, sizeof(media), true);
	} else if (strstr(request, " /small ")) {
		say_length(fd, 200, 20);
		peer_write(fd, media, 20);
	} else if (sscanf(request, "GET /status/%u ", &status) == 1) {
		say_length(fd, status, 20);
		peer_write(fd, media, 20);
	} else if (strstr(request, " /round ")) {
		redirect(fd, "/round");
	} else if (strstr(request, " /here ")) {
		redirect(fd, "/key");
	} else if (strstr(request, " /key ")) {
		if (strcasestr(request, "X-Api-Key: secret"))
			(void)atomic_fetch_add(&credentials_seen, 100);
		say_length(fd, 200, 20);
		peer_write(fd, media, 20);
	} else if (sscanf(request, "GET /to/%63s ", url) == 1) {
		char target[96];
		bool port = url[0] >= '0' && url[0] <= '9' && !strchr(url, '.');

		(void)snprintf(target, sizeof(target),
			       port		  ? "http://127.0.0.1:%s/x"
			       : strchr(url, ':') ? "%s"
						  : "http://%s/x",
			       url);
		redirect(fd, target);
	} else {
		return serve_odd(peer, fd, request);
	}
	return true;
}

/* ---- fixture ------------------------------------------------------------ */

static void open_all(struct fixture *f)
{
	struct fault fault = { "" };

	if (store_open(f->event, &f->conf, &f->store, &fault) < 0 ||
	    transfers_new(f->event, &f->conf, f->store, &f->transfers, &fault) <
		    0)
		fail_msg("%s", fault.text);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder),
		       "/tmp/rushes-transfer-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->conf = (struct conf){
		.allow_loopback = true,
		.connect_timeout_ms = 2000,
		.stall_timeout_s = 5,
		.transfers_max = 4,
		.media_bytes_max = MEDIA_BYTES,
		.spool_dir = f->folder,
		.store_kind = CONF_STORE_FILE,
		.store_dir = f->folder,
		.cdn_base_url = "https://cdn.example/m",
	};
	assert_true(sd_event_new(&f->event) >= 0);
	open_all(f);
	peer_start(&f->peer, serve);
	peer_start(&f->other, serve_other);
	atomic_store(&credentials_seen, 0);
	atomic_store(&gate_open, 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)transfers_free(f->transfers);
	(void)store_close(f->store);
	peer_stop(&f->peer);
	peer_stop(&f->other);
	(void)sd_event_unref(f->event);
	(void)nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static size_t files_found;

static int count_one(const char *path, const struct stat *st, int type,
		     struct FTW *walk)
{
	(void)path;
	(void)st;
	(void)walk;
	files_found += type == FTW_F;
	return 0;
}

/* Files below the store's folder, temporary ones included. */
static size_t count_files(const struct fixture *f)
{
	files_found = 0;
	(void)nftw(f->folder, count_one, 16, FTW_PHYS);
	return files_found;
}

static void on_done(const struct transfer_result *result, void *userdata)
{
	struct seen *seen = userdata;

	seen->count++;
	seen->result = *result;
}

static void begin(struct fixture *f, const char *url, struct seen *seen,
		  const char *lane, struct transfer **ret)
{
	struct http_request request = {
		.method = HTTP_GET,
		.url = url,
		.header = { { "X-Api-Key", "secret" } },
		.header_count = 1,
	};
	struct transfer_job job = { .request = &request,
				    .key_prefix = PREFIX,
				    .lane = lane };
	struct fault fault = { "" };

	if (transfer_start(f->transfers, &job, on_done, seen, ret, &fault) < 0)
		fail_msg("%s", fault.text);
}

static const struct transfer_result *move_url(struct fixture *f,
					      const char *url)
{
	int want = f->seen.count + 1;

	begin(f, url, &f->seen, NULL, NULL);
	assert_int_equal(f->seen.count, want - 1); /* never from within */
	peer_run_loop(f->event, &f->seen.count, want);
	assert_int_equal(transfers_count(f->transfers), 0);
	return &f->seen.result;
}

static const struct transfer_result *move(struct fixture *f, const char *path)
{
	return move_url(f, peer_url(&f->peer, path));
}

static void assert_stored(const struct fixture *f, size_t bytes)
{
	const struct transfer_result *result = &f->seen.result;
	char path[512], *content = malloc(bytes + 1);
	struct stat st;
	int fd;

	if (result->error < 0)
		fail_msg("%s", result->fault.text);
	assert_non_null(content);
	assert_string_equal(result->key, PREFIX ".png");
	assert_string_equal(result->content_type, "image/png");
	assert_int_equal(result->bytes, bytes);
	assert_int_equal(result->side, TRANSFER_NOWHERE);
	(void)snprintf(path, sizeof(path), "%s/%s", f->folder, result->key);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, content, bytes + 1), bytes);
	assert_memory_equal(content, media, bytes);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	(void)close(fd);
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(count_files(f), 1);
	free(content);
}

static void assert_failed(const struct fixture *f, int error,
			  enum transfer_side side)
{
	const struct transfer_result *result = &f->seen.result;

	if (result->error != error)
		fail_msg("%d (%s), not %d", result->error, result->fault.text,
			 error);
	assert_int_equal(result->side, side);
	assert_true(strlen(result->fault.text) > 0);
	assert_null(strstr(result->fault.text, "http://"));
	assert_int_equal(count_files(f), 0);
}

/* ---- what goes well ----------------------------------------------------- */

static void known_length_is_stored(void **state)
{
	struct fixture *f = *state;
	mode_t mask = umask(077);

	(void)move(f, "/media");
	(void)umask(mask);
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
	assert_int_equal(f->seen.result.http_status, 200);
}

static void chunks_are_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/chunked");
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
}

static void small_files_are_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/small");
	assert_stored(f, 20);
}

static void again_leaves_one_file(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/small");
	(void)move(f, "/media");
	assert_stored(f, MEDIA_BYTES);
}

static const struct transfer_result *
move_inline(struct fixture *f, const char *text, size_t size, int64_t bytes_max)
{
	struct transfer_job job = { .base64 = text,
				    .base64_bytes = size,
				    .key_prefix = PREFIX,
				    .bytes_max = bytes_max };
	int want = f->seen.count + 1;

	assert_int_equal(transfer_start(f->transfers, &job, on_done, &f->seen,
					NULL, NULL),
			 0);
	peer_run_loop(f->event, &f->seen.count, want);
	return &f->seen.result;
}

static void inline_media_is_stored(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct fixture *f = *state;
	const char *text =
		text_to_base64(media, sizeof(media), TEXT_BASE64, arena);

	assert_non_null(text);
	(void)move_inline(f, text, strlen(text), 0);
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
}

static void bad_inline_media_fails(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct fixture *f = *state;
	char *text = text_to_base64(media, sizeof(media), TEXT_BASE64, arena);

	assert_non_null(text);
	(void)move_inline(f, text, strlen(text), MEDIA_BYTES - 1);
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
	/* Padding in the middle, where a slice ends. */
	text[65535] = '=';
	(void)move_inline(f, text, strlen(text), 0);
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
	(void)move_inline(f, "PGh0bWw+", 8, 0); /* <html> */
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
	(void)move_inline(f, "", 0, 0);
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
}

/* ---- what does not ------------------------------------------------------ */

static const struct {
	const char *path;
	int error;
} failures[] = {
	{ "/cut", -EAGAIN },
	{ "/cut-chunk", -EAGAIN },
	{ "/endless", -EBADMSG },
	{ "/zipped", -EBADMSG },
	{ "/two-lengths", -EBADMSG },
	{ "/page", -EBADMSG },
	{ "/empty", -EBADMSG },
	{ "/round", -EBADMSG },
	{ "/none", -EBADMSG },
	{ "/noise", -EBADMSG },
	{ "/status/206", -EBADMSG },
	{ "/status/400", -EBADMSG },
	{ "/status/401", -EAGAIN },
	{ "/status/403", -ENOENT },
	{ "/status/404", -ENOENT },
	{ "/status/410", -ENOENT },
	{ "/status/408", -EAGAIN },
	{ "/status/429", -EAGAIN },
	{ "/status/500", -EAGAIN },
	{ "/status/503", -EAGAIN },
	{ "/to/10.0.0.1", -EACCES },
	{ "/to/192.168.1.1", -EACCES },
	{ "/to/169.254.169.254", -EACCES },
	{ "/to/file:///etc/passwd", -EACCES },
	{ "/to/ftp://127.0.0.1/x", -EACCES },
};

static void bad_answers_store_nothing(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		const struct transfer_result *result =
			move(f, failures[i].path);

		if (result->error != failures[i].error)
			fail_msg("%s: %d (%s)", failures[i].path, result->error,
				 result->fault.text);
		assert_failed(f, failures[i].error, TRANSFER_SOURCE);
	}
}

static void too_much_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->conf.media_bytes_max = MEDIA_BYTES - 1;
	(void)move(f, "/media");
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
	assert_true(f->seen.result.bytes < MEDIA_BYTES);
	(void)move(f, "/chunked");
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
	f->conf.media_bytes_max = 19;
	(void)move(f, "/small");
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
}

static void a_stall_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->conf.stall_timeout_s = 1;
	(void)move(f, "/hang");
	assert_failed(f, -EAGAIN, TRANSFER_SOURCE);
}

static void loopback_is_refused_unless_allowed(void **state)
{
	struct fixture *f = *state;
	char url[64];

	f->conf.allow_loopback = false;
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/media",
		       (unsigned)f->peer.port);
	(void)move_url(f, url);
	assert_failed(f, -EACCES, TRANSFER_SOURCE);
	(void)move(f, "/media"); /* http itself */
	assert_failed(f, -EACCES, TRANSFER_SOURCE);
	assert_int_equal(atomic_load(&f->peer.connections), 0);
}

static void credentials_stay_at_their_origin(void **state)
{
	struct fixture *f = *state;
	char path[32];

	(void)snprintf(path, sizeof(path), "/to/%u", (unsigned)f->other.port);
	(void)move(f, path);
	assert_stored(f, MEDIA_BYTES);
	assert_int_equal(atomic_load(&f->other.requests), 1);
	assert_int_equal(atomic_load(&credentials_seen), 0);
	(void)move(f, "/here");
	assert_int_equal(f->seen.result.error, 0);
	assert_int_equal(atomic_load(&credentials_seen), 100);
}

static void a_folder_that_is_none_is_the_stores_fault(void **state)
{
	struct fixture *f = *state;
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%.36s", f->folder, PREFIX);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EACCES);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
	assert_int_equal(count_files(f), 1);
}

static void no_link_leads_out_of_the_store(void **state)
{
	struct fixture *f = *state;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%.36s", f->folder, PREFIX);
	assert_int_equal(symlink("/tmp", path), 0);
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EACCES);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
}

static void cancelled_midway_leaves_nothing(void **state)
{
	struct transfer *transfer = NULL;
	struct fixture *f = *state;

	begin(f, peer_url(&f->peer, "/hang"), &f->seen, NULL, &transfer);
	for (int i = 0; i < 100 && count_files(f) == 0; i++)
		peer_run_for(f->event, 20);
	assert_int_equal(count_files(f), 1); /* the temporary one */
	transfer_cancel(transfer);
	assert_int_equal(count_files(f), 0);
	assert_int_equal(transfers_count(f->transfers), 0);
	peer_run_for(f->event, 50);
	assert_int_equal(f->seen.count, 0);
}

static void all_may_go_at_any_moment(void **state)
{
	struct fixture *f = *state;

	/* Some are queued, some run, some are about to be published. */
	for (uint64_t ms = 0; ms < 24; ms += 3) {
		for (int i = 0; i < 8; i++)
			begin(f, peer_url(&f->peer, i % 2 ? "/hang" : "/media"),
			      &f->seen, NULL, NULL);
		peer_run_for(f->event, ms);
		f->transfers = transfers_free(f->transfers);
		f->store = store_close(f->store);
		assert_true(count_files(f) <= 1);
		f->seen.count = 0;
		open_all(f);
	}
}

/* ---- the queue ---------------------------------------------------------- */

static void a_lane_leaves_room_for_others(void **state)
{
	struct fixture *f = *state;
	struct seen slow = { .count = 0 };

	for (int i = 0; i < 8; i++)
		begin(f, peer_url(&f->peer, "/hang"), &slow, "slow", NULL);
	begin(f, peer_url(&f->peer, "/media"), &f->seen, "quick", NULL);
	peer_run_loop(f->event, &f->seen.count, 1);
	assert_int_equal(f->seen.result.error, 0);
	assert_int_equal(slow.count, 0);
	assert_int_equal(transfers_count(f->transfers), 8);
	assert_true(atomic_load(&f->peer.requests) <= 3 + 1);
	atomic_store(&gate_open, 1);
	peer_run_loop(f->event, &slow.count, 8);
	assert_int_equal(slow.result.error, 0);
}

static void odd_jobs_are_refused_at_once(void **state)
{
	struct http_request request = { .method = HTTP_GET };
	struct transfer_job job = { .key_prefix = PREFIX };
	struct fixture *f = *state;

	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	job.request = &request;
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	request.url = "https://example.com/x";
	job.key_prefix = "a/../../b";
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	job.key_prefix = PREFIX;
	request.header[0] = (struct http_header){ "A", "b\nc" };
	request.header_count = 1;
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	assert_int_equal(transfers_count(f->transfers), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(known_length_is_stored),
		CASE(chunks_are_stored),
		CASE(small_files_are_stored),
		CASE(again_leaves_one_file),
		CASE(inline_media_is_stored),
		CASE(bad_inline_media_fails),
		CASE(bad_answers_store_nothing),
		CASE(too_much_is_given_up),
		CASE(a_stall_is_given_up),
		CASE(loopback_is_refused_unless_allowed),
		CASE(credentials_stay_at_their_origin),
		CASE(a_folder_that_is_none_is_the_stores_fault),
		CASE(no_link_leads_out_of_the_store),
		CASE(cancelled_midway_leaves_nothing),
		CASE(all_may_go_at_any_moment),
		CASE(a_lane_leaves_room_for_others),
		CASE(odd_jobs_are_refused_at_once),
	};

	make_media();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
