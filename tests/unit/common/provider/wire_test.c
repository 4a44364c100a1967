/* SPDX-License-Identifier: MIT */
#include "common/model/limits.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_BYTES = 8 * 1024 * 1024 };

static void messages(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{ "", "" },
		{ "plain words, 100% fine", "plain words, 100% fine" },
		{ "a\nb\tc\x7f"
		  "d\x01",
		  "a b c d " },
		{ "caf\xc3\xa9 \xf0\x9f\x8e\xac",
		  "caf\xc3\xa9 \xf0\x9f\x8e\xac" },
		{ "bad \xff\xc3( \xe2\x82 \xed\xa0\x80", "bad ?"
							 "?( ?"
							 "? ?"
							 "?"
							 "?" },
		{ "next\xc2\x85line, \xe2\x80\xaeturned",
		  "next line,  turned" },
		/* what says a character in another way than the shortest, half
		 * a pair, or none there is; beside each, one that is fine */
		{ "\xc0\xaf \xe0\x80\xaf \xe0\xa0\x80", "?? ??? \xe0\xa0\x80" },
		{ "\xed\xa0\x80 \xed\xbf\xbf \xed\x9f\xbf",
		  "??? ??? \xed\x9f\xbf" },
		{ "\xf0\x8f\xbf\xbf \xf0\x90\x80\x80",
		  "???? \xf0\x90\x80\x80" },
		{ "\xf4\x90\x80\x80 \xf4\x8f\xbf\xbf",
		  "???? \xf4\x8f\xbf\xbf" },
		{ "\xf5\x80\x80\x80 \xfe", "???? ?" },
		/* the last control character, and the first that is none */
		{ "a\xc2\x9f\xc2\xa0z", "a \xc2\xa0z" },
		/* the first and the last of each kind of mark that turns what
		 * follows, and what stands beside them */
		{ "a\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9z",
		  "a    z" },
		{ "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
		  "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa" },
		{ "cut\xe2\x80\xa6 \xe2\x82\xac",
		  "cut\xe2\x80\xa6 \xe2\x82\xac" },
		/* URLs: the origin says whose it is, the rest may be secret */
		{ "GET https://x.example/a/b?sig=1 failed",
		  "GET https://x.example/... failed" },
		{ "(https://x.example:8443)", "(https://x.example:8443)" },
		{ "http://user:pw@x.example/", "http://x.example/..." },
		{ "https://x.example\x1b[2J\x7f/a", "https://x.example/..." },
		{ "https://u:p\x01w@x.example\xe2\x80\xae",
		  "https://x.example/..." },
		{ "https://x.example?token=1", "https://x.example/..." },
		{ "https://x.example#t", "https://x.example/..." },
		{ "url=https://x.example/secret", "url=https://x.example/..." },
		{ "'https://x.example' and/or <https://y.example>/z",
		  "'https://x.example' and/or <https://y.example>/z" },
		{ "data:image/png;base64,AAAA rest", "data:... rest" },
		{ "data:text/plain,hello rest", "data:text/plain,hello rest" },
		/* credentials */
		{ "token r8_0123456789abcdef is bad", "token *** is bad" },
		{ "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "***" },
		{ "Authorization: Bearer abcdefghijklmnop",
		  "Authorization: Bearer ***" },
		{ "Key 0123456789abcdef0", "Key ***" },
		{ "Key error", "Key error" },
		{ "'ya29.c.b0Aaekm1K' expired", "'***' expired" },
		{ "5057fca7-2eb3-468f-b95d-cefe92b0b9d4:0123456789abcdef012345",
		  "***" },
		{ "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "***" },
		{ "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcd", "***" },
		{ "r8_short", "r8_short" },
		/* ids stay: they are what a reader needs */
		{ "5057fca7-2eb3-468f-b95d-cefe92b0b9d4:output",
		  "5057fca7-2eb3-468f-b95d-cefe92b0b9d4:output" },
		{ "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
		  "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF" },
		{ "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIjKlMnOpQr",
		  "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIjKlMnOpQr" },
		{ "job 5057fca7-2eb3-468f-b95d-cefe92b0b9d4",
		  "job 5057fca7-2eb3-468f-b95d-cefe92b0b9d4" },
		{ "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15"
		  "ccaa",
		  "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15"
		  "ccaa" },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_string_equal(wire_message(cases[i].text, arena),
				    cases[i].want);
}

/* Whatever the length, it ends between characters. */
static void messages_are_cut_between_characters(void **state)
{
	char text[LIMIT_ERROR_MESSAGE_BYTES * 2];

	(void)state;
	for (size_t ahead = 0; ahead < 8; ahead++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		const char *message;
		size_t length = ahead;
		json_t *string;

		memset(text, 'a', ahead);
		for (; length + 4 < sizeof(text); length += 4)
			memcpy(text + length, "\xf0\x9f\x8e\xac", 4);
		text[length] = '\0';
		message = wire_message(text, arena);
		assert_in_range(strlen(message), LIMIT_ERROR_MESSAGE_BYTES - 4,
				LIMIT_ERROR_MESSAGE_BYTES);
		assert_string_equal(message + strlen(message) - 3, "...");
		string = json_string(message); /* takes UTF-8 only */
		assert_non_null(string);
		json_decref(string);
	}
}

static void messages_fit_as_a_whole_or_with_dots(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	char text[LIMIT_ERROR_MESSAGE_BYTES + 2];

	(void)state;
	memset(text, '!', sizeof(text));
	text[LIMIT_ERROR_MESSAGE_BYTES] = '\0';
	assert_string_equal(wire_message(text, arena), text);
	text[LIMIT_ERROR_MESSAGE_BYTES] = '!';
	text[LIMIT_ERROR_MESSAGE_BYTES + 1] = '\0';
	assert_int_equal(strlen(wire_message(text, arena)),
			 LIMIT_ERROR_MESSAGE_BYTES);
	assert_string_equal(wire_message(text, arena) +
				    LIMIT_ERROR_MESSAGE_BYTES - 3,
			    "...");
}

/* The type in a data: URI is the sender's word like any other. */
static void media_types_are_words(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct provider_event event = wire_event(JOB_RENDERED);
	json_auto_t *output = json_loads(
		"[\"data:video/mp4\\u001b[2J;base64,AAAA\"]", 0, NULL);

	(void)state;
	wire_find_media(output, arena, &event);
	assert_int_equal(event.media_count, 1);
	assert_string_equal(event.media[0].content_type, "video/mp4 [2J");
	assert_int_equal(event.media[0].base64_bytes, 4);
}

static void names_and_paths(void **state)
{
	(void)state;
	assert_true(wire_is_path("owner/name", 2, 2));
	assert_true(wire_is_path("a/b/c", 2, 8));
	assert_true(wire_is_path("A1/b.c_d-e", 2, 2));
	assert_false(wire_is_path("owner", 2, 2));
	assert_false(wire_is_path("a/b/c", 2, 2));
	assert_false(wire_is_path("", 0, 2));
	assert_false(wire_is_path("a/", 1, 2));
	assert_false(wire_is_path("/a", 1, 2));
	assert_false(wire_is_path("a//b", 2, 3));
	assert_false(wire_is_path("a/..", 2, 2));
	assert_false(wire_is_path("a/.b", 2, 2));
	assert_false(wire_is_path("a/b..c", 2, 2));
	assert_false(wire_is_path("a/b?c", 2, 2));
	assert_false(wire_is_path("a/b#c", 2, 2));
	assert_false(wire_is_path("a/b%2e", 2, 2));
	assert_false(wire_is_path("a/b c", 2, 2));
	assert_false(wire_is_path("a/b\n", 2, 2));
	assert_false(wire_is_path("a/\xc3\xa9", 2, 2));
	assert_true(wire_is_id("aZ09_-", 6));
	assert_false(wire_is_id("aZ09_-", 5));
	assert_false(wire_is_id("", 5));
	assert_false(wire_is_id("a.b", 5));
	assert_false(wire_is_id("a/b", 5));
}

static void origins(void **state)
{
	static const struct {
		const char *url;
		bool want;
	} cases[] = {
		{ "https://api.example/v1/x", true },
		{ "https://API.example:443/other", true },
		{ "HTTPS://api.example", true },
		{ "http://api.example/v1", false },
		{ "https://api.example:444/v1", false },
		{ "https://api.example.evil/v1", false },
		{ "https://api.example@evil/v1", false },
		{ "https://evil/https://api.example/v1", false },
		{ "//api.example/v1", false },
		{ "/v1", false },
		{ "", false },
		{ "https://api.example\\@evil/v1", false },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		if (wire_same_origin(cases[i].url, "https://api.example/v1",
				     arena) != cases[i].want)
			fail_msg("%s", cases[i].url);
}

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t unix_ms; /* -1: not a time */
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2000-02-29T23:59:59.999Z", 951868799999 },
		{ "2025-11-24T16:00:00Z", 1764000000000 },
		{ "2025-11-24T16:00:00.1234567Z", 1764000000123 },
		{ "2025-11-24t16:00:00z", 1764000000000 },
		{ "2025-11-24 16:00:00", 1764000000000 },
		{ "2025-11-24T18:00:00+02:00", 1764000000000 },
		{ "2025-11-24T10:30:00-05:30", 1764000000000 },
		{ "2100-03-01T00:00:00Z", 4107542400000 },
		{ "", -1 },
		{ "2025-11-24", -1 },
		{ "2025-13-01T00:00:00Z", -1 },
		{ "2025-00-01T00:00:00Z", -1 },
		{ "2025-01-32T00:00:00Z", -1 },
		{ "2025-02-29T00:00:00Z", -1 },
		{ "2025-02-31T00:00:00Z", -1 },
		{ "2100-02-29T00:00:00Z", -1 },
		{ "2025-04-31T00:00:00Z", -1 },
		{ "2025-01-01T24:00:00Z", -1 },
		{ "2025-01-01T00:60:00Z", -1 },
		{ "2025-01-01T00:00:61Z", -1 },
		{ "2025-01-01T00:00:00.Z", -1 },
		{ "2025-01-01T00:00:00Zz", -1 },
		{ "2025-01-01T00:00:00+2:00", -1 },
		{ "2025-01-01T00:00:00+0200", -1 },
		{ "-025-01-01T00:00:00Z", -1 },
		{ "1969-12-31T23:59:59Z", -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t got = -1;
		bool good = wire_parse_time(cases[i].text, &got);

		if (good != (cases[i].unix_ms >= 0) || got != cases[i].unix_ms)
			fail_msg("%s: %lld", cases[i].text, (long long)got);
	}
}

/* Every day of four centuries, written and read back. */
static void times_survive_the_way_and_back(void **state)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(64 * 1024 * 1024);
	int64_t day_ms = INT64_C(24) * 60 * 60 * 1000;

	(void)state;
	assert_string_equal(wire_time(1764000000123, arena),
			    "2025-11-24T16:00:00.123Z");
	assert_string_equal(wire_time(-1, arena), "1970-01-01T00:00:00.000Z");
	for (int64_t day = 0; day < INT64_C(146097); day++) {
		int64_t want = day * day_ms + day % day_ms;
		int64_t got = -1;
		const char *text = wire_time(want, arena);

		assert_true(wire_parse_time(text, &got));
		assert_true(got == want);
	}
}

static void sameness(void **state)
{
	static const struct {
		const char *one, *other;
		bool want;
	} cases[] = {
		{ "{}", "{}", true },
		{ "{\"a\":5}", "{\"a\":5.0}", true },
		{ "{\"a\":5}", "{\"a\":5.5}", false },
		{ "{\"a\":5}", "{\"a\":\"5\"}", false },
		{ "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true },
		{ "{\"a\":1}", "{\"a\":1,\"b\":2}", false },
		{ "{\"a\":[1,2]}", "{\"a\":[2,1]}", false },
		{ "{\"a\":[1,2]}", "{\"a\":[1.0,2]}", true },
		{ "{\"a\":[1]}", "{\"a\":[1,2]}", false },
		{ "{\"a\":null}", "{\"b\":null}", false },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"c\"}}", true },
		{ "{\"a\":true}", "{\"a\":false}", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		json_auto_t *one = json_loads(cases[i].one, 0, NULL);
		json_auto_t *other = json_loads(cases[i].other, 0, NULL);

		assert_non_null(one);
		assert_non_null(other);
		if (wire_same(one, other) != cases[i].want)
			fail_msg("%s %s", cases[i].one, cases[i].other);
		assert_int_equal(wire_same(other, one), cases[i].want);
	}
}

/* The database takes neither NUL characters nor JSON without a bottom, and
 * nobody wants a video in it. */
static void output_is_fit_for_the_database(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	json_auto_t *value = json_loads(
		"{\"a\":\"x\\u0000y\",\"b\":\"data:x;base64,AA\",\"c\":0.1}",
		JSON_ALLOW_NUL, NULL);
	json_auto_t *deep = json_array();
	size_t depth = 0;

	(void)state;
	assert_string_equal(wire_output(value, arena),
			    "{\"a\":\"xy\",\"b\":null,\"c\":0.1}");

	for (int i = 0; i < LIMIT_JSON_DEPTH + 10; i++) {
		json_t *outer = json_pack("[o]", deep);

		deep = outer;
	}
	for (const char *c = wire_output(deep, arena); *c == '['; c++)
		depth++;
	assert_int_equal(depth, LIMIT_JSON_DEPTH);
}

static void output_has_a_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	char *text = malloc(LIMIT_OUTPUT_BYTES + 1);
	json_t *value;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', LIMIT_OUTPUT_BYTES);
	text[LIMIT_OUTPUT_BYTES] = '\0';
	value = json_string(text);
	assert_null(wire_output(value, arena));
	assert_false(arena_failed(arena));
	json_decref(value);
	text[LIMIT_OUTPUT_BYTES - 2] = '\0';
	value = json_string(text);
	assert_non_null(wire_output(value, arena));
	json_decref(value);
	free(text);
}

static void numbers_beyond_64_bits_do_not_spoil_an_answer(void **state)
{
	static const char text[] =
		"{\"seed\":15860307465884635512,\"width\":1024}";
	json_auto_t *value = NULL;

	(void)state;
	assert_int_equal(wire_parse(text, strlen(text), &value), 0);
	assert_true(json_is_real(json_object_get(value, "seed")));
	assert_true(json_is_integer(json_object_get(value, "width")));
}

static void credentials_that_no_header_may_hold(void **state)
{
	static const char *const bad[] = {
		"", "a b", "a\r\nb", "a\n", "\x7f", "caf\xc3\xa9", NULL,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct http_request request = { .header_count = 0 };
		struct fault fault = { "" };

		assert_int_equal(wire_authorize(&request, "Bearer", bad[i],
						arena, &fault),
				 -EINVAL);
		assert_int_equal(request.header_count, 0);
		if (bad[i] && bad[i][0])
			assert_null(strstr(fault.text, bad[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(messages_are_cut_between_characters),
		cmocka_unit_test(messages_fit_as_a_whole_or_with_dots),
		cmocka_unit_test(media_types_are_words),
		cmocka_unit_test(names_and_paths),
		cmocka_unit_test(origins),
		cmocka_unit_test(times),
		cmocka_unit_test(times_survive_the_way_and_back),
		cmocka_unit_test(sameness),
		cmocka_unit_test(output_is_fit_for_the_database),
		cmocka_unit_test(output_has_a_limit),
		cmocka_unit_test(numbers_beyond_64_bits_do_not_spoil_an_answer),
		cmocka_unit_test(credentials_that_no_header_may_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
