/* SPDX-License-Identifier: MIT */
/* The words of the control language, one table. */
#include "tests/simulator/words.h"

#include "common/base/macro.h"

#include <errno.h>
#include <string.h>

enum kind {
	KIND_INT,
	KIND_BOOL,
	KIND_TEXT,
	KIND_CHOICE, /* one of choices, separated by blanks */
	KIND_TEXTS,
	KIND_TEXT_OR_INT,
	KIND_ANY,
	KIND_GROUP, /* an object of the words of that group */
};

struct word {
	const char *group;
	const char *name;
	enum kind kind;
	int64_t least, most;
	const char *choices; /* or, for KIND_GROUP, the group */
};

#define MS_MOST	   INT64_C(86400000)
#define BYTES_MOST INT64_C(1099511627776)

/* clang-format off */
static const struct word table[] = {
	{ "job", "delay_ms",       KIND_INT, 0, MS_MOST, NULL },
	{ "job", "queue_ms",       KIND_INT, 0, MS_MOST, NULL },
	{ "job", "steps",          KIND_INT, 0, 1000, NULL },
	{ "job", "notes",          KIND_INT, 0, 100000, NULL },
	{ "job", "outcome",        KIND_CHOICE, 0, 0,
	  "succeed fail cancel abort refuse partial nothing never vanish" },
	{ "job", "error",          KIND_TEXT_OR_INT, 0, 0, NULL },
	{ "job", "unknown_status", KIND_TEXT, 0, 0, NULL },
	{ "job", "statuses",       KIND_TEXTS, 0, 0, NULL },
	{ "job", "regress",        KIND_INT, 0, 1000, NULL },
	{ "job", "ignore_cancel",  KIND_BOOL, 0, 0, NULL },
	{ "job", "retention_ms",   KIND_INT, 0, INT64_C(31536000000), NULL },
	{ "job", "fetch_inputs",   KIND_BOOL, 0, 0, NULL },
	{ "job", "key",            KIND_TEXT, 0, 0, NULL },
	{ "job", "start",          KIND_GROUP, 0, 0, "request" },
	{ "job", "poll",           KIND_GROUP, 0, 0, "request" },
	{ "job", "result",         KIND_GROUP, 0, 0, "request" },
	{ "job", "cancel",         KIND_GROUP, 0, 0, "request" },
	{ "job", "list",           KIND_GROUP, 0, 0, "request" },
	{ "job", "token",          KIND_GROUP, 0, 0, "request" },
	{ "job", "keys",           KIND_GROUP, 0, 0, "request" },
	{ "job", "webhook",        KIND_GROUP, 0, 0, "webhook" },
	{ "job", "media",          KIND_GROUP, 0, 0, "media" },

	{ "request", "times",            KIND_INT, 0, 1000000, NULL },
	{ "request", "after",            KIND_INT, 0, 1000000, NULL },
	{ "request", "latency_ms",       KIND_INT, 0, MS_MOST, NULL },
	{ "request", "status",           KIND_INT, 400, 599, NULL },
	{ "request", "error",            KIND_TEXT, 0, 0, NULL },
	{ "request", "body",             KIND_ANY, 0, 0, NULL },
	{ "request", "accepted",         KIND_BOOL, 0, 0, NULL },
	{ "request", "retry_after_s",    KIND_INT, 0, 86400, NULL },
	{ "request", "retry_after_form", KIND_CHOICE, 0, 0,
	  "seconds fraction date rfc850 asctime body text reset none" },
	{ "request", "hang",             KIND_BOOL, 0, 0, NULL },
	{ "request", "drop",             KIND_CHOICE, 0, 0,
	  "before after partial reused" },
	{ "request", "answer",           KIND_CHOICE, 0, 0,
	  "garbage empty no_id huge" },
	{ "request", "hide",             KIND_BOOL, 0, 0, NULL },
	{ "request", "lag_ms",           KIND_INT, 0, MS_MOST, NULL },
	{ "request", "omit_webhook",     KIND_BOOL, 0, 0, NULL },
	{ "request", "in_flight",        KIND_BOOL, 0, 0, NULL },

	{ "webhook", "drop",           KIND_BOOL, 0, 0, NULL },
	{ "webhook", "copies",         KIND_INT, 1, 100, NULL },
	{ "webhook", "early",          KIND_BOOL, 0, 0, NULL },
	{ "webhook", "late_ms",        KIND_INT, 0, MS_MOST, NULL },
	{ "webhook", "reorder",        KIND_BOOL, 0, 0, NULL },
	{ "webhook", "forge",          KIND_CHOICE, 0, 0,
	  "unsigned signature key body stale future malformed doubled token "
	  "other" },
	{ "webhook", "genuine",        KIND_BOOL, 0, 0, NULL },
	{ "webhook", "signatures",     KIND_INT, 1, 20, NULL },
	{ "webhook", "payload",        KIND_BOOL, 0, 0, NULL },
	{ "webhook", "retry_first_ms", KIND_INT, 1, MS_MOST, NULL },
	{ "webhook", "retries",        KIND_INT, 0, 100, NULL },

	{ "media", "kind",        KIND_CHOICE, 0, 0,
	  "mp4 png html empty random" },
	{ "media", "bytes",       KIND_INT, 0, BYTES_MOST, NULL },
	{ "media", "count",       KIND_INT, 1, 16, NULL },
	{ "media", "type",        KIND_TEXT, 0, 0, NULL },
	{ "media", "length",      KIND_CHOICE, 0, 0, "known chunked close" },
	{ "media", "cut",         KIND_INT, 0, BYTES_MOST, NULL },
	{ "media", "rate",        KIND_INT, 1, BYTES_MOST, NULL },
	{ "media", "stall",       KIND_INT, 0, BYTES_MOST, NULL },
	{ "media", "redirect",    KIND_INT, 0, 50, NULL },
	{ "media", "redirect_to", KIND_TEXT, 0, 0, NULL },
	{ "media", "status",      KIND_INT, 400, 599, NULL },
	{ "media", "times",       KIND_INT, 0, 1000000, NULL },
	{ "media", "latency_ms",  KIND_INT, 0, MS_MOST, NULL },
	{ "media", "form",        KIND_CHOICE, 0, 0,
	  "auto string array object data text" },
};
/* clang-format on */

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	for (const char *at = choices; at && *at;) {
		size_t word = strcspn(at, " ");

		if (word == length && memcmp(at, value, word) == 0)
			return true;
		at += word + strspn(at + word, " ");
	}
	return false;
}

