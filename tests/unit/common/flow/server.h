/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_COMMON_FLOW_SERVER_H
#define TESTS_UNIT_COMMON_FLOW_SERVER_H

#include "common/flow/execution.h"
#include "common/io/db.h"
#include "tests/support/check.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

/*
 * One execution behind common/io/db.h, in memory: what flows decide, tried as
 * tests/db does it, but with rows that a real server's schema would refuse,
 * with others that are faster at exactly the wrong moment, and with a server
 * that is away. Whoever includes this links it in place of libpq.
 *
 * What the statements do is not repeated here, only what they give: the rows
 * of the execution, and for moves whether "was" and "version" still hold.
 * Arrays are JSON to it.
 */

enum { SERVER_JOBS_MAX = 8, SERVER_EDGES_MAX = 16 };

struct server_job {
	enum job_state state;
	enum policy policy; /* POLICY_NONE: fail */
	const char *error_code;
	const char *billed;
	int attempt, needs_left, max_attempts;
	bool has_result, cancel_requested;
	int version;
};

struct db {
	struct server_job job[SERVER_JOBS_MAX]; /* "a", "b", "c" and so on */
	size_t job_count;
	struct graph_edge edge[SERVER_EDGES_MAX];
	size_t edge_count;
	const char *starts; /* rows of start_history; NULL: none */
	const char *graph;  /* rows in place of the jobs; NULL: none */
	const char *rows;   /* of any other statement; NULL: there is none */
	/* Runs before moves are compared; it may change jobs. */
	void (*faster)(struct db *db);
	/* What the next statements of that kind end with. */
	enum db_query failing;
	int fails_with, fails;
	size_t passes;		/* statements that do not, before */
	bool lost;		/* the connection goes with it */
	unsigned refused;	/* jobs whose moves are, 1 for "a", 2 for "b" */
	const char *dependents; /* rows of theirs, beside those of moves */
	bool connected;

	/* what was written last, and how often */
	json_t *moves;
	bool all_or_none;
	size_t batches, statements;
	enum db_query last;
};

struct pg_result {
	json_t *rows;
};

#define SERVER_EXECUTION "01890000-0000-7000-8000-00000000ffff"

/* Later jobs have smaller ids, so that no order is right by chance. */
static inline const char *server_id(size_t place)
{
	static char ids[SERVER_JOBS_MAX][UUID_SIZE];

	assert_true(place < SERVER_JOBS_MAX);
	(void)snprintf(ids[place], UUID_SIZE,
		       "01890000-0000-7000-8000-00000000000%zu",
		       SERVER_JOBS_MAX - 1 - place);
	return ids[place];
}

static inline size_t server_place(const char *id)
{
	return SERVER_JOBS_MAX - 1 - (size_t)(id[UUID_SIZE - 2] - '0');
}

static inline void server_done(struct db *db)
{
	json_decref(db->moves);
	db->moves = NULL;
}

/* ---- statements --------------------------------------------------------- */

static inline json_t *server_brief(const struct db *db, size_t place)
{
	const struct server_job *job = &db->job[place];

	return json_pack("[{s:s, s:s, s:s, s:s, s:b}]", "id", server_id(place),
			 "execution_id", SERVER_EXECUTION, "provider", "acme",
			 "status", job_state_name(job->state),
			 "cancel_requested", job->cancel_requested);
}

static inline json_t *server_graph(const struct db *db)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < db->job_count; i++) {
		const struct server_job *job = &db->job[i];
		enum policy policy = job->policy ? job->policy : POLICY_FAIL;
		const char name[] = { (char)('a' + i), '\0' };

		(void)json_array_append_new(
			rows,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:i, "
				  "s:i, s:i, s:i, s:b, s:b}",
				  "id", server_id(i), "name", name, "provider",
				  "acme", "status", job_state_name(job->state),
				  "on_dependency_failure", policy_name(policy),
				  "error_code", job->error_code, "billed",
				  job->billed, "version", job->version,
				  "attempt", job->attempt, "needs_left",
				  job->needs_left, "max_attempts",
				  job->max_attempts, "has_result",
				  job->has_result, "cancel_requested",
				  job->cancel_requested));
	}
	return rows;
}

static inline json_t *server_edges(const struct db *db)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < db->edge_count; i++)
		(void)json_array_append_new(
			rows,
			json_pack("{s:s, s:s}", "parent_id",
				  server_id(db->edge[i].parent), "child_id",
				  server_id(db->edge[i].child)));
	return rows;
}

static inline bool server_holds(const struct db *db, const json_t *move)
{
	const struct server_job *job = &db->job[server_place(
		json_string_value(json_object_get(move, "id")))];
	const json_t *version = json_object_get(move, "version");

	return strcmp(json_string_value(json_object_get(move, "was")),
		      job_state_name(job->state)) == 0 &&
	       (!version || json_integer_value(version) == job->version);
}

