/* SPDX-License-Identifier: MIT */
#include "common/flow/advance.h"

#include "tests/support/check.h"

#include <errno.h>

#include "tests/support/arena.h"

enum {
	START_RETRIES = 3,
	POLL_FIRST_MS = 30 * 1000,
	POLL_MOST_MS = 300 * 1000,
	START_MOST_MS = 60 * 1000,
	FLOOR_MS = 500,
};

static const struct provider_ops ops = {
	.name = "acme",
	.poll_first_ms = POLL_FIRST_MS,
	.poll_most_ms = POLL_MOST_MS,
	.has_webhook = true,
};

static const struct conf conf = {
	.provider = { { .name = "acme", .credential = "x" },
		      { .name = "fal" },
		      { .name = "vertex" } },
	.start_retries = START_RETRIES,
};

/* From the poller, which holds the row by its claim. */
static struct advance_job a_job(enum job_state state)
{
	return (struct advance_job){
		.id = "01890000-0000-7000-8000-000000000001",
		.execution_id = "01890000-0000-7000-8000-000000000002",
		.ops = &ops,
		.state = state,
		.claim = 7,
		.version = MOVE_ANY,
		.attempt = 1,
		.max_attempts = 3,
		.via = "polling",
	};
}

/* From a webhook, which holds nothing and compares the version. */
static struct advance_job a_webhook_job(enum job_state state)
{
	struct advance_job job = a_job(state);

	job.claim = MOVE_ANY;
	job.version = 12;
	job.via = "webhook";
	return job;
}

static struct provider_event an_event(enum job_event kind)
{
	return (struct provider_event){ .kind = kind, .progress = -1 };
}

static struct move moved(const struct advance_job *job,
			 const struct provider_event *event)
{
	struct fault fault = { "" };
	struct move move = { 0 };

	assert_int_equal(advance_event(&conf, job, event, arena, &move, &fault),
			 0);
	assert_string_equal(fault.text, "");
	return move;
}

static struct move move_of(enum job_state state, enum job_event kind)
{
	struct advance_job job = a_job(state);
	struct provider_event event = an_event(kind);

	return moved(&job, &event);
}

/* ---- every event in every state ------------------------------------------ */

/* What a provider's answer can be: provider.h. */
static const enum job_event from_provider[] = {
	JOB_ACCEPTED,	   JOB_RENDERED,	  JOB_REFUSED,
	JOB_NOT_STARTED,   JOB_THROTTLED,	  JOB_START_LOST,
	JOB_PROGRESS,	   JOB_NO_ANSWER,	  JOB_PROVIDER_FAILED,
	JOB_CANCEL_TRIED,  JOB_PROVIDER_FALTERED, JOB_PROVIDER_CANCELLED,
	JOB_NOT_FOUND_YET,
};

static void check_move(const struct advance_job *job, enum job_event kind,
		       const struct job_decision *decision,
		       const struct move *move)
{
	assert_int_equal(move->event, kind);
	assert_int_equal(move->was, job->state);
	assert_int_equal(move->becomes, decision->to);
	assert_string_equal(move->why, decision->why);
	assert_string_equal(move->id, job->id);
	assert_string_equal(move->execution_id, job->execution_id);
	assert_string_equal(move->provider, "acme");
	assert_int_equal(move->claim, job->claim);
	assert_int_equal(move->version, job->version);
	assert_int_equal(move->attempt, job->attempt);
	/* the timeline has changes, not looks */
	assert_int_equal(move->quiet, decision->to == job->state);
	/* whoever lives on is looked at again, unless nothing new is planned
	 * for a job that has its time already */
	if (decision->to != job->state && !job_is_terminal(decision->to))
		assert_true(move->due_ms >= 0);
	if (decision->to == JOB_FAILED || decision->to == JOB_CANCELLED) {
		assert_non_null(move->error_code);
		assert_non_null(move->error_message);
		assert_non_null(move->billed);
	}
	if (decision->to == JOB_STORING)
		assert_non_null(move->media_source);
	/* what the provider said is kept, also of what is tried again */
	if (kind != JOB_RENDERED) {
		assert_string_equal(move->error_message, "their words");
		assert_string_equal(move->detail, "their words");
	}
}

