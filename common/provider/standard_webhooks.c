/* SPDX-License-Identifier: MIT */
#include "common/provider/standard_webhooks.h"

#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/provider/wire.h"

#include <string.h>

struct delivery {
	const char *id;
	const char *timestamp;
	const char *signatures;
};

static bool is_unsigned(const struct provider_webhook *webhook)
{
	static const char *const names[] = {
		"webhook-id",
		"webhook-timestamp",
		"webhook-signature",
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (http_header_count(webhook->header, webhook->header_count,
				      names[i]) > 0)
			return false;
	return true;
}

static bool read_delivery(const struct provider_webhook *webhook,
			  struct delivery *ret)
{
	int64_t sent_s;

	ret->id = wire_only_header(webhook, "webhook-id");
	ret->timestamp = wire_only_header(webhook, "webhook-timestamp");
	ret->signatures = wire_only_header(webhook, "webhook-signature");
	/* A full stop ends the id in what is signed: with one in it, the same
	 * signature would do for another time and another body. */
	if (!ret->id || !ret->timestamp || !ret->signatures ||
	    !wire_is_visible(ret->id, LIMIT_DELIVERY_ID_BYTES) ||
	    strchr(ret->id, '.'))
		return false;

	return text_to_int64(ret->timestamp, 0, INT64_MAX / 2, &sent_s) &&
	       sent_s >= webhook->now_unix_s - STANDARD_WEBHOOKS_TOLERANCE_S &&
	       sent_s <= webhook->now_unix_s + STANDARD_WEBHOOKS_TOLERANCE_S;
}

/* NULL for a text that is no key; arena memory. */
static uint8_t *decode_key(const char *key, struct arena *arena,
			   size_t *ret_size)
{
	const char *text = text_starts_with(key, "whsec_") ? key + 6 : key;
	uint8_t *bytes;

	bytes = text_from_base64(text, strlen(text), TEXT_BASE64_LOOSE, arena,
				 ret_size);
	return bytes && *ret_size > 0 ? bytes : NULL;
}

bool standard_webhooks_is_key(const char *key, struct arena *arena)
{
	size_t size;

	return decode_key(key, arena, &size) != NULL;
}

/* The n-th signature of version 1 in the list; NULL past the last. Labels of
 * other versions never count: what they mean is not for us to guess. */
static const uint8_t *find_signature(const char *list, size_t n,
				     struct arena *arena)
{
	for (int i = 0; *list && i < STANDARD_WEBHOOKS_SIGNATURES; i++) {
		size_t length = strcspn(list, " ");

		if (text_starts_with(list, "v1,")) {
			size_t size = 0;
			const uint8_t *bytes =
				text_from_base64(list + 3, length - 3,
						 TEXT_BASE64, arena, &size);

			if (bytes && size == SHA256_BYTES && n-- == 0)
				return bytes;
		}
		list += length;
		list += strspn(list, " ");
	}
	return NULL;
}

static char *signed_content(const struct provider_webhook *webhook,
			    const struct delivery *delivery,
			    struct arena *arena, size_t *ret_size)
{
	size_t id_length = strlen(delivery->id);
	size_t timestamp_length = strlen(delivery->timestamp);
	size_t head = id_length + timestamp_length + 2;
	char *content = arena_alloc(arena, head + webhook->body_bytes);

	if (!content)
		return NULL;
	memcpy(content, delivery->id, id_length);
	content[id_length] = '.';
	memcpy(content + id_length + 1, delivery->timestamp, timestamp_length);
	content[head - 1] = '.';
	if (webhook->body_bytes > 0)
		memcpy(content + head, webhook->body, webhook->body_bytes);
	*ret_size = head + webhook->body_bytes;
	return content;
}

/* Would this key have signed any of these? */
static bool fits(const char *key_text, const char *content, size_t content_size,
		 const char *signatures, struct arena *arena)
{
	size_t key_size = 0;
	const uint8_t *key = decode_key(key_text, arena, &key_size);
	const uint8_t *signature;
	uint8_t digest[SHA256_BYTES];
	bool found = false;

	if (!key)
		return false;
	crypto_hmac_sha256(key, key_size, content, content_size, digest);
	for (size_t n = 0; (signature = find_signature(signatures, n, arena));
	     n++)
		if (crypto_equal(signature, digest, SHA256_BYTES))
			found = true;
	return found;
}

enum provider_verdict
standard_webhooks_verify(const struct provider_webhook *webhook,
			 struct arena *arena, const char **ret_delivery_id)
{
	struct delivery delivery;
	size_t content_size = 0;
	bool genuine = false;
	char *content;

	*ret_delivery_id = NULL;
	if (is_unsigned(webhook))
		return PROVIDER_UNSIGNED;
	if (!read_delivery(webhook, &delivery))
		return PROVIDER_FORGED;
	if (!find_signature(delivery.signatures, 0, arena))
		return arena_failed(arena) ? PROVIDER_KEY_UNKNOWN
					   : PROVIDER_FORGED;

	content = signed_content(webhook, &delivery, arena, &content_size);
	for (size_t i = 0; content && i < webhook->key_count; i++)
		if (fits(webhook->key[i].key, content, content_size,
			 delivery.signatures, arena))
			genuine = true;

	if (genuine && !arena_failed(arena))
		*ret_delivery_id = arena_strdup(arena, delivery.id);
	return *ret_delivery_id ? PROVIDER_GENUINE : PROVIDER_KEY_UNKNOWN;
}
