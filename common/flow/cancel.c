/* SPDX-License-Identifier: MIT */
#include "common/flow/cancel.h"

#include "common/flow/execution.h"
#include "common/flow/move.h"
#include "common/flow/read.h"
#include "common/model/limits.h"

#include <errno.h>

enum {
	/* How often others may be faster. Each time something has happened
	 * to the job, and few things can. */
	RACES_MOST = 10,
	CANCEL_RACE_LOST = 100,
};

/* @return 0 and the move; as job_decide() */
static int decide(const char *id, enum job_state state,
		  const char *execution_id, const char *provider,
		  struct move *ret)
{
	struct job_decision decision;
	struct move move;
	int r;

	r = job_decide(state, JOB_CANCEL, &decision);
	if (r != 0)
		return r;
	move = move_init(id, JOB_CANCEL, state, &decision);
	move.execution_id = execution_id;
	move.provider = provider;
	if (decision.to == state) {
		move.cancel = true;
		move.due_ms = 0;
	}
	*ret = move;
	return 0;
}

/* ---- one job ------------------------------------------------------------ */

struct brief {
	const char *id;
	const char *execution_id;
	const char *provider;
	enum job_state state;
	bool cancel_requested;
};

static int read_brief(struct db *db, const char *job_id, const char *owner,
		      struct arena *arena, struct brief *ret,
		      struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	const char *params[] = { job_id, owner };
	struct db_row row;
	int r;

	r = read_run(db, DB_job_brief, params, &rows, reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(rows) == 0)
		return CANCEL_E_NOT_FOUND;
	row = db_row(rows, 0, arena);
	*ret = (struct brief){
		.id = db_row_text(&row, "id"),
		.execution_id = db_row_text(&row, "execution_id"),
		.provider = db_row_text(&row, "provider"),
		.state = job_state_from_name(db_row_text(&row, "status")),
		.cancel_requested = db_row_bool(&row, "cancel_requested"),
	};
	return db_row_end(&row, reterr_fault);
}

/* @return 0 when it is decided; CANCEL_E_…; CANCEL_RACE_LOST; -errno */
static int cancel_once(struct db *db, const struct brief *brief,
		       struct arena *arena, struct cancelled *ret,
		       struct fault *reterr_fault)
{
	struct move_result result;
	struct move move;
	int r;

	*ret = (struct cancelled){ .state = brief->state };
	if (brief->state == JOB_CANCELLED ||
	    (brief->cancel_requested && job_may_render(brief->state)))
		return 0;
	if (decide(brief->id, brief->state, brief->execution_id,
		   brief->provider, &move) != 0)
		return CANCEL_E_ENDED;
	r = moves_apply(db, &(const struct move_batch){ &move, 1, false },
			arena, &result, NULL, reterr_fault);
	if (r < 0)
		return r;
	if (result.outcome != MOVE_DONE)
		return CANCEL_RACE_LOST;
	*ret = (struct cancelled){ .state = move.becomes, .wake = true };
	return 0;
}

int cancel_job(struct db *db, const char *job_id, const char *owner,
	       struct arena *arena, struct cancelled *ret,
	       struct fault *reterr_fault)
{
	for (int race = 0; race < RACES_MOST; race++) {
		struct brief brief;
		int r = read_brief(db, job_id, owner, arena, &brief,
				   reterr_fault);

		if (r != 0)
			return r;
		r = cancel_once(db, &brief, arena, ret, reterr_fault);
		if (r != CANCEL_RACE_LOST)
			return r;
	}
	return fault_set(reterr_fault, -EAGAIN,
			 "the job changes faster than it can be cancelled");
}

/* ---- an execution ------------------------------------------------------- */

static bool is_to_cancel(const struct execution_job *job)
{
	return !job_is_terminal(job->state) &&
	       !(job->cancel_requested && job_may_render(job->state));
}

/* Children first: a parent's end would make them fail. */
static int plan(const struct execution *execution, struct arena *arena,
		struct move **ret_moves, size_t *ret_count,
		struct fault *reterr_fault)
{
	struct move *moves =
		arena_alloc(arena, (execution->job_count + 1) * sizeof(*moves));
	struct graph sorted;
	size_t count = 0;
	int r;

	r = graph_sort(execution->job_count, execution->edge,
		       execution->edge_count, arena, &sorted, reterr_fault);
	if (r < 0)
		return r;
	if (!moves)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (size_t i = sorted.ordered_count; i > 0; i--) {
		const struct execution_job *job =
			&execution->job[sorted.order[i - 1]];

		if (is_to_cancel(job) &&
		    decide(job->id, job->state, execution->id, job->provider,
			   &moves[count]) == 0)
			count++;
	}
	*ret_moves = moves;
	*ret_count = count;
	return 0;
}

/* @ret_left  whether there was something to cancel: look again */
static int cancel_round(struct db *db, const char *execution_id, bool *ret_left,
			bool *ret_wake, struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES * 4);
	struct move_result *results;
	struct execution execution;
	struct move *moves = NULL;
	size_t count = 0;
	int r;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = execution_read(db, execution_id, arena, &execution, reterr_fault);
	if (r == 0)
		r = plan(&execution, arena, &moves, &count, reterr_fault);
	*ret_left = r == 0 && count > 0;
	if (r < 0 || count == 0)
		return r;
	results = arena_alloc(arena, count * sizeof(*results));
	if (!results)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	*ret_wake = true;
	return moves_apply(db,
			   &(const struct move_batch){ moves, count, false },
			   arena, results, NULL, reterr_fault);
}

int cancel_execution(struct db *db, const char *execution_id, bool *ret_wake,
		     struct fault *reterr_fault)
{
	*ret_wake = false;
	for (int race = 0; race < RACES_MOST; race++) {
		bool left = false;
		int r = cancel_round(db, execution_id, &left, ret_wake,
				     reterr_fault);

		if (r < 0 || !left)
			return r;
	}
	return fault_set(reterr_fault, -EAGAIN,
			 "the jobs change faster than they can be cancelled");
}
