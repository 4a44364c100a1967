/* SPDX-License-Identifier: MIT */
#include "poller/look.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/io/wake.h"
#include "common/model/limits.h"
#include "poller/claim.h"
#include "poller/keys.h"
#include "poller/outbox.h"
#include "poller/query.h"
#include "poller/renew.h"
#include "poller/rest.h"
#include "poller/settle.h"
#include "poller/stray.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	/* While a lane is full, room that is made is filled in batches. */
	FULL_GAP_MS = 50,
	SAY_EVERY_MS = 1000,
	/* While there is always something to claim, what else may be due. */
	ROUND_EVERY_MS = 1000,
};

/* ---- when ---------------------------------------------------------------- */

static void look_at(struct poller *poller, int64_t at_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	poller->look_at_ms = at_ms;
	poller_arm(poller->look_timer, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void look_by(struct poller *poller, int64_t at_ms)
{
	if (!poller->stopping && !poller->database_lost &&
	    poller->look_at_ms > at_ms)
		look_at(poller, at_ms);
}

void look_soon(struct poller *poller)
{
	look_by(poller, poller->looked_at_ms + REST_GAP_MS);
}

void look_in(struct poller *poller, int64_t due_ms)
{
	int64_t soon_ms = poller->looked_at_ms + REST_GAP_MS;
	int64_t at_ms = clock_monotonic_ms() + due_ms;

	look_by(poller, at_ms > soon_ms ? at_ms : soon_ms);
}

void look_after_work(struct poller *poller)
{
	bool busy = poller_is_busy(poller);

	if (poller->closing)
		return;
	if (!busy && poller->stopping)
		(void)sd_event_exit(poller->event, poller->exit_status);
	else if (!busy)
		look_soon(poller);
	else if (poller->full)
		look_by(poller, poller->looked_at_ms + FULL_GAP_MS);
}

/* ---- what ---------------------------------------------------------------- */

/* The operator's limits, for all hosts; once. */
static int configure(struct poller *poller, struct arena *arena)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *names[POLLER_PROVIDERS], *most[POLLER_PROVIDERS];
	const char *starts[POLLER_PROVIDERS], *period[POLLER_PROVIDERS];
	size_t count = poller->provider_count;
	int r;

	for (size_t i = 0; i < count; i++) {
		const struct provider_settings *s =
			poller->provider[i].settings;

		names[i] = poller->provider[i].ops->name;
		most[i] = starts[i] = period[i] = NULL;
		if (s->concurrency > 0)
			most[i] =
				arena_printf(arena, "%" PRId64, s->concurrency);
		if (s->rate_starts > 0) {
			starts[i] =
				arena_printf(arena, "%" PRId64, s->rate_starts);
			period[i] = arena_printf(arena, "%" PRId64,
						 s->rate_period_s);
		}
	}

	const char *params[] = {
		db_array_text(names, count, arena),
		db_array_text(most, count, arena),
		db_array_text(starts, count, arena),
		db_array_text(period, count, arena),
	};
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(poller, DB_provider_configure, params, &result);
	if (r == 0)
		poller->configured = true;
	return r;
}

static void drain(struct poller *poller)
{
	int count;

	if (poller->wake_fd < 0)
		return;
	count = wake_drain(poller->wake_fd);
	if (count > 0)
		poller->woken = true;
	else if (count < 0)
		log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, NULL,
			  "the wake socket cannot be read (%s); the timer "
			  "alone wakes us",
			  strerror(-count));
}

/* @return 0 and what was found; negative when the database is away */
static int look_at_queue(struct poller *poller, size_t *ret_claimed)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	bool woken = poller->woken;
	int r = arena ? 0 : -ENOMEM;

	*ret_claimed = 0;
	poller->woken = false;
	if (r == 0 && !poller->configured)
		r = configure(poller, arena);
	if (r < 0)
		return r;
	/* What is already known first: a claim may not meet a job whose own
	 * result is still waiting to be written. */
	outbox_flush(poller);
	if (woken)
		renew_soon(poller);
	r = claim_due(poller, ret_claimed);
	if (r < 0)
		return r;
	settle_generations(poller);
	keys_check(poller, woken);
	/* What was claimed goes first: the next look comes soon, and asks. */
	if (*ret_claimed > 0 &&
	    clock_monotonic_ms() < poller->looked_round_ms + ROUND_EVERY_MS) {
		poller->next_due_ms = 0;
		return 0;
	}
	poller->looked_round_ms = clock_monotonic_ms();
	r = stray_claim(poller);
	if (r < 0)
		return r;
	return claim_next_due(poller, &poller->next_due_ms);
}

