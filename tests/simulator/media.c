/* SPDX-License-Identifier: MIT */
/* The bytes of media: a playable file, a mark that makes it unique, filler. */
#include "tests/simulator/media.h"

#include "tests/simulator/content.h"
#include "tests/simulator/fixture.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum {
	FILLER_BYTES = 65536,
	IN_MEMORY_MAX = 64 << 20,
	HASHED_MAX = 1 << 30,
	PNG_HEAD = 33, /* signature and IHDR */
	PNG_END = 12,
	CHUNK = 12, /* of a PNG chunk beside its data */
};

bool media_is_picture_model(const char *model)
{
	static const char *const words[] = { "image",	  "flux",    "sdxl",
					     "diffusion", "imagen",  "photo",
					     "recraft",	  "ideogram" };

	if (strstr(model, "to-video") || strstr(model, "video"))
		return false;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (strstr(model, words[i]))
			return true;
	return false;
}

const char *media_type(enum media_kind kind)
{
	switch (kind) {
	case MEDIA_PNG:
		return "image/png";
	case MEDIA_MP4:
	case MEDIA_HTML:
	case MEDIA_EMPTY:
	case MEDIA_RANDOM:
		break;
	}
	return "video/mp4"; /* the wrong kinds say so, too */
}

const char *media_extension(enum media_kind kind)
{
	return kind == MEDIA_PNG ? "png" : "mp4";
}

