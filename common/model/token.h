/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_TOKEN_H
#define COMMON_MODEL_TOKEN_H

#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The token in a webhook URL: proof that we handed the URL out for this job,
 * this paid attempt and this provider. Its form is
 *	attempt "." base64url(HMAC-SHA256(key, id "." attempt "." provider))
 */

enum {
	TOKEN_KEY_BYTES = 32,
	TOKEN_KEYS = 2, /* the one in use and the one before it */
	TOKEN_MOST_BYTES = 10 + 1 + 43,
};

/* The keys in WEBHOOK_TOKEN_KEY: key[0] makes, all of them verify. */
struct token_keys {
	uint8_t key[TOKEN_KEYS][TOKEN_KEY_BYTES];
	size_t count;
};

/**
 * @job_id   UUID text
 * @attempt  paid start it is for, from 1
 *
 * @return arena text, or NULL when the arena is full
 */
char *token_make(const struct token_keys *keys, const char *job_id,
		 int32_t attempt, const char *provider, struct arena *arena);

/**
 * Check a token from a URL, in a time that does not tell how wrong it was.
 *
 * @return whether one of the keys made it for this job and provider, and
 *	   then *ret_attempt; false as well when the arena is full
 */
bool token_verify(const struct token_keys *keys, const char *token,
		  const char *job_id, const char *provider, struct arena *arena,
		  int32_t *ret_attempt);

#endif
