/* SPDX-License-Identifier: MIT */
/* References in a job's input. Input: the JSON text of one. */
#include "common/model/template.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

enum { ARENA_BYTES = 1024 * 1024, BYTES_MOST = 64 * 1024 };

static const char outputs_text[] =
	"{\"still\":{\"url\":\"https://m.example/a.png\",\"urls\":["
	"\"https://m.example/a.png\",\"https://m.example/b.png\"],\"media\":["
	"{\"url\":\"https://m.example/a.png\"}],\"raw\":{\"images\":[{\"url\":"
	"\"${still.output.url}\"}],\"seed\":5,\"0\":\"zero\",\"none\":null,"
	"\"deep\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
	"}},"
	"\"clip\":{\"url\":\"\"}}";

/* Does anything in it look like a reference, in keys or values? */
static bool is_plain(const char *text)
{
	return !strchr(text, '$') && !strstr(text, "\\u");
}

static void check_references(const struct template_references *references)
{
	HOLDS(references->count <= LIMIT_REFERENCES);
	for (size_t i = 0; i < references->count; i++) {
		const struct template_reference *one =
			&references->reference[i];

		HOLDS(template_is_job_name(one->job, strlen(one->job)));
		HOLDS(*one->where == '\0' || *one->where == '/');
		HOLDS(!one->is_media || one->index < LIMIT_MEDIA_PER_JOB);
	}
}

static void check_resolved(json_t *input, json_t *resolved, size_t references,
			   struct arena *arena)
{
	json_auto_t *again = NULL;
	const char *text = json_text_write(resolved, arena);

	if (!text)
		return;
	/* json_dumpb() counts more: 17 digits for each real number. */
	HOLDS(strlen(text) <= BYTES_MOST);
	/* A result as deep as may be, put in at the bottom of an input. */
	HOLDS(json_text_depth(resolved, 2 * LIMIT_JSON_DEPTH) <=
	      2 * LIMIT_JSON_DEPTH);
	again = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
			   NULL);
	HOLDS(json_equal(again, resolved));
	if (references == 0 && !strstr(text, "${"))
		HOLDS(json_equal(input, resolved));
}

/* Any text can be said, by escaping it. */
static void check_escaping(const char *bytes, size_t size,
			   const struct template_values *values,
			   struct arena *arena)
{
	struct template_references references = { .count = 0 };
	json_auto_t *string = json_stringn(bytes, size), *escaped = NULL;
	json_auto_t *resolved = NULL;
	char *text = arena_alloc(arena, 2 * size + 1), *to = text;
	const char *where = NULL;
	int r;

	if (!string || !text || memchr(bytes, '\0', size))
		return;
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '$' && bytes[i + 1] == '{')
			*to++ = '$';
		*to++ = bytes[i];
	}
	escaped = json_stringn(text, (size_t)(to - text));
	r = template_find(escaped, arena, &references, &where, NULL);
	HOLDS((r == 0 && references.count == 0) || arena_failed(arena));
	r = template_resolve(escaped, values, arena, &resolved, NULL);
	HOLDS(r == -ENOMEM || r == -EFBIG ||
	      (r == 0 && json_equal(resolved, string)));
}

static void check_input(json_t *input, const char *text,
			const struct template_values *values,
			struct arena *arena)
{
	struct template_references references = { .count = 0 };
	json_auto_t *resolved = NULL, *again = NULL;
	struct fault fault = { "" };
	const char *where = NULL;
	int found, r;

	found = template_find(input, arena, &references, &where, &fault);
	HOLDS(found == 0 || found == TEMPLATE_E_SYNTAX || found == -EFBIG ||
	      found == -ENOMEM);
	HOLDS((fault.text[0] != '\0') == (found != 0));
	HOLDS(found != TEMPLATE_E_SYNTAX || where);
	r = template_resolve(input, values, arena, &resolved, &fault);
	HOLDS(r == 0 || r == TEMPLATE_E_REFERENCE_MISSING || r == -EFBIG ||
	      r == -EINVAL || r == -ENOMEM);
	HOLDS((resolved != NULL) == (r == 0));
	if (r == -EINVAL)
		HOLDS(found != 0);
	if (found == TEMPLATE_E_SYNTAX)
		HOLDS(r != 0);
	if (is_plain(text)) {
		HOLDS(found == 0 && references.count == 0);
		HOLDS(r == 0 ? json_equal(resolved, input) : r == -EFBIG);
	}
	if (found == 0)
		check_references(&references);
	if (r != 0)
		return;
	if (found == 0)
		check_resolved(input, resolved, references.count, arena);
	r = template_resolve(input, values, arena, &again, &fault);
	HOLDS(r == -ENOMEM || (r == 0 && json_equal(resolved, again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	json_auto_t *input = NULL;
	struct template_values values = {
		.outputs = json_loads(outputs_text, 0, NULL),
		.bytes_most = BYTES_MOST,
	};
	char *text = copy_of(data, size);

	HOLDS(values.outputs && arena);
	if (json_text_read(text, size, &input, NULL) == 0) {
		json_auto_t *before = json_deep_copy(input);

		check_input(input, text, &values, arena);
		/* What it was made from is as it was. */
		HOLDS(json_equal(before, input));
	}
	check_escaping(text, size, &values, arena);
	json_decref(values.outputs);
	free(text);
	return 0;
}
