/* SPDX-License-Identifier: MIT */
#include "common/model/policy.h"

#include "common/base/macro.h"

#include <stddef.h>
#include <string.h>

static const char *const names[POLICY_MAX] = {
	[POLICY_NONE] = "none",
	[POLICY_FAIL] = "fail",
	[POLICY_SKIP] = "skip",
	[POLICY_RUN] = "run",
};

const char *policy_name(enum policy policy)
{
	return names[(size_t)policy < COUNT_OF(names) ? policy : POLICY_NONE];
}

enum policy policy_from_name(const char *name)
{
	for (int policy = POLICY_NONE + 1; policy < POLICY_MAX; policy++)
		if (strcmp(names[policy], name) == 0)
			return (enum policy)policy;
	return POLICY_NONE;
}
