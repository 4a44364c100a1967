/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_SUBMISSION_FIELD_H
#define COMMON_MODEL_SUBMISSION_FIELD_H

#include "common/base/arena.h"
#include "common/base/macro.h"
#include "common/model/submission.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The fields of one JSON object of a submission, against a table. Private to
 * submission.c.
 *
 * Functions that return int give 0, SUBMISSION_E_INVALID with the problem
 * noted, or -ENOMEM. base is the JSON pointer of the object.
 */

struct field_reader {
	struct arena *arena;
	struct submission_problem *problem;
};

/* Which fields there are, and of what type. */
struct field {
	const char *name;
	json_type type; /* JSON_TRUE stands for both booleans */
	bool required;
};

/* Note what is wrong. The pointer comes from the arena and may be NULL when
 * that is full. */
_printf_(4, 5) int field_refuse(struct field_reader *reader, const char *code,
				const char *pointer, const char *format, ...);

/* The pointer of a field, or of what it is in if that is absurdly long. */
const char *field_pointer_to(struct field_reader *reader, const char *base,
			     const char *key);

const char *field_type_name(const json_t *value); /* such as "an object" */

/* All fields known, all required ones there, all of the right type. An
 * optional field that is null counts as not there. */
int field_check(struct field_reader *reader, const char *base, json_t *object,
		const struct field *fields, size_t count);

/* A string of 1 to most bytes without control characters, or NULL where the
 * field is not there. */
int field_take_text(struct field_reader *reader, const char *base,
		    const json_t *object, const char *field, size_t most,
		    const char **ret);

/* A whole number, or 0 where the field is not there. */
struct field_range {
	int32_t least;
	int32_t most;
};
int field_take_number(struct field_reader *reader, const char *base,
		      const json_t *object, const char *field,
		      struct field_range range, int32_t *ret);

/* An object as compact text of at most so many bytes, or NULL where the
 * field is not there. */
int field_take_object(struct field_reader *reader, const char *base,
		      const json_t *object, const char *field, size_t most,
		      const char **ret);

#endif
