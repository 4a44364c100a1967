/* SPDX-License-Identifier: MIT */
#include "common/flow/move.h"

#include "tests/unit/common/flow/server.h"

#include "tests/support/arena.h"

/* What moves do to rows is tested on a real database: tests/db. */

static void a_new_move_changes_nothing_but_the_state(void **state)
{
	static const char id[] = "01890000-0000-7000-8000-000000000001";
	struct job_decision decision;
	struct move move;

	(void)state;
	assert_int_equal(job_decide(JOB_STORING, JOB_STORED, &decision), 0);
	move = move_init(id, JOB_STORED, JOB_STORING, &decision);
	assert_string_equal(move.id, id);
	assert_int_equal(move.event, JOB_STORED);
	assert_int_equal(move.was, JOB_STORING);
	assert_int_equal(move.becomes, JOB_COMPLETED);
	assert_string_equal(move.why, decision.why);
	/* compared with nothing, planned by nobody */
	assert_int_equal(move.claim, MOVE_ANY);
	assert_int_equal(move.version, MOVE_ANY);
	assert_int_equal(move.due_ms, MOVE_KEEP);
	assert_int_equal(move.lease_ms, 0);
	/* zero would mean something for these */
	assert_true(move.progress < 0);
	assert_int_equal(move.poll_attempts, MOVE_KEEP);
	assert_int_equal(move.start_failures, MOVE_KEEP);
	assert_int_equal(move.falters, MOVE_KEEP);
	assert_int_equal(move.store_failures, MOVE_KEEP);
	assert_int_equal(move.max_attempts, MOVE_KEEP);
	/* and these are left as they are */
	assert_null(move.detail);
	assert_null(move.start_outcome);
	assert_null(move.provider_job_id);
	assert_null(move.provider_ref);
	assert_null(move.output);
	assert_null(move.media_source);
	assert_null(move.media);
	assert_null(move.via);
	assert_null(move.error_code);
	assert_null(move.error_message);
	assert_null(move.billed);
	assert_null(move.delivery_key);
	assert_false(move.quiet || move.saw_cancel || move.cancel ||
		     move.cancel_tried || move.stray || move.childless ||
		     move.restart_if_absent);
}

/* ---- by which statement -------------------------------------------------- */

static struct move a_move(size_t job, enum job_state was, enum job_event event)
{
	struct job_decision decision;
	struct move move;

	assert_int_equal(job_decide(was, event, &decision), 0);
	move = move_init(server_id(job), event, was, &decision);
	move.execution_id = SERVER_EXECUTION;
	move.provider = "acme";
	return move;
}

/* The provider was asked, and says that it still renders. */
static struct move asked(size_t job)
{
	struct move move = a_move(job, JOB_PROCESSING, JOB_PROGRESS);

	move.quiet = true;
	move.claim = 1;
	move.due_ms = 1000;
	move.poll_attempts = 3;
	move.start_failures = 0;
	return move;
}

static struct db jobs_in(enum job_state state, size_t count)
{
	struct db db = { .job_count = count };

	for (size_t i = 0; i < count; i++)
		db.job[i].state = state;
	return db;
}

static int apply(struct db *db, const struct move *moves, size_t count,
		 bool all_or_none, struct move_result *results)
{
	struct fault fault = { "" };

	return moves_apply(
		db, &(const struct move_batch){ moves, count, all_or_none },
		arena, results, NULL, &fault);
}

static const char *word(const struct db *db, const char *key)
{
	return json_string_value(server_member(db, 0, key));
}

static int number(const struct db *db, const char *key)
{
	return (int)json_integer_value(server_member(db, 0, key));
}

