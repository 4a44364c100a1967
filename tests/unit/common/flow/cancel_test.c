/* SPDX-License-Identifier: MIT */
#include "common/flow/cancel.h"

#include "tests/unit/common/flow/server.h"

/* What cancelling does to rows is tested on a real database: tests/db. */

static struct db one_job(enum job_state state)
{
	return (struct db){
		.job = { { .state = state, .attempt = 1 } },
		.job_count = 1,
	};
}

static int cancel(struct db *db, struct cancelled *ret)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct fault fault = { "" };

	return cancel_job(db, server_id(0), "owner", arena, ret, &fault);
}

static void a_job_can_be_cancelled_until_it_has_ended(void **state)
{
	static const struct {
		const char *name;
		enum job_state in;
		bool asked_before;
		int r;
		enum job_state becomes;
		bool written;
		bool asks; /* the provider, who decides */
	} cases[] = {
		/* clang-format off */
		{ "it waits for others", JOB_WAITING, false, 0, JOB_CANCELLED, true, false },
		{ "nobody has started it", JOB_QUEUED, false, 0, JOB_CANCELLED, true, false },
		{ "failed before, and asked then", JOB_QUEUED, true, 0, JOB_CANCELLED, true, false },
		{ "its start is on the wire", JOB_STARTING, false, 0, JOB_STARTING, true, true },
		{ "its start is lost", JOB_START_UNKNOWN, false, 0, JOB_START_UNKNOWN, true, true },
		{ "it renders", JOB_PROCESSING, false, 0, JOB_PROCESSING, true, true },
		{ "on the wire, asked before", JOB_STARTING, true, 0, JOB_STARTING, false, false },
		{ "lost, asked before", JOB_START_UNKNOWN, true, 0, JOB_START_UNKNOWN, false, false },
		{ "it renders, asked before", JOB_PROCESSING, true, 0, JOB_PROCESSING, false, false },
		{ "its media is on the way", JOB_STORING, false, 0, JOB_CANCELLED, true, false },
		{ "rendered all the same", JOB_STORING, true, 0, JOB_CANCELLED, true, false },
		{ "cancelled", JOB_CANCELLED, false, 0, JOB_CANCELLED, false, false },
		{ "cancelled as asked", JOB_CANCELLED, true, 0, JOB_CANCELLED, false, false },
		{ "completed", JOB_COMPLETED, false, CANCEL_E_ENDED, JOB_COMPLETED, false, false },
		{ "completed all the same", JOB_COMPLETED, true, CANCEL_E_ENDED, JOB_COMPLETED, false, false },
		{ "failed", JOB_FAILED, false, CANCEL_E_ENDED, JOB_FAILED, false, false },
		{ "failed, asked before", JOB_FAILED, true, CANCEL_E_ENDED, JOB_FAILED, false, false },
		{ "skipped", JOB_SKIPPED, false, CANCEL_E_ENDED, JOB_SKIPPED, false, false },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = one_job(cases[i].in);
		struct cancelled cancelled;
		const char *name = cases[i].name;

		db.job[0].cancel_requested = cases[i].asked_before;
		CHECK_NUMBER(name, cancel(&db, &cancelled), cases[i].r);
		CHECK_NUMBER(name, cancelled.state, cases[i].becomes);
		CHECK_NUMBER(name, db.batches, cases[i].written);
		CHECK_NUMBER(name, cancelled.wake, cases[i].written);
		CHECK_NUMBER(name, db.job[0].state, cases[i].becomes);
		/* Who decides later is told so, and looks at it at once. */
		CHECK_NUMBER(name, server_member(&db, 0, "cancel") != NULL,
			     cases[i].asks);
		CHECK_NUMBER(name, server_member(&db, 0, "due_ms") != NULL,
			     cases[i].asks);
		if (cases[i].asks)
			CHECK_NUMBER(name,
				     json_integer_value(
					     server_member(&db, 0, "due_ms")),
				     0);
		server_done(&db);
	}
}

static void a_strangers_job_is_not_there(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct db db = one_job(JOB_QUEUED);
	struct cancelled cancelled;
	struct fault fault;

	(void)state;
	CHECK_NUMBER("a stranger",
		     cancel_job(&db, server_id(0), "stranger", arena,
				&cancelled, &fault),
		     CANCEL_E_NOT_FOUND);
	CHECK_NUMBER("a stranger's job",
		     cancel_job(&db, server_id(1), "owner", arena, &cancelled,
				&fault),
		     CANCEL_E_NOT_FOUND);
	CHECK_NUMBER("written", db.batches, 0);
}

