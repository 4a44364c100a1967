/* SPDX-License-Identifier: MIT */
#include "common/model/retry_after.h"

#include "common/base/macro.h"
#include "common/model/limits.h"
#include "tests/support/check.h"

enum { LIMIT_MS = LIMIT_RETRY_AFTER_S * 1000 };

/* 784111777 is Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example. */
static void values_are_read(void **state)
{
	static const struct {
		const char *value;
		int64_t now_unix_s;
		int64_t want_ms;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1000 },
		{ "120", 0, 120000 },
		{ "0120", 0, 120000 },
		{ "1.5", 0, 1500 },
		{ "0.25", 0, 250 },
		{ "2.0", 0, 2000 },
		{ "1.23456789", 0, 1234 },
		{ "3600.5", 0, LIMIT_MS },
		{ "99999999999999999999999999999999.9", 0, LIMIT_MS },
		{ "3600", 0, 3600000 },
		{ "3601", 0, LIMIT_MS },
		{ "99999999999999999999999999999999", 0, LIMIT_MS },
		/* 2^64, which would be 0 */
		{ "18446744073709551616", 0, LIMIT_MS },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 90, 90000 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 - 90, 90000 },
		{ "Sun Nov  6 08:49:37 1994", 784111777 - 90, 90000 },
		{ "Sun Nov 16 08:49:37 1994", 784975777 - 90, 90000 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777, 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 1764000000, 0 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 1764000000, LIMIT_MS },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0 },
		{ "Thu, 29 Feb 2024 12:00:00 GMT", 1709208000 - 5, 5000 },
		{ "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 - 5, 5000 },
		{ "Fri, 01 Mar 2024 00:00:00 GMT", 1709251200 - 5, 5000 },
		{ "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800 - 5, 5000 },
		/* two digits: 1994, not 2094; but 2027, not 1927 */
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 1764000000, 0 },
		{ "Friday, 01-Jan-27 00:00:00 GMT", 1798761600 - 5, 5000 },
		/* 2075 is 50 years ahead, and not more; 2076 is */
		{ "Monday, 30-Dec-75 00:00:00 GMT", 1764000000, LIMIT_MS },
		{ "Monday, 30-Dec-76 00:00:00 GMT", 1764000000, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t ms = -1;

		CHECK(cases[i].value,
		      retry_after_parse(cases[i].value, cases[i].now_unix_s,
					&ms));
		CHECK_NUMBER(cases[i].value, ms, cases[i].want_ms);
	}
}

static void other_values_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		" ",
		" 5",
		"5 ",
		"+5",
		"-5",
		"1.",
		".5",
		"1.5.2",
		"1.-5",
		"1.5s",
		"5s",
		"5,6",
		"0x10",
		"1e3",
		"soon",
		"\xd9\xa1",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		" Sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 Nov 1994 08:49:37 +0000",
		"Sun, 6 Nov 1994 08:49:37 GMT",
		"sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06-Nov-94 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT",
		"Sun, 06 Foo 1994 08:49:37 GMT",
		"Xxx, 06 Nov 1994 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT",
		"Wed, 29 Feb 2023 00:00:00 GMT",
		"Mon, 29 Feb 2100 00:00:00 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",
		"Sun, 06 Nov 1994 8:49:37 GMT",
		"Wed, 31 Dec 1969 23:59:59 GMT",
		"Sun, 06 Nov 94 08:49:37 GMT",
		"Sun Nov 6 08:49:37 1994",
		"Sun Nov 06 08:49:37 1994 GMT",
		"Sun, 0/ Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 19:4 08:49:37 GMT",
		/* only asctime() pads, and only the day */
		"Sun,  6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994  8:49:37 GMT",
		"Sun, 06 Nov 1994 08: 9:37 GMT",
		"Sun, 06 Nov 1994 08:49: 7 GMT",
		"Sunday,  6-Nov-94 08:49:37 GMT",
		"Sunday, 06-Nov- 4 08:49:37 GMT",
		"Sun Nov  6  8:49:37 1994",
		"1994-11-06T08:49:37Z",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		int64_t ms = 4711;

		CHECK(wrong[i], !retry_after_parse(wrong[i], 0, &ms));
		CHECK_NUMBER(wrong[i], ms, 4711);
	}
}

/* Ours may be a month ahead or behind. */
static void a_date_is_measured_from_its_own_clock(void **state)
{
	enum { MONTH_S = 30 * 24 * 60 * 60 };
	static const char there[] = "Sun, 06 Nov 1994 08:49:37 GMT";
	static const char soon[] = "Sun, 06 Nov 1994 08:49:44 GMT";
	const int64_t there_unix_s = 784111777;

	(void)state;
	for (int64_t off = -MONTH_S; off <= MONTH_S; off += MONTH_S) {
		int64_t here = there_unix_s + off, ms = -1;

		assert_int_equal(retry_after_base(there, here), there_unix_s);
		assert_true(retry_after_parse(
			soon, retry_after_base(there, here), &ms));
		assert_int_equal(ms, 7000);
		assert_int_equal(retry_after_base(NULL, here), here);
		assert_int_equal(retry_after_base("yesterday", here), here);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(other_values_are_refused),
		cmocka_unit_test(a_date_is_measured_from_its_own_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
