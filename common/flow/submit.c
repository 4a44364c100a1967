/* SPDX-License-Identifier: MIT */
#include "common/flow/submit.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/dice.h"
#include "common/base/text.h"
#include "common/flow/json_out.h"
#include "common/flow/read.h"
#include "common/io/log.h"
#include "common/model/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* After a lost connection or a deadlock; the next is the client's. */
	TRIES_MOST = 3,
	/* About what a row takes beside the job's own texts. */
	JOB_ROW_BYTES = 400,
	EDGES_ROW_BYTES = 150,
	STATEMENT_BYTES_MAX = 256 * 1024 * 1024,
};

/* ---- one submission becomes rows ---------------------------------------- */

static void new_id(int64_t unix_ms, char ret[UUID_SIZE])
{
	uint8_t bits[10];

	dice_fill(bits, sizeof(bits));
	uuid_v7(unix_ms, bits, ret);
}

/* Must the input be looked through before it is sent? Also for "$${", which
 * stands for "${": what is without either is sent as it is. */
static bool has_references(const char *input)
{
	return strstr(input, "${") || strstr(input, "\"$media\"");
}

static void write_execution(const struct submission *submission,
			    const struct submit_item *item,
			    struct json_out *out)
{
	json_out_open(out, '{');
	json_out_member(out, "id", item->id);
	json_out_member(out, "owner", item->owner);
	if (submission->name)
		json_out_member(out, "name", submission->name);
	if (submission->metadata) {
		json_out_key(out, "metadata");
		json_out_raw(out, submission->metadata);
	}
	if (item->idempotency_key)
		json_out_member(out, "idempotency_key", item->idempotency_key);
	json_out_member(out, "body_sha256", item->body_sha256);
	json_out_member_int(out, "jobs_total", (int64_t)item->job_count);
	json_out_close(out, '}');
}

static void write_job(const struct submission_job *job,
		      const struct submit_item *item, size_t position,
		      int64_t deadline_s, struct json_out *out)
{
	json_out_open(out, '{');
	json_out_member(out, "id", item->job[position].id);
	json_out_member(out, "execution_id", item->id);
	json_out_member_int(out, "position", (int64_t)position);
	json_out_member(out, "name", job->name);
	json_out_member(out, "provider", job->provider);
	json_out_member(out, "model", job->model);
	json_out_key(out, "input");
	json_out_raw(out, job->input);
	json_out_member(out, "on_dependency_failure",
			policy_name(job->on_dependency_failure));
	if (job->dependency_defaults) {
		json_out_key(out, "dependency_defaults");
		json_out_raw(out, job->dependency_defaults);
	}
	json_out_key(out, "has_references");
	json_out_bool(out, has_references(job->input));
	json_out_member_int(out, "deadline_s",
			    job->deadline_s > 0 ? job->deadline_s : deadline_s);
	json_out_member_int(out, "max_attempts",
			    job->max_attempts > 0 ? job->max_attempts
						  : SUBMIT_ATTEMPTS);
	json_out_member_int(out, "needs_left", (int64_t)job->depends_on_count);
	json_out_close(out, '}');
}

static void write_edges(const struct submission_job *job,
			const struct submit_item *item, size_t position,
			struct json_out *out)
{
	if (job->depends_on_count == 0)
		return;
	json_out_open(out, '{');
	json_out_member(out, "execution_id", item->id);
	json_out_member(out, "child_id", item->job[position].id);
	json_out_key(out, "parent_ids");
	json_out_open(out, '[');
	for (size_t i = 0; i < job->depends_on_count; i++)
		json_out_string(out, item->job[job->depends_on[i]].id);
	json_out_close(out, ']');
	json_out_close(out, '}');
}

/* What the rows will take, so that the text need not grow. */
static void reserve(const struct submission *submission, struct json_out *jobs,
		    struct json_out *edges)
{
	size_t job_bytes = submission->job_count * JOB_ROW_BYTES;

	for (size_t i = 0; i < submission->job_count; i++) {
		const struct submission_job *job = &submission->job[i];

		job_bytes += strlen(job->name) + strlen(job->model) +
			     strlen(job->input);
		if (job->dependency_defaults)
			job_bytes += strlen(job->dependency_defaults);
	}
	json_out_reserve(jobs, job_bytes);
	json_out_reserve(edges,
			 submission->job_count * EDGES_ROW_BYTES +
				 submission->edge_count * (UUID_SIZE + 2));
}

static int write_rows(const struct submission *submission, int64_t deadline_s,
		      struct arena *arena, struct submit_item *item)
{
	struct json_out execution = json_out_init(arena);
	struct json_out jobs = json_out_init(arena);
	struct json_out edges = json_out_init(arena);

