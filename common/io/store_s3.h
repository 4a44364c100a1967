/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_S3_H
#define COMMON_IO_STORE_S3_H

#include "common/io/store_put.h"

/* What both S3 drivers share; private to store_s3*.c. */

/* The largest object of a single PUT. */
#define STORE_S3_BYTES_MAX (INT64_C(5) << 30)

/**
 * What a refusal means.
 *
 * @status  of HTTP; 0 if it is not known
 * @code    S3's own word, such as "SignatureDoesNotMatch"; may be ""
 *
 * @return -EACCES for what an operator must mend, -EAGAIN for what passes,
 *	   -ENOENT for an object that is not there; *reterr_fault is set
 */
int store_s3_error(long status, const char *code, struct fault *reterr_fault);

#endif
