/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"

#include "tests/support/check.h"

static void numbers_are_strict(void **state)
{
	static const struct {
		const char *text;
		int64_t least, most;
		bool want;
		int64_t value;
	} cases[] = {
		{ "0", 0, 9, true, 0 },
		{ "9", 0, 9, true, 9 },
		{ "-5", -9, 9, true, -5 },
		{ "9223372036854775807", 0, INT64_MAX, true, INT64_MAX },
		{ "-9223372036854775808", INT64_MIN, 0, true, INT64_MIN },
		{ "10", 0, 9, false, 0 },
		{ "-1", 0, 9, false, 0 },
		{ "9223372036854775808", INT64_MIN, INT64_MAX, false, 0 },
		{ "-9223372036854775809", INT64_MIN, INT64_MAX, false, 0 },
		{ "99999999999999999999999", INT64_MIN, INT64_MAX, false, 0 },
		{ "", INT64_MIN, INT64_MAX, false, 0 },
		{ "-", INT64_MIN, INT64_MAX, false, 0 },
		{ "+1", INT64_MIN, INT64_MAX, false, 0 },
		{ "--1", INT64_MIN, INT64_MAX, false, 0 },
		{ "-0", INT64_MIN, INT64_MAX, false, 0 },
		{ "00", INT64_MIN, INT64_MAX, false, 0 },
		{ "007", INT64_MIN, INT64_MAX, false, 0 },
		{ "-07", INT64_MIN, INT64_MAX, false, 0 },
		{ " 1", INT64_MIN, INT64_MAX, false, 0 },
		{ "1 ", INT64_MIN, INT64_MAX, false, 0 },
		{ "1\n", INT64_MIN, INT64_MAX, false, 0 },
		{ "1.0", INT64_MIN, INT64_MAX, false, 0 },
		{ "1e3", INT64_MIN, INT64_MAX, false, 0 },
		{ "0x1", INT64_MIN, INT64_MAX, false, 0 },
		{ "\xd9\xa1", INT64_MIN, INT64_MAX, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t value = 4711;

		CHECK(cases[i].text,
		      text_to_int64(cases[i].text, cases[i].least,
				    cases[i].most, &value) == cases[i].want);
		CHECK_NUMBER(cases[i].text, value,
			     cases[i].want ? cases[i].value : 4711);
	}
}

static void prefixes(void **state)
{
	(void)state;
	assert_true(text_starts_with("whsec_x", "whsec_"));
	assert_true(text_starts_with("x", ""));
	assert_true(text_starts_with("", ""));
	assert_false(text_starts_with("whsec", "whsec_"));
	assert_false(text_starts_with("", "w"));
	assert_false(text_starts_with("Whsec_", "whsec_"));
}

static void hex_goes_both_ways(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x1f, 0xa0, 0xff };
	_cleanup_(arena_freep) struct arena *arena = arena_new(100);
	uint8_t back[4];

	(void)state;
	assert_string_equal(text_to_hex(bytes, 4, arena), "001fa0ff");
	assert_string_equal(text_to_hex(bytes, 0, arena), "");
	assert_true(text_from_hex("001fa0ff", back, 4));
	assert_memory_equal(back, bytes, 4);
	assert_true(text_from_hex("001FA0fF", back, 4));
	assert_memory_equal(back, bytes, 4);
}

static void other_hex_is_refused_and_leaves_no_trace(void **state)
{
	static const char *const wrong[] = {
		"",	    "001fa0f",	"001fa0ff0", "001fa0ff00", "001fa0fg",
		"0x1fa0ff", "001fa0f ", " 01fa0ff",  "001f:0ff",   "-01fa0ff",
	};
	uint8_t back[4] = { 1, 2, 3, 4 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		CHECK(wrong[i], !text_from_hex(wrong[i], back, 4));
		CHECK(wrong[i], memcmp(back, "\1\2\3\4", 4) == 0);
	}
}