static int check_group(const char *group, const json_t *words,
		       struct fault *reterr_fault);

static bool is_texts(const json_t *value)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(value))
		return false;
	json_array_foreach((json_t *)(uintptr_t)value, i,
			   item) if (!json_is_string(item)) return false;
	return true;
}

/* @return NULL if the value fits the word, or what it should have been */
static const char *check_value(const struct word *word, const json_t *value)
{
	switch (word->kind) {
	case KIND_INT:
		return json_is_integer(value) &&
				       json_integer_value(value) >=
					       word->least &&
				       json_integer_value(value) <= word->most
			       ? NULL
			       : "a whole number in its range";
	case KIND_BOOL:
		return json_is_boolean(value) ? NULL : "true or false";
	case KIND_TEXT:
		return json_is_string(value) ? NULL : "text";
	case KIND_CHOICE:
		return json_is_string(value) &&
				       is_choice(word->choices,
						 json_string_value(value))
			       ? NULL
			       : word->choices;
	case KIND_TEXTS:
		return is_texts(value) ? NULL : "an array of texts";
	case KIND_TEXT_OR_INT:
		return json_is_string(value) || json_is_integer(value)
			       ? NULL
			       : "text or a number";
	case KIND_GROUP:
		return json_is_object(value) ? NULL : "an object";
	case KIND_ANY:
		return NULL;
	}
	return "another kind";
}

static int check_word(const char *group, const char *name, const json_t *value,
		      struct fault *reterr_fault)
{
	for (size_t i = 0; i < COUNT_OF(table); i++) {
		const struct word *word = &table[i];
		const char *wanted;

		if (strcmp(word->group, group) != 0 ||
		    strcmp(word->name, name) != 0)
			continue;
		wanted = check_value(word, value);
		if (wanted)
			return fault_set(reterr_fault, -EINVAL,
					 "rushes_sim: \"%s\" must be %s", name,
					 wanted);
		if (word->kind == KIND_GROUP)
			return check_group(word->choices, value, reterr_fault);
		return 0;
	}
	return fault_set(reterr_fault, -EINVAL,
			 "rushes_sim: no word \"%.40s\" here (%s)", name,
			 group);
}

static int check_group(const char *group, const json_t *words,
		       struct fault *reterr_fault)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)words, name, value)
	{
		int r = check_word(group, name, value, reterr_fault);

		if (r < 0)
			return r;
	}
	return 0;
}

int words_check(const json_t *words, struct fault *reterr_fault)
{
	if (!json_is_object(words))
		return fault_set(reterr_fault, -EINVAL,
				 "rushes_sim must be an object");
	return check_group("job", words, reterr_fault);
}

const json_t *words_find(const struct words *words, const char *group,
			 const char *name)
{
	for (size_t i = 0; i < COUNT_OF(words->level); i++) {
		const json_t *level = words->level[i];
		const json_t *value;

		if (group)
			level = json_object_get(level, group);
		value = json_object_get(level, name);
		if (value)
			return value;
	}
	return NULL;
}

int64_t words_int(const struct words *words, const char *group,
		  const char *name, int64_t otherwise)
{
	const json_t *value = words_find(words, group, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

const char *words_text(const struct words *words, const char *group,
		       const char *name, const char *otherwise)
{
	const json_t *value = words_find(words, group, name);

	return json_is_string(value) ? json_string_value(value) : otherwise;
}

bool words_bool(const struct words *words, const char *group, const char *name,
		bool otherwise)
{
	const json_t *value = words_find(words, group, name);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}
