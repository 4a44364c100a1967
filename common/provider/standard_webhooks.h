/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_STANDARD_WEBHOOKS_H
#define COMMON_PROVIDER_STANDARD_WEBHOOKS_H

#include "common/provider/provider.h"

/*
 * Standard Webhooks 1.0.0 with symmetric keys: webhook-id,
 * webhook-timestamp, webhook-signature; HMAC-SHA256 over id "." timestamp
 * "." body. Spec: the repository standard-webhooks/standard-webhooks.
 */

enum {
	STANDARD_WEBHOOKS_TOLERANCE_S = 300, /* age or youth of a delivery */
	STANDARD_WEBHOOKS_SIGNATURES = 32,   /* looked at in one header */
};

/**
 * Check a delivery against every key; see provider_verify_fn.
 *
 * Keys are base64 with or without the prefix whsec_ and padding; one that is
 * not is skipped. An id with a full stop in it is malformed. A well-formed
 * signature that fits no key is PROVIDER_KEY_UNKNOWN, because secrets are
 * rotated; so is everything when the arena is full, for then nobody looked.
 * The delivery id is given for PROVIDER_GENUINE only.
 */
provider_verify_fn standard_webhooks_verify;

/* May this text be a key? */
bool standard_webhooks_is_key(const char *key, struct arena *arena);

#endif
