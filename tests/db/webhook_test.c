/* SPDX-License-Identifier: MIT */
#include "common/flow/webhook.h"

#include "tests/db/fixture.h"

#include <stdlib.h>

/* What webhooks do to jobs, and what they do not. */

static struct db *db;
static struct arena *arena;
static struct conf conf = {
	.start_retries = 3,
	.provider = { { .name = "replicate" },
		      { .name = "fal" },
		      { .name = "vertex" } },
};

static int start(void **state)
{
	(void)state;
	db = fixture_open();
	arena = arena_new(64 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	db = db_close(db);
	arena = arena_free(arena);
	return 0;
}

static struct webhook_item genuine(const char *job_id, int32_t attempt,
				   enum job_event kind, const char *key)
{
	struct webhook_item item = {
		.job_id = job_id,
		.ops = &replicate_provider,
		.attempt = attempt,
		.delivery_key = key,
		.event = {
			.kind = kind,
			.progress = -1,
		},
	};

	if (kind == JOB_RENDERED) {
		item.event.output = "{\"v\": 1}";
		item.event.media[0].url = "https://example.com/a.mp4";
		item.event.media_count = 1;
	}
	return item;
}

static void commit(struct webhook_item *item)
{
	webhook_commit(&conf, db, &item, 1, arena);
}

static void check_status(const char *id, const char *want)
{
	char *status = fixture_text(
		"SELECT status FROM execution_jobs WHERE id = '%s'", id);

	CHECK_TEXT(id, status, want);
	free(status);
}

static int64_t version(const char *id)
{
	return fixture_number(
		"SELECT version FROM execution_jobs WHERE id = '%s'", id);
}

static int64_t inbox(const char *id)
{
	return fixture_number(
		"SELECT count(*) FROM webhook_inbox WHERE job_id = '%s'", id);
}

/* A job at Replicate, in this state. */
static const char *job_in(enum job_state state)
{
	struct pipeline *one = arena_alloc(arena, sizeof(*one));

	assert_non_null(one);
	fixture_submit(db, "replicate", "fail",
		       &(const struct shape){ 1, NULL, 0 }, one);
	fixture_bring(db, one->job[0], "replicate", state);
	return one->job[0];
}

static void a_result_is_taken_once(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	struct webhook_item item = genuine(id, 1, JOB_RENDERED, "d1");
	int64_t before;

	(void)state;
	commit(&item);
	CHECK_NUMBER("first", item.outcome, WEBHOOK_TAKEN);
	CHECK("wakes", item.wake);
	check_status(id, "storing");
	before = version(id);
	commit(&item);
	CHECK_NUMBER("repeated", item.outcome, WEBHOOK_NO_EFFECT);
	CHECK("sleeps", !item.wake);
	CHECK_NUMBER("version", version(id), before);
	CHECK_NUMBER("inbox", inbox(id), 1);
	fixture_check_invariants();
}

/* How many different rows there are of these two jobs, but for what has to
 * differ. */
static int64_t kinds_of(const char *table, const char *key, const char *but,
			const char *const ids[2])
{
	return fixture_number("SELECT count(DISTINCT to_jsonb(row) - "
			      "'{%s,provider_job_id,%s}'::text[]) FROM %s AS "
			      "row WHERE %s IN ('%s', '%s')",
			      key, but, table, key, ids[0], ids[1]);
}

/* There is a statement of its own for results, and job_move for all: both
 * write the same. */
static void a_result_is_written_as_any_move(void **state)
{
	const char *ids[2];

	(void)state;
	fixture_sql("INSERT INTO providers (name, max_concurrent) VALUES "
		    "('replicate', 1000) ON CONFLICT (name) DO UPDATE SET "
		    "max_concurrent = 1000");
	for (size_t i = 0; i < COUNT_OF(ids); i++)
		ids[i] = job_in(JOB_PROCESSING);
	/* Whatever a move may reset or keep. */
	fixture_sql("UPDATE execution_jobs SET version = 7, claim = 5, "
		    "lease_until = now() + interval '1 hour', next_poll_at = "
		    "now() + interval '1 hour', deadline_at = now() + interval "
		    "'2 hours', created_at = now(), started_at = now(), "
		    "poll_attempts = 3, start_failures = 2, falters = 1, "
		    "store_failures = 1, cancel_requested_at = now(), "
		    "cancel_tried_at = now(), unknown_since = now(), "
		    "restart_if_absent = true, provider_ref = '{\"a\": 1}', "
		    "progress = 0.5, output = '1', error_code = 'e', "
		    "error_message = 'm', billed = 'no' WHERE id IN "
		    "('%s', '%s')",
		    ids[0], ids[1]);
	CHECK_NUMBER("slots held",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "holds_slot AND id IN ('%s', '%s')",
				    ids[0], ids[1]),
		     2);
	for (size_t i = 0; i < COUNT_OF(ids); i++) {
		/* Without a token's attempt it is looked at, and moved. */
		struct webhook_item item =
			genuine(ids[i], (int32_t)i, JOB_RENDERED, "d1");
		char *known = fixture_text("SELECT provider_job_id FROM "
					   "execution_jobs WHERE id = '%s'",
					   ids[i]);

		item.event.provider_job_id = known;
		commit(&item);
		CHECK_NUMBER("outcome", item.outcome, WEBHOOK_TAKEN);
		CHECK("wakes", item.wake);
		check_status(ids[i], "storing");
		free(known);
	}
	CHECK_NUMBER("jobs",
		     kinds_of("execution_jobs", "id",
			      "execution_id,next_poll_at", ids),
		     1);
	CHECK_NUMBER("due",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "next_poll_at <= now() AND id IN "
				    "('%s', '%s')",
				    ids[0], ids[1]),
		     2);
	CHECK_NUMBER(
		"starts",
		kinds_of("job_starts", "job_id", "started_at,answered_at", ids),
		1);
	CHECK_NUMBER("inbox",
		     kinds_of("webhook_inbox", "job_id", "received_at", ids),
		     1);
	CHECK_NUMBER("events",
		     kinds_of("(SELECT * FROM job_events WHERE to_status = "
			      "'storing')",
			      "job_id", "id,at", ids),
		     1);
	fixture_check_invariants();
}

