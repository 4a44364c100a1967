/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"

#include "tests/support/check.h"

static void both_wall_clocks_agree(void **state)
{
	int64_t before_s = clock_unix_s();
	int64_t now_ms = clock_unix_ms();
	int64_t after_s = clock_unix_s();

	(void)state;
	assert_true(before_s <= now_ms / 1000);
	assert_true(now_ms / 1000 <= after_s);
	/* 2020 to 2200: seconds were not taken for milliseconds. */
	assert_in_range(before_s, 1577836800, 7258118400);
}

static void monotonic_time_does_not_step_back(void **state)
{
	int64_t last_ms = clock_monotonic_ms(), start_ms = last_ms;

	(void)state;
	/* Until it has moved, which proves that it does. */
	while (last_ms < start_ms + 2) {
		int64_t now_ms = clock_monotonic_ms();

		assert_true(now_ms >= last_ms);
		last_ms = now_ms;
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_wall_clocks_agree),
		cmocka_unit_test(monotonic_time_does_not_step_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
