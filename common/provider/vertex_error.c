/* SPDX-License-Identifier: MIT */
#include "common/provider/vertex.h"
#include "common/provider/wire.h"

#include <string.h>

/*
 * What Google's errors and refusals mean. Codes of google.rpc.Code; support
 * codes from "Responsible AI and usage guidelines for Veo" (read 2026-11-23).
 */

enum { SUPPORT_CODE_DIGITS = 8 };

/* clang-format off */
static const struct {
	int code;
	enum job_event kind;
	const char *word;
} rpc_codes[] = {
	{  1, JOB_PROVIDER_CANCELLED,	"provider_cancelled" },	/* CANCELLED */
	{  3, JOB_PROVIDER_FAILED,	"invalid_input" },	/* INVALID_ARGUMENT */
	{  4, JOB_PROVIDER_FALTERED,	"provider_faltered" },	/* DEADLINE_EXCEEDED */
	{  7, JOB_PROVIDER_FAILED,	"provider_auth" },	/* PERMISSION_DENIED */
	{  8, JOB_PROVIDER_FALTERED,	"provider_throttled" },	/* RESOURCE_EXHAUSTED */
	{  9, JOB_PROVIDER_FAILED,	"provider_refused" },	/* FAILED_PRECONDITION */
	{ 13, JOB_PROVIDER_FALTERED,	"provider_faltered" },	/* INTERNAL */
	{ 14, JOB_PROVIDER_FALTERED,	"provider_faltered" },	/* UNAVAILABLE */
	{ 16, JOB_PROVIDER_FAILED,	"provider_auth" },	/* UNAUTHENTICATED */
};

static const struct {
	const char *code;
	const char *category;
} support_codes[] = {
	{ "58061214", "child" },	{ "17301594", "child" },
	{ "29310472", "celebrity" },	{ "15236754", "celebrity" },
	{ "64151117", "safety" },	{ "42237218", "safety" },
	{ "62263041", "dangerous" },
	{ "57734940", "hate" },		{ "22137204", "hate" },
	{ "90789179", "sexual" },	{ "43188360", "sexual" },
	{ "61493863", "violence" },	{ "56562880", "violence" },
	{ "35561574", "third-party content" },
	{ "35561575", "third-party content" },
};
/* clang-format on */

static const char *find_category(const char *digits)
{
	for (size_t i = 0; i < COUNT_OF(support_codes); i++)
		if (strncmp(digits, support_codes[i].code,
			    SUPPORT_CODE_DIGITS) == 0)
			return support_codes[i].category;
	return NULL;
}

/* Add the categories of all codes in the text that list does not have. */
static const char *add_categories(const char *list, const char *text,
				  struct arena *arena)
{
	while (*text) {
		size_t digits = strspn(text, "0123456789");
		const char *category = digits == SUPPORT_CODE_DIGITS
					       ? find_category(text)
					       : NULL;

		if (category && !list)
			list = category;
		else if (category && !strstr(list, category))
			list = arena_printf(arena, "%s, %s", list, category);
		if (category && !list)
			return NULL; /* the arena is full */
		text += digits ? digits : 1;
	}
	return list;
}

const char *vertex_categories(json_t *reasons, struct arena *arena)
{
	const char *list = NULL;

	if (json_is_string(reasons))
		return add_categories(NULL, json_string_value(reasons), arena);
	for (size_t i = 0; i < json_array_size(reasons); i++) {
		const char *text =
			json_string_value(json_array_get(reasons, i));

		if (text)
			list = add_categories(list, text, arena);
	}
	return list;
}

static struct provider_event refusal(const char *categories, json_t *reasons,
				     struct arena *arena)
{
	struct provider_event event = wire_event(JOB_PROVIDER_FAILED);
	json_t *first =
		json_is_array(reasons) ? json_array_get(reasons, 0) : reasons;
	const char *text = first ? wire_message_json(first, arena)
				 : "the provider's filters let nothing through";

	if (categories && text)
		text = arena_printf(arena, "(%s) %s", categories, text);
	event.billed = JOB_BILLED_UNKNOWN;
	wire_explain(&event, "content_refused", text, arena);
	return event;
}

struct provider_event vertex_refusal(json_t *reasons, struct arena *arena)
{
	return refusal(vertex_categories(reasons, arena), reasons, arena);
}

struct provider_event vertex_failure(json_t *error, struct arena *arena)
{
	json_t *message = json_object_get(error, "message");
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	const char *categories = vertex_categories(message, arena);
	struct provider_event event = wire_event(JOB_PROVIDER_FAILED);

	if (categories)
		return refusal(categories, message, arena);

	event.error_code = "provider_failed";
	event.billed = JOB_BILLED_UNKNOWN;
	for (size_t i = 0; i < COUNT_OF(rpc_codes); i++) {
		if (rpc_codes[i].code != code)
			continue;
		event.kind = rpc_codes[i].kind;
		event.error_code = rpc_codes[i].word;
	}
	event.error_message =
		wire_message_json(message ? message : error, arena);
	return event;
}
