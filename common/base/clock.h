/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdint.h>

/*
 * The only calls of clock_gettime() in the tree. Leases and schedules use
 * the database's clock; these serve signatures, timeouts and log lines.
 */

int64_t clock_unix_s(void);	  /* wall clock, seconds since 1970 */
int64_t clock_unix_ms(void);	  /* wall clock, milliseconds since 1970 */
int64_t clock_monotonic_ms(void); /* never steps; for durations */

#endif
