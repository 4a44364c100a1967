/* SPDX-License-Identifier: MIT */
#include "common/model/template.h"

#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "tests/support/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The test's own constants are always right. */
static json_t *parse(const char *text)
{
	json_t *json = NULL;
	struct fault fault = { "" };

	if (json_text_read(text, strlen(text), &json, &fault) < 0)
		fail_msg("%s: %s", text, fault.text);
	return json;
}

static const char outputs_text[] =
	"{\"still\": {"
	"  \"url\": \"https://cdn.example/still.png\","
	"  \"urls\": [\"https://cdn.example/still.png\","
	"             \"https://cdn.example/two.png\"],"
	"  \"media\": [{\"url\": \"https://cdn.example/still.png\","
	"               \"bytes\": 1024},"
	"              {\"url\": \"https://cdn.example/two.png\"}],"
	"  \"raw\": {\"seed\": 42, \"ratio\": 0.1, \"ok\": true,"
	"    \"nothing\": null, \"empty\": \"\", \"0\": \"zero\","
	"    \"$${trap}\": 1, \"text\": \"${still.output.url} $${\","
	"    \"deep\": [[{\"x-y_z\": \"found\"}]], \"\\u00fc@:/\": 5}"
	" },"
	" \"no-files\": {\"raw\": {}},"
	" \"bare\": {\"url\": \"https://default.example/a.mp4\"},"
	" \"listed\": {\"urls\": [\"https://a/0\", \"https://a/1\"]},"
	" \"odd\": {\"url\": null, \"media\": [{\"url\": 7}, {}],"
	"           \"urls\": [\"\"]}}";

static void references_are_replaced(void **state)
{
	static const struct {
		const char *input, *want;
	} cases[] = {
		{ "{}", "{}" },
		{ "[\"a\",1,0.5,true,null,{}]", "[\"a\",1,0.5,true,null,{}]" },
		{ "{\"a\":\"$\",\"b\":\"$$\",\"c\":\"$x\",\"d\":\"{}\"}",
		  "{\"a\":\"$\",\"b\":\"$$\",\"c\":\"$x\",\"d\":\"{}\"}" },

		/* alone in a string: the value itself */
		{ "[\"${still.output.url}\"]",
		  "[\"https://cdn.example/still.png\"]" },
		{ "[\"${still.output.raw.seed}\"]", "[42]" },
		{ "[\"${still.output.raw.ok}\"]", "[true]" },
		{ "[\"${still.output.raw.nothing}\"]", "[null]" },
		{ "[\"${still.output.raw.empty}\"]", "[\"\"]" },
		{ "[\"${no-files.output}\"]", "[{\"raw\":{}}]" },
		{ "[\"${no-files.output.raw}\"]", "[{}]" },
		{ "[\"${still.output.urls[1]}\"]",
		  "[\"https://cdn.example/two.png\"]" },
		{ "[\"${still.output.urls.1}\"]",
		  "[\"https://cdn.example/two.png\"]" },
		{ "[\"${still.output.raw.0}\"]", "[\"zero\"]" },
		{ "[\"${still.output.raw.deep[0][0].x-y_z}\"]", "[\"found\"]" },
		{ "[\"${still.output.raw.deep.0.0.x-y_z}\"]", "[\"found\"]" },
		{ "[\"${still.output.raw.\\u00fc@:/}\"]", "[5]" },

		/* within text: as text */
		{ "[\"see ${still.output.url}.\"]",
		  "[\"see https://cdn.example/still.png.\"]" },
		{ "[\"${still.output.raw.seed}${still.output.raw.seed}\"]",
		  "[\"4242\"]" },
		{ "[\" ${still.output.raw.ratio} ${still.output.raw.ok}\"]",
		  "[\" 0.1 true\"]" },
		{ "[\"a${still.output.raw.empty}b\"]", "[\"ab\"]" },
		{ "[\"${still.output.raw.empty}${still.output.raw.empty}\"]",
		  "[\"\"]" },
		{ "[\"${still.output.raw.empty}x\"]", "[\"x\"]" },
		{ "[\"=${still.output.raw.deep}\"]",
		  "[\"=[[{\\\"x-y_z\\\":\\\"found\\\"}]]\"]" },
		{ "[\"${still.output.raw.seed} \"]", "[\"42 \"]" },

		/* escapes; what is put in is not looked at again */
		{ "[\"$${still.output.url}\"]", "[\"${still.output.url}\"]" },
		{ "[\"$$${a}\"]", "[\"$${a}\"]" },
		{ "[\"$${\"]", "[\"${\"]" },
		{ "[\"a$${b ${still.output.raw.seed}\"]", "[\"a${b 42\"]" },
		{ "[\"${still.output.raw.text}\"]",
		  "[\"${still.output.url} $${\"]" },
		{ "[\"-${still.output.raw.text}\"]",
		  "[\"-${still.output.url} $${\"]" },
		{ "{\"${still.output.url}\":1}",
		  "{\"${still.output.url}\":1}" },

		/* files */
		{ "{\"image\":{\"$media\":\"still\"}}",
		  "{\"image\":\"https://cdn.example/still.png\"}" },
		{ "{\"image\":{\"$media\":\"still\",\"index\":1}}",
		  "{\"image\":\"https://cdn.example/two.png\"}" },
		{ "[{\"$media\":\"bare\"}]",
		  "[\"https://default.example/a.mp4\"]" },
		{ "[{\"$media\":\"listed\",\"index\":1}]",
		  "[\"https://a/1\"]" },
	};
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	const struct template_values values = {
		.outputs = outputs,
		.bytes_most = 10000,
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		_cleanup_(json_decrefp) json_t *input = parse(cases[i].input);
		_cleanup_(json_decrefp) json_t *resolved = NULL;
		struct fault fault = { "untouched" };
		char *before = json_text_write(input, arena);

		CHECK_NUMBER(cases[i].input,
			     template_resolve(input, &values, arena, &resolved,
					      &fault),
			     0);
		CHECK_TEXT(cases[i].input, json_text_write(resolved, arena),
			   cases[i].want);
		CHECK_TEXT(cases[i].input, fault.text, "untouched");
		CHECK_TEXT(cases[i].input, json_text_write(input, arena),
			   before);
	}
}

