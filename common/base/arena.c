/* SPDX-License-Identifier: MIT */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
	struct chunk *next;
	max_align_t bytes[];
};

struct arena {
	size_t limit_bytes;
	size_t taken_bytes;
	bool failed;
	struct chunk *chunks;
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

void *arena_alloc(struct arena *arena, size_t size)
{
	struct chunk *chunk = NULL;

	if (!arena->failed && size <= arena->limit_bytes - arena->taken_bytes)
		chunk = calloc(1, sizeof(*chunk) + size);
	if (!chunk) {
		arena->failed = true;
		return NULL;
	}

	chunk->next = arena->chunks;
	arena->chunks = chunk;
	arena->taken_bytes += size;
	return chunk->bytes;
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
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	if (length >= 0)
		text = arena_alloc(arena, (size_t)length + 1);
	if (text)
		(void)vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}
