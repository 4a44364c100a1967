/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_RETRY_AFTER_H
#define COMMON_MODEL_RETRY_AFTER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Read the value of a Retry-After header (RFC 9110, 10.2.3): seconds, or an
 * HTTP date in any of its three forms (5.6.7). No blanks around it.
 *
 * @now_unix_s  what a date is measured from
 * @ret_ms      milliseconds from now, in [0, LIMIT_RETRY_AFTER_S * 1000];
 *              a date that is past gives 0, a longer wait is cut
 *
 * @return whether it was one; *ret_ms is untouched otherwise
 */
bool retry_after_parse(const char *value, int64_t now_unix_s, int64_t *ret_ms);

/**
 * What a date from elsewhere is measured from: the clock there, if it says what
 * that shows (RFC 9110, 6.6.1). Ours may be wrong.
 *
 * @date  value of the Date header; NULL without one
 */
int64_t retry_after_base(const char *date, int64_t now_unix_s);

#endif