static void what_is_not_there_is_missing(void **state)
{
	static const struct {
		const char *input, *words;
	} cases[] = {
		{ "[\"${ghost.output.url}\"]", "${ghost.output.url}" },
		{ "[\"${ghost.output}\"]", "${ghost.output}" },
		{ "[\"${Still.output.url}\"]", "${Still.output.url}" },
		{ "[\"x ${no-files.output.url}\"]", "${no-files.output.url}" },
		{ "[\"${no-files.output.url}\"]", "${no-files.output.url}" },
		{ "[\"${still.output.urls[2]}\"]", "urls[2]" },
		{ "[\"${still.output.urls.2}\"]", "urls.2" },
		{ "[\"${still.output.urls.first}\"]", "urls.first" },
		{ "[\"${still.output.urls.00}\"]", "urls.00" },
		{ "[\"${still.output.raw[0]}\"]", "raw[0]" },
		{ "[\"${still.output.url.0}\"]", "url.0" },
		{ "[\"${still.output.url[0]}\"]", "url[0]" },
		{ "[\"${still.output.raw.seed.x}\"]", "seed.x" },
		{ "[\"${still.output.raw.nothing.x}\"]", "nothing.x" },
		{ "[\"a ${still.output.raw.nothing}\"]", "nothing" },
		{ "[{\"$media\":\"ghost\"}]", "ghost" },
		{ "[{\"$media\":\"no-files\"}]", "no-files" },
		{ "[{\"$media\":\"still\",\"index\":2}]", "index 2" },
		{ "[{\"$media\":\"bare\",\"index\":1}]", "index 1" },
		{ "[{\"$media\":\"odd\"}]", "odd" },
		{ "[{\"$media\":\"odd\",\"index\":1}]", "odd" },
	};
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	const struct template_values values = {
		.outputs = outputs,
		.bytes_most = 10000,
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		_cleanup_(json_decrefp) json_t *input = parse(cases[i].input);
		json_t *resolved = NULL;
		struct fault fault = { "" };

		CHECK_NUMBER(cases[i].input,
			     template_resolve(input, &values, arena, &resolved,
					      &fault),
			     TEMPLATE_E_REFERENCE_MISSING);
		CHECK(cases[i].input, !resolved);
		CHECK(cases[i].input, strstr(fault.text, cases[i].words));
	}
}

