/* SPDX-License-Identifier: MIT */
#include "common/flow/retry.h"

#include "common/flow/execution.h"
#include "common/flow/move.h"
#include "common/flow/read.h"
#include "common/model/limits.h"
#include "common/model/revive.h"

#include <errno.h>
#include <string.h>

enum { RACES_MOST = 8 };

/* One try: what was read, and the moves made of it. */
struct plan {
	struct db *db;
	struct arena *arena;
	struct execution execution;
	size_t retried; /* place of the job */
	struct move *move;
	size_t move_count;
};

static bool is_by_dependency(const struct execution_job *job)
{
	return job->state == JOB_FAILED && job->error_code &&
	       strcmp(job->error_code, "dependency_failed") == 0;
}

static bool has_ended_badly(enum job_state state)
{
	return job_is_terminal(state) && state != JOB_COMPLETED;
}

/* ---- how the job itself is run again ------------------------------------ */

/* Its parents, as far as it would wait for them. */
struct parents {
	size_t running;
	const struct execution_job *bad; /* one that stops it; or NULL */
};

static struct parents look_at_parents(const struct plan *plan, size_t child)
{
	const struct execution *execution = &plan->execution;
	bool runs_anyway = execution->job[child].policy == POLICY_RUN;
	struct parents parents = { 0 };

	for (size_t i = 0; i < execution->edge_count; i++) {
		const struct execution_job *parent =
			&execution->job[execution->edge[i].parent];

		if (execution->edge[i].child != child)
			continue;
		if (!job_is_terminal(parent->state))
			parents.running++;
		else if (parent->state != JOB_COMPLETED && !runs_anyway)
			parents.bad = parent;
	}
	return parents;
}

/* Its media is known at the provider, and was only not stored. What cannot be
 * fetched from there any more has to be rendered again. */
static bool can_store_again(const struct execution_job *job)
{
	return job->has_result &&
	       !(job->error_code &&
		 (strcmp(job->error_code, "media_expired") == 0 ||
		  strcmp(job->error_code, "not_media") == 0));
}

static bool may_have_been_billed(const struct execution_job *job)
{
	return job->attempt > 0 &&
	       ((job->billed && strcmp(job->billed, "unknown") == 0) ||
		(job->error_code &&
		 strcmp(job->error_code, "may_have_been_billed") == 0));
}

static enum job_event choose(const struct execution_job *job,
			     const struct parents *parents)
{
	/* It may be still to be told of one that has ended: what runs by then
	 * would lose its lease and its slot over that. */
	if (parents->running > 0 || job->needs_left > 0)
		return JOB_REVIVED;
	if (can_store_again(job))
		return JOB_RETRY_STORE;
	return may_have_been_billed(job) ? JOB_RETRY_RECONCILE : JOB_RETRY;
}

/* The provider's id of the last start goes back into the row, so that the
 * poller can ask for it by name. */
static int add_last_start(const struct plan *plan, const char *job_id,
			  struct move *move, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct db_row row;
	int r;

	r = read_run(plan->db, DB_start_history, &job_id, &rows, reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(rows) == 0)
		return 0;
	row = db_row(rows, 0, plan->arena);
	move->attempt = db_row_int32(&row, "attempt");
	move->provider_job_id = db_row_text_or_null(&row, "provider_job_id");
	move->provider_ref = db_row_text_or_null(&row, "provider_ref");
	return db_row_end(&row, reterr_fault);
}

static struct move start_move(const struct plan *plan,
			      const struct execution_job *job,
			      enum job_event event,
			      const struct job_decision *decision)
{
	struct move move = move_init(job->id, event, job->state, decision);

	move.version = job->version;
	move.execution_id = plan->execution.id;
	move.provider = job->provider;
	move.start_failures = 0;
	move.falters = 0;
	move.store_failures = 0;
	return move;
}