/* Of a job that does not render, the same webhook is decided after a look. */
static void a_result_may_come_in_any_state(void **state)
{
	static const struct {
		enum job_state state;
		const char *then;
		enum webhook_outcome outcome;
	} cases[] = {
		{ JOB_STARTING, "storing", WEBHOOK_TAKEN },
		{ JOB_START_UNKNOWN, "storing", WEBHOOK_TAKEN },
		{ JOB_PROCESSING, "storing", WEBHOOK_TAKEN },
		{ JOB_STORING, "storing", WEBHOOK_NO_EFFECT },
		{ JOB_CANCELLED, "cancelled", WEBHOOK_NO_EFFECT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *name = job_state_name(cases[i].state);
		const char *id = job_in(cases[i].state);
		struct webhook_item item = genuine(id, 1, JOB_RENDERED, "d1");
		char *known = fixture_text("SELECT coalesce(provider_job_id, "
					   "'id-%s') FROM job_starts WHERE "
					   "job_id = '%s'",
					   id, id);

		item.event.provider_job_id = known;
		commit(&item);
		CHECK_NUMBER(name, item.outcome, cases[i].outcome);
		check_status(id, cases[i].then);
		CHECK_NUMBER(name, inbox(id), 1);
		free(known);
	}
	fixture_check_invariants();
}

/* A delivery counts once, also where its job is running again. */
static void a_known_delivery_is_not_taken_for_a_result(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	struct webhook_item item = genuine(id, 1, JOB_RENDERED, "d1");
	char *known = fixture_text("SELECT provider_job_id FROM execution_jobs "
				   "WHERE id = '%s'",
				   id);

	(void)state;
	item.event.provider_job_id = known;
	fixture_sql("INSERT INTO webhook_inbox (job_id, delivery_key, attempt, "
		    "event) VALUES ('%s', 'd1', 1, 'rendered')",
		    id);
	commit(&item);
	CHECK_NUMBER("repeated", item.outcome, WEBHOOK_NO_EFFECT);
	check_status(id, "processing");
	free(known);
	fixture_check_invariants();
}

static void that_it_runs_is_no_news(void **state)
{
	static const enum job_state states[] = { JOB_PROCESSING, JOB_STORING,
						 JOB_COMPLETED, JOB_FAILED };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const char *name = job_state_name(states[i]);
		const char *id = job_in(states[i]);
		struct webhook_item item = genuine(id, 1, JOB_PROGRESS, "d1");
		int64_t before = version(id);

		item.event.provider_job_id =
			fixture_text("SELECT provider_job_id FROM job_starts "
				     "WHERE job_id = '%s'",
				     id);
		commit(&item);
		CHECK_NUMBER(name, item.outcome,
			     states[i] == JOB_PROCESSING ? WEBHOOK_TAKEN
							 : WEBHOOK_NO_EFFECT);
		CHECK(name, !item.wake);
		CHECK_NUMBER(name, version(id), before);
		CHECK_NUMBER(name, inbox(id), 0);

		/* How far it is, is. */
		item.event.progress = 0.5;
		commit(&item);
		CHECK_NUMBER(name, inbox(id), 1);
		free((void *)(uintptr_t)item.event.provider_job_id);
	}
	fixture_check_invariants();
}

