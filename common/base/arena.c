/* SPDX-License-Identifier: MIT */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Small things share a chunk. Under AddressSanitizer nothing does, so that it
 * sees who writes past the end of his own.
 */
#if defined(__SANITIZE_ADDRESS__)
#define ALONE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALONE 1
#endif
#endif

enum {
#ifdef ALONE
	SHARED_BYTES = 0,
#else
	SHARED_BYTES = 4000, /* with its head and malloc's, below 4 KiB */
#endif
};

/* What counts as small. A variable, for to compilers a comparison with a
 * constant 0 is a mistake. */
static const size_t small_bytes = SHARED_BYTES / 4;

struct chunk {
	struct chunk *next;
	max_align_t bytes[];
};

struct arena {
	size_t limit_bytes;
	size_t taken_bytes;
	bool failed;
	bool full; /* failed at its limit */
	struct chunk *chunks;
	char *shared; /* what is free of the shared chunk in use */
	size_t shared_bytes;
};

struct arena *arena_new(size_t limit_bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));

	if (arena)
		arena->limit_bytes = limit_bytes;
	return arena;
}

struct arena *arena_free(struct arena *arena)
{
	if (!arena)
		return NULL;

	for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(arena);
	return NULL;
}

bool arena_failed(const struct arena *arena)
{
	return arena->failed;
}

bool arena_is_full(const struct arena *arena)
{
	return arena->full;
}

static void *add_chunk(struct arena *arena, size_t size)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk) + size);

	if (!chunk)
		return NULL;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	return chunk->bytes;
}

/* From the shared chunk, or from a new one. What is left of the old one is
 * lost, less than a quarter of it. */
static void *share(struct arena *arena, size_t size)
{
	size_t room = ((size ? size : 1) + _Alignof(max_align_t) - 1) &
		      ~(_Alignof(max_align_t) - 1);
	char *bytes;

	if (room > arena->shared_bytes) {
		arena->shared = add_chunk(arena, SHARED_BYTES);
		arena->shared_bytes = arena->shared ? SHARED_BYTES : 0;
	}
	if (!arena->shared)
		return NULL;
	bytes = arena->shared;
	arena->shared += room;
	arena->shared_bytes -= room;
	return bytes;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *bytes = NULL;

	if (arena->failed)
		return NULL;
	arena->full = size > arena->limit_bytes - arena->taken_bytes;
	if (!arena->full)
		bytes = size < small_bytes ? share(arena, size)
					   : add_chunk(arena, size);
	if (!bytes) {
		arena->failed = true;
		return NULL;
	}
	arena->taken_bytes += size;
	return bytes;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	char *copy = length < SIZE_MAX ? arena_alloc(arena, length + 1) : NULL;

	if (copy)
		memcpy(copy, text, length);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	char *text = NULL;
	char most[256]; /* are shorter, and printed once */
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(most, sizeof(most), format, args);
	if (length >= 0)
		text = arena_alloc(arena, (size_t)length + 1);
	else
		arena->failed = true;
	if (text && (size_t)length < sizeof(most))
		memcpy(text, most, (size_t)length + 1);
	else if (text)
		(void)vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}
