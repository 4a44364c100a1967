/* SPDX-License-Identifier: MIT */
#include "common/flow/webhook_decide.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

#include <errno.h>

static const struct provider_ops ops = {
	.name = "acme",
	.poll_first_ms = 1000,
	.poll_most_ms = 10000,
};

static const struct conf conf = {
	.provider = { { .name = "acme" },
		      { .name = "fal" },
		      { .name = "vertex" } },
	.start_retries = 3,
};

/* The job has been started twice: a token may be of either start, or forged
 * by whoever knows the key, of one that was never made. */
enum { NO_TOKEN = 0, OLDER = 1, NEWEST = 2, NEVER_MADE = 3 };

/* What else is so; of the webhook or of the job. */
enum {
	UNPROVEN = 1,	/* nobody can say whether it is genuine */
	LOOK = 2,	/* the event asks for another request of ours */
	REPEATED = 4,	/* the delivery is in the inbox */
	ACCEPTED = 8,	/* the provider had said that it took this start */
	HALF_DONE = 16, /* the event says how far it is */
	WITH_REF = 32,	/* and something that is to be kept */
	CANCELLING = 64,
};

struct line {
	const char *name;
	enum job_state state;
	int32_t token;
	const char *known; /* the provider's id of that start */
	const char *says;  /* the id in the body */
	enum job_event event;
	unsigned also;
	int want;
	enum webhook_outcome outcome; /* where nothing is written */
	enum job_state becomes;	      /* where it moves */
};

static struct webhook_target target_of(const struct line *line)
{
	return (struct webhook_target){
		.id = "01890000-0000-7000-8000-000000000001",
		.execution_id = "01890000-0000-7000-8000-000000000002",
		.provider = "acme",
		.known_id = line->known,
		.was_accepted = line->also & ACCEPTED,
		.state = line->state,
		.version = 12,
		.attempt = NEWEST,
		.max_attempts = 3,
		.cancel_requested = line->also & CANCELLING,
		.repeated = line->also & REPEATED,
	};
}

static struct webhook_item item_of(const struct line *line)
{
	return (struct webhook_item){
		.job_id = "01890000-0000-7000-8000-000000000001",
		.ops = &ops,
		.attempt = line->token,
		.hint = line->also & UNPROVEN,
		.event = {
			.kind = line->event,
			.provider_job_id = line->says,
			.progress = line->also & HALF_DONE ? 0.5 : -1,
			.provider_ref = line->also & WITH_REF ? "{}" : NULL,
			.hint = line->also & LOOK,
		},
		.delivery_key = "delivery",
		.outcome = WEBHOOK_AWAY,
		.wake = true,
	};
}

static int decide(const struct line *line, struct arena *arena,
		  struct webhook_item *ret_item, struct move *ret_move)
{
	struct webhook_target target = target_of(line);
	struct fault fault = { "" };

	*ret_item = item_of(line);
	return webhook_decide(&conf, &target, ret_item, arena, ret_move,
			      &fault);
}

static void check_lines(const struct line *lines, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		const struct line *line = &lines[i];
		struct webhook_item item;
		struct move move = { .becomes = JOB_STATE_NONE };

		CHECK_NUMBER(line->name, decide(line, arena, &item, &move),
			     line->want);
		CHECK_NUMBER(line->name, move.becomes, line->becomes);
		if (line->want == DECIDED_OUTCOME)
			CHECK_NUMBER(line->name, item.outcome, line->outcome);
		/* The poller has to do with what changes its state. */
		CHECK_NUMBER(line->name, item.wake,
			     line->want == DECIDED_MOVE &&
				     line->becomes != line->state);
	}
}

/* clang-format off */
#define NOTHING DECIDED_OUTCOME, WEBHOOK_NO_EFFECT, JOB_STATE_NONE
#define KNOWN DECIDED_OUTCOME, WEBHOOK_TAKEN, JOB_STATE_NONE
#define WRONG DECIDED_OUTCOME, WEBHOOK_WRONG_JOB, JOB_STATE_NONE
#define NOTED DECIDED_NOTE, WEBHOOK_NO_EFFECT, JOB_STATE_NONE
#define LOOKED DECIDED_POKE, WEBHOOK_NO_EFFECT, JOB_STATE_NONE
#define TO(state) DECIDED_MOVE, WEBHOOK_NO_EFFECT, state

