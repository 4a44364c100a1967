/* SPDX-License-Identifier: MIT */
/* Google's token endpoint for service accounts. */
#include "tests/simulator/google.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/keys.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/mischief.h"

#include "common/base/clock.h"
#include "common/base/dice.h"
#include "common/base/text.h"

#include <string.h>

#define TOKEN_PREFIX "ya29.simulator."
#define GRANT	     "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define SCOPE	     "https://www.googleapis.com/auth/cloud-platform"
#define REAL_AUD     "https://oauth2.googleapis.com/token"

enum { LIFETIME_S = 3599, SKEW_S = 60, TOKENS_MAX = 10000 };

bool oauth_is_ours(const char *token)
{
	return text_starts_with(token, TOKEN_PREFIX);
}

void oauth_forget_tokens(struct sim *sim)
{
	table_remove_prefix(sim->tokens, "");
}

const char *oauth_token_account(const struct sim *sim, const char *token)
{
	int64_t expires_s = (int64_t)(intptr_t)table_get(sim->tokens, token);

	return expires_s > clock_unix_s() ? keys_account_email(sim->keys)
					  : NULL;
}

static json_t *error_body(struct request *request, unsigned status,
			  const char *error)
{
	(void)request;
	if (!error)
		error = status >= 500 ? "internal_failure" : "invalid_grant";
	return json_pack("{s:s, s:s}", "error", error, "error_description",
			 "simulated");
}

static void refuse(struct request *request, const char *error,
		   const char *description)
{
	reply_json(request, 400,
		   json_pack("{s:s, s:s}", "error", error, "error_description",
			     description));
}

/* A parameter of the form in the body, decoded, or NULL. */
static char *form_value(struct request *request, const char *name)
{
	const char *query = request->query;
	char *value;

	request->query = request->body ? request->body : "";
	value = request_query(request, name);
	request->query = query;
	return value;
}

/* One base64url part of the assertion as JSON. New reference or NULL. */
static json_t *part_json(struct request *request, const char *part,
			 size_t length)
{
	size_t size;
	uint8_t *bytes = text_from_base64(part, length, TEXT_BASE64_URL,
					  request->arena, &size);

	return bytes ? json_loadb((char *)bytes, size, 0, NULL) : NULL;
}

static bool is_good_audience(const struct sim *sim, const char *audience)
{
	size_t length = strlen(sim->own_url);

	return strcmp(audience, REAL_AUD) == 0 ||
	       (strncmp(audience, sim->own_url, length) == 0 &&
		strcmp(audience + length, "/google/token") == 0);
}

/* @return what is wrong with the claims, or NULL */
static const char *check_claims(const struct sim *sim, const json_t *claims)
{
	const char *iss = json_string_value(json_object_get(claims, "iss"));
	const char *aud = json_string_value(json_object_get(claims, "aud"));
	const char *scope = json_string_value(json_object_get(claims, "scope"));
	int64_t iat = json_integer_value(json_object_get(claims, "iat"));
	int64_t exp = json_integer_value(json_object_get(claims, "exp"));
	int64_t now = clock_unix_s();

	if (!iss || strcmp(iss, keys_account_email(sim->keys)) != 0)
		return "Invalid grant: account not found";
	if (!aud || !is_good_audience(sim, aud))
		return "Invalid JWT: wrong audience";
	if (!scope || !strstr(scope, SCOPE))
		return "Invalid OAuth scope or ID token audience provided.";
	if (iat > now + SKEW_S || exp <= now - SKEW_S || exp - iat > 3600 ||
	    exp <= iat)
		return "Invalid JWT: Token must be a short-lived token (60 "
		       "minutes) and in a reasonable timeframe.";
	return NULL;
}

/* @return what is wrong with the assertion, or NULL */
static const char *check(struct request *request, const char *assertion)
{
	const char *dot = strchr(assertion, '.');
	const char *second = dot ? strchr(dot + 1, '.') : NULL;
	json_t *header, *claims;
	const char *wrong;
	uint8_t *signature;
	size_t size = 0;
	const char *algorithm;

	if (!second)
		return "Invalid JWT: not three parts";
	header = part_json(request, assertion, (size_t)(dot - assertion));
	claims = part_json(request, dot + 1, (size_t)(second - dot - 1));
	signature = text_from_base64(second + 1, strlen(second + 1),
				     TEXT_BASE64_URL, request->arena, &size);
	algorithm = json_string_value(json_object_get(header, "alg"));
	if (!algorithm || strcmp(algorithm, "RS256") != 0)
		wrong = "Invalid JWT: alg must be RS256";
	else if (!signature || !keys_verify_rs256(request->sim->keys, assertion,
						  (size_t)(second - assertion),
						  signature, size))
		wrong = "Invalid JWT Signature.";
	else
		wrong = check_claims(request->sim, claims);
	json_decref(header);
	json_decref(claims);
	return wrong;
}

static void issue(struct request *request)
{
	struct sim *sim = request->sim;
	uint8_t bits[24];
	char *token;

	dice_fill(bits, sizeof(bits));
	token = arena_printf(request->arena, TOKEN_PREFIX "%s",
			     text_to_hex(bits, sizeof(bits), request->arena));
	if (table_count(sim->tokens) >= TOKENS_MAX)
		oauth_forget_tokens(sim);
	table_set(sim->tokens, token,
		  (void *)(intptr_t)(clock_unix_s() + LIFETIME_S));
	sim->tokens_issued++;
	reply_json(request, 200,
		   json_pack("{s:s, s:i, s:s}", "access_token", token,
			     "expires_in", (int)LIFETIME_S, "token_type",
			     "Bearer"));
}

void oauth_handle(struct request *request)
{
	const char *grant = form_value(request, "grant_type");
	const char *assertion = form_value(request, "assertion");
	struct mischief mischief;
	const char *wrong;

	if (request->method != HTTP_POST ||
	    strcmp(request->path, "/google/token") != 0) {
		reply_json(request, 404, error_body(request, 404, NULL));
		return;
	}
	mischief = mischief_of(request, SIM_VERTEX, "token", NULL, NULL);
	if (mischief_refuse(request, &mischief, error_body))
		return;
	if (!grant || strcmp(grant, GRANT) != 0) {
		refuse(request, "unsupported_grant_type", "Invalid grant_type");
		return;
	}
	wrong = assertion ? check(request, assertion)
			  : "Missing required parameter: assertion";
	if (wrong) {
		refuse(request, "invalid_grant", wrong);
		return;
	}
	issue(request);
	mischief_spoil(request, &mischief, error_body);
}
