/* SPDX-License-Identifier: MIT */
#include "common/flow/move.h"

#include "common/flow/json_out.h"
#include "common/io/log.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum {
	BATCH_MOST = 1000,
	/* A deadlock is undone for one of the two at once; more rounds than
	 * this mean that something else is wrong. */
	TRIES_MOST = 5,
	TEXT_MOST = 1024 * LIMIT_MIB, /* PostgreSQL takes no longer ones */
};

/* One moves_apply() under way. */
struct run {
	struct db *db;
	const struct move *moves;
	bool all_or_none;
	struct arena *arena;
	struct move_result *results;
	struct moves_effect *effect;
	bool *written; /* of each move: by job_asked */
};

struct move move_init(const char *id, enum job_event event, enum job_state was,
		      const struct job_decision *decision)
{
	struct move move = {
		.event = event,
		.was = was,
		.becomes = decision->to,
		.why = decision->why,
		.claim = MOVE_ANY,
		.version = MOVE_ANY,
		.due_ms = MOVE_KEEP,
		.progress = -1,
		.poll_attempts = MOVE_KEEP,
		.start_failures = MOVE_KEEP,
		.falters = MOVE_KEEP,
		.store_failures = MOVE_KEEP,
		.max_attempts = MOVE_KEEP,
	};

	memcpy(move.id, id, sizeof(move.id));
	return move;
}

/* ---- a move as a JSON object ------------------------------------------- */

/* What is not there is not said. */
static void put_text(struct json_out *out, const char *key, const char *text)
{
	if (text)
		json_out_member(out, key, text);
}

static void put_number(struct json_out *out, const char *key, int64_t number)
{
	if (number >= 0)
		json_out_member_int(out, key, number);
}

static void put_flag(struct json_out *out, const char *key, bool flag)
{
	if (!flag)
		return;
	json_out_key(out, key);
	json_out_bool(out, true);
}

/* JSON text that a provider's answer was turned into. */
static void put_json(struct json_out *out, const char *key, const char *text)
{
	if (!text)
		return;
	json_out_key(out, key);
	json_out_raw(out, text);
}

static void put_decision(struct json_out *out, const struct move *move,
			 size_t n)
{
	json_out_member_int(out, "n", (int64_t)n);
	json_out_member(out, "id", move->id);
	json_out_member(out, "event", job_event_name(move->event));
	json_out_member(out, "was", job_state_name(move->was));
	json_out_member(out, "becomes", job_state_name(move->becomes));
	put_text(out, "why", move->why);
	put_text(out, "detail", move->detail);
	put_flag(out, "quiet", move->quiet);
	put_number(out, "claim", move->claim);
	put_number(out, "version", move->version);
	put_number(out, "due_ms", move->due_ms);
	put_number(out, "lease_ms", move->lease_ms > 0 ? move->lease_ms : -1);
	put_flag(out, "saw_cancel", move->saw_cancel);
}

static void put_move(struct json_out *out, const struct move *move, size_t n)
{
	json_out_open(out, '{');
	put_decision(out, move, n);
	put_number(out, "attempt", move->attempt > 0 ? move->attempt : -1);
	put_text(out, "start_outcome", move->start_outcome);
	put_text(out, "provider_job_id", move->provider_job_id);
	put_json(out, "provider_ref", move->provider_ref);
	if (move->progress >= 0) {
		json_out_key(out, "progress");
		json_out_number(out, move->progress);
	}
	put_json(out, "output", move->output);
	put_json(out, "media_source", move->media_source);
	put_json(out, "media", move->media);
	put_text(out, "via", move->via);
	put_text(out, "error_code", move->error_code);
	put_text(out, "error_message", move->error_message);
	put_text(out, "billed", move->billed);
	put_text(out, "delivery_key", move->delivery_key);
	put_flag(out, "cancel", move->cancel);
	put_flag(out, "cancel_tried", move->cancel_tried);
	put_flag(out, "stray", move->stray);
	put_flag(out, "restart_if_absent", move->restart_if_absent);
	put_number(out, "poll_attempts", move->poll_attempts);
	put_number(out, "start_failures", move->start_failures);
	put_number(out, "falters", move->falters);
	put_number(out, "store_failures", move->store_failures);
	put_number(out, "max_attempts", move->max_attempts);
	json_out_close(out, '}');
}

