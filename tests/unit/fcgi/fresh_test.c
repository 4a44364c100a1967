/* SPDX-License-Identifier: MIT */
#include "fcgi/fresh.h"

#include "tests/support/check.h"

#include <poll.h>

enum { T = 1000000 }; /* any time will do */

static void it_is_read_at_first_and_when_it_is_old(void **state)
{
	struct fresh fresh;

	(void)state;
	fresh_init(&fresh, T);
	CHECK("not trusted", !fresh_trusted(&fresh, T));
	CHECK("first", fresh_due(&fresh, false, T));
	CHECK("somebody reads", !fresh_due(&fresh, false, T));
	fresh_read(&fresh, true, T);
	CHECK("trusted", fresh_trusted(&fresh, T));
	CHECK("young", !fresh_due(&fresh, false, T + FRESH_FOR_MS - 1));
	CHECK("old", fresh_due(&fresh, false, T + FRESH_FOR_MS));
	fresh_read(&fresh, true, T + FRESH_FOR_MS);
	CHECK("young again", !fresh_due(&fresh, false, T + FRESH_FOR_MS + 1));
	fresh_done(&fresh);
}

static void a_failed_reading_is_repeated_after_a_second(void **state)
{
	struct fresh fresh;

	(void)state;
	fresh_init(&fresh, T);
	CHECK("first", fresh_due(&fresh, false, T));
	fresh_read(&fresh, false, T);
	CHECK("not trusted", !fresh_trusted(&fresh, T));
	CHECK("too soon", !fresh_due(&fresh, false, T + FRESH_LEAST_MS - 1));
	CHECK("again", fresh_due(&fresh, false, T + FRESH_LEAST_MS));
	fresh_read(&fresh, false, T + FRESH_LEAST_MS);
	fresh_done(&fresh);
}

static void what_it_said_is_trusted_only_so_long(void **state)
{
	struct fresh fresh;

	(void)state;
	fresh_init(&fresh, T);
	CHECK("first", fresh_due(&fresh, false, T));
	fresh_read(&fresh, true, T);
	CHECK("still", fresh_trusted(&fresh, T + FRESH_FOR_MS));
	CHECK("no more",
	      !fresh_trusted(&fresh, T + FRESH_FOR_MS + FRESH_LEAST_MS));
	fresh_done(&fresh);
}

static void guesses_cost_few_readings(void **state)
{
	struct fresh fresh;
	int readings = 0;

	(void)state;
	fresh_init(&fresh, T);
	for (int ms = 0; ms < 100 * 1000; ms++) {
		if (!fresh_due(&fresh, true, T + ms))
			continue;
		fresh_read(&fresh, true, T + ms);
		readings++;
	}
	/* one a second, and those saved up */
	CHECK("few", readings <= 100 + FRESH_SAVED_MOST);
	CHECK("but some", readings >= 100);
	fresh_done(&fresh);
}

static void *miss(void *context)
{
	struct fresh *fresh = context;

	/* must come back, and have nothing to read */
	return fresh_due(fresh, true, T) ? fresh : NULL;
}

static void who_misses_something_waits_for_who_reads(void **state)
{
	void *due = NULL;
	struct fresh fresh;
	pthread_t thread;

	(void)state;
	fresh_init(&fresh, T);
	CHECK("first", fresh_due(&fresh, false, T));
	assert_int_equal(pthread_create(&thread, NULL, miss, &fresh), 0);
	(void)poll(NULL, 0, 20);
	fresh_read(&fresh, true, T);
	assert_int_equal(pthread_join(thread, &due), 0);
	CHECK("nothing due", due == NULL);
	fresh_done(&fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_read_at_first_and_when_it_is_old),
		cmocka_unit_test(a_failed_reading_is_repeated_after_a_second),
		cmocka_unit_test(what_it_said_is_trusted_only_so_long),
		cmocka_unit_test(guesses_cost_few_readings),
		cmocka_unit_test(who_misses_something_waits_for_who_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
