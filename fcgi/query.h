/* SPDX-License-Identifier: MIT */
#ifndef FCGI_QUERY_H
#define FCGI_QUERY_H

#include "fcgi/exchange.h"

#include <stdint.h>

/* Query parameters, strictly: what cannot be read is refused, not ignored. */

enum { QUERY_E_BAD = 1 }; /* *ret is filled with the refusal */

/**
 * A parameter's value, percent-decoded.
 *
 * @ret_value  NULL when it is not there
 *
 * @return 0; QUERY_E_BAD: doubled, or not to be decoded; -ENOMEM
 */
_must_check_ int query_text(const struct request *request, const char *name,
			    const char **ret_value, struct reply *ret);

/* "limit": a number from 1 to most. */
_must_check_ int query_limit(const struct request *request, int64_t if_missing,
			     int64_t most, int64_t *ret_limit,
			     struct reply *ret);

/**
 * "cursor": where the page before ended, as cursor_make() wrote it.
 *
 * @kind        which list it is of; a cursor of another list is refused
 * @ret_after   NULL without one
 */
_must_check_ int query_cursor(const struct request *request, char kind,
			      const char **ret_after, struct reply *ret);

/* Opaque text that says where a page ended. @return arena text or NULL */
const char *cursor_make(char kind, const char *after, struct arena *arena);

#endif
