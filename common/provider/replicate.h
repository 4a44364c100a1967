/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_REPLICATE_H
#define COMMON_PROVIDER_REPLICATE_H

#include "common/provider/provider.h"

/*
 * The reading half of the Replicate provider (replicate_event.c), for its
 * table in replicate.c. See there for the manual and its oddities.
 */

provider_event_fn replicate_start_event, replicate_status_event,
	replicate_cancel_event, replicate_list_event;
provider_webhook_event_fn replicate_webhook_event;
provider_keys_event_fn replicate_keys_event;

#endif
