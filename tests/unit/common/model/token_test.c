/* SPDX-License-Identifier: MIT */
#include "common/model/token.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

#define ID    "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define OTHER "017f22e2-79b0-7cc3-98c4-dc0c0c073980"

static struct token_keys keys_of(char first, char second, size_t count)
{
	struct token_keys keys = { .count = count };

	memset(keys.key[0], first, TOKEN_KEY_BYTES);
	memset(keys.key[1], second, TOKEN_KEY_BYTES);
	return keys;
}

/* Computed with openssl: printf '%s' "$ID.1.replicate" | openssl dgst -sha256
 * -mac HMAC -macopt hexkey:6161… -binary | basenc --base64url */
static void the_form_is_fixed(void **state)
{
	struct token_keys keys = keys_of('a', 0, 1);
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);

	(void)state;
	assert_string_equal(token_make(&keys, ID, 1, "replicate", arena),
			    "1.yoDiaZfYxIrNCVBAmxmyXNgW9C2wYRKirgxBimHG_Uk");
}

static void the_longest_fits(void **state)
{
	struct token_keys keys = keys_of('a', 0, 1);
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	char *token = token_make(&keys, ID, INT32_MAX, "fal", arena);
	int32_t attempt = 0;

	(void)state;
	assert_int_equal(strlen(token), TOKEN_MOST_BYTES);
	assert_true(token_verify(&keys, token, ID, "fal", arena, &attempt));
	assert_int_equal(attempt, INT32_MAX);
}

static void only_its_own_job_takes_it(void **state)
{
	struct token_keys keys = keys_of('a', 'b', 2);
	struct token_keys rotated = keys_of('c', 'a', 2);
	struct token_keys forgotten = keys_of('c', 'a', 1);
	struct token_keys strange = keys_of('x', 'y', 2);
	struct token_keys none = keys_of('a', 'a', 0);
	const struct {
		const char *name;
		const struct token_keys *keys;
		const char *job_id, *provider;
		bool want;
	} cases[] = {
		{ "same", &keys, ID, "fal", true },
		{ "one rotation later", &rotated, ID, "fal", true },
		{ "two rotations later", &forgotten, ID, "fal", false },
		{ "other keys", &strange, ID, "fal", false },
		{ "no keys", &none, ID, "fal", false },
		{ "other job", &keys, OTHER, "fal", false },
		{ "other provider", &keys, ID, "replicate", false },
		{ "provider with more", &keys, ID, "fal ", false },
		{ "no provider", &keys, ID, "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(2000);
		char *token = token_make(&keys, ID, 3, "fal", arena);
		int32_t attempt = 4711;

		CHECK(cases[i].name,
		      token_verify(cases[i].keys, token, cases[i].job_id,
				   cases[i].provider, arena,
				   &attempt) == cases[i].want);
		CHECK_NUMBER(cases[i].name, attempt, cases[i].want ? 3 : 4711);
	}
}

/* Every byte replaced, removed or doubled makes it another token. */
static void every_byte_counts(void **state)
{
	struct token_keys keys = keys_of('a', 'b', 2);
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	char *token = token_make(&keys, ID, 12, "fal", arena);
	size_t length = strlen(token);
	char copy[TOKEN_MOST_BYTES + 2];
	int32_t attempt;

	(void)state;
	for (size_t at = 0; at < length; at++) {
		for (int c = 1; c < 256; c += 3) {
			if ((char)c == token[at])
				continue;
			memcpy(copy, token, length + 1);
			copy[at] = (char)c;
			assert_false(token_verify(&keys, copy, ID, "fal", arena,
						  &attempt));
		}
		memcpy(copy, token, at);
		memcpy(copy + at, token + at + 1, length - at);
		assert_false(
			token_verify(&keys, copy, ID, "fal", arena, &attempt));
		memcpy(copy, token, at);
		copy[at] = token[at];
		memcpy(copy + at + 1, token + at, length - at + 1);
		assert_false(
			token_verify(&keys, copy, ID, "fal", arena, &attempt));
	}
	assert_true(token_verify(&keys, token, ID, "fal", arena, &attempt));
}

static void strange_texts_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		".",
		"1",
		"1.",
		".x",
		"0.x",
		"-1.x",
		"01.x",
		"+1.x",
		"2147483648.x",
		"99999999999999999999.x",
		"1..",
		"1.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct token_keys keys = keys_of('a', 'b', 2);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		int32_t attempt = 4711;

		CHECK(wrong[i], !token_verify(&keys, wrong[i], ID, "fal", arena,
					      &attempt));
		CHECK_NUMBER(wrong[i], attempt, 4711);
	}
}

static void small_arenas_fail_cleanly(void **state)
{
	struct token_keys keys = keys_of('a', 'b', 2);
	_cleanup_(arena_freep) struct arena *large = arena_new(1000);
	char *token = token_make(&keys, ID, 3, "fal", large);
	size_t good = 0;

	(void)state;
	for (size_t limit = 0; limit < 400; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		_cleanup_(arena_freep) struct arena *other = arena_new(limit);
		char *made = token_make(&keys, ID, 3, "fal", arena);
		int32_t attempt = 4711;
		bool genuine =
			token_verify(&keys, token, ID, "fal", other, &attempt);

		assert_int_equal(!made, arena_failed(arena));
		assert_int_equal(attempt, genuine ? 3 : 4711);
		good += genuine;
	}
	assert_in_range(good, 1, 399);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_form_is_fixed),
		cmocka_unit_test(the_longest_fits),
		cmocka_unit_test(only_its_own_job_takes_it),
		cmocka_unit_test(every_byte_counts),
		cmocka_unit_test(strange_texts_are_refused),
		cmocka_unit_test(small_arenas_fail_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
