/* SPDX-License-Identifier: MIT */
/*
 * fal publishes no vector of its signature. The one here was made with
 * another implementation (Node's crypto) from the key of RFC 8032, 7.1,
 * TEST 1; the primitive itself has that RFC's vectors in crypto_test.
 */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/provider/provider.h"
#include "tests/support/check.h"

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
	{
		"ec172b93ad5e563bf4932c70e1245034"
		"c35467ef2efd4d64ebf819683467e2bf",
		"\xdd\xaf\x35\xa1\x93\x61\x7a\xba\xcc\x41\x73\x49\xae\x20"
		"\x41\x31\x12\xe6\xfa\x4e\x89\xa9\x7e\xa2\x0a\x9e\xee\xe6"
		"\x4b\x55\xd3\x9a\x21\x92\x99\x2a\x27\x4f\xc1\xa8\x36\xba"
		"\x3c\x23\xa3\xfe\xeb\xbd\x45\x4d\x44\x23\x64\x3c\xe8\x0e"
		"\x2a\x9a\xc9\x4f\xa5\x4c\xa4\x9f",
		64,
		"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b5"
		"8909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331"
		"a704",
	},
};

#define LETTERS_51  "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"
#define LETTERS_255 LETTERS_51 LETTERS_51 LETTERS_51 LETTERS_51 LETTERS_51

/* What a value of a case may also be. */
static const char ABSENT[] = "", HUGE[] = "", NONE[] = "";
enum { NONE_OF_THEM = -1, KEYS = 3, HUGE_BYTES = 64 * 1024 };
#define BODY(text)                                                             \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

