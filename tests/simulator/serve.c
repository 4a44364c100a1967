/* SPDX-License-Identifier: MIT */
/* Serving media, as badly as asked. */
#include "tests/simulator/content.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <string.h>

enum {
	BUFFERED_MAX = 262144,
	BLOCK = 65536,
	STALL_MS = 600000,
	RATE_TICK_MS = 20,
};

/* One download that is read piece by piece. */
struct stream {
	struct request *request;
	struct content content;
	int64_t end;	 /* where it is cut; else content.total */
	bool cut_silent; /* the cut looks like an end */
	int64_t rate;	 /* bytes/s; 0: as fast as it goes */
	int64_t stall;	 /* offset; -1: never */
	int64_t begun_ms;
};

static void free_stream(void *context)
{
	struct stream *stream = context;

	content_clear(&stream->content);
	free(stream);
}

static ssize_t read_stream(void *context, uint64_t position, char *buffer,
			   size_t most)
{
	struct stream *stream = context;
	int64_t at = (int64_t)position, left = stream->end - at;

	if (stream->request->sim->stopping)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream->stall >= 0) {
		if (at >= stream->stall) {
			request_suspend(stream->request, STALL_MS);
			return 0;
		}
		if (stream->stall - at < left)
			left = stream->stall - at;
	}
	if (left <= 0)
		return stream->end == stream->content.total ||
				       stream->cut_silent
			       ? MHD_CONTENT_READER_END_OF_STREAM
			       : MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream->rate > 0) {
		int64_t spent_ms = clock_monotonic_ms() - stream->begun_ms;
		int64_t allowed = stream->rate * spent_ms / 1000 - at;

		if (allowed <= 0) {
			request_suspend(stream->request, RATE_TICK_MS);
			return 0;
		}
		if (allowed < left)
			left = allowed;
	}
	if ((int64_t)most > left)
		most = (size_t)left;
	return (ssize_t)content_read(&stream->content, at, buffer, most);
}

static void answer_buffer(struct request *request, struct job *job, size_t file)
{
	struct content content;
	size_t size = (size_t)job->media[file].bytes;

	media_content(job, file, &content);
	free(request->reply.body);
	request->reply.body = take(size);
	request->reply.bytes =
		content_read(&content, 0, request->reply.body, size);
	content_clear(&content);
}

static void answer_stream(struct request *request, const struct words *words,
			  struct stream *stream, const char *length)
{
	bool close = strcmp(length, "close") == 0;
	bool chunked = strcmp(length, "chunked") == 0;
	struct MHD_Response *response;
	int64_t cut = words_int(words, "media", "cut", -1);

	stream->request = request;
	stream->begun_ms = clock_monotonic_ms();
	stream->rate = words_int(words, "media", "rate", 0);
	stream->stall = words_int(words, "media", "stall", -1);
	stream->end = stream->content.total;
	if (cut >= 0 && cut < stream->end) {
		stream->end = cut;
		stream->cut_silent = close;
		request->served_cut = true;
	}
	response = MHD_create_response_from_callback(
		close || chunked ? MHD_SIZE_UNKNOWN
				 : (uint64_t)stream->content.total,
		BLOCK, read_stream, stream, free_stream);
	if (!response)
		abort();
	if (close)
		(void)MHD_set_response_options(
			response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT,
			MHD_RO_END);
	request->reply.response = response;
}

static bool redirect(struct request *request, const struct words *words,
		     int64_t hop)
{
	const char *to = words_text(words, "media", "redirect_to", NULL);
	int64_t hops = words_int(words, "media", "redirect", 0);
	const char *alt = request_query(request, "alt");

	if (!to && hop < hops)
		to = arena_printf(request->arena, "%s%s?hop=%lld%s%s",
				  request_base(request), request->path,
				  (long long)hop + 1, alt ? "&alt=" : "",
				  alt ? alt : "");
	else if (hop > 0)
		to = NULL;
	if (!to)
		return false;
	reply_text(request, 302, "text/plain", "elsewhere\n");
	reply_header(request, "Location", to);
	return true;
}

static void answer_file(struct request *request, const struct words *words,
			struct job *job, size_t file)
{
	const char *length = words_text(words, "media", "length", "known");
	struct stream *stream;

	request->served = job_ref(job);
	request->served_file = file;
	request->reply.status = 200;
	job->media[file].served++;
	if (job->media[file].bytes <= BUFFERED_MAX &&
	    strcmp(length, "known") == 0 &&
	    !words_find(words, "media", "cut") &&
	    !words_find(words, "media", "rate") &&
	    !words_find(words, "media", "stall")) {
		answer_buffer(request, job, file);
		return;
	}
	stream = take(sizeof(*stream));
	media_content(job, file, &stream->content);
	answer_stream(request, words, stream, length);
}

void media_serve(struct request *request, struct job *job, size_t file)
{
	struct words words = job_words(job);
	const struct words none = { .level = { NULL } };
	const struct words *faults = &words;
	int64_t times = words_int(&words, "media", "times", INT64_MAX);
	const char *hop_text = request_query(request, "hop");
	int64_t hop = 0, status;

	if (hop_text && !text_to_int64(hop_text, 0, 1000, &hop))
		hop = 0;
	if (hop == 0 && request->method == HTTP_GET)
		job->media[file].fetches++;
	if (job->media[file].fetches > times)
		faults = &none;
	request->hold_ms = words_int(&words, "media", "latency_ms", 0);
	status = words_int(faults, "media", "status", 0);
	if (status != 0) {
		reply_json(request, (unsigned)status,
			   json_pack("{s:s}", "detail", "simulated"));
		return;
	}
	if (redirect(request, faults, hop))
		return;
	request->reply.type = arena_strdup(
		request->arena, words_text(&words, "media", "type",
					   media_type(job->media[file].kind)));
	answer_file(request, faults, job, file);
}

void media_served(struct request *request, bool complete)
{
	struct job *job = request->served;

	complete =
		complete && !request->served_cut && request->method == HTTP_GET;
	if (complete)
		job->media[request->served_file].complete++;
	ledger_note(job->sim, "media",
		    json_pack("{s:s, s:s, s:b}", "path", request->path, "id",
			      job->start->id, "complete", complete));
	job_unref(job);
	request->served = NULL;
}

void media_handle(struct request *request)
{
	const char *id = request->path + strlen("/media/");
	size_t id_length = strcspn(id, "/");
	char *plain = arena_strndup(request->arena, id, id_length);
	struct job *job = plain ? job_find_any(request->sim, plain) : NULL;

	if (request->method == HTTP_GET || request->method == HTTP_HEAD)
		for (size_t i = 0; job && i < job->media_count; i++)
			if (strcmp(job->media[i].path, request->path) == 0 &&
			    !job_output_gone(job)) {
				media_serve(request, job, i);
				return;
			}
	reply_json(request, 404, json_pack("{s:s}", "detail", "Not Found"));
}
