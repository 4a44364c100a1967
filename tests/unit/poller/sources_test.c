/* SPDX-License-Identifier: MIT */
#include "poller/sources.h"

#include "common/base/macro.h"
#include "common/flow/advance.h"
#include "tests/support/check.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static void what_advance_writes_is_read_again(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	const struct provider_event event = {
		.kind = JOB_RENDERED,
		.media = {
			{ .url = "https://a/0.mp4", .content_type = "video/mp4" },
			{ .base64 = "AAAA", .base64_bytes = 4 },
			{ .url = "gs://b/c" },
		},
		.media_count = 3,
	};
	const char *text = advance_media_source(&event, arena);
	struct sources sources;

	(void)state;
	assert_non_null(text);
	assert_int_equal(sources_read(text, arena, &sources, NULL), 0);
	assert_int_equal(sources.count, 3);
	assert_true(sources.has_inline);
	assert_string_equal(sources.source[0].url, "https://a/0.mp4");
	assert_string_equal(sources.source[0].content_type, "video/mp4");
	assert_null(sources.source[1].url);
	assert_int_equal(sources.source[1].inline_index, 1);
	assert_string_equal(sources.source[2].url, "gs://b/c");
	assert_null(sources.source[2].content_type);
}

static void nothing_to_fetch_is_fine(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct sources sources = { .count = 7 };

	(void)state;
	assert_int_equal(sources_read("[]", arena, &sources, NULL), 0);
	assert_int_equal(sources.count, 0);
	assert_false(sources.has_inline);
}

static void anything_else_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"null",
		"[1]",
		"[{}]",
		"[{\"url\": 5}]",
		"[{\"inline\": -1}]",
		"[{\"inline\": 16}]",
		"[{\"inline\": \"0\"}]",
		"[{\"url\": \"https://a\"}, {}]",
		"[{\"inline\":0},{\"inline\":0},{\"inline\":0},{\"inline\":0},"
		"{\"inline\":0},{\"inline\":0},{\"inline\":0},{\"inline\":0},"
		"{\"inline\":0},{\"inline\":0},{\"inline\":0},{\"inline\":0},"
		"{\"inline\":0},{\"inline\":0},{\"inline\":0},{\"inline\":0},"
		"{\"inline\":0}]",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct sources sources;
		struct fault fault = { "" };

		CHECK_NUMBER(texts[i],
			     sources_read(texts[i], arena, &sources, &fault),
			     -EBADMSG);
		assert_true(strlen(fault.text) > 0);
	}
}

static void a_small_arena_fails_cleanly(void **state)
{
	static const char text[] =
		"[{\"url\": \"https://a/b\", \"content_type\": \"video/mp4\"}]";
	struct sources sources;
	int r = -ENOMEM;

	(void)state;
	for (size_t limit = 0; r == -ENOMEM; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);

		assert_true(limit < 1000);
		r = sources_read(text, arena, &sources, NULL);
	}
	assert_int_equal(r, 0);
}

static void stored_files_are_written_in_order(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	static const struct stored stored[] = {
		{ "e/j/1/0.mp4", "https://c/e/j/1/0.mp4", "video/mp4",
		  INT64_C(5000000000), "aa" },
		{ "e/j/1/1.png", "https://c/e/j/1/1.png", "image/png", 1,
		  "bb" },
	};
	json_auto_t *want = json_loads(
		"[{\"index\": 0, \"key\": \"e/j/1/0.mp4\", \"url\": "
		"\"https://c/e/j/1/0.mp4\", \"content_type\": \"video/mp4\", "
		"\"bytes\": 5000000000, \"sha256\": \"aa\"}, {\"index\": 1, "
		"\"key\": \"e/j/1/1.png\", \"url\": \"https://c/e/j/1/1.png\", "
		"\"content_type\": \"image/png\", \"bytes\": 1, "
		"\"sha256\": \"bb\"}]",
		0, NULL);
	json_auto_t *got = NULL;
	const char *text;

	(void)state;
	text = sources_stored(stored, COUNT_OF(stored), arena);
	assert_non_null(text);
	got = json_loads(text, 0, NULL);
	assert_true(json_equal(got, want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_advance_writes_is_read_again),
		cmocka_unit_test(nothing_to_fetch_is_fine),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(a_small_arena_fails_cleanly),
		cmocka_unit_test(stored_files_are_written_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
