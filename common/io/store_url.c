/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/io/store_put.h"
#include "common/model/limits.h"

#include <string.h>

/* Apart from the stores themselves, so that rushes-fcgi need not link what
 * they stand on. */

bool store_key_is_valid(const char *key)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_.~!$&'()*+,;=:@";
	const char *part = key;

	if (strlen(key) > LIMIT_STORE_KEY_BYTES)
		return false;
	for (;;) {
		size_t length = strcspn(part, "/");

		if (length == 0 || length > 200 ||
		    strspn(part, legal) != length ||
		    (part[0] == '.' &&
		     (length == 1 || (length == 2 && part[1] == '.'))))
			return false;
		if (!part[length])
			return true;
		part += length + 1;
	}
}

char *store_public_url(const struct conf *conf, const char *key,
		       struct arena *arena)
{
	const char *path = text_to_percent(key, true, arena);

	if (!path)
		return NULL;
	return arena_printf(arena, "%s/%s", conf->cdn_base_url, path);
}
