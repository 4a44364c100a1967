/* SPDX-License-Identifier: MIT */
#include "poller/outputs.h"

#include "common/base/macro.h"
#include "common/model/template.h"
#include "tests/support/check.h"

#include <errno.h>
#include <string.h>

static const char two_files[] =
	"[{\"url\": \"https://cdn/e/j/1/0.png\", \"key\": \"e/j/1/0.png\","
	"  \"content_type\": \"image/png\", \"bytes\": 7, \"sha256\": \"ab\"},"
	" {\"url\": \"https://cdn/e/j/1/1.png\", \"key\": \"e/j/1/1.png\","
	"  \"content_type\": \"image/jpeg\", \"bytes\": 8, \"sha256\": "
	"\"cd\"}]";

/* The outputs object as text, in a buffer of the test's. */
static void check_outputs(const struct outputs *outputs, const char *want)
{
	json_auto_t *wanted = json_loads(want, 0, NULL);

	assert_non_null(wanted);
	if (!json_equal(outputs->outputs, wanted)) {
		char *text = json_dumps(outputs->outputs, JSON_COMPACT);

		fail_msg("outputs are %s", text);
	}
}

static void a_result_has_the_shape_of_the_api(void **state)
{
	const struct upstream upstream = {
		.name = "still",
		.completed = true,
		.output = "{\"seed\": 5}",
		.media = two_files,
	};
	struct outputs outputs;

	(void)state;
	assert_int_equal(outputs_init(&outputs, NULL, NULL), 0);
	assert_int_equal(outputs_add(&outputs, &upstream, NULL), 0);
	check_outputs(
		&outputs,
		"{\"still\": {\"url\": \"https://cdn/e/j/1/0.png\", \"urls\": "
		"[\"https://cdn/e/j/1/0.png\", \"https://cdn/e/j/1/1.png\"], "
		"\"media\": [{\"url\": \"https://cdn/e/j/1/0.png\", "
		"\"content_type\": \"image/png\", \"bytes\": 7, "
		"\"sha256\": \"ab\"}, {\"url\": \"https://cdn/e/j/1/1.png\", "
		"\"content_type\": \"image/jpeg\", \"bytes\": 8, "
		"\"sha256\": \"cd\"}], \"raw\": {\"seed\": 5}}}");
	outputs_done(&outputs);
}

static void a_result_without_files_has_no_url(void **state)
{
	const struct upstream upstream = {
		.name = "text",
		.completed = true,
		.media = "[]",
	};
	struct outputs outputs;

	(void)state;
	assert_int_equal(outputs_init(&outputs, NULL, NULL), 0);
	assert_int_equal(outputs_add(&outputs, &upstream, NULL), 0);
	check_outputs(&outputs, "{\"text\": {\"url\": null, \"urls\": [], "
				"\"media\": [], \"raw\": null}}");
	outputs_done(&outputs);
}

/* As PostgreSQL gives a seed beyond 64 bits back. */
static void numbers_beyond_64_bits_do_not_spoil_a_result(void **state)
{
	const struct upstream upstream = {
		.name = "still",
		.completed = true,
		.output = "{\"seed\": 15860307465884636000}",
		.media = "[]",
	};
	struct outputs outputs;

	(void)state;
	assert_int_equal(outputs_init(&outputs,
				      "{\"other\": {\"seed\": "
				      "100000000000000000000}}",
				      NULL),
			 0);
	assert_int_equal(outputs_add(&outputs, &upstream, NULL), 0);
	check_outputs(&outputs, "{\"still\": {\"url\": null, \"urls\": [], "
				"\"media\": [], \"raw\": "
				"{\"seed\": 15860307465884636000.0}}}");
	outputs_done(&outputs);
}

