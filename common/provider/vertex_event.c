/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/model/limits.h"
#include "common/provider/vertex.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>

enum {
	/* After this, what is in the folder of a lost start is all there will
	 * be: a filtered sample never comes, and a render takes minutes. */
	FOLDER_SETTLES_MS = 10 * 60 * 1000,
	PAGE_TOKEN_MAX = 1024,
};

/* ---- start ---- */

static struct provider_event refused(const struct http_response *response,
				     const json_t *body, int64_t now_unix_s,
				     struct arena *arena)
{
	json_t *error = json_object_get(body, "error");
	json_t *message = json_object_get(error, "message");
	const char *status = wire_string(error, "status");
	const char *categories = vertex_categories(message, arena);
	struct provider_event event;

	event = wire_start_refusal(response, now_unix_s, json_is_object(error),
				   json_string_value(message), arena);
	/* A token that has run out is bought anew and the start repeated. */
	if (response->status == 401)
		event.kind = JOB_NOT_STARTED;
	if (event.kind != JOB_REFUSED)
		return event;

	if (categories) {
		event = vertex_refusal(message, arena);
		event.kind = JOB_REFUSED;
		event.billed = JOB_BILLED_NO;
	} else if (status && strcmp(status, "FAILED_PRECONDITION") == 0) {
		event.error_code = "provider_refused";
	}
	return event;
}

