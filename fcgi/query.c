/* SPDX-License-Identifier: MIT */
#include "fcgi/query.h"

#include "common/base/text.h"
#include "common/model/limits.h"
#include "fcgi/problem.h"

#include <errno.h>
#include <string.h>

static int bad(const struct request *request, struct reply *ret,
	       const char *name, const char *detail)
{
	problem_reply(&(struct problem){ .status = 400,
					 .code = "bad_parameter",
					 .detail = detail,
					 .field = name },
		      request, ret);
	return QUERY_E_BAD;
}

/* @return arena text; NULL when it is not percent-encoding (or no memory) */
static char *decode(const char *text, size_t length, struct arena *arena)
{
	char *decoded = arena_alloc(arena, length + 1);
	size_t at = 0;

	if (!decoded)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		char c = (char)(text[i] == '+' ? ' ' : text[i]);

		if (c == '%') {
			char digits[3] = { 0 };

			if (length - i < 3)
				return NULL;
			memcpy(digits, text + i + 1, 2);
			if (!text_from_hex(digits, &c, 1) || c == '\0')
				return NULL;
			i += 2;
		}
		decoded[at++] = c;
	}
	return decoded;
}

int query_text(const struct request *request, const char *name,
	       const char **ret_value, struct reply *ret)
{
	size_t name_length = strlen(name);
	const char *value = NULL;

	for (const char *at = request->query; *at;) {
		size_t length = strcspn(at, "&");

		if (length >= name_length &&
		    strncmp(at, name, name_length) == 0 &&
		    (length == name_length || at[name_length] == '=')) {
			size_t skip =
				name_length + (length > name_length ? 1 : 0);

			if (value)
				return bad(request, ret, name,
					   "The parameter is given twice.");
			value = decode(at + skip, length - skip,
				       request->arena);
			if (!value)
				return bad(request, ret, name,
					   "The parameter is not properly "
					   "percent-encoded.");
		}
		at += length + (at[length] == '&');
	}
	*ret_value = value;
	return 0;
}

int query_limit(const struct request *request, int64_t if_missing, int64_t most,
		int64_t *ret_limit, struct reply *ret)
{
	const char *text;
	int r;

	r = query_text(request, "limit", &text, ret);
	if (r != 0)
		return r;
	*ret_limit = if_missing;
	if (text && !text_to_int64(text, 1, most, ret_limit)) {
		const char *detail = arena_printf(
			request->arena, "A number from 1 to %d is wanted.",
			(int)most);

		return bad(request, ret, "limit", detail);
	}
	return 0;
}

const char *cursor_make(char kind, const char *after, struct arena *arena)
{
	const char *text = arena_printf(arena, "%c:%s", kind, after);

	return text ? text_to_base64(text, strlen(text), TEXT_BASE64_URL, arena)
		    : NULL;
}

int query_cursor(const struct request *request, char kind,
		 const char **ret_after, struct reply *ret)
{
	const char *text;
	char *after;
	uint8_t *bytes;
	size_t size = 0;
	int r;

	r = query_text(request, "cursor", &text, ret);
	if (r != 0)
		return r;
	*ret_after = NULL;
	if (!text)
		return 0;
	bytes = strlen(text) <= LIMIT_CURSOR_BYTES
			? text_from_base64(text, strlen(text), TEXT_BASE64_URL,
					   request->arena, &size)
			: NULL;
	if (!bytes || size < 3 || bytes[0] != (uint8_t)kind ||
	    bytes[1] != ':' || memchr(bytes, '\0', size))
		return bad(request, ret, "cursor",
			   "The cursor is not one that this list gave.");
	after = arena_strndup(request->arena, (char *)bytes + 2, size - 2);
	if (!after)
		return -ENOMEM;
	*ret_after = after;
	return 0;
}
