/* SPDX-License-Identifier: MIT */
/*
 * The vectors and behaviours of the Standard Webhooks project's own tests
 * (repository standard-webhooks/standard-webhooks, libraries/), and the
 * vector of Kling's callback page.
 */
#include "common/base/text.h"
#include "common/provider/standard_webhooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_BYTES = 64 * 1024 };

static const struct vector {
	const char *secret;
	const char *id;
	const char *timestamp;
	int64_t now_unix_s;
	const char *body;
	const char *signature;
} vectors[] = {
	{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"msg_p5jXN8AQM9LWM0D4loKWxJek",
		"1614265330",
		1614265330,
		"{\"test\": 2432232314}",
		"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	},
	{
		"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
		"1649367553",
		1649367553,
		"{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
		"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
	},
	{
		"whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=",
		"9876543210",
		"1781080794",
		1781080794,
		"{\"id\":\"1234567890\",\"status\":\"succeeded\",\"message\":"
		"\"\",\"create_time\":1781080778802,"
		"\"update_time\":1781080794151}",
		"v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
	},
};

#define GOOD "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define BAD  "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="

/* A delivery like the first vector's; tests change what they are about. */
struct delivery {
	struct http_header header[8];
	struct provider_key key[4];
	struct provider_webhook webhook;
	const char *delivery_id;
};

static void set_up(struct delivery *delivery, const struct vector *vector)
{
	*delivery = (struct delivery){
		.header = {
			{ "Content-Type", "application/json" },
			{ "Webhook-Id", vector->id },
			{ "Webhook-Timestamp", vector->timestamp },
			{ "Webhook-Signature", vector->signature },
		},
		.key = { { "", vector->secret } },
		.webhook = {
			.header_count = 4,
			.body = vector->body,
			.body_bytes = strlen(vector->body),
			.key_count = 1,
			.now_unix_s = vector->now_unix_s,
		},
		.delivery_id = "untouched",
	};
}

static enum provider_verdict verify(struct delivery *delivery)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	enum provider_verdict verdict;

	delivery->webhook.header = delivery->header;
	delivery->webhook.key = delivery->key;
	verdict = standard_webhooks_verify(&delivery->webhook, arena,
					   &delivery->delivery_id);
	/* The id is told only where it is to be trusted. */
	if (verdict == PROVIDER_GENUINE) {
		assert_non_null(delivery->delivery_id);
		assert_string_equal(delivery->delivery_id,
				    delivery->header[1].value);
	} else {
		assert_null(delivery->delivery_id);
	}
	return verdict;
}

static void published_vectors_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		struct delivery delivery;

		set_up(&delivery, &vectors[i]);
		assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
		/* with and without the prefix alike */
		delivery.key[0].key += strlen("whsec_");
		assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
		/* one byte less of the body */
		delivery.webhook.body_bytes--;
		assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	}
}

/* Wrong, or signed by a secret that we have not fetched yet: who can tell? */
static void one_changed_part_fits_no_key(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery, &vectors[0]);
	delivery.header[1].value = "msg_p5jXN8AQM9LWM0D4loKWxJeK";
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);

	set_up(&delivery, &vectors[0]);
	delivery.header[2].value = "1614265331";
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);

	set_up(&delivery, &vectors[0]);
	delivery.webhook.body = "{\"test\": 2432232315}";
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);

	set_up(&delivery, &vectors[0]);
	delivery.header[3].value =
		"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=";
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);

	set_up(&delivery, &vectors[0]);
	delivery.key[0].key = vectors[1].secret;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
}

