/* SPDX-License-Identifier: MIT */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/provider/vertex.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/*
 * OAuth for service accounts: a JWT signed with the account's key buys an
 * access token. Manual: https://developers.google.com/identity/protocols/
 * oauth2/service-account (read 2026-11-23).
 */

enum {
	ASSERTION_LIFETIME_S = 3600, /* the most that is taken */
	TOKEN_LIFETIME_MAX_S = 24 * 3600,
};

static const char scope[] = "https://www.googleapis.com/auth/cloud-platform";

/* Borrowed from the service-account document. */
struct account {
	const char *email;
	const char *private_key;
	const char *key_id; /* or NULL */
	const char *token_uri;
};

static int read_account(const json_t *from, struct arena *arena,
			struct account *ret, struct fault *reterr_fault)
{
	const char *type = wire_string(from, "type");
	struct account account = {
		.email = wire_string(from, "client_email"),
		.private_key = wire_string(from, "private_key"),
		.key_id = wire_string(from, "private_key_id"),
		.token_uri = wire_string(from, "token_uri"),
	};

	if (type && strcmp(type, "service_account") != 0)
		return fault_set(reterr_fault, -EINVAL,
				 "credentials: only those of a service account "
				 "can be used");
	if (!account.email || !account.private_key || !account.token_uri)
		return fault_set(reterr_fault, -EINVAL,
				 "service account: client_email, private_key "
				 "or token_uri is missing");
	if (!wire_is_url(account.token_uri, arena))
		return fault_set(reterr_fault,
				 arena_failed(arena) ? -ENOMEM : -EINVAL,
				 "service account: token_uri is no URL");
	*ret = account;
	return 0;
}

static const char *encode_json(json_t *value, struct arena *arena)
{
	const char *text = value ? json_text_write(value, arena) : NULL;

	return text ? text_to_base64(text, strlen(text), TEXT_BASE64_URL, arena)
		    : NULL;
}

/* header "." claims, both base64url; NULL without memory */
static const char *signing_input(const struct account *account,
				 int64_t now_unix_s, struct arena *arena)
{
	json_auto_t *header = json_pack("{s:s, s:s, s:s*}", "alg", "RS256",
					"typ", "JWT", "kid", account->key_id);
	json_int_t issued = now_unix_s;
	json_int_t expires = issued + ASSERTION_LIFETIME_S;
	json_auto_t *claims =
		json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", account->email,
			  "scope", scope, "aud", account->token_uri, "iat",
			  issued, "exp", expires);
	const char *one = encode_json(header, arena);
	const char *other = encode_json(claims, arena);

	return one && other ? arena_printf(arena, "%s.%s", one, other) : NULL;
}

int vertex_token_request(const struct provider_conf *conf, int64_t now_unix_s,
			 struct arena *arena, struct http_request *ret,
			 struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST };
	json_auto_t *document = NULL;
	struct account account = { 0 };
	const char *input, *encoded;
	uint8_t *signature = NULL;
	size_t size = 0;
	int r = conf->account ? wire_parse(conf->account, strlen(conf->account),
					   &document)
			      : -EBADMSG;

	if (r < 0)
		return fault_set(reterr_fault, r == -ENOMEM ? r : -EINVAL,
				 "service account: not a JSON object");
	r = read_account(document, arena, &account, reterr_fault);
	if (r < 0)
		return r;
	input = signing_input(&account, now_unix_s, arena);
	if (!input)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for a token request");
	r = crypto_rs256_sign(account.private_key, input, strlen(input), arena,
			      &signature, &size, reterr_fault);
	if (r < 0)
		return r;

	encoded = text_to_base64(signature, size, TEXT_BASE64_URL, arena);
	request.url = arena_strdup(arena, account.token_uri);
	request.body = arena_printf(
		arena,
		"grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3A"
		"jwt-bearer&assertion=%s.%s",
		input, encoded ? encoded : "");
	request.body_bytes = request.body ? strlen(request.body) : 0;
	http_add_header(&request, "Content-Type",
			"application/x-www-form-urlencoded");
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* Say in the fault why there is no token. */
static int refuse(const struct http_response *response, const json_t *body,
		  struct arena *arena, struct fault *reterr_fault)
{
	const char *error = wire_string(body, "error");
	const char *why = wire_string(body, "error_description");

	error = error ? wire_message(error, arena) : NULL;
	why = why ? wire_message(why, arena) : NULL;
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the answer");
	return fault_set(reterr_fault, -EBADMSG,
			 "access token: HTTP %u%s%.60s%s%.120s",
			 response->status, error ? ", " : "",
			 error ? error : "", why ? ": " : "", why ? why : "");
}

int vertex_token_event(const struct http_response *response,
		       struct arena *arena, const char **ret_token,
		       int64_t *ret_lifetime_s, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	const char *token, *type, *copy;
	json_int_t lifetime_s;
	int r = wire_parse_answer(response, &body, reterr_fault);

	if (r < 0)
		return r;

	token = wire_string(body, "access_token");
	type = wire_string(body, "token_type");
	lifetime_s = json_integer_value(json_object_get(body, "expires_in"));
	if (!wire_is_success(response) || !token ||
	    !wire_is_visible(token, LIMIT_HEADER_BYTES) || lifetime_s <= 0 ||
	    (type && strcasecmp(type, "Bearer") != 0))
		return refuse(response, body, arena, reterr_fault);
	copy = arena_strdup(arena, token);
	if (!copy)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the answer");

	*ret_token = copy;
	*ret_lifetime_s = lifetime_s < TOKEN_LIFETIME_MAX_S
				  ? lifetime_s
				  : TOKEN_LIFETIME_MAX_S;
	return 0;
}
