/* SPDX-License-Identifier: MIT */
#include "common/io/transfer.h"

#include "common/base/text.h"
#include "tests/unit/common/io/peer.h"

#include <curl/curl.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/*
 * The S3 stores against a real server; run.sh starts it and says where it is.
 * What was stored is looked at by this file's own requests, not by ours.
 */

#define BUCKET	   "rushes-test"
#define ACCESS_KEY "tester"
#define EMPTY_SHA256                                                           \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum {
	MEDIA_BYTES = 3 << 20,
	/* Large enough for a store that begins before all of it is there. */
	LARGE_BYTES = 12 * MEDIA_BYTES,
	/* Longer than such a store waits for what is to come. */
	PAUSE_US = 2500 * 1000,
	PIECES = 14,
	PIECE_US = 500 * 1000,
};

static char media[MEDIA_BYTES];
static const char png[16] = { '\x89', 'P', 'N', 'G', '\r', '\n', '\x1a', '\n',
			      0,      0,   0,	13,  'I',  'H',	 'D',	 'R' };
static atomic_int gate_open;

struct variant {
	const char *name, *url; /* the variable that has it */
	bool v2;
};

static const struct variant variants[] = {
	{ "v4", "S3_TEST_URL", false },
	{ "v4-signed", "S3_TEST_NAMED_URL", false },
	{ "v4-tls", "S3_TEST_TLS_URL", false },
	{ "v2", "S3_TEST_URL", true },
};

struct seen {
	int count;
	struct transfer_result result;
};

struct read_seen {
	int count, error;
	size_t size;
	char *bytes;
	char fault[256];
};

struct fixture {
	sd_event *event;
	struct conf conf;
	char prefix[64];
	struct store *store;
	struct transfers *transfers;
	struct peer peer;
	struct seen seen;
};

/* ---- the source --------------------------------------------------------- */

/* The media over and over. */
static void say_media(int fd, size_t from, size_t to)
{
	for (size_t more; from < to; from += more) {
		more = MEDIA_BYTES - from % MEDIA_BYTES;
		if (more > to - from)
			more = to - from;
		peer_write(fd, media + from % MEDIA_BYTES, more);
	}
}

static bool serve(struct peer *peer, int fd, const char *request)
{
	char text[128];
	size_t bytes = MEDIA_BYTES;

	if (strstr(request, " /chunked ")) {
		peer_say(fd, "HTTP/1.1 200 OK\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n");
		for (size_t done = 0; done < bytes; done += 65536) {
			(void)snprintf(text, sizeof(text), "%x\r\n", 65536);
			peer_say(fd, text);
			peer_write(fd, media + done, 65536);
			peer_say(fd, "\r\n");
		}
		peer_say(fd, "0\r\n\r\n");
		return true;
	}
	if (strstr(request, " /small "))
		bytes = 1000;
	if (strstr(request, "-large "))
		bytes = LARGE_BYTES;
	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
	peer_say(fd, text);
	if (strstr(request, " /cut")) {
		say_media(fd, 0, bytes - 1);
		return false;
	}
	if (strstr(request, " /hang")) {
		say_media(fd, 0, bytes - 1);
		while (!atomic_load(&peer->stopping) &&
		       !atomic_load(&gate_open))
			(void)usleep(5000);
		return false;
	}
	if (strstr(request, " /trickle")) {
		size_t half = bytes / 2, piece = half / PIECES;

		say_media(fd, 0, half);
		for (size_t i = 0; i < PIECES; i++, half += piece) {
			(void)usleep(PIECE_US);
			say_media(fd, half,
				  i < PIECES - 1 ? half + piece : bytes);
		}
		return true;
	}
	if (strstr(request, " /slow")) {
		say_media(fd, 0, bytes - MEDIA_BYTES);
		(void)usleep(PAUSE_US);
		say_media(fd, bytes - MEDIA_BYTES, bytes);
		return true;
	}
	say_media(fd, 0, bytes);
	return true;
}

/* ---- looking at what was stored ----------------------------------------- */