static void mark_bad(struct move_result *result, const char *why)
{
	result->outcome = MOVE_BAD;
	(void)fault_set(&result->fault, DB_E_DATA, "%s", why);
}

/* Are the texts of strangers UTF-8, and is JSON one value, before they stand
 * beside those of others?
 *
 * @return 0; -EBADMSG; -ENOMEM */
static int check_texts(const struct move *move)
{
	const char *const texts[] = {
		move->detail,	     move->provider_job_id, move->error_code,
		move->error_message, move->delivery_key,
	};
	const char *const values[] = {
		move->provider_ref,
		move->output,
		move->media_source,
		move->media,
	};
	bool sound = true;

	json_text_watch();
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		json_auto_t *text = texts[i] ? json_string(texts[i]) : NULL;

		sound = sound && (text || !texts[i]);
	}
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		json_auto_t *value =
			values[i] ? json_loads(values[i], JSON_DECODE_ANY, NULL)
				  : NULL;

		sound = sound && (value || !values[i]);
	}
	if (sound)
		return 0;
	return json_text_starved() ? -ENOMEM : -EBADMSG;
}

/* The moves from first on that are still to be written, as one text; what
 * cannot be said is left out and marked.
 *
 * @return how many are in it, or -ENOMEM */
static int put_moves(const struct run *run, size_t first, size_t count,
		     struct json_out *out)
{
	int put = 0;

	json_out_open(out, '[');
	for (size_t i = first; i < first + count; i++) {
		int r;

		if (run->results[i].outcome == MOVE_BAD || run->written[i])
			continue;
		r = check_texts(&run->moves[i]);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			mark_bad(&run->results[i],
				 "a text in it is not UTF-8 or not JSON");
			continue;
		}
		put_move(out, &run->moves[i], i);
		put++;
	}
	json_out_close(out, ']');
	return put;
}

/* ---- what came back ----------------------------------------------------- */

struct changed {
	int64_t n; /* -1: a dependent */
	const char *id;
	const char *execution_id;
	const char *provider;
	const char *was;
	const char *becomes;
	bool unsettled;
	struct move_result result;
};

static int read_changed(const PGresult *rows, int i, struct arena *arena,
			struct changed *ret, struct fault *reterr_fault)
{
	struct db_row row = db_row(rows, i, arena);
	struct changed changed = {
		.n = db_row_int64_or(&row, "n", -1),
		.id = db_row_text(&row, "id"),
		.execution_id = db_row_text(&row, "execution_id"),
		.provider = db_row_text(&row, "provider"),
		.was = db_row_text(&row, "was"),
		.becomes = db_row_text(&row, "becomes"),
		.unsettled = db_row_bool(&row, "unsettled"),
		.result = {
			.outcome = MOVE_DONE,
			.attempt = db_row_int32(&row, "attempt"),
			.version = db_row_int64(&row, "version"),
			.claim = db_row_int64(&row, "claim"),
		},
	};
	int r;

	r = db_row_end(&row, reterr_fault);
	if (r != 0)
		return r;
	*ret = changed;
	return 0;
}

static const char *why_of(enum job_event event)
{
	struct job_decision decision;

	return job_decide(JOB_WAITING, event, &decision) == 0 ? decision.why
							      : "";
}

/* Which of the rules for dependents the statement followed. */
static const char *why_dependent(enum job_state becomes)
{
	if (becomes == JOB_QUEUED)
		return why_of(JOB_RELEASED);
	return why_of(becomes == JOB_FAILED ? JOB_DEPENDENCY_FAILED
					    : JOB_DEPENDENCY_SKIPPED);
}

