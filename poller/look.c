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
#include "poller/stop.h"
#include "poller/stray.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	/* Where a lane has more than it may hold, it is filled in batches: half
	 * of it, while the other half is being worked on, or what room there is
	 * after a while. */
	ROOM_PARTS = 2,
	ROOM_GAP_MS = 50,
	SAY_EVERY_MS = 1000,
	/* Claimed at once: much work. */
	GROWN_JOBS = 64,
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
	if (poller->claiming && poller->look_again_ms > at_ms)
		poller->look_again_ms = at_ms;
	else if (!poller->claiming && !poller->stopping &&
		 !poller->database_lost && poller->look_at_ms > at_ms)
		look_at(poller, at_ms);
}

/* Not before that: the more a look takes, the more goes into the next. */
static int64_t soon_ms(const struct poller *poller)
{
	return poller->looked_at_ms +
	       rest_gap_ms(poller->look_took_ms, poller->look_found);
}

void look_soon(struct poller *poller)
{
	look_by(poller, soon_ms(poller));
}

void look_in(struct poller *poller, int64_t due_ms)
{
	int64_t least_ms = soon_ms(poller);
	int64_t at_ms = clock_monotonic_ms() + due_ms;

	look_by(poller, at_ms > least_ms ? at_ms : least_ms);
}

void look_when_room(struct poller *poller)
{
	if (poller->closing)
		return;
	if (claim_may_go_on(poller, ROOM_PARTS))
		look_by(poller, clock_monotonic_ms());
	else if (claim_may_go_on(poller, POLLER_IN_HAND_MOST))
		look_by(poller, poller->looked_at_ms + ROOM_GAP_MS);
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
	else
		look_when_room(poller);
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

/* What else may be due, which is asked less often while there is always
 * something to claim. @return 0; negative when the database is away */
static int look_round(struct poller *poller, int claimed)
{
	int r;

	settle_generations(poller);
	/* What was claimed goes first: the next look comes soon, and asks. */
	if (claimed > 0 &&
	    clock_monotonic_ms() < poller->looked_round_ms + ROUND_EVERY_MS) {
		poller->next_due_ms = 0;
		return 0;
	}
	poller->looked_round_ms = clock_monotonic_ms();
	keys_check(poller, poller->woken);
	poller->woken = false;
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
		/* Ending would wait for the disk that hangs. */
		.busy = poller_is_busy(poller) ||
			transfer_pool_hangs(poller->transfers),
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

/* The second half of a look, after the claim. */
static void look_on(struct poller *poller, int claimed)
{
	int64_t delay_ms;
	int r = claimed;

	poller->claiming = false;
	poller->look_found = claimed;
	poller->grown = poller->grown || claimed >= GROWN_JOBS;
	if (poller->stopping) {
		stop_give_back(poller);
		look_after_work(poller);
		return;
	}
	if (r >= 0)
		r = look_round(poller, claimed);
	poller->looked_at_ms = clock_monotonic_ms();
	poller->look_took_ms = poller->looked_at_ms - poller->look_begun_ms;
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
	/* Where nothing had room nothing was asked. */
	if ((poller->works.more_lanes > 0 && delay_ms < ROOM_GAP_MS) ||
	    poller->works.count >= POLLER_IN_HAND_MOST)
		delay_ms = ROOM_GAP_MS;
	look_at(poller, poller->looked_at_ms + delay_ms);
	look_when_room(poller);
	if (poller->look_again_ms < soon_ms(poller))
		look_soon(poller);
	else
		look_by(poller, poller->look_again_ms);
	rest(poller, r >= 0);
}

static void look(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena = NULL;
	int r = 0;

	if (poller->claiming)
		return; /* lingering; it is the look that is under way */
	poller->look_again_ms = INT64_MAX;
	poller->look_begun_ms = clock_monotonic_ms();
	drain(poller);
	(void)sd_event_source_set_enabled(poller->wake_source, SD_EVENT_ON);
	if (!poller->configured) {
		arena = arena_new(LIMIT_MIB);
		r = arena ? configure(poller, arena) : -ENOMEM;
	}
	/* What is already known first: a claim may not meet a job whose own
	 * result is still waiting to be written. */
	outbox_flush(poller);
	if (r >= 0 && poller->woken)
		renew_soon(poller);
	if (r >= 0)
		r = claim_due(poller, look_on);
	poller->claiming = r > 0;
	if (r <= 0)
		look_on(poller, r);
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

/* After much work what it took is given back, once there is none. */
static void trim(struct poller *poller)
{
	if (!poller->grown || poller->works.count > 0 || poller->claiming)
		return;
	poller->grown = false;
	(void)malloc_trim(0);
}

/* Jobs move on without a look, too. */
static int on_say(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	poller_say(poller);
	trim(poller);
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
	/* Room is filled before more answers are read. */
	if (r >= 0)
		(void)sd_event_source_set_priority(poller->look_timer,
						   SD_EVENT_PRIORITY_IMPORTANT);
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
	/* The first look is for those who woke us. */
	poller->looked_round_ms = clock_monotonic_ms();
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
