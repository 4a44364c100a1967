/* SPDX-License-Identifier: MIT */
#include "fcgi/commit.h"

#include "tests/support/check.h"

static struct commit a_submit(enum submit_outcome outcome)
{
	return (struct commit){
		.kind = COMMIT_SUBMIT,
		.submit = { .outcome = outcome },
	};
}

/* Results of a batch are gone once it is: an answer that is written later
 * must not be made of them. */
static void what_lay_in_the_batch_is_read_anew_afterwards(void **state)
{
	const struct {
		const char *name;
		struct commit commit;
		bool reads, reads_later;
	} cases[] = {
		{ "stored", a_submit(SUBMIT_STORED), false, false },
		{ "a twin of one in the batch", a_submit(SUBMIT_TWIN), false,
		  true },
		{ "a twin of an older one", a_submit(SUBMIT_REPEATED), true,
		  true },
		{ "not stored: the key had another body",
		  a_submit(SUBMIT_CONFLICT), false, false },
		{ "not stored: the database is away", a_submit(SUBMIT_AWAY),
		  false, false },
		{ "a webhook",
		  { .kind = COMMIT_WEBHOOK,
		    .webhook = { .outcome = WEBHOOK_TAKEN } },
		  false,
		  false },
		{ "a job that was found",
		  { .kind = COMMIT_READ_JOB,
		    .read_job = { .outcome = READ_FOUND } },
		  false,
		  true },
		{ "a job on its own",
		  { .kind = COMMIT_READ_JOB,
		    .read_job = { .outcome = READ_ALONE } },
		  true,
		  true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct commit commit = cases[i].commit;

		CHECK_NUMBER(cases[i].name, commit_needs_read(&commit),
			     cases[i].reads);
		commit_detach(&commit);
		CHECK_NUMBER(cases[i].name, commit_needs_read(&commit),
			     cases[i].reads_later);
		if (!cases[i].reads_later)
			CHECK_NUMBER(cases[i].name, commit.submit.outcome,
				     cases[i].commit.submit.outcome);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lay_in_the_batch_is_read_anew_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
