/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SUPPORT_ARENA_H
#define TESTS_SUPPORT_ARENA_H

#include "common/base/arena.h"
#include "tests/support/check.h"

/*
 * One arena for all tests of a program: give start and end to the group.
 * Include it last, for headers have parameters of that name.
 */

static struct arena *arena;

static int start(void **state)
{
	(void)state;
	arena = arena_new(16 << 20);
	return arena ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	arena = arena_free(arena);
	return 0;
}

#endif
