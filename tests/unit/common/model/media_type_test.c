/* SPDX-License-Identifier: MIT */
#include "common/model/media_type.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

#include <stdlib.h>

/* Bytes with NULs in them, and their length. */
#define BYTES(text) (text), sizeof(text) - 1

/* What ends an Ogg page header of 28 bytes, short of its first 4. */
#define OGG "OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\5\6\7\10\1\36"

static const struct {
	const char *name;
	const char *bytes;
	size_t size;
	const char *content_type; /* NULL: not media */
	const char *extension;
} cases[] = {
	{ "MP4",
	  BYTES("\0\0\0\x20"
		"ftypisom\0\0\2\0isomiso2avc1mp41"),
	  "video/mp4", "mp4" },
	{ "MP4 of Veo",
	  BYTES("\0\0\0\x18"
		"ftypmp42\0\0\0\0isommp42"),
	  "video/mp4", "mp4" },
	{ "MP4, brand unheard of",
	  BYTES("\0\0\0\x18"
		"ftypzzzz\0\0\0\0"),
	  "video/mp4", "mp4" },
	{ "QuickTime",
	  BYTES("\0\0\0\x14"
		"ftypqt  \0\0\2\0qt  "),
	  "video/quicktime", "mov" },
	{ "old QuickTime", BYTES("\0\0\0\x08wide\0\0\0\x10mdat"),
	  "video/quicktime", "mov" },
	{ "old QuickTime, index first", BYTES("\0\0\x1f\x08moov"),
	  "video/quicktime", "mov" },
	{ "3GPP",
	  BYTES("\0\0\0\x18"
		"ftyp3gp5\0\0\0\0"),
	  "video/3gpp", "3gp" },
	{ "M4A",
	  BYTES("\0\0\0\x18"
		"ftypM4A \0\0\0\0"),
	  "audio/mp4", "m4a" },
	{ "AVIF",
	  BYTES("\0\0\0\x18"
		"ftypavif\0\0\0\0"),
	  "image/avif", "avif" },
	{ "HEIC",
	  BYTES("\0\0\0\x18"
		"ftypheic\0\0\0\0"),
	  "image/heic", "heic" },
	{ "HEIF",
	  BYTES("\0\0\0\x18"
		"ftypmif1\0\0\0\0"),
	  "image/heif", "heif" },
	{ "WebM",
	  BYTES("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42"
		"\xf2\x81\4\x42\xf3\x81\x08\x42\x82\x84webm"),
	  "video/webm", "webm" },
	{ "Matroska",
	  BYTES("\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1\x42\xf7\x81\1"
		"\x42\x82\x88matroska"),
	  "video/x-matroska", "mkv" },
	{ "PNG", BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png", "png" },
	{ "JPEG", BYTES("\xff\xd8\xff\xe0\0\x10JFIF"), "image/jpeg", "jpg" },
	{ "GIF 87", BYTES("GIF87a\1\0\1\0"), "image/gif", "gif" },
	{ "GIF 89", BYTES("GIF89a\1\0\1\0"), "image/gif", "gif" },
	{ "WebP", BYTES("RIFF\x24\0\0\0WEBPVP8 "), "image/webp", "webp" },
	{ "TIFF", BYTES("II*\0\x08\0\0\0"), "image/tiff", "tiff" },
	{ "WAV", BYTES("RIFF\x24\0\0\0WAVEfmt "), "audio/wav", "wav" },
	{ "AVI", BYTES("RIFF\x24\0\0\0AVI LIST"), "video/x-msvideo", "avi" },
	{ "AIFF",
	  BYTES("FORM\0\0\0\x24"
		"AIFFCOMM"),
	  "audio/aiff", "aiff" },
	{ "MP3 with ID3", BYTES("ID3\4\0\0\0\0\0\x23TSSE"), "audio/mpeg",
	  "mp3" },
	{ "MP3 bare", BYTES("\xff\xfb\x90\x64\0\0\0\0"), "audio/mpeg", "mp3" },
	{ "AAC", BYTES("\xff\xf1\x50\x80\2\x1f\xfc"), "audio/aac", "aac" },
	{ "FLAC", BYTES("fLaC\0\0\0\x22"), "audio/flac", "flac" },
	{ "Ogg Vorbis", BYTES(OGG "\1vorbis"), "audio/ogg", "ogg" },
	{ "Ogg Opus", BYTES(OGG "OpusHead"), "audio/ogg", "ogg" },
	{ "Ogg Theora", BYTES(OGG "\x80theora"), "video/ogg", "ogv" },
	{ "Ogg with a skeleton", BYTES(OGG "fishead\0"), "video/ogg", "ogv" },
	{ "Ogg Speex", BYTES(OGG "Speex   1.2"), "audio/ogg", "ogg" },
	{ "Ogg FLAC",
	  BYTES(OGG "\x7f"
		    "FLAC\1\0"),
	  "audio/ogg", "ogg" },
	{ "AIFF, compressed",
	  BYTES("FORM\0\0\0\x24"
		"AIFCFVER"),
	  "audio/aiff", "aiff" },
	{ "FLV", BYTES("FLV\1\5\0\0\0\x09"), "video/x-flv", "flv" },
	{ "MPEG-PS", BYTES("\0\0\1\xba\x44"), "video/mpeg", "mpg" },

	{ "Ogg of nothing known", BYTES(OGG "\x80kate\0\0"), NULL, NULL },
	{ "MPEG audio that ends at once", BYTES("\xff\xfb\x90"), NULL, NULL },
	{ "box longer than a file",
	  BYTES("\0\1\0\x18"
		"ftypmp42\0\0\0\0"),
	  NULL, NULL },
	{ "nothing", BYTES(""), NULL, NULL },
	{ "one byte", BYTES("\xff"), NULL, NULL },
	{ "HTML", BYTES("<!DOCTYPE html><html>"), NULL, NULL },
	{ "HTML, blanks first", BYTES("\r\n  <html>"), NULL, NULL },
	{ "XML", BYTES("<?xml version=\"1.0\"?><Error>"), NULL, NULL },
	{ "SVG", BYTES("<svg xmlns=\"http://www.w3.org/2000/svg\">"), NULL,
	  NULL },
	{ "JSON", BYTES("{\"detail\": \"not found\"}"), NULL, NULL },
	{ "JSON array", BYTES("[\"a\"]"), NULL, NULL },
	{ "text", BYTES("Not found\n"), NULL, NULL },
	{ "UTF-8 BOM", BYTES("\xef\xbb\xbf<html>"), NULL, NULL },
	{ "UTF-16 BOM, low first", BYTES("\xff\xfe<\0h\0t\0m\0l\0"), NULL,
	  NULL },
	{ "UTF-16 BOM, high first", BYTES("\xfe\xff\0<\0h\0t"), NULL, NULL },
	{ "text about ftyp", BYTES("the ftyp box of an MP4"), NULL, NULL },
	{ "text with mdat", BYTES("the mdat atom"), NULL, NULL },
	{ "text that is wide", BYTES("a, awide door"), NULL, NULL },
	{ "text about ID3", BYTES("ID3 is a format of tags"), NULL, NULL },
	{ "text GIF", BYTES("GIF files"), NULL, NULL },
	{ "a RIFF of something", BYTES("RIFF\x24\0\0\0ACONanih"), NULL, NULL },
	{ "a FORM", BYTES("FORM\0\0\0\x24ILBM"), NULL, NULL },
	{ "EBML of something", BYTES("\x1a\x45\xdf\xa3\x84\x42\x82\x84othr"),
	  NULL, NULL },
	{ "text about OggS", BYTES("OggS is what begins a page of OpusHead"),
	  NULL, NULL },
	{ "Ogg of something", BYTES(OGG "unknown!"), NULL, NULL },
	{ "PNG cut", BYTES("\x89PNG\r\n"), NULL, NULL },
	{ "MP4 cut",
	  BYTES("\0\0\0\x20"
		"ftyp"),
	  NULL, NULL },
	{ "WebP cut", BYTES("RIFF\x24\0\0\0WEB"), NULL, NULL },
	{ "MPEG audio, no such version", BYTES("\xff\xeb\x90\x64"), NULL,
	  NULL },
	{ "MPEG audio, no such bitrate", BYTES("\xff\xfb\xf0\x64"), NULL,
	  NULL },
	{ "MPEG audio, free bitrate", BYTES("\xff\xfb\x00\x64"), NULL, NULL },
	{ "MPEG audio, no such rate", BYTES("\xff\xfb\x9c\x64"), NULL, NULL },
	{ "ADTS, no such rate", BYTES("\xff\xf1\x7c\x80"), NULL, NULL },
	{ "PDF", BYTES("%PDF-1.7"), NULL, NULL },
	{ "ZIP", BYTES("PK\3\4\x14\0\0\0\x08\0"), NULL, NULL },
	{ "gzip", BYTES("\x1f\x8b\x08\0\0\0\0\0"), NULL, NULL },
	{ "ELF",
	  BYTES("\x7f"
		"ELF\2\1\1\0"),
	  NULL, NULL },
	{ "script", BYTES("#!/bin/sh\n"), NULL, NULL },
	{ "zeros", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL, NULL },
};

static void files_are_known_by_their_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct media_type *type =
			media_type_sniff(cases[i].bytes, cases[i].size);

		CHECK_TEXT(cases[i].name, type ? type->content_type : NULL,
			   cases[i].content_type);
		CHECK_TEXT(cases[i].name, type ? type->extension : NULL,
			   cases[i].extension);
	}
}