struct answer {
	long status;
	char type[128];
	int64_t length;
	char *body;
	size_t size, room;
};

static size_t take(char *bytes, size_t size, size_t count, void *userdata)
{
	struct answer *answer = userdata;
	size_t want = answer->size + size * count + 1;

	if (want > answer->room) {
		char *longer = realloc(answer->body, want * 2);

		if (!longer)
			return 0;
		answer->body = longer;
		answer->room = want * 2;
	}
	memcpy(answer->body + answer->size, bytes, size * count);
	answer->size += size * count;
	answer->body[answer->size] = '\0';
	return size * count;
}

static void ask(const char *method, const char *path, struct answer *ret)
{
	struct curl_slist *headers = NULL;
	CURL *easy = curl_easy_init();
	curl_off_t length = -1;
	char url[4096], *type = NULL;

	memset(ret, 0, sizeof(*ret));
	assert_non_null(easy);
	(void)snprintf(url, sizeof(url), "%s/" BUCKET "%s",
		       getenv("S3_TEST_URL"), path);
	headers =
		curl_slist_append(NULL, "x-amz-content-sha256: " EMPTY_SHA256);
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	if (strcmp(method, "HEAD") == 0)
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, "aws:amz:us-east-1:s3");
	(void)curl_easy_setopt(easy, CURLOPT_USERNAME, ACCESS_KEY);
	(void)curl_easy_setopt(easy, CURLOPT_PASSWORD,
			       getenv("S3_TEST_SECRET"));
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, ret);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
	assert_int_equal(curl_easy_perform(easy), CURLE_OK);
	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &ret->status);
	(void)curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
	(void)curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
				&length);
	(void)snprintf(ret->type, sizeof(ret->type), "%s", type ? type : "");
	ret->length = length;
	curl_slist_free_all(headers);
	curl_easy_cleanup(easy);
}

/* How many objects, and how many uploads that did not end, have the prefix? */
static int count_objects(const struct fixture *f)
{
	struct answer answer;
	char query[128];
	int count = 0;

	(void)snprintf(query, sizeof(query), "?prefix=%s", f->prefix);
	ask("GET", query, &answer);
	assert_int_equal(answer.status, 200);
	for (const char *c = answer.body; (c = strstr(c, "<Key>")); c++)
		count++;
	free(answer.body);
	ask("GET", "?uploads=", &answer);
	for (const char *c = answer.body; (c = strstr(c, "<Upload>")); c++)
		count++;
	free(answer.body);
	return count;
}

static void assert_object(const struct fixture *f, const char *key,
			  size_t bytes)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(8192);
	struct answer answer;
	char path[2048];

	(void)snprintf(path, sizeof(path), "/%s/%s", f->prefix,
		       text_to_percent(key, true, arena));
	ask("HEAD", path, &answer);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.type, "image/png");
	assert_int_equal(answer.length, bytes);
	ask("GET", path, &answer);
	assert_int_equal(answer.size, bytes);
	for (size_t at = 0; at < bytes; at += MEDIA_BYTES)
		assert_memory_equal(answer.body + at, media,
				    bytes - at < MEDIA_BYTES ? bytes - at
							     : MEDIA_BYTES);
	free(answer.body);
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

static void reopen(struct fixture *f)
{
	f->transfers = transfers_free(f->transfers);
	f->store = store_close(f->store);
	open_all(f);
}

static int set_up(void **state)
{
	const struct variant *variant = *state;
	struct fixture *f = calloc(1, sizeof(*f));
	static char prefix[80];
	static int test;

	assert_non_null(f);
	(void)snprintf(f->prefix, sizeof(f->prefix), "%s-%d", variant->name,
		       test++);
	(void)snprintf(prefix, sizeof(prefix), "%s/", f->prefix);
	f->conf = (struct conf){
		.allow_loopback = true,
		.connect_timeout_ms = 2000,
		.stall_timeout_s = 10,
		.transfers_max = 4,
		.media_bytes_max = MEDIA_BYTES,
		.spool_dir = "/tmp",
		.store_kind = CONF_STORE_S3,
		.store_bucket = BUCKET,
		.store_prefix = prefix,
		.s3_url = getenv(variant->url),
		.s3_access_key = ACCESS_KEY,
		.s3_secret_key = getenv("S3_TEST_SECRET"),
		.s3_region = "us-east-1",
		.s3_ca_file = getenv("S3_TEST_CA_FILE"),
		.s3_signature_v2 = variant->v2,
	};
	assert_true(sd_event_new(&f->event) >= 0);
	open_all(f);
	peer_start(&f->peer, serve);
	atomic_store(&gate_open, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)transfers_free(f->transfers);
	(void)store_close(f->store);
	peer_stop(&f->peer);
	(void)sd_event_unref(f->event);
	free(f);
	return 0;
}

