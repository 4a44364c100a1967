/* SPDX-License-Identifier: MIT */
/*
 * fal publishes no vector of its signature. The one here was made with
 * another implementation (Node's crypto) from the key of RFC 8032, 7.1,
 * TEST 1; the primitive itself has that RFC's vectors in crypto_test.
 */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/provider/provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_BYTES = 64 * 1024, SENT_UNIX_S = 1752019770 };

#define ID	"5057fca7-2eb3-468f-b95d-cefe92b0b9d4"
#define USER	"user_test_1"
#define KEY	"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define ANOTHER "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"
#define SIGNATURE                                                              \
	"99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c4"     \
	"4f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080d"

static const char body[] =
	"{\"request_id\":\"" ID "\",\"gateway_request_id\":\"" ID
	"\",\"status\":\"OK\",\"payload\":{\"video\":{\"url\":"
	"\"https://v3.fal.media/files/x/out.mp4\",\"content_type\":"
	"\"video/mp4\",\"file_name\":\"out.mp4\",\"file_size\":1024}}}";

/* RFC 8032, 7.1: public key, message, signature, all in hexadecimal. */
static const struct {
	const char *key;
	const char *message;
	size_t message_bytes;
	const char *signature;
} rfc_8032[] = {
	{
		"d75a980182b10ab7d54bfed3c964073a"
		"0ee172f3daa62325af021a68f707511a",
		"",
		0,
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901"
		"555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a"
		"100b",
	},
	{
		"3d4017c3e843895a92b70aa74d1b7ebc"
		"9c982ccf2ec4968cc0cd55f12af4660c",
		"\x72",
		1,
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69"
		"da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d29161"
		"2bb0c00",
	},
	{
		"fc51cd8e6218a1a38da47ed00230f058"
		"0816ed13ba3303ac5deb911548908025",
		"\xaf\x82",
		2,
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3"
		"ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1e"
		"c40a",
	},
};

struct delivery {
	struct http_header header[8];
	struct provider_key key[3];
	struct provider_webhook webhook;
	const char *delivery_id;
};

static void set_up(struct delivery *delivery)
{
	*delivery = (struct delivery){
		.header = {
			{ "Content-Type", "application/json" },
			{ "X-Fal-Webhook-Request-Id", ID },
			{ "X-Fal-Webhook-User-Id", USER },
			{ "X-Fal-Webhook-Timestamp", "1752019770" },
			{ "X-Fal-Webhook-Signature", SIGNATURE },
		},
		.key = { { "k1", KEY } },
		.webhook = {
			.header_count = 5,
			.body = body,
			.body_bytes = strlen(body),
			.key_count = 1,
			.now_unix_s = SENT_UNIX_S,
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
	verdict = fal_provider.verify(&delivery->webhook, arena,
				      &delivery->delivery_id);
	if (verdict == PROVIDER_GENUINE)
		assert_string_equal(delivery->delivery_id, ID);
	else
		assert_null(delivery->delivery_id);
	return verdict;
}

static void the_primitive_is_that_of_rfc_8032(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rfc_8032); i++) {
		uint8_t key[ED25519_KEY_BYTES];
		uint8_t signature[ED25519_SIGNATURE_BYTES];

		assert_true(text_from_hex(rfc_8032[i].key, key, sizeof(key)));
		assert_true(text_from_hex(rfc_8032[i].signature, signature,
					  sizeof(signature)));
		assert_true(crypto_ed25519_verify(key, signature,
						  rfc_8032[i].message,
						  rfc_8032[i].message_bytes));
		signature[0] ^= 1;
		assert_false(crypto_ed25519_verify(key, signature,
						   rfc_8032[i].message,
						   rfc_8032[i].message_bytes));
	}
}

static void a_delivery_verifies(void **state)
{
	struct delivery delivery;

	(void)state;
	assert_int_equal(strlen(body), 260);
	set_up(&delivery);
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
	/* any of the keys, in any place */
	delivery.key[0].key = ANOTHER;
	delivery.key[1].key = "not a key";
	delivery.key[2].key = KEY;
	delivery.webhook.key_count = 3;
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
}

