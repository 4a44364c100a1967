/* SPDX-License-Identifier: MIT */
#include "common/provider/fal.h"
#include "common/provider/wire.h"

#include <string.h>

/*
 * fal's error types. Manual:
 * https://docs.fal.ai/model-endpoints/errors (read 2026-11-23). It says that
 * what ends in a 5xx is not billed.
 */

/* clang-format off */
static const struct trouble {
	const char *type;
	enum job_event kind;
	const char *code;
	enum job_billed billed;
} troubles[] = {
	/* of the model */
	{ "content_policy_violation",	JOB_PROVIDER_FAILED,	"content_refused",	JOB_BILLED_UNKNOWN },
	{ "no_media_generated",		JOB_PROVIDER_FAILED,	"no_media",		JOB_BILLED_UNKNOWN },
	{ "file_download_error",	JOB_PROVIDER_FAILED,	"input_unreachable",	JOB_BILLED_UNKNOWN },
	{ "image_too_small",		JOB_PROVIDER_FAILED,	"invalid_input",	JOB_BILLED_UNKNOWN },
	{ "image_too_large",		JOB_PROVIDER_FAILED,	"invalid_input",	JOB_BILLED_UNKNOWN },
	{ "feature_not_supported",	JOB_PROVIDER_FAILED,	"invalid_input",	JOB_BILLED_UNKNOWN },
	{ "internal_server_error",	JOB_PROVIDER_FALTERED,	"provider_faltered",	JOB_BILLED_NO },
	{ "downstream_service_error",	JOB_PROVIDER_FALTERED,	"provider_faltered",	JOB_BILLED_NO },
	{ "downstream_service_unavailable", JOB_PROVIDER_FALTERED, "provider_faltered",	JOB_BILLED_NO },
	/* the queue has repeated these by itself */
	{ "generation_timeout",		JOB_PROVIDER_FAILED,	"generation_timeout",	JOB_BILLED_NO },
	{ "request_timeout",		JOB_PROVIDER_FAILED,	"generation_timeout",	JOB_BILLED_NO },
	{ "startup_timeout",		JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	{ "runner_scheduling_failure",	JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	{ "runner_connection_timeout",	JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	{ "runner_disconnected",	JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	{ "runner_connection_refused",	JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	{ "runner_connection_error",	JOB_PROVIDER_FAILED,	"provider_unavailable",	JOB_BILLED_NO },
	/* and these not */
	{ "runner_incomplete_response",	JOB_PROVIDER_FALTERED,	"provider_faltered",	JOB_BILLED_NO },
	{ "runner_server_error",	JOB_PROVIDER_FALTERED,	"provider_faltered",	JOB_BILLED_NO },
	{ "internal_error",		JOB_PROVIDER_FALTERED,	"provider_faltered",	JOB_BILLED_NO },
	/* of the request */
	{ "client_disconnected",	JOB_PROVIDER_FAILED,	"provider_stopped",	JOB_BILLED_UNKNOWN },
	{ "client_cancelled",		JOB_PROVIDER_CANCELLED,	"provider_cancelled",	JOB_BILLED_UNKNOWN },
	{ "client_canceled",		JOB_PROVIDER_CANCELLED,	"provider_cancelled",	JOB_BILLED_UNKNOWN },
	{ "bad_request",		JOB_PROVIDER_FAILED,	"invalid_input",	JOB_BILLED_UNKNOWN },
};
/* clang-format on */

static const struct trouble *find_trouble(const char *type)
{
	for (size_t i = 0; type && i < COUNT_OF(troubles); i++)
		if (strcasecmp(troubles[i].type, type) == 0)
			return &troubles[i];
	return NULL;
}

bool fal_is_known(const char *type)
{
	return find_trouble(type) != NULL;
}

unsigned fal_status_in_text(const char *text)
{
	const char *number = text ? strcasestr(text, "status code: ") : NULL;
	unsigned status = 0;

	if (!number)
		return 0;
	number += strlen("status code: ");
	for (int i = 0; i < 3 && number[i] >= '0' && number[i] <= '9'; i++)
		status = status * 10 + (unsigned)(number[i] - '0');
	return status >= 100 ? status : 0;
}

struct provider_event fal_rendered(json_t *output, struct arena *arena)
{
	struct provider_event event = wire_event(JOB_RENDERED);

	wire_find_media(output, arena, &event);
	event.output = wire_output(output, arena);
	if (event.media_count == 0) {
		event.kind = JOB_PROVIDER_FAILED;
		event.billed = JOB_BILLED_YES;
		wire_explain(&event, "no_media",
			     "the model succeeded and made no file", arena);
	}
	return event;
}

bool fal_read_trouble(json_t *body, struct fal_trouble *trouble)
{
	json_t *detail = json_object_get(body, "detail");
	json_t *first = json_array_get(detail, 0);
	const char *type = wire_string(body, "error_type");

	if (json_is_object(first)) {
		json_t *message = json_object_get(first, "msg");

		trouble->message = message ? message : detail;
		trouble->type = wire_string(first, "type");
		/* Of several, the one that our table knows says most. */
		for (size_t i = 1; i < json_array_size(detail) &&
				   !fal_is_known(trouble->type);
		     i++) {
			json_t *item = json_array_get(detail, i);
			const char *word = wire_string(item, "type");

			if (fal_is_known(word)) {
				trouble->type = word;
				trouble->message = json_object_get(item, "msg");
			}
		}
	} else if (detail && !json_is_null(detail)) {
		trouble->message = detail;
	}
	if (type)
		trouble->type = type;
	return trouble->message || trouble->type;
}

/* What a type that the table does not have, or none, comes to. */
static struct trouble guess_trouble(const struct fal_trouble *trouble)
{
	struct trouble guess = {
		.kind = JOB_PROVIDER_FAILED,
		.code = "provider_failed",
		.billed = JOB_BILLED_UNKNOWN,
	};

	if (trouble->status >= 500) {
		guess.billed = JOB_BILLED_NO;
		guess.code = "provider_unavailable";
		if (trouble->status != 503 && trouble->status != 504) {
			guess.kind = JOB_PROVIDER_FALTERED;
			guess.code = "provider_faltered";
		}
	} else if (trouble->status >= 400) {
		guess.code = "invalid_input";
	}
	return guess;
}

/* "Invalid status code: 422" says less than the type does: then both. */
static const char *explain(const struct fal_trouble *trouble,
			   struct arena *arena)
{
	const char *text = json_string_value(trouble->message);
	const char *joined;

	if (trouble->type && text && fal_status_in_text(text)) {
		joined = arena_printf(arena, "%s (%s)", trouble->type, text);
		return joined ? wire_message(joined, arena) : NULL;
	}
	if (trouble->message && !json_is_null(trouble->message))
		return wire_message_json(trouble->message, arena);
	return wire_message(
		trouble->type ? trouble->type : "the request failed", arena);
}

struct provider_event fal_failure(const struct fal_trouble *trouble,
				  struct arena *arena)
{
	const struct trouble *known = find_trouble(trouble->type);
	struct trouble found = known ? *known : guess_trouble(trouble);
	struct provider_event event;

	if (found.kind == JOB_PROVIDER_FALTERED && trouble->not_retryable) {
		found.kind = JOB_PROVIDER_FAILED;
		found.code = "provider_failed";
	} else if (!known && trouble->retryable && trouble->status != 503 &&
		   trouble->status != 504) {
		found.kind = JOB_PROVIDER_FALTERED;
		found.code = "provider_faltered";
	}

	event = wire_event(found.kind);
	event.error_code = found.code;
	event.billed = found.billed;
	event.error_message = explain(trouble, arena);
	return event;
}
