/* SPDX-License-Identifier: MIT */
#include "common/model/json_text.h"

#include "common/model/limits.h"
#include "tests/support/check.h"

#include <errno.h>
#include <stdlib.h>

static void texts_survive(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "{}", "{}" },
		{ " [ ] ", "[]" },
		{ "{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":2}" },
		{ "[0.1,1.0,-0.5,1e2]", "[0.1,1.0,-0.5,100.0]" },
		{ "[0.30000000000000004]", "[0.30000000000000004]" },
		{ "[9223372036854775807]", "[9223372036854775807]" },
		{ "[0e-99999,0.0,-0.0]", "[0.0,0.0,-0.0]" },
		{ "[\"\\u00fc\\n\\/\"]", "[\"\xc3\xbc\\n/\"]" },
		{ "[\"[[[[{{{{,,,,\\\"1e-99999\"]",
		  "[\"[[[[{{{{,,,,\\\"1e-99999\"]" },
		{ "[true,false,null]", "[true,false,null]" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		_cleanup_(json_decrefp) json_t *json = NULL;

		CHECK_NUMBER(cases[i].text,
			     json_text_read(cases[i].text,
					    strlen(cases[i].text), &json, NULL),
			     0);
		CHECK_TEXT(cases[i].text, json_text_write(json, arena),
			   cases[i].want);
	}
}

static void integers_beyond_64_bits_become_reals(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{ "[15860307465884635512,1]", "[1.5860307465884635e19,1]" },
		{ "[100000000000000000000]", "[1e20]" },
		{ "[-9223372036854775809]", "[-9.223372036854776e18]" },
		{ "[1e20]", "[1e20]" },
		{ "[-9223372036854775808,9223372036854775807,1e20]",
		  "[-9223372036854775808,9223372036854775807,1e20]" },
		{ "{\"100000000000000000000\":[\"\\\"100000000000000000000\","
		  "100000000000000000000]}",
		  "{\"100000000000000000000\":[\"\\\"100000000000000000000\","
		  "1e20]}" },
		{ "100000000000000000000", "1e20" },
	};
	static const char *const wrong[] = {
		"[100000000000000000000",	 "[100000000000000000000,\"",
		"[100000000000000000000,1e999]", "[0100000000000000000000]",
		"[100000000000000000000-]",	 "[\"\\",
	};
	json_error_t error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		json_auto_t *json = NULL;

		CHECK_NUMBER(cases[i].text,
			     json_text_load_large(
				     cases[i].text, strlen(cases[i].text),
				     JSON_DECODE_ANY, &json, &error),
			     0);
		CHECK_TEXT(cases[i].text, json_text_write(json, arena),
			   cases[i].want);
	}
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		json_t *json = NULL;

		CHECK_NUMBER(wrong[i],
			     json_text_load_large(wrong[i], strlen(wrong[i]), 0,
						  &json, &error),
			     -EBADMSG);
	}
}

static void other_texts_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		" ",
		"1",
		"\"a\"",
		"null",
		"{",
		"}",
		"[1,]",
		"{\"a\"}",
		"{a:1}",
		"{'a':1}",
		"[1] [2]",
		"[1]x",
		"[01]",
		"[.5]",
		"[+1]",
		"[0x1]",
		"[NaN]",
		"[Infinity]",
		"[1e999]",
		"[1e-99999]",
		"[-0.001e-400]",
		"[99999999999999999999]",
		"{\"a\":1,\"a\":2}",
		"{\"a\":1,\"\\u0061\":2}",
		"[\"\\u0000\"]",
		"{\"a\\u0000\":1}",
		"[\"\\ud800\"]",
		"[\"\\x41\"]",
		"[\"\xff\"]",
		"[\"\xc0\x80\"]",
		"[\"\xed\xa0\x80\"]",
		"[\"a\nb\"]",
		"[\"secret",
		"[secret]",
		"[\"\\qsecret\"]",
		"{\"secret\":1,\"secret\":2}",
		"\xef\xbb\xbf{}",
		"/**/{}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct fault fault = { "" };
		json_t *json = NULL;

		CHECK_NUMBER(wrong[i],
			     json_text_read(wrong[i], strlen(wrong[i]), &json,
					    &fault),
			     -EBADMSG);
		CHECK(wrong[i], !json);
		CHECK(wrong[i], fault.text[0] != '\0');
		CHECK(wrong[i], !strstr(fault.text, "secret"));
	}
}

static void bare_nul_is_refused(void **state)
{
	json_t *json = NULL;

	(void)state;
	assert_int_equal(json_text_read("[\"a\0b\"]", 7, &json, NULL),
			 -EBADMSG);
	assert_int_equal(json_text_read("[1]\0", 4, &json, NULL), -EBADMSG);
	assert_int_equal(json_text_read("[1\0]", 4, &json, NULL), -EBADMSG);
	assert_null(json);
}

