/* SPDX-License-Identifier: MIT */
#include "common/provider/wire.h"

#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"

#include <stdlib.h>
#include <string.h>

/* Where the manuals' examples have their files, the best first: the first
 * file is what a dependent gets for "${job.output.url}". */
static const char *const media_keys[] = {
	"video",      "videos",	   "video_url",	 "video_urls",	  "image",
	"images",     "image_url", "image_urls", "gif",		  "audio",
	"audio_file", "audio_url", "thumbnail",	 "thumbnail_url",
};

static bool is_media_key(const char *key)
{
	for (size_t i = 0; i < COUNT_OF(media_keys); i++)
		if (strcmp(media_keys[i], key) == 0)
			return true;
	return false;
}

/* Take "data:TYPE;...;base64,BYTES" apart. */
static bool split_data_uri(const char *text, struct arena *arena,
			   struct provider_media *ret)
{
	const char *comma = strchr(text, ','), *type;
	size_t type_length;

	if (!text_starts_with(text, "data:") || !comma ||
	    comma - text < (ptrdiff_t)strlen("data:;base64") ||
	    strncmp(comma - 7, ";base64", 7) != 0)
		return false;

	type_length = strcspn(text + 5, ";,");
	type = type_length > 0 ? arena_strndup(arena, text + 5, type_length)
			       : NULL;
	ret->content_type = type ? wire_message(type, arena) : NULL;
	ret->base64_bytes = strlen(comma + 1);
	ret->base64 = arena_strndup(arena, comma + 1, ret->base64_bytes);
	return true;
}

static bool add_media(json_t *value, const char *content_type,
		      struct arena *arena, struct provider_event *event)
{
	struct provider_media media = { 0 };
	const char *text = json_string_value(value);

	if (!text || strlen(text) != json_string_length(value))
		return false;
	if (wire_is_url(text, arena))
		media.url = arena_strdup(arena, text);
	else if (!split_data_uri(text, arena, &media))
		return false;

	if (content_type)
		media.content_type = wire_message(content_type, arena);
	for (size_t i = 0; media.url && i < event->media_count; i++)
		if (event->media[i].url &&
		    strcmp(event->media[i].url, media.url) == 0)
			return true; /* the same file under two names */
	if (event->media_count < PROVIDER_MEDIA_MAX)
		event->media[event->media_count++] = media;
	return true;
}

static void find_at(json_t *value, unsigned depth, struct arena *arena,
		    struct provider_event *event);

static bool find_file(json_t *object, struct arena *arena,
		      struct provider_event *event)
{
	const char *content_type = wire_string(object, "content_type");

	if (!content_type)
		content_type = wire_string(object, "mime_type");
	return add_media(json_object_get(object, "url"), content_type, arena,
			 event) ||
	       add_media(json_object_get(object, "uri"), content_type, arena,
			 event);
}

/* NOLINTNEXTLINE(misc-no-recursion): WIRE_MEDIA_DEPTH bounds it */
static void find_in_object(json_t *object, unsigned depth, struct arena *arena,
			   struct provider_event *event)
{
	size_t before = event->media_count;
	const char *key;
	json_t *value;

	if (find_file(object, arena, event))
		return;
	for (size_t i = 0; i < COUNT_OF(media_keys); i++)
		find_at(json_object_get(object, media_keys[i]), depth + 1,
			arena, event);
	if (event->media_count > before)
		return;
	json_object_foreach(object, key, value) if (!is_media_key(key))
		find_at(value, depth + 1, arena, event);
}

/* NOLINTNEXTLINE(misc-no-recursion): WIRE_MEDIA_DEPTH bounds it */
static void find_at(json_t *value, unsigned depth, struct arena *arena,
		    struct provider_event *event)
{
	if (depth > WIRE_MEDIA_DEPTH ||
	    event->media_count == PROVIDER_MEDIA_MAX)
		return;

	if (json_is_object(value)) {
		find_in_object(value, depth, arena, event);
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++)
			find_at(json_array_get(value, i), depth + 1, arena,
				event);
	} else {
		(void)add_media(value, NULL, arena, event);
	}
}

void wire_find_media(json_t *value, struct arena *arena,
		     struct provider_event *event)
{
	find_at(value, 0, arena, event);
}

static json_t *clean_string(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t length = json_string_length(value);
	json_t *clean;
	char *copy;
	size_t kept = 0;

	if (length >= 5 && memcmp(text, "data:", 5) == 0)
		return json_null();
	copy = malloc(length + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < length; i++)
		if (text[i] != '\0')
			copy[kept++] = text[i];
	clean = json_stringn(copy, kept);
	free(copy);
	return clean;
}

/* A new value; NULL without memory. */
/* NOLINTNEXTLINE(misc-no-recursion): LIMIT_JSON_DEPTH bounds it */
static json_t *clean_copy(json_t *value, unsigned depth)
{
	json_t *copy;
	const char *key;
	json_t *member;
	bool failed = false;

	if (json_is_string(value))
		return clean_string(value);
	if (!json_is_object(value) && !json_is_array(value))
		return json_incref(value);
	if (depth == LIMIT_JSON_DEPTH)
		return json_null();

	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach(value, key, member) failed =
			json_object_set_new(
				copy, key, clean_copy(member, depth + 1)) < 0 ||
			failed;
	} else {
		copy = json_array();
		for (size_t i = 0; i < json_array_size(value); i++)
			failed = json_array_append_new(
					 copy,
					 clean_copy(json_array_get(value, i),
						    depth + 1)) < 0 ||
				 failed;
	}
	if (failed) {
		json_decref(copy);
		return NULL;
	}
	return copy;
}

const char *wire_output(json_t *value, struct arena *arena)
{
	json_auto_t *copy = clean_copy(value, 0);
	const char *text = copy ? json_text_write(copy, arena) : NULL;

	return text && strlen(text) <= LIMIT_OUTPUT_BYTES ? text : NULL;
}