static void it_counts_for_the_start_it_names_and_no_other(void **state)
{
	static const struct line lines[] = {
		{ "by token and by id", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "by token alone", JOB_PROCESSING, NEWEST, "p", NULL, JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "by token, and brings the id", JOB_PROCESSING, NEWEST, NULL, "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "by token, and the id is another's", JOB_PROCESSING, NEWEST, "p", "q", JOB_RENDERED, 0, NOTHING },
		{ "by id alone", JOB_PROCESSING, NO_TOKEN, "p", "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "without token, and the id is another's", JOB_PROCESSING, NO_TOKEN, "p", "q", JOB_RENDERED, 0, WRONG },
		{ "without token, and the id is the start of another", JOB_PROCESSING, NO_TOKEN, "pp", "p", JOB_RENDERED, 0, WRONG },
		{ "without token, and names nothing", JOB_PROCESSING, NO_TOKEN, "p", NULL, JOB_RENDERED, 0, WRONG },
		{ "without token, and no id is known", JOB_START_UNKNOWN, NO_TOKEN, NULL, "p", JOB_RENDERED, 0, WRONG },
		{ "unproven without token", JOB_PROCESSING, NO_TOKEN, "p", "p", JOB_RENDERED, UNPROVEN, WRONG },
		{ "without token, again, and the id is another's", JOB_PROCESSING, NO_TOKEN, "p", "q", JOB_RENDERED, REPEATED, WRONG },
	};

	(void)state;
	check_lines(lines, COUNT_OF(lines));
}

static void an_older_start_is_remembered_and_moves_nothing(void **state)
{
	static const struct line lines[] = {
		{ "its result", JOB_PROCESSING, OLDER, "old", "old", JOB_RENDERED, 0, NOTED },
		{ "its result while the newest is lost", JOB_START_UNKNOWN, OLDER, "old", "old", JOB_RENDERED, 0, NOTED },
		{ "its result after the end", JOB_COMPLETED, OLDER, "old", "old", JOB_RENDERED, 0, NOTED },
		{ "its failure", JOB_PROCESSING, OLDER, "old", "old", JOB_PROVIDER_FAILED, 0, NOTED },
		{ "that it runs", JOB_PROCESSING, OLDER, "old", "old", JOB_PROGRESS, 0, NOTED },
		{ "that it is to be looked at", JOB_PROCESSING, OLDER, "old", "old", JOB_RESULT_READY, 0, NOTED },
		{ "under the name of the newest", JOB_PROCESSING, OLDER, "old", "new", JOB_RENDERED, 0, NOTHING },
		{ "unproven", JOB_PROCESSING, OLDER, "old", "old", JOB_RENDERED, UNPROVEN, NOTHING },
		{ "again", JOB_PROCESSING, OLDER, "old", "old", JOB_RENDERED, REPEATED, NOTHING },
		{ "of a start that was never made", JOB_PROCESSING, NEVER_MADE, NULL, "p", JOB_RENDERED, 0, NOTHING },
		{ "unproven, never made", JOB_PROCESSING, NEVER_MADE, NULL, "p", JOB_RENDERED, UNPROVEN, NOTHING },
	};

	(void)state;
	check_lines(lines, COUNT_OF(lines));
}

static void a_hint_lets_look_at_what_may_render_and_says_nothing(void **state)
{
	static const struct line lines[] = {
		{ "unproven result", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, UNPROVEN, LOOKED },
		{ "unproven failure", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROVIDER_FAILED, UNPROVEN, LOOKED },
		{ "unproven, of a lost start", JOB_START_UNKNOWN, NEWEST, NULL, "p", JOB_RENDERED, UNPROVEN, LOOKED },
		{ "unproven, and names another", JOB_PROCESSING, NEWEST, "p", "q", JOB_RENDERED, UNPROVEN, LOOKED },
		{ "unproven, queued", JOB_QUEUED, NEWEST, "p", "p", JOB_RENDERED, UNPROVEN, NOTHING },
		{ "unproven, on the wire", JOB_STARTING, NEWEST, NULL, "p", JOB_RENDERED, UNPROVEN, NOTHING },
		{ "unproven, rendered", JOB_STORING, NEWEST, "p", "p", JOB_PROVIDER_FAILED, UNPROVEN, NOTHING },
		{ "unproven, ended", JOB_CANCELLED, NEWEST, "p", "p", JOB_RENDERED, UNPROVEN, NOTHING },
		{ "unproven, again", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, UNPROVEN | REPEATED, NOTHING },
		{ "genuine, but not to be trusted", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROGRESS, LOOK, LOOKED },
		{ "genuine, and its result is elsewhere", JOB_PROCESSING, NEWEST, "p", "p", JOB_RESULT_READY, 0, LOOKED },
		{ "genuine, and says nothing", JOB_PROCESSING, NEWEST, "p", "p", JOB_NO_ANSWER, 0, LOOKED },
		{ "genuine, elsewhere, by id alone", JOB_PROCESSING, NO_TOKEN, "p", "p", JOB_RESULT_READY, 0, LOOKED },
		{ "genuine, elsewhere, ended", JOB_FAILED, NEWEST, "p", "p", JOB_RESULT_READY, 0, NOTHING },
	};

	(void)state;
	check_lines(lines, COUNT_OF(lines));
}

static void a_result_is_taken_wherever_the_job_waits_for_one(void **state)
{
	static const struct line lines[] = {
		{ "before the start's answer", JOB_STARTING, NEWEST, NULL, "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "the start's answer was lost", JOB_START_UNKNOWN, NEWEST, NULL, "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "taken for not started", JOB_QUEUED, NEWEST, NULL, "p", JOB_RENDERED, 0, TO(JOB_STORING) },
		{ "accepted, and queued again", JOB_QUEUED, NEWEST, "p", "p", JOB_RENDERED, ACCEPTED, TO(JOB_STORING) },
		{ "cancelling", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, CANCELLING, TO(JOB_STORING) },
		{ "a failure", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROVIDER_FAILED, 0, TO(JOB_FAILED) },
		{ "a failure in passing", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROVIDER_FALTERED, 0, TO(JOB_QUEUED) },
		{ "a failure in passing, cancelling", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROVIDER_FALTERED, CANCELLING, TO(JOB_CANCELLED) },
		{ "cancelled there", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROVIDER_CANCELLED, 0, TO(JOB_CANCELLED) },
		{ "again", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, REPEATED, NOTHING },
		{ "rendered already", JOB_STORING, NEWEST, "p", "p", JOB_RENDERED, 0, NOTED },
		{ "completed already", JOB_COMPLETED, NEWEST, "p", "p", JOB_RENDERED, 0, NOTED },
		{ "given up", JOB_FAILED, NEWEST, "p", "p", JOB_RENDERED, 0, NOTED },
		{ "cancelled", JOB_CANCELLED, NEWEST, "p", "p", JOB_RENDERED, 0, NOTED },
		{ "a failure of what was rendered", JOB_STORING, NEWEST, "p", "p", JOB_PROVIDER_FAILED, 0, NOTED },
	};

	(void)state;
	check_lines(lines, COUNT_OF(lines));
}

static void that_it_runs_is_written_only_where_it_is_news(void **state)
{
	static const struct line lines[] = {
		{ "known", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROGRESS, 0, KNOWN },
		{ "known, without token", JOB_PROCESSING, NO_TOKEN, "p", "p", JOB_PROGRESS, 0, KNOWN },
		{ "known to be accepted", JOB_PROCESSING, NEWEST, "p", "p", JOB_ACCEPTED, 0, KNOWN },
		{ "rendered", JOB_STORING, NEWEST, "p", "p", JOB_PROGRESS, 0, NOTHING },
		{ "rendered, and half done", JOB_STORING, NEWEST, "p", "p", JOB_PROGRESS, HALF_DONE, NOTED },
		{ "ended", JOB_COMPLETED, NEWEST, "p", "p", JOB_PROGRESS, 0, NOTHING },
		{ "cancelled", JOB_CANCELLED, NEWEST, "p", "p", JOB_ACCEPTED, 0, NOTHING },
		{ "ended, and its id is news", JOB_FAILED, NEWEST, NULL, "p", JOB_PROGRESS, 0, NOTED },
		{ "how far it is", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROGRESS, HALF_DONE, TO(JOB_PROCESSING) },
		{ "something to keep", JOB_PROCESSING, NEWEST, "p", "p", JOB_PROGRESS, WITH_REF, TO(JOB_PROCESSING) },
		{ "its id", JOB_PROCESSING, NEWEST, NULL, "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "names nothing", JOB_PROCESSING, NEWEST, "p", NULL, JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "before the start's answer", JOB_STARTING, NEWEST, NULL, "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "the start's answer was lost", JOB_START_UNKNOWN, NEWEST, NULL, "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "looked for, and its id is known", JOB_START_UNKNOWN, NEWEST, "p", "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "taken for not started", JOB_QUEUED, NEWEST, NULL, "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) },
		{ "accepted, over, and queued again", JOB_QUEUED, NEWEST, "p", "p", JOB_PROGRESS, ACCEPTED, NOTED },
		{ "was only accepted, queued", JOB_QUEUED, NEWEST, NULL, "p", JOB_ACCEPTED, 0, NOTED },
	};

	(void)state;
	check_lines(lines, COUNT_OF(lines));
}

/* clang-format on */

static void the_move_says_what_it_is_about(void **state)
{
	static const struct line line = {
		.name = "result",
		.state = JOB_PROCESSING,
		.token = NO_TOKEN,
		.known = "p",
		.says = "p",
		.event = JOB_RENDERED,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct webhook_item item;
	struct move move;

	(void)state;
	CHECK_NUMBER("want", decide(&line, arena, &item, &move), DECIDED_MOVE);
	CHECK_TEXT("id", move.id, item.job_id);
	CHECK_TEXT("execution", move.execution_id,
		   "01890000-0000-7000-8000-000000000002");
	CHECK_TEXT("delivery", move.delivery_key, "delivery");
	CHECK_TEXT("via", move.via, "webhook");
	/* whoever holds the row is not asked; that it is as read, is */
	CHECK_NUMBER("claim", move.claim, MOVE_ANY);
	CHECK_NUMBER("version", move.version, 12);
	/* of a token or not, it is the newest start's */
	CHECK_NUMBER("attempt", move.attempt, NEWEST);
}

/* A paid id is never dropped; one that is there need not be written again. */
static void an_id_is_written_unless_the_row_has_it(void **state)
{
	static const struct {
		struct line line;
		const char *id;
	} cases[] = {
		/* clang-format off */
		{ { "it renders, as is known", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, 0, TO(JOB_STORING) }, NULL },
		{ { "and there is more to keep", JOB_PROCESSING, NEWEST, "p", "p", JOB_RENDERED, WITH_REF, TO(JOB_STORING) }, "p" },
		{ { "it renders, under no name yet", JOB_PROCESSING, NEWEST, NULL, "p", JOB_RENDERED, 0, TO(JOB_STORING) }, "p" },
		{ { "its start is on the wire", JOB_STARTING, NEWEST, NULL, "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) }, "p" },
		{ { "its start is looked for", JOB_START_UNKNOWN, NEWEST, "p", "p", JOB_PROGRESS, 0, TO(JOB_PROCESSING) }, "p" },
		{ { "it waits to be started again", JOB_QUEUED, NEWEST, "p", "p", JOB_RENDERED, 0, TO(JOB_STORING) }, "p" },
		/* clang-format on */
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct line *line = &cases[i].line;
		struct webhook_item item;
		struct move move;

		CHECK_NUMBER(line->name, decide(line, arena, &item, &move),
			     DECIDED_MOVE);
		CHECK_NUMBER(line->name, move.becomes, line->becomes);
		CHECK_TEXT(line->name, move.provider_job_id, cases[i].id);
	}
}

/* What nobody could cancel can be cancelled now: it is due at once, which a
 * move that has seen the request would not be. */
static void a_cancel_that_waited_for_the_start_is_due_with_it(void **state)
{
	static const struct {
		const char *name;
		enum job_state state;
		bool saw_cancel;
	} cases[] = {
		{ "on the wire", JOB_STARTING, false },
		{ "lost", JOB_START_UNKNOWN, false },
		{ "asked already", JOB_PROCESSING, true },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct line line = {
			.name = cases[i].name,
			.state = cases[i].state,
			.token = NEWEST,
			.says = "p",
			.event = JOB_PROGRESS,
			.also = CANCELLING,
		};
		struct webhook_item item;
		struct move move;

		CHECK_NUMBER(line.name, decide(&line, arena, &item, &move),
			     DECIDED_MOVE);
		CHECK_NUMBER(line.name, move.becomes, JOB_PROCESSING);
		CHECK_NUMBER(line.name, move.saw_cancel, cases[i].saw_cancel);
	}
}

/* What the row knows of earlier tries weighs as it does for the poller. */
static void what_was_tried_before_counts(void **state)
{
	static const struct {
		const char *name;
		enum job_state state;
		enum job_event event;
		int32_t falters, start_failures;
		bool looked_for; /* by a retry: start it if it is not there */
		enum job_state becomes;
	} cases[] = {
		/* clang-format off */
		{ "first failure in passing", JOB_PROCESSING, JOB_PROVIDER_FALTERED, 0, 0, false, JOB_QUEUED },
		{ "last failure in passing", JOB_PROCESSING, JOB_PROVIDER_FALTERED, 2, 0, false, JOB_FAILED },
		{ "first that did not start", JOB_STARTING, JOB_NOT_STARTED, 0, 0, false, JOB_QUEUED },
		{ "last that did not start", JOB_STARTING, JOB_NOT_STARTED, 0, 3, false, JOB_FAILED },
		{ "found, and it failed", JOB_START_UNKNOWN, JOB_PROVIDER_FAILED, 0, 0, false, JOB_FAILED },
		{ "looked for to be retried, and it failed", JOB_START_UNKNOWN, JOB_PROVIDER_FAILED, 0, 0, true, JOB_QUEUED },
		/* clang-format on */
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct line line = {
			.state = cases[i].state,
			.token = NEWEST,
			.says = "p",
			.event = cases[i].event,
		};
		struct webhook_target target = target_of(&line);
		struct webhook_item item = item_of(&line);
		struct fault fault;
		struct move move;

		target.falters = cases[i].falters;
		target.start_failures = cases[i].start_failures;
		target.restart_if_absent = cases[i].looked_for;
		CHECK_NUMBER(cases[i].name,
			     webhook_decide(&conf, &target, &item, arena, &move,
					    &fault),
			     DECIDED_MOVE);
		CHECK_NUMBER(cases[i].name, move.becomes, cases[i].becomes);
	}
}

static void a_job_that_is_not_there_is_unknown(void **state)
{
	static const struct line line = {
		.state = JOB_PROCESSING,
		.token = NEWEST,
		.known = "p",
		.says = "p",
		.event = JOB_RENDERED,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct webhook_item item = item_of(&line);
	struct webhook_target target = target_of(&line);
	struct fault fault;
	struct move move;

	(void)state;
	target.provider = "fal";
	CHECK_NUMBER(
		"another provider's",
		webhook_decide(&conf, &target, &item, arena, &move, &fault),
		DECIDED_OUTCOME);
	CHECK_NUMBER("another provider's", item.outcome, WEBHOOK_JOB_UNKNOWN);
	target = (struct webhook_target){ 0 };
	item.outcome = WEBHOOK_AWAY;
	CHECK_NUMBER(
		"no row",
		webhook_decide(&conf, &target, &item, arena, &move, &fault),
		DECIDED_OUTCOME);
	CHECK_NUMBER("no row", item.outcome, WEBHOOK_JOB_UNKNOWN);
	CHECK("nobody is woken", !item.wake);
}

static void without_memory_it_decides_nothing(void **state)
{
	static const struct line line = {
		.state = JOB_PROCESSING,
		.token = NEWEST,
		.known = "p",
		.says = "p",
		.event = JOB_RENDERED,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct move move = { .becomes = JOB_STATE_NONE };
	struct webhook_item item;

	(void)state;
	CHECK_NUMBER("result", decide(&line, arena, &item, &move), -ENOMEM);
	CHECK_NUMBER("untouched", move.becomes, JOB_STATE_NONE);
	CHECK("nobody is woken", !item.wake);
}

static void every_event_says_whether_the_start_lives(void **state)
{
	(void)state;
	for (int kind = JOB_EVENT_NONE; kind < JOB_EVENT_MAX; kind++) {
		struct webhook_item item = {
			.event = { .kind = (enum job_event)kind },
		};
		const char *name =
			kind ? job_event_name((enum job_event)kind) : "none";

		CHECK_NUMBER(name, webhook_says_it_lives(&item.event),
			     kind == JOB_ACCEPTED || kind == JOB_PROGRESS ||
				     kind == JOB_RESULT_READY ||
				     kind == JOB_RENDERED);
		CHECK_NUMBER(name, webhook_is_hint(&item),
			     kind == JOB_RESULT_READY || kind == JOB_NO_ANSWER);
		item.hint = true;
		CHECK(name, webhook_is_hint(&item));
		item.hint = false;
		item.event.hint = true;
		CHECK(name, webhook_is_hint(&item));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_counts_for_the_start_it_names_and_no_other),
		cmocka_unit_test(
			an_older_start_is_remembered_and_moves_nothing),
		cmocka_unit_test(
			a_hint_lets_look_at_what_may_render_and_says_nothing),
		cmocka_unit_test(
			a_result_is_taken_wherever_the_job_waits_for_one),
		cmocka_unit_test(that_it_runs_is_written_only_where_it_is_news),
		cmocka_unit_test(the_move_says_what_it_is_about),
		cmocka_unit_test(an_id_is_written_unless_the_row_has_it),
		cmocka_unit_test(
			a_cancel_that_waited_for_the_start_is_due_with_it),
		cmocka_unit_test(what_was_tried_before_counts),
		cmocka_unit_test(a_job_that_is_not_there_is_unknown),
		cmocka_unit_test(without_memory_it_decides_nothing),
		cmocka_unit_test(every_event_says_whether_the_start_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
