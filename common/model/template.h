/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_TEMPLATE_H
#define COMMON_MODEL_TEMPLATE_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * References from a job's input to the results of jobs it depends on.
 *
 * In any string (not in keys):
 *	${still.output.url}		   a member
 *	${still.output.urls[0]}		   an element of an array
 *	${still.output.raw.images.0.url}   the same, spelled with a dot; on an
 *					   object .0 is the key "0"
 *	${still.output}			   all of it
 *	$${				   the characters ${
 * A name and "output" are required. Keys in a path hold no blanks, controls
 * or any of . [ ] { } $ " \ (what has such a key cannot be referred to).
 * "$" that stands before neither "{" nor "${" is itself.
 *
 * A string that is one reference and nothing else becomes the JSON value,
 * null included. Within other text the value becomes text: strings as they
 * are, numbers and booleans as in JSON, arrays and objects as compact JSON.
 * A null within text is missing: nobody wants to pay for a prompt with the
 * word "null" in it.
 *
 * An object with the key "$media" stands for a file, in whatever form the
 * provider takes files:
 *	{"$media": "still"}		   the first
 *	{"$media": "still", "index": 1}	   the second
 * Nothing else may be in it.
 *
 * What is put in is not looked at again: a result cannot contain references.
 */

enum {
	TEMPLATE_E_SYNTAX = 1,	      /* from template_find() */
	TEMPLATE_E_REFERENCE_MISSING, /* from template_resolve() */
};

struct template_reference {
	const char *job;   /* the name of the job referred to */
	const char *where; /* JSON pointer into the input, "" its root */
	bool is_media;	   /* {"$media": ...} */
	size_t index;	   /* of the file, with is_media */
};

struct template_references {
	const struct template_reference *reference;
	size_t count;
};

/**
 * Find all references in an input, in reading order; a job that is referred
 * to twice is there twice. Names are checked for their form only.
 *
 * @ret           arena memory
 * @reterr_where  of a syntax error: JSON pointer into the input, or to
 *                what holds the place if the pointer would be very long
 *
 * @return 0; TEMPLATE_E_SYNTAX, the fault says what is wrong; -EFBIG over
 *	   LIMIT_REFERENCES or LIMIT_JSON_DEPTH; -ENOMEM
 */
_must_check_ int template_find(json_t *input, struct arena *arena,
			       struct template_references *ret,
			       const char **reterr_where,
			       struct fault *reterr_fault);

/* What references resolve to. */
struct template_values {
	/* Object: job name -> {"url", "urls", "media": [{"url", ...}], "raw"},
	 * or the dependency_defaults standing in for it. A job that is not
	 * in it has no output. */
	json_t *outputs;
	/* Object: job name -> array of what {"$media"} becomes, by index. A
	 * job that is not in it, or NULL: its URL, taken from media[i].url,
	 * else urls[i], else (for the first) url. */
	json_t *media;
	size_t bytes_most; /* of the input as compact text and all that is
			      put in, together */
};

/**
 * Replace all references.
 *
 * @ret  a new reference. It shares values with what it was made from: read
 *       it and drop it, do not change it.
 *
 * @return 0; TEMPLATE_E_REFERENCE_MISSING, the fault names the reference;
 *	   -EFBIG over bytes_most, LIMIT_REFERENCES or LIMIT_JSON_DEPTH;
 *	   -EINVAL for an input that template_find() refuses; -ENOMEM
 */
_must_check_ int template_resolve(json_t *input,
				  const struct template_values *values,
				  struct arena *arena, json_t **ret,
				  struct fault *reterr_fault);

/* May a job have this name? Letters, digits, "_" and "-", at most
 * LIMIT_JOB_NAME_BYTES, so that it can stand in a reference. */
bool template_is_job_name(const char *name, size_t length);

#endif
