/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_EVENT_H
#define TESTS_FUZZ_EVENT_H

#include "common/base/arena.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/url.h"
#include "common/provider/provider.h"
#include "common/provider/wire.h"
#include "tests/fuzz/fuzz.h"

/* What common/provider/provider.h promises of every event, whatever bytes it
 * was made of: the rest of the program relies on it without looking. */

enum { EVENT_ARENA_BYTES = 1024 * 1024 };

static inline bool event_same_text(const char *one, const char *other)
{
	return !one || !other ? one == other : strcmp(one, other) == 0;
}

/* Words for a person, and for a log line. */
static inline void event_message_holds(const char *message)
{
	if (!message)
		return;
	HOLDS(strlen(message) <= LIMIT_ERROR_MESSAGE_BYTES);
	for (const char *at = message; *at; at++)
		HOLDS((unsigned char)*at >= ' ' && *at != 0x7f);
}

static inline void event_media_holds(const struct provider_media *media)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(EVENT_ARENA_BYTES);
	struct url url;

	HOLDS((media->url != NULL) != (media->base64 != NULL));
	HOLDS(!media->base64 || strnlen(media->base64, media->base64_bytes) ==
					media->base64_bytes);
	/* gs:// is Google's; everything else is on the web. */
	if (media->url && strncmp(media->url, "gs://", 5) != 0) {
		HOLDS(url_split(media->url, arena, &url, NULL) == 0);
		HOLDS(strcmp(url.scheme, "https") == 0 ||
		      strcmp(url.scheme, "http") == 0);
	}
	event_message_holds(media->content_type);
}

static inline bool event_is_failure(enum job_event kind)
{
	return kind == JOB_PROVIDER_FAILED || kind == JOB_PROVIDER_FALTERED ||
	       kind == JOB_PROVIDER_CANCELLED || kind == JOB_REFUSED;
}

/* Only PostgreSQL's kind of JSON gets into the database. */
static inline void event_json_holds(const char *text, size_t most)
{
	json_auto_t *value = NULL;
	json_error_t error;

	if (!text)
		return;
	HOLDS(strlen(text) <= most);
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
			   &error);
	HOLDS(value);
	if (json_is_object(value) || json_is_array(value)) {
		json_auto_t *strict = NULL;

		HOLDS(json_text_read(text, strlen(text), &strict, NULL) == 0);
	}
}

static inline void event_holds(const struct provider_event *event)
{
	HOLDS(event->kind > JOB_EVENT_NONE && event->kind < JOB_EVENT_MAX);
	HOLDS(event->media_count <= PROVIDER_MEDIA_MAX);
	HOLDS((event->kind == JOB_RENDERED) == (event->media_count > 0));
	for (size_t i = 0; i < event->media_count; i++)
		event_media_holds(&event->media[i]);
	HOLDS(!event->provider_job_id ||
	      wire_is_visible(event->provider_job_id,
			      LIMIT_PROVIDER_JOB_ID_BYTES));
	HOLDS(event->progress < 0 || event->progress <= 1);
	HOLDS(event->retry_after_ms >= 0 &&
	      event->retry_after_ms <= LIMIT_RETRY_AFTER_S * INT64_C(1000));
	HOLDS(!event_is_failure(event->kind) || event->error_code);
	HOLDS(!event->error_code ||
	      strspn(event->error_code,
		     "abcdefghijklmnopqrstuvwxyz_0123456789") ==
		      strlen(event->error_code));
	event_message_holds(event->error_message);
	event_message_holds(event->unknown_status);
	HOLDS(!event->hint || event->kind == JOB_PROGRESS);
	event_json_holds(event->output, LIMIT_OUTPUT_BYTES);
	event_json_holds(event->provider_ref, LIMIT_PROVIDER_REF_BYTES);
}

/* Two readings of the same bytes. */
static inline bool event_same(const struct provider_event *one,
			      const struct provider_event *other)
{
	for (size_t i = 0; i < one->media_count; i++)
		if (!event_same_text(one->media[i].url, other->media[i].url))
			return false;
	return one->kind == other->kind &&
	       one->media_count == other->media_count &&
	       one->retry_after_ms == other->retry_after_ms &&
	       one->billed == other->billed && one->hint == other->hint &&
	       event_same_text(one->provider_job_id, other->provider_job_id) &&
	       event_same_text(one->provider_ref, other->provider_ref) &&
	       event_same_text(one->output, other->output) &&
	       event_same_text(one->error_code, other->error_code) &&
	       event_same_text(one->error_message, other->error_message) &&
	       event_same_text(one->cursor, other->cursor);
}

#endif
