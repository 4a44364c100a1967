/* SPDX-License-Identifier: MIT */
#include "poller/gate.h"

#include "common/flow/advance.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/look.h"
#include "poller/query.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	REPORT_AFTER_MS = 500,
	/* After an outage, so much of the time is given to each job that
	 * became due in it: at most 200 requests a second. */
	SPREAD_GAP_MS = 5,
	SPREAD_MOST = 5000, /* jobs of a state in one statement */
	SPREAD_ROUNDS = 100,
};

void gate_note(struct provider_state *provider,
	       const struct http_result *result)
{
	struct poller *poller = provider->poller;
	bool clean = gate_is_clean(poller);

	if (result->outcome == HTTP_ANSWERED && result->response.status < 500)
		provider->succeeded++;
	else if (!result->too_big && !result->starved)
		provider->failed++;
	if (clean && !gate_is_clean(poller))
		poller_arm(poller->gate_timer, REPORT_AFTER_MS);
}

bool gate_is_clean(const struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		if (poller->provider[i].failed || poller->provider[i].succeeded)
			return false;
	}
	return true;
}

/* One statement's worth. @return 0 and how many, or negative */
static int spread_some(const struct provider_state *provider, int64_t before,
		       struct arena *arena, int64_t *ret_count)
{
	static const enum job_state states[] = { JOB_QUEUED, JOB_START_UNKNOWN,
						 JOB_PROCESSING };
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct poller *poller = provider->poller;
	const char *names[COUNT_OF(states)];
	int64_t windows[COUNT_OF(states)];
	struct fault fault = { "" };
	struct db_row row;
	int r;

	for (size_t i = 0; i < COUNT_OF(states); i++) {
		names[i] = job_state_name(states[i]);
		windows[i] = advance_longest_ms(poller->conf, provider->ops,
						states[i]);
	}

	const char *params[] = {
		provider->ops->name,
		db_array_text(names, COUNT_OF(states), arena),
		db_array_int64(windows, COUNT_OF(states), arena),
		arena_printf(arena, "%d", SPREAD_GAP_MS),
		arena_printf(arena, "%" PRId64, before),
		arena_printf(arena, "%d", SPREAD_MOST),
	};
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(poller, DB_job_spread, params, &result);
	if (r < 0)
		return r;
	row = db_row(result, 0, arena);
	*ret_count = db_row_int64(&row, "jobs");
	r = db_row_end(&row, &fault);
	return r < 0 ? query_note(poller, r, &fault, true) : 0;
}

/* Whoever became due while the breaker was open would be at the provider at
 * once; a provider that comes back is the last that could bear it. */
static void spread(const struct provider_state *provider)
{
	int64_t before = 0, count = SPREAD_MOST;

	for (int i = 0; i < SPREAD_ROUNDS && count >= SPREAD_MOST; i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(LIMIT_MIB);

		if (!arena || spread_some(provider, before, arena, &count) < 0)
			return;
		before += count;
	}
}

static int take_change(struct poller *poller, const PGresult *result, int index,
		       struct arena *arena)
{
	struct db_row row = db_row(result, index, arena);
	const char *name = db_row_text(&row, "name");
	bool was_open = db_row_bool(&row, "was_open");
	bool is_open = db_row_bool(&row, "is_open");
	const struct log_context context = { .provider = name };
	struct fault fault = { "" };
	int r = db_row_end(&row, &fault);

	if (r < 0)
		return query_note(poller, r, &fault, true);
	if (is_open && !was_open)
		log_event(LOG_WARNING, LOG_ID_PROVIDER_DOWN, &context,
			  "%" PRId64 " failures within %" PRId64 " s; nothing "
			  "is sent there for %" PRId64 " s, then one probe",
			  poller->conf->breaker_failures,
			  poller->conf->breaker_window_s,
			  poller->conf->breaker_open_s);
	if (was_open && !is_open)
		log_event(LOG_NOTICE, LOG_ID_PROVIDER_UP, &context,
			  "the provider answers again");
	if (was_open && !is_open) {
		spread(poller_provider(poller, context.provider));
		look_soon(poller);
	}
	return 0;
}

/* @return 0, or negative when the report must be written again */
static int write_report(struct poller *poller, struct arena *arena)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *names[POLLER_PROVIDERS];
	int64_t failed[POLLER_PROVIDERS], succeeded[POLLER_PROVIDERS];
	const struct conf *conf = poller->conf;
	size_t count = 0;
	int r;

	for (size_t i = 0; i < poller->provider_count; i++) {
		const struct provider_state *provider = &poller->provider[i];

		if (!provider->failed && !provider->succeeded)
			continue;
		names[count] = provider->ops->name;
		failed[count] = provider->failed;
		succeeded[count++] = provider->succeeded;
	}

	const char *params[] = {
		db_array_text(names, count, arena),
		db_array_int64(failed, count, arena),
		db_array_int64(succeeded, count, arena),
		arena_printf(arena, "%" PRId64, conf->breaker_failures),
		arena_printf(arena, "%" PRId64, conf->breaker_window_s),
		arena_printf(arena, "%" PRId64, conf->breaker_open_s * 1000),
	};
	r = query_run(poller, DB_provider_report, params, &result);
	for (int i = 0; r >= 0 && i < db_rows(result); i++)
		r = take_change(poller, result, i, arena);
	return r;
}

void gate_report(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);

	if (gate_is_clean(poller) || !arena)
		return;
	if (write_report(poller, arena) < 0) {
		poller_arm(poller->gate_timer, REPORT_AFTER_MS * 4);
		return;
	}
	for (size_t i = 0; i < poller->provider_count; i++) {
		poller->provider[i].failed = 0;
		poller->provider[i].succeeded = 0;
	}
	look_after_work(poller);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	gate_report(userdata);
	return 0;
}

int gate_init(struct poller *poller, struct fault *reterr_fault)
{
	return poller_add_timer(poller, &poller->gate_timer, on_timer,
				reterr_fault);
}

void gate_done(struct poller *poller)
{
	poller->gate_timer = sd_event_source_disable_unref(poller->gate_timer);
}
