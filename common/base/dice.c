/* SPDX-License-Identifier: MIT */
#include "common/base/dice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The kernel is asked for this many bytes at a time: an id takes 10, and the
 * call costs more than they do. */
enum { SUPPLY_BYTES = 512 };

static void ask_kernel(uint8_t *next, size_t size)
{

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

void dice_fill(void *ret, size_t size)
{
	static _Thread_local uint8_t supply[SUPPLY_BYTES];
	static _Thread_local size_t left;

	if (size > sizeof(supply) / 4) {
		ask_kernel(ret, size);
		return;
	}
	if (size > left) {
		ask_kernel(supply, sizeof(supply));
		left = sizeof(supply);
	}
	/* Nobody who looks into this memory later finds what was given. */
	left -= size;
	memcpy(ret, supply + left, size);
	memset(supply + left, 0, size);
}

uint32_t dice_uint32(void)
{
	uint32_t bits;

	dice_fill(&bits, sizeof(bits));
	return bits;
}
