/* SPDX-License-Identifier: MIT */
#ifndef FCGI_SERVE_H
#define FCGI_SERVE_H

#include "fcgi/exchange.h"
#include "fcgi/service.h"

/* One worker for each thread of the accept loop. */
struct server {
	struct worker *worker;
};

/* From a request to its answer: route, key, body, handler, reply. An
 * accept_serve_fn with a struct server as its context. */
void serve_exchange(void *context, size_t thread, struct exchange *exchange);

#endif
