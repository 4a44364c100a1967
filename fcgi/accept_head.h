/* SPDX-License-Identifier: MIT */
#ifndef FCGI_ACCEPT_HEAD_H
#define FCGI_ACCEPT_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The head of a FastCGI request: its BEGIN_REQUEST record and its PARAMS,
 * looked at before libfcgi reads them. libfcgi takes any length that a peer
 * claims; behind this check it never has to wait or to believe.
 */

enum {
	/* Enough for LIMIT_PARAMS_BYTES in small records with their headers. */
	HEAD_LOOK_BYTES = 96 * 1024,
};

enum head {
	HEAD_MORE = 0, /* so far so good */
	HEAD_COMPLETE,
	HEAD_BAD,
};

/**
 * Look at the first bytes of a request.
 *
 * @scratch           room for params_bytes_max, used meanwhile
 * @params_bytes_max  of all parameters together
 * @ret_bytes         of HEAD_COMPLETE: how long the head is
 *
 * Bad is: another role than responder, management records, a second request
 * in between, a wrong version, lengths beyond the limit or the end, NUL
 * bytes. How many parameters there are is serve.c's business: whoever sent too
 * many headers is told so.
 */
enum head head_check(const uint8_t *bytes, size_t size, uint8_t *scratch,
		     size_t params_bytes_max, size_t *ret_bytes);

/*
 * What may follow a head: the records of its body, up to the one that ends it.
 * libfcgi would act on others (management records, of which some leak and some
 * overflow its buffer; a second request) and would swallow what stands behind
 * the end, so it gets to read only what passed here.
 */
struct body_records {
	unsigned request; /* of the head */
	bool ended;
	size_t left; /* content and padding to come of the record begun */
	uint8_t header[8];
	size_t header_bytes;
};

/* The request's body begins. */
struct body_records body_records_of(const uint8_t *head);

/**
 * Look at the next bytes.
 *
 * @return how many of them may be read; those behind are not this body's: the
 *	   next request, if it has ended, or something that may not be there
 */
size_t body_records_pass(struct body_records *records, const uint8_t *bytes,
			 size_t size);

#endif
