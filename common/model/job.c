/* SPDX-License-Identifier: MIT */
#include "common/model/job.h"

#include <string.h>

/* clang-format off */
static const char *const state_name[JOB_STATE_MAX] = {
	[JOB_STATE_NONE] = "none",
	[JOB_WAITING] = "waiting",
	[JOB_QUEUED] = "queued",
	[JOB_STARTING] = "starting",
	[JOB_START_UNKNOWN] = "start_unknown",
	[JOB_PROCESSING] = "processing",
	[JOB_STORING] = "storing",
	[JOB_COMPLETED] = "completed",
	[JOB_FAILED] = "failed",
	[JOB_CANCELLED] = "cancelled",
	[JOB_SKIPPED] = "skipped",
};

static const char *const event_name[JOB_EVENT_MAX] = {
	[JOB_EVENT_NONE] = "none",
	[JOB_RELEASED] = "released",
	[JOB_DEPENDENCY_FAILED] = "dependency_failed",
	[JOB_DEPENDENCY_SKIPPED] = "dependency_skipped",
	[JOB_INPUT_INVALID] = "input_invalid",
	[JOB_START] = "start",
	[JOB_UNSENT] = "unsent",
	[JOB_NOT_STARTED] = "not_started",
	[JOB_THROTTLED] = "throttled",
	[JOB_REFUSED] = "refused",
	[JOB_ACCEPTED] = "accepted",
	[JOB_START_LOST] = "start_lost",
	[JOB_NOT_FOUND_YET] = "not_found_yet",
	[JOB_ABSENT] = "absent",
	[JOB_GAVE_UP] = "gave_up",
	[JOB_PROGRESS] = "progress",
	[JOB_NO_ANSWER] = "no_answer",
	[JOB_RESULT_READY] = "result_ready",
	[JOB_RENDERED] = "rendered",
	[JOB_PROVIDER_FAILED] = "provider_failed",
	[JOB_PROVIDER_FALTERED] = "provider_faltered",
	[JOB_PROVIDER_CANCELLED] = "provider_cancelled",
	[JOB_STORE_AGAIN] = "store_again",
	[JOB_STORE_FAILED] = "store_failed",
	[JOB_STORED] = "stored",
	[JOB_CANCEL] = "cancel",
	[JOB_CANCEL_TRIED] = "cancel_tried",
	[JOB_CANCEL_EXPIRED] = "cancel_expired",
	[JOB_DEADLINE] = "deadline",
	[JOB_RETRY] = "retry",
	[JOB_RETRY_RECONCILE] = "retry_reconcile",
	[JOB_RETRY_STORE] = "retry_store",
	[JOB_REVIVED] = "revived",
	[JOB_SETTLED] = "settled",
};

