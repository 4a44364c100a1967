/* SPDX-License-Identifier: MIT */
/* Standard Webhooks for Replicate, Ed25519 for fal; and their forgeries. */
#include "tests/simulator/sign.h"

#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"

#include "common/base/clock.h"
#include "common/base/dice.h"

#include <stdio.h>
#include <string.h>

enum { FORGED_TIME_S = 3600, NO_KEY = 1000 };

#define WRONG_SIGNATURE "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="

enum forge forge_from_name(const char *name)
{
	static const char *const names[] = {
		[FORGE_UNSIGNED] = "unsigned",
		[FORGE_SIGNATURE] = "signature",
		[FORGE_KEY] = "key",
		[FORGE_BODY] = "body",
		[FORGE_STALE] = "stale",
		[FORGE_FUTURE] = "future",
		[FORGE_MALFORMED] = "malformed",
		[FORGE_DOUBLED] = "doubled",
		[FORGE_TOKEN] = "token",
		[FORGE_OTHER] = "other",
	};

	for (size_t i = 1; name && i < COUNT_OF(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (enum forge)i;
	return FORGE_NONE;
}

void signature_begin(struct signature *signature, const struct job *job)
{
	uint64_t bits[2];

	(void)job;
	dice_fill(bits, sizeof(bits));
	signature->id =
		take_printf("msg_%016llx%08llx", (unsigned long long)bits[0],
			    (unsigned long long)(bits[1] >> 32));
}

void signature_same_id(struct signature *signature, const char *id)
{
	free(signature->id);
	signature->id = take_text(id);
}

static void clear_values(struct signature *signature)
{
	for (size_t i = 0; i < COUNT_OF(signature->value); i++) {
		free(signature->value[i]);
		signature->value[i] = NULL;
	}
}

void signature_clear(struct signature *signature)
{
	clear_values(signature);
	free(signature->id);
	signature->id = NULL;
}

static void header(struct exchange *exchange, const char *name,
		   const char *value)
{
	exchange->header[exchange->header_count++] =
		(struct http_header){ .name = name, .value = value };
}

static int64_t signing_time(const struct signature *signature)
{
	int64_t now_s = clock_unix_s();

	if (signature->forge == FORGE_STALE)
		return now_s - FORGED_TIME_S;
	if (signature->forge == FORGE_FUTURE)
		return now_s + FORGED_TIME_S;
	return now_s;
}

/* The header's value: one signature a key, among wrong ones if wanted. */
static char *standard_value(const struct signature *signature,
			    const struct keys *keys, const char *bytes)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool unknown = signature->forge == FORGE_KEY;
	int wrong = signature->signatures;

	if (!out)
		abort();
	for (int i = 1; i < wrong; i++)
		(void)fprintf(out, "%s," WRONG_SIGNATURE " ",
			      i % 2 ? "v1" : "v2");
	for (size_t i = 0; unknown || keys_secret(keys, i); i++) {
		_cleanup_text_ char *one = keys_sign_standard(
			keys, unknown ? NO_KEY : i, bytes, strlen(bytes));

		(void)fprintf(out, "%sv1,%s", i ? " " : "", one);
		if (unknown)
			break;
	}
	(void)fclose(out);
	return text;
}

static void apply_standard(struct signature *signature, const struct job *job,
			   struct exchange *exchange)
{
	const struct keys *keys = job->sim->keys;
	const char *body = exchange->body;
	_cleanup_text_ char *bytes = NULL;

	signature->value[0] =
		take_printf("%lld", (long long)signing_time(signature));
	bytes = take_printf("%s.%s.%s", signature->id, signature->value[0],
			    signature->forge == FORGE_BODY ? "{}" : body);
	if (signature->forge == FORGE_SIGNATURE)
		signature->value[1] = take_text("v1," WRONG_SIGNATURE);
	else if (signature->forge == FORGE_MALFORMED)
		signature->value[1] = take_text("v1,not*base64 v1 ,,");
	else
		signature->value[1] = standard_value(signature, keys, bytes);
	header(exchange, "webhook-id", signature->id);
	header(exchange, "webhook-timestamp", signature->value[0]);
	header(exchange, "webhook-signature", signature->value[1]);
	if (signature->forge == FORGE_DOUBLED)
		header(exchange, "webhook-signature", signature->value[1]);
}

static void apply_fal(struct signature *signature, const struct job *job,
		      struct exchange *exchange)
{
	const struct keys *keys = job->sim->keys;
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX_SIZE];
	_cleanup_text_ char *message = NULL;

	crypto_sha256(exchange->body,
		      signature->forge == FORGE_BODY ? 0 : exchange->body_bytes,
		      hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	signature->value[0] =
		take_printf("%lld", (long long)signing_time(signature));
	message = take_printf("%s\nsimulator_user\n%s\n%s", job->start->id,
			      signature->value[0], hex);
	signature->value[1] = keys_sign_fal(keys, signature->forge == FORGE_KEY,
					    message, strlen(message));
	if (signature->forge == FORGE_SIGNATURE)
		memcpy(signature->value[1], "00112233", 8);
	if (signature->forge == FORGE_MALFORMED)
		memcpy(signature->value[1], "zz", 2);
	header(exchange, "X-Fal-Webhook-Request-Id", job->start->id);
	header(exchange, "X-Fal-Webhook-User-Id", "simulator_user");
	header(exchange, "X-Fal-Webhook-Timestamp", signature->value[0]);
	header(exchange, "X-Fal-Webhook-Signature", signature->value[1]);
	if (signature->forge == FORGE_DOUBLED)
		header(exchange, "X-Fal-Webhook-Signature",
		       signature->value[1]);
}

void signature_apply(struct signature *signature, const struct job *job,
		     struct exchange *exchange)
{
	clear_values(signature);
	header(exchange, "Content-Type", "application/json");
	if (signature->forge == FORGE_UNSIGNED)
		return;
	if (job->provider == SIM_FAL)
		apply_fal(signature, job, exchange);
	else
		apply_standard(signature, job, exchange);
}
