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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trust_depends_on_what_we_could_have_known),
		cmocka_unit_test(who_never_signs_gives_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