/* @return 0; RETRY_E_STATE; RETRY_E_WAITING; -errno */
static int plan_job(struct plan *plan, struct fault *reterr_fault)
{
	const struct execution_job *job = &plan->execution.job[plan->retried];
	struct parents parents = look_at_parents(plan, plan->retried);
	enum job_event event = choose(job, &parents);
	struct job_decision decision;
	struct move *move = &plan->move[0];

	if (job_decide(job->state, event, &decision) != 0)
		return RETRY_E_STATE;
	/* An edge that was counted down before its parent was retried does
	 * not hold it back any more. */
	if (event == JOB_REVIVED && (size_t)job->needs_left < parents.running)
		return RETRY_E_WAITING;
	*move = start_move(plan, job, event, &decision);
	if (decision.to != JOB_WAITING)
		move->due_ms = 0;
	if (job->max_attempts <= job->attempt)
		move->max_attempts = job->attempt + 1;
	plan->move_count = 1;
	if (event != JOB_RETRY_RECONCILE)
		return 0;
	/* The client asked for it to run: if nothing of that start is found,
	 * it is started again. */
	move->restart_if_absent = true;
	return add_last_start(plan, job->id, move, reterr_fault);
}

/* ---- those below it ----------------------------------------------------- */

/* How many parents of each job run. @return NULL when the arena is full */
static size_t *count_running_parents(const struct plan *plan)
{
	const struct execution *execution = &plan->execution;
	size_t *running = arena_alloc(plan->arena,
				      execution->job_count * sizeof(*running));

	for (size_t i = 0; running && i < execution->edge_count; i++) {
		const struct graph_edge *edge = &execution->edge[i];

		if (!job_is_terminal(execution->job[edge->parent].state))
			running[edge->child]++;
	}
	return running;
}

/* @return 0; RETRY_E_WAITING; -errno */
static int plan_revived(struct plan *plan, struct fault *reterr_fault)
{
	const struct execution *execution = &plan->execution;
	struct revive_job *jobs =
		arena_alloc(plan->arena, execution->job_count * sizeof(*jobs));
	const struct revive_graph graph = {
		.job = jobs,
		.job_count = execution->job_count,
		.edge = execution->edge,
		.edge_count = execution->edge_count,
	};
	const size_t *running = count_running_parents(plan);
	const struct revived *revived;
	size_t count;
	int r;

	if (!jobs || !running)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (size_t i = 0; i < execution->job_count; i++) {
		jobs[i].state = execution->job[i].state;
		jobs[i].policy = execution->job[i].policy;
		jobs[i].by_dependency = is_by_dependency(&execution->job[i]);
	}
	r = revive_find(&graph, plan->retried, plan->arena, &revived, &count,
			reterr_fault);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		const struct execution_job *job =
			&execution->job[revived[i].job];
		struct job_decision decision;

		if (job_decide(job->state, JOB_REVIVED, &decision) != 0)
			continue;
		/* As in plan_job(): that parent would not be waited for. */
		if ((size_t)job->needs_left < running[revived[i].job])
			return RETRY_E_WAITING;
		plan->move[plan->move_count++] =
			start_move(plan, job, JOB_REVIVED, &decision);
	}
	return 0;
}

/* ---- is it to be retried at all? ---------------------------------------- */

/* For each job, one above it that has ended badly; job_count for none. */
static size_t *find_bad_parents(const struct plan *plan)
{
	const struct execution *execution = &plan->execution;
	size_t *bad =
		arena_alloc(plan->arena, execution->job_count * sizeof(*bad));

	for (size_t i = 0; bad && i < execution->job_count; i++)
		bad[i] = execution->job_count;
	for (size_t i = 0; bad && i < execution->edge_count; i++) {
		const struct graph_edge *edge = &execution->edge[i];

		if (has_ended_badly(execution->job[edge->parent].state))
			bad[edge->child] = edge->parent;
	}
	return bad;
}

/* The job above that failed by itself, and so has to be retried. Itself if
 * there is none, NULL without memory. */
static const struct execution_job *find_blocker(const struct plan *plan)
{
	const struct execution *execution = &plan->execution;
	const size_t *bad = find_bad_parents(plan);
	size_t place = plan->retried;

	if (!bad)
		return NULL;
	/* Up the graph, which has no cycles: each job once at most. */
	while (bad[place] < execution->job_count) {
		const struct execution_job *job;

		place = bad[place];
		job = &execution->job[place];
		if (job->state != JOB_SKIPPED && !is_by_dependency(job))
			break;
	}
	return &execution->job[place];
}

