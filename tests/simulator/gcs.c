/* SPDX-License-Identifier: MIT */
/* Cloud Storage's JSON API: the objects that Veo wrote to a storageUri. */
#include "tests/simulator/google.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/mischief.h"

#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

#define ROOT "/gcs/storage/v1/b/"

enum { PAGE_MOST = 1000 };

static const char *after_scheme(const struct job *job)
{
	return job->storage_uri + strlen("gs://");
}

char *gcs_bucket(const struct job *job)
{
	const char *rest = after_scheme(job);

	return take_printf("%.*s", (int)strcspn(rest, "/"), rest);
}

char *gcs_object_name(const struct job *job, size_t file)
{
	const char *rest = after_scheme(job);
	const char *prefix = rest + strcspn(rest, "/");
	size_t length;

	if (*prefix == '/')
		prefix++;
	length = strlen(prefix);
	if (length > 0 && prefix[length - 1] == '/')
		length--;
	return take_printf("%.*s%s%s/sample_%zu.%s", (int)length, prefix,
			   length ? "/" : "", job->start->id, file,
			   media_extension(job->media[file].kind));
}

/* The job and file that an object's name means. */
static struct job *find(const struct sim *sim, const char *bucket,
			const char *name, size_t *ret_file)
{
	const char *last = strrchr(name, '/'), *id = last;
	_cleanup_text_ char *text = NULL;
	struct job *job;

	if (!last)
		return NULL;
	while (id > name && id[-1] != '/')
		id--;
	text = take_printf("%.*s", (int)(last - id), id);
	job = job_find(sim, SIM_VERTEX, text);
	if (!job || !job->storage_uri || !job_has_output(job) ||
	    job_output_gone(job))
		return NULL;
	for (size_t i = 0; i < job->media_count; i++) {
		_cleanup_text_ char *own_bucket = gcs_bucket(job);
		_cleanup_text_ char *own = gcs_object_name(job, i);

		if (strcmp(own_bucket, bucket) != 0 || strcmp(own, name) != 0)
			continue;
		*ret_file = i;
		return job;
	}
	return NULL;
}

static json_t *object_json(struct job *job, size_t file)
{
	_cleanup_text_ char *bucket = gcs_bucket(job);
	_cleanup_text_ char *name = gcs_object_name(job, file);
	_cleanup_text_ char *size =
		take_printf("%lld", (long long)job->media[file].bytes);
	char time[TIME_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "kind",
			 "storage#object", "name", name, "bucket", bucket,
			 "contentType", media_type(job->media[file].kind),
			 "size", size, "timeCreated",
			 time_text(job->ended_ms, time));
}

static void list(struct request *request, const char *bucket)
{
	struct sim_account *own = &request->sim->provider[SIM_VERTEX];
	struct mischief mischief =
		mischief_of(request, SIM_VERTEX, "list", NULL, NULL);
	const char *prefix = request_query(request, "prefix");
	const char *token = request_query(request, "pageToken");
	const char *most_text = request_query(request, "maxResults");
	int64_t most = PAGE_MOST, above = 0;
	json_t *items, *next = NULL;
	char text[32];

	own->lists++;
	if (mischief_refuse(request, &mischief, google_error))
		return;
	if ((most_text && !text_to_int64(most_text, 1, PAGE_MOST, &most)) ||
	    (token && !text_to_int64(token, 1, INT64_MAX, &above))) {
		google_fail(request, 400, "maxResults or pageToken is wrong");
		return;
	}
	items = json_array();
	for (struct job *job = own->oldest; job && !next; job = job->newer) {
		if (job->start->seq <= above || !job->storage_uri ||
		    !job_has_output(job) || mischief.hide)
			continue;
		for (size_t i = 0; i < job->media_count; i++) {
			_cleanup_text_ char *name = gcs_object_name(job, i);
			_cleanup_text_ char *in = gcs_bucket(job);

			if (strcmp(in, bucket) != 0 ||
			    (prefix && !text_starts_with(name, prefix)))
				continue;
			job->listed++;
			(void)json_array_append_new(items, object_json(job, i));
		}
		/* A page ends between jobs, so that its token is a number. */
		if ((int64_t)json_array_size(items) >= most && job->newer) {
			(void)snprintf(text, sizeof(text), "%lld",
				       (long long)job->start->seq);
			next = json_string(text);
		}
	}
	reply_json(request, 200,
		   json_pack("{s:s, s:o*, s:o}", "kind", "storage#objects",
			     "nextPageToken", next, "items", items));
	mischief_spoil(request, &mischief, google_error);
}

void gcs_handle(struct request *request)
{
	const char *bucket = request->path + sizeof(ROOT) - 1;
	size_t bucket_length = strcspn(bucket, "/");
	const char *rest = bucket + bucket_length;
	const char *alt = request_query(request, "alt");
	char *plain, *name;
	char account[17];
	size_t file = 0;
	struct job *job;

	if (!google_knows(request, account))
		return;
	plain = request_decode(request, bucket, bucket_length, false);
	if (request->method != HTTP_GET || !plain ||
	    !text_starts_with(rest, "/o")) {
		reply_json(request, 404, google_error(request, 404, NULL));
		return;
	}
	rest += 2;
	if (*rest == '\0') {
		list(request, plain);
		return;
	}
	/* The name is one encoded segment: a bare slash is another route. */
	name = *rest == '/' && !strchr(rest + 1, '/')
		       ? request_decode(request, rest + 1, strlen(rest + 1),
					false)
		       : NULL;
	job = name ? find(request->sim, plain, name, &file) : NULL;
	if (!job)
		google_fail(request, 404, "No such object");
	else if (alt && strcmp(alt, "media") == 0)
		media_serve(request, job, file);
	else
		reply_json(request, 200, object_json(job, file));
}
