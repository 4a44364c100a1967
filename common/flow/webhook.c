/* SPDX-License-Identifier: MIT */
#include "common/flow/webhook.h"

#include "common/flow/advance.h"
#include "common/flow/json_out.h"
#include "common/flow/move.h"
#include "common/flow/read.h"
#include "common/flow/webhook_decide.h"
#include "common/io/log.h"

#include <errno.h>
#include <string.h>

enum {
	/* How often a webhook may lose to somebody faster. */
	RACES_MOST = 6,
	TRIES_MOST = 3,
	/* The poller fetches keys on wake at most this often: if younger ones
	 * do not fit, it is a forgery and hardly a rotation. */
	KEYS_NEW_S = 60,
};

/* ---- judging ------------------------------------------------------------ */

enum webhook_trust webhook_judge(const struct webhook_judging *judging,
				 struct arena *arena,
				 const char **ret_delivery_id)
{
	bool stale = judging->webhook->key_count == 0 ||
		     judging->keys_age_s > KEYS_NEW_S;

	*ret_delivery_id = NULL;
	if (!judging->ops->verify)
		return WEBHOOK_HINT;
	switch (judging->ops->verify(judging->webhook, arena,
				     ret_delivery_id)) {
	case PROVIDER_GENUINE:
		return WEBHOOK_GENUINE;
	case PROVIDER_FORGED:
		return WEBHOOK_REFUSED;
	case PROVIDER_UNSIGNED:
		return judging->webhook->key_count > 0 ? WEBHOOK_REFUSED
						       : WEBHOOK_HINT;
	case PROVIDER_KEY_UNKNOWN:
		if (!judging->keys_configured && !judging->keys_are_new)
			return WEBHOOK_UNSURE;
		if (judging->keys_configured)
			return WEBHOOK_REFUSED;
		return stale ? WEBHOOK_HINT : WEBHOOK_DOUBTFUL;
	}
	return WEBHOOK_REFUSED;
}

/* ---- the job as it stands ----------------------------------------------- */

static int read_target(const PGresult *rows, int i, struct arena *arena,
		       struct webhook_target *targets, size_t count,
		       struct fault *reterr_fault)
{
	struct db_row row = db_row(rows, i, arena);
	int64_t n = db_row_int64(&row, "n");
	struct webhook_target target = {
		.id = db_row_text(&row, "id"),
		.execution_id = db_row_text(&row, "execution_id"),
		.provider = db_row_text(&row, "provider"),
		.known_id = db_row_text_or_null(&row, "known_id"),
		.was_accepted = db_row_bool(&row, "was_accepted"),
		.state = job_state_from_name(db_row_text(&row, "status")),
		.version = db_row_int64(&row, "version"),
		.attempt = db_row_int32(&row, "attempt"),
		.max_attempts = db_row_int32(&row, "max_attempts"),
		.falters = db_row_int32(&row, "falters"),
		.start_failures = db_row_int32(&row, "start_failures"),
		.cancel_requested = db_row_bool(&row, "cancel_requested"),
		.restart_if_absent = db_row_bool(&row, "restart_if_absent"),
		.repeated = db_row_bool(&row, "repeated"),
	};
	int r;

	r = db_row_end(&row, reterr_fault);
	if (r < 0)
		return r;
	if (n < 1 || (size_t)n > count || target.state == JOB_STATE_NONE)
		return fault_set(reterr_fault, -EBADMSG,
				 "job_for_webhook: odd row");
	targets[n - 1] = target;
	return 0;
}

