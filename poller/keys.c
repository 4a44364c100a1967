/* SPDX-License-Identifier: MIT */
#include "poller/keys.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/gate.h"
#include "poller/look.h"
#include "poller/query.h"

#include <errno.h>
#include <string.h>

enum {
	KEYS_MOST = 32,
	HOUR_MS = 60 * 60 * 1000,
	MINUTE_MS = 60 * 1000,
};

/* Are its keys ours to fetch? Secrets that are configured are known. */
static bool is_ours(const struct provider_state *provider)
{
	const struct conf *conf = provider->poller->conf;

	if (!provider->configured || !provider->ops->keys_request)
		return false;
	return strcmp(provider->ops->name, "replicate") != 0 ||
	       conf->webhook_secret_count == 0;
}

/* How old is what the database has? Asked once. */
static int read_ages(struct poller *poller, struct arena *arena)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int64_t now_ms = clock_monotonic_ms();
	int r;

	r = query_run(poller, DB_provider_keys_read, NULL, &result);
	if (r < 0)
		return r;
	for (size_t i = 0; i < poller->provider_count; i++)
		poller->provider[i].keys.known = true;
	for (int i = 0; i < db_rows(result); i++) {
		struct db_row row = db_row(result, i, arena);
		struct provider_state *provider =
			poller_provider(poller, db_row_text(&row, "provider"));
		int64_t age_ms = db_row_int64(&row, "age_s") * 1000;
		struct fault fault = { "" };

		if (db_row_end(&row, &fault) < 0 || !provider)
			continue;
		provider->keys.stale_at_ms = now_ms + HOUR_MS - age_ms;
		provider->keys.again_at_ms = now_ms + MINUTE_MS - age_ms;
	}
	return 0;
}

static int store_keys(struct provider_state *provider,
		      const struct http_result *result,
		      struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *stored = NULL;
	struct provider_key keys[KEYS_MOST];
	const char *ids[KEYS_MOST], *texts[KEYS_MOST];
	size_t count = 0;
	int r;

	if (result->outcome != HTTP_ANSWERED)
		return fault_set(reterr_fault, -EAGAIN, "%s",
				 result->fault.text);
	r = provider->ops->keys_event(&result->response, result->arena, keys,
				      KEYS_MOST, &count, reterr_fault);
	if (r < 0)
		return r;
	if (count == 0)
		return fault_set(reterr_fault, -EBADMSG, "there are none");
	for (size_t i = 0; i < count; i++) {
		ids[i] = keys[i].id ? keys[i].id : "";
		texts[i] = keys[i].key;
	}

	const char *params[] = {
		provider->ops->name,
		db_array_text(ids, count, result->arena),
		db_array_text(texts, count, result->arena),
	};
	if (arena_failed(result->arena))
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = query_run(provider->poller, DB_provider_keys_store, params,
		      &stored);
	return r < 0 ? fault_set(reterr_fault, r, "they cannot be stored") : 0;
}

static void on_done(const struct http_result *result, void *userdata)
{
	struct provider_state *provider = userdata;
	const struct log_context context = { .provider = provider->ops->name };
	struct fault fault = { "" };

	provider->keys.exchange = NULL;
	gate_note(provider, result);
	if (store_keys(provider, result, &fault) < 0)
		log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, &context,
			  "no webhook keys (%s); webhooks whose signature "
			  "cannot be checked count as hints, asking again in "
			  "a minute",
			  fault.text);
	else
		provider->keys.stale_at_ms = clock_monotonic_ms() + HOUR_MS;
	look_after_work(provider->poller);
}

static int fetch(struct provider_state *provider, struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	struct http_request request;
	int r;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = provider->ops->keys_request(&provider->conf, arena, &request,
					reterr_fault);
	if (r < 0)
		return r;
	r = http_client_send(provider->poller->http, &request, NULL, on_done,
			     provider, &provider->keys.exchange);
	return r < 0 ? fault_set(reterr_fault, r, "the request cannot be sent")
		     : 0;
}

static void check_provider(struct provider_state *provider, bool woken)
{
	const struct log_context context = { .provider = provider->ops->name };
	int64_t now_ms = clock_monotonic_ms();
	struct fault fault = { "" };

	if (!is_ours(provider) || provider->keys.exchange ||
	    now_ms < provider->keys.again_at_ms ||
	    (!woken && now_ms < provider->keys.stale_at_ms))
		return;
	provider->keys.again_at_ms = now_ms + MINUTE_MS;
	if (fetch(provider, &fault) < 0)
		log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, &context,
			  "webhook keys cannot be asked for: %s", fault.text);
}

void keys_check(struct poller *poller, bool woken)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);

	if (!arena ||
	    (!poller->provider[0].keys.known && read_ages(poller, arena) < 0))
		return;
	for (size_t i = 0; i < poller->provider_count; i++)
		check_provider(&poller->provider[i], woken);
}

bool keys_are_busy(const struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		if (poller->provider[i].keys.exchange)
			return true;
	}
	return false;
}

void keys_done(struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		http_exchange_cancel(poller->provider[i].keys.exchange);
		poller->provider[i].keys.exchange = NULL;
	}
}
