/* SPDX-License-Identifier: MIT */
#include "poller/rest.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

static void it_ends_only_when_waiting_does_not_pay(void **state)
{
	enum { stay = REST_STAY_MS };
	static const struct {
		const char *name;
		struct rest_facts facts;
		bool want;
	} cases[] = {
		{ "nothing planned", { false, true, REST_NEVER, 10000 }, true },
		{ "due later", { false, true, stay + 1, 10000 }, true },
		{ "due soon", { false, true, stay, 10000 }, false },
		{ "due after the timer", { false, true, 10001, 10000 }, false },
		{ "due before the timer", { false, true, 9999, 10000 }, false },
		{ "after a slow timer", { false, true, 900001, 900000 }, true },
		{ "with a slow timer", { false, true, 900000, 900000 }, false },
		{ "due now", { false, true, 0, 10000 }, false },
		{ "work in hand", { true, true, REST_NEVER, 10000 }, false },
		{ "database away", { false, false, REST_NEVER, 10000 }, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_NUMBER(cases[i].name, rest_may_end(&cases[i].facts),
			     cases[i].want);
}

static void it_sleeps_until_something_is_due(void **state)
{
	static const struct {
		const char *name;
		int64_t due_ms, period_ms;
		uint32_t idle_looks;
		int64_t want_ms;
	} cases[] = {
		{ "due soon", 700, 10000, 0, 700 },
		{ "nothing planned", REST_NEVER, 10000, 0, 10000 },
		{ "due much later", 60000, 10000, 0, 10000 },
		{ "due now", 0, 10000, 0, REST_GAP_MS },
		{ "held by somebody", 0, 10000, 1, REST_IDLE_FIRST_MS },
		{ "held for longer", 0, 10000, 3, REST_IDLE_FIRST_MS * 4 },
		{ "held for ever", 0, 10000, UINT32_MAX, REST_IDLE_MOST_MS },
		{ "held, something else later", 5000, 10000, 2, 5000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_NUMBER(cases[i].name,
			     rest_delay_ms(cases[i].due_ms, cases[i].period_ms,
					   cases[i].idle_looks),
			     cases[i].want_ms);
}

static void looks_keep_a_distance(void **state)
{
	(void)state;
	CHECK_NUMBER("no time", rest_gap_ms(0, 0), REST_GAP_LEAST_MS);
	CHECK_NUMBER("some time", rest_gap_ms(3, 1), 6);
	CHECK_NUMBER("a long time", rest_gap_ms(INT64_MAX / 2, 0), REST_GAP_MS);
	CHECK_NUMBER("it failed", rest_gap_ms(0, -11), REST_GAP_LEAST_MS);
	CHECK_NUMBER("much", rest_gap_ms(0, REST_BUSY_LEAST), REST_GAP_BUSY_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_only_when_waiting_does_not_pay),
		cmocka_unit_test(it_sleeps_until_something_is_due),
		cmocka_unit_test(looks_keep_a_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
