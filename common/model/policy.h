/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_POLICY_H
#define COMMON_MODEL_POLICY_H

/* What becomes of a job when one that it depends on does not complete. */

enum policy {
	POLICY_NONE = 0,
	POLICY_FAIL, /* it fails at the first of them; the default */
	POLICY_SKIP, /* it is skipped at the first of them */
	POLICY_RUN,  /* it runs once all are terminal, with its defaults */
	POLICY_MAX,
};

const char *policy_name(enum policy policy);	/* fail, skip, run; as in SQL */
enum policy policy_from_name(const char *name); /* or POLICY_NONE */

#endif
