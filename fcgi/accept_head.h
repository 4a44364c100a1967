/* SPDX-License-Identifier: MIT */
#ifndef FCGI_ACCEPT_HEAD_H
#define FCGI_ACCEPT_HEAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * The head of a FastCGI request: its BEGIN_REQUEST record and its PARAMS,
 * looked at before libfcgi reads them. libfcgi takes any length that a peer
 * claims; behind this check it never has to wait or to believe.
 */

enum {
	HEAD_PARAMS_MAX = 256, /* parameters of one request */
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
 *
 * Bad is: another role than responder, management records, a second request
 * in between, a wrong version, lengths beyond the limit or the end, NUL
 * bytes, more than HEAD_PARAMS_MAX parameters.
 */
enum head head_check(const uint8_t *bytes, size_t size, uint8_t *scratch,
		     size_t params_bytes_max);

#endif
