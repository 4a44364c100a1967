/* SPDX-License-Identifier: MIT */
#include "fcgi/query.h"

#include "common/base/text.h"
#include "common/model/limits.h"
#include "tests/unit/fcgi/request.h"

#include "tests/support/arena.h"

static void values_are_decoded(void **state)
{
	static const struct {
		const char *query;
		int r;
		const char *want;
	} cases[] = {
		{ "", 0, NULL },
		{ "a=1", 0, NULL },
		{ "name=", 0, "" },
		{ "name", 0, "" },
		{ "name=x", 0, "x" },
		{ "a=1&name=x&b", 0, "x" },
		{ "names=1&name=x", 0, "x" },
		{ "name=a+b%20c%2F", 0, "a b c/" },
		{ "name=x&name=x", QUERY_E_BAD, NULL },
		{ "name=%", QUERY_E_BAD, NULL },
		{ "name=%2", QUERY_E_BAD, NULL },
		{ "name=%zz", QUERY_E_BAD, NULL },
		{ "name=%00", QUERY_E_BAD, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct request request = request_make(arena, cases[i].query);
		const char *value = "untouched";
		struct reply reply = { 0 };

		CHECK_NUMBER(cases[i].query,
			     query_text(&request, "name", &value, &reply),
			     cases[i].r);
		if (cases[i].r == 0) {
			CHECK_TEXT(cases[i].query, value, cases[i].want);
			continue;
		}
		CHECK_NUMBER(cases[i].query, reply.status, 400);
		CHECK_TEXT(cases[i].query, reply_member(&reply, "field", arena),
			   "name");
	}
}

static void a_limit_is_a_number_in_its_range(void **state)
{
	static const struct {
		const char *query;
		int r;
		int want;
	} cases[] = {
		{ "", 0, 50 },
		{ "limit=1", 0, 1 },
		{ "limit=200", 0, 200 },
		{ "limit=0", QUERY_E_BAD, 0 },
		{ "limit=201", QUERY_E_BAD, 0 },
		{ "limit=-1", QUERY_E_BAD, 0 },
		{ "limit=1e2", QUERY_E_BAD, 0 },
		{ "limit=", QUERY_E_BAD, 0 },
		{ "limit=99999999999999999999", QUERY_E_BAD, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct request request = request_make(arena, cases[i].query);
		struct reply reply = { 0 };
		int64_t limit = 0;

		CHECK_NUMBER(cases[i].query,
			     query_limit(&request, 50, 200, &limit, &reply),
			     cases[i].r);
		if (cases[i].r == 0)
			CHECK_NUMBER(cases[i].query, limit, cases[i].want);
		else
			CHECK_NUMBER(cases[i].query, reply.status, 400);
	}
}

static int read_cursor(const char *cursor, char kind, const char **ret_after)
{
	const char *query = arena_printf(arena, "cursor=%s", cursor);
	struct request request = request_make(arena, query);
	struct reply reply = { 0 };
	int r = query_cursor(&request, kind, ret_after, &reply);

	if (r != 0)
		CHECK_NUMBER(cursor, reply.status, 400);
	return r;
}

static void a_cursor_comes_back_as_it_was_given(void **state)
{
	const char *id = "01890000-0000-7000-8000-000000000001";
	const char *cursor = cursor_make('e', id, arena);
	const char *after = NULL;

	(void)state;
	CHECK_NUMBER("round", read_cursor(cursor, 'e', &after), 0);
	CHECK_TEXT("round", after, id);
	CHECK("within its limit", strlen(cursor) <= LIMIT_CURSOR_BYTES);
	CHECK("opaque", !strstr(cursor, id));
}

static void other_cursors_are_refused(void **state)
{
	static char endless[LIMIT_CURSOR_BYTES + 5];
	const char *nul = text_to_base64("e:a\0b", 5, TEXT_BASE64_URL, arena);
	const char *const cursors[] = {
		cursor_make('v', "17", arena),
		"x",
		"%",
		"",
		"ZTo", /* "e:" and nothing after it */
		nul,
		endless,
	};
	const char *after = NULL;

	(void)state;
	memset(endless, 'A', sizeof(endless) - 1);
	for (size_t i = 0; i < COUNT_OF(cursors); i++)
		CHECK_NUMBER(cursors[i], read_cursor(cursors[i], 'e', &after),
			     QUERY_E_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_decoded),
		cmocka_unit_test(a_limit_is_a_number_in_its_range),
		cmocka_unit_test(a_cursor_comes_back_as_it_was_given),
		cmocka_unit_test(other_cursors_are_refused),
	};

	return cmocka_run_group_tests(tests, start, end);
}
