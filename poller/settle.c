/* SPDX-License-Identifier: MIT */
#include "poller/settle.h"

#include "common/base/clock.h"
#include "poller/claim.h"
#include "poller/outbox.h"

enum { SLICE_MS = 200 };

void settle_begin(struct work *work)
{
	struct move move = work_move(work, JOB_SETTLED);

	move.quiet = true;
	move.attempt = 0;
	work_send(work, &move, NULL);
}

void settle_generations(struct poller *poller)
{
	int64_t end_ms = clock_monotonic_ms() + SLICE_MS;

	if (!poller->unsettled)
		return;
	outbox_finish(poller);
	while (poller->unsettled && !poller->database_lost &&
	       clock_monotonic_ms() < end_ms) {
		poller->unsettled = false;
		if (claim_ended(poller) < 0)
			return;
		outbox_finish(poller);
	}
}
