/* SPDX-License-Identifier: MIT */
/* What gcc's analyzer cannot see from a declaration: fault_set() returns the
 * code that it was given. */
#include "common/base/fault.h"

#define fault_set(fault, code, ...)                                            \
	((void)fault_set(fault, code, __VA_ARGS__), (code))
