/* SPDX-License-Identifier: MIT */
/* Accepting a start, whoever the provider is. */
#include "tests/simulator/start.h"

#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/dice.h"

#include <stdio.h>
#include <string.h>

enum { INPUT_KEPT_BYTES = 65536 };

void start_random_id(char ret[27])
{
	static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
	uint8_t bytes[26];

	dice_fill(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		ret[i] = letters[bytes[i] & 31];
	ret[26] = '\0';
}

void start_random_uuid(char ret[37])
{
	uint8_t bits[10];

	dice_fill(bits, sizeof(bits));
	uuid_v7(clock_unix_ms(), bits, ret);
}

json_t *start_parse_body(const struct request *request)
{
	json_t *json = json_loadb(request->body ? request->body : "",
				  request->body_bytes, 0, NULL);

	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

/* SHA-256 of the compact JSON, sorted, without rushes_sim and storageUri. */
static void hash_input(const json_t *input, char ret[SHA256_HEX_SIZE])
{
	json_t *copy = json_copy((json_t *)(uintptr_t)input);
	json_t *parameters = json_object_get(copy, "parameters");
	_cleanup_text_ char *text = NULL;
	uint8_t hash[SHA256_BYTES];

	(void)json_object_del(copy, "rushes_sim");
	if (parameters) {
		parameters = json_copy(parameters);
		(void)json_object_del(parameters, "rushes_sim");
		(void)json_object_del(parameters, "storageUri");
		(void)json_object_set_new(copy, "parameters", parameters);
	}
	text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(copy);
	if (!text)
		abort();
	crypto_sha256(text, strlen(text), hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static bool over_rate(struct request *request,
		      const struct start_request *start)
{
	struct sim_account *account = &request->sim->provider[start->provider];
	char text[32];

	if (!mischief_over_rate(account))
		return false;
	(void)snprintf(text, sizeof(text), "%d",
		       1 + (int)(1 / account->rate.per_s));
	reply_header(request, "Retry-After", text);
	reply_json(request, 429, start->error_body(request, 429, NULL));
	return true;
}

/* May this start be accepted? If not, the request is answered. */
static bool passes(struct request *request, const struct start_request *start,
		   const char *key, struct mischief *ret_mischief)
{
	struct sim_account *account = &request->sim->provider[start->provider];
	struct fault fault = { 0 };

	if (start->words && words_check(start->words, &fault) < 0) {
		start->invalid(request, fault.text);
		return false;
	}
	*ret_mischief = mischief_of(request, start->provider, "start",
				    start->words, key);
	if (mischief_refuse(request, ret_mischief, start->error_body) ||
	    over_rate(request, start)) {
		account->refused++;
		return false;
	}
	return true;
}

struct job *start_accept(struct request *request,
			 const struct start_request *start,
			 struct mischief *ret_mischief)
{
	char input_sha256[SHA256_HEX_SIZE], our_job[UUID_SIZE] = "";
	int64_t attempt = 0;
	const char *key = json_string_value(json_object_get(
		json_is_object(start->words) ? start->words : NULL, "key"));
	struct job_plan plan;

	hash_input(start->input, input_sha256);
	(void)ledger_parse_webhook(start->webhook, our_job, &attempt);
	if (!key)
		key = our_job[0] ? our_job : input_sha256;
	if (!passes(request, start, key, ret_mischief))
		return NULL;
	plan = (struct job_plan){
		.provider = start->provider,
		.id = start->id,
		.account = start->account,
		.model = start->model,
		.webhook = start->webhook,
		.input = request->body_bytes <= INPUT_KEPT_BYTES ? start->input
								 : NULL,
		.input_sha256 = input_sha256,
		.words = start->words,
		.key = key,
		.url_base = request_base(request),
		.media_wanted = start->media_wanted,
		.fetch_inputs = start->fetch_inputs,
	};
	return job_new(request->sim, &plan);
}