static void a_move_is_written_by_the_statement_that_reaches_as_far(void **state)
{
	static const struct {
		const char *name;
		enum job_state was;
		enum job_event event;
		char also; /* an Outcome, an Id, a Stray, a Delivery of it,
			      Childless */
		bool set;
		enum db_query want;
	} cases[] = {
		/* clang-format off */
		{ "goes on", JOB_STARTING, JOB_ACCEPTED, 0, false, DB_job_move_on },
		{ "rendered", JOB_PROCESSING, JOB_RENDERED, 0, false, DB_job_move_on },
		{ "rendered, by webhook", JOB_PROCESSING, JOB_RENDERED, 'D', false, DB_job_move_on },
		{ "is released", JOB_WAITING, JOB_RELEASED, 0, false, DB_job_move_on },
		{ "is stored", JOB_STORING, JOB_STORED, 0, false, DB_job_move_end },
		{ "... and nobody waits for it", JOB_STORING, JOB_STORED, 'C', false, DB_job_move_last },
		{ "cannot be stored", JOB_STORING, JOB_STORE_FAILED, 0, false, DB_job_move_end },
		{ "ends before it was due", JOB_WAITING, JOB_CANCEL, 0, false, DB_job_move_end },
		{ "ends where it may have a slot", JOB_QUEUED, JOB_CANCEL, 0, false, DB_job_move_told },
		{ "ends while it renders", JOB_PROCESSING, JOB_PROVIDER_FAILED, 0, false, DB_job_move_told },
		{ "... and nobody waits for it", JOB_PROCESSING, JOB_PROVIDER_FAILED, 'C', false, DB_job_move_told },
		{ "ends while its start is lost", JOB_START_UNKNOWN, JOB_GAVE_UP, 0, false, DB_job_move_told },
		{ "ends by webhook", JOB_STORING, JOB_CANCEL, 'D', false, DB_job_move_told },
		{ "ends, and its start was accepted", JOB_STORING, JOB_CANCEL, 'O', false, DB_job_move },
		{ "ends, and its id is known", JOB_STORING, JOB_CANCEL, 'I', false, DB_job_move },
		{ "ends, and is to be stopped there", JOB_STORING, JOB_CANCEL, 'S', false, DB_job_move },
		{ "tells its dependents", JOB_COMPLETED, JOB_SETTLED, 0, false, DB_job_move },
		{ "is retried", JOB_FAILED, JOB_RETRY, 0, false, DB_job_move },
		{ "goes on, one of a set", JOB_STARTING, JOB_ACCEPTED, 0, true, DB_job_move },
		{ "is stored, one of a set", JOB_STORING, JOB_STORED, 0, true, DB_job_move },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct move move = a_move(0, cases[i].was, cases[i].event);
		struct db db = jobs_in(cases[i].was, 1);
		struct move_result result;

		move.delivery_key = cases[i].also == 'D' ? "delivery" : NULL;
		move.start_outcome = cases[i].also == 'O' ? "accepted" : NULL;
		move.provider_job_id = cases[i].also == 'I' ? "p" : NULL;
		move.stray = cases[i].also == 'S';
		move.childless = cases[i].also == 'C';
		CHECK_NUMBER(cases[i].name,
			     apply(&db, &move, 1, cases[i].set, &result), 0);
		CHECK_NUMBER(cases[i].name, result.outcome, MOVE_DONE);
		CHECK_NUMBER(cases[i].name, db.last, cases[i].want);
		CHECK_NUMBER(cases[i].name, db.statements, 1);
		server_done(&db);
	}
}

static void who_reaches_furthest_decides_for_the_batch(void **state)
{
	struct move moves[] = {
		a_move(0, JOB_STORING, JOB_STORED),
		a_move(1, JOB_STARTING, JOB_ACCEPTED),
	};
	struct move_result results[COUNT_OF(moves)];
	struct db db = jobs_in(JOB_STORING, 2);

	(void)state;
	db.job[1].state = JOB_STARTING;
	CHECK_NUMBER("apply", apply(&db, moves, 2, false, results), 0);
	CHECK_NUMBER("one ends, another has a slot", db.last, DB_job_move_told);
	CHECK_NUMBER("statements", db.statements, 1);
	server_done(&db);
}