static void put_be32(uint8_t *at, uint64_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_be32(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static uint32_t png_crc(const uint8_t *bytes, size_t size)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* Of text too, where no NUL is wanted. */
static void copy_bytes(uint8_t *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}

static void append(struct content *content, const void *bytes, size_t size)
{
	content->head = realloc(content->head, content->head_bytes + size + 1);
	if (!content->head)
		abort();
	memcpy(content->head + content->head_bytes, bytes, size);
	content->head_bytes += size;
}

/* A box that players skip, which begins with the mark and runs to the end. */
static void append_free_box(struct content *content, const char *mark,
			    int64_t total)
{
	int64_t box = total - (int64_t)content->head_bytes;
	uint8_t header[16] = { 0, 0, 0, 1, 'f', 'r', 'e', 'e' };

	if (box < 0)
		return;
	if (box > UINT32_MAX) {
		put_be32(header + 8, (uint64_t)box >> 32);
		put_be32(header + 12, (uint64_t)box);
		append(content, header, 16);
	} else {
		put_be32(header, (uint64_t)box);
		append(content, header, 8);
	}
	append(content, mark, strlen(mark));
}

static void make_mp4(struct content *content, const char *mark, int64_t wanted)
{
	int64_t natural = (int64_t)(fixture_clip_size + 8 + strlen(mark));
	bool whole = wanted < 0 || wanted >= natural;

	content->total = wanted < 0 ? natural : wanted;
	append(content, fixture_clip,
	       whole ? fixture_clip_size : get_be32(fixture_clip));
	append_free_box(content, mark, content->total);
}

static void make_png(struct content *content, const char *mark, int64_t wanted)
{
	size_t mark_length = strlen(mark);
	size_t text_bytes = sizeof("Comment") + mark_length;
	int64_t natural = (int64_t)(fixture_still_size + CHUNK + text_bytes);
	bool whole = wanted < 0 || wanted >= natural;
	uint8_t *chunk = take(CHUNK + text_bytes);

	put_be32(chunk, text_bytes);
	memcpy(chunk + 4, "tEXtComment", 12); /* its NUL ends the keyword */
	copy_bytes(chunk + 16, mark, mark_length);
	put_be32(chunk + 8 + text_bytes, png_crc(chunk + 4, 4 + text_bytes));
	content->total = wanted < 0 ? natural : wanted;
	append(content, fixture_still,
	       whole ? fixture_still_size - PNG_END : PNG_HEAD);
	append(content, chunk, CHUNK + text_bytes);
	if (whole)
		append(content, fixture_still + fixture_still_size - PNG_END,
		       PNG_END);
	free(chunk);
}

void content_make(struct content *content, const struct job *job, size_t file,
		  enum media_kind kind, int64_t wanted)
{
	static const char page[] =
		"<!DOCTYPE html>\n<title>502 Bad Gateway</title>\n";
	_cleanup_text_ char *mark = take_printf(
		"rushes-simulator %s file %zu\n", job->start->id, file);

	*content = (struct content){ 0 };
	switch (kind) {
	case MEDIA_MP4:
		make_mp4(content, mark, wanted);
		break;
	case MEDIA_PNG:
		make_png(content, mark, wanted);
		break;
	case MEDIA_HTML:
		append(content, page, sizeof(page) - 1);
		append(content, mark, strlen(mark));
		content->total =
			wanted < 0 ? (int64_t)content->head_bytes : wanted;
		break;
	case MEDIA_EMPTY:
		break;
	case MEDIA_RANDOM:
		content->total = wanted < 0 ? FILLER_BYTES : wanted;
		break;
	}
	if (content->total < (int64_t)content->head_bytes)
		content->head_bytes = (size_t)content->total;
}

void content_clear(struct content *content)
{
	free(content->head);
	*content = (struct content){ 0 };
}

/* The same bytes at each start: files are known by their job and size. */
static const uint8_t *filler(void)
{
	static uint8_t block[FILLER_BYTES];
	static bool made;
	uint64_t state = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; !made && i < sizeof(block); i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		block[i] = (uint8_t)(state >> 32);
	}
	made = true;
	return block;
}

size_t content_read(const struct content *content, int64_t at, void *buffer,
		    size_t most)
{
	const uint8_t *block = filler();
	uint8_t *out = buffer;
	size_t done = 0;

	if (at >= content->total)
		return 0;
	if ((int64_t)most > content->total - at)
		most = (size_t)(content->total - at);
	if (at < (int64_t)content->head_bytes) {
		done = content->head_bytes - (size_t)at;
		if (done > most)
			done = most;
		memcpy(out, content->head + at, done);
	}
	while (done < most) {
		size_t from = (size_t)((at + (int64_t)done) % FILLER_BYTES);
		size_t size = FILLER_BYTES - from;

		if (size > most - done)
			size = most - done;
		memcpy(out + done, block + from, size);
		done += size;
	}
	return done;
}

static enum media_kind kind_of(const struct job *job, size_t file)
{
	static const struct {
		const char *name;
		enum media_kind kind;
	} kinds[] = {
		{ "mp4", MEDIA_MP4 },	    { "png", MEDIA_PNG },
		{ "html", MEDIA_HTML },	    { "empty", MEDIA_EMPTY },
		{ "random", MEDIA_RANDOM },
	};
	struct words words = job_words(job);
	const char *name = words_text(&words, "media", "kind", NULL);

	for (size_t i = 0; name && i < COUNT_OF(kinds); i++)
		if (strcmp(name, kinds[i].name) == 0)
			return kinds[i].kind;
	if (job->provider == SIM_FAL && job->fetch)
		return file == 1 ? MEDIA_PNG : MEDIA_MP4;
	return job->provider != SIM_VERTEX &&
			       media_is_picture_model(job->start->model)
		       ? MEDIA_PNG
		       : MEDIA_MP4;
}

void media_make(struct job *job)
{
	struct words words = job_words(job);
	int64_t count =
		words_int(&words, "media", "count", (int64_t)job->media_wanted);
	int64_t wanted = words_int(&words, "media", "bytes",
				   job->sim->options.media_bytes);

	if (!job_has_output(job))
		return;
	job->media_wanted = (size_t)count;
	if (job->outcome == OUTCOME_PARTIAL)
		count--;
	for (size_t i = 0; i < (size_t)count && i < JOB_MEDIA_MAX; i++) {
		struct media_file *file = &job->media[i];
		struct content content;

		file->kind = kind_of(job, i);
		content_make(&content, job, i, file->kind, wanted);
		file->bytes = content.total;
		content_clear(&content);
		file->path = take_printf("/media/%s/%zu.%s", job->start->id, i,
					 media_extension(file->kind));
		job->media_count++;
	}
}

char *media_url(const struct job *job, size_t file)
{
	return take_printf("%s%s", job->url_base, job->media[file].path);
}

void media_content(const struct job *job, size_t file, struct content *ret)
{
	content_make(ret, job, file, job->media[file].kind,
		     job->media[file].bytes);
}

char *media_base64(const struct job *job, size_t file)
{
	int64_t bytes = job->media[file].bytes;
	struct content content;
	char *text;
	uint8_t *plain;

	if (bytes > IN_MEMORY_MAX)
		return NULL;
	plain = take((size_t)bytes);
	text = take((size_t)bytes / 3 * 4 + 5);
	media_content(job, file, &content);
	(void)content_read(&content, 0, plain, (size_t)bytes);
	(void)EVP_EncodeBlock((unsigned char *)text, plain, (int)bytes);
	content_clear(&content);
	free(plain);
	return text;
}

char *media_data_uri(const struct job *job, size_t file)
{
	_cleanup_text_ char *base64 = media_base64(job, file);

	return take_printf("data:%s;base64,%s",
			   media_type(job->media[file].kind),
			   base64 ? base64 : "");
}

const char *media_sha256(struct job *job, size_t index)
{
	struct media_file *file = &job->media[index];
	struct content content;
	struct sha256 *hash;
	uint8_t sum[SHA256_BYTES], *buffer;
	int64_t at = 0;
	size_t size;

	if (file->sha256 || file->bytes > HASHED_MAX)
		return file->sha256;
	hash = sha256_new();
	buffer = take(FILLER_BYTES);
	if (!hash)
		abort();
	media_content(job, index, &content);
	while ((size = content_read(&content, at, buffer, FILLER_BYTES)) > 0) {
		sha256_add(hash, buffer, size);
		at += (int64_t)size;
	}
	content_clear(&content);
	free(buffer);
	sha256_finish(hash, sum);
	sha256_free(hash);
	file->sha256 = take(SHA256_HEX_SIZE);
	for (size_t i = 0; i < sizeof(sum); i++)
		(void)snprintf(file->sha256 + 2 * i, 3, "%02x", sum[i]);
	return file->sha256;
}
