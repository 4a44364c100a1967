/* SPDX-License-Identifier: MIT */
#include "common/base/crypto.h"

#include "common/base/text.h"
#include "tests/support/certificate.h"
#include "tests/support/check.h"
#include "tests/support/rfc7515.h"

#include <errno.h>
#include <stdio.h>

/* Hex into arena bytes; the test's own constants are always right. */
static uint8_t *from_hex(const char *hex, struct arena *arena, size_t *ret_size)
{
	size_t size = strlen(hex) / 2;
	uint8_t *bytes = arena_alloc(arena, size);

	assert_true(bytes && text_from_hex(hex, bytes, size));
	*ret_size = size;
	return bytes;
}

/* FIPS 180-2, B.1 to B.3. */
static void sha256_vectors(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb924"
		      "27ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223"
			 "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039"
		  "a33ce45964ff2167f6ecedd419db06c1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		_cleanup_(sha256_freep) struct sha256 *sha256 = sha256_new();
		const char *text = cases[i].text;
		uint8_t whole[SHA256_BYTES], parts[SHA256_BYTES];

		crypto_sha256(text, strlen(text), whole);
		CHECK_TEXT(text, text_to_hex(whole, sizeof(whole), arena),
			   cases[i].want);

		/* In two parts, one of them empty in the first case. */
		sha256_add(sha256, text, strlen(text) / 2);
		sha256_add(sha256, text + strlen(text) / 2,
			   strlen(text) - strlen(text) / 2);
		sha256_finish(sha256, parts);
		CHECK(text, crypto_equal(whole, parts, sizeof(whole)));
	}
}

static void sha256_of_a_million(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	_cleanup_(sha256_freep) struct sha256 *sha256 = sha256_new();
	uint8_t sum[SHA256_BYTES];
	char block[1000];

	(void)state;
	memset(block, 'a', sizeof(block));
	for (int i = 0; i < 1000; i++)
		sha256_add(sha256, block, sizeof(block));
	sha256_finish(sha256, sum);
	assert_string_equal(text_to_hex(sum, sizeof(sum), arena),
			    "cdc76e5c9914fb9281a1c7e284d73e67"
			    "f1809a48a497200e046d39ccc7112cd0");
	assert_null(sha256_free(NULL));
}

/* RFC 4231, 4.2 to 4.8 (case 5 is about truncation, which we do not do). */
static void hmac_vectors(void **state)
{
	static const struct {
		const char *name, *key, *bytes, *want;
	} cases[] = {
		{ "case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
		  "4869205468657265",
		  "b0344c61d8db38535ca8afceaf0bf12b"
		  "881dc200c9833da726e9376c2e32cff7" },
		{ "case 2", "4a656665",
		  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		  "5bdcc146bf60754e6a042426089575c7"
		  "5a003f089d2739839dec58b964ec3843" },
		{ "case 3", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
		  "dddddddddddddddddddddddddddddddddddddddddddd",
		  "773ea91e36800e46854db8ebd09181a7"
		  "2959098b3ef8c122d9635514ced565fe" },
		{ "case 4",
		  "0102030405060708090a0b0c0d0e0f10111213141516171819",
		  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
		  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
		  "82558a389a443c0ea4cc819899f2083a"
		  "85f0faa3e578f8077a2e3ff46729665b" },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t key_size, size;
		uint8_t *key = from_hex(cases[i].key, arena, &key_size);
		uint8_t *bytes = from_hex(cases[i].bytes, arena, &size);
		uint8_t mac[SHA256_BYTES];

		crypto_hmac_sha256(key, key_size, bytes, size, mac);
		CHECK_TEXT(cases[i].name, text_to_hex(mac, sizeof(mac), arena),
			   cases[i].want);
	}
}

/* Cases 6 and 7: a key larger than a block. */
static void hmac_with_a_long_key(void **state)
{
	static const char text[] = "Test Using Larger Than Block-Size Key - "
				   "Hash Key First";
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	uint8_t key[131], mac[SHA256_BYTES];

	(void)state;
	memset(key, 0xaa, sizeof(key));
	crypto_hmac_sha256(key, sizeof(key), text, strlen(text), mac);
	assert_string_equal(text_to_hex(mac, sizeof(mac), arena),
			    "60e431591ee0b67f0d8a26aacbf5b77f"
			    "8e0bc6213728c5140546040f0ee37f54");
}

/* A key of no bytes is a key: it must not be taken for "none given". */
static void hmac_with_nothing(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	uint8_t mac[SHA256_BYTES];

	(void)state;
	crypto_hmac_sha256("", 0, "", 0, mac);
	assert_string_equal(text_to_hex(mac, sizeof(mac), arena),
			    "b613679a0814d9ec772f95d778c35fc5"
			    "ff1697c493715653c6c712144292c5ad");
}