static void a_webhook_may_be_faster_than_the_starts_answer(void **state)
{
	static const enum job_state states[] = { JOB_STARTING,
						 JOB_START_UNKNOWN };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const char *name = job_state_name(states[i]);
		const char *id = job_in(states[i]);
		struct webhook_item item = genuine(id, 1, JOB_PROGRESS, "d1");

		item.event.provider_job_id =
			arena_printf(arena, "early-%s", name);
		commit(&item);
		CHECK_NUMBER(name, item.outcome, WEBHOOK_TAKEN);
		check_status(id, "processing");
		CHECK_NUMBER(name,
			     fixture_number("SELECT count(*) FROM job_starts "
					    "WHERE job_id = '%s' AND "
					    "provider_job_id = '%s' AND outcome"
					    " = 'accepted'",
					    id, item.event.provider_job_id),
			     1);
	}
	fixture_check_invariants();
}

/* Its poller did not know of the cancel, and need not wait for its next look
 * to hear of it. */
static void a_start_that_is_to_be_cancelled_is_due_when_it_reports(void **state)
{
	static const enum job_state states[] = { JOB_STARTING,
						 JOB_START_UNKNOWN };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const char *name = job_state_name(states[i]);
		const char *id = job_in(states[i]);
		struct webhook_item item = genuine(id, 1, JOB_PROGRESS, "d1");
		struct move move =
			fixture_move(id, states[i], JOB_CANCEL, MOVE_ANY);

		move.cancel = true;
		CHECK_NUMBER(name, fixture_apply(db, &move), MOVE_DONE);
		item.event.provider_job_id =
			arena_printf(arena, "to-cancel-%s", name);
		commit(&item);
		check_status(id, "processing");
		CHECK_NUMBER(name,
			     fixture_number("SELECT count(*) FROM "
					    "execution_jobs WHERE id = '%s' "
					    "AND next_poll_at <= now()",
					    id),
			     1);
	}
	fixture_check_invariants();
}

/* As after a retry that looks for the last start. */
static const char *job_looked_for(const char *provider_job_id)
{
	const char *id = job_in(JOB_START_UNKNOWN);

	fixture_sql("UPDATE execution_jobs SET restart_if_absent = true WHERE "
		    "id = '%s'; UPDATE job_starts SET provider_job_id = '%s' "
		    "WHERE job_id = '%s'",
		    id, provider_job_id, id);
	return id;
}