static void log_changed(const struct changed *changed, const struct move *move)
{
	enum job_state was = job_state_from_name(changed->was);
	enum job_state becomes = job_state_from_name(changed->becomes);
	const struct log_context context = {
		.job = changed->id,
		.execution = changed->execution_id,
		.provider = changed->provider,
		.state = changed->becomes,
		.attempt = changed->result.attempt,
	};
	const char *why = move ? move->why : why_dependent(becomes);
	const char *detail = move && move->detail ? move->detail : NULL;

	if (was == becomes)
		return;
	if (becomes == JOB_FAILED)
		log_event(LOG_WARNING, LOG_ID_JOB_FAILED, &context,
			  "%s -> failed: %s (%s)%s%s", changed->was, why,
			  move && move->error_code ? move->error_code
						   : "dependency_failed",
			  detail ? ": " : "", detail ? detail : "");
	else if (becomes == JOB_START_UNKNOWN)
		log_event(LOG_WARNING, LOG_ID_START_UNKNOWN, &context,
			  "%s -> start_unknown: %s%s%s", changed->was, why,
			  detail ? ": " : "", detail ? detail : "");
	else if (was == JOB_START_UNKNOWN)
		log_event(LOG_INFO, LOG_ID_START_RESOLVED, &context,
			  "start_unknown -> %s: %s", changed->becomes, why);
	else
		log_event(LOG_INFO, LOG_ID_JOB_MOVED, &context,
			  "%s -> %s: %s%s%s", changed->was, changed->becomes,
			  why, detail ? ": " : "", detail ? detail : "");
}

static int take_results(const struct run *run, const PGresult *rows,
			struct fault *reterr_fault)
{
	for (int i = 0; i < db_rows(rows); i++) {
		struct changed changed;
		const struct move *move = NULL;
		int r;

		r = read_changed(rows, i, run->arena, &changed, reterr_fault);
		if (r != 0)
			return r;
		if (changed.n >= 0) {
			move = &run->moves[changed.n];
			run->results[changed.n] = changed.result;
		} else if (strcmp(changed.becomes, "queued") == 0 &&
			   strcmp(changed.was, "waiting") == 0) {
			run->effect->released++;
		}
		run->effect->unsettled += changed.unsettled;
		if (!move || !move->quiet)
			log_changed(&changed, move);
	}
	return 0;
}

/* ---- the job still renders ----------------------------------------------- */

/* Is there nothing to write but when to ask next? */
static bool only_asked(const struct move *move)
{
	return move->was == JOB_PROCESSING && move->becomes == JOB_PROCESSING &&
	       move->quiet && move->claim >= 0 && move->version == MOVE_ANY &&
	       move->due_ms >= 0 && move->lease_ms == 0 &&
	       move->poll_attempts >= 0 && move->start_failures == 0 &&
	       move->falters < 0 && move->store_failures < 0 &&
	       move->max_attempts < 0 && !move->start_outcome &&
	       !move->provider_job_id && !move->provider_ref && !move->output &&
	       !move->media_source && !move->media && !move->error_code &&
	       !move->error_message && !move->delivery_key && !move->cancel &&
	       !move->cancel_tried && !move->stray && !move->restart_if_absent;
}

/* Columns of moves, as parameters of job_asked. */
struct asked {
	size_t *index; /* of the move */
	const char **id, **progress, **saw_cancel;
	int64_t *claim, *due_ms, *poll_attempts;
	size_t count;
};