/* RFC 8032, 7.1. */
static const struct {
	const char *name, *key, *bytes, *signature;
} ed25519_cases[] = {
	{ "TEST 1",
	  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
	  "",
	  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
	  "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
	{ "TEST 2",
	  "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
	  "72",
	  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
	  "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	{ "TEST 3",
	  "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
	  "af82",
	  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
	  "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a" },
};

static void ed25519_vectors(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ed25519_cases); i++) {
		size_t size, ignored;
		uint8_t *key = from_hex(ed25519_cases[i].key, arena, &ignored);
		uint8_t *bytes = from_hex(ed25519_cases[i].bytes, arena, &size);
		uint8_t *signature =
			from_hex(ed25519_cases[i].signature, arena, &ignored);

		CHECK(ed25519_cases[i].name,
		      crypto_ed25519_verify(key, signature, bytes, size));
	}
}

/* One wrong bit anywhere, in any of the three, and it is no signature. */
static void ed25519_refuses_every_flipped_bit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
	size_t size, ignored;
	uint8_t *key = from_hex(ed25519_cases[2].key, arena, &ignored);
	uint8_t *bytes = from_hex(ed25519_cases[2].bytes, arena, &size);
	uint8_t *signature =
		from_hex(ed25519_cases[2].signature, arena, &ignored);

	(void)state;
	for (size_t bit = 0; bit < 8 * ED25519_SIGNATURE_BYTES; bit++) {
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(
			crypto_ed25519_verify(key, signature, bytes, size));
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * size; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(
			crypto_ed25519_verify(key, signature, bytes, size));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * ED25519_KEY_BYTES; bit += 5) {
		key[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(
			crypto_ed25519_verify(key, signature, bytes, size));
		key[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_false(crypto_ed25519_verify(key, signature, bytes, size - 1));
	assert_true(crypto_ed25519_verify(key, signature, bytes, size));
}

/* RFC 7515, A.2. */
static void rs256_vector(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
	struct fault fault = { "untouched" };
	uint8_t *signature;
	size_t size;

	(void)state;
	assert_int_equal(crypto_rs256_sign(rfc7515_key, rfc7515_signing_input,
					   strlen(rfc7515_signing_input), arena,
					   &signature, &size, &fault),
			 0);
	assert_string_equal(
		text_to_base64(signature, size, TEXT_BASE64_URL, arena),
		rfc7515_signature);
	assert_string_equal(fault.text, "untouched");
}

/* An EC key, and an encrypted one that would ask for a passphrase. */
static const char ec_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7z+Sz8usqxxoY6lE\n"
	"ZNiik8Kbuxlq3/1SPCYdUbJawE+hRANCAAQ9U9F8stUubr+L+zzdCofJJSIduxdk\n"
	"V6g4AsaYkwqcyYiZVHxUZngxfYDTH7L4gj0M5GotJujx0burOXpGTF0e\n"
	"-----END PRIVATE KEY-----\n";

static const char encrypted_key[] =
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	"MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjmOshvulGf6wICCAAw\n"
	"DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEFViqA/Gwds5WsndvZtZUmQEgZDa\n"
	"Mc9jhQFjv4e5JIUrfaLqBW+UIz5JuHm5hTCEMf3Dllz2P9+ge9i+ymzYkC+YmfAB\n"
	"6X7pFOGkjk7K1EbT9UFRZn7unGz8L+yQwAJizWxw9ejdSZYK8P4/Yr7ad9DlQFsC\n"
	"fSvnh/soGhI2hOCV7rGcum0+HIstk9d5/GsgqJWmJt+2P/MJZEEt7wZFcH8+wg0=\n"
	"-----END ENCRYPTED PRIVATE KEY-----\n";

static const char small_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAON7eg4QtBiN0ZtI\n"
	"x+NnHfCJth5Y5/uqpEoZlvmNfzF+42l67tFdc8DVZoY2txeFE5/jUaXEqSdRZqIk\n"
	"G+hGQTrKvMhGzF/6Vw9a9eQ1HKi6DePuDBhAbTG0eyKfwP6K2P7hhU5X9mbeQzNc\n"
	"u7jGCtWMxcNn3mwKQ8tHgbjt3Is5AgMBAAECgYB7XyEf9bEmy+tM01kNHIShSp6J\n"
	"sOAHnlFBmsVFjJbZ6h49u50/0PYRM+tJiO0dhV/SS/+g7ppqp3wJHZpBC7EdwsnW\n"
	"KtSwI8suGoIFkOreCBkGixVa2FTgcM4ms1Xh4hiyP+DH4VmPovvzMiVa6OZbBV8T\n"
	"rcEJQcfdwTyHHrOTAQJBAPJsQSlpYthCvqA/+lPdo4w1xNWTY+0SeKCR5wnfZhk2\n"
	"c5PFoKW1Wq+AQgtBoz5Y67V1xvkZY7lTXKqVpjALceECQQDwOQMFxUSJIYwSxnM5\n"
	"wU6yGM9iXs34CuRAinyipaszD/DrlcadvPIiY/f3LLTvVnET9uA2324CnFL54Etj\n"
	"SHRZAkBww8Rn0/rDqABuIHR8EGwkK1q9Ekt4GpB7+IJlCELA1aBbi6FXk410d4/B\n"
	"Fq4tsUUrana8pn/J1CoVu3jLfndhAkBQzCw7FaW+pfzyF7OL2nv4pSWjxZVrd2Zc\n"
	"Wvge0LArhZIX+xGJ3pJmhM9TYMMeuSlheKjja/UZhbDXANz6cNVJAkAqosj77THN\n"
	"Tx1CHzGotk1xeEMOHXcocLq1bZKvrREjXdBmQbmUYozSNizy2jWrKcQxu8jgc2Wb\n"
	"TIh76bhrPFDv\n"
	"-----END PRIVATE KEY-----\n";

static void certificates_are_counted(void **state)
{
	static char two[2 * sizeof(test_certificate) + sizeof(ec_key)];
	static char cut[sizeof(two)];
	static const struct {
		const char *name, *pem;
		int want;
	} cases[] = {
		{ "nothing", "", 0 },
		{ "words", "no certificate", 0 },
		{ "a key", ec_key, 0 },
		{ "a key nobody asks the passphrase of", encrypted_key, 0 },
		{ "one", test_certificate, 1 },
		{ "two and a key", two, 2 },
		{ "the second is cut", cut, -EINVAL },
		{ "only the head", "-----BEGIN CERTIFICATE-----\n", -EINVAL },
		{ "no base64",
		  "-----BEGIN CERTIFICATE-----\n!\n"
		  "-----END CERTIFICATE-----\n",
		  -EINVAL },
		{ "base64 of something else",
		  "-----BEGIN CERTIFICATE-----\n"
		  "cnVzaGVz\n"
		  "-----END CERTIFICATE-----\n",
		  -EINVAL },
	};

	(void)state;
	(void)snprintf(two, sizeof(two), "%s%s%s", test_certificate, ec_key,
		       test_certificate);
	memcpy(cut, two, sizeof(two) - sizeof(test_certificate) / 2);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_NUMBER(cases[i].name,
			     crypto_count_certificates(cases[i].pem,
						       strlen(cases[i].pem)),
			     cases[i].want);
}

static void other_keys_do_not_sign(void **state)
{
	static const struct {
		const char *name, *pem;
	} cases[] = {
		{ "nothing", "" },
		{ "words", "not a key" },
		{ "only the head", "-----BEGIN PRIVATE KEY-----\n" },
		{ "no base64", "-----BEGIN PRIVATE KEY-----\n!\n"
			       "-----END PRIVATE KEY-----\n" },
		{ "empty", "-----BEGIN PRIVATE KEY-----\n"
			   "-----END PRIVATE KEY-----\n" },
		{ "EC", ec_key },
		{ "encrypted", encrypted_key },
		{ "1024 bits", small_key },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		struct fault fault = { "" };
		uint8_t *signature = NULL;
		size_t size = 4711;

		CHECK_NUMBER(cases[i].name,
			     crypto_rs256_sign(cases[i].pem, "x", 1, arena,
					       &signature, &size, &fault),
			     -EINVAL);
		CHECK(cases[i].name, !signature && size == 4711);
		CHECK(cases[i].name, strstr(fault.text, "RSA private key"));
	}
}

static void full_arena_does_not_sign(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 300; limit += 51) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		uint8_t *signature = NULL;
		size_t size;
		int r = crypto_rs256_sign(rfc7515_key, "x", 1, arena,
					  &signature, &size, NULL);

		assert_int_equal(r, limit < 256 ? -ENOMEM : 0);
		assert_int_equal(!signature, limit < 256);
	}
}

static void equality(void **state)
{
	(void)state;
	assert_true(crypto_equal("same", "same", 4));
	assert_true(crypto_equal("same", "samp", 3));
	assert_true(crypto_equal("a", "b", 0));
	assert_false(crypto_equal("same", "sane", 4));
	assert_false(crypto_equal("same", "samE", 4));
	assert_false(crypto_equal("\0a", "\0b", 2));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_vectors),
		cmocka_unit_test(sha256_of_a_million),
		cmocka_unit_test(hmac_vectors),
		cmocka_unit_test(hmac_with_a_long_key),
		cmocka_unit_test(hmac_with_nothing),
		cmocka_unit_test(ed25519_vectors),
		cmocka_unit_test(ed25519_refuses_every_flipped_bit),
		cmocka_unit_test(rs256_vector),
		cmocka_unit_test(other_keys_do_not_sign),
		cmocka_unit_test(full_arena_does_not_sign),
		cmocka_unit_test(certificates_are_counted),
		cmocka_unit_test(equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
