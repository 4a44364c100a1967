/* SPDX-License-Identifier: MIT */
#include "common/provider/wire.h"

#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/url.h"

#include <errno.h>
#include <string.h>

enum { NAME_MAX_BYTES = 100 };

/* Count values before any is built: a few bytes of "[]," each cost a hundred
 * in memory. A comma or an opening bracket outside of strings begins one. */
static bool is_modest(const char *bytes, size_t size)
{
	size_t values = 1;
	bool quoted = false;

	for (size_t i = 0; i < size; i++) {
		switch (bytes[i]) {
		case '"':
			quoted = !quoted;
			break;
		case '\\':
			i += quoted;
			break;
		case '[':
		case '{':
		case ',':
			values += !quoted;
			break;
		default:
			break;
		}
	}
	return values <= LIMIT_JSON_VALUES;
}

int wire_parse(const char *bytes, size_t size, json_t **ret)
{
	size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
	json_error_t error;
	json_t *value;
	int r;

	if (!bytes || !is_modest(bytes, size))
		return -EBADMSG;

	r = json_text_load_large(bytes, size, flags, &value, &error);
	if (r < 0)
		return r;
	if (!json_is_object(value)) {
		json_decref(value);
		return -EBADMSG;
	}

	*ret = value;
	return 0;
}

int wire_parse_answer(const struct http_response *response, json_t **ret,
		      struct fault *reterr_fault)
{
	int r = wire_parse(response->body, response->body_bytes, ret);

	if (r == -ENOMEM)
		return fault_set(reterr_fault, r, "no memory for the answer");
	if (r < 0)
		*ret = NULL;
	return 0;
}

int wire_parse_input(const struct job *job, json_t **ret,
		     struct fault *reterr_fault)
{
	int r = job->input ? wire_parse(job->input, strlen(job->input), ret)
			   : -EBADMSG;

	if (r == -ENOMEM)
		return fault_set(reterr_fault, r, "no memory for the input");
	if (r < 0)
		return fault_set(reterr_fault, -EINVAL,
				 "input: not a JSON object");
	return 0;
}

const char *wire_string(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* NOLINTNEXTLINE(misc-no-recursion): the parser's depth limit bounds it */
static bool same_objects(json_t *one, json_t *other)
{
	const char *key;
	json_t *value;

	if (json_object_size(one) != json_object_size(other))
		return false;
	json_object_foreach(one, key, value)
	{
		json_t *twin = json_object_get(other, key);

		if (!twin || !wire_same(value, twin))
			return false;
	}
	return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): the parser's depth limit bounds it */
static bool same_arrays(json_t *one, json_t *other)
{
	size_t count = json_array_size(one);

	if (count != json_array_size(other))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!wire_same(json_array_get(one, i),
			       json_array_get(other, i)))
			return false;
	return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): the parser's depth limit bounds it */
bool wire_same(json_t *one, json_t *other)
{
	if (json_is_number(one) && json_is_number(other))
		return json_number_value(one) == json_number_value(other);
	if (json_is_object(one) && json_is_object(other))
		return same_objects(one, other);
	if (json_is_array(one) && json_is_array(other))
		return same_arrays(one, other);
	return json_equal(one, other) != 0;
}

size_t wire_count_candidates(const json_t *items, const struct job *job,
			     json_t *input, wire_candidate_fn *may_be_ours,
			     json_t **ret)
{
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(items); i++) {
		json_t *item = json_array_get(items, i);

		if (may_be_ours(item, job, input)) {
			*ret = item;
			count++;
		}
	}
	return count;
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

bool wire_is_id(const char *text, size_t most)
{
	size_t length = strnlen(text, most + 1);

	if (length == 0 || length > most)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_alphanumeric(text[i]) && text[i] != '_' &&
		    text[i] != '-')
			return false;
	return true;
}

bool wire_is_name(const char *text, size_t length)
{
	if (length == 0 || length > NAME_MAX_BYTES || !is_alphanumeric(text[0]))
		return false;
	for (size_t i = 1; i < length; i++) {
		if (!is_alphanumeric(text[i]) && !strchr("._-", text[i]))
			return false;
		if (text[i] == '.' && text[i - 1] == '.')
			return false;
	}
	return true;
}

bool wire_is_path(const char *text, size_t least, size_t most)
{
	size_t count = 0;

	for (;;) {
		size_t length = strcspn(text, "/");

		if (count == most || !wire_is_name(text, length))
			return false;
		count++;
		if (text[length] == '\0')
			return count >= least;
		text += length + 1;
	}
}

bool wire_is_visible(const char *text, size_t most)
{
	size_t length = strnlen(text, most + 1);

	if (length == 0 || length > most)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

bool wire_is_url(const char *text, struct arena *arena)
{
	struct url url;

	return (text_starts_with(text, "https://") ||
		text_starts_with(text, "http://")) &&
	       url_split(text, arena, &url, NULL) == 0;
}

bool wire_same_origin(const char *url, const char *base_url,
		      struct arena *arena)
{
	struct url one, other;

	return url_split(url, arena, &one, NULL) == 0 &&
	       url_split(base_url, arena, &other, NULL) == 0 &&
	       url_same_origin(&one, &other);
}

const char *wire_only_header(const struct provider_webhook *webhook,
			     const char *name)
{
	if (http_header_count(webhook->header, webhook->header_count, name) !=
	    1)
		return NULL;
	return http_header_value(webhook->header, webhook->header_count, name);
}

bool wire_is_success(const struct http_response *response)
{
	return response->status >= 200 && response->status < 300;
}

int wire_authorize(struct http_request *request, const char *scheme,
		   const char *credential, struct arena *arena,
		   struct fault *reterr_fault)
{
	if (!credential || !wire_is_visible(credential, LIMIT_HEADER_BYTES))
		return fault_set(reterr_fault, -EINVAL,
				 "the provider's credential is missing or has "
				 "characters that no header may hold");

	http_add_header(request, "Authorization",
			arena_printf(arena, "%s %s", scheme, credential));
	return 0;
}

void wire_json_body(struct http_request *request, const char *text)
{
	http_add_header(request, "Content-Type", "application/json");
	request->body = text;
	request->body_bytes = text ? strlen(text) : 0;
}

int wire_request_done(const struct http_request *request,
		      const struct arena *arena, struct http_request *ret,
		      struct fault *reterr_fault)
{
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for a request to the provider");

	*ret = *request;
	return 0;
}

int wire_media_request(const struct provider_media *media, struct arena *arena,
		       struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };

	if (!media->url ||
	    (!wire_is_url(media->url, arena) && !arena_failed(arena)))
		return fault_set(reterr_fault, -EINVAL,
				 "the medium has no address to fetch it from");

	request.url = arena_strdup(arena, media->url);
	return wire_request_done(&request, arena, ret, reterr_fault);
}
