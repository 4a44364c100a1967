/* SPDX-License-Identifier: MIT */
#include "poller/renew.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/outbox.h"
#include "poller/query.h"
#include "poller/work.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	RENEW_GAP_MS = 1000,
	AGAIN_MS = 2000,
};

static void mark_seen(struct poller *poller, const PGresult *result,
		      struct arena *arena)
{
	for (int i = 0; i < db_rows(result); i++) {
		struct db_row row = db_row(result, i, arena);
		const char *id = db_row_text(&row, "id");
		const char *status = db_row_text(&row, "status");
		struct work *work = work_find(poller, id);

		if (work &&
		    strcmp(job_state_name(work->job.state), status) == 0)
			work->seen = true;
	}
}

/* A start on the wire is heard out: its answer may bring the id of something
 * that was paid for. A move that waits is tried: it says by itself when it
 * comes too late. */
static bool may_be_dropped(const struct work *work)
{
	return work->hashed && !work->on_wire && !work_is_decided(work);
}

static void drop_lost(struct poller *poller)
{
	struct work *next;

	for (struct work *work = poller->works.first; work; work = next) {
		const struct log_context context = work_context(work);

		next = work->next;
		if (work->seen || !may_be_dropped(work))
			continue;
		log_event(LOG_DEBUG, LOG_ID_LEASE_LOST, &context,
			  "somebody else moved the job; what was being done "
			  "for it stops");
		work_free(work);
	}
}

static int renew_all(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	_cleanup_(db_result_freep) PGresult *result = NULL;
	size_t most = poller->works.count, count = 0;
	const char **ids;
	int64_t *claims;
	int r;

	if (!arena)
		return -ENOMEM;
	ids = arena_alloc(arena, most * sizeof(*ids));
	claims = arena_alloc(arena, most * sizeof(*claims));
	if (arena_failed(arena))
		return -ENOMEM;
	for (struct work *work = poller->works.first; work; work = work->next) {
		work->seen = false;
		if (!work->hashed)
			continue;
		ids[count] = work->job.id;
		claims[count++] = work->claim;
	}

	const char *params[] = {
		db_array_text(ids, count, arena),
		db_array_int64(claims, count, arena),
		arena_printf(arena, "%" PRId64, poller->conf->lease_s * 1000),
	};
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(poller, DB_job_renew, params, &result);
	if (r < 0)
		return r;
	mark_seen(poller, result, arena);
	drop_lost(poller);
	return 0;
}

/* Our disk hangs, but another host's may not, and providers keep their files
 * for a limited time: whoever wants them may have them when their lease ends.
 * Nor are more of them claimed (claim.c). */
static void drop_hanging(struct poller *poller)
{
	struct work *next;

	for (struct work *work = poller->works.first; work; work = next) {
		const struct log_context context = work_context(work);

		next = work->next;
		if (work->job.state != JOB_STORING || !may_be_dropped(work))
			continue;
		log_event(LOG_WARNING, LOG_ID_STORE_HANGS, &context,
			  "given back: its files wait for a disk that hangs");
		work_free(work);
	}
}

static void renew(struct poller *poller)
{
	int64_t next_ms = poller->conf->lease_s * 1000 / 3;

	if (transfer_pool_hangs(poller->transfers))
		drop_hanging(poller);
	if (poller->works.count > 0) {
		/* What is decided already need not be renewed. */
		outbox_finish(poller);
		if (renew_all(poller) < 0)
			next_ms = AGAIN_MS;
	}
	poller->renewed_at_ms = clock_monotonic_ms();
	poller_arm(poller->renew_timer, next_ms);
}

void renew_soon(struct poller *poller)
{
	int64_t wait_ms =
		poller->renewed_at_ms + RENEW_GAP_MS - clock_monotonic_ms();

	if (poller->works.count == 0)
		return;
	poller_arm(poller->renew_timer, wait_ms > 0 ? wait_ms : 0);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	renew(userdata);
	return 0;
}

int renew_init(struct poller *poller, struct fault *reterr_fault)
{
	int r = poller_add_timer(poller, &poller->renew_timer, on_timer,
				 reterr_fault);

	if (r < 0)
		return r;
	poller->renewed_at_ms = clock_monotonic_ms();
	poller_arm(poller->renew_timer, poller->conf->lease_s * 1000 / 3);
	return 0;
}

void renew_done(struct poller *poller)
{
	poller->renew_timer =
		sd_event_source_disable_unref(poller->renew_timer);
}
