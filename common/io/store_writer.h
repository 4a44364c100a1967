/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_WRITER_H
#define COMMON_IO_STORE_WRITER_H

#include "common/base/macro.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Writes a file from its start, by large pieces: bytes are gathered before
 * they are written, and their room on the disk is reserved before that. The
 * file system then handles them by the hundred pages instead of one by one,
 * for less than half of the time. Private to stores and transfers.
 */
struct store_writer {
	int fd;	     /* the owner's */
	char *bytes; /* gathered; NULL: nothing is being written */
	size_t size;
	int64_t expected; /* in all; -1: not known */
	int64_t written, reserved;
};

/* @expected  bytes to come, or -1. @return 0 or -ENOMEM */
_must_check_ int store_writer_begin(struct store_writer *writer, int fd,
				    int64_t expected);

/* @return 0 or -errno of writing, which may be that of earlier bytes */
_must_check_ int store_writer_add(struct store_writer *writer,
				  const void *bytes, size_t size);

/* Write what is left, and keep no more room than the file takes. Fine when
 * nothing is being written. @return 0 or -errno */
_must_check_ int store_writer_end(struct store_writer *writer);

/* Release it, whatever was written. May be repeated. */
void store_writer_done(struct store_writer *writer);

#endif
