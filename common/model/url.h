/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_URL_H
#define COMMON_MODEL_URL_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"

#include <stdbool.h>
#include <stdint.h>

/* An absolute URL in its parts. All strings are in the arena. */
struct url {
	const char *scheme; /* lower case */
	const char *host;   /* lower case; IPv6 in its brackets */
	uint16_t port;	    /* of http and https always set; else 0: none */
	const char *path;   /* with the query, "/" if empty; no fragment */
};

/**
 * Split scheme://host[:port][/path][?query][#fragment].
 *
 * Stricter than RFC 3986: no user or password, no blanks, controls, quotes,
 * backslashes or bytes over 126, no percent signs or empty labels in the
 * host, a port from 1 to 65535 without leading zeros; a host is required
 * but for file:. At most LIMIT_URL_BYTES.
 *
 * @return 0; -EINVAL, the fault says what is wrong without repeating the
 *	   URL, which may hold a signature; -ENOMEM
 */
_must_check_ int url_split(const char *text, struct arena *arena,
			   struct url *ret, struct fault *reterr_fault);

/* Same scheme, host and port? Credentials go nowhere else. */
bool url_same_origin(const struct url *one, const struct url *other);

/* Is the host (lower case) the pattern's? A pattern is a host, or "*."
 * and a domain, which stands for all below the domain but not itself. */
bool url_host_matches(const char *host, const char *pattern);

/* base and path with exactly one slash between them. @return arena text, or
 * NULL when the arena is full */
char *url_join(const char *base, const char *path, struct arena *arena);

#endif
