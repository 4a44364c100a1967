/* SPDX-License-Identifier: MIT */
#ifndef POLLER_GATE_H
#define POLLER_GATE_H

#include "poller/poller.h"

/*
 * Circuit breakers: what exchanges say about their providers is collected
 * and written twice a second; the database opens and closes the breaker for
 * all hosts (sql/queries/provider.sql). When one closes, what became due
 * meanwhile is spread over time again (sql/queries/spread.sql).
 */

_must_check_ int gate_init(struct poller *poller, struct fault *reterr_fault);
void gate_done(struct poller *poller);

/* No connection, no answer or a 5xx is the provider's failure; every other
 * answer shows that it lives. */
void gate_note(struct provider_state *provider,
	       const struct http_result *result);

/* Is there something that the database does not know yet? */
bool gate_is_clean(const struct poller *poller);

/* Write it, now. */
void gate_report(struct poller *poller);

#endif