static void on_done(const struct transfer_result *result, void *userdata)
{
	struct seen *seen = userdata;

	seen->count++;
	seen->result = *result;
}

static const struct transfer_result *move(struct fixture *f, const char *path,
					  const char *key,
					  struct transfer **ret)
{
	struct http_request request = { .method = HTTP_GET,
					.url = peer_url(&f->peer, path) };
	struct transfer_job job = { .request = &request, .key_prefix = key };
	int want = f->seen.count + 1;

	assert_int_equal(transfer_start(f->transfers, &job, on_done, &f->seen,
					ret, NULL),
			 0);
	if (!ret)
		peer_run_loop(f->event, &f->seen.count, want);
	return &f->seen.result;
}

static void assert_refused(const struct fixture *f, int error, const char *word)
{
	const struct transfer_result *result = &f->seen.result;

	if (result->error != error || !strstr(result->fault.text, word))
		fail_msg("%d, %s", result->error, result->fault.text);
	assert_int_equal(result->side, TRANSFER_STORE);
}

static void assert_moved(const struct fixture *f)
{
	if (f->seen.result.error < 0)
		fail_msg("%s", f->seen.result.fault.text);
}

static void on_read(const struct store_content *content, void *userdata)
{
	struct read_seen *seen = userdata;

	seen->error = content->error;
	seen->size = content->size;
	(void)snprintf(seen->fault, sizeof(seen->fault), "%s",
		       content->fault.text);
	free(seen->bytes);
	seen->bytes = malloc(content->size + 1);
	assert_non_null(seen->bytes);
	if (content->size > 0)
		memcpy(seen->bytes, content->bytes, content->size);
	seen->count++;
}

static void read_key(struct fixture *f, const char *key, size_t bytes_max,
		     struct read_seen *seen)
{
	int want = seen->count + 1;

	assert_int_equal(
		store_read(f->store, key, bytes_max, on_read, seen, NULL), 0);
	peer_run_loop(f->event, &seen->count, want);
}

/* ---- tests -------------------------------------------------------------- */

static void a_known_length_is_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/media", "e/j/1/0", NULL);
	assert_moved(f);
	assert_string_equal(f->seen.result.key, "e/j/1/0.png");
	assert_object(f, "e/j/1/0.png", MEDIA_BYTES);
	(void)move(f, "/small", "e/j/1/1", NULL);
	assert_moved(f);
	assert_object(f, "e/j/1/1.png", 1000);
}

static void an_unknown_length_is_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/chunked", "e/j/1/0", NULL);
	assert_moved(f);
	assert_object(f, "e/j/1/0.png", MEDIA_BYTES);
}

static void every_legal_character_may_be_in_a_key(void **state)
{
	static const char key[] = "abcdefghijklmnopqrstuvwxyz/"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ/"
				  "0123456789/-_.~!$&'()*+,;=:@/.a/..b/%";
	struct read_seen seen = { .count = 0 };
	struct fixture *f = *state;
	char most[sizeof(key)];

	(void)snprintf(most, sizeof(most), "%.*s", (int)sizeof(key) - 3, key);
	(void)move(f, "/small", most, NULL);
	assert_moved(f);
	assert_object(f, f->seen.result.key, 1000);
	read_key(f, f->seen.result.key, 1000, &seen);
	assert_int_equal(seen.error, 0);
	assert_int_equal(seen.size, 1000);
	assert_memory_equal(seen.bytes, media, 1000);
	free(seen.bytes);
}