static int check(const struct plan *plan, struct retried *ret)
{
	const struct execution_job *job = &plan->execution.job[plan->retried];
	const struct execution_job *blocker;

	ret->state = job->state;
	if (!has_ended_badly(job->state))
		return RETRY_E_STATE;
	if (job->state != JOB_SKIPPED && !is_by_dependency(job) &&
	    !look_at_parents(plan, plan->retried).bad)
		return 0;
	blocker = find_blocker(plan);
	if (!blocker)
		return -ENOMEM;
	if (blocker == job)
		return RETRY_E_STATE;
	ret->blocker = blocker->id;
	ret->blocker_name = blocker->name;
	return RETRY_E_DEPENDENCY;
}

/* ---- all of it ---------------------------------------------------------- */

static int find_execution(struct db *db, const char *job_id, const char *owner,
			  struct arena *arena, const char **ret_execution_id,
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
		return RETRY_E_NOT_FOUND;
	row = db_row(rows, 0, arena);
	*ret_execution_id = db_row_text(&row, "execution_id");
	return db_row_end(&row, reterr_fault);
}

static int make_plan(struct plan *plan, const char *job_id,
		     const char *execution_id, struct retried *ret,
		     struct fault *reterr_fault)
{
	int r;

	r = execution_read(plan->db, execution_id, plan->arena,
			   &plan->execution, reterr_fault);
	if (r < 0)
		return r;
	plan->retried = execution_find(&plan->execution, job_id);
	if (plan->retried == plan->execution.job_count)
		return RETRY_E_NOT_FOUND;
	r = check(plan, ret);
	if (r != 0)
		return r;
	plan->move = arena_alloc(plan->arena, plan->execution.job_count *
						      sizeof(*plan->move));
	if (!plan->move)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = plan_job(plan, reterr_fault);
	if (r == 0)
		r = plan_revived(plan, reterr_fault);
	return r;
}

enum { RACE_LOST = 100 };

/* Names outlive the try that found them. */
static int keep_names(struct retried *ret, struct arena *arena,
		      struct fault *reterr_fault)
{
	if (!ret->blocker)
		return 0;
	ret->blocker = arena_strdup(arena, ret->blocker);
	ret->blocker_name = arena_strdup(arena, ret->blocker_name);
	return arena_failed(arena)
		       ? fault_set(reterr_fault, -ENOMEM, "arena is full")
		       : 0;
}

static int try_once(struct db *db, const char *job_id, const char *execution_id,
		    struct arena *keep, struct retried *ret,
		    struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES * 4);
	struct plan plan = { .db = db, .arena = arena };
	struct move_result *results;
	int r, kept;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = make_plan(&plan, job_id, execution_id, ret, reterr_fault);
	if (r != 0) {
		kept = keep_names(ret, keep, reterr_fault);
		return kept < 0 ? kept : r;
	}
	results = arena_alloc(arena, plan.move_count * sizeof(*results));
	if (!results)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = moves_apply(
		db,
		&(const struct move_batch){ plan.move, plan.move_count, true },
		arena, results, NULL, reterr_fault);
	if (r < 0)
		return r;
	if (results[0].outcome == MOVE_BAD)
		return fault_set(reterr_fault, -EPROTO, "%s",
				 results[0].fault.text);
	if (results[0].outcome != MOVE_DONE)
		return RACE_LOST;
	ret->state = plan.move[0].becomes;
	ret->revived = plan.move_count - 1;
	return 0;
}

int retry_job(struct db *db, const char *job_id, const char *owner,
	      struct arena *arena, struct retried *ret,
	      struct fault *reterr_fault)
{
	const char *execution_id;
	int r;

	r = find_execution(db, job_id, owner, arena, &execution_id,
			   reterr_fault);
	if (r != 0)
		return r;
	for (int race = 0; race < RACES_MOST; race++) {
		*ret = (struct retried){ 0 };
		r = try_once(db, job_id, execution_id, arena, ret,
			     reterr_fault);
		if (r != RACE_LOST)
			return r;
	}
	return fault_set(reterr_fault, -EAGAIN,
			 "the jobs change faster than they can be retried");
}
