/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_WORDS_H
#define TESTS_SIMULATOR_WORDS_H

#include "common/base/fault.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The control language (docs/SIMULATOR.md) as data: which words there are
 * and of what kind. A set of words is a JSON object that words_check() has
 * passed.
 */

/* @return 0, or -EINVAL with a fault that names the word */
int words_check(const json_t *words, struct fault *reterr_fault);

/*
 * Where words are looked for: first to last, and the first that has the word
 * wins. Members may be NULL.
 */
struct words {
	const json_t *level[3]; /* the job's, the provider's, for all */
};

/* group: "webhook" or "media", whose words are looked up one by one; or NULL
 * for a word about the job itself. */
const json_t *words_find(const struct words *words, const char *group,
			 const char *name);
int64_t words_int(const struct words *words, const char *group,
		  const char *name, int64_t otherwise);
const char *words_text(const struct words *words, const char *group,
		       const char *name, const char *otherwise);
bool words_bool(const struct words *words, const char *group, const char *name,
		bool otherwise);

#endif
