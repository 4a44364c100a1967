/* SPDX-License-Identifier: MIT */
#ifndef FCGI_API_KEY_H
#define FCGI_API_KEY_H

#include "common/base/arena.h"
#include "common/base/crypto.h"
#include "common/base/fault.h"
#include "common/io/db.h"

/*
 * Who a bearer token belongs to. Of a key only the SHA-256 is known, here and
 * in the database; the active ones are kept in memory for ten seconds, which
 * is how long a revoked key may still work.
 */

struct api_keys;

struct api_keys *api_keys_new(void);
struct api_keys *api_keys_free(struct api_keys *keys); /* NULL is fine */
DEFINE_CLEANUP(struct api_keys *, api_keys_free);

/* Outcomes of api_keys_owner() that its caller handles. */
enum {
	API_KEY_E_UNKNOWN = 1,
	API_KEY_E_MISSING, /* no header, or one of another scheme */
};

/**
 * Find the owner of the key in an Authorization header.
 *
 * @header  "Bearer rsh_…", or NULL
 *
 * @return 0 and arena text; API_KEY_E_UNKNOWN; API_KEY_E_MISSING; -EAGAIN when
 *	   the database is away and the key is not known from before; -ENOMEM
 */
_must_check_ int api_keys_owner(struct api_keys *keys, struct db *db,
				const char *header, struct arena *arena,
				const char **ret_owner,
				struct fault *reterr_fault);

/* ---- the parts, for tests ---- */

struct api_key {
	uint8_t sha256[SHA256_BYTES];
	char *owner;
};

/* Take these keys for the active ones; owners are copied. */
_must_check_ int api_keys_replace(struct api_keys *keys,
				  const struct api_key *news, size_t count);

/* The key of an Authorization header, or NULL. Points into it. */
const char *api_key_from_header(const char *header);

/* Look only at what is in memory. @return arena text or NULL */
const char *api_keys_find(struct api_keys *keys, const char *key,
			  struct arena *arena);

#endif
