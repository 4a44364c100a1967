/* SPDX-License-Identifier: MIT */
#include "common/io/store_s3_v2_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

/*
 * In place of libc's, for all that is in this process: libs3 makes the Date
 * that it signs by it, on several threads, which would share the result. (The
 * Makefile has the linker export it.)
 */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
struct tm *gmtime(const time_t *unix_s)
{
	static _Thread_local struct tm tm;

	return gmtime_r(unix_s, &tm);
}

#define FUNCTION(name)                                                         \
	{                                                                      \
		"S3_" #name, offsetof(struct libs3, name)                      \
	}

static const struct {
	const char *name;
	size_t at;
} functions[] = {
	FUNCTION(initialize),	   FUNCTION(deinitialize),
	FUNCTION(get_status_name), FUNCTION(status_is_retryable),
	FUNCTION(put_object),	   FUNCTION(get_object),
};

int libs3_open(const struct libs3 **ret, struct fault *reterr_fault)
{
	static struct libs3 libs3;
	void *library, *function;

	/* RTLD_LOCAL: its libcurl has our libcurl's names. */
	library = dlopen("libs3.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	for (size_t i = 0; library && i < COUNT_OF(functions); i++) {
		function = dlsym(library, functions[i].name);
		if (!function)
			library = NULL;
		else
			memcpy((char *)&libs3 + functions[i].at, &function,
			       sizeof(function));
	}
	if (!library)
		return fault_set(reterr_fault, -ENOENT,
				 "S3_SIGNATURE=v2 needs libs3 (%s)", dlerror());
	*ret = &libs3;
	return 0;
}
