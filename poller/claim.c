/* SPDX-License-Identifier: MIT */
#include "poller/claim.h"

#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/check.h"
#include "poller/complete.h"
#include "poller/query.h"
#include "poller/reconcile.h"
#include "poller/settle.h"
#include "poller/start.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Jobs of one provider in hand at once, by their state, without those of which
 * only the result is still to be written. Starts are few: a claim takes their
 * slot, and they wait in groups for their turn. */
/* clang-format off */
static const struct {
	enum job_state state;
	size_t most;
} lanes[] = {
	{ JOB_QUEUED,	     128 },
	{ JOB_STARTING,	     256 },
	{ JOB_START_UNKNOWN,  64 },
	{ JOB_PROCESSING,    512 },
	{ JOB_STORING,	     128 },
	{ JOB_COMPLETED,     256 },
	{ JOB_FAILED,	     256 },
	{ JOB_CANCELLED,     256 },
	{ JOB_SKIPPED,	     256 },
};
/* clang-format on */

enum {
	LANES_MOST = POLLER_PROVIDERS * COUNT_OF(lanes),
	HEAVY_BYTES = 16 * LIMIT_MIB,
	HEAVY_MOST = 8,
};

struct lane_arrays {
	const char *provider[LANES_MOST];
	const char *status[LANES_MOST];
	int64_t most[LANES_MOST];
	size_t count;
	/* most, where the answer is compared with it */
	size_t asked[POLLER_PROVIDERS][JOB_STATE_MAX];
};

/* Files inside of inputs and answers take memory many times their size, so
 * few such jobs are in hand at once. */
static size_t most_in(const struct poller *poller, size_t provider, size_t lane)
{
	const struct provider_state *state = &poller->provider[provider];
	size_t most = lanes[lane].most;
	bool heavy;

	switch (lanes[lane].state) {
	case JOB_QUEUED:
		heavy = state->ops->media_as_bytes;
		break;
	case JOB_PROCESSING:
	case JOB_STORING:
		heavy = state->ops->response_bytes_max > HEAVY_BYTES &&
			!state->conf.storage_uri;
		break;
	default:
		heavy = false;
		break;
	}
	return heavy && most > HEAVY_MOST ? HEAVY_MOST : most;
}

static size_t room_in(const struct poller *poller, size_t provider, size_t lane)
{
	enum job_state state = lanes[lane].state;
	size_t held = poller->works.in_lane[provider][state] -
		      poller->works.decided[provider][state];
	size_t most = most_in(poller, provider, lane);
	size_t free = poller->works.count < POLLER_IN_HAND_MOST
			      ? POLLER_IN_HAND_MOST - poller->works.count
			      : 0;
	size_t room = held < most ? most - held : 0;

	/* Rather another host, whose disk does not hang. */
	if (state == JOB_STORING && transfer_pool_hangs(poller->transfers))
		return 0;
	return room < free ? room : free;
}

/* The lanes that have room. A provider without credentials has them as well:
 * what is queued is told so, and what is there already is asked about later.
 * One claim fills half of a lane at most: while providers are asked about one
 * half, the results of the other are written and its successors claimed. */
static void find_lanes(const struct poller *poller, bool ended_only,
		       struct lane_arrays *ret)
{
	*ret = (struct lane_arrays){ .count = 0 };
	for (size_t p = 0; p < poller->provider_count; p++) {
		for (size_t l = 0; l < COUNT_OF(lanes); l++) {
			size_t room = room_in(poller, p, l);
			size_t part = (most_in(poller, p, l) + 1) / 2;

			if (room > part)
				room = part;
			if (room == 0 ||
			    (ended_only && !job_is_terminal(lanes[l].state)))
				continue;
			ret->provider[ret->count] =
				poller->provider[p].ops->name;
			ret->status[ret->count] =
				job_state_name(lanes[l].state);
			ret->most[ret->count++] = (int64_t)room;
			ret->asked[p][lanes[l].state] = room;
		}
	}
}

bool claim_may_go_on(const struct poller *poller, size_t parts)
{
	if (poller->works.more_lanes == 0)
		return false;
	for (size_t p = 0; p < poller->provider_count; p++) {
		for (size_t l = 0; l < COUNT_OF(lanes); l++) {
			size_t least = most_in(poller, p, l) / parts;

			if (poller->works.more[p][lanes[l].state] &&
			    room_in(poller, p, l) >= (least > 0 ? least : 1))
				return true;
		}
	}
	return false;
}

/* A lane that gave all that was asked for may have more; the others do not
 * before they are asked again. */
