/* SPDX-License-Identifier: MIT */
/*
 * Signatures of webhooks. Input: a byte of choices, four header values as
 * lines, the body.
 *
 * Chosen by bit 1, the target signs the delivery itself: then only the form of
 * the headers and the clock may stand against it. Otherwise the signature is
 * the input's, and nothing that has not the key may ever be genuine.
 */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/provider/standard_webhooks.h"
#include "common/provider/wire.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
	NOW_UNIX_S = 1764000000,
	TOLERANCE_S = 300,
	ARENA_BYTES = 256 * 1024,
	HEADERS = 6,
	SEED_BYTES = 32,
};

static const uint8_t secret[24] = "twenty-four secret bytes";
#define SECRET "whsec_dHdlbnR5LWZvdXIgc2VjcmV0IGJ5dGVz"

/* The seed of RFC 8032, 7.1, TEST 1, and its public half. */
static const uint8_t seed[SEED_BYTES] = {
	0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
	0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
	0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
};
#define PUBLIC "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

struct delivery {
	bool fal, sign, doubled;
	char *id, *user, *timestamp, *signature, *body;
	size_t body_bytes;
};

/* One that is written as we would write it, and near enough. */
static bool is_timely(const char *timestamp)
{
	char again[32];
	long long sent_s = strtoll(timestamp, NULL, 10);

	(void)snprintf(again, sizeof(again), "%lld", sent_s);
	return strcmp(again, timestamp) == 0 && sent_s >= 0 &&
	       llabs(sent_s - NOW_UNIX_S) <= TOLERANCE_S;
}

static void sign_standard(struct delivery *delivery, struct arena *arena)
{
	char *content = arena_printf(arena, "%s.%s.", delivery->id,
				     delivery->timestamp);
	size_t head = strlen(content);
	uint8_t *whole = arena_alloc(arena, head + delivery->body_bytes + 1);
	uint8_t mac[SHA256_BYTES];
	unsigned size = sizeof(mac);
	const char *text;

	HOLDS(whole);
	memcpy(whole, content, head);
	memcpy(whole + head, delivery->body, delivery->body_bytes);
	HOLDS(HMAC(EVP_sha256(), secret, sizeof(secret), whole,
		   head + delivery->body_bytes, mac, &size));
	text = arena_printf(
		arena, "v1,%s",
		text_to_base64(mac, sizeof(mac), TEXT_BASE64, arena));
	free(delivery->signature);
	delivery->signature = copy_of(text, strlen(text));
}

static void sign_fal(struct delivery *delivery, struct arena *arena)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
						     seed, sizeof(seed));
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t digest[SHA256_BYTES], signature[ED25519_SIGNATURE_BYTES];
	size_t size = sizeof(signature);
	char *message, *text;

	crypto_sha256(delivery->body, delivery->body_bytes, digest);
	message = arena_printf(arena, "%s\n%s\n%s\n%s", delivery->id,
			       delivery->user, delivery->timestamp,
			       text_to_hex(digest, sizeof(digest), arena));
	HOLDS(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1);
	HOLDS(EVP_DigestSign(context, signature, &size,
			     (const uint8_t *)message, strlen(message)) == 1);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	text = text_to_hex(signature, sizeof(signature), arena);
	free(delivery->signature);
	delivery->signature = copy_of(text, strlen(text));
}

static size_t list_headers(const struct delivery *delivery,
			   struct http_header header[HEADERS])
{
	const struct http_header standard[] = {
		{ "webhook-id", delivery->id },
		{ "webhook-timestamp", delivery->timestamp },
		{ "webhook-signature", delivery->signature },
	};
	const struct http_header fal[] = {
		{ "x-fal-webhook-request-id", delivery->id },
		{ "x-fal-webhook-user-id", delivery->user },
		{ "x-fal-webhook-timestamp", delivery->timestamp },
		{ "x-fal-webhook-signature", delivery->signature },
	};
	size_t count = delivery->fal ? COUNT_OF(fal) : COUNT_OF(standard);

