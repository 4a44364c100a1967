/* SPDX-License-Identifier: MIT */
#include "common/io/store_writer.h"

#include "common/model/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	GATHER_BYTES = 256 * LIMIT_KIB,
	/* Far enough ahead to be rare, near enough not to believe a length
	 * that is a lie. */
	RESERVE_BYTES = 8 * LIMIT_MIB,
};

int store_writer_begin(struct store_writer *writer, int fd, int64_t expected)
{
	char *bytes = malloc(GATHER_BYTES);

	if (!bytes)
		return -ENOMEM;
	*writer = (struct store_writer){
		.fd = fd,
		.bytes = bytes,
		.expected = expected,
	};
	return 0;
}

/* Only a favour to the file system, so it may fail. */
static void reserve(struct store_writer *writer)
{
	int64_t more = RESERVE_BYTES;

	if (writer->written + GATHER_BYTES <= writer->reserved)
		return;
	if (writer->expected >= 0 && writer->reserved + more > writer->expected)
		more = writer->expected - writer->reserved;
	if (more > 0)
		(void)fallocate(writer->fd, FALLOC_FL_KEEP_SIZE,
				writer->reserved, more);
	writer->reserved += RESERVE_BYTES;
}

static int write_gathered(struct store_writer *writer)
{
	const char *next = writer->bytes;
	size_t left = writer->size;

	while (left > 0) {
		ssize_t n = write(writer->fd, next, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		next += n;
		left -= (size_t)n;
	}
	writer->written += (int64_t)writer->size;
	writer->size = 0;
	return 0;
}

int store_writer_add(struct store_writer *writer, const void *bytes,
		     size_t size)
{
	const char *next = bytes;
	int r = 0;

	while (r >= 0 && size > 0) {
		size_t part = GATHER_BYTES - writer->size;

		if (part > size)
			part = size;
		memcpy(writer->bytes + writer->size, next, part);
		writer->size += part;
		next += part;
		size -= part;
		if (writer->size == GATHER_BYTES) {
			reserve(writer);
			r = write_gathered(writer);
		}
	}
	return r;
}

int store_writer_end(struct store_writer *writer)
{
	int r;

	if (!writer->bytes)
		return 0;
	r = write_gathered(writer);
	if (r >= 0 && writer->reserved > 0 &&
	    writer->written != writer->expected &&
	    ftruncate(writer->fd, writer->written) < 0)
		r = -errno;
	store_writer_done(writer);
	return r;
}

void store_writer_done(struct store_writer *writer)
{
	free(writer->bytes);
	writer->bytes = NULL;
}
