/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_MEDIA_TYPE_H
#define COMMON_MODEL_MEDIA_TYPE_H

#include <stddef.h>

/* How many first bytes decide; fewer only if the file has no more. */
enum { MEDIA_TYPE_SNIFF_BYTES = 512 };

struct media_type {
	const char *content_type;
	const char *extension; /* without the dot */
};

/**
 * Say what a file is by its first bytes, whatever its sender called it.
 *
 * Video (MP4, QuickTime, 3GPP, WebM, Matroska, AVI, Ogg, FLV, MPEG-PS,
 * MPEG-TS), image (PNG, JPEG, GIF, WebP, AVIF, HEIC, HEIF, TIFF) and audio
 * (MP3, AAC, M4A, WAV, Ogg, FLAC, AIFF).
 *
 * @return static storage; NULL for anything else: HTML, JSON, XML, SVG and
 *	   text are never media
 */
const struct media_type *media_type_sniff(const void *bytes, size_t size);

#endif
