/* SPDX-License-Identifier: MIT */
#include "common/base/fault.h"

#include "tests/support/check.h"

#include <errno.h>

static void the_code_comes_back(void **state)
{
	struct fault fault = { "" };

	(void)state;
	assert_int_equal(fault_set(&fault, -EBADMSG, "row %d: no id", 3),
			 -EBADMSG);
	assert_string_equal(fault.text, "row 3: no id");
}

static void nobody_need_be_interested(void **state)
{
	(void)state;
	assert_int_equal(fault_set(NULL, 2, "row %d", 3), 2);
}

static void a_long_sentence_is_cut(void **state)
{
	struct {
		struct fault fault;
		char fence;
	} held = { .fence = '#' };

	(void)state;
	(void)fault_set(&held.fault, -EINVAL, "%1000d", 1);
	assert_int_equal(strlen(held.fault.text), sizeof(held.fault.text) - 1);
	assert_int_equal(held.fence, '#');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_code_comes_back),
		cmocka_unit_test(nobody_need_be_interested),
		cmocka_unit_test(a_long_sentence_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
