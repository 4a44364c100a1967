/* SPDX-License-Identifier: MIT */
#include "common/flow/webhook.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

static enum provider_verdict verdict;

static enum provider_verdict verify(const struct provider_webhook *webhook,
				    struct arena *arena,
				    const char **ret_delivery_id)
{
	(void)webhook;
	*ret_delivery_id = verdict == PROVIDER_GENUINE
				   ? arena_strdup(arena, "delivery")
				   : NULL;
	return verdict;
}

static void trust_depends_on_what_we_could_have_known(void **state)
{
	enum { NEW = 5, OLD = 3600 };
	static const struct {
		const char *name;
		enum provider_verdict verdict;
		size_t keys;
		bool configured, reread;
		int64_t age_s;
		enum webhook_trust want;
	} cases[] = {
		{ "genuine", PROVIDER_GENUINE, 1, true, false, 0,
		  WEBHOOK_GENUINE },
		{ "forged", PROVIDER_FORGED, 1, true, false, 0,
		  WEBHOOK_REFUSED },
		{ "forged, no keys", PROVIDER_FORGED, 0, false, false, 0,
		  WEBHOOK_REFUSED },
		{ "unsigned, secret known", PROVIDER_UNSIGNED, 1, true, false,
		  0, WEBHOOK_REFUSED },
		{ "unsigned, keys fetched", PROVIDER_UNSIGNED, 2, false, false,
		  OLD, WEBHOOK_REFUSED },
		{ "unsigned, none known", PROVIDER_UNSIGNED, 0, false, false, 0,
		  WEBHOOK_HINT },
		{ "wrong, secret configured", PROVIDER_KEY_UNKNOWN, 1, true,
		  false, 0, WEBHOOK_REFUSED },
		{ "wrong: read the table again", PROVIDER_KEY_UNKNOWN, 2, false,
		  false, OLD, WEBHOOK_UNSURE },
		{ "wrong, old keys", PROVIDER_KEY_UNKNOWN, 2, false, true, OLD,
		  WEBHOOK_HINT },
		{ "wrong, no keys", PROVIDER_KEY_UNKNOWN, 0, false, true, 0,
		  WEBHOOK_HINT },
		{ "wrong, new keys", PROVIDER_KEY_UNKNOWN, 2, false, true, NEW,
		  WEBHOOK_DOUBTFUL },
	};
	const struct provider_ops ops = { .name = "test", .verify = verify };
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct provider_webhook webhook = {
			.key_count = cases[i].keys,
		};
		const struct webhook_judging judging = {
			.ops = &ops,
			.webhook = &webhook,
			.keys_configured = cases[i].configured,
			.keys_are_new = cases[i].reread,
			.keys_age_s = cases[i].age_s,
		};
		const char *id = "untouched";

		verdict = cases[i].verdict;
		CHECK_NUMBER(cases[i].name, webhook_judge(&judging, arena, &id),
			     cases[i].want);
		CHECK_TEXT(cases[i].name, id,
			   cases[i].want == WEBHOOK_GENUINE ? "delivery"
							    : NULL);
	}
}