static void note_more(struct works *works,
		      size_t taken[POLLER_PROVIDERS][JOB_STATE_MAX])
{
	works->more_lanes = 0;
	for (size_t p = 0; p < POLLER_PROVIDERS; p++) {
		for (size_t state = 0; state < JOB_STATE_MAX; state++) {
			if (works->asked[p][state] > 0)
				works->more[p][state] = taken[p][state] ==
							works->asked[p][state];
			works->more_lanes += works->more[p][state];
		}
	}
}

static void begin(struct work *work)
{
	switch (work->job.state) {
	case JOB_STARTING:
		start_found(work);
		break;
	case JOB_START_UNKNOWN:
		reconcile_begin(work);
		break;
	case JOB_PROCESSING:
		check_begin(work);
		break;
	case JOB_STORING:
		complete_begin(work);
		break;
	default:
		settle_begin(work);
		break;
	}
}

/* Rows into works. Queued ones are begun together: what they refer to is
 * read by one statement. */
static void take_rows(struct poller *poller, const PGresult *result,
		      struct arena *arena)
{
	size_t taken[POLLER_PROVIDERS][JOB_STATE_MAX] = { { 0 } };
	size_t count = (size_t)db_rows(result), queued = 0;
	struct work **works = arena_alloc(arena, count * sizeof(*works) + 1);

	for (size_t i = 0; works && i < count; i++) {
		struct fault fault = { "" };
		struct work *work;

		if (work_new(poller, result, (int)i, &work, &fault) < 0) {
			log_event(LOG_ERR, LOG_ID_REQUEST_FAILED, NULL,
				  "a claimed job cannot be read: %s",
				  fault.text);
			continue;
		}
		taken[work->provider->index][work->job.state]++;
		if (work->job.state == JOB_QUEUED)
			works[queued++] = work;
		else
			begin(work);
	}
	note_more(&poller->works, taken);
	if (queued > 0)
		start_begin(poller, works, queued);
}

/* @return whether there is anything to be asked; params are in the arena */
static bool fill(struct poller *poller, bool ended_only, struct arena *arena,
		 const char **params)
{
	struct lane_arrays asked;

	find_lanes(poller, ended_only, &asked);
	params[0] = db_array_text(asked.provider, asked.count, arena);
	params[1] = db_array_text(asked.status, asked.count, arena);
	params[2] = db_array_int64(asked.most, asked.count, arena);
	params[3] =
		arena_printf(arena, "%" PRId64, poller->conf->lease_s * 1000);
	if (asked.count == 0)
		return false;
	/* Which have more is not known before the answer, nor if there is
	 * none: then it is tried again when its time has come. */
	poller->works.more_lanes = 0;
	memcpy(poller->works.asked, asked.asked, sizeof(asked.asked));
	return true;
}

static void on_claimed(struct query *query)
{
	struct poller *poller = query->poller;
	claim_done_fn *const *done = query->userdata;

	if (poller->closing)
		return;
	if (query->r >= 0)
		take_rows(poller, query->result, query->arena);
	(*done)(poller, query->r < 0 ? query->r : db_rows(query->result));
}

int claim_due(struct poller *poller, claim_done_fn *done)
{
	_cleanup_(query_freep) struct query *query =
		query_new(poller, DB_job_claim);
	claim_done_fn **place =
		query ? arena_alloc(query->arena, sizeof(*place)) : NULL;

	if (!place)
		return -ENOMEM;
	*place = done;
	query->userdata = place;
	if (!fill(poller, false, query->arena, query->params))
		return 0;
	if (arena_failed(query->arena))
		return -ENOMEM;
	query_send(TAKE_PTR(query), on_claimed);
	return 1;
}

int claim_ended(struct poller *poller)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *params[QUERY_PARAMS_MOST];
	int r;

	if (!arena)
		return -ENOMEM;
	if (!fill(poller, true, arena, params))
		return 0;
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(poller, DB_job_claim, params, &result);
	if (r >= 0)
		take_rows(poller, result, arena);
	return r;
}

int claim_next_due(struct poller *poller, int64_t *ret_due_ms)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct fault fault = { "" };
	struct lane_arrays asked;
	struct db_row row;
	int64_t due_ms;
	int r;

	find_lanes(poller, false, &asked);
	if (asked.count == 0) {
		*ret_due_ms = REST_NEVER;
		return 0;
	}
	if (!arena)
		return -ENOMEM;

	const char *params[] = {
		db_array_text(asked.provider, asked.count, arena),
		db_array_text(asked.status, asked.count, arena),
	};
	r = query_run(poller, DB_job_next_due, params, &result);
	if (r < 0)
		return r;
	row = db_row(result, 0, arena);
	due_ms = db_row_int64_or(&row, "due_ms", REST_NEVER);
	r = db_row_end(&row, &fault);
	if (r < 0)
		return query_note(poller, r, &fault, true);
	*ret_due_ms = due_ms;
	return 0;
}
