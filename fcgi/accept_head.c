/* SPDX-License-Identifier: MIT */
#include "fcgi/accept_head.h"

#include <fastcgi.h>
#include <stdbool.h>
#include <string.h>

struct record {
	unsigned type;
	unsigned request;
	size_t content_bytes;
	size_t padding_bytes;
};

static struct record record_at(const uint8_t *bytes)
{
	return (struct record){
		.type = bytes[1],
		.request = (unsigned)bytes[2] << 8 | bytes[3],
		.content_bytes = (size_t)bytes[4] << 8 | bytes[5],
		.padding_bytes = bytes[6],
	};
}

/* One length of a pair: a byte, or four with the top bit set. */
static bool take_length(const uint8_t **at, const uint8_t *end, size_t *ret)
{
	const uint8_t *p = *at;

	if (p == end)
		return false;
	if (!(p[0] & 0x80)) {
		*ret = p[0];
		*at = p + 1;
		return true;
	}
	if (end - p < 4)
		return false;
	*ret = (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 |
	       (size_t)p[2] << 8 | p[3];
	*at = p + 4;
	return true;
}

static bool params_are_sound(const uint8_t *params, size_t size)
{
	const uint8_t *at = params, *end = params + size;

	while (at < end) {
		size_t name_bytes, value_bytes;

		if (!take_length(&at, end, &name_bytes) ||
		    !take_length(&at, end, &value_bytes))
			return false;
		if (name_bytes == 0 || name_bytes > (size_t)(end - at) ||
		    value_bytes > (size_t)(end - at) - name_bytes)
			return false;
		if (memchr(at, '\0', name_bytes + value_bytes) ||
		    memchr(at, '=', name_bytes))
			return false;
		at += name_bytes + value_bytes;
	}
	return true;
}

/* BEGIN_REQUEST, version 1, a responder, nothing odd. */
static bool is_begin(const uint8_t *bytes)
{
	struct record record = record_at(bytes);
	const uint8_t *body = bytes + FCGI_HEADER_LEN;

	return bytes[0] == FCGI_VERSION_1 &&
	       record.type == FCGI_BEGIN_REQUEST &&
	       record.request != FCGI_NULL_REQUEST_ID &&
	       record.content_bytes == sizeof(FCGI_BeginRequestBody) &&
	       record.padding_bytes == 0 && body[0] == 0 &&
	       body[1] == FCGI_RESPONDER;
}

enum head head_check(const uint8_t *bytes, size_t size, uint8_t *scratch,
		     size_t params_bytes_max, size_t *ret_bytes)
{
	size_t at = FCGI_HEADER_LEN + sizeof(FCGI_BeginRequestBody);
	size_t params_bytes = 0;
	unsigned request;

	if (size > 0 && bytes[0] != FCGI_VERSION_1)
		return HEAD_BAD;
	if (size < at)
		return HEAD_MORE;
	if (!is_begin(bytes))
		return HEAD_BAD;
	request = record_at(bytes).request;

	for (;;) {
		struct record record;

		if (size - at < FCGI_HEADER_LEN)
			return HEAD_MORE;
		record = record_at(bytes + at);
		if (bytes[at] != FCGI_VERSION_1 || record.type != FCGI_PARAMS ||
		    record.request != request ||
		    record.content_bytes > params_bytes_max - params_bytes)
			return HEAD_BAD;
		at += FCGI_HEADER_LEN;
		if (size - at < record.content_bytes + record.padding_bytes)
			return HEAD_MORE;
		/* libfcgi forgets the padding of a stream's last record and
		 * would take it for the next header. */
		if (record.content_bytes == 0 && record.padding_bytes != 0)
			return HEAD_BAD;
		if (record.content_bytes == 0) {
			*ret_bytes = at;
			return params_are_sound(scratch, params_bytes)
				       ? HEAD_COMPLETE
				       : HEAD_BAD;
		}
		memcpy(scratch + params_bytes, bytes + at,
		       record.content_bytes);
		params_bytes += record.content_bytes;
		at += record.content_bytes + record.padding_bytes;
	}
}

struct body_records body_records_of(const uint8_t *head)
{
	return (struct body_records){ .request = record_at(head).request };
}

/* The header of the next record is there as a whole. @return is it the body's
 */
static bool begin_record(struct body_records *records)
{
	struct record record = record_at(records->header);

	if (records->header[0] != FCGI_VERSION_1 || record.type != FCGI_STDIN ||
	    record.request != records->request)
		return false;
	records->left = record.content_bytes + record.padding_bytes;
	records->ended = record.content_bytes == 0;
	records->header_bytes = 0;
	/* As above: padding of the last one would be left behind. */
	return !records->ended || record.padding_bytes == 0;
}

size_t body_records_pass(struct body_records *records, const uint8_t *bytes,
			 size_t size)
{
	size_t at = 0;

	while (at < size && !records->ended) {
		size_t wanted =
			records->left > 0
				? records->left
				: FCGI_HEADER_LEN - records->header_bytes;
		size_t piece = wanted < size - at ? wanted : size - at;

		if (records->left > 0) {
			records->left -= piece;
			at += piece;
			continue;
		}
		memcpy(records->header + records->header_bytes, bytes + at,
		       piece);
		records->header_bytes += piece;
		if (piece == wanted && !begin_record(records)) {
			/* Nothing passes any more. */
			records->ended = true;
			return at;
		}
		at += piece;
	}
	return at;
}
