/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"

#include "common/base/uuid.h"

#include <string.h>

/* No <ctype.h> here: what is a digit must not depend on a locale. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool text_to_int64(const char *text, int64_t least, int64_t most, int64_t *ret)
{
	bool negative = text[0] == '-';
	const char *digit = text + negative;
	int64_t value = 0;

	/* One number has one spelling: neither "007" nor "-0". */
	if (!is_digit(digit[0]) ||
	    (digit[0] == '0' && (negative || digit[1] != '\0')))
		return false;

	/* Downwards, because INT64_MIN has no positive twin. */
	for (; is_digit(*digit); digit++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, *digit - '0', &value))
			return false;
	if (*digit != '\0' || (!negative && value == INT64_MIN))
		return false;

	if (!negative)
		value = -value;
	if (value < least || value > most)
		return false;
	*ret = value;
	return true;
}

bool text_starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

char *text_to_hex(const void *bytes, size_t size, struct arena *arena)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *byte = bytes;
	char *text;

	text = arena_alloc(arena, size < SIZE_MAX / 2 ? 2 * size + 1 : size);
	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[byte[i] >> 4];
		text[2 * i + 1] = digits[byte[i] & 0x0f];
	}
	return text;
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool text_from_hex(const char *text, void *ret, size_t size)
{
	uint8_t *byte = ret;

	/* Look first, so that a refused text leaves *ret alone. */
	for (size_t i = 0; i < size; i++)
		if (hex_value(text[2 * i]) < 0 ||
		    hex_value(text[2 * i + 1]) < 0)
			return false;
	if (text[2 * size] != '\0')
		return false;

	for (size_t i = 0; i < size; i++)
		byte[i] = (uint8_t)(hex_value(text[2 * i]) << 4 |
				    hex_value(text[2 * i + 1]));
	return true;
}

static const char alphabets[][65] = {
	[TEXT_BASE64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			"0123456789+/",
	[TEXT_BASE64_URL] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789-_",
	[TEXT_BASE64_LOOSE] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/",
};

char *text_to_base64(const void *bytes, size_t size, enum text_base64 kind,
		     struct arena *arena)
{
	const char *alphabet = alphabets[kind];
	const uint8_t *byte = bytes;
	char *text, *next;

	text = arena_alloc(arena,
			   size < SIZE_MAX / 2 ? size / 3 * 4 + 5 : size);
	if (!text)
		return NULL;

	next = text;
	for (size_t left = size; left > 0;) {
		size_t taken = left < 3 ? left : 3;
		uint32_t bits = (uint32_t)byte[0] << 16;

		if (taken > 1)
			bits |= (uint32_t)byte[1] << 8;
		if (taken > 2)
			bits |= byte[2];
		for (size_t i = 0; i < 4; i++) {
			if (i <= taken)
				*next++ = alphabet[bits >> (18 - 6 * i) & 0x3f];
			else if (kind == TEXT_BASE64)
				*next++ = '=';
		}
		byte += taken;
		left -= taken;
	}
	*next = '\0';
	return text;
}

static int base64_value(char c, enum text_base64 kind)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	if (c == alphabets[kind][62])
		return 62;
	if (c == alphabets[kind][63])
		return 63;
	return -1;
}

uint8_t *text_from_base64(const char *text, size_t length,
			  enum text_base64 kind, struct arena *arena,
			  size_t *ret_size)
{
	uint8_t *bytes, *next;
	uint32_t bits = 0;
	int bit_count = 0;

	if (kind != TEXT_BASE64_URL) {
		if (length % 4 != 0 && kind == TEXT_BASE64)
			return NULL;
		for (int i = 0; i < 2 && length > 0; i++)
			length -= text[length - 1] == '=';
	}
	if (length % 4 == 1)
		return NULL;

	/* One byte more than needed: a NUL behind what may be text. */
	bytes = arena_alloc(arena, length / 4 * 3 + 3);
	if (!bytes)
		return NULL;

	next = bytes;
	for (size_t i = 0; i < length; i++) {
		int value = base64_value(text[i], kind);

		if (value < 0)
			return NULL;
		bits = bits << 6 | (uint32_t)value;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			*next++ = (uint8_t)(bits >> bit_count);
			bits &= (1U << bit_count) - 1;
		}
	}
	if (bits != 0 && kind != TEXT_BASE64_LOOSE)
		return NULL;

	*ret_size = (size_t)(next - bytes);
	return bytes;
}

char *text_to_percent(const char *text, bool keep_slash, struct arena *arena)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t length = strlen(text);
	char *encoded, *next;

	encoded = arena_alloc(arena,
			      length < SIZE_MAX / 4 ? 3 * length + 1 : length);
	if (!encoded)
		return NULL;

	next = encoded;
	for (; *text != '\0'; text++) {
		uint8_t byte = (uint8_t)*text;

		if (is_letter(*text) || is_digit(*text) ||
		    strchr("-._~", *text) || (keep_slash && *text == '/')) {
			*next++ = *text;
			continue;
		}
		*next++ = '%';
		*next++ = digits[byte >> 4];
		*next++ = digits[byte & 0x0f];
	}
	*next = '\0';
	return encoded;
}

bool text_is_uuid(const char *text)
{
	for (int i = 0; i < UUID_SIZE - 1; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
		} else if (!is_digit(text[i]) &&
			   !(text[i] >= 'a' && text[i] <= 'f')) {
			return false;
		}
	}
	return text[UUID_SIZE - 1] == '\0';
}
