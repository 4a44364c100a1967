/* SPDX-License-Identifier: MIT */
/* Memory that is always there, and the one spelling of time. */
#include "tests/simulator/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void *take(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory)
		abort();
	return memory;
}

char *take_text(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

char *take_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	return text;
}

const char *time_text(int64_t unix_ms, char ret[TIME_SIZE])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	char text[64];

	(void)gmtime_r(&seconds, &tm);
	(void)snprintf(text, sizeof(text),
		       "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		       tm.tm_sec, (int)(unix_ms % 1000));
	memcpy(ret, text, TIME_SIZE - 1);
	ret[TIME_SIZE - 1] = '\0';
	return ret;
}
