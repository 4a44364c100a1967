/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include "common/base/clock.h"
#include "common/base/dice.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES = 16 * 1024 * 1024 };

struct arena *fixture_arena(void)
{
	struct arena *arena = arena_new(ARENA_BYTES);

	assert_non_null(arena);
	return arena;
}

struct db *fixture_open(void)
{
	struct db *db = NULL;
	struct fault fault = { "" };
	int r = db_open(getenv("DATABASE_URL"), "db test", &db, &fault);

	if (r < 0)
		fail_msg("%s", fault.text);
	return db;
}

static PGresult *query(const char *format, va_list args)
{
	PGconn *conn = PQconnectdb(getenv("DATABASE_URL"));
	char text[8192];
	PGresult *result;

	assert_in_range(vsnprintf(text, sizeof(text), format, args), 0,
			sizeof(text) - 1);
	result = PQexec(conn, text);
	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
	    PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", text, PQerrorMessage(conn));
	PQfinish(conn);
	return result;
}

char *fixture_text(const char *format, ...)
{
	va_list args;
	PGresult *result;
	char *text;

	va_start(args, format);
	result = query(format, args);
	va_end(args);
	assert_true(PQntuples(result) > 0);
	text = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return text;
}

int64_t fixture_number(const char *format, ...)
{
	va_list args;
	PGresult *result;
	int64_t number;

	va_start(args, format);
	result = query(format, args);
	va_end(args);
	assert_true(PQntuples(result) > 0);
	number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return number;
}

void fixture_sql(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	PQclear(query(format, args));
	va_end(args);
}

static void make_id(char ret[UUID_SIZE])
{
	uint8_t bits[10];

	dice_fill(bits, sizeof(bits));
	uuid_v7(clock_unix_ms(), bits, ret);
}

static json_t *jobs_json(const struct pipeline *pipeline, const char *provider,
			 const char *policy, const struct edge *edges,
			 size_t edge_count)
{
	json_t *jobs = json_array();

	for (size_t i = 0; i < pipeline->count; i++) {
		char name[32];
		int needs = 0;

		for (size_t j = 0; j < edge_count; j++)
			needs += edges[j].child == i;
		(void)snprintf(name, sizeof(name), "job%zu", i);
		(void)json_array_append_new(
			jobs,
			json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:{}, s:s, "
				  "s:b, s:i, s:i, s:i}",
				  "id", pipeline->job[i], "execution_id",
				  pipeline->execution, "position", (int)i,
				  "name", name, "provider", provider, "model",
				  "a/b", "input", "on_dependency_failure",
				  policy, "has_references", 0, "deadline_s",
				  3600, "max_attempts", 3, "needs_left",
				  needs));
	}
	return jobs;
}

void fixture_submit(struct db *db, const char *provider, const char *policy,
		    const struct shape *shape, struct pipeline *ret)
{
	json_auto_t *executions = NULL, *jobs = NULL, *dependencies = NULL;
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };

	ret->count = shape->count;
	make_id(ret->execution);
	for (size_t i = 0; i < shape->count; i++)
		make_id(ret->job[i]);
	executions = json_pack("[{s:s, s:s, s:s, s:i}]", "id", ret->execution,
			       "owner", "tester", "body_sha256",
			       "000102030405060708090a0b0c0d0e0f"
			       "000102030405060708090a0b0c0d0e0f",
			       "jobs_total", (int)shape->count);
	jobs = jobs_json(ret, provider, policy, shape->edges,
			 shape->edge_count);
	dependencies = json_array();
	for (size_t i = 0; i < shape->edge_count; i++)
		(void)json_array_append_new(
			dependencies,
			json_pack("{s:s, s:[s], s:s}", "execution_id",
				  ret->execution, "parent_ids",
				  ret->job[shape->edges[i].parent], "child_id",
				  ret->job[shape->edges[i].child]));

	char *texts[] = { json_dumps(executions, 0), json_dumps(jobs, 0),
			  json_dumps(dependencies, 0) };
	const char *params[] = { texts[0], texts[1], texts[2], "queued",
				 "waiting" };
	int r = db_run(db, DB_execution_submit, params, &rows, &fault);

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		free(texts[i]);
	if (r != 0)
		fail_msg("submit: %s", fault.text);
	assert_int_equal(db_rows(rows), 1);
}