/* @return whether there was memory */
static bool find_asked(const struct run *run, size_t count, struct asked *ret)
{
	struct arena *arena = run->arena;
	struct asked asked = {
		.index = arena_alloc(arena, count * sizeof(size_t)),
		.id = arena_alloc(arena, count * sizeof(char *)),
		.progress = arena_alloc(arena, count * sizeof(char *)),
		.saw_cancel = arena_alloc(arena, count * sizeof(char *)),
		.claim = arena_alloc(arena, count * sizeof(int64_t)),
		.due_ms = arena_alloc(arena, count * sizeof(int64_t)),
		.poll_attempts = arena_alloc(arena, count * sizeof(int64_t)),
	};

	for (size_t i = 0; !arena_failed(arena) && i < count; i++) {
		const struct move *move = &run->moves[i];
		size_t n = asked.count;

		if (!only_asked(move))
			continue;
		asked.index[n] = i;
		asked.id[n] = move->id;
		asked.claim[n] = move->claim;
		asked.due_ms[n] = move->due_ms;
		asked.poll_attempts[n] = move->poll_attempts;
		asked.saw_cancel[n] = move->saw_cancel ? "t" : "f";
		asked.progress[n] =
			move->progress >= 0
				? arena_printf(arena, "%.6g", move->progress)
				: NULL;
		asked.count++;
	}
	*ret = asked;
	return !arena_failed(arena);
}

static int take_asked(const struct run *run, const struct asked *asked,
		      const PGresult *rows, struct fault *reterr_fault)
{
	for (size_t i = 0; i < asked->count; i++)
		run->written[asked->index[i]] = true;
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, run->arena);
		int64_t n = db_row_int64(&row, "n");
		struct move_result result = {
			.outcome = MOVE_DONE,
			.attempt = db_row_int32(&row, "attempt"),
			.version = db_row_int64(&row, "version"),
			.claim = db_row_int64(&row, "claim"),
		};
		int r = db_row_end(&row, reterr_fault);

		if (r != 0)
			return r;
		run->results[asked->index[n - 1]] = result;
	}
	return 0;
}

/* Most of what is written while many jobs render, and far cheaper alone. What
 * is refused is left to job_move, which finds out what ails it. */
static int write_asked(const struct run *run, size_t count,
		       struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct asked asked;
	size_t most = 0;
	int r = -EAGAIN;

	for (size_t i = 0; i < count && !run->all_or_none; i++)
		most += only_asked(&run->moves[i]);
	if (most == 0)
		return 0;
	if (!find_asked(run, count, &asked))
		return fault_set(reterr_fault, -ENOMEM, "no memory");

	const char *params[] = {
		db_array_text(asked.id, asked.count, run->arena),
		db_array_int64(asked.claim, asked.count, run->arena),
		db_array_int64(asked.due_ms, asked.count, run->arena),
		db_array_int64(asked.poll_attempts, asked.count, run->arena),
		db_array_text(asked.progress, asked.count, run->arena),
		db_array_text(asked.saw_cancel, asked.count, run->arena),
	};
	if (arena_failed(run->arena))
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	for (int i = 0; i < TRIES_MOST && r == -EAGAIN; i++) {
		r = db_run(run->db, DB_job_asked, params, &rows, reterr_fault);
		if (r == -EAGAIN && !db_connected(run->db))
			return r;
	}
	if (r == 0)
		r = take_asked(run, &asked, rows, reterr_fault);
	return r < 0 ? r : 0;
}

/* ---- running ------------------------------------------------------------ */

/* Parts of job_move. */
enum {
	PART_ENDS = 1,
	PART_DEPENDENTS = 2,
	PART_SLOTS = 4, /* and the inbox */
	PART_STARTS = 8,
	PART_AGAIN = 16, /* and sets */
	PART_ALL = 31,
};

/* What has to be done beside the job's own row. A job holds a slot from when it
 * is claimed to be started until it is rendered. */
static unsigned parts_of(const struct move *move)
{
	unsigned parts = 0;

	if (job_is_terminal(move->was))
		return PART_ALL;
	if (job_is_terminal(move->becomes))
		parts |= PART_ENDS | (move->childless ? 0 : PART_DEPENDENTS);
	if (move->was == JOB_QUEUED || job_may_render(move->was) ||
	    job_may_render(move->becomes) || move->delivery_key)
		parts |= PART_SLOTS;
	if (move->becomes == JOB_STARTING || move->start_outcome ||
	    move->provider_job_id || move->provider_ref || move->stray)
		parts |= PART_STARTS;
	return parts;
}