static inline json_t *server_write(struct db *db, const json_t *move)
{
	const char *id = json_string_value(json_object_get(move, "id"));
	const char *was = json_string_value(json_object_get(move, "was"));
	const char *becomes =
		json_string_value(json_object_get(move, "becomes"));
	struct server_job *job = &db->job[server_place(id)];

	job->state = job_state_from_name(becomes);
	job->version++;
	if (json_object_get(move, "cancel"))
		job->cancel_requested = true;
	return json_pack("{s:O, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i}",
			 "n", json_object_get(move, "n"), "id", id,
			 "execution_id", SERVER_EXECUTION, "provider", "acme",
			 "was", was, "becomes", becomes, "unsettled", 0,
			 "attempt", job->attempt, "version", job->version,
			 "claim", 1);
}

/* Is there a move in it that cannot be stored? */
static inline bool server_refuses(const struct db *db, const char *moves)
{
	json_auto_t *array = json_loads(moves, 0, NULL);
	const json_t *move;
	unsigned jobs = 0;
	size_t i;

	json_array_foreach(array, i, move) jobs |=
		1U << server_place(
			json_string_value(json_object_get(move, "id")));
	return jobs & db->refused;
}

/* Columns become moves, as they are in the other statements. */
static inline json_t *server_asked(struct db *db, const char *const *params)
{
	static const char *const names[] = { "id",	 "claim",
					     "due_ms",	 "poll_attempts",
					     "progress", "saw_cancel" };
	json_t *rows = json_array();
	const json_t *move;
	size_t i;

	server_done(db);
	db->moves = json_array();
	for (size_t k = 0; k < COUNT_OF(names); k++) {
		json_auto_t *column = json_loads(params[k], 0, NULL);
		json_t *value;

		json_array_foreach(column, i, value)
		{
			if (k == 0)
				(void)json_array_append_new(db->moves,
							    json_object());
			(void)json_object_set(json_array_get(db->moves, i),
					      names[k], value);
		}
	}
	json_array_foreach(db->moves, i, move)
	{
		struct server_job *job = &db->job[server_place(
			json_string_value(json_object_get(move, "id")))];

		if (job->state == JOB_PROCESSING)
			(void)json_array_append_new(
				rows, json_pack("{s:i, s:i, s:i, s:i}", "n",
						(int)i + 1, "attempt",
						job->attempt, "version",
						++job->version, "claim", 1));
	}
	return rows;
}

static inline json_t *server_move(struct db *db, const char *const *params)
{
	json_t *rows = json_array();
	const json_t *move;
	size_t i, holding = 0;

	server_done(db);
	db->moves = json_loads(params[0], 0, NULL);
	db->all_or_none = strcmp(params[4], "true") == 0;
	db->batches++;
	if (db->faster)
		db->faster(db);
	json_array_foreach(db->moves, i, move) holding +=
		server_holds(db, move);
	json_array_foreach(db->moves, i, move)
	{
		if (db->all_or_none ? holding == json_array_size(db->moves)
				    : server_holds(db, move))
			(void)json_array_append_new(rows,
						    server_write(db, move));
	}
	if (db->dependents) {
		json_auto_t *more = json_loads(db->dependents, 0, NULL);

		(void)json_array_extend(rows, more);
	}
	return rows;
}

static inline json_t *server_answer(struct db *db, enum db_query query,
				    const char *const *params)
{
	switch (query) {
	case DB_job_brief:
		for (size_t i = 0; i < db->job_count; i++) {
			if (strcmp(params[0], server_id(i)) == 0 &&
			    strcmp(params[1], "owner") == 0)
				return server_brief(db, i);
		}
		return json_array();
	case DB_execution_graph:
		return db->graph ? json_loads(db->graph, 0, NULL)
				 : server_graph(db);
	case DB_execution_edges:
		return server_edges(db);
	case DB_start_history:
		return db->starts ? json_loads(db->starts, 0, NULL)
				  : json_array();
	case DB_job_asked:
		return server_asked(db, params);
	case DB_job_move:
	case DB_job_move_on:
	case DB_job_move_end:
	case DB_job_move_last:
	case DB_job_move_told:
		return server_move(db, params);
	default:
		if (db->rows)
			return json_loads(db->rows, 0, NULL);
		CHECK_FAILED("statement %d is not known here", (int)query);
	}
}

/* ---- common/io/db.h ------------------------------------------------------ */

/* NOLINTBEGIN(misc-definitions-in-headers): one test a program includes it */

