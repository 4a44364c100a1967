/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_MEMORY_H
#define TESTS_SIMULATOR_MEMORY_H

#include "common/base/macro.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Memory for a test tool: it is there, or the process ends loudly. A
 * simulator that limps on without memory would only make a test lie.
 */

void *take(size_t size); /* zeroed */
char *take_text(const char *text);
_printf_(1, 2) char *take_printf(const char *format, ...);

static inline void free_text(char **slot)
{
	free(*slot);
}
#define _cleanup_text_ _cleanup_(free_text)

/* "2026-11-24T03:20:00.123Z" */
enum { TIME_SIZE = 25 };
const char *time_text(int64_t unix_ms, char ret[TIME_SIZE]);

#endif