static int read_targets(struct db *db, struct webhook_item *const *items,
			size_t count, struct arena *arena,
			struct webhook_target *targets,
			struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	const char **ids = arena_alloc(arena, count * sizeof(*ids));
	const char **keys = arena_alloc(arena, count * sizeof(*keys));
	int64_t *attempts = arena_alloc(arena, count * sizeof(*attempts));
	const char *params[3];
	int r;

	if (!ids || !keys || !attempts)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (size_t i = 0; i < count; i++) {
		ids[i] = items[i]->job_id;
		keys[i] = items[i]->delivery_key;
		attempts[i] = items[i]->attempt;
	}
	params[0] = db_array_text(ids, count, arena);
	params[1] = db_array_text(keys, count, arena);
	params[2] = db_array_int64(attempts, count, arena);
	if (!params[0] || !params[1] || !params[2])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = read_run(db, DB_job_for_webhook, params, &rows, reterr_fault);
	if (r < 0)
		return r;

	memset(targets, 0, count * sizeof(*targets));
	for (int i = 0; r == 0 && i < db_rows(rows); i++)
		r = read_target(rows, i, arena, targets, count, reterr_fault);
	return r;
}

/* ---- notes -------------------------------------------------------------- */

/* A webhook that moves nothing, and the job it is about. */
struct note {
	struct webhook_item *item;
	const struct webhook_target *target;
};

/* A start that a newer one has overtaken, and that lives: it was paid as
 * well, and nobody waits for it any more. */
static bool is_stray(const struct note *note)
{
	return note->item->attempt != 0 &&
	       note->item->attempt < note->target->attempt &&
	       webhook_says_it_lives(&note->item->event);
}

static void write_note(const struct note *note, struct json_out *out)
{
	const struct webhook_item *item = note->item;

	json_out_open(out, '{');
	json_out_member(out, "job_id", item->job_id);
	json_out_member(out, "delivery_key", item->delivery_key);
	json_out_member_int(out, "attempt",
			    item->attempt ? item->attempt
					  : note->target->attempt);
	json_out_member(out, "event", job_event_name(item->event.kind));
	json_out_member(out, "provider_job_id", item->event.provider_job_id);
	json_out_key(out, "stray");
	json_out_bool(out, is_stray(note));
	json_out_close(out, '}');
}

static int run_notes(struct db *db, const struct note *notes, size_t count,
		     struct arena *arena, struct fault *reterr_fault)
{
	struct json_out out = json_out_init(arena);
	const char *text;
	int r = -EAGAIN;

	json_out_open(&out, '[');
	for (size_t i = 0; i < count; i++)
		write_note(&notes[i], &out);
	json_out_close(&out, ']');
	text = json_out_end(&out, NULL);
	if (!text)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	/* Again after a deadlock, which undid it. */
	for (int i = 0; i < TRIES_MOST && r == -EAGAIN; i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;

		r = db_run(db, DB_webhook_note, &text, &rows, reterr_fault);
		if (r == -EAGAIN && !db_connected(db))
			break;
	}
	return r;
}

static void settle_note(const struct note *note)
{
	const struct webhook_target *target = note->target;

	note->item->outcome = WEBHOOK_NO_EFFECT;
	note->item->wake = is_stray(note);
	if (!note->item->wake)
		return;
	log_event(LOG_ERR, LOG_ID_DOUBLE_START,
		  &(struct log_context){
			  .job = target->id,
			  .execution = target->execution_id,
			  .provider = target->provider,
			  .attempt = note->item->attempt,
		  },
		  "attempt %d lives although attempt %d was started: it is "
		  "cancelled at its provider, and may have been paid",
		  (int)note->item->attempt, (int)target->attempt);
}

/* Alone, so that one that PostgreSQL refuses is refused alone: whatever is
 * odd about it, the provider need not send it again. */
static int run_note(struct db *db, const struct note *note, struct arena *arena,
		    struct fault *reterr_fault)
{
	int r = run_notes(db, note, 1, arena, reterr_fault);

	if (r < 0)
		return r;
	if (r == DB_E_DATA)
		log_event(LOG_WARNING, LOG_ID_WEBHOOK_REFUSED,
			  &(struct log_context){
				  .job = note->target->id,
				  .provider = note->target->provider,
			  },
			  "a late webhook cannot be stored and is forgotten");
	settle_note(note);
	return 0;
}

static int commit_notes(struct db *db, const struct note *notes, size_t count,
			struct arena *arena, struct fault *reterr_fault)
{
	int r;

