/* SPDX-License-Identifier: MIT */
#include "common/model/media_type.h"

#include "common/base/macro.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const struct media_type mp4 = { "video/mp4", "mp4" };
static const struct media_type quicktime = { "video/quicktime", "mov" };
static const struct media_type webm = { "video/webm", "webm" };
static const struct media_type matroska = { "video/x-matroska", "mkv" };
static const struct media_type ogg_video = { "video/ogg", "ogv" };
static const struct media_type ogg_audio = { "audio/ogg", "ogg" };
static const struct media_type mpeg_ts = { "video/mp2t", "ts" };
static const struct media_type mp3 = { "audio/mpeg", "mp3" };
static const struct media_type aac = { "audio/aac", "aac" };

static bool has(const uint8_t *bytes, size_t size, size_t at, const char *text)
{
	size_t length = strlen(text);

	return size >= at + length && memcmp(bytes + at, text, length) == 0;
}

/* ISO base media files name their kind in the major brand of "ftyp". */
static const struct media_type *sniff_ftyp(const uint8_t *bytes, size_t size)
{
	static const struct {
		const char *brand;
		struct media_type type;
	} brands[] = {
		{ "qt  ", { "video/quicktime", "mov" } },
		{ "M4A ", { "audio/mp4", "m4a" } },
		{ "M4B ", { "audio/mp4", "m4a" } },
		{ "3g", { "video/3gpp", "3gp" } },
		{ "avi", { "image/avif", "avif" } }, /* avif, avis */
		{ "hei", { "image/heic", "heic" } }, /* heic, heix, … */
		{ "hev", { "image/heic", "heic" } },
		{ "mif1", { "image/heif", "heif" } },
		{ "msf1", { "image/heif", "heif" } },
	};

	/* Length of the box, big endian: its two high bytes are zero in any
	 * real file, which tells it from text with "ftyp" in it. */
	if (size < 12 || bytes[0] != 0 || bytes[1] != 0)
		return NULL;
	for (size_t i = 0; i < COUNT_OF(brands); i++)
		if (has(bytes, size, 8, brands[i].brand))
			return &brands[i].type;
	return &mp4;
}

/* QuickTime before "ftyp" was thought of: the first atom is one of these. The
 * high byte of its length is small, which no text begins with. */
static bool is_old_quicktime(const uint8_t *bytes, size_t size)
{
	if (size < 8 || bytes[0] > 8)
		return false;
	return has(bytes, size, 4, "moov") || has(bytes, size, 4, "mdat") ||
	       has(bytes, size, 4, "wide");
}

/* EBML: the DocType element (42 82, length) says which it is. */
static const struct media_type *sniff_ebml(const uint8_t *bytes, size_t size)
{
	size_t end = size < 80 ? size : 80;

	for (size_t i = 4; i < end; i++) {
		if (has(bytes, size, i, "\x42\x82\x84webm"))
			return &webm;
		if (has(bytes, size, i, "\x42\x82\x88matroska"))
			return &matroska;
	}
	return NULL;
}

static const struct media_type *sniff_riff(const uint8_t *bytes, size_t size)
{
	static const struct {
		const char *form;
		struct media_type type;
	} forms[] = {
		{ "WEBP", { "image/webp", "webp" } },
		{ "WAVE", { "audio/wav", "wav" } },
		{ "AVI ", { "video/x-msvideo", "avi" } },
	};

	for (size_t i = 0; i < COUNT_OF(forms); i++)
		if (has(bytes, size, 8, forms[i].form))
			return &forms[i].type;
	return NULL;
}

/* The first packet of an Ogg stream, after a page header of 28 bytes. */
static const struct media_type *sniff_ogg(const uint8_t *bytes, size_t size)
{
	if (size < 28 || bytes[4] != 0) /* the version */
		return NULL;
	if (has(bytes, size, 28, "\x80theora") ||
	    has(bytes, size, 28, "fishead"))
		return &ogg_video;
	if (has(bytes, size, 28, "\x01vorbis") ||
	    has(bytes, size, 28, "OpusHead") ||
	    has(bytes, size, 28, "Speex   ") ||
	    has(bytes, size, 28,
		"\x7f"
		"FLAC"))
		return &ogg_audio;
	return NULL;
}