/* The text need not end in a NUL: a copy without one shows a read too far. */
static void size_is_kept(void **state)
{
	static const char text[] = "{\"key\": [1.5e1, \"\\\"\", {}, -2]}";

	(void)state;
	for (size_t size = 0; size < sizeof(text); size++) {
		_cleanup_(json_decrefp) json_t *json = NULL;
		char *copy = malloc(size ? size : 1);
		int r;

		memcpy(copy, text, size);
		r = json_text_read(copy, size, &json, NULL);
		free(copy);
		assert_int_equal(r, size == sizeof(text) - 1 ? 0 : -EBADMSG);
	}
}

static void numbers_too_long_are_refused(void **state)
{
	static char text[1000] = "[1.";
	json_t *json = NULL;

	(void)state;
	memset(text + 3, '1', 900);
	text[903] = ']';
	assert_int_equal(json_text_read(text, 904, &json, NULL), -EBADMSG);
	assert_null(json);
}

static char *nested(size_t depth)
{
	char *text = malloc(2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

static void depth_has_a_limit(void **state)
{
	static const struct {
		size_t depth;
		int want;
	} cases[] = { { 1, 0 },
		      { LIMIT_JSON_DEPTH, 0 },
		      { LIMIT_JSON_DEPTH + 1, -EFBIG },
		      { 1000000, -EFBIG } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(json_decrefp) json_t *json = NULL;
		char *text = nested(cases[i].depth);

		assert_int_equal(
			json_text_read(text, strlen(text), &json, NULL),
			cases[i].want);
		free(text);
		if (json)
			assert_int_equal(json_text_depth(json, 1000),
					 cases[i].depth);
	}
}

static void values_have_a_limit(void **state)
{
	static char text[2 * LIMIT_JSON_VALUES + 2];
	_cleanup_(json_decrefp) json_t *json = NULL;
	size_t size = 0;

	(void)state;
	text[size++] = '[';
	for (int i = 1; i < LIMIT_JSON_VALUES; i++) {
		text[size++] = '1';
		text[size++] = ',';
	}
	text[size - 1] = ']';
	assert_int_equal(json_text_read(text, size, &json, NULL), 0);

	text[size - 1] = ',';
	text[size++] = '1';
	text[size++] = ']';
	assert_int_equal(json_text_read(text, size, &json, NULL), -EFBIG);
}

static void depth_stops_counting(void **state)
{
	_cleanup_(json_decrefp) json_t *json = NULL;

	(void)state;
	assert_int_equal(json_text_read("[1,{\"a\":[]},[]]", 15, &json, NULL),
			 0);
	assert_int_equal(json_text_depth(json, 9), 3);
	assert_int_equal(json_text_depth(json, 3), 3);
	assert_int_equal(json_text_depth(json, 2), 3);
	assert_int_equal(json_text_depth(json, 1), 2);
	assert_int_equal(json_text_depth(json_array_get(json, 0), 0), 0);
	assert_int_equal(json_text_depth(json, 0), 1);
}

static void pointers_escape_keys(void **state)
{
	char pointer[JSON_TEXT_POINTER_BYTES];
	size_t size = 0;

	(void)state;
	assert_true(json_text_add_key(pointer, &size, "jobs"));
	assert_true(json_text_add_key(pointer, &size, ""));
	assert_true(json_text_add_key(pointer, &size, "a/b~c~1"));
	assert_int_equal(size, strlen("/jobs//a~1b~0c~01"));
	assert_memory_equal(pointer, "/jobs//a~1b~0c~01", size);
}

static void pointers_have_a_limit(void **state)
{
	char pointer[JSON_TEXT_POINTER_BYTES];
	char key[JSON_TEXT_POINTER_BYTES + 1] = "";
	size_t size = 0;

	(void)state;
	memset(key, '/', JSON_TEXT_POINTER_BYTES / 2);
	assert_false(json_text_add_key(pointer, &size, key));
	assert_int_equal(size, 0);
	memset(key, 'x', JSON_TEXT_POINTER_BYTES);
	assert_false(json_text_add_key(pointer, &size, key));
	assert_int_equal(size, 0);
	key[JSON_TEXT_POINTER_BYTES - 1] = '\0';
	assert_true(json_text_add_key(pointer, &size, key));
	assert_int_equal(size, JSON_TEXT_POINTER_BYTES);
	assert_false(json_text_add_key(pointer, &size, ""));
}

static void small_arenas_fail_cleanly(void **state)
{
	_cleanup_(json_decrefp) json_t *json = json_pack("[s,i]", "abc", 7);

	(void)state;
	for (size_t limit = 0; limit < 20; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		char *text = json_text_write(json, arena);

		assert_int_equal(!text, limit < sizeof("[\"abc\",7]"));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_survive),
		cmocka_unit_test(integers_beyond_64_bits_become_reals),
		cmocka_unit_test(other_texts_are_refused),
		cmocka_unit_test(bare_nul_is_refused),
		cmocka_unit_test(size_is_kept),
		cmocka_unit_test(numbers_too_long_are_refused),
		cmocka_unit_test(depth_has_a_limit),
		cmocka_unit_test(values_have_a_limit),
		cmocka_unit_test(depth_stops_counting),
		cmocka_unit_test(pointers_escape_keys),
		cmocka_unit_test(pointers_have_a_limit),
		cmocka_unit_test(small_arenas_fail_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