static const struct job_rule {
	enum job_state from;
	enum job_event on;
	enum job_state to;
	const char *why;
} rules[] = {
	{ JOB_WAITING, JOB_RELEASED, JOB_QUEUED, "everything it waited for is there" },
	{ JOB_WAITING, JOB_DEPENDENCY_FAILED, JOB_FAILED, "a job it depends on did not complete" },
	{ JOB_WAITING, JOB_DEPENDENCY_SKIPPED, JOB_SKIPPED, "a job it depends on did not complete, and its policy is to be skipped" },
	{ JOB_WAITING, JOB_CANCEL, JOB_CANCELLED, "cancelled on request before it was released" },

	{ JOB_QUEUED, JOB_START, JOB_STARTING, "the paid start is about to be sent" },
	{ JOB_QUEUED, JOB_UNSENT, JOB_QUEUED, "given back before anything was sent" },
	{ JOB_QUEUED, JOB_INPUT_INVALID, JOB_FAILED, "its input cannot be made" },
	{ JOB_QUEUED, JOB_REFUSED, JOB_FAILED, "it cannot be started at its provider" },
	{ JOB_QUEUED, JOB_PROGRESS, JOB_PROCESSING, "a start taken for lost reports that it runs" },
	{ JOB_QUEUED, JOB_RENDERED, JOB_STORING, "a start taken for lost reports its result" },
	{ JOB_QUEUED, JOB_CANCEL, JOB_CANCELLED, "cancelled on request before it was started" },
	{ JOB_QUEUED, JOB_DEADLINE, JOB_FAILED, "its deadline passed before it was started" },

	{ JOB_STARTING, JOB_ACCEPTED, JOB_PROCESSING, "the provider accepted the job" },
	{ JOB_STARTING, JOB_PROGRESS, JOB_PROCESSING, "the provider reports that it runs" },
	{ JOB_STARTING, JOB_RENDERED, JOB_STORING, "the result is ready to fetch" },
	{ JOB_STARTING, JOB_UNSENT, JOB_QUEUED, "the start was not sent" },
	{ JOB_STARTING, JOB_NOT_STARTED, JOB_QUEUED, "the start surely failed; it is tried again" },
	{ JOB_STARTING, JOB_THROTTLED, JOB_QUEUED, "the provider asked to slow down" },
	{ JOB_STARTING, JOB_REFUSED, JOB_FAILED, "the provider refused the job" },
	{ JOB_STARTING, JOB_START_LOST, JOB_START_UNKNOWN, "no usable answer came to a start that was sent" },
	{ JOB_STARTING, JOB_PROVIDER_FAILED, JOB_FAILED, "the provider failed the job" },
	{ JOB_STARTING, JOB_PROVIDER_FALTERED, JOB_QUEUED, "the provider failed in passing; it is tried again" },
	{ JOB_STARTING, JOB_PROVIDER_CANCELLED, JOB_CANCELLED, "the provider says it was cancelled" },
	{ JOB_STARTING, JOB_CANCEL, JOB_STARTING, "cancelling as soon as the start is answered" },

	{ JOB_START_UNKNOWN, JOB_ACCEPTED, JOB_PROCESSING, "the start was found at the provider" },
	{ JOB_START_UNKNOWN, JOB_PROGRESS, JOB_PROCESSING, "the provider reports that it runs" },
	{ JOB_START_UNKNOWN, JOB_RENDERED, JOB_STORING, "the result is ready to fetch" },
	{ JOB_START_UNKNOWN, JOB_NOT_FOUND_YET, JOB_START_UNKNOWN, "not found at the provider yet" },
	{ JOB_START_UNKNOWN, JOB_NO_ANSWER, JOB_START_UNKNOWN, "the provider could not be asked; asking again" },
	{ JOB_START_UNKNOWN, JOB_ABSENT, JOB_QUEUED, "surely not at the provider; it is started again as asked" },
	{ JOB_START_UNKNOWN, JOB_GAVE_UP, JOB_FAILED, "nobody could tell whether the start was taken" },
	{ JOB_START_UNKNOWN, JOB_DEADLINE, JOB_FAILED, "its deadline passed before its start was found" },
	{ JOB_START_UNKNOWN, JOB_PROVIDER_FAILED, JOB_FAILED, "the provider failed the job" },
	{ JOB_START_UNKNOWN, JOB_PROVIDER_FALTERED, JOB_QUEUED, "the provider failed in passing; it is tried again" },
	{ JOB_START_UNKNOWN, JOB_PROVIDER_CANCELLED, JOB_CANCELLED, "the provider says it was cancelled" },
	{ JOB_START_UNKNOWN, JOB_CANCEL, JOB_START_UNKNOWN, "cancelling as soon as its start is found" },
	{ JOB_START_UNKNOWN, JOB_CANCEL_EXPIRED, JOB_CANCELLED, "cancelled; its start was not found in time" },

	{ JOB_PROCESSING, JOB_ACCEPTED, JOB_PROCESSING, "the provider had accepted the job already" },
	{ JOB_PROCESSING, JOB_PROGRESS, JOB_PROCESSING, "the provider is still rendering" },
	{ JOB_PROCESSING, JOB_NO_ANSWER, JOB_PROCESSING, "the provider could not be asked; asking again" },
	{ JOB_PROCESSING, JOB_RENDERED, JOB_STORING, "the result is ready to fetch" },
	{ JOB_PROCESSING, JOB_PROVIDER_FAILED, JOB_FAILED, "the provider failed the job" },
	{ JOB_PROCESSING, JOB_PROVIDER_FALTERED, JOB_QUEUED, "the provider failed in passing; it is tried again" },
	{ JOB_PROCESSING, JOB_PROVIDER_CANCELLED, JOB_CANCELLED, "the provider says it was cancelled" },
	{ JOB_PROCESSING, JOB_CANCEL, JOB_PROCESSING, "cancelling; the provider is asked to stop" },
	{ JOB_PROCESSING, JOB_CANCEL_TRIED, JOB_PROCESSING, "the provider was asked to stop" },
	{ JOB_PROCESSING, JOB_CANCEL_EXPIRED, JOB_CANCELLED, "cancelled; the provider did not confirm in time" },
	{ JOB_PROCESSING, JOB_DEADLINE, JOB_FAILED, "its deadline passed while the provider was rendering" },

	{ JOB_STORING, JOB_STORED, JOB_COMPLETED, "its media is in our store" },
	{ JOB_STORING, JOB_STORE_AGAIN, JOB_STORING, "storing failed; it is tried again" },
	{ JOB_STORING, JOB_STORE_FAILED, JOB_FAILED, "its media could not be stored" },
	{ JOB_STORING, JOB_CANCEL, JOB_CANCELLED, "cancelled on request while its media was being stored" },

	{ JOB_COMPLETED, JOB_SETTLED, JOB_COMPLETED, "its dependents were told" },

	{ JOB_FAILED, JOB_SETTLED, JOB_FAILED, "its dependents were told" },
	{ JOB_FAILED, JOB_RETRY, JOB_QUEUED, "retried on request" },
	{ JOB_FAILED, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, "retried on request; a start that may have been paid is looked for first" },
	{ JOB_FAILED, JOB_RETRY_STORE, JOB_STORING, "retried on request; the result is there and only storing is repeated" },
	{ JOB_FAILED, JOB_REVIVED, JOB_WAITING, "what stopped it is being retried" },

	{ JOB_CANCELLED, JOB_SETTLED, JOB_CANCELLED, "its dependents were told" },
	{ JOB_CANCELLED, JOB_RETRY, JOB_QUEUED, "retried on request" },
	{ JOB_CANCELLED, JOB_RETRY_RECONCILE, JOB_START_UNKNOWN, "retried on request; a start that may have been paid is looked for first" },
	{ JOB_CANCELLED, JOB_RETRY_STORE, JOB_STORING, "retried on request; the result is there and only storing is repeated" },
	{ JOB_CANCELLED, JOB_REVIVED, JOB_WAITING, "retried on request; it waits for its dependencies again" },

	{ JOB_SKIPPED, JOB_SETTLED, JOB_SKIPPED, "its dependents were told" },
	{ JOB_SKIPPED, JOB_REVIVED, JOB_WAITING, "what stopped it is being retried" },
};
/* clang-format on */

