/* SPDX-License-Identifier: MIT */
#include "poller/start.h"

#include "poller/write.h"
#include "tests/support/check.h"

/*
 * The stage between "prepared" and "sent", with a database that is played by
 * this file in place of poller/write.c.
 */

enum { PATIENCE_US = 60 * 1000 * 1000 };

static int without_memory; /* so many batches cannot be made */
static struct work *taken;

struct write *write_new(struct poller *poller, size_t most)
{
	static struct work *works[1];
	static struct move moves[1];
	static struct write write;

	assert_in_range(most, 1, COUNT_OF(works));
	if (without_memory-- > 0)
		return NULL;
	write = (struct write){
		.poller = poller,
		.works = works,
		.moves = moves,
		.most = most,
	};
	return &write;
}

void write_add(struct write *write, struct work *work, const struct move *move)
{
	work_dequeue(work);
	write->works[write->count] = work;
	write->moves[write->count++] = *move;
}

void write_send(struct write *write, void (*done)(struct write *write))
{
	(void)done;
	assert_int_equal(write->moves[0].becomes, JOB_STARTING);
	taken = write->works[0];
}

/* Nothing else happens that would make it look again. */
static void without_memory_it_tries_again_by_itself(void **state)
{
	static const struct conf conf = { .start_group = 16, .lease_s = 60 };
	static struct poller poller = { .conf = &conf, .provider_count = 1 };
	struct work work = { .poller = &poller,
			     .provider = &poller.provider[0],
			     .job = { .id = "1", .state = JOB_QUEUED } };
	struct fault fault = { "" };

	(void)state;
	poller.provider[0].poller = &poller;
	assert_true(sd_event_new(&poller.event) >= 0);
	assert_int_equal(start_init(&poller, &fault), 0);
	without_memory = 2;
	work_enqueue(&poller.provider[0].ready, &work);
	start_more(&poller);
	while (!taken && sd_event_run(poller.event, PATIENCE_US) > 0)
		;
	assert_ptr_equal(taken, &work);
	assert_int_equal(without_memory, -1);
	start_done(&poller);
	poller.event = sd_event_unref(poller.event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_it_tries_again_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
