/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STACK_SAY_H
#define TESTS_STACK_SAY_H

#include "common/base/macro.h"

/* One line on standard error, with the time of day. */
_printf_(1, 2) void say(const char *format, ...);

#endif
