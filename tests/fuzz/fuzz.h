/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "common/base/macro.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What every fuzz target includes. A target is one file with one function,
 * LLVMFuzzerTestOneInput(): libFuzzer calls it with inputs it makes up ("make
 * fuzz"), replay.c with those in tests/fuzz/corpus/ ("make check").
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A contract: an input that breaks it ends the process. */
#define HOLDS(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			(void)fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
				      __LINE__, #condition);                   \
			abort();                                               \
		}                                                              \
	} while (0)

/* Takes an input apart from its front. */
struct input {
	const uint8_t *next;
	size_t left;
};

static inline uint8_t input_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->next++;
}

static inline void freep(void *slot)
{
	void *memory;

	memcpy(&memory, slot, sizeof(memory));
	free(memory);
}

/* A copy of exactly this size and a NUL, so that a sanitizer sees who reads
 * beyond it. The caller frees it. */
static inline char *copy_of(const void *bytes, size_t size)
{
	char *copy = malloc(size + 1);

	HOLDS(copy);
	if (size > 0)
		memcpy(copy, bytes, size);
	copy[size] = '\0';
	return copy;
}

/* What stands before the next line feed, which is taken as well. */
static inline char *input_line(struct input *input)
{
	const uint8_t *end =
		input->left > 0 ? memchr(input->next, '\n', input->left) : NULL;
	size_t length = end ? (size_t)(end - input->next) : input->left;
	char *line = copy_of(input->next, length);

	input->next += length + (end ? 1 : 0);
	input->left -= length + (end ? 1 : 0);
	return line;
}

static inline char *input_rest(struct input *input, size_t *ret_size)
{
	char *rest = copy_of(input->next, input->left);

	*ret_size = input->left;
	input->next += input->left;
	input->left = 0;
	return rest;
}

#endif
