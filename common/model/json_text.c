/* SPDX-License-Identifier: MIT */
#include "common/model/json_text.h"

#include "common/model/limits.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 17 digits tell any two doubles apart; most need no more than 15. */
enum { DIGITS_LEAST = 15, DIGITS_MOST = 17, NUMBER_BYTES = 40 };

static bool is_in_number(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' ||
	       c == 'e' || c == 'E';
}

/* @return the closing quote, or end */
static const char *skip_string(const char *quote, const char *end)
{
	const char *next = quote + 1;

	while (next < end && *next != '"')
		next += *next == '\\' && next + 1 < end ? 2 : 1;
	return next;
}

/*
 * strtod() turns 1e-99999 into zero and says so only in errno, which jansson
 * does not pass on: what was meant is lost, and jsonb refuses the original.
 */
static bool becomes_zero(const char *number, size_t length)
{
	char copy[512];
	size_t mantissa = 0;
	bool is_zero = true;

	if (length >= sizeof(copy))
		return true; /* nobody means so many digits */
	while (mantissa < length && number[mantissa] != 'e' &&
	       number[mantissa] != 'E') {
		if (number[mantissa] >= '1' && number[mantissa] <= '9')
			is_zero = false;
		mantissa++;
	}
	if (is_zero)
		return false;
	memcpy(copy, number, length);
	copy[length] = '\0';
	return strtod(copy, NULL) == 0.0;
}

/*
 * Look over the text before anything is built from it: jansson recurses as
 * deep as 2048, and memory grows with the number of values, not with bytes.
 * Wrong JSON passes here and is found by the parser.
 */
static int look_over(const char *text, size_t size, struct fault *reterr_fault)
{
	const char *end = text + size;
	size_t depth = 0, values = 1;

	for (const char *next = text; next < end; next++) {
		const char *start = next;

		switch (*next) {
		case '\0':
			/* jansson passes over one that follows a number. */
			return fault_set(reterr_fault, -EBADMSG,
					 "byte %td: a zero byte", start - text);
		case '"':
			next = skip_string(next, end);
			break;
		case '[':
		case '{':
			if (++depth > LIMIT_JSON_DEPTH)
				return fault_set(reterr_fault, -EFBIG,
						 "byte %td: more than %d "
						 "arrays and objects in each "
						 "other",
						 next - text, LIMIT_JSON_DEPTH);
			/* fall through */
		case ',':
			if (++values > LIMIT_JSON_VALUES)
				return fault_set(reterr_fault, -EFBIG,
						 "more than %d values",
						 LIMIT_JSON_VALUES);
			break;
		case ']':
		case '}':
			depth -= depth > 0;
			break;
		case '-':
		case '0' ... '9':
			while (next + 1 < end && is_in_number(next[1]))
				next++;
			if (becomes_zero(start, (size_t)(next + 1 - start)))
				return fault_set(reterr_fault, -EBADMSG,
						 "byte %td: a number too small "
						 "or too long to be kept",
						 start - text);
			break;
		default:
			break;
		}
	}
	return 0;
}

/* jansson ends its sentence with what stood there ("near 'a cat'"), and that
 * may be a prompt: only its own words are passed on. */
static int read_fault(const json_error_t *error, struct fault *reterr_fault)
{
	const char *near = strstr(error->text, " near '");
	int length =
		near ? (int)(near - error->text) : (int)strlen(error->text);

	switch (json_error_code(error)) {
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return fault_set(reterr_fault, -EBADMSG,
				 "line %d, column %d: the character \\u0000 "
				 "is not allowed",
				 error->line, error->column);
	default:
		return fault_set(reterr_fault, -EBADMSG,
				 "line %d, column %d: %.*s", error->line,
				 error->column, length, error->text);
	}
}

/*
 * jansson takes it for a mistake in the text when it has no memory for a
 * string of it, and what it cannot write is NULL for whatever reason. So we
 * look over its shoulder: this says whether it asked in vain, on this thread.
 */
static _Thread_local bool starved;

static void *take(size_t size)
{
	void *bytes = malloc(size);

	if (!bytes)
		starved = true;
	return bytes;
}

/* Before anything has come from jansson, as its manual asks for. */
__attribute__((constructor)) static void look_over_shoulder(void)
{
	json_set_alloc_funcs(take, free);
}

void json_text_watch(void)
{
	starved = false;
}

bool json_text_starved(void)
{
	return starved;
}

int json_text_load(const char *text, size_t size, size_t flags, json_t **ret,
		   json_error_t *reterr)
{
	bool before = starved, now;
	json_t *json;

	starved = false;
	json = json_loadb(text, size, flags, reterr);
	now = starved;
	starved |= before;
	if (!json)
		return now ? -ENOMEM : -EBADMSG;
	*ret = json;
	return 0;
}

/* With fewer, an integer has 64 bits at most. */
enum { WHOLE_DIGITS = 19 };

static bool is_beyond_64_bits(const char *digits)
{
	errno = 0;
	(void)strtoll(digits, NULL, 10);
	return errno == ERANGE;
}

