/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_S3_V2_LIBRARY_H
#define COMMON_IO_STORE_S3_V2_LIBRARY_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <libs3.h>

/*
 * libs3, opened when it is wanted. Linked, it would bring a second libcurl,
 * GnuTLS, libxml2, ICU and the C++ library into every start of the poller:
 * two fifths of the time it takes to begin, for a signature that few need.
 * Private to store_s3_v2.c.
 */
struct libs3 {
	__typeof__(S3_initialize) *initialize;
	__typeof__(S3_deinitialize) *deinitialize;
	__typeof__(S3_get_status_name) *get_status_name;
	__typeof__(S3_status_is_retryable) *status_is_retryable;
	__typeof__(S3_put_object) *put_object;
	__typeof__(S3_get_object) *get_object;
};

/**
 * Open it, once; it stays open until the process ends.
 *
 * @return 0; -ENOENT when it is not installed or not the one we know
 */
_must_check_ int libs3_open(const struct libs3 **ret,
			    struct fault *reterr_fault);

#endif