static void every_event_meets_every_state(void **state)
{
	int done = 0, refused = 0;

	(void)state;
	for (int from = 1; from < JOB_STATE_MAX; from++) {
		for (size_t i = 0; i < COUNT_OF(from_provider); i++) {
			struct advance_job job = a_job((enum job_state)from);
			struct provider_event event =
				an_event(from_provider[i]);
			struct fault fault = { "" };
			struct job_decision decision;
			struct move move;
			int want, r;

			event.error_message = "their words";
			memset(&move, 0x5a, sizeof(move));
			want = job_decide((enum job_state)from,
					  from_provider[i], &decision);
			r = advance_event(&conf, &job, &event, arena, &move,
					  &fault);
			assert_int_equal(r, want);
			assert_string_equal(fault.text, "");
			if (r == 0) {
				check_move(&job, from_provider[i], &decision,
					   &move);
				done++;
				continue;
			}
			/* untouched */
			assert_int_equal(((unsigned char *)&move)[0], 0x5a);
			refused++;
		}
	}
	assert_int_equal(done + refused,
			 (JOB_STATE_MAX - 1) * (int)COUNT_OF(from_provider));
	/* after the end nothing a provider says has an effect */
	assert_true(refused >= 4 * (int)COUNT_OF(from_provider));
}

/* ---- tries --------------------------------------------------------------- */

static void starts_are_repeated_so_often_and_no_more(void **state)
{
	(void)state;
	for (int failures = 0; failures <= START_RETRIES + 1; failures++) {
		struct advance_job job = a_job(JOB_STARTING);
		struct provider_event event = an_event(JOB_NOT_STARTED);
		struct move move;

		job.start_failures = failures;
		move = moved(&job, &event);
		assert_string_equal(move.start_outcome, "not_started");
		if (failures < START_RETRIES) {
			assert_int_equal(move.becomes, JOB_QUEUED);
			assert_int_equal(move.event, JOB_NOT_STARTED);
			assert_int_equal(move.start_failures, failures + 1);
			assert_null(move.billed);
		} else {
			assert_int_equal(move.becomes, JOB_FAILED);
			assert_int_equal(move.event, JOB_REFUSED);
			assert_string_equal(move.error_code, "start_refused");
			assert_string_equal(move.billed, "no");
		}
		event.unreached = true; /* costs no try, and little time */
		move = moved(&job, &event);
		assert_int_equal(move.becomes, JOB_QUEUED);
		assert_int_equal(move.start_failures, MOVE_KEEP);
		assert_true(move.due_ms <= 15 * 1000);
	}
}

static void throttling_costs_no_try(void **state)
{
	struct advance_job job = a_job(JOB_STARTING);
	struct provider_event event = an_event(JOB_THROTTLED);
	struct move move;

	(void)state;
	job.start_failures = START_RETRIES;
	job.attempt = 40;
	move = moved(&job, &event);
	assert_int_equal(move.becomes, JOB_QUEUED);
	assert_int_equal(move.start_failures, MOVE_KEEP);
	assert_int_equal(move.falters, MOVE_KEEP);
	assert_string_equal(move.start_outcome, "not_started");
}

static void faltering_is_repeated_up_to_max_attempts(void **state)
{
	static const struct {
		int32_t falters, max_attempts;
		bool cancel_requested;
		enum job_state becomes;
		enum job_event event;
	} cases[] = {
		{ 0, 3, false, JOB_QUEUED, JOB_PROVIDER_FALTERED },
		{ 1, 3, false, JOB_QUEUED, JOB_PROVIDER_FALTERED },
		{ 2, 3, false, JOB_FAILED, JOB_PROVIDER_FAILED },
		{ 9, 3, false, JOB_FAILED, JOB_PROVIDER_FAILED },
		{ 0, 1, false, JOB_FAILED, JOB_PROVIDER_FAILED },
		/* nobody wants it any more: do not pay again */
		{ 0, 3, true, JOB_CANCELLED, JOB_PROVIDER_CANCELLED },
		{ 2, 3, true, JOB_CANCELLED, JOB_PROVIDER_CANCELLED },
	};
	static const enum job_state states[] = { JOB_STARTING,
						 JOB_START_UNKNOWN,
						 JOB_PROCESSING };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (size_t s = 0; s < COUNT_OF(states); s++) {
			struct advance_job job = a_job(states[s]);
			struct provider_event event =
				an_event(JOB_PROVIDER_FALTERED);
			struct move move;

			event.error_code = "provider_error";
			job.falters = cases[i].falters;
			job.max_attempts = cases[i].max_attempts;
			job.cancel_requested = cases[i].cancel_requested;
			move = moved(&job, &event);
			assert_int_equal(move.becomes, cases[i].becomes);
			assert_int_equal(move.event, cases[i].event);
			assert_string_equal(move.error_code, "provider_error");
			if (move.becomes == JOB_QUEUED)
				assert_int_equal(move.falters,
						 cases[i].falters + 1);
		}
	}
}