/* Whatever else is to be written takes the long way. */
static void only_when_to_ask_next_is_written_the_short_way(void **state)
{
	struct move moves[24];
	size_t count = 0;

	(void)state;
	moves[count++] = asked(0);
	moves[count] = asked(0);
	moves[count++].progress = 0.5;
	moves[count] = asked(0);
	moves[count++].saw_cancel = true;
	for (size_t i = 0; i < count; i++) {
		struct db db = jobs_in(JOB_PROCESSING, 1);
		struct move_result result;

		CHECK_NUMBER("short", apply(&db, &moves[i], 1, false, &result),
			     0);
		CHECK_NUMBER("short", result.outcome, MOVE_DONE);
		CHECK_NUMBER("short", db.last, DB_job_asked);
		CHECK_TEXT("progress", word(&db, "progress"),
			   i == 1 ? "0.5" : NULL);
		CHECK_TEXT("cancel", word(&db, "saw_cancel"),
			   i == 2 ? "t" : "f");
		CHECK_NUMBER("claim", number(&db, "claim"), 1);
		CHECK_NUMBER("due", number(&db, "due_ms"), 1000);
		CHECK_NUMBER("polls", number(&db, "poll_attempts"), 3);
		server_done(&db);
		/* a set is one statement, which has to be the long one */
		db = jobs_in(JOB_PROCESSING, 1);
		CHECK_NUMBER("set", apply(&db, &moves[i], 1, true, &result), 0);
		CHECK_NUMBER("set", db.last, DB_job_move);
		CHECK_NUMBER("set", db.statements, 1);
		server_done(&db);
	}

	count = 0;
#define WITH(member, value)                                                    \
	do {                                                                   \
		moves[count] = asked(0);                                       \
		moves[count++].member = (value);                               \
	} while (0)
	WITH(quiet, false);
	WITH(claim, MOVE_ANY);
	WITH(version, 0);
	WITH(due_ms, MOVE_KEEP);
	WITH(lease_ms, 1000);
	WITH(poll_attempts, MOVE_KEEP);
	WITH(start_failures, 1);
	WITH(falters, 1);
	WITH(store_failures, 0);
	WITH(max_attempts, 4);
	WITH(start_outcome, "accepted");
	WITH(provider_job_id, "p");
	WITH(provider_ref, "{}");
	WITH(output, "{}");
	WITH(media_source, "[]");
	WITH(media, "[]");
	WITH(error_code, "odd");
	WITH(error_message, "odd");
	WITH(delivery_key, "delivery");
	WITH(cancel, true);
	WITH(cancel_tried, true);
	WITH(stray, true);
	WITH(restart_if_absent, true);
#undef WITH
	for (size_t i = 0; i < count; i++) {
		struct db db = jobs_in(JOB_PROCESSING, 1);
		struct move_result result;

		CHECK_NUMBER("long", apply(&db, &moves[i], 1, false, &result),
			     0);
		CHECK_NUMBER("long", result.outcome, MOVE_DONE);
		CHECK_NUMBER("long", db.last, DB_job_move_on);
		server_done(&db);
	}
}

static void short_and_long_ones_come_back_in_their_order(void **state)
{
	struct move moves[] = {
		a_move(0, JOB_STARTING, JOB_ACCEPTED),
		asked(1),
		a_move(2, JOB_STARTING, JOB_ACCEPTED),
		asked(3),
		asked(4),
	};
	struct move_result results[COUNT_OF(moves)];
	struct db db = jobs_in(JOB_PROCESSING, COUNT_OF(moves));

	(void)state;
	db.job[0].state = db.job[2].state = JOB_STARTING;
	db.job[3].state = JOB_CANCELLED; /* somebody was faster */
	for (int i = 0; i < 5; i++)
		db.job[i].attempt = 10 + i;
	CHECK_NUMBER("apply",
		     apply(&db, moves, COUNT_OF(moves), false, results), 0);
	CHECK_NUMBER("statements", db.statements, 2);
	for (int i = 0; i < 5; i++) {
		CHECK_NUMBER("outcome", results[i].outcome,
			     i == 3 ? MOVE_LOST : MOVE_DONE);
		CHECK_NUMBER("whose it is", results[i].attempt,
			     i == 3 ? 0 : 10 + i);
	}
	server_done(&db);

	/* refused the short way, they go the long one, which finds out why */
	db = jobs_in(JOB_PROCESSING, COUNT_OF(moves));
	db.job[0].state = db.job[2].state = JOB_STARTING;
	db.refused = 1U << 3;
	CHECK_NUMBER("apply",
		     apply(&db, moves, COUNT_OF(moves), false, results), 0);
	for (int i = 0; i < 5; i++)
		CHECK_NUMBER("outcome", results[i].outcome,
			     i == 3 ? MOVE_BAD : MOVE_DONE);
	server_done(&db);
}