	write_execution(submission, item, &execution);
	reserve(submission, &jobs, &edges);
	for (size_t i = 0; i < submission->job_count; i++) {
		write_job(&submission->job[i], item, i, deadline_s, &jobs);
		write_edges(&submission->job[i], item, i, &edges);
	}
	item->execution_rows = json_out_end(&execution, &item->execution_bytes);
	item->job_rows = json_out_end(&jobs, &item->job_bytes);
	item->edge_rows = json_out_end(&edges, &item->edge_bytes);
	return item->execution_rows && item->job_rows && item->edge_rows
		       ? 0
		       : -ENOMEM;
}

static const char *sha256_hex(const struct submit_options *options,
			      struct arena *arena)
{
	uint8_t sha256[SHA256_BYTES];

	crypto_sha256(options->body, options->body_bytes, sha256);
	return text_to_hex(sha256, sizeof(sha256), arena);
}

int submit_prepare(const struct submission *submission,
		   const struct submit_options *options, struct arena *arena,
		   struct submit_item *ret, struct fault *reterr_fault)
{
	int64_t unix_ms = clock_unix_ms();
	struct submit_job *jobs =
		arena_alloc(arena, submission->job_count * sizeof(*jobs));
	struct submit_item item = {
		.owner = options->owner,
		.idempotency_key = options->idempotency_key,
		.body_sha256 = sha256_hex(options, arena),
		.job = jobs,
		.job_count = submission->job_count,
	};

	if (!jobs || !item.body_sha256)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	new_id(unix_ms, item.id);
	for (size_t i = 0; i < submission->job_count; i++) {
		new_id(unix_ms, jobs[i].id);
		jobs[i].name = submission->job[i].name;
		jobs[i].waits = submission->job[i].depends_on_count > 0;
	}
	if (write_rows(submission, options->deadline_s, arena, &item) < 0)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	*ret = item;
	return 0;
}

size_t submit_bytes(const struct submit_item *item)
{
	return item->execution_bytes + item->job_bytes + item->edge_bytes;
}

/* ---- many become one statement ------------------------------------------ */

struct batch {
	struct db *db;
	struct arena *arena;
};

static int by_key(const void *one, const void *other)
{
	const struct submit_item *a = *(struct submit_item *const *)one;
	const struct submit_item *b = *(struct submit_item *const *)other;
	int order = strcmp(a->owner, b->owner);

	return order ? order : strcmp(a->idempotency_key, b->idempotency_key);
}

/* Those with a key, sorted by it; the first of each key stands for the rest,
 * which is decided about here. @return how many are left, moved to the front */
static size_t merge_twins(struct submit_item **items, size_t count)
{
	size_t left = 0;

	qsort(items, count, sizeof(*items), by_key);
	for (size_t i = 0; i < count; i++) {
		struct submit_item *first = left ? items[left - 1] : NULL;

		if (!first || by_key(&first, &items[i]) != 0) {
			items[left++] = items[i];
			continue;
		}
		items[i]->twin_of = first;
	}
	return left;
}

static const char *join(struct submit_item *const *items, size_t count,
			size_t rows_at, size_t bytes_at, struct arena *arena)
{
	struct json_out out = json_out_init(arena);
	size_t bytes, total = sizeof("[]");

	for (size_t i = 0; i < count; i++) {
		memcpy(&bytes, (const char *)items[i] + bytes_at,
		       sizeof(bytes));
		total += bytes + sizeof(",");
	}
	json_out_reserve(&out, total);
	json_out_open(&out, '[');
	for (size_t i = 0; i < count; i++) {
		const char *item = (const char *)items[i];
		const char *rows;

		memcpy(&rows, item + rows_at, sizeof(rows));
		memcpy(&bytes, item + bytes_at, sizeof(bytes));
		json_out_values(&out, rows, bytes);
	}
	json_out_close(&out, ']');
	return json_out_end(&out, NULL);
}

#define JOIN(rows, bytes)                                                      \
	join(items, count, offsetof(struct submit_item, rows),                 \
	     offsetof(struct submit_item, bytes), arena)

static int by_id(const void *one, const void *other)
{
	const struct submit_item *a = *(struct submit_item *const *)one;
	const struct submit_item *b = *(struct submit_item *const *)other;

	return strcmp(a->id, b->id);
}

static int by_own_id(const void *id, const void *item)
{
	return strcmp(id, (*(struct submit_item *const *)item)->id);
}

/* Which ids came back? Those items are stored. Sorts the items. */
static int mark_stored(struct submit_item **items, size_t count,
		       const PGresult *rows, struct arena *arena,
		       struct fault *reterr_fault)
{
	qsort(items, count, sizeof(*items), by_id);
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		const char *id = db_row_text(&row, "id");
		struct submit_item **item;
		int r = db_row_end(&row, reterr_fault);