/* The statement, or a form of it without the parts that these moves do not
 * need: what it costs alone is mostly making its parts ready. */
static enum db_query statement_for(const struct run *run, size_t first,
				   size_t count)
{
	static const struct {
		enum db_query query;
		unsigned parts;
	} forms[] = {
		{ DB_job_move_on, PART_SLOTS | PART_STARTS },
		{ DB_job_move_last, PART_ENDS },
		{ DB_job_move_end, PART_ENDS | PART_DEPENDENTS },
		{ DB_job_move_told, PART_ENDS | PART_DEPENDENTS | PART_SLOTS },
	};
	unsigned parts = run->all_or_none ? PART_ALL : 0;

	for (size_t i = first; i < first + count; i++)
		parts |= parts_of(&run->moves[i]);
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		if ((parts & ~forms[i].parts) == 0)
			return forms[i].query;
	}
	return DB_job_move;
}

static int run_once(const struct run *run, size_t first, size_t count,
		    struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(TEXT_MOST);
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct json_out out = json_out_init(arena);
	const char *text;
	int r;

	r = arena ? put_moves(run, first, count, &out) : -ENOMEM;
	if (r == 0)
		return 0;
	text = r > 0 ? json_out_end(&out, NULL) : NULL;
	if (!text)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the moves");

	const char *params[] = {
		text,
		why_of(JOB_RELEASED),
		why_of(JOB_DEPENDENCY_FAILED),
		why_of(JOB_DEPENDENCY_SKIPPED),
		run->all_or_none ? "true" : "false",
	};
	r = db_run(run->db, statement_for(run, first, count), params, &rows,
		   reterr_fault);
	return r == 0 ? take_results(run, rows, reterr_fault) : r;
}

/* Again after a deadlock, where nothing was done; not after a lost
 * connection, where nobody knows. */
static int run_range(const struct run *run, size_t first, size_t count,
		     struct fault *reterr_fault)
{
	int r = -EAGAIN;

	for (int i = 0; i < TRIES_MOST && r == -EAGAIN; i++) {
		r = run_once(run, first, count, reterr_fault);
		if (r == -EAGAIN && !db_connected(run->db))
			return r;
	}
	return r;
}

/* Split what was refused until the bad move is alone. Goes log2(count) deep. */
static int run_split(const struct run *run, size_t first, size_t count,
		     struct fault *reterr_fault)
{
	struct fault fault = { "" };
	int r;

	r = run_range(run, first, count, &fault);
	if (r < 0)
		return fault_set(reterr_fault, r, "%s", fault.text);
	if (r == 0)
		return 0;
	if (count == 1 || run->all_or_none) {
		for (size_t i = first; i < first + count; i++)
			mark_bad(&run->results[i], fault.text);
		return 0;
	}

	r = run_split(run, first, count / 2, reterr_fault);
	if (r < 0)
		return r;
	return run_split(run, first + count / 2, count - count / 2,
			 reterr_fault);
}

int moves_apply(struct db *db, const struct move_batch *batch,
		struct arena *arena, struct move_result *ret_result,
		struct moves_effect *ret_effect, struct fault *reterr_fault)
{
	struct moves_effect effect = { 0 };
	const struct run run = {
		.db = db,
		.moves = batch->moves,
		.all_or_none = batch->all_or_none,
		.arena = arena,
		.results = ret_result,
		.effect = ret_effect ? ret_effect : &effect,
		.written = arena_alloc(arena, batch->count * sizeof(bool) + 1),
	};
	size_t count = batch->count;
	size_t step = batch->all_or_none ? count : BATCH_MOST;
	int r;

	*run.effect = effect;
	memset(ret_result, 0, count * sizeof(*ret_result));
	if (!run.written)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = write_asked(&run, count, reterr_fault);
	for (size_t first = 0; r == 0 && first < count; first += step)
		r = run_split(&run, first,
			      count - first < step ? count - first : step,
			      reterr_fault);
	return r;
}
