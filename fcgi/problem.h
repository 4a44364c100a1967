/* SPDX-License-Identifier: MIT */
#ifndef FCGI_PROBLEM_H
#define FCGI_PROBLEM_H

#include "fcgi/exchange.h"

/*
 * Refusals: application/problem+json (RFC 9457), all of them made here. The
 * code is stable and for programs; title and detail are for people.
 */

struct problem {
	unsigned status;
	const char *code;    /* snake_case; static */
	const char *detail;  /* one sentence without any secret; or NULL */
	const char *pointer; /* RFC 6901, into the body; or NULL */
	const char *field;   /* header or query parameter; or NULL */
};

/* Make the refusal; falls back to static text when the arena is full. */
void problem_reply(const struct problem *problem, const struct request *request,
		   struct reply *ret);

/* The frequent form, for "return refuse(…)" in a handler. @return 0 */
int refuse(const struct request *request, struct reply *ret, unsigned status,
	   const char *code, const char *detail);

/* 503 with Retry-After: the database is away or we have too much to do. */
int refuse_for_now(const struct request *request, struct reply *ret,
		   const char *code, const char *detail);

/* What a negative result of a handler looks like to the client. */
void problem_from_failure(int r, const struct request *request,
			  struct reply *ret);

/* The reason phrase of a status we use. */
const char *problem_title(unsigned status);

#endif
