/* SPDX-License-Identifier: MIT */
#ifndef COMMON_FLOW_WEBHOOK_H
#define COMMON_FLOW_WEBHOOK_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/io/conf.h"
#include "common/io/db.h"
#include "common/provider/provider.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A provider reports. First it is judged, by any thread and without looking
 * at the job: what may be believed of it? Then what it means is committed,
 * many webhooks at once: the inbox row and the job's move in one statement.
 */

enum webhook_trust {
	WEBHOOK_REFUSED = 0, /* forged, or unsigned where it has to be signed */
	WEBHOOK_DOUBTFUL,    /* refuse it, but look: the keys may have been
				changed a moment after they were fetched */
	WEBHOOK_HINT,	     /* take nothing from it but "look now" */
	WEBHOOK_GENUINE,     /* its signature says it is the provider's */
	WEBHOOK_UNSURE,	     /* none of our keys fits: read them again, and
				ask with keys_are_new */
};

struct webhook_judging {
	const struct provider_ops *ops;
	const struct provider_webhook *webhook; /* with the keys in it */
	bool keys_configured; /* the operator says that these are all */
	bool keys_are_new;    /* they were just read again */
	int64_t keys_age_s;   /* since they were fetched from the provider */
};

/**
 * How far can it be trusted? Its token, if it has one, is another matter.
 *
 * @ret_delivery_id  the provider's id of this delivery, or NULL
 */
enum webhook_trust webhook_judge(const struct webhook_judging *judging,
				 struct arena *arena,
				 const char **ret_delivery_id);

enum webhook_outcome {
	WEBHOOK_AWAY = 0, /* not committed: let the provider try again */
	WEBHOOK_TAKEN,
	WEBHOOK_NO_EFFECT,   /* repeated, late, or nothing new */
	WEBHOOK_JOB_UNKNOWN, /* no such job */
	WEBHOOK_WRONG_JOB,   /* without a token, and the job is not the one
				that its body names */
};

/* One webhook on its way. */
struct webhook_item {
	const char *job_id;
	const struct provider_ops *ops;
	int32_t attempt; /* the token's; 0: it came without one */
	bool hint;
	struct provider_event event; /* unless hint */
	const char *delivery_key;    /* unless hint */

	/* put in by webhook_commit() */
	enum webhook_outcome outcome;
	bool wake; /* there is work for the poller */
};

/**
 * Commit a batch: one statement writes the results of jobs that render, which
 * is most of it. Of the others one reads the jobs, one moves them; those that
 * lost a race are decided again.
 *
 * @items  each gets its outcome
 */
void webhook_commit(const struct conf *conf, struct db *db,
		    struct webhook_item *const *items, size_t count,
		    struct arena *arena);

#endif
