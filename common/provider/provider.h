/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_PROVIDER_H
#define COMMON_PROVIDER_PROVIDER_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/model/http.h"
#include "common/model/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A provider is a set of translations: our job into its HTTP requests, its
 * HTTP responses and webhooks into our events. All of them are pure:
 * arguments in, result out, memory from the arena. Fetching, scheduling and
 * deciding are the caller's business. One file a provider; docs/PROVIDERS.md
 * says how to add one.
 */

/* What the operator configured. Strings are never NULL but where it says so;
 * URLs have no trailing slash. */
struct provider_conf {
	const char *base_url;	/* the API */
	const char *list_url;	/* where requests are listed, if elsewhere */
	const char *keys_url;	/* fal: its JWKS; NULL where base_url will do */
	const char *credential; /* token, key, or OAuth access token */
	const char *project;	/* Vertex AI: Google Cloud project */
	const char *location;	/* Vertex AI: region */
	const char *storage_uri; /* Vertex AI: gs:// prefix, or NULL */
	const char *storage_url; /* Vertex AI: JSON API of Cloud Storage */
	const char *account;	 /* service-account JSON text, or NULL */
};

enum { PROVIDER_MEDIA_MAX = 16 };

/* One file the provider made. */
struct provider_media {
	const char *url;    /* https, gs:// or data: URI; NULL if inline */
	const char *base64; /* inline content, borrowed from the arena */
	size_t base64_bytes;
	const char
		*content_type; /* as the provider says; NULL if it does not */
};

/*
 * What a response or webhook means to us.
 *
 * kind is one of
 *	from a start   JOB_ACCEPTED JOB_RENDERED JOB_REFUSED JOB_NOT_STARTED
 *		       JOB_THROTTLED JOB_START_LOST
 *	from a check   JOB_PROGRESS JOB_NO_ANSWER JOB_RESULT_READY JOB_RENDERED
 *		       JOB_PROVIDER_FAILED JOB_PROVIDER_FALTERED
 *		       JOB_PROVIDER_CANCELLED
 *	from a list    JOB_NOT_FOUND_YET (with cursor: ask on); JOB_NO_ANSWER
 *		       where it proves nothing, as of two that may be the job;
 *		       or any of the above for the job that was found (with
 *		       cursor: if no further page has another)
 *	from a cancel  JOB_CANCEL_TRIED, JOB_NO_ANSWER, or what a check says
 *	from a webhook as from a check; JOB_PROGRESS with hint set means that
 *		       nothing may be taken from it: poll now
 */
struct provider_event {
	enum job_event kind;
	const char *provider_job_id; /* whenever the answer names it */
	const char *provider_ref; /* JSON text to keep with the job, or NULL */
	double progress;	  /* 0 to 1; negative: not said */
	struct provider_media media[PROVIDER_MEDIA_MAX];
	size_t media_count;
	const char *output;	/* JSON text of the provider's result, inline
				   media left out; NULL without one */
	const char *error_code; /* stable snake_case word; docs/PROVIDERS.md */
	const char *error_message; /* shown to the client; never a secret */
	enum job_billed billed;	   /* of a failure */
	int64_t retry_after_ms;	   /* the provider's wish; 0: none */
	const char *cursor; /* of a list: where it goes on; NULL: its end */
	const char *unknown_status; /* a status its manual does not name, or
				       NULL; treated as running, logged once */
	bool hint;		    /* of a webhook: poll now, trust nothing */
	bool unreached; /* nobody there refused it: nobody was reached */
};

typedef int provider_request_fn(const struct job *job,
				const struct provider_conf *conf,
				struct arena *arena, struct http_request *ret,
				struct fault *reterr_fault);
typedef int provider_event_fn(const struct job *job,
			      const struct http_response *response,
			      int64_t now_unix_s, struct arena *arena,
			      struct provider_event *ret,
			      struct fault *reterr_fault);
typedef int provider_list_request_fn(const struct job *job,
				     const struct provider_conf *conf,
				     const char *cursor, struct arena *arena,
				     struct http_request *ret,
				     struct fault *reterr_fault);
typedef int provider_media_request_fn(const struct provider_media *media,
				      const struct provider_conf *conf,
				      struct arena *arena,
				      struct http_request *ret,
				      struct fault *reterr_fault);

/* A verification key, as kept in table provider_keys. */
struct provider_key {
	const char *id;	 /* kid, or "" */
	const char *key; /* whsec_ secret, or base64url of the public key */
};