int job_decide(enum job_state from, enum job_event on, struct job_decision *ret)
{
	for (size_t i = 0; i < COUNT_OF(rules); i++) {
		const struct job_rule *rule = &rules[i];

		if (rule->from != from || rule->on != on)
			continue;
		*ret = (struct job_decision){
			.to = rule->to,
			.why = rule->why,
		};
		return 0;
	}
	return job_is_terminal(from) ? JOB_E_STALE : JOB_E_ILLEGAL;
}

bool job_is_terminal(enum job_state state)
{
	return state == JOB_COMPLETED || state == JOB_FAILED ||
	       state == JOB_CANCELLED || state == JOB_SKIPPED;
}

bool job_may_render(enum job_state state)
{
	return state == JOB_STARTING || state == JOB_START_UNKNOWN ||
	       state == JOB_PROCESSING;
}

const char *job_state_name(enum job_state state)
{
	return state_name[state];
}

enum job_state job_state_from_name(const char *name)
{
	for (size_t i = 1; i < JOB_STATE_MAX; i++) {
		if (strcmp(state_name[i], name) == 0)
			return (enum job_state)i;
	}
	return JOB_STATE_NONE;
}

const char *job_event_name(enum job_event event)
{
	return event_name[event];
}

const char *job_billed_name(enum job_billed billed)
{
	static const char *const names[] = {
		[JOB_BILLED_NO] = "no",
		[JOB_BILLED_YES] = "yes",
		[JOB_BILLED_UNKNOWN] = "unknown",
	};

	return names[billed];
}

void job_print_rules(FILE *out)
{
	for (size_t i = 0; i < COUNT_OF(rules); i++) {
		(void)fprintf(out, "%-13s  %-18s  %-13s  %s\n",
			      state_name[rules[i].from],
			      event_name[rules[i].on], state_name[rules[i].to],
			      rules[i].why);
	}
}