/* Where the provider takes bytes, a URL must not slip through. */
static void files_can_be_bytes(void **state)
{
	static const struct {
		const char *input, *want;
	} cases[] = {
		{ "[{\"$media\":\"still\"}]",
		  "[{\"bytesBase64Encoded\":\"AAAA\"}]" },
		{ "[{\"$media\":\"bare\"}]",
		  "[\"https://default.example/a.mp4\"]" },
		{ "[{\"$media\":\"still\",\"index\":1}]", NULL },
		{ "[{\"$media\":\"still\",\"index\":2}]", NULL },
		{ "[{\"$media\":\"listed\"}]", NULL },
	};
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	_cleanup_(json_decrefp) json_t *media =
		parse("{\"still\":[{\"bytesBase64Encoded\":\"AAAA\"},null],"
		      "\"listed\":[]}");
	const struct template_values values = {
		.outputs = outputs,
		.media = media,
		.bytes_most = 10000,
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		_cleanup_(json_decrefp) json_t *input = parse(cases[i].input);
		_cleanup_(json_decrefp) json_t *resolved = NULL;

		CHECK_NUMBER(cases[i].input,
			     template_resolve(input, &values, arena, &resolved,
					      NULL),
			     cases[i].want ? 0 : TEMPLATE_E_REFERENCE_MISSING);
		if (cases[i].want)
			CHECK_TEXT(cases[i].input,
				   json_text_write(resolved, arena),
				   cases[i].want);
	}
}

static void references_are_found(void **state)
{
	static const struct {
		const char *input;
		const char *want; /* "job@where", "job#index@where" */
	} cases[] = {
		{ "{}", "" },
		{ "[\"$${a.output.url}\", \"$\", 5, \"{\"]", "" },
		{ "{\"${a.output.url}\": 1}", "" },
		{ "{\"p\": \"${a.output.url}\"}", "a@/p " },
		{ "{\"p\": \"${a.output} ${b.output[0]}\"}", "a@/p b@/p " },
		{ "[[\"${a.output.x}\"], \"${a.output.x}\"]", "a@/0/0 a@/1 " },
		{ "{\"a/b~\": {\"\": \"${a.output.x}\"}}", "a@/a~1b~0/ " },
		{ "{\"i\": {\"$media\": \"a\"}}", "a#0@/i " },
		{ "{\"i\": [{\"$media\": \"a\", \"index\": 15}]}",
		  "a#15@/i/0 " },
		{ "{\"$media\": \"a\"}", "a#0@ " },
		{ "{\"x\": \"$$${a.output.url}\"}", "" },
		{ "{\"x\": \"a$b${c.output.url}$\"}", "c@/x " },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		_cleanup_(json_decrefp) json_t *input = parse(cases[i].input);
		struct template_references found;
		const char *where = "untouched";
		char got[200] = "";

		CHECK_NUMBER(cases[i].input,
			     template_find(input, arena, &found, &where, NULL),
			     0);
		for (size_t at = 0; at < found.count; at++) {
			const struct template_reference *reference =
				&found.reference[at];
			/* "%.0zu" of 0 is nothing. */
			size_t size = strlen(got);

			(void)snprintf(got + size, sizeof(got) - size,
				       reference->is_media ? "%s#%zu@%s "
							   : "%s%.0zu@%s ",
				       reference->job, reference->index,
				       reference->where);
		}
		CHECK_TEXT(cases[i].input, got, cases[i].want);
		CHECK_TEXT(cases[i].input, where, "untouched");
	}
}

