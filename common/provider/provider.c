/* SPDX-License-Identifier: MIT */
#include "common/provider/provider.h"

#include <string.h>

static const struct provider_ops *const providers[] = {
	&replicate_provider,
	&fal_provider,
	&vertex_provider,
};

const struct provider_ops *provider_lookup(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(providers); i++)
		if (strcmp(providers[i]->name, name) == 0)
			return providers[i];
	return NULL;
}

const struct provider_ops *provider_at(size_t index)
{
	return index < COUNT_OF(providers) ? providers[index] : NULL;
}
