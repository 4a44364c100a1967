/* SPDX-License-Identifier: MIT */
#include "fcgi/serve.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/io/wake.h"
#include "common/model/limits.h"
#include "fcgi/api_key.h"
#include "fcgi/committer.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"

#include <errno.h>
#include <stdatomic.h>

enum { SAY_AGAIN_MS = 10 * 1000 };

/* What steps before the handler come to; a reply is there unless it is 0. */
enum { SERVE_E_ANSWERED = 1 };

static int answered(int zero)
{
	return zero == 0 ? SERVE_E_ANSWERED : zero;
}

static int find_route(struct request *request, const struct route **ret_route,
		      struct reply *ret)
{
	const char *allow = NULL;
	int r;

	r = route_find(request->method, request->path, request->arena,
		       ret_route, request->capture, &allow);
	if (r == ROUTE_E_NOT_FOUND)
		return answered(refuse(request, ret, 404, "not_found",
				       "There is nothing at this address."));
	if (r == ROUTE_E_METHOD) {
		(void)refuse(request, ret, 405, "method_not_allowed",
			     "This address takes other methods, see Allow.");
		reply_add_header(ret, "Allow", allow);
		return SERVE_E_ANSWERED;
	}
	return r;
}

static int check_key(struct worker *worker, struct request *request,
		     struct reply *ret, struct fault *reterr_fault)
{
	static const char name[] = "authorization";
	const char *header =
		http_header_value(request->header, request->header_count, name);
	int r = API_KEY_E_UNKNOWN; /* which of several would it be? */

	if (http_header_count(request->header, request->header_count, name) <=
	    1)
		r = api_keys_owner(worker->service->api_keys, worker->db,
				   header, request->arena, &request->owner,
				   reterr_fault);
	if (r != API_KEY_E_UNKNOWN && r != API_KEY_E_MISSING)
		return r;
	return answered(
		refuse(request, ret, 401,
		       r == API_KEY_E_MISSING ? "missing_key" : "unknown_key",
		       "Send an API key: Authorization: Bearer "
		       "rsh_..."));
}

static size_t body_most(const struct conf *conf, const struct route *route)
{
	switch (route->body) {
	case ROUTE_API_BODY:
		return (size_t)conf->body_bytes_max;
	case ROUTE_WEBHOOK_BODY:
		return LIMIT_WEBHOOK_BODY_BYTES;
	case ROUTE_SMALL_BODY:
		return LIMIT_KIB;
	case ROUTE_NO_BODY:
		break;
	}
	return 0;
}

static int read_body(struct exchange *exchange, size_t most, struct reply *ret)
{
	const struct request *request = exchange_request(exchange);
	const char *detail;
	int r;

	r = exchange_read_body(exchange, most);
	if (r == EXCHANGE_E_TOO_LARGE) {
		detail =
			arena_printf(request->arena,
				     "The body may have %zu bytes here.", most);
		return answered(
			refuse(request, ret, 413, "body_too_large", detail));
	}
	if (r == EXCHANGE_E_BROKEN)
		return answered(refuse(request, ret, 400, "broken_body",
				       "The body did not arrive as long as "
				       "it was announced."));
	return r;
}

static int handle(struct worker *worker, struct exchange *exchange,
		  struct reply *ret, struct fault *reterr_fault)
{
	struct request *request = exchange_request(exchange);
	const struct route *route = NULL;
	size_t most;
	int r;

	if (request->header_count > LIMIT_HEADERS)
		return refuse(request, ret, 431, "too_many_headers",
			      "A request may have 128 header lines.");
	r = find_route(request, &route, ret);
	if (r == 0 && route->needs_key)
		r = check_key(worker, request, ret, reterr_fault);
	if (r != 0)
		return r == SERVE_E_ANSWERED ? 0 : r;

	/* What a route does not want is dropped when it is answered. */
	most = body_most(worker->service->conf, route);
	if (most > 0)
		r = read_body(exchange, most, ret);
	if (r != 0)
		return r == SERVE_E_ANSWERED ? 0 : r;
	return route->handle(worker, request, ret, reterr_fault);
}

/* Of a database that is away not every request tells. */
static bool is_said_enough(void)
{
	static _Atomic int64_t said_ms;
	int64_t now_ms = clock_monotonic_ms();
	int64_t last_ms = said_ms;

	return (last_ms != 0 && now_ms - last_ms < SAY_AGAIN_MS) ||
	       !atomic_compare_exchange_strong(&said_ms, &last_ms, now_ms);
}

static void log_failure(const struct request *request, int r,
			const struct fault *fault)
{
	int level = r != -EAGAIN       ? LOG_ERR
		    : is_said_enough() ? LOG_DEBUG
				       : LOG_WARNING;

	/* The path may hold a token: only the id is named. */
	log_event(level, LOG_ID_REQUEST_FAILED,
		  &(struct log_context){ .request = request->id },
		  "%s request failed: %s", http_method_name(request->method),
		  fault->text[0] ? fault->text : "no memory");
}

void serve_exchange(void *context, size_t thread, struct exchange *exchange)
{
	struct worker *worker = &((struct server *)context)->worker[thread];
	const struct service *service = worker->service;
	struct request *request = exchange_request(exchange);
	struct fault fault = { "" };
	struct reply reply = { 0 };
	int r;

	r = handle(worker, exchange, &reply, &fault);
	if (r < 0) {
		log_failure(request, r, &fault);
		problem_from_failure(r, request, &reply);
	}
	if (r == 0 && reply.commit) {
		exchange_drain_body(exchange);
		if (committer_add(service->committer, exchange, reply.commit) ==
		    0)
			return;
		(void)refuse_for_now(request, &reply, "overloaded",
				     "Too many requests wait to be "
				     "committed.");
	}
	if (reply.wake)
		wake_send(service->conf->wake_socket);
	exchange_answer(exchange, &reply, true);
}