static void wrong_references_are_refused(void **state)
{
	static const struct {
		const char *input, *where;
	} cases[] = {
		{ "[\"${\"]", "/0" },
		{ "[\"${}\"]", "/0" },
		{ "[\"${a\"]", "/0" },
		{ "[\"${a.output.url\"]", "/0" },
		{ "[\"x\", \"y ${a.output.url\"]", "/1" },
		{ "{\"p\": {\"q\": \"${a}\"}}", "/p/q" },
		{ "[\"${a.url}\"]", "/0" },
		{ "[\"${a.Output.url}\"]", "/0" },
		{ "[\"${a.outputs}\"]", "/0" },
		{ "[\"${a.output.}\"]", "/0" },
		{ "[\"${a.output..url}\"]", "/0" },
		{ "[\"${a.output.url.}\"]", "/0" },
		{ "[\"${a.output[]}\"]", "/0" },
		{ "[\"${a.output[x]}\"]", "/0" },
		{ "[\"${a.output[-1]}\"]", "/0" },
		{ "[\"${a.output[01]}\"]", "/0" },
		{ "[\"${a.output[1234567890]}\"]", "/0" },
		{ "[\"${a.output[0}\"]", "/0" },
		{ "[\"${a.output[0.b]}\"]", "/0" },
		{ "[\"${a.output]0[}\"]", "/0" },
		{ "[\"${a.output[0]x}\"]", "/0" },
		{ "[\"${a.output.b c}\"]", "/0" },
		{ "[\"${a.output.b\\nc}\"]", "/0" },
		{ "[\"${a.output.\\\"b\\\"}\"]", "/0" },
		{ "[\"${ a.output.url}\"]", "/0" },
		{ "[\"${a .output.url}\"]", "/0" },
		{ "[\"${a.output.url }\"]", "/0" },
		{ "[\"${.output.url}\"]", "/0" },
		{ "[\"${a/b.output.url}\"]", "/0" },
		{ "[\"${\\u00fc.output.url}\"]", "/0" },
		{ "[\"${${a.output.url}}\"]", "/0" },
		{ "[\"${a.output.${b.output.url}}\"]", "/0" },
		{ "[\"${a.output.url} ${\"]", "/0" },
		{ "[{\"$media\": 5}]", "/0" },
		{ "[{\"$media\": null}]", "/0" },
		{ "[{\"$media\": \"\"}]", "/0" },
		{ "[{\"$media\": \"a b\"}]", "/0" },
		{ "[{\"$media\": \"${a.output.url}\"}]", "/0" },
		{ "[{\"$media\": {\"$media\": \"a\"}}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": -1}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": 16}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": 0.5}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": \"0\"}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": null}]", "/0" },
		{ "[{\"$media\": \"a\", \"mimeType\": \"x\"}]", "/0" },
		{ "[{\"$media\": \"a\", \"index\": 0, \"x\": 1}]", "/0" },
	};
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	const struct template_values values = {
		.outputs = outputs,
		.bytes_most = 10000,
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
		_cleanup_(json_decrefp) json_t *input = parse(cases[i].input);
		struct template_references found = { .count = 4711 };
		struct fault fault = { "" };
		const char *where = NULL;
		json_t *resolved = NULL;
		int r;

		CHECK_NUMBER(
			cases[i].input,
			template_find(input, arena, &found, &where, &fault),
			TEMPLATE_E_SYNTAX);
		CHECK_TEXT(cases[i].input, where, cases[i].where);
		CHECK(cases[i].input, fault.text[0] != '\0');
		CHECK_NUMBER(cases[i].input, found.count, 4711);
		/* resolve() may stop at a missing one before it. */
		r = template_resolve(input, &values, arena, &resolved, NULL);
		CHECK(cases[i].input,
		      r == -EINVAL || r == TEMPLATE_E_REFERENCE_MISSING);
		CHECK(cases[i].input, !resolved);
	}
}

static void names_have_a_form(void **state)
{
	char name[LIMIT_JOB_NAME_BYTES + 1];

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_true(template_is_job_name("a", 1));
	assert_true(template_is_job_name("Az_09-", 6));
	assert_true(template_is_job_name(name, LIMIT_JOB_NAME_BYTES));
	assert_false(template_is_job_name(name, LIMIT_JOB_NAME_BYTES + 1));
	assert_false(template_is_job_name("", 0));
	assert_false(template_is_job_name("a.b", 3));
	assert_false(template_is_job_name("a b", 3));
	assert_false(template_is_job_name("a\0b", 3));
	assert_false(template_is_job_name("\xc3\xbc", 2));
}

