/* SPDX-License-Identifier: MIT */
#include "common/model/submission_field.h"

#include "common/model/json_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	DETAIL_BYTES = 1024,
	HINT_NAME_BYTES = 32, /* longer field names get no hint */
	HINT_DISTANCE = 2,    /* letters that may differ */
};

int field_refuse(struct field_reader *reader, const char *code,
		 const char *pointer, const char *format, ...)
{
	char detail[DETAIL_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	reader->problem->code = code;
	reader->problem->pointer = pointer;
	reader->problem->detail = arena_strdup(reader->arena, detail);
	return arena_failed(reader->arena) ? -ENOMEM : SUBMISSION_E_INVALID;
}

const char *field_pointer_to(struct field_reader *reader, const char *base,
			     const char *key)
{
	char pointer[JSON_TEXT_POINTER_BYTES];
	size_t size = (size_t)snprintf(pointer, sizeof(pointer), "%s", base);

	if (size >= sizeof(pointer))
		return base;
	(void)json_text_add_key(pointer, &size, key);
	return arena_strndup(reader->arena, pointer, size);
}

const char *field_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *one, const char *other)
{
	size_t row[HINT_NAME_BYTES + 1];
	size_t width = strlen(other);

	for (size_t x = 0; x <= width; x++)
		row[x] = x;
	for (size_t y = 1; *one != '\0'; one++, y++) {
		size_t diagonal = row[0];

		row[0] = y;
		for (size_t x = 1; x <= width; x++) {
			size_t swapped = diagonal + (*one != other[x - 1]);

			diagonal = row[x];
			row[x] = least(swapped, least(row[x], row[x - 1]) + 1);
		}
	}
	return row[width];
}

static int refuse_unknown(struct field_reader *reader, const char *base,
			  const char *key, const struct field *fields,
			  size_t count)
{
	const char *pointer = field_pointer_to(reader, base, key);
	char known[DETAIL_BYTES / 2];
	size_t size = 0;

	if (strlen(key) > HINT_NAME_BYTES)
		return field_refuse(reader, "unknown_field", pointer,
				    "There is no such field.");
	for (size_t i = 0; i < count; i++)
		if (distance(fields[i].name, key) <= HINT_DISTANCE)
			return field_refuse(
				reader, "unknown_field", pointer,
				"There is no field \"%s\"; did you mean "
				"\"%s\"?",
				key, fields[i].name);
	for (size_t i = 0; i < count; i++)
		size += (size_t)snprintf(known + size, sizeof(known) - size,
					 "%s%s", i > 0 ? ", " : "",
					 fields[i].name);
	return field_refuse(reader, "unknown_field", pointer,
			    "There is no field \"%s\"; the fields are %s.", key,
			    known);
}

static int check_field(struct field_reader *reader, const char *base,
		       const struct field *field, const json_t *value)
{
	static const char *const wanted[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "a whole number",
		[JSON_TRUE] = "true or false",
	};

	if (!value)
		return !field->required
			       ? 0
			       : field_refuse(reader, "missing_field",
					      field_pointer_to(reader, base,
							       field->name),
					      "The field \"%s\" is missing.",
					      field->name);
	if (json_typeof(value) == field->type ||
	    (field->type == JSON_TRUE && json_is_false(value)) ||
	    (json_is_null(value) && !field->required))
		return 0;
	return field_refuse(reader, "wrong_type",
			    field_pointer_to(reader, base, field->name),
			    "The field \"%s\" must be %s, not %s.", field->name,
			    wanted[field->type],
			    json_is_real(value) ? "a fraction"
						: field_type_name(value));
}

int field_check(struct field_reader *reader, const char *base, json_t *object,
		const struct field *fields, size_t count)
{
	const char *key;
	json_t *value;
	size_t i;
	int r;

	json_object_foreach(object, key, value)
	{
		for (i = 0; i < count; i++)
			if (strcmp(fields[i].name, key) == 0)
				break;
		if (i == count)
			return refuse_unknown(reader, base, key, fields, count);
	}
	for (i = 0; i < count; i++) {
		r = check_field(reader, base, &fields[i],
				json_object_get(object, fields[i].name));
		if (r != 0)
			return r;
	}
	return 0;
}

/* Bytes from ' ' up; UTF-8 is welcome, and jansson has checked it. */
static bool has_controls(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == '\x7f')
			return true;
	return false;
}

int field_take_text(struct field_reader *reader, const char *base,
		    const json_t *object, const char *field, size_t most,
		    const char **ret)
{
	const json_t *value = json_object_get(object, field);
	const char *text = json_string_value(value);

	if (!text) {
		*ret = NULL;
		return 0;
	}
	if (json_string_length(value) < 1 || json_string_length(value) > most)
		return field_refuse(
			reader, "out_of_range",
			field_pointer_to(reader, base, field),
			"The field \"%s\" must have 1 to %zu bytes.", field,
			most);
	if (has_controls(text))
		return field_refuse(reader, "bad_name",
				    field_pointer_to(reader, base, field),
				    "The field \"%s\" must not hold control "
				    "characters.",
				    field);
	*ret = arena_strdup(reader->arena, text);
	return *ret ? 0 : -ENOMEM;
}

int field_take_number(struct field_reader *reader, const char *base,
		      const json_t *object, const char *field,
		      struct field_range range, int32_t *ret)
{
	const json_t *value = json_object_get(object, field);

	*ret = 0;
	if (!json_is_integer(value))
		return 0;
	if (json_integer_value(value) < range.least ||
	    json_integer_value(value) > range.most)
		return field_refuse(reader, "out_of_range",
				    field_pointer_to(reader, base, field),
				    "The field \"%s\" must be %d to %d.", field,
				    range.least, range.most);
	*ret = (int32_t)json_integer_value(value);
	return 0;
}

int field_take_object(struct field_reader *reader, const char *base,
		      const json_t *object, const char *field, size_t most,
		      const char **ret)
{
	json_t *value = json_object_get(object, field);

	*ret = NULL;
	if (!json_is_object(value))
		return 0;
	*ret = json_text_write(value, reader->arena);
	if (!*ret)
		return -ENOMEM;
	if (strlen(*ret) > most)
		return field_refuse(
			reader, "too_large",
			field_pointer_to(reader, base, field),
			"The field \"%s\" must have at most %zu bytes.", field,
			most);
	return 0;
}