int db_run(struct db *db, enum db_query query, const char *const *params,
	   PGresult **ret, struct fault *reterr_fault)
{
	db->connected = true;
	db->statements++;
	db->last = query;
	if (db->fails > 0 && query == db->failing &&
	    db->statements > db->passes) {
		db->fails--;
		db->connected = !db->lost;
		return fault_set(reterr_fault, db->fails_with, "failing");
	}
	if (db->refused &&
	    (query == DB_job_asked || server_refuses(db, params[0])))
		return fault_set(reterr_fault, DB_E_DATA, "refused");
	*ret = calloc(1, sizeof(**ret));
	assert_non_null(*ret);
	(*ret)->rows = server_answer(db, query, params);
	assert_non_null((*ret)->rows);
	return 0;
}

bool db_connected(const struct db *db)
{
	return db->connected;
}

PGresult *db_result_free(PGresult *result)
{
	if (result)
		json_decref(result->rows);
	free(result);
	return NULL;
}

int db_rows(const PGresult *result)
{
	return (int)json_array_size(result->rows);
}

struct db_row db_row(const PGresult *result, int row, struct arena *arena)
{
	return (struct db_row){ .result = result, .row = row, .arena = arena };
}

/* The value if it is of one of two kinds; JSON NULL is SQL NULL. */
static inline const json_t *server_value(struct db_row *row, const char *column,
					 json_type kind, json_type or_kind)
{
	const json_t *value = json_object_get(
		json_array_get(row->result->rows, (size_t)row->row), column);

	if (value &&
	    (json_typeof(value) == kind || json_typeof(value) == or_kind))
		return value;
	row->broken = column;
	row->reason = "is odd";
	return NULL;
}

const char *db_row_text_or_null(struct db_row *row, const char *column)
{
	const char *text = json_string_value(
		server_value(row, column, JSON_STRING, JSON_NULL));

	return text ? arena_strdup(row->arena, text) : NULL;
}

const char *db_row_text(struct db_row *row, const char *column)
{
	const char *text = db_row_text_or_null(row, column);

	if (text)
		return text;
	row->broken = column;
	row->reason = "is null";
	return "";
}

int64_t db_row_int64(struct db_row *row, const char *column)
{
	return json_integer_value(
		server_value(row, column, JSON_INTEGER, JSON_INTEGER));
}

int32_t db_row_int32(struct db_row *row, const char *column)
{
	return (int32_t)db_row_int64(row, column);
}

int64_t db_row_int64_or(struct db_row *row, const char *column, int64_t if_null)
{
	const json_t *value =
		server_value(row, column, JSON_INTEGER, JSON_NULL);

	return json_is_integer(value) ? json_integer_value(value) : if_null;
}

bool db_row_bool(struct db_row *row, const char *column)
{
	return json_is_true(server_value(row, column, JSON_TRUE, JSON_FALSE));
}

int db_row_end(const struct db_row *row, struct fault *reterr_fault)
{
	if (arena_failed(row->arena))
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	if (row->broken)
		return fault_set(reterr_fault, -EBADMSG, "%s %s", row->broken,
				 row->reason);
	return 0;
}

double db_row_double_or(struct db_row *row, const char *column, double if_null)
{
	const json_t *value = server_value(row, column, JSON_REAL, JSON_NULL);

	return json_is_real(value) ? json_real_value(value) : if_null;
}

static inline const char *server_array(json_t *array, struct arena *arena)
{
	char *text = json_dumps(array, JSON_COMPACT);
	const char *copy = arena_strdup(arena, text);

	json_decref(array);
	free(text);
	return copy;
}

const char *db_array_text(const char *const *items, size_t count,
			  struct arena *arena)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(
			array, items[i] ? json_string(items[i]) : json_null());
	return server_array(array, arena);
}

const char *db_array_int64(const int64_t *items, size_t count,
			   struct arena *arena)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(array, json_integer(items[i]));
	return server_array(array, arena);
}

/* NOLINTEND(misc-definitions-in-headers) */

/* ---- looking ------------------------------------------------------------- */

/* The last batch as words: "a:cancel b:cancel". Arena memory. */
static inline const char *server_moves(const struct db *db, struct arena *arena)
{
	const char *text = "";
	const json_t *move;
	size_t i;

	json_array_foreach(db->moves, i, move)
	{
		text = arena_printf(
			arena, "%s%s%c:%s", text, i ? " " : "",
			(int)('a' + server_place(json_string_value(
					    json_object_get(move, "id")))),
			json_string_value(json_object_get(move, "event")));
		assert_non_null(text);
	}
	return text;
}

/* A member of a move of the last batch; NULL: it is not there. */
static inline const json_t *server_member(const struct db *db, size_t move,
					  const char *key)
{
	return json_object_get(json_array_get(db->moves, move), key);
}

#endif
