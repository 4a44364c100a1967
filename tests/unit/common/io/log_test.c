/* SPDX-License-Identifier: MIT */
#include "common/io/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
	const char *name;
	int level;
	struct log_context context;
	const char *message, *want;
} lines[] = {
	{ "no context",
	  LOG_NOTICE,
	  { .job = NULL },
	  "started",
	  "NOTICE started" },
	{ "all of it",
	  LOG_INFO,
	  { .job = "j",
	    .execution = "e",
	    .provider = "fal",
	    .state = "queued",
	    .request = "r",
	    .attempt = 2 },
	  "waiting -> queued",
	  "INFO waiting -> queued job=j execution=e provider=fal state=queued "
	  "attempt=2 request=r" },
	{ "a second line",
	  LOG_ERR,
	  { .job = "a\nERR b" },
	  "x\r\ny",
	  "ERR x\\x0d\\x0ay job=a\\x0aERR b" },
	{ "an escape",
	  LOG_WARNING,
	  { .job = NULL },
	  "\x1b[2J\x7f\t",
	  "WARNING \\x1b[2J\\x7f\\x09" },
	{ "UTF-8 stays",
	  LOG_DEBUG,
	  { .state = "gr\xc3\xbc\xc3\x9f" },
	  "\xf0\x9f\x8e\xac",
	  "DEBUG \xf0\x9f\x8e\xac state=gr\xc3\xbc\xc3\x9f" },
	{ "what is no UTF-8",
	  LOG_INFO,
	  { .job = NULL },
	  "\xff \xc3 \xc0\xaf \xed\xa0\x80 \xc2\x9b",
	  "INFO \\xff \\xc3 \\xc0\\xaf \\xed\\xa0\\x80 \\xc2\\x9b" },
};

static void lines_read_well(void **state)
{
	char text[512];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		size_t length =
			log_format_line(lines[i].level, &lines[i].context,
					lines[i].message, text, sizeof(text));

		if (strcmp(text, lines[i].want) != 0)
			fail_msg("%s: %s", lines[i].name, text);
		assert_int_equal(length, strlen(lines[i].want));
	}
}

static void a_long_line_is_cut_between_parts(void **state)
{
	struct log_context context = { .job = "0123456789", .state = "queued" };
	char text[64], whole[64];
	size_t length =
		log_format_line(LOG_INFO, &context, "m", whole, sizeof(whole));

	(void)state;
	for (size_t size = 1; size < sizeof(text); size++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(
			log_format_line(LOG_INFO, &context, "m", text, size),
			length);
		assert_true(strlen(text) < size);
		assert_memory_equal(text, whole, strlen(text));
		for (size_t i = size; i < sizeof(text); i++)
			assert_int_equal(text[i], 'x');
	}
}

/* ---- what really arrives on stderr -------------------------------------- */

static int real_stderr;

static FILE *catch_stderr(void)
{
	FILE *file = tmpfile();

	assert_non_null(file);
	real_stderr = dup(STDERR_FILENO);
	(void)dup2(fileno(file), STDERR_FILENO);
	return file;
}

static void give_stderr_back(FILE *file)
{
	(void)dup2(real_stderr, STDERR_FILENO);
	(void)close(real_stderr);
	rewind(file);
}

static void levels_are_kept_apart(void **state)
{
	FILE *file = catch_stderr();
	char text[256];

	(void)state;
	log_open("test", LOG_WARNING, CONF_LOG_STDERR);
	log_event(LOG_INFO, LOG_ID_JOB_MOVED, NULL, "not this");
	log_event(LOG_WARNING, LOG_ID_JOB_FAILED,
		  &(struct log_context){ .job = "7", .attempt = 1 },
		  "but %s %d", "this", 3);
	give_stderr_back(file);
	assert_non_null(fgets(text, sizeof(text), file));
	assert_string_equal(text, "WARNING but this 3 job=7 attempt=1\n");
	assert_null(fgets(text, sizeof(text), file));
	(void)fclose(file);
}

static void *write_lines(void *userdata)
{
	for (int i = 0; i < 200; i++)
		log_event(LOG_INFO, LOG_ID_JOB_MOVED,
			  &(struct log_context){ .job = userdata }, "%0100d",
			  0);
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	static char job[] = "a";
	FILE *file = catch_stderr();
	pthread_t threads[4];
	char text[512];
	int count = 0;

	(void)state;
	log_open("test", LOG_INFO, CONF_LOG_STDERR);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, write_lines, job), 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		(void)pthread_join(threads[i], NULL);
	give_stderr_back(file);
	while (fgets(text, sizeof(text), file)) {
		assert_int_equal(strlen(text), 5 + 100 + 6 + 1);
		count++;
	}
	assert_int_equal(count, 800);
	(void)fclose(file);
}

/* Both ends of what the catalog explains. */
static void identifiers_are_in_the_catalog(void **state)
{
	static const char *const ids[] = {
		LOG_ID_STARTED,		LOG_ID_STOPPED,
		LOG_ID_CONF_WRONG,	LOG_ID_ALLOW_LOOPBACK,
		LOG_ID_JOB_MOVED,	LOG_ID_JOB_FAILED,
		LOG_ID_START_UNKNOWN,	LOG_ID_START_RESOLVED,
		LOG_ID_DOUBLE_START,	LOG_ID_WEBHOOK_ACCEPTED,
		LOG_ID_WEBHOOK_REFUSED, LOG_ID_WEBHOOK_FORGED,
		LOG_ID_PROVIDER_DOWN,	LOG_ID_PROVIDER_UP,
		LOG_ID_STATUS_UNKNOWN,	LOG_ID_STORE_FAILED,
		LOG_ID_STORE_HANGS,	LOG_ID_DATABASE_LOST,
		LOG_ID_DATABASE_BACK,	LOG_ID_LEASE_LOST,
		LOG_ID_CLEANUP_DONE,	LOG_ID_REQUEST_FAILED,
	};
	FILE *file = fopen("systemd/rushes.catalog", "re");
	char line[256];
	size_t entries = 0;
	bool seen[COUNT_OF(ids)] = { false };

	(void)state;
	assert_non_null(file); /* tests run at the top of the tree */
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "-- ", 3) != 0)
			continue;
		entries++;
		for (size_t i = 0; i < COUNT_OF(ids); i++)
			seen[i] |= strcmp(line + 3, ids[i]) == 0;
	}
	(void)fclose(file);
	assert_int_equal(entries, COUNT_OF(ids));
	for (size_t i = 0; i < COUNT_OF(ids); i++) {
		assert_int_equal(strlen(ids[i]), 32);
		assert_true(seen[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_read_well),
		cmocka_unit_test(a_long_line_is_cut_between_parts),
		cmocka_unit_test(levels_are_kept_apart),
		cmocka_unit_test(lines_of_threads_do_not_mix),
		cmocka_unit_test(identifiers_are_in_the_catalog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
