/* SPDX-License-Identifier: MIT */
/* JSON from strangers: what is taken can be written and read again, within
 * every limit that the header names. */
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/provider/wire.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

enum { ARENA_BYTES = 1024 * 1024 };

/* No character U+0000, in values or keys, however deep. */
static bool has_nul(json_t *value)
{
	json_t *member;
	const char *key;
	size_t i;

	if (json_is_string(value))
		return memchr(json_string_value(value), '\0',
			      json_string_length(value)) != NULL;
	json_array_foreach(value, i, member) if (has_nul(member)) return true;
	json_object_foreach(value, key,
			    member) if (has_nul(member)) return true;
	return false;
}

static void check_taken(json_t *value)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	json_auto_t *again = NULL;
	char *text, *text_again;

	HOLDS(json_is_object(value) || json_is_array(value));
	HOLDS(json_text_depth(value, LIMIT_JSON_DEPTH) <= LIMIT_JSON_DEPTH);
	HOLDS(!has_nul(value));
	text = json_text_write(value, arena);
	HOLDS(text || arena_failed(arena));
	if (!text)
		return;
	HOLDS(json_text_read(text, strlen(text), &again, NULL) == 0);
	HOLDS(json_equal(value, again));
	text_again = json_text_write(again, arena);
	HOLDS(text_again ? strcmp(text, text_again) == 0 : arena_failed(arena));
}

/* An answer's reader takes more; what it lets through to the database is
 * what the strict one takes. */
static void check_wire(const uint8_t *data, size_t size, bool strict)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	json_auto_t *value = NULL, *again = NULL;
	int r = wire_parse((const char *)data, size, &value);
	const char *text;

	HOLDS(r == 0 || r == -EBADMSG || r == -ENOMEM);
	HOLDS(r == 0 || !value);
	HOLDS(!strict || r == 0);
	if (r < 0)
		return;
	HOLDS(json_is_object(value));
	text = wire_output(value, arena);
	if (text) {
		HOLDS(strlen(text) <= LIMIT_OUTPUT_BYTES);
		HOLDS(json_text_read(text, strlen(text), &again, NULL) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault fault = { "" };
	json_auto_t *value = NULL;
	int r = json_text_read((const char *)data, size, &value, &fault);

	HOLDS(r == 0 || r == -EBADMSG || r == -EFBIG || r == -ENOMEM);
	HOLDS((value != NULL) == (r == 0));
	HOLDS((fault.text[0] != '\0') == (r != 0));
	if (r == 0)
		check_taken(value);
	check_wire(data, size, r == 0 && json_is_object(value));
	return 0;
}