/* An MPEG audio frame has no magic word, only fields with forbidden values;
 * all of them are checked. (A text in UTF-16 starts with FF FE: layer I.) */
static const struct media_type *sniff_mpeg_audio(const uint8_t *bytes,
						 size_t size)
{
	unsigned version, layer, bitrate, rate;

	if (size < 4 || bytes[0] != 0xff || (bytes[1] & 0xe0) != 0xe0)
		return NULL;
	version = bytes[1] >> 3 & 3;
	layer = bytes[1] >> 1 & 3;
	bitrate = bytes[2] >> 4;
	rate = bytes[2] >> 2 & 3;

	/* ADTS: twelve bits of sync, layer 0, one of 13 sampling rates. */
	if ((bytes[1] & 0xf6) == 0xf0)
		return (bytes[2] >> 2 & 15) < 13 ? &aac : NULL;
	return version != 1 && layer == 1 && bitrate != 0 && bitrate != 15 &&
			       rate != 3
		       ? &mp3
		       : NULL;
}

/* Packets of 188 bytes, each starting with 47, which is "G" to a text that
 * means to deceive: but such a text has no NUL, and every table and every
 * start code of a stream has. */
static bool is_mpeg_ts(const uint8_t *bytes, size_t size)
{
	return size > 2 * 188 && bytes[0] == 0x47 && bytes[188] == 0x47 &&
	       bytes[2 * 188] == 0x47 && memchr(bytes, '\0', 2 * 188);
}

/* Those that a fixed text at the very beginning gives away. */
static const struct {
	const char *magic;
	size_t length;
	struct media_type type;
} magics[] = {
	{ "\x89PNG\r\n\x1a\n", 8, { "image/png", "png" } },
	{ "\xff\xd8\xff", 3, { "image/jpeg", "jpg" } },
	{ "GIF87a", 6, { "image/gif", "gif" } },
	{ "GIF89a", 6, { "image/gif", "gif" } },
	{ "II*\0", 4, { "image/tiff", "tiff" } },
	{ "MM\0*", 4, { "image/tiff", "tiff" } },
	{ "ID3\x02\0", 5, { "audio/mpeg", "mp3" } },
	{ "ID3\x03\0", 5, { "audio/mpeg", "mp3" } },
	{ "ID3\x04\0", 5, { "audio/mpeg", "mp3" } },
	{ "fLaC", 4, { "audio/flac", "flac" } },
	{ "FLV\x01", 4, { "video/x-flv", "flv" } },
	{ "\0\0\x01\xba", 4, { "video/mpeg", "mpg" } },
};

const struct media_type *media_type_sniff(const void *bytes, size_t size)
{
	static const struct media_type aiff = { "audio/aiff", "aiff" };

	for (size_t i = 0; i < COUNT_OF(magics); i++)
		if (size >= magics[i].length &&
		    memcmp(bytes, magics[i].magic, magics[i].length) == 0)
			return &magics[i].type;

	if (has(bytes, size, 4, "ftyp"))
		return sniff_ftyp(bytes, size);
	if (has(bytes, size, 0, "\x1a\x45\xdf\xa3"))
		return sniff_ebml(bytes, size);
	if (has(bytes, size, 0, "RIFF"))
		return sniff_riff(bytes, size);
	if (has(bytes, size, 0, "OggS"))
		return sniff_ogg(bytes, size);
	if (has(bytes, size, 0, "FORM") &&
	    (has(bytes, size, 8, "AIFF") || has(bytes, size, 8, "AIFC")))
		return &aiff;
	if (is_old_quicktime(bytes, size))
		return &quicktime;
	if (is_mpeg_ts(bytes, size))
		return &mpeg_ts;
	return sniff_mpeg_audio(bytes, size);
}
