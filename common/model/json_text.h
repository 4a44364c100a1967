/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_JSON_TEXT_H
#define COMMON_MODEL_JSON_TEXT_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * JSON from strangers and back: what jansson accepts, less what would hurt
 * later. Only texts that pass json_text_read() reach PostgreSQL.
 */

/**
 * Parse a whole JSON text whose outermost value is an object or an array.
 *
 * Refused beyond what RFC 8259 refuses: a key given twice; the character
 * U+0000, which PostgreSQL's jsonb cannot hold; numbers outside of what a
 * 64-bit integer or a double can hold (also those that would become zero);
 * nesting over LIMIT_JSON_DEPTH; more than LIMIT_JSON_VALUES values. The last
 * two are counted before anything is built.
 *
 * @ret  a new reference; hold it with _cleanup_(json_decrefp)
 *
 * @return 0; -EBADMSG, the fault says what is wrong and where; -EFBIG for
 *	   the limits; -ENOMEM
 */
_must_check_ int json_text_read(const char *text, size_t size, json_t **ret,
				struct fault *reterr_fault);

/**
 * json_loadb() that tells a want of memory from wrong JSON, without any of
 * the limits above.
 *
 * @return 0; -ENOMEM; -EBADMSG, and *reterr has jansson's words
 */
_must_check_ int json_text_load(const char *text, size_t size, size_t flags,
				json_t **ret, json_error_t *reterr);

/**
 * The same, and integers beyond 64 bits (seeds) become reals. PostgreSQL gives
 * back with all its digits what was stored as 1e20, so this is how what comes
 * from there is read.
 */
_must_check_ int json_text_load_large(const char *text, size_t size,
				      size_t flags, json_t **ret,
				      json_error_t *reterr);

/* Whether jansson asked for memory in vain, on this thread, since the last
 * json_text_watch(): then what it made is not what was meant. */
void json_text_watch(void);
bool json_text_starved(void);

/**
 * Write any value as compact text. Numbers come out with as few digits as
 * tell all of them apart from their neighbours (0.1 stays 0.1, but beside one
 * that needs 17 digits it gets 17, too). Object keys keep their order.
 *
 * @return arena text, or NULL when the arena (or memory) is full
 */
char *json_text_write(json_t *value, struct arena *arena);

/* How many arrays and objects are in each other, stopping at most + 1; a
 * plain value has depth 0. */
size_t json_text_depth(json_t *value, size_t most);

/**
 * Append "/" and a key to a JSON pointer (RFC 6901: "~" and "/" within the
 * key become ~0 and ~1). No NUL is written behind it.
 *
 * @size  bytes of the pointer so far; 0 for the root
 *
 * @return whether it fit; the pointer is unchanged otherwise
 */
enum { JSON_TEXT_POINTER_BYTES = 1024 };
bool json_text_add_key(char pointer[JSON_TEXT_POINTER_BYTES], size_t *size,
		       const char *key);

#endif