static void header_forms(void **state)
{
	static const struct {
		const char *name;
		size_t which;	   /* header that is changed */
		const char *value; /* NULL: it is not there */
		enum provider_verdict want;
	} cases[] = {
		{ "no id", 1, NULL, PROVIDER_FORGED },
		{ "no timestamp", 2, NULL, PROVIDER_FORGED },
		{ "no signature", 3, NULL, PROVIDER_FORGED },
		{ "empty id", 1, "", PROVIDER_FORGED },
		{ "id with a blank", 1, "a b", PROVIDER_FORGED },
		{ "word as time", 2, "hello", PROVIDER_FORGED },
		{ "fraction as time", 2, "1614265330.5", PROVIDER_FORGED },
		{ "negative time", 2, "-1614265330", PROVIDER_FORGED },
		{ "plus sign", 2, "+1614265330", PROVIDER_FORGED },
		{ "blank before time", 2, " 1614265330", PROVIDER_FORGED },
		{ "blank after time", 2, "1614265330 ", PROVIDER_FORGED },
		{ "leading zero", 2, "01614265330", PROVIDER_FORGED },
		{ "empty time", 2, "", PROVIDER_FORGED },
		{ "time beyond 64 bits", 2, "99999999999999999999",
		  PROVIDER_FORGED },
		{ "empty signature", 3, "", PROVIDER_FORGED },
		{ "label alone", 3, "v1,", PROVIDER_FORGED },
		{ "no label", 3, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		  PROVIDER_FORGED },
		{ "cut short", 3, "v1,g0hM9SsE+OTPJTGt", PROVIDER_FORGED },
		{ "no padding", 3,
		  "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
		  PROVIDER_FORGED },
		{ "right under v2", 3,
		  "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		  PROVIDER_FORGED },
		{ "right under v1a", 3,
		  "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		  PROVIDER_FORGED },
		{ "among wrong ones", 3, BAD " v2," BAD " " GOOD " " BAD,
		  PROVIDER_GENUINE },
		{ "twice", 3, GOOD " " GOOD, PROVIDER_GENUINE },
		{ "blanks around", 3, "  " GOOD "  ", PROVIDER_GENUINE },
		{ "blanks between", 3, BAD "   " GOOD, PROVIDER_GENUINE },
		{ "only wrong ones", 3, BAD " " BAD, PROVIDER_KEY_UNKNOWN },
		{ "comma list", 3, BAD "," GOOD, PROVIDER_FORGED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct delivery delivery;
		enum provider_verdict got;

		set_up(&delivery, &vectors[0]);
		if (cases[i].value)
			delivery.header[cases[i].which].value = cases[i].value;
		else
			delivery.header[cases[i].which].name = "x-other";
		got = verify(&delivery);
		if (got != cases[i].want)
			fail_msg("%s: %d", cases[i].name, (int)got);
	}
}

static void five_minutes_either_way(void **state)
{
	static const struct {
		int64_t ahead_s; /* our clock against the delivery's */
		enum provider_verdict want;
	} cases[] = {
		{ -301, PROVIDER_FORGED }, { -300, PROVIDER_GENUINE },
		{ 0, PROVIDER_GENUINE },   { 300, PROVIDER_GENUINE },
		{ 301, PROVIDER_FORGED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct delivery delivery;

		set_up(&delivery, &vectors[0]);
		delivery.webhook.now_unix_s += cases[i].ahead_s;
		assert_int_equal(verify(&delivery), cases[i].want);
	}
}

static void doubled_headers_are_forged(void **state)
{
	(void)state;
	for (size_t i = 1; i <= 3; i++) {
		struct delivery delivery;

		set_up(&delivery, &vectors[0]);
		delivery.header[4] = delivery.header[i];
		delivery.webhook.header_count = 5;
		assert_int_equal(verify(&delivery), PROVIDER_FORGED);
	}
}

static void without_any_of_them_it_is_unsigned(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery, &vectors[0]);
	delivery.webhook.header_count = 1;
	assert_int_equal(verify(&delivery), PROVIDER_UNSIGNED);
	delivery.webhook.header_count = 0;
	assert_int_equal(verify(&delivery), PROVIDER_UNSIGNED);
	/* one of them is enough to be taken at its word */
	delivery.webhook.header_count = 2;
	assert_int_equal(verify(&delivery), PROVIDER_FORGED);
}

static void any_of_several_keys_will_do(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery, &vectors[0]);
	delivery.key[0].key = vectors[1].secret;
	delivery.key[1].key = vectors[0].secret;
	delivery.webhook.key_count = 2;
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
	delivery.key[0].key = "whsec_!not base64";
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
	delivery.key[1].key = vectors[2].secret;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
}

static void without_a_usable_key_nobody_knows(void **state)
{
	static const char *const keys[] = { "", "whsec_", "whsec_A", "a b",
					    "whsec_whsec_" };
	struct delivery delivery;

	(void)state;
	set_up(&delivery, &vectors[0]);
	delivery.webhook.key_count = 0;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		set_up(&delivery, &vectors[0]);
		delivery.key[0].key = keys[i];
		assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	}
}

/* An empty key would make everybody's signature right: HMAC takes one. */
static void an_empty_key_is_no_key(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	(void)state;
	assert_false(standard_webhooks_is_key("", arena));
	assert_false(standard_webhooks_is_key("whsec_", arena));
	assert_false(standard_webhooks_is_key("whsec_=", arena));
	assert_false(
		standard_webhooks_is_key("whsec_MfKQ9r8GKYqrTwjU-_", arena));
	assert_true(standard_webhooks_is_key(vectors[0].secret, arena));
}

/* HMAC of the first vector's headers and no body, by another implementation
 * (Python's hmac module). */
static void an_empty_body_can_be_signed(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery, &vectors[0]);
	delivery.webhook.body = NULL;
	delivery.webhook.body_bytes = 0;
	delivery.header[3].value =
		"v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A=";
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
}

