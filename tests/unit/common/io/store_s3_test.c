/* SPDX-License-Identifier: MIT */
#include "common/io/store_s3.h"

#include "tests/unit/common/io/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What goes over the wire, and what answers mean; that signatures are right
 * is proven by tests/store against a real server. */

#define SHA256                                                                 \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char last_request[PEER_REQUEST_MAX];
static _Atomic(const char *) next_answer;

struct fixture {
	sd_event *event;
	struct conf conf;
	char url[64];
	struct store *store;
	struct peer peer;
	int spool_fd;
	int count, error;
	char fault[256];
};

static bool serve(struct peer *peer, int fd, const char *request)
{
	const char *answer = atomic_load(&next_answer);

	(void)peer;
	(void)snprintf(last_request, sizeof(last_request), "%s", request);
	if (!answer)
		return false;
	peer_say(fd, answer);
	return strstr(answer, "Connection: close") == NULL;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	peer_start(&f->peer, serve);
	(void)snprintf(f->url, sizeof(f->url), "http://s3.localhost:%u",
		       (unsigned)f->peer.port);
	f->conf = (struct conf){ .connect_timeout_ms = 2000,
				 .stall_timeout_s = 5,
				 .transfers_max = 2,
				 .store_kind = CONF_STORE_S3,
				 .store_bucket = "my-bucket",
				 .store_prefix = "pre/fix/",
				 .s3_url = f->url,
				 .s3_access_key = "access",
				 .s3_secret_key = "hunter2",
				 .s3_region = "eu-west-9" };
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(store_open(f->event, &f->conf, &f->store, NULL), 0);
	f->spool_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(write(f->spool_fd, "abc", 3), 3);
	next_answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)store_close(f->store);
	peer_stop(&f->peer);
	(void)close(f->spool_fd);
	(void)sd_event_unref(f->event);
	free(f);
	return 0;
}

static void on_put_done(int error, const struct fault *fault, void *userdata)
{
	struct fixture *f = userdata;

	f->count++;
	f->error = error;
	(void)snprintf(f->fault, sizeof(f->fault), "%s",
		       error < 0 ? fault->text : "");
}

static void on_ready(void *userdata)
{
	(void)userdata;
}

static const struct store_put_events events = { on_ready, on_put_done };

static void put(struct fixture *f, const char *key)
{
	struct store_object object = { .key = key,
				       .content_type = "video/mp4",
				       .bytes = 3,
				       .spool_fd = f->spool_fd,
				       .sha256 = SHA256 };
	struct store_put *store_put = NULL;
	int want = f->count + 1;

	assert_int_equal(store_put_start(f->store, &object, &events, f,
					 &store_put, NULL),
			 0);
	peer_run_loop(f->event, &f->count, want);
}

static void assert_sent(const char *text)
{
	if (!strstr(last_request, text))
		fail_msg("no \"%s\" in\n%s", text, last_request);
}

static void a_put_says_what_it_carries(void **state)
{
	struct fixture *f = *state;

	put(f, "e/j/1/a+b.mp4");
	assert_int_equal(f->error, 0);
	assert_sent("PUT /my-bucket/pre/fix/e/j/1/a%2Bb.mp4 HTTP/1.1\r\n");
	assert_sent("\r\nContent-Type: video/mp4\r\n");
	assert_sent("\r\nContent-Length: 3\r\n");
	assert_sent("\r\nx-amz-content-sha256: " SHA256 "\r\n");
	assert_sent("/eu-west-9/s3/aws4_request");
	assert_sent("\r\n\r\nabc");
	assert_null(strstr(last_request, "hunter2"));
}

static void a_bucket_may_be_in_the_host_name(void **state)
{
	struct fixture *f = *state;
	char host[64];

	(void)store_close(f->store);
	f->conf.s3_virtual_style = true;
	assert_int_equal(store_open(f->event, &f->conf, &f->store, NULL), 0);
	put(f, "e/0.mp4");
	assert_int_equal(f->error, 0);
	assert_sent("PUT /pre/fix/e/0.mp4 HTTP/1.1\r\n");
	(void)snprintf(host, sizeof(host),
		       "\r\nHost: my-bucket.s3.localhost:%u\r\n",
		       (unsigned)f->peer.port);
	assert_sent(host);
}

/* What nobody on the way can change is sent as it comes; anything else has to
 * be signed, so it has to be there first. */
