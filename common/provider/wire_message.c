/* SPDX-License-Identifier: MIT */
#include "common/provider/wire.h"

#include "common/base/text.h"
#include "common/model/limits.h"

#include <string.h>

/*
 * Error texts of providers quote what they were given: URLs with signatures
 * in them, sometimes a token. They end in logs and in answers to clients, so
 * this errs on the side of leaving out.
 */

struct message {
	char *text;
	size_t length; /* never more than LIMIT_ERROR_MESSAGE_BYTES */
	bool full;
};

static void append(struct message *message, const char *bytes, size_t size)
{
	size_t room = LIMIT_ERROR_MESSAGE_BYTES - message->length;

	if (message->full)
		return;
	if (size > room) {
		message->full = true;
		/* ASCII may be cut anywhere, a character must not be. */
		size = (unsigned char)bytes[0] < 0x80 ? room : 0;
	}
	memcpy(message->text + message->length, bytes, size);
	message->length += size;
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("_-.+/=:~", c));
}

/* Bytes of the UTF-8 character at text, 0 if there is none. */
static size_t utf8_size(const char *text)
{
	unsigned char c = (unsigned char)text[0];
	size_t size = c < 0x80	 ? 1
		      : c < 0xc2 ? 0
		      : c < 0xe0 ? 2
		      : c < 0xf0 ? 3
		      : c < 0xf5 ? 4
				 : 0;

	for (size_t i = 1; i < size; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && (unsigned char)text[1] < 0xa0) ||
	    (c == 0xed && (unsigned char)text[1] > 0x9f) ||
	    (c == 0xf0 && (unsigned char)text[1] < 0x90) ||
	    (c == 0xf4 && (unsigned char)text[1] > 0x8f))
		return 0;
	return size;
}

/* Many bytes with capitals, small letters and digits among them: nothing a
 * person would write. Hexadecimal ids and UUIDs stay readable. */
static bool is_random(const char *word, size_t length)
{
	bool upper = false, lower = false, digit = false;

	for (size_t i = 0; i < length; i++) {
		upper = upper || (word[i] >= 'A' && word[i] <= 'Z');
		lower = lower || (word[i] >= 'a' && word[i] <= 'z');
		digit = digit || (word[i] >= '0' && word[i] <= '9');
	}
	return length >= 40 && upper && lower && digit;
}

static bool is_secret(const char *word, size_t length)
{
	static const char *const prefixes[] = {
		"r8_", "whsec_", "whpk_", "whsk_", "ya29.", "eyJ", "AIza",
	};

	for (size_t i = 0; i < COUNT_OF(prefixes); i++)
		if (length >= 12 && text_starts_with(word, prefixes[i]))
			return true;
	/* fal: a UUID, a colon and the secret half */
	if (length > 37 + 16 && word[36] == ':' && word[8] == '-' &&
	    word[13] == '-')
		return true;
	return is_random(word, length);
}

/* The URL at text down to its origin. @return how much of text it was */
static size_t append_url(struct message *message, const char *text)
{
	size_t whole = strcspn(text, " \t\r\n\"'<>\\^`{|}");
	size_t start = (size_t)(strstr(text, "://") - text) + 3;
	size_t host = start;
	size_t end = start + strcspn(text + start, "/?#");
	size_t visible;

	if (end > whole)
		end = whole;
	for (size_t i = start; i < end; i++)
		if (text[i] == '@')
			host = i + 1;
	/* A host is visible ASCII; whatever else stands there is left out. */
	for (visible = host; visible < end; visible++)
		if (text[visible] <= ' ' || text[visible] > '~')
			break;

	append(message, text, start);
	append(message, text + host, visible - host);
	if (visible < whole)
		append(message, "/...", 4);
	return whole;
}

static size_t append_word(struct message *message, const char *text,
			  bool after_scheme)
{
	size_t length = 0;

	if (text_starts_with(text, "https://") ||
	    text_starts_with(text, "http://"))
		return append_url(message, text);
	if (text_starts_with(text, "data:") && strstr(text, ";base64,")) {
		append(message, "data:...", 8);
		return strcspn(text, " \t\r\n\"'<>");
	}

	while (is_word(text[length]) &&
	       !text_starts_with(text + length, "https://") &&
	       !text_starts_with(text + length, "http://"))
		length++;
	if (is_secret(text, length) || (after_scheme && length >= 16))
		append(message, "***", 3);
	else
		append(message, text, length);
	return length;
}

/* Marks that turn the direction of what follows: they can make a line of
 * text show something else than it says. */
static bool is_direction_mark(const char *text)
{
	unsigned char last;

	if (text[0] != '\xe2' || (text[1] != '\x80' && text[1] != '\x81'))
		return false;
	last = (unsigned char)text[2];
	return text[1] == '\x80' ? last >= 0xaa && last <= 0xae
				 : last >= 0xa6 && last <= 0xa9;
}

static void append_char(struct message *message, const char *text, size_t size)
{
	unsigned char c = (unsigned char)text[0];

	if (size == 0)
		append(message, "?", 1);
	else if (c < 0x20 || c == 0x7f ||
		 (c == 0xc2 && (unsigned char)text[1] < 0xa0) ||
		 (size == 3 && is_direction_mark(text)))
		append(message, " ", 1);
	else
		append(message, text, size);
}

/* Say that it was cut, in the place of its last characters. */
static void end_with_dots(struct message *message)
{
	size_t end = message->length;

	if (end > LIMIT_ERROR_MESSAGE_BYTES - 3)
		end = LIMIT_ERROR_MESSAGE_BYTES - 3;
	while (end > 0 && ((unsigned char)message->text[end] & 0xc0) == 0x80)
		end--;
	memcpy(message->text + end, "...", 4);
}

const char *wire_message(const char *text, struct arena *arena)
{
	struct message message = {
		.text = arena_alloc(arena, LIMIT_ERROR_MESSAGE_BYTES + 1),
	};
	bool after_scheme = false;

	if (!message.text)
		return NULL;

	while (*text && !message.full) {
		size_t size = utf8_size(text);

		if (is_word(*text)) {
			const char *word = text;

			text += append_word(&message, text, after_scheme);
			after_scheme = text_starts_with(word, "Bearer ") ||
				       text_starts_with(word, "Key ");
		} else {
			append_char(&message, text, size);
			text += size ? size : 1;
		}
	}
	if (message.full)
		end_with_dots(&message);
	return message.text;
}
