/* SPDX-License-Identifier: MIT */
#include "poller/sources.h"

#include "common/flow/advance.h"
#include "common/model/json_text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static int read_source(const json_t *item, struct arena *arena,
		       struct source *ret)
{
	const json_t *index = json_object_get(item, "inline");
	const char *url = json_string_value(json_object_get(item, "url"));
	const char *type =
		json_string_value(json_object_get(item, "content_type"));
	struct source source = { 0 };

	if (url) {
		source.url = arena_strdup(arena, url);
		source.content_type = type ? arena_strdup(arena, type) : NULL;
	} else if (json_is_integer(index) && json_integer_value(index) >= 0 &&
		   json_integer_value(index) < PROVIDER_MEDIA_MAX) {
		source.inline_index = (size_t)json_integer_value(index);
	} else {
		return -EBADMSG;
	}
	*ret = source;
	return 0;
}

int sources_read(const char *text, struct arena *arena, struct sources *ret,
		 struct fault *reterr_fault)
{
	json_auto_t *array = NULL;
	json_error_t error;
	struct sources sources = { 0 };
	const json_t *item;
	size_t i;

	if (json_text_load(text, strlen(text), 0, &array, &error) == -ENOMEM)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	if (!json_is_array(array) ||
	    json_array_size(array) > COUNT_OF(sources.source))
		return fault_set(reterr_fault, -EBADMSG,
				 "media_source is no list of at most %zu files",
				 COUNT_OF(sources.source));
	json_array_foreach(array, i, item)
	{
		struct source *source = &sources.source[sources.count++];

		if (read_source(item, arena, source) < 0)
			return fault_set(reterr_fault, -EBADMSG,
					 "item %zu of media_source says not "
					 "where its file is",
					 i);
		if (!source->url)
			sources.has_inline = true;
	}
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	*ret = sources;
	return 0;
}

int sources_from_event(const struct provider_event *event, struct arena *arena,
		       struct sources *ret, struct fault *reterr_fault)
{
	const char *text = advance_media_source(event, arena);

	if (!text)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	return sources_read(text, arena, ret, reterr_fault);
}

const char *sources_stored(const struct stored *stored, size_t count,
			   struct arena *arena)
{
	json_auto_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *file = json_pack("{s:I, s:s, s:s, s:s, s:I, s:s}",
					 "index", (json_int_t)i, "key",
					 stored[i].key, "url", stored[i].url,
					 "content_type", stored[i].content_type,
					 "bytes", (json_int_t)stored[i].bytes,
					 "sha256", stored[i].sha256);

		if (json_array_append_new(array, file) < 0)
			return NULL;
	}
	return json_text_write(array, arena);
}