/* Nothing to stay for: wait a little for somebody to wake us, look once
 * more, then end. */
static void rest(struct poller *poller, bool looked)
{
	const struct rest_facts facts = {
		.busy = poller_is_busy(poller),
		.looked = looked,
		.due_ms = poller->next_due_ms,
		.period_ms = poller->conf->poller_period_s * 1000,
	};
	bool lingered = poller->lingering;
	int waiting = SD_EVENT_OFF;

	poller->lingering = false;
	if (!rest_may_end(&facts)) {
		(void)sd_event_source_set_enabled(poller->linger_timer,
						  SD_EVENT_OFF);
		return;
	}
	if (lingered) {
		(void)sd_event_exit(poller->event, 0);
		return;
	}
	/* A look that found nothing does not make the rest longer: where the
	 * period is as short as the rest, it would never end. */
	(void)sd_event_source_get_enabled(poller->linger_timer, &waiting);
	if (waiting == SD_EVENT_OFF)
		poller_arm(poller->linger_timer,
			   poller->conf->poller_linger_s * 1000);
}

static void look(struct poller *poller)
{
	size_t claimed = 0;
	int64_t delay_ms;
	int r;

	drain(poller);
	(void)sd_event_source_set_enabled(poller->wake_source, SD_EVENT_ON);
	r = look_at_queue(poller, &claimed);
	poller->looked_at_ms = clock_monotonic_ms();
	if (r < 0) {
		delay_ms = query_again_ms(poller);
	} else {
		poller->idle_looks = claimed > 0 || poller->next_due_ms > 0
					     ? 0
					     : poller->idle_looks + 1;
		delay_ms = rest_delay_ms(poller->next_due_ms,
					 poller->conf->poller_period_s * 1000,
					 poller->idle_looks);
	}
	poller->full = !claim_has_room(poller);
	look_at(poller, poller->looked_at_ms + delay_ms);
	rest(poller, r == 0);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	if (!poller->stopping)
		look(poller);
	return 0;
}

static int on_linger(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	poller->lingering = true;
	if (!poller->stopping)
		look(poller);
	return 0;
}

/* Jobs move on without a look, too. */
static int on_say(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	poller_say(poller);
	poller_arm(poller->say_timer, SAY_EVERY_MS);
	return 0;
}

/* The datagrams stay in the socket until the look itself empties it; until
 * then there is no need to hear of them again. */
static int on_wake(sd_event_source *source, int fd, uint32_t events,
		   void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)fd;
	(void)events;
	(void)sd_event_source_set_enabled(poller->wake_source, SD_EVENT_OFF);
	look_soon(poller);
	return 0;
}

int look_init(struct poller *poller, struct fault *reterr_fault)
{
	int r;

	r = poller_add_timer(poller, &poller->look_timer, on_look,
			     reterr_fault);
	if (r >= 0)
		r = poller_add_timer(poller, &poller->linger_timer, on_linger,
				     reterr_fault);
	if (r >= 0)
		r = poller_add_timer(poller, &poller->say_timer, on_say,
				     reterr_fault);
	if (r < 0)
		return r;
	if (poller->wake_fd >= 0)
		r = sd_event_add_io(poller->event, &poller->wake_source,
				    poller->wake_fd, EPOLLIN, on_wake, poller);
	if (r < 0)
		return fault_set(reterr_fault, r,
				 "the wake socket cannot be watched: %s",
				 strerror(-r));
	look_at(poller, clock_monotonic_ms());
	poller_arm(poller->say_timer, SAY_EVERY_MS);
	return 0;
}

void look_done(struct poller *poller)
{
	poller->wake_source =
		sd_event_source_disable_unref(poller->wake_source);
	poller->look_timer = sd_event_source_disable_unref(poller->look_timer);
	poller->linger_timer =
		sd_event_source_disable_unref(poller->linger_timer);
	poller->say_timer = sd_event_source_disable_unref(poller->say_timer);
}