	if (count == 0)
		return 0;
	r = run_notes(db, notes, count, arena, reterr_fault);
	if (r < 0)
		return r;
	if (r == 0) {
		for (size_t i = 0; i < count; i++)
			settle_note(&notes[i]);
		return 0;
	}
	r = 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = run_note(db, &notes[i], arena, reterr_fault);
	return r;
}

/* ---- hints -------------------------------------------------------------- */

static int run_pokes(struct db *db, struct webhook_item *const *items,
		     size_t count, struct arena *arena,
		     struct fault *reterr_fault)
{
	const char **ids = arena_alloc(arena, (count + 1) * sizeof(*ids));
	const char *param;
	int r = -EAGAIN;

	if (count == 0)
		return 0;
	for (size_t i = 0; ids && i < count; i++)
		ids[i] = items[i]->job_id;
	param = ids ? db_array_text(ids, count, arena) : NULL;
	if (!param)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (int i = 0; i < TRIES_MOST && r == -EAGAIN; i++) {
		_cleanup_(db_result_freep) PGresult *rows = NULL;

		r = db_run(db, DB_job_poke, &param, &rows, reterr_fault);
		if (r == -EAGAIN && !db_connected(db))
			break;
	}
	if (r != 0)
		return r < 0 ? r : -EPROTO;
	for (size_t i = 0; i < count; i++) {
		items[i]->outcome = WEBHOOK_TAKEN;
		items[i]->wake = true;
	}
	return 0;
}

/* ---- committing --------------------------------------------------------- */

struct batch {
	const struct conf *conf;
	struct db *db;
	struct arena *arena;
	struct webhook_item **item; /* not decided yet, in order of arrival */
	size_t count;
	struct webhook_target *target; /* of each item */
	struct move *move;
	struct webhook_item **mover; /* whose move it is */
	struct move_result *result;
	size_t move_count;
	struct note *note;
	size_t note_count;
	struct webhook_item **poke; /* whose jobs are to be looked at */
	size_t poke_count;
};

static bool has_mover(const struct batch *batch, const char *job_id)
{
	for (size_t i = 0; i < batch->move_count; i++) {
		if (strcmp(batch->mover[i]->job_id, job_id) == 0)
			return true;
	}
	return false;
}

/* What is to be written in this round: one move a job, for the next webhook
 * of the same job depends on it. The others stay for the next round. */
static int decide_round(struct batch *batch, struct fault *reterr_fault)
{
	size_t left = 0;

	batch->move_count = batch->note_count = batch->poke_count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct webhook_item *item = batch->item[i];
		int r;

		if (has_mover(batch, item->job_id)) {
			batch->item[left++] = item;
			continue;
		}
		r = webhook_decide(
			batch->conf, &batch->target[i], item, batch->arena,
			&batch->move[batch->move_count], reterr_fault);
		if (r < 0)
			return r;
		if (r == DECIDED_OUTCOME)
			continue;
		item->outcome = WEBHOOK_AWAY; /* until it is committed */
		if (r == DECIDED_MOVE)
			batch->mover[batch->move_count++] = item;
		else if (r == DECIDED_POKE)
			batch->poke[batch->poke_count++] = item;
		else
			batch->note[batch->note_count++] =
				(struct note){ item, &batch->target[i] };
	}
	batch->count = left;
	return 0;
}

/* PostgreSQL refuses what the provider said; the poller asks for itself. */
static void become_hint(struct webhook_item *item, const struct move *move,
			const struct fault *fault)
{
	log_event(LOG_WARNING, LOG_ID_WEBHOOK_REFUSED,
		  &(struct log_context){
			  .job = move->id,
			  .provider = move->provider,
		  },
		  "a webhook cannot be stored and is taken as a hint: %s",
		  fault->text);
	item->hint = true;
}

