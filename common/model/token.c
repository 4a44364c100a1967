/* SPDX-License-Identifier: MIT */
#include "common/model/token.h"

#include "common/base/crypto.h"
#include "common/base/text.h"

#include <string.h>

static char *make(const uint8_t key[TOKEN_KEY_BYTES], const char *job_id,
		  int32_t attempt, const char *provider, struct arena *arena)
{
	uint8_t mac[SHA256_BYTES];
	char *signed_text, *mac_text;

	signed_text =
		arena_printf(arena, "%s.%d.%s", job_id, attempt, provider);
	if (!signed_text)
		return NULL;
	crypto_hmac_sha256(key, TOKEN_KEY_BYTES, signed_text,
			   strlen(signed_text), mac);
	mac_text = text_to_base64(mac, sizeof(mac), TEXT_BASE64_URL, arena);
	if (!mac_text)
		return NULL;
	return arena_printf(arena, "%d.%s", attempt, mac_text);
}

char *token_make(const struct token_keys *keys, const char *job_id,
		 int32_t attempt, const char *provider, struct arena *arena)
{
	return make(keys->key[0], job_id, attempt, provider, arena);
}

/* The number before the first dot, or 0. */
static int32_t attempt_of(const char *token, struct arena *arena)
{
	const char *dot = strchr(token, '.');
	char *digits =
		dot ? arena_strndup(arena, token, (size_t)(dot - token)) : NULL;
	int64_t attempt = 0;

	if (digits)
		(void)text_to_int64(digits, 1, INT32_MAX, &attempt);
	return (int32_t)attempt;
}

bool token_verify(const struct token_keys *keys, const char *token,
		  const char *job_id, const char *provider, struct arena *arena,
		  int32_t *ret_attempt)
{
	size_t length = strnlen(token, TOKEN_MOST_BYTES + 1);
	bool genuine = false;
	int32_t attempt;

	if (length > TOKEN_MOST_BYTES)
		return false;
	attempt = attempt_of(token, arena);
	if (attempt == 0)
		return false;

	/* The expected text is compared whole, so that one token has one
	 * spelling, and every key is tried, so that time tells nothing. */
	for (size_t i = 0; i < keys->count; i++) {
		const char *want =
			make(keys->key[i], job_id, attempt, provider, arena);

		if (want && strlen(want) == length)
			genuine |= crypto_equal(want, token, length);
	}
	if (genuine)
		*ret_attempt = attempt;
	return genuine;
}
