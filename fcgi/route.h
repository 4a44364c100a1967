/* SPDX-License-Identifier: MIT */
#ifndef FCGI_ROUTE_H
#define FCGI_ROUTE_H

#include "common/base/fault.h"
#include "fcgi/exchange.h"
#include "fcgi/service.h"

#include <stdbool.h>

/*
 * The table of routes: all that is special about a request is in its row.
 *
 * A handler turns a request into a reply. A bad request is a result, not a
 * failure: 0 with a 4xx reply. Negative means that we could not do our part;
 * serve.c logs the fault and answers 503 (-EAGAIN, -ENOMEM) or 500.
 */
typedef int handler_fn(struct worker *worker, const struct request *request,
		       struct reply *ret, struct fault *reterr_fault);

handler_fn post_execute, get_execution, get_executions, get_job, get_job_events,
	post_execution_cancel, post_job_cancel, post_job_retry, post_webhook,
	get_healthz, get_readyz;

enum route_body {
	ROUTE_NO_BODY = 0, /* whatever comes is dropped */
	ROUTE_SMALL_BODY,  /* none is expected; a little is ignored */
	ROUTE_API_BODY,	   /* BODY_BYTES_MAX */
	ROUTE_WEBHOOK_BODY,
};

struct route {
	enum http_method method;
	const char *pattern; /* {…} stands for one segment, not empty */
	handler_fn *handle;
	enum route_body body;
	bool needs_key;
};

enum {
	ROUTE_E_NOT_FOUND = 1,
	ROUTE_E_METHOD, /* the path is there, but not for this method */
};

/**
 * Find the route of a request. HEAD is served by GET.
 *
 * @arena        for the captures
 * @ret_allow    of ROUTE_E_METHOD: the value of Allow
 *
 * @return 0; ROUTE_E_NOT_FOUND; ROUTE_E_METHOD; -ENOMEM
 */
_must_check_ int route_find(enum http_method method, const char *path,
			    struct arena *arena, const struct route **ret,
			    const char *ret_capture[REQUEST_CAPTURES],
			    const char **ret_allow);

/* The i-th route, or NULL past the last; tests and openapi.yaml's check. */
const struct route *route_at(size_t index);

#endif