static void settle_move(struct batch *batch, size_t i, bool committed)
{
	struct webhook_item *item = batch->mover[i];
	const struct move_result *result = &batch->result[i];

	if (result->outcome == MOVE_DONE) {
		item->outcome = WEBHOOK_TAKEN;
		return;
	}
	item->wake = false;
	if (!committed)
		return;
	if (result->outcome == MOVE_BAD)
		become_hint(item, &batch->move[i], &result->fault);
	batch->item[batch->count++] = item;
}

/* ---- results ------------------------------------------------------------ */

/* Nothing about the job decides what is to be written, if it renders. */
static bool is_plain_result(const struct webhook_item *item)
{
	const struct provider_event *event = &item->event;

	return item->attempt != 0 && !webhook_is_hint(item) &&
	       event->kind == JOB_RENDERED && event->provider_job_id &&
	       !event->provider_ref && event->progress < 0;
}

/* Webhooks of one job are taken in their order. */
static bool has_earlier(const struct batch *batch, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (strcmp(batch->item[k]->job_id, batch->item[i]->job_id) == 0)
			return true;
	}
	return false;
}

static int write_result(const struct webhook_item *item, size_t n,
			struct arena *arena, struct json_out *out)
{
	const char *media_source = advance_media_source(&item->event, arena);

	if (!media_source)
		return -ENOMEM;
	json_out_open(out, '{');
	json_out_member_int(out, "n", (int64_t)n);
	json_out_member(out, "id", item->job_id);
	json_out_member_int(out, "attempt", item->attempt);
	json_out_member(out, "provider_job_id", item->event.provider_job_id);
	json_out_member(out, "delivery_key", item->delivery_key);
	json_out_key(out, "output");
	json_out_raw(out, item->event.output);
	json_out_key(out, "media_source");
	json_out_raw(out, media_source);
	json_out_close(out, '}');
	return 0;
}

/* Those of the batch that may be taken without a look. */
static int write_results(struct batch *batch, const char **ret_text,
			 size_t *ret_count)
{
	struct json_out out = json_out_init(batch->arena);
	size_t count = 0;
	int r = 0;

	json_out_open(&out, '[');
	for (size_t i = 0; r == 0 && i < batch->count; i++) {
		if (!is_plain_result(batch->item[i]) || has_earlier(batch, i))
			continue;
		r = write_result(batch->item[i], i, batch->arena, &out);
		count++;
	}
	json_out_close(&out, ']');
	*ret_text = json_out_end(&out, NULL);
	*ret_count = count;
	return r == 0 && *ret_text ? 0 : -ENOMEM;
}

static void log_taken(const struct webhook_target *target,
		      const struct job_decision *decision)
{
	log_event(LOG_INFO, LOG_ID_JOB_MOVED,
		  &(struct log_context){
			  .job = target->id,
			  .execution = target->execution_id,
			  .provider = target->provider,
			  .state = job_state_name(decision->to),
			  .attempt = target->attempt,
		  },
		  "%s -> %s: %s", job_state_name(JOB_PROCESSING),
		  job_state_name(decision->to), decision->why);
}

static int mark_taken(struct batch *batch, const PGresult *rows,
		      const struct job_decision *decision,
		      struct fault *reterr_fault)
{
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, batch->arena);
		int64_t n = db_row_int64(&row, "n");
		const struct webhook_target target = {
			.id = db_row_text(&row, "id"),
			.execution_id = db_row_text(&row, "execution_id"),
			.provider = db_row_text(&row, "provider"),
			.attempt = db_row_int32(&row, "attempt"),
		};
		int r = db_row_end(&row, reterr_fault);

		if (r < 0)
			return r;
		if (n < 0 || (size_t)n >= batch->count)
			return fault_set(reterr_fault, -EBADMSG,
					 "webhook_take: odd row");
		batch->item[n]->outcome = WEBHOOK_TAKEN;
		batch->item[n]->wake = true;
		log_taken(&target, decision);
	}
	return 0;
}