		if (r < 0)
			return r;
		item = bsearch(id, items, count, sizeof(*items), by_own_id);
		if (item)
			(*item)->outcome = SUBMIT_STORED;
	}
	return 0;
}

/* After an unknown outcome: what of it is there? */
static int look_up(const struct batch *batch, struct submit_item **items,
		   size_t count, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	const char **ids = arena_alloc(batch->arena, count * sizeof(*ids));
	const char *params[1];
	int r;

	if (!ids)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (size_t i = 0; i < count; i++)
		ids[i] = items[i]->id;
	params[0] = db_array_text(ids, count, batch->arena);
	if (!params[0])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = db_run(batch->db, DB_execution_exists, params, &rows, reterr_fault);
	if (r != 0)
		return r < 0 ? r : -EPROTO;
	return mark_stored(items, count, rows, batch->arena, reterr_fault);
}

/* For the timeline, and for the log. */
static const char *why_submitted(bool waits)
{
	return waits ? "submitted; it waits for other jobs"
		     : "submitted; it waits for nothing";
}

static int insert_once(const struct batch *batch, struct submit_item **items,
		       size_t count, struct fault *reterr_fault)
{
	/* Of its own: a batch may be joined many times while it is split. */
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(STATEMENT_BYTES_MAX);
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	int r;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");

	const char *params[] = {
		JOIN(execution_rows, execution_bytes),
		JOIN(job_rows, job_bytes),
		JOIN(edge_rows, edge_bytes),
		why_submitted(false),
		why_submitted(true),
	};
	if (!params[0] || !params[1] || !params[2])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = db_run(batch->db, DB_execution_submit, params, &rows, reterr_fault);
	if (r != 0)
		return r;
	return mark_stored(items, count, rows, arena, reterr_fault);
}

/* A statement is all or nothing (but for used keys): one that is there says
 * that it was committed. */
static bool any_stored(struct submit_item *const *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i]->outcome == SUBMIT_STORED)
			return true;
	}
	return false;
}

static int insert(const struct batch *batch, struct submit_item **items,
		  size_t count, struct fault *reterr_fault)
{
	struct fault fault = { "" };
	bool uncertain = false;
	int r = -EAGAIN;

	for (int i = 0; i < TRIES_MOST && r == -EAGAIN; i++) {
		if (uncertain) {
			r = look_up(batch, items, count, &fault);
			if (r < 0 || any_stored(items, count))
				break;
		}
		r = insert_once(batch, items, count, &fault);
		uncertain |= r == -EAGAIN && !db_connected(batch->db);
	}
	/* What was taken for lost may have been committed after we looked:
	 * then its ids are refused now. */
	if (r == DB_E_DATA && uncertain &&
	    look_up(batch, items, count, &fault) == 0 &&
	    any_stored(items, count))
		r = 0;
	if (r != 0)
		(void)fault_set(reterr_fault, r, "%s", fault.text);
	return r;
}

/* Split what was refused until the bad one is alone; log2(count) deep. */
static int insert_split(const struct batch *batch, struct submit_item **items,
			size_t count, struct fault *reterr_fault)
{
	int r;

	r = insert(batch, items, count, reterr_fault);
	if (r <= 0)
		return r;
	if (count == 1) {
		items[0]->outcome = SUBMIT_BAD;
		return 0;
	}
	r = insert_split(batch, items, count / 2, reterr_fault);
	if (r < 0)
		return r;
	return insert_split(batch, items + count / 2, count - count / 2,
			    reterr_fault);
}

/* ---- keys that were used before ----------------------------------------- */

static void compare(struct submit_item *item, const char *id,
		    const char *body_sha256)
{
	item->used_id = id;
	item->used_sha256 = body_sha256;
	if (strcmp(item->body_sha256, body_sha256) != 0) {
		item->outcome = SUBMIT_CONFLICT;
		return;
	}
	/* Its own id: the statement was taken for lost and was not. */
	item->outcome =
		strcmp(item->id, id) == 0 ? SUBMIT_STORED : SUBMIT_REPEATED;
	memcpy(item->id, id, sizeof(item->id));
}

static int read_used(const struct batch *batch,
		     struct submit_item *const *items, size_t count,
		     PGresult **ret, struct fault *reterr_fault)
{
	const char **owners =
		arena_alloc(batch->arena, count * sizeof(*owners));
	const char **keys = arena_alloc(batch->arena, count * sizeof(*keys));
	const char *params[2];

	if (!owners || !keys)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	for (size_t i = 0; i < count; i++) {
		owners[i] = items[i]->owner;
		keys[i] = items[i]->idempotency_key;
	}
	params[0] = db_array_text(owners, count, batch->arena);
	params[1] = db_array_text(keys, count, batch->arena);
	if (!params[0] || !params[1])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	return read_run(batch->db, DB_execution_by_key, params, ret,
			reterr_fault);
}

