/* SPDX-License-Identifier: MIT */
#include "tests/db/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Databases beside the test's own, which are not as a host's should be. */

static const char *own_url;

static int note_url(void **state)
{
	const char *url = getenv("DATABASE_URL");

	(void)state;
	own_url = url ? strdup(url) : NULL;
	return own_url ? 0 : -1;
}

static void of_another_encoding_is_refused_untouched(void **state)
{
	static const char *const encodings[] = { "LATIN1", "SQL_ASCII" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(encodings); i++) {
		struct fault fault = { "" };
		char url[512];
		int applied = -1;

		fixture_sql("CREATE DATABASE other ENCODING '%s' "
			    "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
			    encodings[i]);
		/* The last name of a database in it counts. */
		(void)snprintf(url, sizeof(url), "%s&dbname=other", own_url);
		CHECK_NUMBER(encodings[i], db_migrate(url, &applied, &fault),
			     -EINVAL);
		CHECK_NUMBER(encodings[i], applied, -1);
		CHECK(encodings[i],
		      strstr(fault.text, encodings[i]) &&
			      strstr(fault.text, "ENCODING 'UTF8' TEMPLATE "
						 "template0"));
		(void)setenv("DATABASE_URL", url, 1);
		CHECK_NUMBER(encodings[i],
			     fixture_number("SELECT count(*) FROM pg_class "
					    "WHERE relnamespace = "
					    "'public'::regnamespace"),
			     0);
		(void)setenv("DATABASE_URL", own_url, 1);
		fixture_sql("DROP DATABASE other");
	}
}

static void of_ours_is_brought_up_to_date_once(void **state)
{
	struct fault fault = { "" };
	int applied = -1;

	(void)state;
	CHECK_NUMBER("again", db_migrate(own_url, &applied, &fault), 0);
	CHECK_NUMBER("again", applied, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_another_encoding_is_refused_untouched),
		cmocka_unit_test(of_ours_is_brought_up_to_date_once),
	};

	return cmocka_run_group_tests(tests, note_url, NULL);
}
