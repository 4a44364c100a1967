/* SPDX-License-Identifier: MIT */
#ifndef POLLER_SOURCES_H
#define POLLER_SOURCES_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/model/limits.h"
#include "common/provider/provider.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where a job's media is to be fetched (media_source), and what was stored
 * (media): the two JSON texts of the completion routine. Pure.
 */

struct source {
	const char *url;	  /* NULL: inline in the provider's answer */
	const char *content_type; /* as the provider says, or NULL */
	size_t inline_index;	  /* of event.media, where url is NULL */
};

struct sources {
	struct source source[LIMIT_MEDIA_PER_JOB];
	size_t count;
	bool has_inline; /* the answer is needed again */
};

/**
 * Read media_source: an array of {"url", "content_type"} or {"inline": i}.
 *
 * @arena  owns the strings
 *
 * @return 0; -EBADMSG for anything else, also for more than
 *	   LIMIT_MEDIA_PER_JOB; -ENOMEM
 */
_must_check_ int sources_read(const char *text, struct arena *arena,
			      struct sources *ret, struct fault *reterr_fault);

/* The same from a provider's answer. */
_must_check_ int sources_from_event(const struct provider_event *event,
				    struct arena *arena, struct sources *ret,
				    struct fault *reterr_fault);

/* A file that is in our store. */
struct stored {
	const char *key;
	const char *url;
	const char *content_type;
	int64_t bytes;
	const char *sha256;
};

/* The array for table media. @return arena text, or NULL when it is full */
const char *sources_stored(const struct stored *stored, size_t count,
			   struct arena *arena);

#endif
