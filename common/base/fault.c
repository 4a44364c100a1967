/* SPDX-License-Identifier: MIT */
#include "common/base/fault.h"

#include <stdarg.h>
#include <stdio.h>

int fault_set(struct fault *fault, int code, const char *format, ...)
{
	va_list args;

	if (fault) {
		va_start(args, format);
		(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
		va_end(args);
	}
	return code;
}
