/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_FAULT_H
#define COMMON_BASE_FAULT_H

#include "common/base/macro.h"

#include <stddef.h>

/**
 * Fault: why an operation failed, in words an operator can act on.
 *
 * The return value says what to do; the fault says what to print. It is
 * plain storage with nothing to free, filled in only on failure, and is
 * always the last parameter (reterr_fault). NULL means "not interested".
 */
struct fault {
	char text[256];
};

/* Fill in the reason and return code, so that callers can write
 *	return fault_set(reterr_fault, -EBADMSG, "row %d: no id", row); */
_printf_(3, 4) int fault_set(struct fault *fault, int code, const char *format,
			     ...);

#endif