size_t fixture_claim(struct db *db, const char *provider, const char *state,
		     int most, int64_t lease_ms, struct claimed *ret)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct fault fault = { "" };
	int64_t mosts[] = { most };
	const char *params[] = {
		db_array_text(&provider, 1, arena),
		db_array_text(&state, 1, arena),
		db_array_int64(mosts, 1, arena),
		arena_printf(arena, "%" PRId64, lease_ms),
	};

	if (db_run(db, DB_job_claim, params, &rows, &fault) != 0)
		fail_msg("claim: %s", fault.text);
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);

		ret[i].claim = db_row_int64(&row, "claim");
		ret[i].childless = db_row_bool(&row, "childless");
		(void)snprintf(ret[i].id, sizeof(ret[i].id), "%s",
			       db_row_text(&row, "id"));
		(void)snprintf(ret[i].state, sizeof(ret[i].state), "%s",
			       db_row_text(&row, "status"));
		assert_int_equal(db_row_end(&row, &fault), 0);
	}
	return (size_t)db_rows(rows);
}

struct move fixture_move(const char *id, enum job_state was,
			 enum job_event event, int64_t claim)
{
	struct job_decision decision = { 0 };
	struct move move;

	if (job_decide(was, event, &decision) != 0)
		fail_msg("no rule: %s on %s", job_state_name(was),
			 job_event_name(event));
	move = move_init(id, event, was, &decision);
	move.claim = claim;
	move.due_ms = 0;
	if (move.becomes == JOB_STARTING)
		move.lease_ms = 60000;
	if (move.becomes == JOB_STORING)
		move.media_source = "[]";
	if (event == JOB_STORED)
		move.media = "[{\"index\":0,\"key\":\"k\",\"url\":\"u\","
			     "\"content_type\":\"image/png\",\"bytes\":1,"
			     "\"sha256\":\"000102030405060708090a0b0c0d0e0f"
			     "000102030405060708090a0b0c0d0e0f\"}]";
	if (move.becomes == JOB_FAILED) {
		move.error_code = "tested";
		move.billed = "no";
	}
	return move;
}

enum move_outcome fixture_apply(struct db *db, const struct move *move)
{
	_cleanup_(arena_freep) struct arena *arena = fixture_arena();
	struct move_result result;
	struct fault fault = { "" };

	if (moves_apply(db, &(const struct move_batch){ move, 1, false }, arena,
			&result, NULL, &fault) < 0)
		fail_msg("move: %s", fault.text);
	return result.outcome;
}

static void bring_step(struct db *db, const char *id, enum job_state was,
		       enum job_event event)
{
	struct move move = fixture_move(id, was, event, MOVE_ANY);

	if (event == JOB_ACCEPTED) {
		move.attempt = 1;
		move.provider_job_id = id; /* unique, as theirs are */
		move.start_outcome = "accepted";
	}
	if (move.becomes == JOB_FAILED)
		move.error_code = "made";
	if (fixture_apply(db, &move) != MOVE_DONE)
		fail_msg("cannot bring it from %s", job_state_name(was));
}

void fixture_bring(struct db *db, const char *id, const char *provider,
		   enum job_state to)
{
	static const struct {
		enum job_state was;
		enum job_event event;
	} steps[] = {
		{ JOB_QUEUED, JOB_START },
		{ JOB_STARTING, JOB_ACCEPTED },
		{ JOB_PROCESSING, JOB_RENDERED },
		{ JOB_STORING, JOB_STORED },
	};
	static const struct {
		enum job_state to, by;
		enum job_event event;
	} ends[] = {
		{ JOB_START_UNKNOWN, JOB_STARTING, JOB_START_LOST },
		{ JOB_FAILED, JOB_PROCESSING, JOB_PROVIDER_FAILED },
		{ JOB_CANCELLED, JOB_PROCESSING, JOB_PROVIDER_CANCELLED },
	};
	struct claimed claimed[PIPELINE_JOBS_MAX];

	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		if (ends[i].to == to) {
			fixture_bring(db, id, provider, ends[i].by);
			bring_step(db, id, ends[i].by, ends[i].event);
			return;
		}
	}
	(void)fixture_claim(db, provider, "queued", PIPELINE_JOBS_MAX, 60000,
			    claimed);
	for (size_t i = 0; i < COUNT_OF(steps) && steps[i].was != to; i++)
		bring_step(db, id, steps[i].was, steps[i].event);
}

/* What tests write by hand says nothing of a start's outcome. */
void fixture_check_invariants(void)
{
	char *said = fixture_text(
		"SELECT coalesce(string_agg(concat_ws(' ', invariant, "
		"execution_id, job_id, detail), E'\n'), '') FROM violations "
		"WHERE invariant NOT IN ('start_closed', 'paid_once')");

	assert_string_equal(said, "");
	free(said);
	CHECK_NUMBER("limits exceeded",
		     fixture_number("SELECT count(*) FROM providers WHERE "
				    "in_use > max_concurrent"),
		     0);
}
