/* SPDX-License-Identifier: MIT */
#include "common/model/backoff.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

static void delays_are_exact(void **state)
{
	enum { S = 1000 };
	static const struct {
		const char *name;
		int64_t first_ms, most_ms;
		uint32_t tries;
		int64_t retry_after_ms;
		uint32_t dice;
		int64_t want_ms;
	} cases[] = {
		{ "ceiling", 30 * S, 300 * S, 0, 0, UINT32_MAX, 30 * S },
		{ "middle", 30 * S, 300 * S, 0, 0, 1U << 31, 15 * S },
		{ "floor", 30 * S, 300 * S, 0, 0, 0, 500 },
		{ "doubles", 30 * S, 300 * S, 1, 0, UINT32_MAX, 60 * S },
		{ "doubles again", 30 * S, 300 * S, 2, 0, UINT32_MAX, 120 * S },
		{ "cap", 30 * S, 300 * S, 4, 0, UINT32_MAX, 300 * S },
		{ "cap for ever", 30 * S, 300 * S, UINT32_MAX, 0, UINT32_MAX,
		  300 * S },
		{ "cap below first", 30 * S, 5 * S, 0, 0, UINT32_MAX, 5 * S },
		{ "wish is kept", 5 * S, 60 * S, 0, 42 * S, 0, 42 * S + 500 },
		{ "wish is spread as well", 5 * S, 60 * S, 0, 42 * S,
		  UINT32_MAX, 47 * S },
		{ "wish beyond the cap", 5 * S, 60 * S, 0, 600 * S, UINT32_MAX,
		  605 * S },
		{ "small wish does not lower", 5 * S, 60 * S, 0, 1 * S,
		  UINT32_MAX, 6 * S },
		{ "no such wish", 5 * S, 60 * S, 0, -1, 0, 500 },
		{ "nothing configured", 0, 0, 7, 0, UINT32_MAX, 500 },
		{ "first of zero never grows", 0, 60 * S, UINT32_MAX, 0,
		  UINT32_MAX, 500 },
		{ "negative", -5, -5, 3, 0, UINT32_MAX, 500 },
		{ "absurd", INT64_MAX, INT64_MAX, UINT32_MAX, 0, UINT32_MAX,
		  BACKOFF_MOST_MS },
		{ "absurd cap", 1, INT64_MAX, UINT32_MAX, 0, UINT32_MAX,
		  BACKOFF_MOST_MS },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_NUMBER(cases[i].name,
			     backoff_delay_ms(cases[i].first_ms,
					      cases[i].most_ms, cases[i].tries,
					      cases[i].retry_after_ms,
					      cases[i].dice),
			     cases[i].want_ms);
}

/* Full jitter: evenly spread dice give evenly spread delays. */
static void delays_are_uniform(void **state)
{
	enum { THROWS = 10000, TENTHS = 10, CEILING_MS = 100000 };
	int tenth[TENTHS] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < THROWS; i++) {
		int64_t delay_ms =
			backoff_delay_ms(CEILING_MS, CEILING_MS, 0, 0,
					 i * (UINT32_MAX / THROWS));

		assert_in_range(delay_ms, BACKOFF_FLOOR_MS, CEILING_MS);
		tenth[(delay_ms - 1) * TENTHS / CEILING_MS]++;
	}
	for (int i = 0; i < TENTHS; i++)
		assert_in_range(tenth[i], THROWS / TENTHS - 10,
				THROWS / TENTHS + 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_are_exact),
		cmocka_unit_test(delays_are_uniform),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
