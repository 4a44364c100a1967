/* SPDX-License-Identifier: MIT */
#include "common/base/dice.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

/* Chance of a false alarm here and below: less than one in 2^100. */
static void every_byte_is_filled(void **state)
{
	uint8_t seen[64] = { 0 }, bytes[64];

	(void)state;
	for (int i = 0; i < 100; i++) {
		memset(bytes, 0, sizeof(bytes));
		dice_fill(bytes, sizeof(bytes));
		for (size_t at = 0; at < sizeof(bytes); at++)
			seen[at] |= bytes[at];
	}
	for (size_t at = 0; at < sizeof(seen); at++)
		assert_int_equal(seen[at], 0xff);
}

static void nothing_else_is_touched(void **state)
{
	uint8_t bytes[3] = { 7, 0, 7 };

	(void)state;
	for (int i = 0; i < 100; i++)
		dice_fill(bytes + 1, 1);
	dice_fill(bytes, 0);
	assert_int_equal(bytes[0], 7);
	assert_int_equal(bytes[2], 7);
}

static void numbers_differ(void **state)
{
	uint32_t first = dice_uint32();
	int same = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		same += dice_uint32() == first;
	assert_true(same < 10);
}

/* More than getrandom() gives at once. */
static void large_fills_are_complete(void **state)
{
	static uint8_t bytes[1 << 20];
	size_t zeros = 0;

	(void)state;
	dice_fill(bytes, sizeof(bytes));
	for (size_t i = sizeof(bytes) - 4096; i < sizeof(bytes); i++)
		zeros += bytes[i] == 0;
	assert_true(zeros < 200);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_is_filled),
		cmocka_unit_test(nothing_else_is_touched),
		cmocka_unit_test(numbers_differ),
		cmocka_unit_test(large_fills_are_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
