/* SPDX-License-Identifier: MIT */
#include "common/model/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* The table as it was agreed on; UPDATE=1 writes it anew, for a reviewer to
 * see what changed. Tests run in the root of the tree. */
static const char golden_path[] = "tests/unit/common/model/job_rules.ok";

static char *printed_rules(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	job_print_rules(out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static char *golden_rules(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *in = fopen(golden_path, "re");

	assert_non_null(in);
	assert_true(getdelim(&text, &size, '\0', in) > 0);
	assert_int_equal(fclose(in), 0);
	return text;
}

static enum job_event event_from_name(const char *name)
{
	for (int on = 1; on < JOB_EVENT_MAX; on++) {
		if (strcmp(job_event_name((enum job_event)on), name) == 0)
			return (enum job_event)on;
	}
	return JOB_EVENT_NONE;
}

static void table_is_the_golden_one(void **state)
{
	char *printed = printed_rules();
	char *golden = NULL;

	(void)state;
	if (getenv("UPDATE")) {
		FILE *out = fopen(golden_path, "we");

		assert_non_null(out);
		assert_true(fputs(printed, out) >= 0);
		assert_int_equal(fclose(out), 0);
	}
	golden = golden_rules();
	assert_string_equal(printed, golden);
	free(golden);
	free(printed);
}

struct line {
	enum job_state from;
	enum job_event on;
	enum job_state to;
	const char *why;
};

static struct line parse_line(char *text)
{
	char from[16], on[24], to[16];
	int why = 0;

	assert_int_equal(sscanf(text, "%15s %23s %15s %n", from, on, to, &why),
			 3);
	assert_true(why > 0 && text[why] != '\0');
	return (struct line){
		.from = job_state_from_name(from),
		.on = event_from_name(on),
		.to = job_state_from_name(to),
		.why = text + why,
	};
}

/* Every state meets every event: a pair is in the golden file, or it is
 * refused, as late after the end and as nonsense before it. A pair that is
 * there twice would be decided by the order of lines. */
static void every_pair_is_decided(void **state)
{
	struct line rule[JOB_STATE_MAX][JOB_EVENT_MAX] = { 0 };
	char *golden = golden_rules();

	(void)state;
	for (char *rest = golden, *text; (text = strsep(&rest, "\n"));) {
		struct line line;

		if (*text == '\0')
			continue;
		line = parse_line(text);

		assert_int_not_equal(line.from, JOB_STATE_NONE);
		assert_int_not_equal(line.on, JOB_EVENT_NONE);
		assert_int_not_equal(line.to, JOB_STATE_NONE);
		assert_null(rule[line.from][line.on].why);
		rule[line.from][line.on] = line;
	}
	for (int from = 0; from < JOB_STATE_MAX; from++) {
		for (int on = 0; on < JOB_EVENT_MAX; on++) {
			const struct line *want = &rule[from][on];
			struct job_decision decision = { .to = JOB_STATE_MAX };
			int r = job_decide((enum job_state)from,
					   (enum job_event)on, &decision);

			if (want->why) {
				assert_int_equal(r, 0);
				assert_int_equal(decision.to, want->to);
				assert_string_equal(decision.why, want->why);
				continue;
			}
			assert_int_equal(r,
					 job_is_terminal((enum job_state)from)
						 ? JOB_E_STALE
						 : JOB_E_ILLEGAL);
			assert_int_equal(decision.to, JOB_STATE_MAX);
		}
	}
	free(golden);
}

/* What the table must never say, whoever edits it. */
static void money_and_results_are_safe(void **state)
{
	(void)state;
	for (int from = 1; from < JOB_STATE_MAX; from++) {
		for (int on = 1; on < JOB_EVENT_MAX; on++) {
			struct job_decision decision;

			if (job_decide((enum job_state)from, (enum job_event)on,
				       &decision) != 0)
				continue;
			/* only one door leads to a paid start */
			if (decision.to == JOB_STARTING && from != JOB_STARTING)
				assert_true(from == JOB_QUEUED &&
					    on == JOB_START);
			/* a start that may have been paid is sent again only
			 * when it is known to have failed or not to exist */
			if (from == JOB_START_UNKNOWN &&
			    decision.to == JOB_QUEUED)
				assert_true(on == JOB_ABSENT ||
					    on == JOB_PROVIDER_FALTERED);
			/* a completed job stays one */
			if (from == JOB_COMPLETED)
				assert_int_equal(decision.to, JOB_COMPLETED);
			/* only what was stored completes */
			if (decision.to == JOB_COMPLETED &&
			    from != JOB_COMPLETED)
				assert_true(from == JOB_STORING &&
					    on == JOB_STORED);
			/* what ended moves only when a client says so */
			if (job_is_terminal((enum job_state)from) &&
			    (int)decision.to != from)
				assert_true(on == JOB_RETRY ||
					    on == JOB_RETRY_RECONCILE ||
					    on == JOB_RETRY_STORE ||
					    on == JOB_REVIVED);
		}
	}
}

/* A client may ask to cancel, and a dependent may be settled, at any time
 * that makes sense: no state may be forgotten. */
static void nothing_is_stuck(void **state)
{
	(void)state;
	for (int from = 1; from < JOB_STATE_MAX; from++) {
		struct job_decision decision;
		bool ended = job_is_terminal((enum job_state)from);

		assert_int_equal(
			job_decide((enum job_state)from, JOB_CANCEL, &decision),
			ended ? JOB_E_STALE : 0);
		assert_int_equal(job_decide((enum job_state)from, JOB_SETTLED,
					    &decision),
				 ended ? 0 : JOB_E_ILLEGAL);
		/* a result is taken wherever one may come from */
		if (job_may_render((enum job_state)from) || from == JOB_QUEUED)
			assert_int_equal(job_decide((enum job_state)from,
						    JOB_RENDERED, &decision),
					 0);
	}
}

static void names_go_both_ways(void **state)
{
	(void)state;
	for (int i = 1; i < JOB_STATE_MAX; i++)
		assert_int_equal(
			job_state_from_name(job_state_name((enum job_state)i)),
			i);
	for (int i = 1; i < JOB_EVENT_MAX; i++)
		assert_int_equal(
			event_from_name(job_event_name((enum job_event)i)), i);
	assert_int_equal(job_state_from_name("exploded"), JOB_STATE_NONE);
	assert_int_equal(job_state_from_name(""), JOB_STATE_NONE);
	assert_int_equal(job_state_from_name("none"), JOB_STATE_NONE);
	assert_string_equal(job_billed_name(JOB_BILLED_NO), "no");
	assert_string_equal(job_billed_name(JOB_BILLED_YES), "yes");
	assert_string_equal(job_billed_name(JOB_BILLED_UNKNOWN), "unknown");
}

static void states_are_told_apart(void **state)
{
	static const struct {
		enum job_state state;
		bool terminal;
		bool may_render;
	} cases[] = {
		{ JOB_WAITING, false, false },
		{ JOB_QUEUED, false, false },
		{ JOB_STARTING, false, true },
		{ JOB_START_UNKNOWN, false, true },
		{ JOB_PROCESSING, false, true },
		{ JOB_STORING, false, false },
		{ JOB_COMPLETED, true, false },
		{ JOB_FAILED, true, false },
		{ JOB_CANCELLED, true, false },
		{ JOB_SKIPPED, true, false },
	};

	(void)state;
	assert_int_equal(COUNT_OF(cases), JOB_STATE_MAX - 1);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_int_equal(job_is_terminal(cases[i].state),
				 cases[i].terminal);
		assert_int_equal(job_may_render(cases[i].state),
				 cases[i].may_render);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_the_golden_one),
		cmocka_unit_test(every_pair_is_decided),
		cmocka_unit_test(money_and_results_are_safe),
		cmocka_unit_test(nothing_is_stuck),
		cmocka_unit_test(names_go_both_ways),
		cmocka_unit_test(states_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