static void again_leaves_one_object(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/media", "e/j/1/0", NULL);
	assert_moved(f);
	(void)move(f, "/small", "e/j/1/0", NULL);
	assert_moved(f);
	assert_int_equal(count_objects(f), 1);
	assert_object(f, "e/j/1/0.png", 1000);
}

static void a_wrong_secret_is_refused(void **state)
{
	struct read_seen seen = { .count = 0 };
	struct fixture *f = *state;

	f->conf.s3_secret_key = "wrong";
	reopen(f);
	(void)move(f, "/media", "e/j/1/0", NULL);
	assert_refused(f, -EACCES, "S3_SECRET_KEY");
	read_key(f, "e/j/1/0.png", 1000, &seen);
	assert_int_equal(seen.error, -EACCES);
	free(seen.bytes);
	assert_int_equal(count_objects(f), 0);
}

static void an_unknown_key_is_refused(void **state)
{
	struct fixture *f = *state;

	f->conf.s3_access_key = "nobody";
	reopen(f);
	(void)move(f, "/small", "e/j/1/0", NULL);
	assert_refused(f, -EACCES, "S3_ACCESS_KEY");
}

static void a_bucket_that_is_none_is_named(void **state)
{
	struct fixture *f = *state;

	f->conf.store_bucket = "no-such-bucket";
	reopen(f);
	(void)move(f, "/small", "e/j/1/0", NULL);
	assert_refused(f, -EACCES, "STORE_URL");
}

static void a_store_that_is_down_is_tried_again(void **state)
{
	struct fixture *f = *state;
	char url[64];
	int fd;

	(void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u",
		       text_starts_with(f->conf.s3_url, "https") ? "https"
								 : "http",
		       (unsigned)peer_bind(&fd));
	f->conf.s3_url = url;
	reopen(f);
	(void)move(f, "/media", "e/j/1/0", NULL);
	assert_refused(f, -EAGAIN, "S3");
	(void)close(fd);
}

static void a_cut_source_stores_nothing(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/cut", "e/j/1/0", NULL);
	assert_int_equal(f->seen.result.error, -EAGAIN);
	assert_int_equal(f->seen.result.side, TRANSFER_SOURCE);
	peer_run_for(f->event, 200);
	assert_int_equal(count_objects(f), 0);
}

static void cancelled_midway_stores_nothing(void **state)
{
	struct transfer *transfer = NULL;
	struct fixture *f = *state;

	(void)move(f, "/hang", "e/j/1/0", &transfer);
	peer_run_for(f->event, 300);
	assert_int_equal(f->seen.count, 0);
	transfer_cancel(transfer);
	peer_run_for(f->event, 200);
	assert_int_equal(count_objects(f), 0);
}

static void store_large(struct fixture *f, const char *path)
{
	f->conf.media_bytes_max = LARGE_BYTES;
	(void)move(f, path, "e/j/1/0", NULL);
	assert_moved(f);
	assert_int_equal(count_objects(f), 1);
	assert_object(f, "e/j/1/0.png", LARGE_BYTES);
}

static void a_large_file_is_stored(void **state)
{
	store_large(*state, "/all-large");
}

static void a_slow_source_is_waited_for(void **state)
{
	store_large(*state, "/slow-large");
}

/* It begins fast, and then never pauses for long. */
static void a_source_that_becomes_slow_is_waited_for(void **state)
{
	store_large(*state, "/trickle-large");
}

static void a_large_source_that_is_cut_stores_nothing(void **state)
{
	struct fixture *f = *state;

	f->conf.media_bytes_max = LARGE_BYTES;
	(void)move(f, "/cut-large", "e/j/1/0", NULL);
	assert_int_equal(f->seen.result.error, -EAGAIN);
	assert_int_equal(f->seen.result.side, TRANSFER_SOURCE);
	peer_run_for(f->event, 200);
	assert_int_equal(count_objects(f), 0);
}