	memcpy(header, delivery->fal ? fal : standard, count * sizeof(*header));
	if (delivery->doubled) {
		header[count] = header[delivery->body_bytes % count];
		count++;
	}
	return count;
}

static enum provider_verdict verify(const struct delivery *delivery,
				    const char *key, struct arena *arena,
				    const char **ret_id)
{
	struct http_header header[HEADERS];
	struct provider_key keys[] = { { "a", "no key at all" }, { "b", key } };
	struct provider_webhook webhook = {
		.header = header,
		.header_count = list_headers(delivery, header),
		.body = delivery->body,
		.body_bytes = delivery->body_bytes,
		.key = keys,
		.key_count = COUNT_OF(keys),
		.now_unix_s = NOW_UNIX_S,
	};

	return delivery->fal
		       ? fal_provider.verify(&webhook, arena, ret_id)
		       : standard_webhooks_verify(&webhook, arena, ret_id);
}

static bool is_well_formed(const struct delivery *delivery)
{
	return !delivery->doubled &&
	       wire_is_visible(delivery->id, LIMIT_DELIVERY_ID_BYTES) &&
	       (delivery->fal ? wire_is_visible(delivery->user, 255)
			      : !strchr(delivery->id, '.')) &&
	       is_timely(delivery->timestamp);
}

static void check_signed(struct delivery *delivery, struct arena *arena)
{
	const char *other = delivery->fal
				    ? "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0"
				      "Zgw"
				    : "whsec_dHdlbnR5LWZvdXIgc2VjcmV0IGJ5dGVa";
	const char *right = delivery->fal ? PUBLIC : SECRET, *id = NULL;
	enum provider_verdict verdict;

	if (delivery->fal)
		sign_fal(delivery, arena);
	else
		sign_standard(delivery, arena);
	verdict = verify(delivery, right, arena, &id);
	HOLDS(verdict ==
	      (is_well_formed(delivery) ? PROVIDER_GENUINE : PROVIDER_FORGED));
	HOLDS(verdict == PROVIDER_GENUINE ? strcmp(id, delivery->id) == 0
					  : !id);
	if (verdict != PROVIDER_GENUINE)
		return;
	HOLDS(verify(delivery, other, arena, &id) == PROVIDER_KEY_UNKNOWN);
	/* One bit of the body, wherever it is. */
	if (delivery->body_bytes > 0) {
		delivery->body[delivery->body_bytes / 2] ^= 1;
		HOLDS(verify(delivery, right, arena, &id) ==
		      PROVIDER_KEY_UNKNOWN);
		delivery->body[delivery->body_bytes / 2] ^= 1;
	}
	delivery->id[0] = delivery->id[0] == 'x' ? 'y' : 'x';
	HOLDS(verify(delivery, right, arena, &id) == PROVIDER_KEY_UNKNOWN);
	HOLDS(!id);
}

static void check_foreign(const struct delivery *delivery, struct arena *arena)
{
	const char *id = "untouched";
	enum provider_verdict verdict =
		verify(delivery, delivery->fal ? PUBLIC : SECRET, arena, &id);

	HOLDS(verdict == PROVIDER_FORGED || verdict == PROVIDER_KEY_UNKNOWN);
	HOLDS(!id);
	if (!is_well_formed(delivery))
		HOLDS(verdict == PROVIDER_FORGED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct input input = { data, size };
	uint8_t choice = input_byte(&input);
	struct delivery delivery = {
		.fal = choice & 1,
		.sign = choice & 2,
		.doubled = choice & 4,
		.id = input_line(&input),
		.user = input_line(&input),
		.timestamp = input_line(&input),
		.signature = input_line(&input),
	};

	delivery.body = input_rest(&input, &delivery.body_bytes);
	if (delivery.sign)
		check_signed(&delivery, arena);
	else
		check_foreign(&delivery, arena);
	free(delivery.id);
	free(delivery.user);
	free(delivery.timestamp);
	free(delivery.signature);
	free(delivery.body);
	return 0;
}
