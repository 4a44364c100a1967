/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_SIGN_H
#define TESTS_SIMULATOR_SIGN_H

#include "tests/simulator/job.h"
#include "tests/simulator/outgoing.h"

/* The signature headers of a delivery, right or wrong on purpose. */

enum forge {
	FORGE_NONE,
	FORGE_UNSIGNED,
	FORGE_SIGNATURE,
	FORGE_KEY,
	FORGE_BODY,
	FORGE_STALE,
	FORGE_FUTURE,
	FORGE_MALFORMED,
	FORGE_DOUBLED,
	FORGE_TOKEN,
	FORGE_OTHER,
};

enum forge forge_from_name(const char *name); /* NULL is fine */

struct signature {
	enum forge forge;
	int signatures; /* in Replicate's header, if more than its keys */
	char *id;	/* webhook-id: the same at each try */
	char *value[4]; /* what the headers point to */
};

void signature_begin(struct signature *signature, const struct job *job);
void signature_same_id(struct signature *signature, const char *id);
void signature_clear(struct signature *signature);

/* Sign the exchange's body as of now and add the headers. */
void signature_apply(struct signature *signature, const struct job *job,
		     struct exchange *exchange);

#endif