/* The delivery above, and what is different. */
static const struct test_case {
	const char *name;
	const char *id, *user, *timestamp, *signature;
	struct {
		const char *bytes;
		size_t size;
	} body;
	const char *keys[KEYS];
	int64_t ahead_s; /* our clock against the delivery's */
	size_t doubled;	 /* header that is there twice */
	int only;	 /* header that is there alone */
	enum provider_verdict want;
} cases[] = {
	/* clang-format off */

	/* as it should be */
	{ .name = "as fal signs it", .want = PROVIDER_GENUINE },
	{ .name = "signature in capitals", .signature = "99F04C0EC8D06CA24565AC57DB5C4808EEF579BD26648980721FD560219FD7C44F7A3CB4D37443BA9AB659FCE1A681F91DCE6734718D6A7262962E635B91080D", .want = PROVIDER_GENUINE },
	{ .name = "empty body, signed", .signature = "728e035976a346e4405d02168b3639b5abb630e8b901e1c23221b2d2386e2af0221aa4fafe1b6c6533d3e2a5144a37759fe3ee3ffd5acb4541f9add860e3fe0e", .body = BODY(""), .want = PROVIDER_GENUINE },
	{ .name = "a NUL in the body, signed", .signature = "d636cfbbf4cc8e851a68fcee0b2e9af4e2300b98699dd769a29ac620f575c85600afc39f2fa950c47c8577cf580d731c07c337e5c725d2f1f062579e8149c90c", .body = BODY("a\0b"), .want = PROVIDER_GENUINE },
	{ .name = "id of 255 bytes", .id = LETTERS_255, .signature = "e51b345e962e18b2e803f72a0a33e7bddb76246bdce12b46c0971437baae823ea5eb37e01d81a896ebd2b34eb88c8b07b1e46f91119c1d1e4b3a1fc3fb21510c", .want = PROVIDER_GENUINE },

	/* keys: rotation, and what a JWKS may hold */
	{ .name = "any of the keys, in any place", .keys = { ANOTHER, "not a key", KEY }, .want = PROVIDER_GENUINE },
	{ .name = "new key, old one still there", .keys = { KEY, ANOTHER }, .want = PROVIDER_GENUINE },
	{ .name = "old key still in use", .keys = { ANOTHER, KEY }, .want = PROVIDER_GENUINE },
	{ .name = "signed by the new key, both known", .signature = "ae0736cae048922be0752f2db8b724f0b85cea935ae6ffce75cf458b61d207ab5dea0dd495ad118591f921db4d51f7a414432c3bda05467eb50cacd00aabfa0f", .keys = { KEY, ANOTHER }, .want = PROVIDER_GENUINE },
	{ .name = "signed by a key not fetched yet", .signature = "ae0736cae048922be0752f2db8b724f0b85cea935ae6ffce75cf458b61d207ab5dea0dd495ad118591f921db4d51f7a414432c3bda05467eb50cacd00aabfa0f", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "rotated away", .keys = { ANOTHER }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "no keys", .keys = { NONE }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: empty", .keys = { "" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: padded", .keys = { KEY "=" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: standard alphabet", .keys = { "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: 31 bytes", .keys = { "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: 33 bytes, the right ones first", .keys = { KEY "A" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: no base64", .keys = { KEY "AA" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: very long", .keys = { LETTERS_255 }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: no point of the curve", .keys = { "____________________________________________" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "a bad key before the right one", .keys = { LETTERS_255, KEY }, .want = PROVIDER_GENUINE },

	/* one thing changed */
	{ .name = "another id", .id = "5057fca7-2eb3-468f-b95d-cefe92b0b9d5", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "another user", .user = "user_test_2", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "a second later than signed", .timestamp = "1752019771", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "a bit of the signature", .signature = "89f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080d", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "the last bit of the signature", .signature = "99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080c", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "R and S swapped", .signature = "4f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080d99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c4", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "S and the order of the group", .signature = "99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c43c4e3211eed755127153519fc0a0600e1ece6734718d6a7262962e635b91081d", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "all zeros", .signature = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "all ones", .signature = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "id and user swapped", .id = USER, .user = ID, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "id and user swapped, signed so", .signature = "c59de138a340bf2f35b1ef80bbfab8439d47fb7169dd5f008e83f78f5b0f40307fa6cdf7f8003ed5df1292bb746d200e890db33016e695ede24de927db728400", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: none", .body = BODY(""), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: a byte less", .body = { body, sizeof(body) - 2 }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: another", .body = BODY("{}"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: cut at its NUL", .signature = "d636cfbbf4cc8e851a68fcee0b2e9af4e2300b98699dd769a29ac620f575c85600afc39f2fa950c47c8577cf580d731c07c337e5c725d2f1f062579e8149c90c", .body = BODY("a"), .want = PROVIDER_KEY_UNKNOWN },

	/* the clock */
	{ .name = "our clock -301 s", .ahead_s = -301, .want = PROVIDER_FORGED },
	{ .name = "our clock -300 s", .ahead_s = -300, .want = PROVIDER_GENUINE },
	{ .name = "our clock -299 s", .ahead_s = -299, .want = PROVIDER_GENUINE },
	{ .name = "our clock -1 s", .ahead_s = -1, .want = PROVIDER_GENUINE },
	{ .name = "our clock +1 s", .ahead_s = 1, .want = PROVIDER_GENUINE },
	{ .name = "our clock +299 s", .ahead_s = 299, .want = PROVIDER_GENUINE },
	{ .name = "our clock +300 s", .ahead_s = 300, .want = PROVIDER_GENUINE },
	{ .name = "our clock +301 s", .ahead_s = 301, .want = PROVIDER_FORGED },
	{ .name = "our clock +31536000 s", .ahead_s = 31536000, .want = PROVIDER_FORGED },
	{ .name = "our clock -1752019770 s", .ahead_s = -1752019770, .want = PROVIDER_FORGED },

	/* odd numbers */
	{ .name = "time: empty", .timestamp = "", .want = PROVIDER_FORGED },
	{ .name = "time: a word", .timestamp = "hello", .want = PROVIDER_FORGED },
	{ .name = "time: float", .timestamp = "1752019770.0", .want = PROVIDER_FORGED },
	{ .name = "time: negative", .timestamp = "-1752019770", .want = PROVIDER_FORGED },
	{ .name = "time: leading zero", .timestamp = "01752019770", .want = PROVIDER_FORGED },
	{ .name = "time: plus sign", .timestamp = "+1752019770", .want = PROVIDER_FORGED },
	{ .name = "time: blank before", .timestamp = " 1752019770", .want = PROVIDER_FORGED },
	{ .name = "time: blank after", .timestamp = "1752019770 ", .want = PROVIDER_FORGED },
	{ .name = "time: line feed after", .timestamp = "1752019770\n", .want = PROVIDER_FORGED },
	{ .name = "time: milliseconds", .timestamp = "1752019770000", .want = PROVIDER_FORGED },
	{ .name = "time: hexadecimal", .timestamp = "0x686db07a", .want = PROVIDER_FORGED },
	{ .name = "time: exponent", .timestamp = "1.75201977e9", .want = PROVIDER_FORGED },
	{ .name = "time: zero", .timestamp = "0", .want = PROVIDER_FORGED },
	{ .name = "time: 2^63 - 1", .timestamp = "9223372036854775807", .want = PROVIDER_FORGED },
	{ .name = "time: 2^64 + the time", .timestamp = "18446744075461571386", .want = PROVIDER_FORGED },
	{ .name = "time: 100 digits", .timestamp = "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999", .want = PROVIDER_FORGED },
	{ .name = "time: twice", .timestamp = "17520197701752019770", .want = PROVIDER_FORGED },

	/* headers */
	{ .name = "no id", .id = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "two of id", .doubled = 1, .want = PROVIDER_FORGED },
	{ .name = "id alone", .only = 1, .want = PROVIDER_FORGED },
	{ .name = "no user", .user = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "two of user", .doubled = 2, .want = PROVIDER_FORGED },
	{ .name = "user alone", .only = 2, .want = PROVIDER_FORGED },
	{ .name = "no timestamp", .timestamp = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "two of timestamp", .doubled = 3, .want = PROVIDER_FORGED },
	{ .name = "timestamp alone", .only = 3, .want = PROVIDER_FORGED },
	{ .name = "no signature", .signature = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "two of signature", .doubled = 4, .want = PROVIDER_FORGED },
	{ .name = "signature alone", .only = 4, .want = PROVIDER_FORGED },
	{ .name = "none of them", .only = NONE_OF_THEM, .want = PROVIDER_UNSIGNED },
	{ .name = "empty id", .id = "", .want = PROVIDER_FORGED },
	{ .name = "line feed in the id", .id = ID "\n" USER, .want = PROVIDER_FORGED },
	{ .name = "blank in the id", .id = "a b", .want = PROVIDER_FORGED },
	{ .name = "control character in the id", .id = "a\x01", .want = PROVIDER_FORGED },
	{ .name = "id of 256 bytes", .id = LETTERS_255 "i", .want = PROVIDER_FORGED },
	{ .name = "id beyond ASCII", .id = "\xc3\xa9", .want = PROVIDER_FORGED },
	{ .name = "huge id", .id = HUGE, .want = PROVIDER_FORGED },
	{ .name = "empty user", .user = "", .want = PROVIDER_FORGED },
	{ .name = "blank in the user", .user = "user test", .want = PROVIDER_FORGED },
	{ .name = "line feed in the user", .user = "user\n1", .want = PROVIDER_FORGED },
	{ .name = "user of 256 bytes", .user = LETTERS_255 "i", .want = PROVIDER_FORGED },
	{ .name = "huge user", .user = HUGE, .want = PROVIDER_FORGED },
	{ .name = "empty signature", .signature = "", .want = PROVIDER_FORGED },
	{ .name = "signature of another scheme", .signature = "v1,abc", .want = PROVIDER_FORGED },
	{ .name = "a byte too much", .signature = SIGNATURE "00", .want = PROVIDER_FORGED },
	{ .name = "a digit too much", .signature = SIGNATURE "0", .want = PROVIDER_FORGED },
	{ .name = "a digit less", .signature = "99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080", .want = PROVIDER_FORGED },
	{ .name = "two bytes", .signature = "99f0", .want = PROVIDER_FORGED },
	{ .name = "no digits", .signature = "zz", .want = PROVIDER_FORGED },
	{ .name = "one letter that is no digit", .signature = "99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080g", .want = PROVIDER_FORGED },
	{ .name = "0x before it", .signature = "0xf04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c44f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080d", .want = PROVIDER_FORGED },
	{ .name = "in base64", .signature = "mfBMDsjQbKJFZaxX21xICO71eb0mZImAch/VYCGf18RPejy003RDuptmWfzhpoH5Hc5nNHGNanJilillY1uRCA0=", .want = PROVIDER_FORGED },
	{ .name = "blank before it", .signature = " " SIGNATURE, .want = PROVIDER_FORGED },
	{ .name = "list of two", .signature = SIGNATURE "," SIGNATURE, .want = PROVIDER_FORGED },
	{ .name = "huge signature", .signature = HUGE, .want = PROVIDER_FORGED },
	/* clang-format on */
};

static char huge[HUGE_BYTES];

struct delivery {
	struct http_header header[8];
	struct provider_key key[KEYS];
	struct provider_webhook webhook;
};

static void set_header(struct delivery *delivery, size_t i, const char *name,
		       const char *changed, const char *usual)
{
	delivery->header[i] = (struct http_header){
		.name = changed == ABSENT ? "x-other" : name,
		.value = changed == HUGE ? huge
			 : changed	 ? changed
					 : usual,
	};
}

static void set_up(struct delivery *delivery, const struct test_case *test)
{
	*delivery = (struct delivery){
		.header = { { "Content-Type", "application/json" } },
		.key = { { "k1", KEY } },
		.webhook = {
			.header_count = 5,
			.body = body,
			.body_bytes = strlen(body),
			.key_count = 1,
			.now_unix_s = SENT_UNIX_S + test->ahead_s,
		},
	};
	set_header(delivery, 1, "X-Fal-Webhook-Request-Id", test->id, ID);
	set_header(delivery, 2, "x-fal-webhook-user-id", test->user, USER);
	set_header(delivery, 3, "X-FAL-WEBHOOK-TIMESTAMP", test->timestamp,
		   "1752019770");
	set_header(delivery, 4, "X-Fal-Webhook-Signature", test->signature,
		   SIGNATURE);
	for (size_t i = 1; i <= 4; i++)
		if (test->only != 0 && test->only != (int)i)
			delivery->header[i].name = "x-other";
	if (test->doubled)
		delivery->header[delivery->webhook.header_count++] =
			delivery->header[test->doubled];
	if (test->body.bytes) {
		delivery->webhook.body = test->body.bytes;
		delivery->webhook.body_bytes = test->body.size;
	}
	for (size_t i = 0; i < KEYS && test->keys[i]; i++) {
		delivery->key[i] = (struct provider_key){ "", test->keys[i] };
		delivery->webhook.key_count = test->keys[i] == NONE ? 0 : i + 1;
	}
}

static enum provider_verdict verify(struct delivery *delivery,
				    struct arena *arena,
				    const char **ret_delivery_id)
{
	delivery->webhook.header = delivery->header;
	delivery->webhook.key = delivery->key;
	*ret_delivery_id = "untouched";
	return fal_provider.verify(&delivery->webhook, arena, ret_delivery_id);
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

static void every_case_ends_as_it_should(void **state)
{
	(void)state;
	assert_int_equal(strlen(body), 260);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		struct delivery delivery;
		const char *id;

		set_up(&delivery, &cases[i]);
		CHECK_NUMBER(cases[i].name, verify(&delivery, arena, &id),
			     cases[i].want);
		CHECK_TEXT(cases[i].name, id,
			   cases[i].want == PROVIDER_GENUINE
				   ? delivery.header[1].value
				   : NULL);
	}
}

static void too_little_memory_is_never_genuine_nor_forged(void **state)
{
	static const struct test_case usual = { .name = "usual" };
	bool genuine = false;

	(void)state;
	for (size_t bytes = 0; !genuine; bytes++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(bytes);
		struct delivery delivery;
		enum provider_verdict verdict;
		const char *id;

		set_up(&delivery, &usual);
		verdict = verify(&delivery, arena, &id);
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
		cmocka_unit_test(every_case_ends_as_it_should),
		cmocka_unit_test(too_little_memory_is_never_genuine_nor_forged),
	};

	memset(huge, 'v', sizeof(huge) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