/* ---- others are faster --------------------------------------------------- */

static void once_it_renders(struct db *db)
{
	if (db->batches == 1)
		db->job[0].state = JOB_PROCESSING;
}

static void once_it_is_rendered(struct db *db)
{
	if (db->batches == 1)
		db->job[0].state = JOB_STORING;
}

static void once_it_completes(struct db *db)
{
	if (db->batches == 1)
		db->job[0].state = JOB_COMPLETED;
}

static void again_and_again(struct db *db)
{
	db->job[0].state = db->batches % 2 ? JOB_STARTING : JOB_QUEUED;
}

static void what_happened_meanwhile_is_what_is_cancelled(void **state)
{
	static const struct {
		const char *name;
		enum job_state in;
		void (*faster)(struct db *db);
		int r;
		enum job_state becomes;
		size_t batches;
	} cases[] = {
		{ "it was started", JOB_QUEUED, once_it_renders, 0,
		  JOB_PROCESSING, 2 },
		{ "it was rendered", JOB_PROCESSING, once_it_is_rendered, 0,
		  JOB_CANCELLED, 2 },
		{ "it was stored", JOB_STORING, once_it_completes,
		  CANCEL_E_ENDED, JOB_COMPLETED, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = one_job(cases[i].in);
		struct cancelled cancelled;

		db.faster = cases[i].faster;
		CHECK_NUMBER(cases[i].name, cancel(&db, &cancelled),
			     cases[i].r);
		CHECK_NUMBER(cases[i].name, cancelled.state, cases[i].becomes);
		CHECK_NUMBER(cases[i].name, cancelled.wake, cases[i].r == 0);
		CHECK_NUMBER(cases[i].name, db.batches, cases[i].batches);
		server_done(&db);
	}
}

static void who_loses_every_race_says_so(void **state)
{
	struct db db = one_job(JOB_QUEUED);
	struct cancelled cancelled;

	(void)state;
	db.faster = again_and_again;
	CHECK_NUMBER("cancel", cancel(&db, &cancelled), -EAGAIN);
	CHECK("tried for a while", db.batches > 1 && db.batches < 100);
	server_done(&db);
}

static void a_server_that_is_away_fails_it(void **state)
{
	static const struct {
		const char *name;
		enum db_query failing;
		int with, times, r;
	} cases[] = {
		{ "before, for a moment", DB_job_brief, -EAGAIN, 1, 0 },
		{ "before, for long", DB_job_brief, -EAGAIN, 9, -EAGAIN },
		/* it may have been written */
		{ "at it", DB_job_move_on, -EAGAIN, 1, -EAGAIN },
		{ "of another schema", DB_job_move_on, -EPROTO, 1, -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = one_job(JOB_PROCESSING);
		struct cancelled cancelled;

		db.connected = true;
		db.failing = cases[i].failing;
		db.fails_with = cases[i].with;
		db.fails = cases[i].times;
		db.lost = true;
		CHECK_NUMBER(cases[i].name, cancel(&db, &cancelled),
			     cases[i].r);
		server_done(&db);
	}
}

/* ---- a whole execution --------------------------------------------------- */

/* a -> b -> c, and d that waits for nobody. */
static struct db four_jobs(void)
{
	return (struct db){
		.job = {
			{ .state = JOB_QUEUED },
			{ .state = JOB_WAITING },
			{ .state = JOB_WAITING },
			{ .state = JOB_PROCESSING },
		},
		.job_count = 4,
		.edge = { { 0, 1 }, { 1, 2 } },
		.edge_count = 2,
	};
}

static int cancel_all(struct db *db, bool *ret_wake)
{
	struct fault fault;

	return cancel_execution(db, SERVER_EXECUTION, ret_wake, &fault);
}

/* Where the batch has a job's move; the number of moves if it has none. */
static size_t place_of(const struct db *db, size_t job)
{
	size_t i = 0, count = json_array_size(db->moves);

	while (i < count && server_place(json_string_value(
				    server_member(db, i, "id"))) != job)
		i++;
	return i;
}

static void no_child_sees_its_parent_end(void **state)
{
	static const struct {
		const char *name;
		struct graph_edge edge[2];
	} cases[] = {
		{ "in the order of the jobs", { { 0, 1 }, { 1, 2 } } },
		{ "edges the other way round", { { 1, 2 }, { 0, 1 } } },
		{ "jobs the other way round", { { 2, 1 }, { 1, 0 } } },
		{ "two parents", { { 2, 1 }, { 0, 1 } } },
		{ "two children", { { 1, 0 }, { 1, 2 } } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = four_jobs();
		bool wake = false;

		memcpy(db.edge, cases[i].edge, sizeof(cases[i].edge));
		CHECK_NUMBER(cases[i].name, cancel_all(&db, &wake), 0);
		CHECK(cases[i].name, wake);
		CHECK_NUMBER(cases[i].name, db.batches, 1);
		CHECK_NUMBER(cases[i].name, json_array_size(db.moves), 4);
		for (size_t k = 0; k < 2; k++)
			CHECK(cases[i].name,
			      place_of(&db, cases[i].edge[k].child) <
				      place_of(&db, cases[i].edge[k].parent));
		for (size_t k = 0; k < 3; k++)
			CHECK_NUMBER(cases[i].name, db.job[k].state,
				     JOB_CANCELLED);
		CHECK_NUMBER(cases[i].name, db.job[3].state, JOB_PROCESSING);
		CHECK(cases[i].name, db.job[3].cancel_requested);
		server_done(&db);
	}
}

static void what_has_ended_or_was_asked_is_left_alone(void **state)
{
	static const struct {
		const char *name;
		struct server_job job; /* d */
		size_t written;
	} cases[] = {
		{ "completed", { .state = JOB_COMPLETED }, 3 },
		{ "failed", { .state = JOB_FAILED }, 3 },
		{ "cancelled", { .state = JOB_CANCELLED }, 3 },
		{ "skipped", { .state = JOB_SKIPPED }, 3 },
		{ "being cancelled",
		  { .state = JOB_PROCESSING, .cancel_requested = true },
		  3 },
		{ "its start is lost",
		  { .state = JOB_START_UNKNOWN, .cancel_requested = true },
		  3 },
		{ "rendered all the same",
		  { .state = JOB_STORING, .cancel_requested = true },
		  4 },
		{ "it renders", { .state = JOB_PROCESSING }, 4 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct db db = four_jobs();
		bool wake = false;

		db.job[3] = cases[i].job;
		CHECK_NUMBER(cases[i].name, cancel_all(&db, &wake), 0);
		CHECK_NUMBER(cases[i].name, json_array_size(db.moves),
			     cases[i].written);
		server_done(&db);
	}
}

static void where_nothing_is_left_nobody_is_woken(void **state)
{
	struct db db = four_jobs();
	bool wake = true;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		db.job[i].state = JOB_COMPLETED;
	CHECK_NUMBER("ended", cancel_all(&db, &wake), 0);
	CHECK("nobody is woken", !wake);
	db.job_count = db.edge_count = 0;
	wake = true;
	CHECK_NUMBER("no such execution", cancel_all(&db, &wake), 0);
	CHECK("nobody is woken", !wake);
	CHECK_NUMBER("written", db.batches, 0);
}

/* d is rendered at that moment: it gets a round of its own. */
static void d_is_rendered(struct db *db)
{
	if (db->batches == 1)
		db->job[3].state = JOB_STORING;
}

static void d_never_stands_still(struct db *db)
{
	db->job[3].state = db->batches % 2 ? JOB_STORING : JOB_PROCESSING;
	db->job[3].cancel_requested = false;
}

static void who_was_faster_is_cancelled_in_the_next_round(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct db db = four_jobs();
	bool wake = false;

	(void)state;
	db.faster = d_is_rendered;
	CHECK_NUMBER("cancel", cancel_all(&db, &wake), 0);
	CHECK_NUMBER("rounds", db.batches, 2);
	CHECK_TEXT("the last", server_moves(&db, arena), "d:cancel");
	for (size_t i = 0; i < 4; i++)
		CHECK_NUMBER("all", db.job[i].state, JOB_CANCELLED);
	server_done(&db);

	db = four_jobs();
	db.faster = d_never_stands_still;
	CHECK_NUMBER("for ever", cancel_all(&db, &wake), -EAGAIN);
	CHECK("what was cancelled is seen to", wake);
	server_done(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_can_be_cancelled_until_it_has_ended),
		cmocka_unit_test(a_strangers_job_is_not_there),
		cmocka_unit_test(what_happened_meanwhile_is_what_is_cancelled),
		cmocka_unit_test(who_loses_every_race_says_so),
		cmocka_unit_test(a_server_that_is_away_fails_it),
		cmocka_unit_test(no_child_sees_its_parent_end),
		cmocka_unit_test(what_has_ended_or_was_asked_is_left_alone),
		cmocka_unit_test(where_nothing_is_left_nobody_is_woken),
		cmocka_unit_test(who_was_faster_is_cancelled_in_the_next_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
