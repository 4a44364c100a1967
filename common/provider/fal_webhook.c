/* SPDX-License-Identifier: MIT */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/provider/fal.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/*
 * fal's webhooks: Ed25519 over four lines. Manual:
 * https://docs.fal.ai/model-endpoints/webhooks (read 2026-11-23).
 */

enum {
	TOLERANCE_S = 300,
	USER_ID_MAX = 255,
	KEY_TEXT_MAX = 64, /* of 43 characters of base64url */
};

static const char request_id_header[] = "X-Fal-Webhook-Request-Id";
static const char user_id_header[] = "X-Fal-Webhook-User-Id";
static const char timestamp_header[] = "X-Fal-Webhook-Timestamp";
static const char signature_header[] = "X-Fal-Webhook-Signature";

static bool is_unsigned(const struct provider_webhook *webhook)
{
	static const char *const names[] = {
		request_id_header,
		user_id_header,
		timestamp_header,
		signature_header,
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (http_header_count(webhook->header, webhook->header_count,
				      names[i]) > 0)
			return false;
	return true;
}

/* @ret_message  what was signed; NULL when the arena is full
 * @return whether the headers are as they should be */
static bool read_headers(const struct provider_webhook *webhook,
			 struct arena *arena, const char **ret_message,
			 uint8_t ret_signature[ED25519_SIGNATURE_BYTES])
{
	const char *id = wire_only_header(webhook, request_id_header);
	const char *user = wire_only_header(webhook, user_id_header);
	const char *timestamp = wire_only_header(webhook, timestamp_header);
	const char *signature = wire_only_header(webhook, signature_header);
	uint8_t digest[SHA256_BYTES];
	const char *hex;
	int64_t sent_s;

	/* Visible characters only: a line feed in one of them would let two
	 * different deliveries be the same message. */
	if (!id || !user || !timestamp || !signature ||
	    !wire_is_visible(id, LIMIT_DELIVERY_ID_BYTES) ||
	    !wire_is_visible(user, USER_ID_MAX) ||
	    !text_to_int64(timestamp, 0, INT64_MAX / 2, &sent_s) ||
	    sent_s < webhook->now_unix_s - TOLERANCE_S ||
	    sent_s > webhook->now_unix_s + TOLERANCE_S ||
	    !text_from_hex(signature, ret_signature, ED25519_SIGNATURE_BYTES))
		return false;

	crypto_sha256(webhook->body, webhook->body_bytes, digest);
	hex = text_to_hex(digest, sizeof(digest), arena);
	*ret_message = hex ? arena_printf(arena, "%s\n%s\n%s\n%s", id, user,
					  timestamp, hex)
			   : NULL;
	return true;
}

static bool decode_key(const char *text, struct arena *arena,
		       uint8_t ret[ED25519_KEY_BYTES])
{
	size_t size = 0;
	uint8_t *bytes;

	if (strlen(text) > KEY_TEXT_MAX)
		return false;
	bytes = text_from_base64(text, strlen(text), TEXT_BASE64_URL, arena,
				 &size);
	if (!bytes || size != ED25519_KEY_BYTES)
		return false;
	memcpy(ret, bytes, ED25519_KEY_BYTES);
	return true;
}

enum provider_verdict fal_verify(const struct provider_webhook *webhook,
				 struct arena *arena,
				 const char **ret_delivery_id)
{
	uint8_t signature[ED25519_SIGNATURE_BYTES];
	const char *message = NULL;

	*ret_delivery_id = NULL;
	if (is_unsigned(webhook))
		return PROVIDER_UNSIGNED;
	if (!read_headers(webhook, arena, &message, signature))
		return PROVIDER_FORGED;
	if (!message)
		return PROVIDER_KEY_UNKNOWN; /* out of memory: nobody looked */

	/* The headers do not say which key it was: every one is tried. */
	for (size_t i = 0; i < webhook->key_count; i++) {
		uint8_t key[ED25519_KEY_BYTES];

		if (!decode_key(webhook->key[i].key, arena, key) ||
		    !crypto_ed25519_verify(key, signature, message,
					   strlen(message)))
			continue;
		/* One delivery a request: its id tells a repeated one. */
		*ret_delivery_id = arena_strdup(
			arena, wire_only_header(webhook, request_id_header));
		if (*ret_delivery_id)
			return PROVIDER_GENUINE;
	}
	return PROVIDER_KEY_UNKNOWN;
}

/* Nothing may be taken from it but that it is time to look. */
static struct provider_event hint(void)
{
	struct provider_event event = wire_event(JOB_PROGRESS);

	event.hint = true;
	return event;
}

static struct provider_event failed(json_t *body, struct arena *arena)
{
	json_t *payload = json_object_get(body, "payload");
	struct fal_trouble trouble = {
		.status = fal_status_in_text(wire_string(body, "error")),
	};

	if (json_is_object(payload))
		(void)fal_read_trouble(payload, &trouble);
	if (!trouble.type)
		trouble.type = wire_string(body, "error_type");
	if (!trouble.message)
		trouble.message = json_object_get(body, "error");

	/* What is nobody's fault for sure is looked up: the queue's status
	 * names the type. */
	if (!fal_is_known(trouble.type) &&
	    (trouble.status < 400 || trouble.status >= 500))
		return hint();
	return fal_failure(&trouble, arena);
}

int fal_webhook_event(const struct provider_webhook *webhook,
		      struct arena *arena, struct provider_event *ret,
		      struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	const char *id, *status;
	json_t *payload;
	int r = wire_parse(webhook->body, webhook->body_bytes, &body);

	if (r < 0)
		return fault_set(reterr_fault, r,
				 r == -ENOMEM ? "no memory for the webhook"
					      : "not a JSON object");
	id = wire_string(body, "request_id");
	status = wire_string(body, "status");
	if (!id || !status || !wire_is_id(id, WIRE_ID_MAX))
		return fault_set(reterr_fault, -EBADMSG,
				 "a webhook of fal has a request_id and a "
				 "status");

	payload = json_object_get(body, "payload");
	if (strcasecmp(status, "OK") == 0) {
		/* Too large, or not to be said in JSON: the queue has it. */
		event = json_is_object(payload) || json_is_array(payload)
				? fal_rendered(payload, arena)
				: hint();
	} else if (strcasecmp(status, "ERROR") == 0) {
		event = failed(body, arena);
	} else {
		event = hint();
		event.unknown_status = wire_message(status, arena);
	}
	event.provider_job_id = arena_strdup(arena, id);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

static bool has_id(const struct provider_key *keys, size_t count,
		   const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].id && strcmp(keys[i].id, id) == 0)
			return true;
	return false;
}