/* Read by a statement of its own: the insert's snapshot is older than what
 * won the race for the key. */
static int settle_used(const struct batch *batch, struct submit_item **items,
		       size_t count, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	int r;

	r = read_used(batch, items, count, &rows, reterr_fault);
	if (r < 0)
		return r;
	qsort(items, count, sizeof(*items), by_key);
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, batch->arena);
		const char *id = db_row_text(&row, "id");
		const char *sha256 = db_row_text(&row, "body_sha256");
		const struct submit_item used = {
			.owner = db_row_text(&row, "owner"),
			.idempotency_key = db_row_text(&row, "idempotency_key"),
		}, *key = &used;
		struct submit_item **item;

		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
		item = bsearch(&key, items, count, sizeof(*items), by_key);
		if (item)
			compare(*item, id, sha256);
	}
	return 0;
}

/* ---- all of it ---------------------------------------------------------- */

/* Those with a key first; they are the ones that can have twins. */
static size_t keyed_first(struct submit_item **items, size_t count)
{
	size_t keyed = 0;

	for (size_t i = 0; i < count; i++) {
		struct submit_item *item = items[i];

		if (!item->idempotency_key)
			continue;
		items[i] = items[keyed];
		items[keyed++] = item;
	}
	return keyed;
}

/* What became of the first of its key decides about the others. */
static void settle_twin(struct submit_item *item)
{
	const struct submit_item *first = item->twin_of;
	bool same = strcmp(first->body_sha256, item->body_sha256) == 0;

	if (first->used_sha256) {
		compare(item, first->used_id, first->used_sha256);
	} else if (first->outcome == SUBMIT_STORED) {
		item->outcome = same ? SUBMIT_TWIN : SUBMIT_CONFLICT;
		memcpy(item->id, first->id, sizeof(item->id));
	} else if (same) {
		item->outcome = first->outcome;
	}
	/* Else the first was refused for its body, and did not take the key:
	 * this one is still to be tried, by its client. */
}

static int commit(const struct batch *batch, struct submit_item **items,
		  size_t count, struct fault *reterr_fault)
{
	size_t keyed = keyed_first(items, count);
	size_t firsts = merge_twins(items, keyed);
	size_t used = 0;
	int r;

	/* The firsts stand at the front now; close the gap behind them. */
	memmove(items + firsts, items + keyed,
		(count - keyed) * sizeof(*items));
	count = firsts + (count - keyed);

	r = insert_split(batch, items, count, reterr_fault);
	if (r < 0)
		return r;
	/* What is neither stored nor bad has a key that was used before. */
	for (size_t i = 0; i < count; i++) {
		if (items[i]->outcome == SUBMIT_AWAY &&
		    items[i]->idempotency_key)
			items[used++] = items[i];
	}
	return used ? settle_used(batch, items, used, reterr_fault) : 0;
}

/* The beginning of each job's story. */
static void log_submitted(const struct submit_item *item)
{
	for (size_t i = 0; i < item->job_count; i++) {
		const struct submit_job *job = &item->job[i];
		const char *state =
			job_state_name(job->waits ? JOB_WAITING : JOB_QUEUED);

		log_event(LOG_INFO, LOG_ID_JOB_MOVED,
			  &(struct log_context){
				  .job = job->id,
				  .execution = item->id,
				  .state = state,
			  },
			  "-> %s: %s", state, why_submitted(job->waits));
	}
}

void submit_commit(struct db *db, struct submit_item *const *items,
		   size_t count, struct arena *arena)
{
	const struct batch batch = { .db = db, .arena = arena };
	struct submit_item **order = arena_alloc(arena, count * sizeof(*order));
	struct fault fault = { "" };
	int r = -ENOMEM;

	for (size_t i = 0; i < count; i++) {
		items[i]->outcome = SUBMIT_AWAY;
		items[i]->twin_of = NULL;
		items[i]->used_id = items[i]->used_sha256 = NULL;
	}
	if (order) {
		memcpy(order, items, count * sizeof(*order));
		r = commit(&batch, order, count, &fault);
	}
	/* That the database is away is said once, by the program. */
	if (r < 0)
		log_event(r == -EAGAIN ? LOG_DEBUG : LOG_WARNING,
			  LOG_ID_REQUEST_FAILED, NULL,
			  "%zu submissions could not be stored: %s", count,
			  fault.text);
	for (size_t i = 0; i < count; i++) {
		if (items[i]->twin_of)
			settle_twin(items[i]);
		if (items[i]->outcome == SUBMIT_STORED)
			log_submitted(items[i]);
	}
}
