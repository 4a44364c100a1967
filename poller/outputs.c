/* SPDX-License-Identifier: MIT */
#include "poller/outputs.h"

#include "common/model/json_text.h"

#include <errno.h>
#include <string.h>

static int load(const char *text, size_t flags, json_t **ret)
{
	json_error_t error;

	return json_text_load_large(text, strlen(text), flags, ret, &error);
}

int outputs_init(struct outputs *outputs, const char *defaults,
		 struct fault *reterr_fault)
{
	*outputs = (struct outputs){
		.outputs = json_object(),
		.media = json_object(),
		.stored = json_object(),
	};
	if (defaults && load(defaults, 0, &outputs->defaults) == -ENOMEM)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	if (defaults && !json_is_object(outputs->defaults))
		return fault_set(reterr_fault, -EBADMSG,
				 "the dependency_defaults are no object");
	if (!outputs->outputs || !outputs->media || !outputs->stored)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	return 0;
}

void outputs_done(struct outputs *outputs)
{
	json_decref(outputs->outputs);
	json_decref(outputs->media);
	json_decref(outputs->stored);
	json_decref(outputs->defaults);
	*outputs = (struct outputs){ 0 };
}

/* The files as the API shows them, without their keys. */
static json_t *public_media(const json_t *stored, json_t *urls)
{
	json_t *media = json_array();
	json_t *file;
	size_t i;

	json_array_foreach(stored, i, file)
	{
		json_t *copy = json_copy(file);

		(void)json_object_del(copy, "key");
		if (json_array_append_new(media, copy) < 0 ||
		    json_array_append(urls, json_object_get(file, "url")) < 0) {
			json_decref(media);
			return NULL;
		}
	}
	return media;
}

/* Takes both. */
static int add_result(struct outputs *outputs, const char *name, json_t *raw,
		      json_t *stored)
{
	json_t *urls = json_array();
	json_t *media = public_media(stored, urls);
	json_t *url = json_array_get(urls, 0);
	int r;

	r = json_object_set_new(outputs->outputs, name,
				json_pack("{s:O?, s:o, s:o, s:o}", "url", url,
					  "urls", urls, "media", media, "raw",
					  raw));
	if (json_object_set_new(outputs->stored, name, stored) < 0)
		r = -1;
	return r < 0 ? -ENOMEM : 0;
}

/* The files of a stand-in are what its author wrote: a provider that takes
 * bytes is given them as they are. */
static int add_stand_in(struct outputs *outputs, const char *name)
{
	json_t *stand_in = json_object_get(outputs->defaults, name);
	json_t *media = json_object_get(stand_in, "media");

	if (!stand_in)
		return 0;
	if (json_object_set(outputs->outputs, name, stand_in) < 0)
		return -ENOMEM;
	if (json_is_array(media) && json_array_size(media) > 0 &&
	    json_object_get(json_array_get(media, 0), "bytesBase64Encoded") &&
	    json_object_set(outputs->media, name, media) < 0)
		return -ENOMEM;
	return 0;
}

int outputs_add(struct outputs *outputs, const struct upstream *upstream,
		struct fault *reterr_fault)
{
	json_t *raw = upstream->output ? NULL : json_null();
	json_t *stored = NULL;
	int r = 0;

	if (!upstream->completed) {
		r = add_stand_in(outputs, upstream->name);
		return r < 0 ? fault_set(reterr_fault, r, "no memory") : 0;
	}
	if (upstream->output)
		r = load(upstream->output, JSON_DECODE_ANY, &raw);
	if (r != -ENOMEM && load(upstream->media, 0, &stored) == -ENOMEM)
		r = -ENOMEM;
	if (r < 0 || !json_is_array(stored)) {
		json_decref(raw);
		json_decref(stored);
		return fault_set(reterr_fault, r == -ENOMEM ? r : -EBADMSG,
				 "the result of \"%s\" cannot be read",
				 upstream->name);
	}
	r = add_result(outputs, upstream->name, raw, stored);
	return r < 0 ? fault_set(reterr_fault, r, "no memory") : 0;
}

bool outputs_find_file(const struct outputs *outputs, const char *name,
		       size_t index, struct outputs_file *ret)
{
	const json_t *stored = json_object_get(outputs->stored, name);
	const json_t *file = json_array_get(stored, index);
	struct outputs_file found = {
		.key = json_string_value(json_object_get(file, "key")),
		.content_type = json_string_value(
			json_object_get(file, "content_type")),
	};

	if (!found.key || !found.content_type)
		return false;
	*ret = found;
	return true;
}

int outputs_set_bytes(struct outputs *outputs, const char *name, size_t index,
		      const char *base64, const char *content_type)
{
	json_t *files = json_object_get(outputs->media, name);

	if (!files) {
		files = json_array();
		if (json_object_set_new(outputs->media, name, files) < 0)
			return -ENOMEM;
	}
	while (json_array_size(files) <= index) {
		if (json_array_append_new(files, json_null()) < 0)
			return -ENOMEM;
	}
	if (json_array_set_new(files, index,
			       json_pack("{s:s, s:s}", "bytesBase64Encoded",
					 base64, "mimeType", content_type)) < 0)
		return -ENOMEM;
	return 0;
}