int fal_keys_event(const struct http_response *response, struct arena *arena,
		   struct provider_key *ret_keys, size_t most,
		   size_t *ret_count, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	const json_t *keys;
	size_t count = 0;
	int r = 0;

	if (!wire_is_success(response))
		return fault_set(reterr_fault, -EBADMSG,
				 "webhook keys: fal answered HTTP %u",
				 response->status);
	r = wire_parse_answer(response, &body, reterr_fault);
	if (r < 0)
		return r;

	keys = json_object_get(body, "keys");
	for (size_t i = 0; i < json_array_size(keys) && count < most; i++) {
		json_t *item = json_array_get(keys, i);
		const char *type = wire_string(item, "kty");
		const char *key = wire_string(item, "x");
		const char *id = wire_string(item, "kid");
		uint8_t bytes[ED25519_KEY_BYTES];

		if (!type || strcmp(type, "OKP") != 0 || !key ||
		    !decode_key(key, arena, bytes))
			continue;
		/* A key that has no name of its own goes by itself: keys are
		 * kept by name, and one must not displace another. */
		if (!id || !wire_is_visible(id, LIMIT_DELIVERY_ID_BYTES) ||
		    has_id(ret_keys, count, id))
			id = key;
		ret_keys[count++] = (struct provider_key){
			.id = arena_strdup(arena, id),
			.key = arena_strdup(arena, key),
		};
	}
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the answer");
	if (count == 0)
		return fault_set(reterr_fault, -EBADMSG,
				 "webhook keys: no Ed25519 key in the answer");
	*ret_count = count;
	return 0;
}
