/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_CONTENT_H
#define TESTS_SIMULATOR_CONTENT_H

#include "tests/simulator/job.h"

/* A file as it is served: a head in memory, then filler up to total. */
struct content {
	uint8_t *head;
	size_t head_bytes;
	int64_t total;
};

/* wanted: bytes; negative: as many as it takes. */
void content_make(struct content *content, const struct job *job, size_t file,
		  enum media_kind kind, int64_t wanted);
void content_clear(struct content *content);
/* Copy at most `most` bytes from offset at. @return how many; 0 at the end */
size_t content_read(const struct content *content, int64_t at, void *buffer,
		    size_t most);

/* The content of a file of a job. */
void media_content(const struct job *job, size_t file, struct content *ret);

#endif