/* ---- what is refused ------------------------------------------------------
 */

static void one_bad_move_fails_only_itself(void **state)
{
	enum { MOVES = 8 };

	(void)state;
	for (unsigned refused = 0; refused < 1U << MOVES; refused += 5) {
		struct db db = jobs_in(JOB_STORING, MOVES);
		struct move_result results[MOVES];
		struct move moves[MOVES];

		db.refused = refused;
		for (size_t i = 0; i < MOVES; i++)
			moves[i] = a_move(i, JOB_STORING, JOB_STORED);
		CHECK_NUMBER("apply", apply(&db, moves, MOVES, false, results),
			     0);
		for (size_t i = 0; i < MOVES; i++) {
			bool bad = refused & 1U << i;

			CHECK_NUMBER("outcome", results[i].outcome,
				     bad ? MOVE_BAD : MOVE_DONE);
			CHECK_TEXT("why", results[i].fault.text,
				   bad ? "refused" : "");
			CHECK_NUMBER("row", db.job[i].state,
				     bad ? JOB_STORING : JOB_COMPLETED);
		}
		server_done(&db);
	}
}

static void a_server_that_goes_while_they_are_split_ends_it(void **state)
{
	struct db db = jobs_in(JOB_STORING, 4);
	struct move_result results[4];
	struct move moves[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		moves[i] = a_move(i, JOB_STORING, JOB_STORED);
	db.refused = 1;
	db.failing = DB_job_move_end;
	db.fails_with = -EAGAIN;
	db.fails = 1;
	db.passes = 1;
	db.lost = true;
	CHECK_NUMBER("apply", apply(&db, moves, 4, false, results), -EAGAIN);
	CHECK_NUMBER("statements", db.statements, 2);
	for (size_t i = 0; i < 4; i++)
		CHECK_NUMBER("look again", results[i].outcome, MOVE_LOST);
	server_done(&db);
}

static void one_bad_move_fails_its_set(void **state)
{
	struct db db = jobs_in(JOB_STORING, 3);
	struct move_result results[3];
	struct move moves[3];

	(void)state;
	db.refused = 1U << 1;
	for (size_t i = 0; i < 3; i++)
		moves[i] = a_move(i, JOB_STORING, JOB_STORED);
	CHECK_NUMBER("apply", apply(&db, moves, 3, true, results), 0);
	CHECK_NUMBER("statements", db.statements, 1);
	for (size_t i = 0; i < 3; i++)
		CHECK_NUMBER("outcome", results[i].outcome, MOVE_BAD);
	server_done(&db);
}

static void what_is_no_text_is_not_sent(void **state)
{
	static const struct {
		const char *name;
		const char *message, *output;
		enum move_outcome want;
	} cases[] = {
		{ "all is fine", "caf\xc3\xa9", "{\"a\":1}", MOVE_DONE },
		{ "not UTF-8", "caf\xe9", "{}", MOVE_BAD },
		{ "not JSON", "fine", "{\"a\":", MOVE_BAD },
		{ "two values", "fine", "{} {}", MOVE_BAD },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = jobs_in(JOB_PROCESSING, 2);
		struct move moves[] = {
			a_move(0, JOB_PROCESSING, JOB_RENDERED),
			a_move(1, JOB_PROCESSING, JOB_RENDERED),
		};
		struct move_result results[2];

		moves[0].error_message = cases[i].message;
		moves[0].output = cases[i].output;
		CHECK_NUMBER(cases[i].name,
			     apply(&db, moves, 2, false, results), 0);
		CHECK_NUMBER(cases[i].name, results[0].outcome, cases[i].want);
		CHECK_NUMBER(cases[i].name, results[1].outcome, MOVE_DONE);
		CHECK_NUMBER(cases[i].name, db.statements, 1);
		server_done(&db);
	}
}

/* ---- the server -----------------------------------------------------------
 */

static void what_was_undone_is_repeated_and_what_is_unknown_is_not(void **state)
{
	static const struct {
		const char *name;
		bool is_short, lost;
		int with, times, r;
		size_t statements; /* 0: some */
	} cases[] = {
		{ "a deadlock", false, false, -EAGAIN, 2, 0, 3 },
		{ "a deadlock, the short way", true, false, -EAGAIN, 2, 0, 3 },
		{ "deadlocks for ever", false, false, -EAGAIN, 99, -EAGAIN, 0 },
		{ "for ever, the short way", true, false, -EAGAIN, 99, -EAGAIN,
		  0 },
		{ "a connection", false, true, -EAGAIN, 1, -EAGAIN, 1 },
		{ "a connection, the short way", true, true, -EAGAIN, 1,
		  -EAGAIN, 1 },
		{ "another schema", false, false, -EPROTO, 1, -EPROTO, 1 },
		{ "another schema, the short way", true, false, -EPROTO, 1,
		  -EPROTO, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct move move = cases[i].is_short ? asked(0)
						     : a_move(0, JOB_PROCESSING,
							      JOB_RENDERED);
		struct db db = jobs_in(JOB_PROCESSING, 1);
		struct move_result result;

		db.failing = cases[i].is_short ? DB_job_asked : DB_job_move_on;
		db.fails_with = cases[i].with;
		db.fails = cases[i].times;
		db.lost = cases[i].lost;
		CHECK_NUMBER(cases[i].name,
			     apply(&db, &move, 1, false, &result), cases[i].r);
		CHECK_NUMBER(cases[i].name, result.outcome,
			     cases[i].r == 0 ? MOVE_DONE : MOVE_LOST);
		if (cases[i].statements)
			CHECK_NUMBER(cases[i].name, db.statements,
				     cases[i].statements);
		CHECK(cases[i].name, db.statements < 20);
		server_done(&db);
	}
}

static void what_became_of_dependents_is_counted(void **state)
{
#define CHILD(was, becomes, unsettled)                                         \
	"{\"n\":null,\"id\":\"c\",\"execution_id\":\"e\",\"provider\":"        \
	"\"acme\",\"was\":\"" was "\",\"becomes\":\"" becomes                  \
	"\",\"unsettled\":" unsettled                                          \
	",\"attempt\":0,\"version\":2,\"claim\":0}"
	struct move move = a_move(0, JOB_STORING, JOB_STORED);
	struct db db = jobs_in(JOB_STORING, 1);
	struct moves_effect effect = { 9, 9 };
	struct fault fault = { "" };
	struct move_result result;

	(void)state;
	db.dependents = "[" CHILD("waiting", "queued", "false") "," CHILD(
		"waiting", "queued",
		"false") "," CHILD("waiting", "failed",
				   "true") "," CHILD("waiting", "skipped",
						     "false") "," CHILD("waitin"
									"g",
									"waitin"
									"g",
									"false") "]";
	CHECK_NUMBER("apply",
		     moves_apply(&db,
				 &(const struct move_batch){ &move, 1, false },
				 arena, &result, &effect, &fault),
		     0);
	CHECK_NUMBER("released", effect.released, 2);
	CHECK_NUMBER("unsettled", effect.unsettled, 1);
	CHECK_NUMBER("itself", result.outcome, MOVE_DONE);
	server_done(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_move_changes_nothing_but_the_state),
		cmocka_unit_test(
			a_move_is_written_by_the_statement_that_reaches_as_far),
		cmocka_unit_test(who_reaches_furthest_decides_for_the_batch),
		cmocka_unit_test(
			only_when_to_ask_next_is_written_the_short_way),
		cmocka_unit_test(short_and_long_ones_come_back_in_their_order),
		cmocka_unit_test(one_bad_move_fails_only_itself),
		cmocka_unit_test(
			a_server_that_goes_while_they_are_split_ends_it),
		cmocka_unit_test(one_bad_move_fails_its_set),
		cmocka_unit_test(what_is_no_text_is_not_sent),
		cmocka_unit_test(
			what_was_undone_is_repeated_and_what_is_unknown_is_not),
		cmocka_unit_test(what_became_of_dependents_is_counted),
	};

	return cmocka_run_group_tests(tests, start, end);
}
