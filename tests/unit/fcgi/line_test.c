/* SPDX-License-Identifier: MIT */
#include "fcgi/line.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

enum { MANY = 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct line line;
static struct pending pending[MANY];

static int start(void **state)
{
	(void)state;
	line_init(&line);
	pthread_mutex_lock(&lock);
	return 0;
}

static int end(void **state)
{
	(void)state;
	pthread_mutex_unlock(&lock);
	line_done(&line);
	return 0;
}

static void add(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		line_add(&line, &pending[i]);
}

static void first_come_is_first_taken(void **state)
{
	(void)state;
	assert_null(line_take(&line));
	add(0, MANY);
	assert_int_equal(line.count, MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_ptr_equal(line_take(&line), &pending[i]);
	assert_null(line_take(&line));
	assert_int_equal(line.count, 0);
}

static void *add_some(void *context)
{
	(void)context;
	pthread_mutex_lock(&lock);
	add(1, MANY);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* However many are expected, and whoever comes or does not. */
static void gathering_ends_and_loses_none(void **state)
{
	static const size_t crowds[] = { 0, 1, 2, 3, MANY, 10 * MANY };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(crowds); i++) {
		pthread_t thread;

		line_gather(&line, &lock, crowds[i]);
		assert_int_equal(line.count, 0);
		add(0, 1);
		line_gather(&line, &lock, crowds[i]);
		assert_int_equal(pthread_create(&thread, NULL, add_some, NULL),
				 0);
		line_gather(&line, &lock, crowds[i]);
		pthread_mutex_unlock(&lock);
		assert_int_equal(pthread_join(thread, NULL), 0);
		pthread_mutex_lock(&lock);
		assert_int_equal(line.count, MANY);
		assert_int_equal(line.wanted, 1);
		while (line_take(&line))
			continue;
	}
}

static void a_closed_line_is_not_waited_for(void **state)
{
	(void)state;
	line_close(&line);
	line_wait(&line, &lock);
	line_gather(&line, &lock, MANY);
	assert_int_equal(line.count, 0);
}

int main(void)
{
#define LINE(test) cmocka_unit_test_setup_teardown(test, start, end)
	const struct CMUnitTest tests[] = {
		LINE(first_come_is_first_taken),
		LINE(gathering_ends_and_loses_none),
		LINE(a_closed_line_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