static void who_never_signs_gives_hints(void **state)
{
	const struct provider_ops ops = { .name = "test" };
	const struct provider_webhook webhook = { .key_count = 1 };
	const struct webhook_judging judging = {
		.ops = &ops,
		.webhook = &webhook,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	const char *id;

	(void)state;
	CHECK_NUMBER("hint", webhook_judge(&judging, arena, &id), WEBHOOK_HINT);
}

/* ---- fal's keys come and go ---- */

#define FAL_ID "5057fca7-2eb3-468f-b95d-cefe92b0b9d4"
#define KEY_1  "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define KEY_2  "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"
#define JWK(key, name)                                                         \
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" key "\"" name "}"
#define JWKS(keys) "{\"keys\":[" keys "]}"

enum { SENT_UNIX_S = 1752019770, NEW_S = 5, HOUR_S = 3600 };

static const char fal_body[] =
	"{\"request_id\":\"" FAL_ID "\",\"gateway_request_id\":\"" FAL_ID
	"\",\"status\":\"OK\",\"payload\":{\"video\":{\"url\":"
	"\"https://v3.fal.media/files/x/out.mp4\",\"content_type\":"
	"\"video/mp4\",\"file_name\":\"out.mp4\",\"file_size\":1024}}}";

/* The same delivery by either key, made with another implementation (Node's
 * crypto) from the keys of RFC 8032, 7.1, TEST 1 and TEST 2. */
static const char *const fal_signatures[] = {
	[1] = "99f04c0ec8d06ca24565ac57db5c4808eef579bd26648980721fd560219fd7c4"
	      "4f7a3cb4d37443ba9ab659fce1a681f91dce6734718d6a7262962e635b91080"
	      "d",
	[2] = "ae0736cae048922be0752f2db8b724f0b85cea935ae6ffce75cf458b61d207ab"
	      "5dea0dd495ad118591f921db4d51f7a414432c3bda05467eb50cacd00aabfa0"
	      "f",
};

/* What the poller has of fal's keys, and what it is given. */
struct known {
	struct provider_key key[4];
	size_t count;
	int64_t age_s;
};

static void fetch(struct known *known, unsigned status, const char *jwks,
		  struct arena *arena)
{
	struct http_response response = {
		.status = status,
		.body = jwks,
		.body_bytes = strlen(jwks),
	};
	struct provider_key key[4];
	size_t count;

	/* What is of no use leaves what was known. */
	if (fal_provider.keys_event(&response, arena, key, COUNT_OF(key),
				    &count, NULL) != 0)
		return;
	memcpy(known->key, key, sizeof(key));
	known->count = count;
	known->age_s = 0;
}

static enum webhook_trust judge_fal(const struct known *known, int signed_by,
				    bool reread, struct arena *arena)
{
	const struct http_header header[] = {
		{ "x-fal-webhook-request-id", FAL_ID },
		{ "x-fal-webhook-user-id", "user_test_1" },
		{ "x-fal-webhook-timestamp", "1752019770" },
		{ "x-fal-webhook-signature",
		  signed_by > 0 ? fal_signatures[signed_by] : "00" },
	};
	const struct provider_webhook webhook = {
		.header = header,
		.header_count = signed_by < 0 ? 0 : COUNT_OF(header),
		.body = fal_body,
		.body_bytes = sizeof(fal_body) - 1,
		.key = known->key,
		.key_count = known->count,
		.now_unix_s = SENT_UNIX_S,
	};
	const struct webhook_judging judging = {
		.ops = &fal_provider,
		.webhook = &webhook,
		.keys_are_new = reread,
		.keys_age_s = known->age_s,
	};
	const char *id;

	return webhook_judge(&judging, arena, &id);
}

/* A story, line by line: no forgery is ever genuine, and what is genuine is
 * at worst a reason to look. */
static void fals_keys_come_and_go(void **state)
{
	static const struct {
		const char *name;
		unsigned status; /* of an answer with keys; 0: none came */
		const char *jwks;
		int64_t passed_s; /* since the line before */
		int signed_by;	  /* 0: nonsense; -1: not at all */
		bool reread;
		enum webhook_trust want;
	} lines[] = {
		/* clang-format off */
		{ "nothing known yet", 0, NULL, 0, 1, false, WEBHOOK_UNSURE },
		{ "still nothing", 0, NULL, 0, 1, true, WEBHOOK_HINT },
		{ "nothing known, nonsense", 0, NULL, 0, 0, true, WEBHOOK_REFUSED },
		{ "nothing known, unsigned", 0, NULL, 0, -1, true, WEBHOOK_HINT },
		{ "the first key comes", 200, JWKS(JWK(KEY_1, "")), 0, 1, false, WEBHOOK_GENUINE },
		{ "unsigned", 0, NULL, 0, -1, false, WEBHOOK_REFUSED },
		{ "by a stranger, keys just fetched", 0, NULL, NEW_S, 2, true, WEBHOOK_DOUBTFUL },
		{ "fal rotates: first look", 0, NULL, HOUR_S, 2, false, WEBHOOK_UNSURE },
		{ "fal rotates: not fetched yet", 0, NULL, 0, 2, true, WEBHOOK_HINT },
		{ "outage: 500", 500, "", 0, 2, true, WEBHOOK_HINT },
		{ "outage: a page", 200, "<html>", 0, 2, true, WEBHOOK_HINT },
		{ "outage: no keys", 200, JWKS(""), 0, 2, true, WEBHOOK_HINT },
		{ "outage: keys of no use", 200, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}", 0, 2, true, WEBHOOK_HINT },
		{ "outage: the old key is still good", 0, NULL, HOUR_S, 1, false, WEBHOOK_GENUINE },
		{ "both keys come, without names", 200, JWKS(JWK(KEY_1, "") "," JWK(KEY_2, "")), 0, 2, false, WEBHOOK_GENUINE },
		{ "the old key meanwhile", 0, NULL, 0, 1, false, WEBHOOK_GENUINE },
		{ "the old key goes", 200, JWKS(JWK(KEY_2, ",\"kid\":\"b\"")), 0, 1, true, WEBHOOK_DOUBTFUL },
		{ "the new key stays", 0, NULL, 0, 2, false, WEBHOOK_GENUINE },
		{ "the old key, long after", 0, NULL, HOUR_S, 1, true, WEBHOOK_HINT },
		{ "nonsense, long after", 0, NULL, 0, 0, true, WEBHOOK_REFUSED },
		/* clang-format on */
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct known known = { .count = 0 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		known.age_s += lines[i].passed_s;
		if (lines[i].status)
			fetch(&known, lines[i].status, lines[i].jwks, arena);
		CHECK_NUMBER(lines[i].name,
			     judge_fal(&known, lines[i].signed_by,
				       lines[i].reread, arena),
			     lines[i].want);
	}
}

/* Keys are kept by their names: two without one must not become one. */
static void every_key_has_a_name_of_its_own(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct known known = { .count = 0 };

	(void)state;
	fetch(&known, 200,
	      JWKS(JWK(KEY_1, "") "," JWK(KEY_2, "") "," JWK(
		      KEY_1, ",\"kid\":\"a\"") "," JWK(KEY_2,
						       ",\"kid\":\"a\"")),
	      arena);
	assert_int_equal(known.count, 4);
	CHECK_TEXT("no name", known.key[0].id, KEY_1);
	CHECK_TEXT("no name", known.key[1].id, KEY_2);
	CHECK_TEXT("a name", known.key[2].id, "a");
	CHECK_TEXT("the same name", known.key[3].id, KEY_2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trust_depends_on_what_we_could_have_known),
		cmocka_unit_test(who_never_signs_gives_hints),
		cmocka_unit_test(fals_keys_come_and_go),
		cmocka_unit_test(every_key_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
