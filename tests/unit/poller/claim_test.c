/* SPDX-License-Identifier: MIT */
#include "poller/claim.h"

#include "common/model/limits.h"
#include "poller/poller.h"
#include "poller/query.h"
#include "tests/support/check.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>

/*
 * What a claim asks for and what it makes of the answer, with a database that
 * is played by this file in place of poller/query.c.
 */

static struct {
	int r;	       /* the claim's */
	size_t count;  /* jobs that it finds, all of them ended */
	char most[64]; /* what was asked for */
	int claimed;   /* what the caller was told */
} played;

struct query *query_new(struct poller *poller, enum db_query which)
{
	struct query *query = calloc(1, sizeof(*query));

	assert_non_null(query);
	*query = (struct query){
		.poller = poller,
		.arena = arena_new(LIMIT_MIB),
		.query = which,
	};
	assert_non_null(query->arena);
	return query;
}

struct query *query_free(struct query *query)
{
	if (query) {
		(void)arena_free(query->arena);
		PQclear(query->result);
		free(query);
	}
	return NULL;
}

/* Ended jobs, in the columns of a claim. */
static PGresult *ended_jobs(size_t count)
{
	/* Not constant, because libpq's functions do not promise it. */
	static struct {
		char name[24], value[12]; /* none is null */
	} columns[] = {
		{ "id", "" },
		{ "provider", "played" },
		{ "status", "completed" },
		{ "model", "m" },
		{ "input", "{}" },
		{ "provider_job_id", "" },
		{ "provider_ref", "" },
		{ "attempt", "1" },
		{ "started_unix_ms", "1" },
		{ "execution_id", "e" },
		{ "dependency_defaults", "" },
		{ "media_source", "" },
		{ "error_code", "" },
		{ "claim", "1" },
		{ "max_attempts", "1" },
		{ "poll_attempts", "0" },
		{ "start_failures", "0" },
		{ "falters", "0" },
		{ "store_failures", "0" },
		{ "cancel_age_ms", "0" },
		{ "unknown_age_ms", "0" },
		{ "has_references", "f" },
		{ "restart_if_absent", "f" },
		{ "cancel_requested", "f" },
		{ "cancel_tried", "f" },
		{ "deadline_passed", "f" },
		{ "childless", "f" },
	};
	PGresAttDesc named[COUNT_OF(columns)];
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	assert_non_null(result);
	for (size_t c = 0; c < COUNT_OF(columns); c++)
		named[c] = (PGresAttDesc){ .name = columns[c].name };
	assert_true(PQsetResultAttrs(result, COUNT_OF(columns), named));
	for (size_t i = 0; i < count; i++) {
		char id[UUID_SIZE];

		(void)snprintf(id, sizeof(id), "00000000-0000-7000-8000-%012x",
			       (unsigned)i & 0xffff);
		for (size_t c = 0; c < COUNT_OF(columns); c++) {
			char *value = c == 0 ? id : columns[c].value;

			assert_true(
				PQsetvalue(result, (int)i, (int)c, value,
					   *value ? (int)strlen(value) : -1));
		}
	}
	return result;
}

void query_send(struct query *query, void (*done)(struct query *query))
{
	assert_int_equal(query->query, DB_job_claim);
	(void)snprintf(played.most, sizeof(played.most), "%s",
		       query->params[2]);
	query->r = played.r;
	if (query->r == 0)
		query->result = ended_jobs(played.count);
	done(query);
	(void)query_free(query);
}

int query_run(struct poller *poller, enum db_query which,
	      const char *const *params, PGresult **ret)
{
	(void)poller;
	(void)which;
	(void)params;
	(void)ret;
	fail_msg("a claim does not wait");
	return -EIO;
}

int query_note(struct poller *poller, int r, const struct fault *fault,
	       bool connected)
{
	(void)poller;
	(void)connected;
	fail_msg("%s", fault->text);
	return r;
}

int64_t query_again_ms(const struct poller *poller)
{
	(void)poller;
	return 0;
}

static void on_claimed(struct poller *poller, int claimed)
{
	(void)poller;
	played.claimed = claimed;
}

/* @return how many jobs were claimed, or why none */
static int claim(struct poller *poller, int r, size_t count)
{
	played.r = r;
	played.count = count;
	assert_int_equal(claim_due(poller, on_claimed), 1);
	return played.claimed;
}

static void let_go(struct poller *poller)
{
	while (poller->works.first)
		work_free(poller->works.first);
}

static void a_lane_that_gave_all_is_asked_again_when_it_has_room(void **state)
{
	static const struct provider_ops ops = { .name = "played" };
	static const struct conf conf = { .lease_s = 60 };
	static struct poller poller = {
		.conf = &conf,
		.provider_count = 1,
		.outbox_waits = true,
		.stopping = true, /* nobody looks */
	};
	size_t *in_lane = &poller.works.in_lane[0][JOB_COMPLETED];

	(void)state;
	poller.provider[0] =
		(struct provider_state){ .poller = &poller, .ops = &ops };
	assert_false(claim_may_go_on(&poller, 1));

	assert_int_equal(claim(&poller, 0, 0), 0);
	assert_string_equal(played.most, "{64,128,32,256,64,128,128,128,128}");
	assert_false(claim_may_go_on(&poller, 1));

	assert_int_equal(claim(&poller, 0, 127), 127);
	assert_false(claim_may_go_on(&poller, 1));
	let_go(&poller);

	assert_int_equal(claim(&poller, 0, 128), 128);
	/* All are decided, so that the whole lane has room. */
	assert_true(claim_may_go_on(&poller, 1));
	*in_lane += 128;
	assert_false(claim_may_go_on(&poller, 1));
	assert_true(claim_may_go_on(&poller, 2));
	*in_lane += 127;
	assert_false(claim_may_go_on(&poller, 2));
	assert_true(claim_may_go_on(&poller, POLLER_IN_HAND_MOST));
	/* What is not asked about may still have more. */
	*in_lane += 1;
	assert_false(claim_may_go_on(&poller, POLLER_IN_HAND_MOST));
	assert_int_equal(claim(&poller, 0, 0), 0);
	assert_string_equal(played.most, "{64,128,32,256,64,128,128,128}");
	*in_lane -= 256;
	assert_true(claim_may_go_on(&poller, 1));

	/* After a failure it is tried again later. */
	assert_int_equal(claim(&poller, -EAGAIN, 0), -EAGAIN);
	assert_false(claim_may_go_on(&poller, POLLER_IN_HAND_MOST));
	let_go(&poller);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_lane_that_gave_all_is_asked_again_when_it_has_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