/* One string, many references, each of them large. */
static void growth_has_a_limit(void **state)
{
	static char text[200000], big[10001];
	_cleanup_(arena_freep) struct arena *arena = arena_new(100 << 20);
	_cleanup_(json_decrefp) json_t *input = json_array();
	_cleanup_(json_decrefp) json_t *outputs = NULL;
	struct template_values values = { .bytes_most = 1000000 };
	struct template_references found;
	const char *where = NULL;
	json_t *resolved = NULL;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	outputs = json_pack("{s:{s:s}}", "a", "url", big);
	values.outputs = outputs;
	for (int i = 0; i < 90; i++)
		assert_int_equal(json_array_append_new(
					 input, json_string("${a.output.url}")),
				 0);
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL), 0);
	json_decref(resolved);
	resolved = NULL;
	for (int i = 0; i < 20; i++)
		assert_int_equal(
			json_array_append_new(input,
					      json_string("-${a.output.url}")),
			0);
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL),
		-EFBIG);

	/* The input alone. */
	values.bytes_most = 100;
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL),
		-EFBIG);

	/* Their number. */
	values.bytes_most = SIZE_MAX;
	json_array_clear(input);
	for (int i = 0; i <= LIMIT_REFERENCES; i++)
		memcpy(text + 13 * i, "${a.output.x}", 13);
	assert_int_equal(json_array_append_new(input, json_string(text)), 0);
	assert_int_equal(template_find(input, arena, &found, &where, NULL),
			 -EFBIG);
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL),
		TEMPLATE_E_REFERENCE_MISSING);
	assert_int_equal(json_object_set_new(json_object_get(outputs, "a"), "x",
					     json_integer(1)),
			 0);
	assert_int_equal(
		template_resolve(input, &values, arena, &resolved, NULL),
		-EFBIG);
	text[13 * LIMIT_REFERENCES] = '\0';
	assert_int_equal(json_array_set_new(input, 0, json_string(text)), 0);
	assert_int_equal(template_find(input, arena, &found, &where, NULL), 0);
	assert_int_equal(found.count, LIMIT_REFERENCES);
	assert_null(resolved);
}

static void one_reference_has_a_length(void **state)
{
	static char text[LIMIT_REFERENCE_BYTES + 2];
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
	_cleanup_(json_decrefp) json_t *input = NULL;
	_cleanup_(json_decrefp) json_t *longer = NULL;
	struct template_references found;
	const char *where;

	(void)state;
	memset(text, 'x', LIMIT_REFERENCE_BYTES);
	memcpy(text, "${a.output.", 11);
	text[LIMIT_REFERENCE_BYTES - 1] = '}';
	input = json_pack("[s]", text);
	assert_int_equal(template_find(input, arena, &found, &where, NULL), 0);
	text[LIMIT_REFERENCE_BYTES - 1] = 'x';
	text[LIMIT_REFERENCE_BYTES] = '}';
	longer = json_pack("[s]", text);
	assert_int_equal(template_find(longer, arena, &found, &where, NULL),
			 TEMPLATE_E_SYNTAX);
}

/* A value so deep inside that many others. */
static json_t *deep(size_t depth, const char *leaf)
{
	json_t *value = json_string(leaf);

	while (depth-- > 0)
		value = json_pack("[o]", value);
	return value;
}

static void depth_has_a_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	_cleanup_(json_decrefp) json_t *fits =
		deep(LIMIT_JSON_DEPTH, "${a.output.raw}");
	_cleanup_(json_decrefp) json_t *deeper =
		deep(LIMIT_JSON_DEPTH + 1, "${a.output.raw}");
	_cleanup_(json_decrefp) json_t *outputs =
		json_pack("{s:{s:o}}", "a", "raw", deep(LIMIT_JSON_DEPTH, ""));
	_cleanup_(json_decrefp) json_t *too_deep = json_pack(
		"{s:{s:o}}", "a", "raw", deep(LIMIT_JSON_DEPTH + 1, ""));
	struct template_values values = { outputs, NULL, 10000 };
	_cleanup_(json_decrefp) json_t *resolved = NULL;
	struct template_references found;
	const char *where = NULL;

	(void)state;
	assert_int_equal(template_find(fits, arena, &found, &where, NULL), 0);
	assert_int_equal(template_find(deeper, arena, &found, &where, NULL),
			 -EFBIG);
	assert_int_equal(
		template_resolve(fits, &values, arena, &resolved, NULL), 0);
	assert_int_equal(
		template_resolve(deeper, &values, arena, &resolved, NULL),
		-EFBIG);
	values.outputs = too_deep;
	assert_int_equal(
		template_resolve(fits, &values, arena, &resolved, NULL),
		-EFBIG);
}

