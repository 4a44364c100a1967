/* SPDX-License-Identifier: MIT */
#include "fcgi/api_key.h"

#include "common/model/limits.h"
#include "tests/support/check.h"

#include <errno.h>
#include <stdio.h>

/* A database that is not there: what is known has to do. */
#define NOWHERE "host=/nonexistent dbname=rushes"

static struct api_key make(const char *key, const char *owner)
{
	static char owners[8][32];
	static int next;
	struct api_key made;
	char *copy = owners[next++ % 8];

	(void)snprintf(copy, sizeof(owners[0]), "%s", owner);
	crypto_sha256(key, strlen(key), made.sha256);
	made.owner = copy;
	return made;
}

static void the_header_has_one_form(void **state)
{
	static char endless[LIMIT_API_KEY_BYTES + 20] = "Bearer rsh_";
	static const struct {
		const char *header;
		const char *want;
	} cases[] = {
		{ "Bearer rsh_abc", "rsh_abc" },
		{ "bearer  rsh_abc", "rsh_abc" },
		{ "Bearer", NULL },
		{ "Bearer ", NULL },
		{ "Bearer abc", NULL },
		{ "Basic rsh_abc", NULL },
		{ "rsh_abc", NULL },
		{ "", NULL },
		{ endless, NULL },
	};

	(void)state;
	memset(endless + 11, 'a', sizeof(endless) - 12);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_TEXT(cases[i].header,
			   api_key_from_header(cases[i].header), cases[i].want);
	CHECK("none", !api_key_from_header(NULL));
}

static void a_key_opens_its_owners_door_only(void **state)
{
	_cleanup_(api_keys_freep) struct api_keys *keys = api_keys_new();
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	const struct api_key list[] = { make("rsh_one", "ann"),
					make("rsh_two", "bob"),
					make("rsh_three", "ann") };

	(void)state;
	CHECK("empty", !api_keys_find(keys, "rsh_one", arena));
	CHECK_NUMBER("replace", api_keys_replace(keys, list, 3), 0);
	CHECK_TEXT("one", api_keys_find(keys, "rsh_one", arena), "ann");
	CHECK_TEXT("two", api_keys_find(keys, "rsh_two", arena), "bob");
	CHECK_TEXT("three", api_keys_find(keys, "rsh_three", arena), "ann");
	CHECK("prefix", !api_keys_find(keys, "rsh_on", arena));
	CHECK("longer", !api_keys_find(keys, "rsh_onee", arena));

	/* revoked */
	CHECK_NUMBER("replace", api_keys_replace(keys, list + 1, 1), 0);
	CHECK("gone", !api_keys_find(keys, "rsh_one", arena));
	CHECK_TEXT("stays", api_keys_find(keys, "rsh_two", arena), "bob");
	CHECK_NUMBER("replace", api_keys_replace(keys, NULL, 0), 0);
	CHECK("none", !api_keys_find(keys, "rsh_two", arena));
}

static void without_a_database_only_the_known_get_in(void **state)
{
	_cleanup_(api_keys_freep) struct api_keys *keys = api_keys_new();
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	_cleanup_(db_closep) struct db *db = NULL;
	const struct api_key known = make("rsh_one", "ann");
	struct fault fault = { "" };
	const char *owner = NULL;

	(void)state;
	CHECK_NUMBER("open", db_open(NOWHERE, "test", &db, &fault), 0);
	CHECK_NUMBER("no header",
		     api_keys_owner(keys, db, NULL, arena, &owner, &fault),
		     API_KEY_E_MISSING);
	CHECK_NUMBER("another scheme",
		     api_keys_owner(keys, db, "Basic cnNoOnRlc3Q=", arena,
				    &owner, &fault),
		     API_KEY_E_MISSING);
	CHECK_NUMBER("nothing behind the scheme",
		     api_keys_owner(keys, db, "Bearer ", arena, &owner, &fault),
		     API_KEY_E_MISSING);
	CHECK_NUMBER("no key of ours",
		     api_keys_owner(keys, db, "Bearer nonsense", arena, &owner,
				    &fault),
		     API_KEY_E_UNKNOWN);
	CHECK_NUMBER("nobody knows yet",
		     api_keys_owner(keys, db, "Bearer rsh_one", arena, &owner,
				    &fault),
		     -EAGAIN);
	CHECK_NUMBER("replace", api_keys_replace(keys, &known, 1), 0);
	CHECK_NUMBER("known",
		     api_keys_owner(keys, db, "Bearer rsh_one", arena, &owner,
				    &fault),
		     0);
	CHECK_TEXT("known", owner, "ann");
	/* may be new: that cannot be told now */
	CHECK_NUMBER("unknown",
		     api_keys_owner(keys, db, "Bearer rsh_two", arena, &owner,
				    &fault),
		     -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_header_has_one_form),
		cmocka_unit_test(a_key_opens_its_owners_door_only),
		cmocka_unit_test(without_a_database_only_the_known_get_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
