/* SPDX-License-Identifier: MIT */
#include "common/base/dice.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void dice_fill(void *ret, size_t size)
{
	uint8_t *next = ret;

	while (size > 0) {
		ssize_t got = getrandom(next, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		/* Ids and jitter made of what happens to lie in memory would
		 * be worse than no process. */
		if (got <= 0)
			abort();
		next += got;
		size -= (size_t)got;
	}
}

uint32_t dice_uint32(void)
{
	uint32_t bits;

	dice_fill(&bits, sizeof(bits));
	return bits;
}
