/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_LIMITS_H
#define COMMON_MODEL_LIMITS_H

#include <stdint.h>

/*
 * Every ceiling in the system, each with its unit in its name. Where the
 * configuration can move one, the number here is the default, and the name
 * of the setting stands beside it. What is over a limit is refused with a
 * sentence that names the limit; nothing is ever cut silently but words
 * meant for people (LIMIT_ERROR_MESSAGE_BYTES).
 */

enum {
	LIMIT_KIB = 1024,
	LIMIT_MIB = 1024 * 1024,

	/* What a client may send. */
	LIMIT_BODY_BYTES = 4 * LIMIT_MIB, /* BODY_BYTES_MAX */
	LIMIT_JOBS = 10000,		  /* JOBS_PER_EXECUTION_MAX */
	LIMIT_JOBS_MOST = 100000,	  /* highest setting of that */
	LIMIT_DEPENDENCIES = 10000,	  /* of one job (fan-in) */
	LIMIT_EDGES = 200000,		  /* of one execution */
	LIMIT_REFERENCES = 10000,	  /* in one job's input */
	LIMIT_REFERENCE_BYTES = 1024,	  /* of one, from ${ to } */
	LIMIT_JOB_NAME_BYTES = 128,
	LIMIT_EXECUTION_NAME_BYTES = 128,
	LIMIT_PROVIDER_NAME_BYTES = 32,
	LIMIT_MODEL_BYTES = 256,
	LIMIT_INPUT_BYTES = 1 * LIMIT_MIB,     /* one job's, as compact JSON */
	LIMIT_DEFAULTS_BYTES = 64 * LIMIT_KIB, /* one job's defaults */
	LIMIT_METADATA_BYTES = 16 * LIMIT_KIB,
	LIMIT_IDEMPOTENCY_KEY_BYTES = 255,
	LIMIT_REQUEST_ID_BYTES = 64,
	LIMIT_DEADLINE_LEAST_S = 1,
	LIMIT_DEADLINE_MOST_S = 7 * 24 * 60 * 60,
	LIMIT_ATTEMPTS = 10,	    /* highest max_attempts of a job */
	LIMIT_JSON_DEPTH = 64,	    /* arrays and objects in each other */
	LIMIT_JSON_VALUES = 600000, /* in one text; memory grows with them */

	/* What a client asks for and gets. */
	LIMIT_PAGE_ITEMS = 50, /* of a list, when nothing is said */
	LIMIT_PAGE_MOST_ITEMS = 200,
	LIMIT_CURSOR_BYTES = 512,
	LIMIT_ERROR_MESSAGE_BYTES = 500, /* of a job */
	LIMIT_EVENTS_ITEMS = 1000, /* of one job's timeline in one answer */

	/* HTTP, both ways. */
	LIMIT_URL_BYTES = 8 * LIMIT_KIB,
	LIMIT_HEADER_BYTES = 8 * LIMIT_KIB,   /* one name and value */
	LIMIT_HEADERS_BYTES = 64 * LIMIT_KIB, /* all of a request or answer */
	LIMIT_PARAMS_BYTES = 64 * LIMIT_KIB,  /* FastCGI parameters */
	LIMIT_HEADERS = 128,		      /* of one request */
	LIMIT_API_KEY_BYTES = 128,
	LIMIT_WEBHOOK_BODY_BYTES = 1 * LIMIT_MIB,
	LIMIT_REDIRECTS = 3,	    /* of a download */
	LIMIT_RETRY_AFTER_S = 3600, /* longer wishes are cut to this */

	/* What a provider may answer. */
	LIMIT_PROVIDER_JSON_BYTES = 1 * LIMIT_MIB,
	LIMIT_PROVIDER_INLINE_BYTES = 96 * LIMIT_MIB, /* Veo without storage */
	LIMIT_PROVIDER_JOB_ID_BYTES = 512,
	LIMIT_PROVIDER_REF_BYTES = 8 * LIMIT_KIB,
	LIMIT_OUTPUT_BYTES = 1 * LIMIT_MIB, /* kept of a job's raw output */
	LIMIT_DELIVERY_ID_BYTES = 255,

	/* Media. LIMIT_MEDIA_BYTES does not fit an int: see below. */
	LIMIT_MEDIA_PER_JOB = 16,
	LIMIT_MEDIA_INLINE_BYTES = 20 * LIMIT_MIB, /* one {"$media"} as bytes */
	/* Copies of inline media that wait for a disk; one may be larger. */
	LIMIT_INLINE_WAITING_BYTES = 128 * LIMIT_MIB,
	LIMIT_RESOLVED_BYTES = 4 * LIMIT_MIB, /* input, references replaced */
	LIMIT_RESOLVED_INLINE_BYTES = 96 * LIMIT_MIB, /* ...media inside it */
	LIMIT_STORE_KEY_BYTES = 1024,

	/* Arenas. */
	LIMIT_ARENA_REQUEST_BYTES = 32 * LIMIT_MIB,  /* one HTTP request */
	LIMIT_ARENA_EXCHANGE_BYTES = 16 * LIMIT_MIB, /* one provider call */
	LIMIT_ARENA_INLINE_BYTES = 256 * LIMIT_MIB,  /* ...media inside it */
	LIMIT_ARENA_TICK_BYTES = 64 * LIMIT_MIB,     /* one batch of rows */
};

#define LIMIT_MEDIA_BYTES (INT64_C(2) << 30) /* MEDIA_BYTES_MAX */

#endif
