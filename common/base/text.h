/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_TEXT_H
#define COMMON_BASE_TEXT_H

#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Text: strict numbers and the few encodings the wire uses. Decoders take
 * nothing that their encoder would not have written (but for
 * TEXT_BASE64_LOOSE).
 */

/* The whole text as a decimal number in [least, most]; no sign tricks, no
 * blanks. @return whether it was one; *ret is untouched otherwise */
bool text_to_int64(const char *text, int64_t least, int64_t most, int64_t *ret);

bool text_starts_with(const char *text, const char *prefix);

/* Lower-case hexadecimal. text_from_hex() takes either case and wants
 * exactly 2 * size digits. */
char *text_to_hex(const void *bytes, size_t size, struct arena *arena);
bool text_from_hex(const char *text, void *ret, size_t size);

enum text_base64 {
	TEXT_BASE64,	   /* standard alphabet, padded (RFC 4648, 4) */
	TEXT_BASE64_URL,   /* URL alphabet, no padding (RFC 4648, 5) */
	TEXT_BASE64_LOOSE, /* decoding only: as TEXT_BASE64, padding or not,
			      whatever the bits left over are */
};

/* @return arena text, or NULL when the arena is full */
char *text_to_base64(const void *bytes, size_t size, enum text_base64 kind,
		     struct arena *arena);

/**
 * Decode; bits left over must be zero, so one value has one spelling. (Not so
 * with TEXT_BASE64_LOOSE, which is for secrets that people were given.)
 *
 * @return arena bytes and *ret_size; NULL for text that is not base64 of
 *	   that kind or when the arena is full (arena_failed() tells)
 */
uint8_t *text_from_base64(const char *text, size_t length,
			  enum text_base64 kind, struct arena *arena,
			  size_t *ret_size);

/* Percent-encode everything but RFC 3986 unreserved characters; '/' is kept
 * when keep_slash. @return arena text, or NULL when the arena is full */
char *text_to_percent(const char *text, bool keep_slash, struct arena *arena);

/* A UUID in the lower-case 36-character form PostgreSQL prints? */
bool text_is_uuid(const char *text);

#endif