static void a_retry_is_not_ended_by_what_was_started_before(void **state)
{
	const char *id = job_looked_for("old-1");
	struct webhook_item item = genuine(id, 1, JOB_PROVIDER_CANCELLED, "d1");

	(void)state;
	item.event.provider_job_id = "old-1";
	commit(&item);
	CHECK_NUMBER("taken", item.outcome, WEBHOOK_TAKEN);
	check_status(id, "queued");

	/* it ran, once; now it is over */
	item = genuine(id, 1, JOB_PROGRESS, "d2");
	item.event.provider_job_id = "old-1";
	commit(&item);
	CHECK_NUMBER("late", item.outcome, WEBHOOK_NO_EFFECT);
	CHECK_NUMBER("inbox", inbox(id), 2);
	check_status(id, "queued");

	/* a result is a result */
	item = genuine(id, 1, JOB_RENDERED, "d3");
	item.event.provider_job_id = "old-1";
	commit(&item);
	check_status(id, "storing");
	fixture_check_invariants();
}

/* Reports may overtake each other. */
static void late_progress_does_not_undo_a_failure(void **state)
{
	const char *id = job_in(JOB_STARTING);
	const char *run = arena_printf(arena, "run-%s", id);
	static const enum job_event order[] = {
		JOB_PROGRESS,			     /* the start is heard of */
		JOB_PROVIDER_FALTERED, JOB_PROGRESS, /* it took its time */
	};
	struct webhook_item item;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(order); i++) {
		item = genuine(id, 1, order[i], arena_printf(arena, "d%zu", i));
		item.event.provider_job_id = run;
		commit(&item);
		check_status(id, i == 0 ? "processing" : "queued");
	}
	CHECK_NUMBER("late", item.outcome, WEBHOOK_NO_EFFECT);
	CHECK_NUMBER("falters",
		     fixture_number("SELECT falters FROM execution_jobs WHERE "
				    "id = '%s'",
				    id),
		     1);
	fixture_check_invariants();
}

/* What was refused, as far as we knew, runs all the same: it is not paid for
 * twice. */
static void a_start_taken_for_lost_is_adopted_while_queued(void **state)
{
	const char *id = job_in(JOB_STARTING);
	struct move move =
		fixture_move(id, JOB_STARTING, JOB_NOT_STARTED, MOVE_ANY);
	struct webhook_item item = genuine(id, 1, JOB_PROGRESS, "d1");

	(void)state;
	move.attempt = 1;
	move.start_outcome = "not_started";
	CHECK_NUMBER("put off", fixture_apply(db, &move), MOVE_DONE);
	check_status(id, "queued");
	item.event.provider_job_id = "not-lost";
	commit(&item);
	CHECK_NUMBER("taken", item.outcome, WEBHOOK_TAKEN);
	check_status(id, "processing");
	fixture_check_invariants();
}

static void many_of_one_job_are_all_heard(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	struct webhook_item items[12], *list[12];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(items); i++) {
		items[i] = genuine(id, 1, i == 7 ? JOB_RENDERED : JOB_PROGRESS,
				   arena_printf(arena, "d%zu", i % 9));
		items[i].event.progress = (double)i / 20;
		list[i] = &items[i];
	}
	webhook_commit(&conf, db, list, COUNT_OF(items), arena);
	for (size_t i = 0; i < COUNT_OF(items); i++)
		CHECK("answered",
		      items[i].outcome == WEBHOOK_TAKEN ||
			      items[i].outcome == WEBHOOK_NO_EFFECT);
	CHECK_NUMBER("rendered", items[7].outcome, WEBHOOK_TAKEN);
	check_status(id, "storing");
	/* three keys came twice */
	CHECK_NUMBER("inbox", inbox(id), 9);
	fixture_check_invariants();
}

static void after_the_end_nothing_changes(void **state)
{
	static const enum job_state states[] = { JOB_COMPLETED, JOB_FAILED,
						 JOB_CANCELLED };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const char *name = job_state_name(states[i]);
		const char *id = job_in(states[i]);
		struct webhook_item item = genuine(id, 1, JOB_RENDERED, "d1");
		int64_t before = version(id);

		commit(&item);
		CHECK_NUMBER(name, item.outcome, WEBHOOK_NO_EFFECT);
		check_status(id, name);
		CHECK_NUMBER(name, version(id), before);
		CHECK_NUMBER(name, inbox(id), 1);
	}
	fixture_check_invariants();
}