int vertex_start_event(const struct job *job,
		       const struct http_response *response, int64_t now_unix_s,
		       struct arena *arena, struct provider_event *ret,
		       struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	const char *name;
	int r = wire_parse_answer(response, &body, reterr_fault);

	(void)job;
	if (r < 0)
		return r;

	name = wire_string(body, "name");
	if (!wire_is_success(response)) {
		event = refused(response, body, now_unix_s, arena);
	} else if (name && vertex_is_operation(name)) {
		event = wire_event(JOB_ACCEPTED);
		event.provider_job_id = arena_strdup(arena, name);
	} else {
		event = wire_start_lost(response, now_unix_s, arena);
	}
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- status ---- */

static const char *any_string(const json_t *object, const char *one,
			      const char *other)
{
	const char *text = wire_string(object, one);

	return text ? text : wire_string(object, other);
}

/* Add a video to the event, and take its bytes out of the answer: what is
 * left of it becomes the output. */
static void take_video(json_t *video, struct arena *arena,
		       struct provider_event *event)
{
	struct provider_media media = { 0 };
	const char *uri = any_string(video, "gcsUri", "uri");
	const char *bytes =
		any_string(video, "bytesBase64Encoded", "encodedVideo");
	const char *type = any_string(video, "mimeType", "encoding");
	const char *bucket, *object;

	if (uri && (vertex_split_gs(uri, arena, &bucket, &object) ||
		    wire_is_url(uri, arena))) {
		media.url = arena_strdup(arena, uri);
	} else if (bytes && bytes[0]) {
		media.base64_bytes = strlen(bytes);
		media.base64 = arena_strndup(arena, bytes, media.base64_bytes);
	}
	(void)json_object_del(video, "bytesBase64Encoded");
	(void)json_object_del(video, "encodedVideo");

	if ((media.url || media.base64) &&
	    event->media_count < PROVIDER_MEDIA_MAX) {
		media.content_type = type ? wire_message(type, arena) : NULL;
		event->media[event->media_count++] = media;
	}
}

/* In "videos", or, as it was once, in "generatedSamples" one level down. */
static void take_videos(json_t *response, struct arena *arena,
			struct provider_event *event)
{
	json_t *videos = json_object_get(response, "videos");
	json_t *samples = json_object_get(response, "generatedSamples");

	if (!samples)
		samples = json_object_get(
			json_object_get(response, "generateVideoResponse"),
			"generatedSamples");
	for (size_t i = 0; i < json_array_size(videos); i++)
		take_video(json_array_get(videos, i), arena, event);
	for (size_t i = 0; i < json_array_size(samples); i++)
		take_video(json_object_get(json_array_get(samples, i), "video"),
			   arena, event);
}

/* Say in the output that there are fewer videos than were asked for. */
static void note_partial(json_t *response, int64_t asked, int64_t made,
			 int64_t filtered, struct arena *arena)
{
	json_t *note;
	const char *categories = vertex_categories(
		json_object_get(response, "raiMediaFilteredReasons"), arena);

	if (filtered <= 0 && asked <= made)
		return;
	note = json_pack("{s:I, s:I}", "made", (json_int_t)made, "filtered",
			 (json_int_t)(filtered > 0 ? filtered : 0));
	if (asked > 0)
		(void)json_object_set_new(note, "asked", json_integer(asked));
	if (categories)
		(void)json_object_set_new(note, "categories",
					  json_string(categories));
	(void)json_object_set_new(response, "partial", note);
}

static struct provider_event finished(json_t *response, const struct job *job,
				      struct arena *arena)
{
	json_auto_t *input = NULL;
	json_t *reasons = json_object_get(response, "raiMediaFilteredReasons");
	json_int_t filtered = json_integer_value(
		json_object_get(response, "raiMediaFilteredCount"));
	struct provider_event event = wire_event(JOB_RENDERED);

	take_videos(response, arena, &event);
	if (event.media_count == 0) {
		if (filtered > 0 || json_array_size(reasons) > 0)
			return vertex_refusal(reasons, arena);
		event = wire_event(JOB_PROVIDER_FAILED);
		event.billed = JOB_BILLED_UNKNOWN;
		wire_explain(&event, "no_media",
			     "the operation succeeded and made no video",
			     arena);
		return event;
	}

	if (wire_parse_input(job, &input, NULL) < 0)
		input = NULL;
	note_partial(response, vertex_samples(input),
		     (int64_t)event.media_count, filtered, arena);
	event.output = wire_output(response, arena);
	return event;
}

/* @return whether the body was about the job at all */
static bool read_operation(json_t *body, const struct job *job,
			   struct arena *arena, struct provider_event *ret)
{
	const char *name = wire_string(body, "name");
	json_t *done = json_object_get(body, "done");
	json_t *error = json_object_get(body, "error");
	json_t *response = json_object_get(body, "response");

	if (!body || (done && !json_is_boolean(done)) ||
	    (name && job->provider_job_id &&
	     strcmp(name, job->provider_job_id) != 0))
		return false;
	/* An answer with nothing in it is none. */
	if (name ? !vertex_is_operation(name) : !done)
		return false;

	if (!json_is_true(done)) {
		*ret = wire_event(JOB_PROGRESS);
	} else if (json_is_object(error)) {
		*ret = vertex_failure(error, arena);
	} else if (json_is_object(response)) {
		*ret = finished(response, job, arena);
	} else {
		*ret = wire_event(JOB_PROVIDER_FAILED);
		ret->billed = JOB_BILLED_UNKNOWN;
		wire_explain(ret, "provider_failed",
			     "the operation ended with neither a result nor "
			     "an error",
			     arena);
	}
	if (name)
		ret->provider_job_id = arena_strdup(arena, name);
	return true;
}

int vertex_status_event(const struct job *job,
			const struct http_response *response,
			int64_t now_unix_s, struct arena *arena,
			struct provider_event *ret, struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	struct provider_event event;
	int r = wire_parse_answer(response, &body, reterr_fault);

	if (r < 0)
		return r;
	if (response->status == 404 || response->status == 410)
		event = wire_job_gone(arena);
	else if (!wire_is_success(response) ||
		 !read_operation(body, job, arena, &event))
		event = wire_no_answer(response, now_unix_s, arena);
	return wire_event_done(&event, arena, ret, reterr_fault);
}

/* ---- list: what lies in the folder of a lost start ---- */

/* A video in this attempt's folder? */
static bool is_ours(const json_t *item, const char *folder)
{
	const char *name = wire_string(item, "name");
	const char *type = wire_string(item, "contentType");
	const char *size = wire_string(item, "size");
	const char *at = name ? strstr(name, folder) : NULL;

	return at && (at == name || at[-1] == '/') &&
	       !(size && strcmp(size, "0") == 0) && type &&
	       text_starts_with(type, "video/");
}

static void take_objects(const json_t *items, const char *folder,
			 struct arena *arena, struct provider_event *event,
			 json_t *videos)
{
	for (size_t i = 0; i < json_array_size(items); i++) {
		json_t *item = json_array_get(items, i);
		const char *bucket = wire_string(item, "bucket");
		const char *type = wire_string(item, "contentType");
		const char *uri, *part;

		if (!is_ours(item, folder) || !bucket ||
		    !wire_is_name(bucket, strlen(bucket)) ||
		    event->media_count == PROVIDER_MEDIA_MAX)
			continue;
		uri = arena_printf(arena, "gs://%s/%s", bucket,
				   wire_string(item, "name"));
		if (!uri || !vertex_split_gs(uri, arena, &part, &part))
			continue;
		event->media[event->media_count++] = (struct provider_media){
			.url = uri,
			.content_type = wire_message(type, arena),
		};
		(void)json_array_append_new(videos,
					    json_pack("{s:s, s:s}", "gcsUri",
						      uri, "mimeType", type));
	}
}

int vertex_list_event(const struct job *job,
		      const struct http_response *response, int64_t now_unix_s,
		      struct arena *arena, struct provider_event *ret,
		      struct fault *reterr_fault)
{
	json_auto_t *body = NULL;
	json_auto_t *input = NULL;
	json_auto_t *output = json_pack("{s:[]}", "videos");
	struct provider_event event = wire_event(JOB_RENDERED);
	const char *folder, *next;
	int64_t asked, age_ms;
	bool goes_on;
	int r = wire_parse_answer(response, &body, reterr_fault);

	if (r < 0)
		return r;
	if (!wire_is_success(response) || !body) {
		event = wire_no_answer(response, now_unix_s, arena);
		return wire_event_done(&event, arena, ret, reterr_fault);
	}

	folder = arena_printf(arena, "%s/%d/", job->id, (int)job->attempt);
	if (folder)
		take_objects(json_object_get(body, "items"), folder, arena,
			     &event, json_object_get(output, "videos"));

	if (wire_parse_input(job, &input, NULL) < 0)
		input = NULL;
	asked = vertex_samples(input);
	age_ms = now_unix_s * 1000 - job->started_unix_ms;
	next = wire_string(body, "nextPageToken");
	goes_on = json_object_get(body, "nextPageToken") &&
		  !(next && *next == '\0');
	if (event.media_count > 0 && ((int64_t)event.media_count >= asked ||
				      age_ms >= FOLDER_SETTLES_MS)) {
		note_partial(output, asked, (int64_t)event.media_count, 0,
			     arena);
		event.output = wire_output(output, arena);
	} else if (event.media_count > 0 ||
		   (goes_on &&
		    !(next && wire_is_visible(next, PAGE_TOKEN_MAX)))) {
		/* With some there it was taken, and how much it makes is not
		 * known yet; and a list whose end cannot be seen proves
		 * nothing. */
		event = wire_event(JOB_NO_ANSWER);
	} else {
		event = wire_event(JOB_NOT_FOUND_YET);
		if (goes_on)
			event.cursor = arena_strdup(arena, next);
	}
	return wire_event_done(&event, arena, ret, reterr_fault);
}
