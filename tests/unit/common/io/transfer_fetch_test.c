/* SPDX-License-Identifier: MIT */
#include "tests/unit/common/io/transfer_fixture.h"

/* Sources that misbehave. */

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
		assert_false(result->unreached);
	}
}

/* A link has run out, or somebody whom they know lacks a right. */
static void what_is_forbidden_may_be_allowed_to_whom_they_know(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/status/403");
	assert_failed(f, -EAGAIN, TRANSFER_SOURCE);
	f->anonymous = true;
	(void)move(f, "/status/403");
	assert_failed(f, -ENOENT, TRANSFER_SOURCE);
}

static void too_much_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->conf.media_bytes_max = MEDIA_BYTES - 1;
	(void)move(f, "/media");
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
	assert_int_equal(f->seen.result.bytes, 0); /* it said so before */
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
	static const struct {
		const char *host;
		int error;
	} hosts[] = {
		{ "127.0.0.1", -EACCES },
		{ "[::1]", -EACCES },
		{ "2130706433", -EACCES },
		{ "0x7f.0.0.1", -EACCES },
		/* a name may lead elsewhere the next time */
		{ "localhost", -EAGAIN },
		{ "LOCALHOST", -EAGAIN },
	};
	struct fixture *f = *state;
	char url[64];

	f->conf.allow_loopback = false;
	for (size_t i = 0; i < COUNT_OF(hosts); i++) {
		(void)snprintf(url, sizeof(url), "https://%s:%u/media",
			       hosts[i].host, (unsigned)f->peer.port);
		if (move_url(f, url)->error != hosts[i].error)
			fail_msg("%s: %d (%s)", hosts[i].host,
				 f->seen.result.error,
				 f->seen.result.fault.text);
		assert_failed(f, hosts[i].error, TRANSFER_SOURCE);
		assert_true(f->seen.result.unreached);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(bad_answers_store_nothing),
		CASE(what_is_forbidden_may_be_allowed_to_whom_they_know),
		CASE(too_much_is_given_up),
		CASE(a_stall_is_given_up),
		CASE(loopback_is_refused_unless_allowed),
		CASE(credentials_stay_at_their_origin),
	};

	make_media();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