/* Every prefix is read within its bounds (a copy that ends where the prefix
 * does shows it under a sanitizer), and no prefix is taken for another. */
static void every_prefix_is_safe(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (size_t size = 0; size <= cases[i].size; size++) {
			char *copy = malloc(size ? size : 1);
			const struct media_type *type;

			memcpy(copy, cases[i].bytes, size);
			type = media_type_sniff(copy, size);
			free(copy);
			if (type)
				CHECK_TEXT(cases[i].name, type->content_type,
					   cases[i].content_type
						   ? cases[i].content_type
						   : "none");
		}
	}
}

static void transport_streams_need_three_packets(void **state)
{
	char bytes[MEDIA_TYPE_SNIFF_BYTES] = {
		[0] = 0x47, [188] = 0x47, [376] = 0x47
	};

	(void)state;
	assert_string_equal(
		media_type_sniff(bytes, sizeof(bytes))->content_type,
		"video/mp2t");
	assert_null(media_type_sniff(bytes, 376));
	bytes[376] = 0;
	assert_null(media_type_sniff(bytes, sizeof(bytes)));
}

/* 47 is "G". */
static void a_text_with_packets_in_it_is_a_text(void **state)
{
	char bytes[MEDIA_TYPE_SNIFF_BYTES];

	(void)state;
	memset(bytes, ' ', sizeof(bytes));
	bytes[0] = bytes[188] = bytes[376] = 'G';
	assert_null(media_type_sniff(bytes, sizeof(bytes)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_known_by_their_bytes),
		cmocka_unit_test(every_prefix_is_safe),
		cmocka_unit_test(transport_streams_need_three_packets),
		cmocka_unit_test(a_text_with_packets_in_it_is_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
