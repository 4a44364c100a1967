/* SPDX-License-Identifier: MIT */
/* Whatever a file begins with: what may be shown as a page, or read as a
 * document, is never media. */
#include "common/model/media_type.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

/* What a browser or a parser would take for markup or JSON. */
static bool is_document(const uint8_t *bytes, size_t size)
{
	size_t at = 0;

	if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		at = 3;
	while (at < size && bytes[at] != '\0' && strchr(" \t\r\n\f", bytes[at]))
		at++;
	return at < size && bytes[at] != '\0' && strchr("<{[\"", bytes[at]);
}

/* Text without a single control character: the formats that have none in
 * their first bytes either begin with a word. */
static bool is_text(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((bytes[i] < ' ' && !strchr("\t\r\n\f", bytes[i])) ||
		    bytes[i] == '\0' || bytes[i] > '~')
			return false;
	return size > 0;
}

static bool begins_with_a_word(const uint8_t *bytes, size_t size)
{
	static const char *const words[] = { "GIF8", "RIFF", "fLaC", "FORM" };

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (size >= 4 && memcmp(bytes, words[i], 4) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct media_type *type = media_type_sniff(data, size);
	size_t head =
		size < MEDIA_TYPE_SNIFF_BYTES ? size : MEDIA_TYPE_SNIFF_BYTES;
	char *moved = copy_of(data, head);

	/* The first bytes decide, wherever they lie in memory. */
	HOLDS(media_type_sniff(moved, head) == type);
	free(moved);
	if (is_document(data, head))
		HOLDS(!type);
	if (is_text(data, head) && !begins_with_a_word(data, head))
		HOLDS(!type);
	if (!type)
		return 0;

	HOLDS(strncmp(type->content_type, "video/", 6) == 0 ||
	      strncmp(type->content_type, "image/", 6) == 0 ||
	      strncmp(type->content_type, "audio/", 6) == 0);
	HOLDS(!strstr(type->content_type, "svg"));
	/* It becomes the end of a file's name. */
	HOLDS(*type->extension && strlen(type->extension) <= 4 &&
	      strspn(type->extension, "abcdefghijklmnopqrstuvwxyz0123456789") ==
		      strlen(type->extension));
	return 0;
}
