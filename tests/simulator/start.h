/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_START_H
#define TESTS_SIMULATOR_START_H

#include "tests/simulator/mischief.h"

/*
 * What the starts of all providers have in common.
 */
struct start_request {
	enum sim_provider provider;
	const char *id; /* of the job to be */
	const char *account;
	const char *model;
	const char *webhook; /* or NULL */
	json_t *input;	     /* whole; rushes_sim is taken out of a copy */
	json_t *words;	     /* rushes_sim, or NULL */
	size_t media_wanted;
	bool fetch_inputs;
	error_body_fn *error_body;
	/* how a client's own mistake is answered */
	void (*invalid)(struct request *request, const char *message);
};

/**
 * Check the words, apply what refuses a start, else accept it.
 *
 * @return the job, not begun; or NULL, and the request is answered
 */
struct job *start_accept(struct request *request,
			 const struct start_request *start,
			 struct mischief *ret_mischief);

/* 26 small letters and digits, as Replicate's ids look. */
void start_random_id(char ret[27]);
/* A UUID. */
void start_random_uuid(char ret[37]);

/* JSON object of the body, or NULL. New reference. */
json_t *start_parse_body(const struct request *request);

#endif