/* What a webhook looked like, and what we knew when it came. */
struct provider_webhook {
	const struct http_header *header;
	size_t header_count;
	const char *body;
	size_t body_bytes;
	const struct provider_key *key;
	size_t key_count;
	int64_t now_unix_s;
};

enum provider_verdict {
	PROVIDER_UNSIGNED = 0, /* no signature headers at all */
	PROVIDER_GENUINE,
	PROVIDER_FORGED,      /* wrong, stale, doubled or malformed */
	PROVIDER_KEY_UNKNOWN, /* well formed; none of our keys fits */
};

/**
 * Check a webhook's signature over its raw body.
 *
 * @ret_delivery_id  the provider's own id of this delivery, for telling a
 *		     repeated one; NULL if it has none. Arena memory.
 */
typedef enum provider_verdict
provider_verify_fn(const struct provider_webhook *webhook, struct arena *arena,
		   const char **ret_delivery_id);
typedef int provider_webhook_event_fn(const struct provider_webhook *webhook,
				      struct arena *arena,
				      struct provider_event *ret,
				      struct fault *reterr_fault);

/* OAuth: a request that buys an access token, and its answer. */
typedef int provider_token_request_fn(const struct provider_conf *conf,
				      int64_t now_unix_s, struct arena *arena,
				      struct http_request *ret,
				      struct fault *reterr_fault);
typedef int provider_token_event_fn(const struct http_response *response,
				    struct arena *arena, const char **ret_token,
				    int64_t *ret_lifetime_s,
				    struct fault *reterr_fault);

/* Verification keys: the request that fetches them, and its answer. */
typedef int provider_keys_request_fn(const struct provider_conf *conf,
				     struct arena *arena,
				     struct http_request *ret,
				     struct fault *reterr_fault);
typedef int provider_keys_event_fn(const struct http_response *response,
				   struct arena *arena,
				   struct provider_key *ret_keys, size_t most,
				   size_t *ret_count,
				   struct fault *reterr_fault);

/*
 * Members marked "or NULL" may be missing; provider_test walks the list and
 * fails on any other gap.
 *
 * Each function returns 0, or
 *	-EINVAL   the job cannot be said in this provider's words; the fault
 *		  tells the client why (from requests only)
 *	-EBADMSG  a webhook body that its manual rules out; an answer without
 *		  the token or the keys that were asked for. Other responses
 *		  never give it: an answer nobody understands is
 *		  JOB_START_LOST from a start and JOB_NO_ANSWER from anything
 *		  else
 *	-ENOMEM   the arena is full
 */
struct provider_ops {
	const char *name;      /* as in the database and in submissions */
	int32_t poll_first_ms; /* first look, and the ceiling of later ones */
	int32_t poll_most_ms;
	size_t response_bytes_max; /* of its API's answers */
	int32_t retention_s;	   /* how long its media live; 0: not urgent */
	bool has_webhook;	   /* does it report by itself? */
	bool media_as_bytes;	   /* {"$media"} becomes bytesBase64Encoded */

	provider_request_fn *start_request;
	provider_event_fn *start_event;
	provider_request_fn *status_request;
	provider_event_fn *status_event;
	provider_request_fn *result_request; /* or NULL: status has it all */
	provider_event_fn *result_event;     /* with result_request */
	provider_request_fn *cancel_request; /* or NULL: cannot be cancelled */
	provider_event_fn *cancel_event;     /* with cancel_request */
	provider_list_request_fn *list_request;	  /* or NULL: cannot be asked;
			  -EINVAL: not for this job or configuration */
	provider_event_fn *list_event;		  /* with list_request */
	provider_media_request_fn *media_request; /* whence the media comes */
	provider_verify_fn *verify;		  /* or NULL: it never signs */
	provider_webhook_event_fn *webhook_event; /* with has_webhook */
	provider_token_request_fn
		*token_request;			/* or NULL: credential is it */
	provider_token_event_fn *token_event;	/* with token_request */
	provider_keys_request_fn *keys_request; /* or NULL: configured only */
	provider_keys_event_fn *keys_event;	/* with keys_request */
};

extern const struct provider_ops replicate_provider, fal_provider,
	vertex_provider;

const struct provider_ops *provider_lookup(const char *name); /* or NULL */

/* The i-th provider, or NULL past the last. */
const struct provider_ops *provider_at(size_t index);

#endif
