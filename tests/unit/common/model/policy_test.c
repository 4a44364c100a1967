/* SPDX-License-Identifier: MIT */
#include "common/model/policy.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

static void names_go_both_ways(void **state)
{
	(void)state;
	assert_string_equal(policy_name(POLICY_FAIL), "fail");
	assert_string_equal(policy_name(POLICY_SKIP), "skip");
	assert_string_equal(policy_name(POLICY_RUN), "run");
	for (int policy = POLICY_NONE + 1; policy < POLICY_MAX; policy++)
		assert_int_equal(
			policy_from_name(policy_name((enum policy)policy)),
			policy);
}

static void other_words_are_none(void **state)
{
	static const char *const words[] = { "",    "none",  "Fail", "fail ",
					     "fai", "fails", "runs", "0" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		CHECK_NUMBER(words[i], policy_from_name(words[i]), POLICY_NONE);
	assert_string_equal(policy_name(POLICY_NONE), "none");
	assert_string_equal(policy_name(POLICY_MAX), "none");
	assert_string_equal(policy_name((enum policy) - 1), "none");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_go_both_ways),
		cmocka_unit_test(other_words_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
