/* SPDX-License-Identifier: MIT */
#include "common/io/transfer_spool.h"

#include "common/base/arena.h"
#include "common/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Text is decoded in slices of this size, a multiple of four. */
enum { SLICE_BYTES = 64 * 1024 };

int transfer_spool_open(const char *folder, struct fault *reterr_fault)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		char *path = NULL;

		if (asprintf(&path, "%s/rushes-spool-XXXXXX", folder) < 0)
			return fault_set(reterr_fault, -ENOMEM, "no memory");
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			(void)unlink(path);
		free(path);
	}
	if (fd < 0)
		return fault_set(reterr_fault, -errno, "SPOOL_DIR: %s",
				 strerror(errno));
	return fd;
}

static int write_all(int fd, const void *bytes, size_t size,
		     struct fault *reterr_fault)
{
	const char *next = bytes;

	while (size > 0) {
		ssize_t n = write(fd, next, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) /* -EFBIG would say that the media is too large */
			return fault_set(reterr_fault, -EAGAIN, "SPOOL_DIR: %s",
					 strerror(errno));
		next += n;
		size -= (size_t)n;
	}
	return 0;
}

int64_t transfer_spool_base64(int fd, const char *text, size_t size,
			      int64_t bytes_max, struct sha256 *sha256,
			      struct fault *reterr_fault)
{
	int64_t total = 0;

	for (size_t offset = 0; offset < size; offset += SLICE_BYTES) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(SLICE_BYTES * 2);
		size_t length = size - offset < SLICE_BYTES ? size - offset
							    : SLICE_BYTES;
		uint8_t *bytes;
		size_t count;
		int r;

		if (!arena)
			return fault_set(reterr_fault, -ENOMEM, "no memory");
		bytes = text_from_base64(text + offset, length, TEXT_BASE64,
					 arena, &count);
		/* Padding is for the end of the text, not of a slice. */
		if (!bytes || (offset + length < size &&
			       text[offset + length - 1] == '='))
			return fault_set(reterr_fault, -EBADMSG,
					 "inline media is not base64");
		total += (int64_t)count;
		if (total > bytes_max)
			return fault_set(reterr_fault, -EFBIG,
					 "more than %" PRId64 " bytes",
					 bytes_max);
		sha256_add(sha256, bytes, count);
		r = write_all(fd, bytes, count, reterr_fault);
		if (r < 0)
			return r;
	}
	return total;
}