/* A key may be longer than any pointer: what holds it is named instead. */
static void long_pointers_stop_above(void **state)
{
	static char key[2000];
	_cleanup_(arena_freep) struct arena *arena = arena_new(10000);
	_cleanup_(json_decrefp) json_t *input = NULL;
	struct template_references found;
	const char *where = NULL;

	(void)state;
	memset(key, 'k', sizeof(key) - 1);
	input = json_pack("{s:{s:s}}", "a", key, "${");
	assert_int_equal(template_find(input, arena, &found, &where, NULL),
			 TEMPLATE_E_SYNTAX);
	assert_string_equal(where, "/a");
}

static void small_arenas_fail_cleanly(void **state)
{
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	_cleanup_(json_decrefp) json_t *input = parse(
		"[\"a ${still.output.raw.deep} b\", {\"$media\": \"still\"}]");
	_cleanup_(json_decrefp) json_t *wrong = parse("{\"a\": \"${b}\"}");
	const struct template_values values = { outputs, NULL, 10000 };
	int found = 0, resolved = 0, refused = 0;

	(void)state;
	for (size_t limit = 0; limit < 1000; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		_cleanup_(arena_freep) struct arena *other = arena_new(limit);
		_cleanup_(arena_freep) struct arena *third = arena_new(limit);
		struct template_references references = { .count = 4711 };
		const char *where = NULL;
		json_t *json = NULL;
		int r = template_find(input, arena, &references, &where, NULL);

		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(references.count, r == 0 ? 2 : 4711);
		found += r == 0;

		r = template_resolve(input, &values, other, &json, NULL);
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(!json, r != 0);
		json_decref(json);
		resolved += r == 0;

		r = template_find(wrong, third, &references, &where, NULL);
		assert_true(r == TEMPLATE_E_SYNTAX || r == -ENOMEM);
		assert_int_equal(!where, r != TEMPLATE_E_SYNTAX);
		refused += r > 0;
	}
	assert_in_range(found, 1, 999);
	assert_in_range(resolved, 1, 999);
	assert_in_range(refused, 1, 999);
}

/* jansson's memory is not the arena's: let it end after n allocations. */
static int allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void memory_that_ends_fails_cleanly(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	_cleanup_(json_decrefp) json_t *outputs = parse(outputs_text);
	_cleanup_(json_decrefp) json_t *input =
		parse("[{\"a\": \"x ${still.output.url}\", \"b\": [[]]},"
		      " {\"$media\": \"still\"}, \"${still.output.raw}\"]");
	const struct template_values values = { outputs, NULL, 10000 };
	int good = 0;

	(void)state;
	json_set_alloc_funcs(failing_malloc, free);
	for (int most = 0; most < 100; most++) {
		json_t *resolved = NULL;
		int r;

		allocations_left = most;
		r = template_resolve(input, &values, arena, &resolved, NULL);
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(!resolved, r != 0);
		json_decref(resolved);
		good += r == 0;
	}
	json_set_alloc_funcs(malloc, free);
	assert_in_range(good, 1, 99);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_replaced),
		cmocka_unit_test(what_is_not_there_is_missing),
		cmocka_unit_test(files_can_be_bytes),
		cmocka_unit_test(references_are_found),
		cmocka_unit_test(wrong_references_are_refused),
		cmocka_unit_test(names_have_a_form),
		cmocka_unit_test(growth_has_a_limit),
		cmocka_unit_test(one_reference_has_a_length),
		cmocka_unit_test(depth_has_a_limit),
		cmocka_unit_test(long_pointers_stop_above),
		cmocka_unit_test(small_arenas_fail_cleanly),
		cmocka_unit_test(memory_that_ends_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