/* A copy in which integers beyond 64 bits are written as reals.
 *
 * @return for free(); NULL without memory */
static char *copy_with_reals(const char *text, size_t size, size_t *ret_size)
{
	char *copy = malloc(size + size / WHOLE_DIGITS * strlen(".0") + 1);
	const char *end = text + size;
	size_t at = 0;

	while (copy && text < end) {
		const char *start = text++;
		bool is_number =
			*start == '-' || (*start >= '0' && *start <= '9');
		bool is_whole = is_number;
		size_t length;

		if (*start == '"') {
			text = skip_string(start, end);
			text = text < end ? text + 1 : end;
		}
		for (; is_number && text < end && is_in_number(*text); text++)
			is_whole = is_whole && *text >= '0' && *text <= '9';
		length = (size_t)(text - start);
		memcpy(copy + at, start, length);
		copy[at + length] = '\0';
		if (is_whole && length >= WHOLE_DIGITS &&
		    is_beyond_64_bits(copy + at)) {
			memcpy(copy + at + length, ".0", strlen(".0"));
			length += strlen(".0");
		}
		at += length;
	}
	*ret_size = at;
	return copy;
}

int json_text_load_large(const char *text, size_t size, size_t flags,
			 json_t **ret, json_error_t *reterr)
{
	int r = json_text_load(text, size, flags, ret, reterr);
	char *copy;

	if (r != -EBADMSG ||
	    json_error_code(reterr) != json_error_numeric_overflow)
		return r;
	copy = copy_with_reals(text, size, &size);
	if (!copy)
		return -ENOMEM;
	r = json_text_load(copy, size, flags, ret, reterr);
	free(copy);
	return r;
}

int json_text_read(const char *text, size_t size, json_t **ret,
		   struct fault *reterr_fault)
{
	json_error_t error;
	json_t *json;
	int r;

	r = look_over(text, size, reterr_fault);
	if (r < 0)
		return r;

	r = json_text_load(text, size, JSON_REJECT_DUPLICATES, &json, &error);
	if (r == -ENOMEM)
		return fault_set(reterr_fault, r, "no memory for JSON");
	if (r < 0)
		return read_fault(&error, reterr_fault);
	*ret = json;
	return 0;
}

/* How many digits this double needs to come back the same. */
static int digits_of(double value)
{
	char text[NUMBER_BYTES];
	int digits;

	for (digits = DIGITS_LEAST; digits < DIGITS_MOST; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return digits;
}

/* How many digits the most demanding number in a value needs. Recursion is
 * bounded by what json_text_read() and jansson let in. */
static int digits_needed(json_t *value)
{
	int digits = DIGITS_LEAST, other;
	json_t *element;
	const char *key;
	size_t i;

	if (json_is_real(value))
		return digits_of(json_real_value(value));
	json_array_foreach(value, i, element)
	{
		other = digits_needed(element);
		digits = other > digits ? other : digits;
	}
	/* jansson's iterator wants the object unqualified, and leaves it be */
	json_t *object =
		json_is_object(value) ? (json_t *)(uintptr_t)value : NULL;
	json_object_foreach(object, key, element)
	{
		other = digits_needed(element);
		digits = other > digits ? other : digits;
	}
	return digits;
}

char *json_text_write(json_t *value, struct arena *arena)
{
	size_t flags = JSON_COMPACT | JSON_ENCODE_ANY |
		       JSON_REAL_PRECISION((size_t)digits_needed(value));
	size_t size = json_dumpb(value, NULL, 0, flags);
	char *text = size > 0 ? arena_alloc(arena, size + 1) : NULL;

	if (!text || json_dumpb(value, text, size, flags) != size)
		return NULL;
	return text;
}

size_t json_text_depth(json_t *value, size_t most)
{
	json_t *element;
	const char *key;
	size_t deepest = 0, depth, i;

	if (!json_is_array(value) && !json_is_object(value))
		return 0;
	if (most == 0)
		return 1;
	json_array_foreach(value, i, element)
	{
		depth = json_text_depth(element, most - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	json_t *object =
		json_is_object(value) ? (json_t *)(uintptr_t)value : NULL;
	json_object_foreach(object, key, element)
	{
		depth = json_text_depth(element, most - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

bool json_text_add_key(char pointer[JSON_TEXT_POINTER_BYTES], size_t *size,
		       const char *key)
{
	size_t next = *size;

	if (next == JSON_TEXT_POINTER_BYTES)
		return false;
	pointer[next++] = '/';
	for (; *key != '\0'; key++) {
		bool escaped = *key == '~' || *key == '/';

		if (JSON_TEXT_POINTER_BYTES - next < (escaped ? 2 : 1))
			return false;
		if (escaped)
			pointer[next++] = '~';
		pointer[next++] = (char)(*key == '~'   ? '0'
					 : *key == '/' ? '1'
						       : *key);
	}
	*size = next;
	return true;
}