/* While it is sent, while it waits for the source, and when it gave up. */
static void a_large_upload_may_be_cancelled(void **state)
{
	static const uint64_t after_ms[] = { 50, 600, 3000 };
	struct transfer *transfer = NULL;
	struct fixture *f = *state;

	f->conf.media_bytes_max = LARGE_BYTES;
	for (size_t i = 0; i < COUNT_OF(after_ms); i++) {
		(void)move(f, "/hang-large", "e/j/1/0", &transfer);
		peer_run_for(f->event, after_ms[i]);
		assert_int_equal(f->seen.count, 0);
		transfer_cancel(transfer);
		peer_run_for(f->event, 200);
		assert_int_equal(count_objects(f), 0);
	}
}

static void objects_are_read_back(void **state)
{
	struct read_seen seen = { .count = 0 };
	struct fixture *f = *state;

	(void)move(f, "/media", "e/j/1/0", NULL);
	assert_moved(f);
	read_key(f, "e/j/1/0.png", MEDIA_BYTES, &seen);
	assert_int_equal(seen.error, 0);
	assert_int_equal(seen.size, MEDIA_BYTES);
	assert_memory_equal(seen.bytes, media, MEDIA_BYTES);
	read_key(f, "e/j/1/0.png", MEDIA_BYTES - 1, &seen);
	assert_int_equal(seen.error, -EFBIG);
	read_key(f, "e/j/1/9.png", 1000, &seen);
	assert_int_equal(seen.error, -ENOENT);
	free(seen.bytes);
}

static void all_may_go_at_any_moment(void **state)
{
	struct fixture *f = *state;

	for (uint64_t ms = 0; ms < 60; ms += 20) {
		char key[32];

		for (int i = 0; i < 6; i++) {
			struct transfer *transfer;

			(void)snprintf(key, sizeof(key), "e/j/1/%d", i);
			(void)move(f, i % 2 ? "/hang" : "/media", key,
				   &transfer);
		}
		peer_run_for(f->event, ms);
		reopen(f);
	}
	assert_true(count_objects(f) <= 3);
}

#define CASE(test)                                                             \
	{                                                                      \
#test, test, set_up, tear_down, NULL                           \
	}

static int run_variant(const struct variant *variant)
{
	struct CMUnitTest tests[] = {
		CASE(a_known_length_is_stored),
		CASE(an_unknown_length_is_stored),
		CASE(every_legal_character_may_be_in_a_key),
		CASE(again_leaves_one_object),
		CASE(a_wrong_secret_is_refused),
		CASE(an_unknown_key_is_refused),
		CASE(a_bucket_that_is_none_is_named),
		CASE(a_store_that_is_down_is_tried_again),
		CASE(a_cut_source_stores_nothing),
		CASE(cancelled_midway_stores_nothing),
		CASE(a_large_file_is_stored),
		CASE(a_slow_source_is_waited_for),
		CASE(a_source_that_becomes_slow_is_waited_for),
		CASE(a_large_source_that_is_cut_stores_nothing),
		CASE(a_large_upload_may_be_cancelled),
		CASE(objects_are_read_back),
		CASE(all_may_go_at_any_moment),
	};

	for (size_t i = 0; i < COUNT_OF(tests); i++)
		tests[i].initial_state = (void *)(uintptr_t)variant;
	return cmocka_run_group_tests_name(variant->name, tests, NULL, NULL);
}

int main(void)
{
	struct answer answer;
	int failed = 0;

	for (size_t i = 0; i < sizeof(media); i++)
		media[i] = (char)(i * 7 + i / 251);
	memcpy(media, png, sizeof(png));
	if (!getenv("S3_TEST_URL")) {
		(void)fprintf(stderr, "run tests/store/run.sh instead\n");
		return 2;
	}
	ask("PUT", "", &answer);
	free(answer.body);
	if (answer.status != 200) {
		(void)fprintf(stderr, "no bucket: HTTP %ld\n", answer.status);
		return 1;
	}
	for (size_t i = 0; i < COUNT_OF(variants); i++)
		failed += run_variant(&variants[i]);
	return failed != 0;
}
