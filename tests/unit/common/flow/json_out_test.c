/* SPDX-License-Identifier: MIT */
#include "common/flow/json_out.h"

#include "tests/support/check.h"

#include <jansson.h>
#include <math.h>

static void it_writes_what_was_said(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct json_out out = json_out_init(arena);
	size_t bytes;

	(void)state;
	json_out_open(&out, '{');
	json_out_member(&out, "a", "x");
	json_out_member(&out, "b", NULL);
	json_out_key(&out, "c");
	json_out_open(&out, '[');
	json_out_int(&out, -1);
	json_out_bool(&out, true);
	json_out_open(&out, '{');
	json_out_close(&out, '}');
	json_out_number(&out, 0.35);
	json_out_number(&out, INFINITY);
	json_out_values(&out, "1,2", 3);
	json_out_values(&out, "", 0);
	json_out_close(&out, ']');
	json_out_key(&out, "d");
	json_out_raw(&out, "{\"e\": []}");
	json_out_member_time(&out, "t", INT64_C(1790000000123));
	json_out_member_time(&out, "never", 0);
	json_out_member_time(&out, "last", INT64_C(253402300799999));
	json_out_member_time(&out, "too late", INT64_C(253402300800000));
	json_out_member_time(&out, "no year", INT64_MAX);
	json_out_close(&out, '}');
	CHECK_TEXT("all", json_out_end(&out, &bytes),
		   "{\"a\":\"x\",\"b\":null,\"c\":[-1,true,{},0.35,null,1,2],"
		   "\"d\":{\"e\": []},\"t\":\"2026-09-21T14:13:20.123Z\","
		   "\"never\":null,\"last\":\"9999-12-31T23:59:59.999Z\","
		   "\"too late\":null,\"no year\":null}");
	CHECK_NUMBER("bytes", bytes, strlen(out.text));
}

static void every_string_comes_back(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct json_out out = json_out_init(arena);
	char text[256 + 8];
	size_t length = 0;
	json_t *read;

	(void)state;
	for (int c = 1; c < 128; c++)
		text[length++] = (char)c;
	memcpy(text + length, "\xc3\xa9\xf0\x9f\x8e\xac", 7);
	json_out_open(&out, '[');
	json_out_string(&out, text);
	json_out_string(&out, "");
	json_out_close(&out, ']');
	read = json_loads(json_out_end(&out, NULL), 0, NULL);
	assert_non_null(read);
	CHECK_TEXT("text", json_string_value(json_array_get(read, 0)), text);
	CHECK_TEXT("empty", json_string_value(json_array_get(read, 1)), "");
	json_decref(read);
}

static void it_grows_to_the_arenas_limit_and_no_further(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 20000; limit += 500) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		struct json_out out = json_out_init(arena);
		const char *text;
		size_t bytes = 0;

		json_out_open(&out, '[');
		for (int i = 0; i < 1000; i++)
			json_out_string(&out, "abc");
		json_out_close(&out, ']');
		text = json_out_end(&out, &bytes);
		CHECK("all or nothing", !text || bytes == 2 + 1000 * 6 - 1);
	}
}

static void room_that_was_guessed_is_only_a_guess(void **state)
{
	(void)state;
	for (size_t guess = 0; guess < 40; guess++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct json_out out = json_out_init(arena);

		json_out_reserve(&out, guess);
		json_out_string(&out, "eighteen characters");
		CHECK_TEXT("text", json_out_end(&out, NULL),
			   "\"eighteen characters\"");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_writes_what_was_said),
		cmocka_unit_test(every_string_comes_back),
		cmocka_unit_test(it_grows_to_the_arenas_limit_and_no_further),
		cmocka_unit_test(room_that_was_guessed_is_only_a_guess),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