static void drop_taken(struct batch *batch)
{
	size_t left = 0;

	for (size_t i = 0; i < batch->count; i++) {
		if (batch->item[i]->outcome != WEBHOOK_TAKEN)
			batch->item[left++] = batch->item[i];
	}
	batch->count = left;
}

/* One statement for what is expected to fit; whatever does not is left for a
 * look, and so are all if one of them cannot be stored. */
static int take_results(struct batch *batch, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct job_decision decision;
	const char *params[3];
	size_t count;
	int r;

	if (job_decide(JOB_PROCESSING, JOB_RENDERED, &decision) != 0)
		return 0;
	r = write_results(batch, &params[0], &count);
	if (r < 0)
		return fault_set(reterr_fault, r, "arena is full");
	if (count == 0)
		return 0;
	params[1] = job_event_name(JOB_RENDERED);
	params[2] = decision.why;
	r = db_run(batch->db, DB_webhook_take, params, &rows, reterr_fault);
	if (r == DB_E_DATA || (r == -EAGAIN && db_connected(batch->db)))
		return 0;
	if (r == 0)
		r = mark_taken(batch, rows, &decision, reterr_fault);
	drop_taken(batch);
	return r;
}

/* ---- rounds ------------------------------------------------------------- */

static int run_round(struct batch *batch, struct fault *reterr_fault)
{
	int r;

	r = read_targets(batch->db, batch->item, batch->count, batch->arena,
			 batch->target, reterr_fault);
	if (r == 0)
		r = decide_round(batch, reterr_fault);
	if (r == 0)
		r = commit_notes(batch->db, batch->note, batch->note_count,
				 batch->arena, reterr_fault);
	if (r == 0)
		r = run_pokes(batch->db, batch->poke, batch->poke_count,
			      batch->arena, reterr_fault);
	if (r < 0 || batch->move_count == 0)
		return r;
	r = moves_apply(batch->db,
			&(const struct move_batch){ batch->move,
						    batch->move_count, false },
			batch->arena, batch->result, NULL, reterr_fault);
	for (size_t i = 0; i < batch->move_count; i++)
		settle_move(batch, i, r == 0);
	return r;
}

static int prepare(struct batch *batch, struct webhook_item *const *items,
		   size_t count)
{
	struct arena *arena = batch->arena;

	batch->item = arena_alloc(arena, count * sizeof(*batch->item));
	batch->target = arena_alloc(arena, count * sizeof(*batch->target));
	batch->move = arena_alloc(arena, count * sizeof(*batch->move));
	batch->mover = arena_alloc(arena, count * sizeof(*batch->mover));
	batch->result = arena_alloc(arena, count * sizeof(*batch->result));
	batch->note = arena_alloc(arena, count * sizeof(*batch->note));
	batch->poke = arena_alloc(arena, count * sizeof(*batch->poke));
	if (arena_failed(arena))
		return -ENOMEM;
	memcpy(batch->item, items, count * sizeof(*batch->item));
	batch->count = count;
	return 0;
}

void webhook_commit(const struct conf *conf, struct db *db,
		    struct webhook_item *const *items, size_t count,
		    struct arena *arena)
{
	struct batch batch = { .conf = conf, .db = db, .arena = arena };
	struct fault fault = { "" };
	size_t before;
	int r, races = 0;

	for (size_t i = 0; i < count; i++) {
		items[i]->outcome = WEBHOOK_AWAY;
		items[i]->wake = false;
	}
	r = prepare(&batch, items, count);
	if (r == 0)
		r = take_results(&batch, &fault);
	while (r == 0 && batch.count > 0 && races < RACES_MOST) {
		before = batch.count;
		r = run_round(&batch, &fault);
		races += batch.count >= before;
	}
	for (size_t i = 0; i < batch.count; i++)
		batch.item[i]->wake = false;
	/* That the database is away is said once, by the program. */
	if (r < 0)
		log_event(r == -EAGAIN ? LOG_DEBUG : LOG_WARNING,
			  LOG_ID_REQUEST_FAILED, NULL,
			  "%zu webhooks could not be committed: %s", count,
			  fault.text);
}
