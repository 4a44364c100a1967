/* SPDX-License-Identifier: MIT */
#include "poller/stray.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/gate.h"
#include "poller/look.h"
#include "poller/query.h"
#include "poller/token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	STRAYS_MOST = 32,
	TRIES_MOST = 5,
};

struct stray {
	struct stray *next, *previous;
	struct provider_state *provider;
	struct arena *arena;
	struct job job;
	const char *execution_id;
	int32_t tries;
	struct http_exchange *exchange;
};

static struct stray *stray_free(struct stray *stray)
{
	if (!stray)
		return NULL;
	http_exchange_cancel(stray->exchange);
	(void)arena_free(stray->arena);
	free(stray);
	return NULL;
}
DEFINE_CLEANUP(struct stray *, stray_free);

static void unlink_stray(struct stray *stray)
{
	struct poller *poller = stray->provider->poller;

	if (stray->previous)
		stray->previous->next = stray->next;
	else
		poller->strays = stray->next;
	if (stray->next)
		stray->next->previous = stray->previous;
	poller->stray_count--;
}

/* It is over: what could be done was done. */
static void settle(struct stray *stray)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *id = stray->job.id;
	const int64_t attempt = stray->job.attempt;
	const char *params[] = {
		db_array_text(&id, 1, stray->arena),
		db_array_int64(&attempt, 1, stray->arena),
	};

	/* If it cannot be written it is asked again, which does no harm. */
	if (!arena_failed(stray->arena) &&
	    query_run(stray->provider->poller, DB_start_cancelled, params,
		      &result) < 0)
		return;
}

static struct log_context context_of(const struct stray *stray)
{
	return (struct log_context){
		.job = stray->job.id,
		.execution = stray->execution_id,
		.provider = stray->job.provider,
		.attempt = stray->job.attempt,
	};
}

static void on_done(const struct http_result *result, void *userdata)
{
	struct stray *stray = userdata;
	struct poller *poller = stray->provider->poller;
	const struct log_context context = context_of(stray);
	struct provider_event event = { .kind = JOB_NO_ANSWER };
	struct fault fault = { "" };

	stray->exchange = NULL;
	gate_note(stray->provider, result);
	if (result->outcome == HTTP_ANSWERED &&
	    stray->provider->ops->cancel_event(&stray->job, &result->response,
					       clock_unix_s(), result->arena,
					       &event, &fault) < 0)
		event.kind = JOB_NO_ANSWER;
	if (event.kind != JOB_NO_ANSWER) {
		log_event(LOG_INFO, LOG_ID_JOB_MOVED, &context,
			  "start %d, which nobody waits for, was cancelled at "
			  "its provider or is over",
			  stray->job.attempt);
		settle(stray);
	} else if (stray->tries >= TRIES_MOST) {
		log_event(LOG_WARNING, LOG_ID_DOUBLE_START, &context,
			  "start %d could not be cancelled at its provider in "
			  "%d tries; it may be billed",
			  stray->job.attempt, stray->tries);
		settle(stray);
	}
	unlink_stray(stray);
	(void)stray_free(stray);
	look_after_work(poller);
}

static int read_stray(struct poller *poller, const PGresult *result, int index,
		      struct stray *stray, struct fault *reterr_fault)
{
	struct db_row row = db_row(result, index, stray->arena);
	const char *id = db_row_text(&row, "id");
	int r;

	stray->execution_id = db_row_text(&row, "execution_id");
	stray->provider =
		poller_provider(poller, db_row_text(&row, "provider"));
	stray->tries = db_row_int32(&row, "cancel_tries");
	stray->job = (struct job){
		.state = JOB_PROCESSING,
		.model = db_row_text(&row, "model"),
		.input = "{}",
		.provider_job_id = db_row_text(&row, "provider_job_id"),
		.provider_ref = db_row_text_or_null(&row, "provider_ref"),
		.attempt = db_row_int32(&row, "attempt"),
	};
	r = db_row_end(&row, reterr_fault);
	if (r < 0)
		return r;
	if (!stray->provider || strlen(id) != UUID_SIZE - 1)
		return fault_set(reterr_fault, -EBADMSG,
				 "a start of an unknown provider");
	memcpy(stray->job.id, id, UUID_SIZE);
	stray->job.provider = stray->provider->ops->name;
	return 0;
}

/* @return 0 if it is on its way; else it is not, and need not be again */
static int ask(struct stray *stray, struct fault *reterr_fault)
{
	const struct provider_state *provider = stray->provider;
	struct http_request request;
	int r;

	if (!provider->ops->cancel_request || !provider->configured ||
	    !token_ready(provider))
		return fault_set(reterr_fault, -EINVAL,
				 "its provider cannot be asked to");
	r = provider->ops->cancel_request(&stray->job, &provider->conf,
					  stray->arena, &request, reterr_fault);
	if (r < 0)
		return r;
	r = http_client_send(provider->poller->http, &request, NULL, on_done,
			     stray, &stray->exchange);
	return r < 0 ? fault_set(reterr_fault, r, "the request cannot be sent")
		     : 0;
}

static void begin(struct poller *poller, const PGresult *result, int index)
{
	_cleanup_(stray_freep) struct stray *stray = calloc(1, sizeof(*stray));
	struct fault fault = { "" };
	struct log_context context;
	int r;

	if (stray)
		stray->arena = arena_new(LIMIT_ARENA_EXCHANGE_BYTES);
	if (!stray || !stray->arena ||
	    read_stray(poller, result, index, stray, &fault) < 0) {
		log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, NULL,
			  "a start to be cancelled cannot be read: %s",
			  fault.text);
		return;
	}
	r = ask(stray, &fault);
	/* Without memory it is tried again when its lease ends. */
	if (r == -ENOMEM)
		return;
	if (r < 0) {
		context = context_of(stray);
		log_event(LOG_WARNING, LOG_ID_DOUBLE_START, &context,
			  "start %d is not waited for, and cannot be "
			  "cancelled: %s; it may be billed",
			  stray->job.attempt, fault.text);
		settle(stray);
		return;
	}
	stray->next = poller->strays;
	if (poller->strays)
		poller->strays->previous = stray;
	poller->strays = TAKE_PTR(stray);
	poller->stray_count++;
}

int stray_claim(struct poller *poller)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	char most[16], lease[32];
	const char *params[] = { most, lease };
	int r;

	if (poller->stray_count >= STRAYS_MOST)
		return 0;
	(void)snprintf(most, sizeof(most), "%d",
		       STRAYS_MOST - (int)poller->stray_count);
	(void)snprintf(lease, sizeof(lease), "%" PRId64,
		       poller->conf->lease_s * 1000);
	r = query_run(poller, DB_start_claim_stray, params, &result);
	for (int i = 0; r >= 0 && i < db_rows(result); i++)
		begin(poller, result, i);
	return r;
}

void stray_done(struct poller *poller)
{
	struct stray *next;

	for (struct stray *stray = poller->strays; stray; stray = next) {
		next = stray->next;
		(void)stray_free(stray);
	}
	poller->strays = NULL;
	poller->stray_count = 0;
}