static void a_start_that_was_overtaken_is_a_stray(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	struct webhook_item item;
	int64_t before;

	(void)state;
	fixture_sql("UPDATE execution_jobs SET attempt = 2, provider_job_id = "
		    "'new' WHERE id = '%s'; INSERT INTO job_starts (job_id, "
		    "attempt, provider, provider_job_id) VALUES ('%s', 2, "
		    "'replicate', 'new-%s'); UPDATE job_starts SET "
		    "provider_job_id = NULL WHERE job_id = '%s' AND attempt = "
		    "1",
		    id, id, id, id);
	before = version(id);
	item = genuine(id, 1, JOB_RENDERED, "d1");
	item.event.provider_job_id = arena_printf(arena, "old-%s", id);
	commit(&item);
	CHECK_NUMBER("outcome", item.outcome, WEBHOOK_NO_EFFECT);
	CHECK("wakes", item.wake);
	check_status(id, "processing");
	CHECK_NUMBER("version", version(id), before);
	CHECK_NUMBER("id is kept, and to be cancelled",
		     fixture_number("SELECT count(*) FROM job_starts WHERE "
				    "job_id = '%s' AND attempt = 1 AND "
				    "provider_job_id = 'old-%s' AND cancel_at "
				    "<= now()",
				    id, id),
		     1);
	CHECK_NUMBER("the new one is not",
		     fixture_number("SELECT count(*) FROM job_starts WHERE "
				    "job_id = '%s' AND attempt = 2 AND "
				    "cancel_at IS NULL",
				    id),
		     1);

	/* one that failed is nobody's loss */
	item = genuine(id, 1, JOB_PROVIDER_FAILED, "d2");
	commit(&item);
	CHECK("sleeps", !item.wake);
	CHECK_NUMBER("inbox", inbox(id), 2);
}

static void a_body_about_another_start_is_not_believed(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	struct webhook_item item = genuine(id, 1, JOB_PROVIDER_FAILED, "d1");

	(void)state;
	item.event.provider_job_id = "somebody-elses";
	commit(&item);
	CHECK_NUMBER("with token", item.outcome, WEBHOOK_NO_EFFECT);
	check_status(id, "processing");
	item.attempt = 0;
	commit(&item);
	CHECK_NUMBER("without", item.outcome, WEBHOOK_WRONG_JOB);
	item.event.provider_job_id = NULL;
	commit(&item);
	CHECK_NUMBER("nameless", item.outcome, WEBHOOK_WRONG_JOB);
	CHECK_NUMBER("inbox", inbox(id), 0);

	item.event.provider_job_id = fixture_text(
		"SELECT provider_job_id FROM job_starts WHERE job_id = '%s'",
		id);
	commit(&item);
	CHECK_NUMBER("its own", item.outcome, WEBHOOK_TAKEN);
	check_status(id, "failed");
	free((void *)(uintptr_t)item.event.provider_job_id);
	fixture_check_invariants();
}

static void a_hint_makes_due_and_nothing_else(void **state)
{
	const char *id = job_in(JOB_PROCESSING);
	const char *done = job_in(JOB_COMPLETED);
	struct webhook_item item = { .job_id = id,
				     .ops = &replicate_provider,
				     .attempt = 1,
				     .hint = true };
	int64_t before = version(id);

	(void)state;
	fixture_sql("UPDATE execution_jobs SET next_poll_at = now() + interval "
		    "'1 hour', lease_until = NULL WHERE id = '%s'",
		    id);
	commit(&item);
	CHECK_NUMBER("outcome", item.outcome, WEBHOOK_TAKEN);
	CHECK("wakes", item.wake);
	CHECK_NUMBER("due",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND next_poll_at <= now()",
				    id),
		     1);
	CHECK_NUMBER("version", version(id), before);
	CHECK_NUMBER("inbox", inbox(id), 0);

	item.job_id = done;
	commit(&item);
	CHECK_NUMBER("ended", item.outcome, WEBHOOK_NO_EFFECT);
	CHECK("sleeps", !item.wake);

	/* a lease in hand is somebody looking already */
	fixture_sql("UPDATE execution_jobs SET next_poll_at = now() + interval "
		    "'1 hour', lease_until = now() + interval '1 hour' WHERE "
		    "id = '%s'",
		    id);
	item.job_id = id;
	commit(&item);
	CHECK_NUMBER("leased",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND next_poll_at <= now()",
				    id),
		     0);
}