/* RFC 4648, 10, and its URL form. */
static const struct {
	const char *bytes;
	const char *padded;
	const char *url;
} base64_cases[] = {
	{ "", "", "" },
	{ "f", "Zg==", "Zg" },
	{ "fo", "Zm8=", "Zm8" },
	{ "foo", "Zm9v", "Zm9v" },
	{ "foob", "Zm9vYg==", "Zm9vYg" },
	{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
	{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
	{ "\xfb\xff\xfe", "+//+", "-__-" },
};

static void base64_goes_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(base64_cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		const char *bytes = base64_cases[i].bytes;
		size_t length = strlen(bytes), size = 4711;
		uint8_t *back;

		CHECK_TEXT(bytes,
			   text_to_base64(bytes, length, TEXT_BASE64, arena),
			   base64_cases[i].padded);
		CHECK_TEXT(
			bytes,
			text_to_base64(bytes, length, TEXT_BASE64_URL, arena),
			base64_cases[i].url);
		back = text_from_base64(base64_cases[i].padded,
					strlen(base64_cases[i].padded),
					TEXT_BASE64, arena, &size);
		CHECK(bytes,
		      back && size == length && memcmp(back, bytes, size) == 0);
		back = text_from_base64(base64_cases[i].url,
					strlen(base64_cases[i].url),
					TEXT_BASE64_URL, arena, &size);
		CHECK(bytes,
		      back && size == length && memcmp(back, bytes, size) == 0);
	}
}

static void one_value_has_one_base64(void **state)
{
	static const struct {
		const char *text;
		enum text_base64 kind;
	} wrong[] = {
		{ "Zg", TEXT_BASE64 },		{ "Zg=", TEXT_BASE64 },
		{ "Zg===", TEXT_BASE64 },	{ "Zh==", TEXT_BASE64 },
		{ "Zm9=", TEXT_BASE64 },	{ "Z===", TEXT_BASE64 },
		{ "====", TEXT_BASE64 },	{ "=", TEXT_BASE64 },
		{ "Zg==Zg==", TEXT_BASE64 },	{ "Zm 9", TEXT_BASE64 },
		{ "Zm9v\n", TEXT_BASE64 },	{ "-__-", TEXT_BASE64 },
		{ "Zm9\xc3", TEXT_BASE64 },	{ "Zg==", TEXT_BASE64_URL },
		{ "Zh", TEXT_BASE64_URL },	{ "Z", TEXT_BASE64_URL },
		{ "Zm9vZ", TEXT_BASE64_URL },	{ "+//+", TEXT_BASE64_URL },
		{ "Zm9vYmF", TEXT_BASE64_URL }, { "Zm.v", TEXT_BASE64_URL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		size_t size = 4711;

		CHECK(wrong[i].text,
		      !text_from_base64(wrong[i].text, strlen(wrong[i].text),
					wrong[i].kind, arena, &size));
		CHECK_NUMBER(wrong[i].text, size, 4711);
		CHECK(wrong[i].text, !arena_failed(arena));
	}
}

static void loose_base64_is_what_people_paste(void **state)
{
	static const struct {
		const char *text, *bytes; /* NULL: refused all the same */
	} cases[] = {
		{ "Zm9v", "foo" },	{ "Zm9vYg==", "foob" },
		{ "Zm9vYg", "foob" },	{ "Zm9vYg=", "foob" },
		{ "Zm9vYh", "foob" },	{ "Zm9vYmF=", "fooba" },
		{ "Zm9vYmF", "fooba" }, { "", "" },
		{ "Zm9vY", NULL },	{ "Zm 9", NULL },
		{ "-_", NULL },		{ "====", NULL },
		{ "Zg==Zg==", NULL },	{ "Zm9v\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		size_t size = 4711;
		const uint8_t *bytes =
			text_from_base64(cases[i].text, strlen(cases[i].text),
					 TEXT_BASE64_LOOSE, arena, &size);

		CHECK(cases[i].text,
		      (bytes != NULL) == (cases[i].bytes != NULL));
		if (!bytes)
			continue;
		CHECK_NUMBER(cases[i].text, size, strlen(cases[i].bytes));
		CHECK(cases[i].text, memcmp(bytes, cases[i].bytes, size) == 0);
	}
}

static void every_byte_survives_base64(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	uint8_t bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(255 - i);
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		char *text = text_to_base64(bytes, size, TEXT_BASE64, arena);
		size_t back_size;
		uint8_t *back = text_from_base64(
			text, strlen(text), TEXT_BASE64, arena, &back_size);

		assert_non_null(back);
		assert_int_equal(back_size, size);
		assert_memory_equal(back, bytes, size);
	}
}

static void percent_encoding(void **state)
{
	static const struct {
		const char *text;
		bool keep_slash;
		const char *want;
	} cases[] = {
		{ "", false, "" },
		{ "aZ09-._~", false, "aZ09-._~" },
		{ "a/b", true, "a/b" },
		{ "a/b", false, "a%2Fb" },
		{ "a b+c", false, "a%20b%2Bc" },
		{ "%41", false, "%2541" },
		{ "?#&=:@!$'()*,;", true,
		  "%3F%23%26%3D%3A%40%21%24%27%28%29%2A%2C%3B" },
		{ "\xc3\xbc\x7f\x01", false, "%C3%BC%7F%01" },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_TEXT(cases[i].text,
			   text_to_percent(cases[i].text, cases[i].keep_slash,
					   arena),
			   cases[i].want);
}

static void uuids(void **state)
{
	static const char *const wrong[] = {
		"",
		"017f22e2",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
		"017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
		"017f22e2079b0-7cc3-98c4-dc0c0c07398f",
		"017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
		"{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398 ",
		"../../../../../../../../../../../../",
	};

	(void)state;
	assert_true(text_is_uuid("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
	assert_true(text_is_uuid("00000000-0000-0000-0000-000000000000"));
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		CHECK(wrong[i], !text_is_uuid(wrong[i]));
}

/* Every arena limit from 0 up: all or nothing. */
static void full_arenas_give_null(void **state)
{
	static const uint8_t bytes[10] = { 0 };

	(void)state;
	for (size_t limit = 0; limit < 40; limit++) {
		_cleanup_(arena_freep) struct arena *hex = arena_new(limit);
		_cleanup_(arena_freep) struct arena *to = arena_new(limit);
		_cleanup_(arena_freep) struct arena *from = arena_new(limit);
		_cleanup_(arena_freep) struct arena *percent = arena_new(limit);
		size_t size = 4711;

		assert_int_equal(!text_to_hex(bytes, 10, hex), limit < 21);
		assert_int_equal(!text_to_base64(bytes, 10, TEXT_BASE64, to),
				 limit < 17);
		assert_int_equal(!text_from_base64("AAAAAAAAAAAAAA==", 16,
						   TEXT_BASE64, from, &size),
				 limit < 12);
		assert_int_equal(size, limit < 12 ? 4711 : 10);
		assert_int_equal(!text_to_percent("%%%%", false, percent),
				 limit < 13);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(hex_goes_both_ways),
		cmocka_unit_test(other_hex_is_refused_and_leaves_no_trace),
		cmocka_unit_test(base64_goes_both_ways),
		cmocka_unit_test(one_value_has_one_base64),
		cmocka_unit_test(loose_base64_is_what_people_paste),
		cmocka_unit_test(every_byte_survives_base64),
		cmocka_unit_test(percent_encoding),
		cmocka_unit_test(uuids),
		cmocka_unit_test(full_arenas_give_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
