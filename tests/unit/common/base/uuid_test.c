/* SPDX-License-Identifier: MIT */
#include "common/base/uuid.h"

#include "common/base/macro.h"
#include "common/base/text.h"
#include "tests/support/check.h"

/* RFC 9562, appendix A.6: 2022-02-22 14:22:22 -05:00, rand_a 0xCC3, rand_b
 * 0x18C4DC0C0C07398F. */
static void the_rfc_example(void **state)
{
	static const uint8_t bits[10] = { 0x0c, 0xc3, 0x18, 0xc4, 0xdc,
					  0x0c, 0x0c, 0x07, 0x39, 0x8f };
	char id[UUID_SIZE];

	(void)state;
	uuid_v7(INT64_C(0x017F22E279B0), bits, id);
	assert_string_equal(id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void cases_come_out(void **state)
{
	static const uint8_t zeros[10] = { 0 };
	static const uint8_t ones[10] = { 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0xff, 0xff, 0xff, 0xff };
	static const struct {
		const char *name;
		int64_t unix_ms;
		const uint8_t *bits;
		const char *want;
	} cases[] = {
		{ "all zero", 0, zeros,
		  "00000000-0000-7000-8000-000000000000" },
		{ "all ones keep version and variant", 0xffffffffffff, ones,
		  "ffffffff-ffff-7fff-bfff-ffffffffffff" },
		{ "time over 48 bits wraps", INT64_C(1) << 48, zeros,
		  "00000000-0000-7000-8000-000000000000" },
		{ "time before 1970 is still a UUID", -1, zeros,
		  "ffffffff-ffff-7000-8000-000000000000" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char id[UUID_SIZE];

		uuid_v7(cases[i].unix_ms, cases[i].bits, id);
		CHECK_TEXT(cases[i].name, id, cases[i].want);
		CHECK(cases[i].name, text_is_uuid(id));
	}
}

static void later_ids_sort_later(void **state)
{
	static const uint8_t high[10] = { 0xff, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t low[10] = { 0 };
	char before[UUID_SIZE], after[UUID_SIZE];

	(void)state;
	for (int64_t ms = 1; ms < INT64_C(1) << 47; ms *= 3) {
		uuid_v7(ms, high, before);
		uuid_v7(ms + 1, low, after);
		assert_true(strcmp(before, after) < 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rfc_example),
		cmocka_unit_test(cases_come_out),
		cmocka_unit_test(later_ids_sort_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
