/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

/*
 * What every unit test includes: cmocka with the headers it wants before it,
 * and assertions that name the case of a table that failed.
 */

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

/* Ends the test. cmocka does not say of its own that it does not come back,
 * and an analyser would follow a failed check into what stands below it. */
#define CHECK_FAILED(...)                                                      \
	do {                                                                   \
		fail_msg(__VA_ARGS__);                                         \
		abort();                                                       \
	} while (0)

/* Ends the test unless the condition holds. */
#define CHECK(name, condition)                                                 \
	do {                                                                   \
		if (!(condition))                                              \
			CHECK_FAILED("%s: not true: %s", name, #condition);    \
	} while (0)

/* Ends the test unless both are the same text, or both NULL. */
#define CHECK_TEXT(name, got, want)                                            \
	do {                                                                   \
		const char *got_ = (got), *want_ = (want);                     \
		if (!got_ != !want_ || (got_ && strcmp(got_, want_) != 0))     \
			CHECK_FAILED("%s: got \"%s\", wanted \"%s\"", name,    \
				     got_ ? got_ : "(null)",                   \
				     want_ ? want_ : "(null)");                \
	} while (0)

/* Ends the test unless both are the same number. */
#define CHECK_NUMBER(name, got, want)                                          \
	do {                                                                   \
		long long got_ = (long long)(got);                             \
		long long want_ = (long long)(want);                           \
		if (got_ != want_)                                             \
			CHECK_FAILED("%s: got %lld, wanted %lld", name, got_,  \
				     want_);                                   \
	} while (0)

#endif
