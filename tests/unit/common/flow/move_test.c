/* SPDX-License-Identifier: MIT */
#include "common/flow/move.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
		     move.cancel_tried || move.stray || move.restart_if_absent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_move_changes_nothing_but_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