static struct provider_event a_result(void)
{
	struct provider_event event = an_event(JOB_RENDERED);

	event.provider_job_id = "p-1";
	event.output = "{\"video\":\"https://example.net/a.mp4\"}";
	event.media_count = 3;
	event.media[0] = (struct provider_media){
		.url = "https://example.net/a.mp4",
		.content_type = "video/mp4",
	};
	event.media[1] = (struct provider_media){
		.url = "https://example.net/\"b\".mp4",
	};
	event.media[2] = (struct provider_media){
		.base64 = "AAAA",
		.base64_bytes = 4,
		.content_type = "video/mp4",
	};
	return event;
}

/* A retry that looks for the last start first: what has ended without a result
 * is nothing to adopt. */
static void a_retry_is_not_ended_by_the_start_before_it(void **state)
{
	static const struct {
		enum job_state in;
		enum job_event kind;
		bool cancel_requested;
		enum job_event event;
	} cases[] = {
		{ JOB_START_UNKNOWN, JOB_PROVIDER_FAILED, false, JOB_ABSENT },
		{ JOB_START_UNKNOWN, JOB_PROVIDER_FALTERED, false, JOB_ABSENT },
		{ JOB_START_UNKNOWN, JOB_PROVIDER_CANCELLED, false,
		  JOB_ABSENT },
		{ JOB_START_UNKNOWN, JOB_PROGRESS, false, JOB_PROGRESS },
		{ JOB_START_UNKNOWN, JOB_RENDERED, false, JOB_RENDERED },
		{ JOB_START_UNKNOWN, JOB_PROVIDER_FAILED, true,
		  JOB_PROVIDER_FAILED },
		{ JOB_START_UNKNOWN, JOB_PROVIDER_CANCELLED, true,
		  JOB_PROVIDER_CANCELLED },
		/* adopted: how it ends is how the job ends, unless our own
		 * cancelling of before is what ends it */
		{ JOB_PROCESSING, JOB_PROVIDER_FAILED, false,
		  JOB_PROVIDER_FAILED },
		{ JOB_PROCESSING, JOB_PROVIDER_CANCELLED, false,
		  JOB_PROVIDER_FALTERED },
		{ JOB_PROCESSING, JOB_PROVIDER_CANCELLED, true,
		  JOB_PROVIDER_CANCELLED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct provider_event event = cases[i].kind == JOB_RENDERED
						      ? a_result()
						      : an_event(cases[i].kind);
		struct advance_job job = a_job(cases[i].in);
		struct move move;

		job.restart_if_absent = true;
		job.cancel_requested = cases[i].cancel_requested;
		move = moved(&job, &event);
		assert_int_equal(move.event, cases[i].event);
		if (move.event != JOB_ABSENT)
			continue;
		assert_int_equal(move.becomes, JOB_QUEUED);
		assert_int_equal(move.due_ms, 0);
		assert_string_equal(move.start_outcome, "accepted");
	}
}

/* ---- times --------------------------------------------------------------- */

enum { THROWS = 200 };

/* The dice are real, so many throws and the bounds they must keep; the most
 * of them must come near the ceiling, or there is no jitter in it. */
static void check_waits(const struct advance_job *job,
			const struct provider_event *event, int64_t least_ms,
			int64_t most_ms)
{
	int64_t highest_ms = 0;

	for (int i = 0; i < THROWS; i++) {
		struct move move = moved(job, event);

		assert_true(move.due_ms >= least_ms);
		assert_true(move.due_ms <= most_ms);
		if (move.due_ms > highest_ms)
			highest_ms = move.due_ms;
	}
	assert_true(highest_ms > most_ms / 2);
}

static void looks_become_rarer_and_have_a_ceiling(void **state)
{
	static const struct {
		int32_t polls;
		int64_t most_ms;
	} cases[] = {
		{ 0, POLL_FIRST_MS },	  { 1, 2 * POLL_FIRST_MS },
		{ 2, 4 * POLL_FIRST_MS }, { 4, POLL_MOST_MS },
		{ 90, POLL_MOST_MS },	  { INT32_MAX - 1, POLL_MOST_MS },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct advance_job job = a_job(JOB_PROCESSING);
		struct provider_event event = an_event(JOB_PROGRESS);

		job.poll_attempts = cases[i].polls;
		check_waits(&job, &event, FLOOR_MS, cases[i].most_ms);
		assert_int_equal(moved(&job, &event).poll_attempts,
				 cases[i].polls + 1);
	}
}

static void starts_wait_longer_each_time(void **state)
{
	(void)state;
	for (int failures = 0; failures < START_RETRIES; failures++) {
		struct advance_job job = a_job(JOB_STARTING);
		struct provider_event event = an_event(JOB_NOT_STARTED);

		job.start_failures = failures;
		check_waits(&job, &event, FLOOR_MS, INT64_C(1000) << failures);
	}
	/* throttled often, but failed in passing never or once */
	for (int falters = 0; falters < 2; falters++) {
		struct advance_job job = a_job(JOB_PROCESSING);
		struct provider_event event = an_event(JOB_PROVIDER_FALTERED);

		job.attempt = 20;
		job.falters = falters;
		check_waits(&job, &event, FLOOR_MS, INT64_C(1000) << falters);
	}
	for (int attempt = 1; attempt < 20; attempt += 6) {
		struct advance_job job = a_job(JOB_STARTING);
		struct provider_event event = an_event(JOB_THROTTLED);

		job.attempt = attempt;
		check_waits(&job, &event, FLOOR_MS,
			    attempt < 6 ? INT64_C(1000) << attempt
					: START_MOST_MS);
	}
}

static void a_providers_wish_is_never_undercut(void **state)
{
	static const struct {
		enum job_state from;
		enum job_event kind;
	} cases[] = {
		{ JOB_STARTING, JOB_THROTTLED },
		{ JOB_STARTING, JOB_NOT_STARTED },
		{ JOB_STARTING, JOB_ACCEPTED },
		{ JOB_STARTING, JOB_START_LOST },
		{ JOB_PROCESSING, JOB_PROGRESS },
		{ JOB_PROCESSING, JOB_NO_ANSWER },
		{ JOB_PROCESSING, JOB_PROVIDER_FALTERED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct advance_job job = a_job(cases[i].from);
		struct provider_event event = an_event(cases[i].kind);

		event.retry_after_ms = 2 * POLL_MOST_MS;
		for (int n = 0; n < THROWS; n++)
			assert_true(moved(&job, &event).due_ms >=
				    2 * POLL_MOST_MS);
	}
}

static void settings_override_the_providers_numbers(void **state)
{
	static const struct conf quick = {
		.provider = { { .name = "acme",
				.poll_first_ms = 600,
				.poll_most_ms = 900 } },
	};

	(void)state;
	for (int i = 0; i < THROWS; i++) {
		int64_t wait_ms = advance_poll_delay_ms(&quick, &ops, 10, 0);

		assert_true(wait_ms >= FLOOR_MS && wait_ms <= 900);
		assert_true(advance_poll_delay_ms(&quick, &ops, 0, 0) <= 600);
		wait_ms = advance_poll_delay_ms(&quick, &ops, 0, 5000);
		assert_true(wait_ms >= 5000 + FLOOR_MS && wait_ms <= 5600);
	}
	assert_int_equal(advance_longest_ms(&quick, &ops, JOB_PROCESSING), 900);
	assert_int_equal(advance_longest_ms(&conf, &ops, JOB_PROCESSING),
			 POLL_MOST_MS);
	assert_int_equal(advance_longest_ms(&quick, &ops, JOB_QUEUED),
			 START_MOST_MS);
}

/* ---- what the poller knows and a webhook does not ------------------------ */

static void a_webhooks_progress_leaves_the_schedule_alone(void **state)
{
	struct advance_job job = a_webhook_job(JOB_PROCESSING);
	struct provider_event event = an_event(JOB_PROGRESS);
	struct move move;

	(void)state;
	event.progress = 0.25;
	job.poll_attempts = 5;
	move = moved(&job, &event);
	assert_int_equal(move.due_ms, MOVE_KEEP);
	assert_int_equal(move.poll_attempts, MOVE_KEEP);
	assert_true(move.progress == 0.25);
	assert_true(move.quiet);
	assert_int_equal(move.version, 12);
	assert_int_equal(move.claim, MOVE_ANY);
}

static void a_hint_means_look_now(void **state)
{
	struct advance_job job = a_webhook_job(JOB_PROCESSING);
	struct provider_event event = an_event(JOB_PROGRESS);

	(void)state;
	event.hint = true;
	assert_int_equal(moved(&job, &event).due_ms, 0);
	job = a_webhook_job(JOB_STARTING);
	assert_int_equal(moved(&job, &event).due_ms, 0);
}

static void an_early_webhook_adopts_the_start(void **state)
{
	static const enum job_state states[] = { JOB_STARTING,
						 JOB_START_UNKNOWN };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		struct advance_job job = a_webhook_job(states[i]);
		struct provider_event event = an_event(JOB_PROGRESS);
		struct move move;

		job.start_failures = 2;
		event.provider_job_id = "p-1";
		event.provider_ref = "{\"a\":1}";
		move = moved(&job, &event);
		assert_int_equal(move.becomes, JOB_PROCESSING);
		assert_string_equal(move.provider_job_id, "p-1");
		assert_string_equal(move.provider_ref, "{\"a\":1}");
		assert_string_equal(move.start_outcome, "accepted");
		assert_int_equal(move.start_failures, 0);
		assert_true(move.due_ms >= FLOOR_MS &&
			    move.due_ms <= POLL_FIRST_MS);
	}
}

/* ---- outcomes ------------------------------------------------------------ */

static void starts_remember_what_became_of_them(void **state)
{
	static const struct {
		enum job_state from;
		enum job_event kind;
		const char *outcome;
	} cases[] = {
		{ JOB_STARTING, JOB_ACCEPTED, "accepted" },
		{ JOB_STARTING, JOB_PROGRESS, "accepted" },
		{ JOB_STARTING, JOB_RENDERED, "accepted" },
		{ JOB_STARTING, JOB_PROVIDER_FAILED, "accepted" },
		{ JOB_STARTING, JOB_PROVIDER_FALTERED, "accepted" },
		{ JOB_STARTING, JOB_PROVIDER_CANCELLED, "accepted" },
		{ JOB_STARTING, JOB_NOT_STARTED, "not_started" },
		{ JOB_STARTING, JOB_THROTTLED, "not_started" },
		{ JOB_STARTING, JOB_REFUSED, "refused" },
		{ JOB_STARTING, JOB_START_LOST, "unknown" },
		{ JOB_START_UNKNOWN, JOB_ACCEPTED, "accepted" },
		{ JOB_START_UNKNOWN, JOB_NOT_FOUND_YET, NULL },
		{ JOB_START_UNKNOWN, JOB_NO_ANSWER, NULL },
		/* known since it was accepted */
		{ JOB_PROCESSING, JOB_PROGRESS, NULL },
		{ JOB_PROCESSING, JOB_PROVIDER_FAILED, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct move move = move_of(cases[i].from, cases[i].kind);

		CHECK_TEXT(job_event_name(cases[i].kind), move.start_outcome,
			   cases[i].outcome);
	}
}

static void a_lost_start_is_looked_for_after_a_while(void **state)
{
	struct advance_job job = a_job(JOB_STARTING);
	struct provider_event event = an_event(JOB_START_LOST);
	struct move move = moved(&job, &event);

	(void)state;
	assert_int_equal(move.becomes, JOB_START_UNKNOWN);
	assert_int_equal(move.due_ms, 15 * 1000);
	assert_null(move.billed);
}

static void failures_say_what_they_cost(void **state)
{
	static const struct {
		enum job_event kind;
		const char *code;
		enum job_billed billed;
		const char *want_code;
		const char *want_billed;
	} cases[] = {
		{ JOB_PROVIDER_FAILED, "content_refused", JOB_BILLED_YES,
		  "content_refused", "yes" },
		{ JOB_PROVIDER_FAILED, NULL, JOB_BILLED_UNKNOWN,
		  "provider_failed", "unknown" },
		{ JOB_PROVIDER_CANCELLED, NULL, JOB_BILLED_NO,
		  "provider_cancelled", "no" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct advance_job job = a_job(JOB_PROCESSING);
		struct provider_event event = an_event(cases[i].kind);
		struct move move;

		event.error_code = cases[i].code;
		event.billed = cases[i].billed;
		move = moved(&job, &event);
		assert_string_equal(move.error_code, cases[i].want_code);
		assert_string_equal(move.billed, cases[i].want_billed);
		/* without the provider's words there are ours */
		assert_string_equal(move.error_message, move.why);
	}
	assert_string_equal(move_of(JOB_STARTING, JOB_REFUSED).error_code,
			    "start_refused");
}

static void a_worker_says_whether_it_knew_of_the_cancel(void **state)
{
	struct advance_job job = a_job(JOB_STARTING);
	struct provider_event event = an_event(JOB_ACCEPTED);

	(void)state;
	assert_false(moved(&job, &event).saw_cancel);
	job.cancel_requested = true;
	assert_true(moved(&job, &event).saw_cancel);
}

/* ---- results ------------------------------------------------------------- */

static void a_result_goes_to_storing_at_once(void **state)
{
	struct advance_job job = a_webhook_job(JOB_PROCESSING);
	struct provider_event event = a_result();
	struct move move = moved(&job, &event);

	(void)state;
	assert_int_equal(move.becomes, JOB_STORING);
	assert_int_equal(move.due_ms, 0);
	assert_int_equal(move.start_failures, 0);
	assert_string_equal(move.via, "webhook");
	assert_string_equal(move.output, event.output);
	assert_string_equal(move.media_source,
			    "[{\"url\":\"https://example.net/a.mp4\","
			    "\"content_type\":\"video/mp4\"},"
			    "{\"url\":\"https://example.net/\\\"b\\\".mp4\"},"
			    "{\"inline\":2}]");
	assert_null(move.error_code);
	assert_null(move.billed);

	job = a_job(JOB_START_UNKNOWN);
	move = moved(&job, &event);
	assert_string_equal(move.via, "polling");
	assert_string_equal(move.start_outcome, "accepted");
}

/* The result of an earlier paid start may come while the job waits for
 * another one: take it and do not pay again. */
static void a_result_is_taken_while_queued(void **state)
{
	struct advance_job job = a_webhook_job(JOB_QUEUED);
	struct provider_event event = a_result();

	(void)state;
	assert_int_equal(moved(&job, &event).becomes, JOB_STORING);
}

static void a_full_arena_is_an_error_and_changes_nothing(void **state)
{
	bool fitted = false;

	(void)state;
	for (size_t limit = 0; limit < 4096 && !fitted; limit += 16) {
		_cleanup_(arena_freep) struct arena *small = arena_new(limit);
		struct advance_job job = a_job(JOB_PROCESSING);
		struct provider_event event = a_result();
		struct fault fault = { "" };
		struct move move;
		int r;

		memset(&move, 0x5a, sizeof(move));
		r = advance_event(&conf, &job, &event, small, &move, &fault);
		fitted = r == 0;
		if (fitted)
			continue;
		assert_int_equal(r, -ENOMEM);
		assert_string_not_equal(fault.text, "");
		assert_int_equal(((unsigned char *)&move)[0], 0x5a);
	}
	assert_true(fitted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_meets_every_state),
		cmocka_unit_test(starts_are_repeated_so_often_and_no_more),
		cmocka_unit_test(throttling_costs_no_try),
		cmocka_unit_test(faltering_is_repeated_up_to_max_attempts),
		cmocka_unit_test(a_retry_is_not_ended_by_the_start_before_it),
		cmocka_unit_test(looks_become_rarer_and_have_a_ceiling),
		cmocka_unit_test(starts_wait_longer_each_time),
		cmocka_unit_test(a_providers_wish_is_never_undercut),
		cmocka_unit_test(settings_override_the_providers_numbers),
		cmocka_unit_test(a_webhooks_progress_leaves_the_schedule_alone),
		cmocka_unit_test(a_hint_means_look_now),
		cmocka_unit_test(an_early_webhook_adopts_the_start),
		cmocka_unit_test(starts_remember_what_became_of_them),
		cmocka_unit_test(a_lost_start_is_looked_for_after_a_while),
		cmocka_unit_test(failures_say_what_they_cost),
		cmocka_unit_test(a_worker_says_whether_it_knew_of_the_cancel),
		cmocka_unit_test(a_result_goes_to_storing_at_once),
		cmocka_unit_test(a_result_is_taken_while_queued),
		cmocka_unit_test(a_full_arena_is_an_error_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, start, end);
}