static void only_what_is_guarded_is_not_signed(void **state)
{
	static const struct {
		const char *url;
		enum store_needs needs;
	} services[] = {
		{ "https://s3.example.com", STORE_NEEDS_BYTES },
		{ "http://localhost", STORE_NEEDS_BYTES },
		{ "http://LOCALHOST:9000", STORE_NEEDS_BYTES },
		{ "http://127.0.0.1:9000", STORE_NEEDS_BYTES },
		{ "http://127.255.0.3", STORE_NEEDS_BYTES },
		{ "http://[::1]:9000", STORE_NEEDS_BYTES },
		{ "http://s3.localhost", STORE_NEEDS_SPOOL },
		{ "http://localhost.example.com", STORE_NEEDS_SPOOL },
		{ "http://127.0.0.1.example.com", STORE_NEEDS_SPOOL },
		{ "http://127.example.com:9000", STORE_NEEDS_SPOOL },
		{ "http://10.0.0.1:9000", STORE_NEEDS_SPOOL },
		{ "http://[::2]", STORE_NEEDS_SPOOL },
		{ "http://[::ffff:127.0.0.1]", STORE_NEEDS_SPOOL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(services); i++) {
		(void)store_close(f->store);
		f->conf.s3_url = services[i].url;
		assert_int_equal(
			store_open(f->event, &f->conf, &f->store, NULL), 0);
		if (store_needs(f->store) != services[i].needs)
			fail_msg("%s", services[i].url);
	}
	(void)store_close(f->store);
	f->conf.s3_url = "http://127.0.0.1";
	f->conf.s3_virtual_style = true; /* my-bucket.127.0.0.1 is a name */
	assert_int_equal(store_open(f->event, &f->conf, &f->store, NULL), 0);
	assert_int_equal(store_needs(f->store), STORE_NEEDS_SPOOL);
}

static void what_is_guarded_is_sent_as_it_comes(void **state)
{
	struct fixture *f = *state;
	struct store_object object = { .key = "e/0.mp4",
				       .content_type = "video/mp4",
				       .bytes = 3,
				       .spool_fd = -1 };
	struct store_put *store_put = NULL;

	(void)store_close(f->store);
	(void)snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u",
		       (unsigned)f->peer.port);
	assert_int_equal(store_open(f->event, &f->conf, &f->store, NULL), 0);
	assert_int_equal(store_put_start(f->store, &object, &events, f,
					 &store_put, NULL),
			 0);
	assert_int_equal(store_put_write(store_put, "ab", 2, NULL), 0);
	assert_int_equal(store_put_write(store_put, "cd", 2, NULL), -EBADMSG);
	assert_int_equal(store_put_write(store_put, "c", 1, NULL), 0);
	peer_run_for(f->event, 100);
	assert_int_equal(f->count, 0);
	store_put_finish(store_put);
	peer_run_loop(f->event, &f->count, 1);
	assert_int_equal(f->error, 0);
	assert_sent("\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n");
	assert_sent("/eu-west-9/s3/aws4_request");
	assert_sent("\r\n\r\nabc");
}

#define XML(status, code)                                                      \
	"HTTP/1.1 " status " X\r\nConnection: close\r\n\r\n"                   \
	"<?xml version=\"1.0\"?><Error><Code>" code "</Code></Error>"

static const struct {
	const char *answer;
	int error;
	const char *word;
} answers[] = {
	{ XML("403", "SignatureDoesNotMatch"), -EACCES, "S3_SECRET_KEY" },
	{ XML("403", "InvalidAccessKeyId"), -EACCES, "S3_ACCESS_KEY" },
	{ XML("403", "AccessDenied"), -EACCES, "AccessDenied" },
	{ XML("403", "RequestTimeTooSkewed"), -EACCES, "clock" },
	{ XML("403", "QuotaExceeded"), -EAGAIN, "full" },
	{ XML("404", "NoSuchBucket"), -EACCES, "STORE_URL" },
	{ XML("400", "AuthorizationHeaderMalformed"), -EACCES, "S3_REGION" },
	{ XML("400", "RequestTimeout"), -EAGAIN, "RequestTimeout" },
	{ XML("400", "Surprise"), -EACCES, "HTTP 400 Surprise" },
	{ XML("301", "PermanentRedirect"), -EACCES, "S3_REGION" },
	{ XML("307", "TemporaryRedirect"), -EACCES, "HTTP 307" },
	{ XML("409", "OperationAborted"), -EAGAIN, "OperationAborted" },
	{ XML("500", "InternalError"), -EAGAIN, "InternalError" },
	{ XML("503", "SlowDown"), -EAGAIN, "SlowDown" },
	{ XML("503", "<b>\nnot a word"), -EAGAIN, "HTTP 503" },
	{ XML("429", ""), -EAGAIN, "HTTP 429" },
	{ XML("206", ""), -EAGAIN, "S3" },
	{ "junk\r\n\r\n", -EAGAIN, "S3" },
	{ NULL, -EAGAIN, "S3" },
};

static void answers_are_told_apart(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		next_answer = answers[i].answer;
		put(f, "e/0.mp4");
		if (f->error != answers[i].error ||
		    !strstr(f->fault, answers[i].word))
			fail_msg("%zu: %d, %s", i, f->error, f->fault);
		assert_null(strchr(f->fault, '<'));
		assert_null(strstr(f->fault, "hunter2"));
	}
}

static void one_upload_has_a_limit(void **state)
{
	struct fixture *f = *state;
	struct store_object object = { .key = "a",
				       .content_type = "video/mp4",
				       .bytes = STORE_S3_BYTES_MAX + 1,
				       .spool_fd = f->spool_fd,
				       .sha256 = SHA256 };
	struct store_put *store_put = NULL;

	assert_int_equal(store_put_start(f->store, &object, &events, f,
					 &store_put, NULL),
			 -EFBIG);
	assert_int_equal(atomic_load(&f->peer.connections), 0);
}

/* A spool file can be sent again, so a kept connection that died costs no
 * attempt. */
static void a_dead_kept_connection_is_no_failure(void **state)
{
	struct fixture *f = *state;

	put(f, "e/0.mp4");
	assert_int_equal(f->error, 0);
	(void)shutdown(f->peer.fd[0], SHUT_RDWR);
	put(f, "e/0.mp4");
	assert_int_equal(f->error, 0);
	assert_sent("\r\n\r\nabc");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_put_says_what_it_carries),
		CASE(a_bucket_may_be_in_the_host_name),
		CASE(only_what_is_guarded_is_not_signed),
		CASE(what_is_guarded_is_sent_as_it_comes),
		CASE(answers_are_told_apart),
		CASE(one_upload_has_a_limit),
		CASE(a_dead_kept_connection_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