static void signatures_beyond_the_limit_are_not_looked_at(void **state)
{
	char list[3 * STANDARD_WEBHOOKS_SIGNATURES + sizeof(GOOD)];
	struct delivery delivery;
	size_t length = 0;

	(void)state;
	for (int i = 0; i < STANDARD_WEBHOOKS_SIGNATURES; i++, length += 3)
		memcpy(list + length, "v2 ", 3);
	memcpy(list + length, GOOD, sizeof(GOOD));
	set_up(&delivery, &vectors[0]);
	delivery.header[3].value = list;
	assert_int_equal(verify(&delivery), PROVIDER_FORGED);
	delivery.header[3].value = list + 3;
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
}

static void too_little_memory_is_never_genuine_nor_forged(void **state)
{
	bool genuine = false;

	(void)state;
	for (size_t bytes = 0; !genuine; bytes++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(bytes);
		struct delivery delivery;
		enum provider_verdict verdict;

		set_up(&delivery, &vectors[0]);
		delivery.webhook.header = delivery.header;
		delivery.webhook.key = delivery.key;
		verdict = standard_webhooks_verify(&delivery.webhook, arena,
						   &delivery.delivery_id);
		genuine = verdict == PROVIDER_GENUINE;
		if (!genuine)
			assert_int_equal(verdict, PROVIDER_KEY_UNKNOWN);
		assert_true(bytes < 4096);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_verify),
		cmocka_unit_test(one_changed_part_fits_no_key),
		cmocka_unit_test(header_forms),
		cmocka_unit_test(five_minutes_either_way),
		cmocka_unit_test(doubled_headers_are_forged),
		cmocka_unit_test(without_any_of_them_it_is_unsigned),
		cmocka_unit_test(any_of_several_keys_will_do),
		cmocka_unit_test(without_a_usable_key_nobody_knows),
		cmocka_unit_test(an_empty_key_is_no_key),
		cmocka_unit_test(an_empty_body_can_be_signed),
		cmocka_unit_test(signatures_beyond_the_limit_are_not_looked_at),
		cmocka_unit_test(too_little_memory_is_never_genuine_nor_forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
