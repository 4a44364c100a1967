/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_COMMON_IO_TRANSFER_FIXTURE_H
#define TESTS_UNIT_COMMON_IO_TRANSFER_FIXTURE_H

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
	bool anonymous; /* no credentials are shown */
};

static char media[MEDIA_BYTES];
static const char png[16] = { '\x89', 'P', 'N', 'G', '\r', '\n', '\x1a', '\n',
			      0,      0,   0,	13,  'I',  'H',	 'D',	 'R' };
static char media_sha256[SHA256_HEX_SIZE];
static atomic_int credentials_seen;
static atomic_int gate_open; /* lets slow answers end */

static inline void make_media(void)
{
	uint8_t digest[SHA256_BYTES];

	for (size_t i = 0; i < sizeof(media); i++)
		media[i] = (char)(i * 7 + i / 251);
	memcpy(media, png, sizeof(png));
	crypto_sha256(media, sizeof(media), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(media_sha256 + 2 * i, 3, "%02x", digest[i]);
}

static inline void say_length(int fd, unsigned status, size_t bytes)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 %u X\r\nContent-Length: %zu\r\n\r\n", status,
		       bytes);
	peer_say(fd, text);
}

static inline void say_chunks(int fd, size_t bytes, bool end)
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

static inline void redirect(int fd, const char *url)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 302 Found\r\nLocation: %s\r\n"
		       "Content-Length: 5\r\n\r\nhello",
		       url);
	peer_say(fd, text);
}

static inline bool serve_other(struct peer *peer, int fd, const char *request)
{
	(void)peer;
	if (strcasestr(request, "X-Api-Key:"))
		(void)atomic_fetch_add(&credentials_seen, 1);
	say_length(fd, 200, sizeof(media));
	peer_write(fd, media, sizeof(media));
	return true;
}

static inline bool serve_odd(struct peer *peer, int fd, const char *request)
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

static inline bool serve(struct peer *peer, int fd, const char *request)
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

static inline void open_all(struct fixture *f)
{
	struct fault fault = { "" };

	if (store_open(f->event, &f->conf, &f->store, &fault) < 0 ||
	    transfers_new(f->event, &f->conf, f->store, &f->transfers, &fault) <
		    0)
		fail_msg("%s", fault.text);
}

static inline int set_up(void **state)
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

static inline int remove_one(const char *path, const struct stat *st, int type,
			     struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline int tear_down(void **state)
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

static inline int count_one(const char *path, const struct stat *st, int type,
			    struct FTW *walk)
{
	(void)path;
	(void)st;
	(void)walk;
	files_found += type == FTW_F;
	return 0;
}

/* Files below the store's folder, temporary ones included. */
static inline size_t count_files(const struct fixture *f)
{
	files_found = 0;
	(void)nftw(f->folder, count_one, 16, FTW_PHYS);
	return files_found;
}

static inline void on_done(const struct transfer_result *result, void *userdata)
{
	struct seen *seen = userdata;

	seen->count++;
	seen->result = *result;
}

static inline void begin(struct fixture *f, const char *url, struct seen *seen,
			 const char *lane, struct transfer **ret)
{
	struct http_request request = {
		.method = HTTP_GET,
		.url = url,
		.header = { { "X-Api-Key", "secret" } },
		.header_count = f->anonymous ? 0 : 1,
	};
	struct transfer_job job = { .request = &request,
				    .key_prefix = PREFIX,
				    .lane = lane };
	struct fault fault = { "" };

	if (transfer_start(f->transfers, &job, on_done, seen, ret, &fault) < 0)
		fail_msg("%s", fault.text);
}

static inline const struct transfer_result *move_url(struct fixture *f,
						     const char *url)
{
	int want = f->seen.count + 1;

	begin(f, url, &f->seen, NULL, NULL);
	assert_int_equal(f->seen.count, want - 1); /* never from within */
	peer_run_loop(f->event, &f->seen.count, want);
	assert_int_equal(transfers_count(f->transfers), 0);
	return &f->seen.result;
}

static inline const struct transfer_result *move(struct fixture *f,
						 const char *path)
{
	return move_url(f, peer_url(&f->peer, path));
}

static inline void assert_stored(const struct fixture *f, size_t bytes)
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

static inline void assert_failed(const struct fixture *f, int error,
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
