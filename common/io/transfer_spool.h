/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_TRANSFER_SPOOL_H
#define COMMON_IO_TRANSFER_SPOOL_H

#include "common/base/crypto.h"
#include "common/base/fault.h"

#include <stddef.h>
#include <stdint.h>

/* Files without a name in SPOOL_DIR: gone when closed, however we end. */

/* @return a descriptor, or -errno */
_must_check_ int transfer_spool_open(const char *folder,
				     struct fault *reterr_fault);

/**
 * Append what base64 text stands for.
 *
 * @sha256     fed with the bytes
 * @bytes_max  -EFBIG beyond
 *
 * @return how many bytes those were; -EBADMSG for text that is not base64;
 *	   -EFBIG; -EAGAIN where it cannot be written; -errno
 */
_must_check_ int64_t transfer_spool_base64(int fd, const char *text,
					   size_t size, int64_t bytes_max,
					   struct sha256 *sha256,
					   struct fault *reterr_fault);

#endif