/* It may have been signed by a key that we have not fetched yet: well formed
 * and fitting no key is "unknown", and never taken for genuine. */
static void a_change_fits_no_key(void **state)
{
	static const struct {
		size_t header;
		const char *value;
	} changes[] = {
		{ 1, "5057fca7-2eb3-468f-b95d-cefe92b0b9d5" },
		{ 2, "user_test_2" },
		{ 3, "1752019771" },
		{ 4, "89f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560"
		     "219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a72"
		     "62962e635b91080d" },
	};
	struct delivery delivery;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		set_up(&delivery);
		delivery.header[changes[i].header].value = changes[i].value;
		assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	}
	set_up(&delivery);
	delivery.webhook.body_bytes--;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	set_up(&delivery);
	delivery.key[0].key = ANOTHER;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
	set_up(&delivery);
	delivery.webhook.key_count = 0;
	assert_int_equal(verify(&delivery), PROVIDER_KEY_UNKNOWN);
}

static void malformed_headers_are_forged(void **state)
{
	static const struct {
		size_t header;
		const char *value; /* NULL: not there */
	} cases[] = {
		{ 1, NULL },
		{ 2, NULL },
		{ 3, NULL },
		{ 4, NULL },
		{ 1, "" },
		{ 1, ID "\n" USER },
		{ 2, "" },
		{ 2, "user test" },
		{ 3, "" },
		{ 3, "hello" },
		{ 3, "1752019770.0" },
		{ 3, "-1752019770" },
		{ 3, "01752019770" },
		{ 4, "" },
		{ 4, "v1,abc" },
		{ 4, SIGNATURE "00" },
		{ 4, "99f0" },
		{ 4, "zz" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct delivery delivery;

		set_up(&delivery);
		if (cases[i].value)
			delivery.header[cases[i].header].value = cases[i].value;
		else
			delivery.header[cases[i].header].name = "x-other";
		if (verify(&delivery) != PROVIDER_FORGED)
			fail_msg("case %zu", i);
	}
}

static void doubled_headers_are_forged(void **state)
{
	(void)state;
	for (size_t i = 1; i <= 4; i++) {
		struct delivery delivery;

		set_up(&delivery);
		delivery.header[5] = delivery.header[i];
		delivery.webhook.header_count = 6;
		assert_int_equal(verify(&delivery), PROVIDER_FORGED);
	}
}

static void five_minutes_either_way(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery);
	delivery.webhook.now_unix_s = SENT_UNIX_S + 300;
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
	delivery.webhook.now_unix_s = SENT_UNIX_S + 301;
	assert_int_equal(verify(&delivery), PROVIDER_FORGED);
	delivery.webhook.now_unix_s = SENT_UNIX_S - 300;
	assert_int_equal(verify(&delivery), PROVIDER_GENUINE);
	delivery.webhook.now_unix_s = SENT_UNIX_S - 301;
	assert_int_equal(verify(&delivery), PROVIDER_FORGED);
}

static void without_any_of_them_it_is_unsigned(void **state)
{
	struct delivery delivery;

	(void)state;
	set_up(&delivery);
	delivery.webhook.header_count = 1;
	assert_int_equal(verify(&delivery), PROVIDER_UNSIGNED);
}

static void too_little_memory_is_never_genuine_nor_forged(void **state)
{
	bool genuine = false;

	(void)state;
	for (size_t bytes = 0; !genuine; bytes++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(bytes);
		struct delivery delivery;
		enum provider_verdict verdict;

		set_up(&delivery);
		delivery.webhook.header = delivery.header;
		delivery.webhook.key = delivery.key;
		verdict = fal_provider.verify(&delivery.webhook, arena,
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
		cmocka_unit_test(the_primitive_is_that_of_rfc_8032),
		cmocka_unit_test(a_delivery_verifies),
		cmocka_unit_test(a_change_fits_no_key),
		cmocka_unit_test(malformed_headers_are_forged),
		cmocka_unit_test(doubled_headers_are_forged),
		cmocka_unit_test(five_minutes_either_way),
		cmocka_unit_test(without_any_of_them_it_is_unsigned),
		cmocka_unit_test(too_little_memory_is_never_genuine_nor_forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
