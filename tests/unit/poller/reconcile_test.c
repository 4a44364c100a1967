/* SPDX-License-Identifier: MIT */
#include "poller/reconcile.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

enum { S = 1000, MOST = 1800 * S };

static void looks_fall_where_they_were_promised(void **state)
{
	static const struct {
		const char *name;
		int64_t age_ms, most_ms, want_ms;
	} cases[] = {
		{ "just lost", 0, MOST, 15 * S },
		{ "before the first", 5 * S, MOST, 10 * S },
		{ "a moment early counts as the first", 14500, MOST, 45500 },
		{ "after the first", 16 * S, MOST, 44 * S },
		{ "after the second", 60 * S, MOST, 300 * S },
		{ "late for the second", 75 * S, MOST, 285 * S },
		{ "after the third", 361 * S, MOST, 299 * S },
		{ "the last is cut to the end", 1590 * S, MOST, 210 * S },
		{ "at the end", MOST, MOST, RECONCILE_LEAST_MS },
		{ "long after the end", 2 * MOST, MOST, RECONCILE_LEAST_MS },
		{ "an end before the first", 0, 10 * S, 10 * S },
		{ "without an end", MOST, INT64_MAX, 60 * S },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_NUMBER(
			cases[i].name,
			reconcile_delay_ms(cases[i].age_ms, cases[i].most_ms),
			cases[i].want_ms);
}

/* Half an hour of a start that is never found. */
static void there_are_few_looks_and_one_at_the_end(void **state)
{
	int64_t age_ms = 0;
	int looks = 0;

	(void)state;
	while (age_ms < MOST) {
		age_ms += reconcile_delay_ms(age_ms, MOST);
		looks++;
	}
	assert_int_equal(age_ms, MOST);
	/* 15 s, 60 s, five times 5 min more, and the end */
	assert_int_equal(looks, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_fall_where_they_were_promised),
		cmocka_unit_test(there_are_few_looks_and_one_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
