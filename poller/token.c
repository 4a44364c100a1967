/* SPDX-License-Identifier: MIT */
#include "poller/token.h"

#include "common/base/clock.h"
#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/check.h"
#include "poller/complete.h"
#include "poller/gate.h"
#include "poller/look.h"

#include <errno.h>
#include <inttypes.h>

enum {
	/* Jobs wait so long after no token could be had. */
	AGAIN_LEAST_MS = 5 * 1000,
	AGAIN_SPREAD_MS = 10 * 1000,
	PERCENT_USED = 90,
};

bool token_ready(const struct provider_state *provider)
{
	return !provider->ops->token_request ||
	       (provider->token.arena &&
		clock_monotonic_ms() < provider->token.refresh_at_ms);
}

void token_drop(struct provider_state *provider)
{
	provider->token.refresh_at_ms = 0;
}

/* Nothing can be asked now. Who has a deadline, or waits for a cancellation,
 * must not wait longer for that. */
static void go_without(struct work *work)
{
	const struct provider_event event = {
		.kind = JOB_NO_ANSWER,
		.progress = -1,
		.error_code = "provider_auth",
		.error_message = "no access token could be had from the "
				 "provider's token service",
		.billed = JOB_BILLED_NO,
	};
	int64_t delay_ms = AGAIN_LEAST_MS + dice_uint32() % AGAIN_SPREAD_MS;

	if (work->job.state == JOB_PROCESSING ||
	    work->job.state == JOB_START_UNKNOWN)
		check_take(work, &event);
	else if (work->job.state == JOB_STORING && work->deadline_passed)
		complete_again(work, event.error_message);
	else
		work_postpone(work, delay_ms, event.error_code,
			      event.error_message);
}

static void refuse_waiting(struct provider_state *provider, const char *why)
{
	const struct log_context context = { .provider = provider->ops->name };
	struct work *work;

	log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, &context,
		  "no access token: %s; %zu jobs wait and ask again", why,
		  provider->token.waiting.count);
	while ((work = provider->token.waiting.first)) {
		work_dequeue(work);
		go_without(work);
	}
}

/* @return 0, or negative and why */
static int take_token(struct provider_state *provider,
		      const struct http_result *result,
		      struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	const char *text = NULL;
	int64_t lifetime_s = 0;
	int r;

	if (result->outcome != HTTP_ANSWERED)
		return fault_set(reterr_fault, -EAGAIN, "%s",
				 result->fault.text);
	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = provider->ops->token_event(&result->response, arena, &text,
				       &lifetime_s, reterr_fault);
	if (r < 0)
		return r;
	(void)arena_free(provider->token.arena);
	provider->token.arena = TAKE_PTR(arena);
	provider->token.refresh_at_ms =
		clock_monotonic_ms() + lifetime_s * 10 * PERCENT_USED;
	provider->conf.credential = text;
	return 0;
}

static void on_done(const struct http_result *result, void *userdata)
{
	struct provider_state *provider = userdata;
	struct work_queue *waiting = &provider->token.waiting;
	struct fault fault = { "" };

	provider->token.exchange = NULL;
	gate_note(provider, result);
	if (take_token(provider, result, &fault) < 0) {
		refuse_waiting(provider, fault.text);
		return;
	}
	/* A step may find the token dropped again and queue its work anew. */
	for (size_t left = waiting->count; left > 0 && waiting->first; left--) {
		struct work *work = waiting->first;

		work_dequeue(work);
		work->step(work);
	}
	look_after_work(provider->poller);
}

static int buy(struct provider_state *provider, struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	struct http_request request;
	int r;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = provider->ops->token_request(&provider->conf, clock_unix_s(), arena,
					 &request, reterr_fault);
	if (r < 0)
		return r;
	r = http_client_send(provider->poller->http, &request, NULL, on_done,
			     provider, &provider->token.exchange);
	return r < 0 ? fault_set(reterr_fault, r, "the request cannot be sent")
		     : 0;
}

void token_then(struct work *work, work_step_fn *step)
{
	struct provider_state *provider = work->provider;
	struct fault fault = { "" };

	if (token_ready(provider)) {
		step(work);
		return;
	}
	work->step = step;
	work_enqueue(&provider->token.waiting, work);
	if (!provider->token.exchange && buy(provider, &fault) < 0)
		refuse_waiting(provider, fault.text);
}

void token_done(struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		struct token *token = &poller->provider[i].token;

		http_exchange_cancel(token->exchange);
		token->exchange = NULL;
		token->arena = arena_free(token->arena);
	}
}