static void defaults_stand_in_for_what_did_not_complete(void **state)
{
	static const struct upstream upstreams[] = {
		{ .name = "one", .media = "[]" },
		{ .name = "two", .media = "[]" },
		{ .name = "three", .completed = true, .media = "[]" },
	};
	struct outputs outputs;

	(void)state;
	assert_int_equal(
		outputs_init(&outputs,
			     "{\"one\": {\"url\": \"https://a/b\"}, "
			     "\"three\": {\"url\": \"https://not/used\"}}",
			     NULL),
		0);
	for (size_t i = 0; i < COUNT_OF(upstreams); i++)
		assert_int_equal(outputs_add(&outputs, &upstreams[i], NULL), 0);
	check_outputs(&outputs, "{\"one\": {\"url\": \"https://a/b\"}, "
				"\"three\": {\"url\": null, \"urls\": [], "
				"\"media\": [], \"raw\": null}}");
	outputs_done(&outputs);
}

static void files_are_found_by_name_and_index(void **state)
{
	const struct upstream upstream = {
		.name = "still",
		.completed = true,
		.media = two_files,
	};
	struct outputs outputs;
	struct outputs_file file = { 0 };

	(void)state;
	assert_int_equal(outputs_init(&outputs, NULL, NULL), 0);
	assert_int_equal(outputs_add(&outputs, &upstream, NULL), 0);
	assert_true(outputs_find_file(&outputs, "still", 1, &file));
	assert_string_equal(file.key, "e/j/1/1.png");
	assert_string_equal(file.content_type, "image/jpeg");
	assert_false(outputs_find_file(&outputs, "still", 2, &file));
	assert_false(outputs_find_file(&outputs, "other", 0, &file));
	outputs_done(&outputs);
}

/* Through the template, as a job of a provider that wants bytes. */
static void bytes_take_the_place_of_media(void **state)
{
	const struct upstream upstream = {
		.name = "still",
		.completed = true,
		.media = two_files,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	json_auto_t *input = json_loads(
		"{\"a\": {\"$media\": \"still\", \"index\": 1}}", 0, NULL);
	json_auto_t *want = json_loads(
		"{\"a\": {\"bytesBase64Encoded\": \"AAAA\", \"mimeType\": "
		"\"image/jpeg\"}}",
		0, NULL);
	json_auto_t *resolved = NULL;
	struct template_values values = { .bytes_most = 1000 };
	struct outputs outputs;

	(void)state;
	assert_int_equal(outputs_init(&outputs, NULL, NULL), 0);
	assert_int_equal(outputs_add(&outputs, &upstream, NULL), 0);
	assert_int_equal(
		outputs_set_bytes(&outputs, "still", 1, "AAAA", "image/jpeg"),
		0);
	values.outputs = outputs.outputs;
	values.media = outputs.media;
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL), 0);
	assert_true(json_equal(resolved, want));
	outputs_done(&outputs);
}

static void what_is_not_json_is_refused(void **state)
{
	static const struct upstream upstreams[] = {
		{ .name = "a", .completed = true, .media = "{}" },
		{ .name = "a", .completed = true, .media = "" },
		{ .name = "a",
		  .completed = true,
		  .output = "{",
		  .media = "[]" },
	};
	struct outputs outputs;
	struct fault fault;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(upstreams); i++) {
		fault.text[0] = '\0';
		assert_int_equal(outputs_init(&outputs, NULL, NULL), 0);
		assert_int_equal(outputs_add(&outputs, &upstreams[i], &fault),
				 -EBADMSG);
		assert_true(strlen(fault.text) > 0);
		outputs_done(&outputs);
	}
	assert_int_equal(outputs_init(&outputs, "[1]", &fault), -EBADMSG);
	outputs_done(&outputs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_result_has_the_shape_of_the_api),
		cmocka_unit_test(a_result_without_files_has_no_url),
		cmocka_unit_test(numbers_beyond_64_bits_do_not_spoil_a_result),
		cmocka_unit_test(defaults_stand_in_for_what_did_not_complete),
		cmocka_unit_test(files_are_found_by_name_and_index),
		cmocka_unit_test(bytes_take_the_place_of_media),
		cmocka_unit_test(what_is_not_json_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
