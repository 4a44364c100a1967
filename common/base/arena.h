/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/macro.h"

#include <stdbool.h>
#include <stddef.h>

/**
 * Arena: memory that lives exactly as long as one request or one poller tick.
 *
 * Everything taken from an arena is released together by arena_free();
 * nothing in it is ever freed singly. An arena has a hard byte limit, so the
 * largest request we accept is a number in a header and not an accident.
 *
 * Failure is sticky: once the limit is hit every later call returns NULL
 * too, so code that copies many fields may check arena_failed() once at the
 * end instead of after each copy.
 */
struct arena;

struct arena *arena_new(size_t limit_bytes);
struct arena *arena_free(struct arena *arena); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct arena *, arena_free);

bool arena_failed(const struct arena *arena);

/* Whether it failed at its limit, and so would again; else there was no
 * memory to be had, and that may pass. */
bool arena_is_full(const struct arena *arena);

/* Zeroed and suitably aligned for any type, or NULL. */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_strdup(struct arena *arena, const char *text);
_printf_(2, 3) char *arena_printf(struct arena *arena, const char *format, ...);

#endif