static void nobody_knows_the_job(void **state)
{
	struct webhook_item item = genuine(
		"01890000-0000-7000-8000-00000000dead", 1, JOB_PROGRESS, "d1");
	const char *id = job_in(JOB_PROCESSING);

	(void)state;
	commit(&item);
	CHECK_NUMBER("unknown", item.outcome, WEBHOOK_JOB_UNKNOWN);
	item = genuine(id, 1, JOB_PROVIDER_FAILED, "d1");
	item.ops = &fal_provider;
	commit(&item);
	CHECK_NUMBER("another provider's", item.outcome, WEBHOOK_JOB_UNKNOWN);
	check_status(id, "processing");
	item = genuine(id, 7, JOB_PROVIDER_FAILED, "d1");
	commit(&item);
	CHECK_NUMBER("an attempt that never was", item.outcome,
		     WEBHOOK_NO_EFFECT);
	check_status(id, "processing");
}

static void what_postgresql_refuses_is_a_hint(void **state)
{
	const char *id = job_in(JOB_START_UNKNOWN);
	struct webhook_item bad = genuine(id, 1, JOB_PROGRESS, "d1");
	const char *other = job_in(JOB_PROCESSING);
	struct webhook_item good = genuine(other, 1, JOB_RENDERED, "d1");
	struct webhook_item *list[] = { &bad, &good };

	(void)state;
	/* a provider's id belongs to one start only */
	bad.event.provider_job_id = other;
	fixture_sql("UPDATE execution_jobs SET lease_until = NULL, "
		    "next_poll_at = now() + interval '1 hour' WHERE id = '%s'",
		    id);
	webhook_commit(&conf, db, list, COUNT_OF(list), arena);
	CHECK_NUMBER("bad", bad.outcome, WEBHOOK_TAKEN);
	check_status(id, "start_unknown");
	CHECK_NUMBER("due",
		     fixture_number("SELECT count(*) FROM execution_jobs WHERE "
				    "id = '%s' AND next_poll_at <= now()",
				    id),
		     1);
	CHECK_NUMBER("good", good.outcome, WEBHOOK_TAKEN);
	check_status(other, "storing");
	fixture_check_invariants();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_result_is_taken_once),
		cmocka_unit_test(a_result_is_written_as_any_move),
		cmocka_unit_test(a_result_may_come_in_any_state),
		cmocka_unit_test(a_known_delivery_is_not_taken_for_a_result),
		cmocka_unit_test(that_it_runs_is_no_news),
		cmocka_unit_test(
			a_webhook_may_be_faster_than_the_starts_answer),
		cmocka_unit_test(
			a_start_that_is_to_be_cancelled_is_due_when_it_reports),
		cmocka_unit_test(
			a_retry_is_not_ended_by_what_was_started_before),
		cmocka_unit_test(late_progress_does_not_undo_a_failure),
		cmocka_unit_test(
			a_start_taken_for_lost_is_adopted_while_queued),
		cmocka_unit_test(many_of_one_job_are_all_heard),
		cmocka_unit_test(after_the_end_nothing_changes),
		cmocka_unit_test(a_start_that_was_overtaken_is_a_stray),
		cmocka_unit_test(a_body_about_another_start_is_not_believed),
		cmocka_unit_test(a_hint_makes_due_and_nothing_else),
		cmocka_unit_test(nobody_knows_the_job),
		cmocka_unit_test(what_postgresql_refuses_is_a_hint),
	};

	return cmocka_run_group_tests(tests, start, end);
}
