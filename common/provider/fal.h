/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_FAL_H
#define COMMON_PROVIDER_FAL_H

#include "common/provider/provider.h"

#include <jansson.h>

/*
 * The parts of the fal provider that fal.c puts into its table: answers
 * (fal_event.c), errors (fal_error.c), webhooks and keys (fal_webhook.c).
 * See fal.c for the manual and its oddities.
 */

provider_event_fn fal_start_event, fal_status_event, fal_result_event,
	fal_cancel_event, fal_list_event;
provider_verify_fn fal_verify;
provider_webhook_event_fn fal_webhook_event;
provider_keys_event_fn fal_keys_event;

/* What fal says went wrong. Strings are borrowed. */
struct fal_trouble {
	const char *type;   /* error type of its manual, or NULL */
	json_t *message;    /* string or other JSON; NULL if nothing is said */
	unsigned status;    /* HTTP status it ended with; 0: not said */
	bool retryable;	    /* X-Fal-Retryable: true */
	bool not_retryable; /* X-Fal-Retryable: false */
};

/* Read {"detail": [{"type", "msg"}]} and {"detail": "", "error_type": ""}
 * into type and message. @return whether the body was one of them */
bool fal_read_trouble(json_t *body, struct fal_trouble *trouble);

/* The number in "Invalid status code: 422", or 0. text may be NULL. */
unsigned fal_status_in_text(const char *text);

/* What a model's output comes to: JOB_RENDERED, or failed without a file. */
struct provider_event fal_rendered(json_t *output, struct arena *arena);

/* Does the table know what that error type means? */
bool fal_is_known(const char *type);

/* The event of a request that failed so, of kind JOB_PROVIDER_FAILED,
 * JOB_PROVIDER_FALTERED or JOB_PROVIDER_CANCELLED. */
struct provider_event fal_failure(const struct fal_trouble *trouble,
				  struct arena *arena);

#endif
