/* SPDX-License-Identifier: MIT */
/*
 * Google Veo on Vertex AI (now "Gemini Enterprise Agent Platform").
 *
 * Manual: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/
 * model-reference/veo-video-generation (read 2026-11-23).
 * Fixtures: tests/fixtures/vertex/.
 *
 * Oddities: a start answers with the name of an operation, which is checked
 * by a POST to the model's fetchPredictOperation; the plain GET that other
 * operations have fails. "done" is absent while it runs. Videos are put into
 * Cloud Storage if parameters.storageUri says where, else they come as
 * base64 inside the JSON, tens of megabytes of it. A refusal for safety is a
 * success without videos. There is no webhook, and neither a cancel nor a
 * list of operations that is documented for these models: a lost start is
 * found by what it puts into a folder of its own in Cloud Storage.
 */

#include "common/provider/vertex.h"

#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/provider/wire.h"

#include <errno.h>
#include <string.h>

enum {
	OPERATION_PARTS = 10,
	OBJECT_MAX = 1024, /* bytes of a name in Cloud Storage */
	PROJECT_MAX = 64,
};

/* ---- names ---- */

bool vertex_is_model(const char *name)
{
	size_t length = strcspn(name, "@");

	return wire_is_name(name, length) &&
	       (name[length] == '\0' ||
		wire_is_name(name + length + 1, strlen(name + length + 1)));
}

/* "example.com:project" is a project, too. */
static bool is_project(const char *text, size_t length)
{
	const char *colon = memchr(text, ':', length);
	size_t domain = colon ? (size_t)(colon - text) : 0;

	if (length > PROJECT_MAX || (colon && !wire_is_name(text, domain)))
		return false;
	return colon ? wire_is_name(colon + 1, length - domain - 1)
		     : wire_is_name(text, length);
}

bool vertex_is_operation(const char *name)
{
	static const char *const words[OPERATION_PARTS] = {
		[0] = "projects", [2] = "locations", [4] = "publishers",
		[5] = "google",	  [6] = "models",    [8] = "operations",
	};

	if (strlen(name) > LIMIT_PROVIDER_JOB_ID_BYTES)
		return false;
	for (size_t i = 0; i < OPERATION_PARTS; i++) {
		size_t length = strcspn(name, "/");
		bool good =
			words[i] ? length == strlen(words[i]) &&
					   strncmp(name, words[i], length) == 0
			: i == 1 ? is_project(name, length)
			: i == 7 ? wire_is_name(name, strcspn(name, "@/"))
				 : wire_is_name(name, length);

		if (!good ||
		    (name[length] == '\0') != (i == OPERATION_PARTS - 1))
			return false;
		name += length + 1;
	}
	return true;
}

static bool is_object_name(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > OBJECT_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

bool vertex_split_gs(const char *uri, struct arena *arena,
		     const char **ret_bucket, const char **ret_object)
{
	const char *bucket = uri + strlen("gs://");
	size_t length;

	if (!text_starts_with(uri, "gs://"))
		return false;
	length = strcspn(bucket, "/");
	if (!wire_is_name(bucket, length) || bucket[length] != '/' ||
	    !is_object_name(bucket + length + 1))
		return false;
	*ret_bucket = arena_strndup(arena, bucket, length);
	*ret_object = arena_strdup(arena, bucket + length + 1);
	return *ret_bucket && *ret_object;
}

int64_t vertex_samples(const json_t *input)
{
	const json_t *parameters = json_object_get(input, "parameters");
	const json_t *count = json_object_get(parameters, "sampleCount");
	int64_t samples = json_integer_value(count);

	return samples > 0 && samples <= VERTEX_SAMPLES_MAX ? samples : 0;
}

/* The base URL; its "{location}" stands for the region. */
static const char *base_url(const struct provider_conf *conf,
			    struct arena *arena)
{
	const char *base = conf->base_url;
	const char *mark = strstr(base, "{location}");

	if (!mark)
		return base;
	return arena_printf(arena, "%.*s%s%s", (int)(mark - base), base,
			    conf->location, mark + strlen("{location}"));
}

static int check_conf(const struct provider_conf *conf,
		      struct fault *reterr_fault)
{
	if (!is_project(conf->project, strlen(conf->project)))
		return fault_set(reterr_fault, -EINVAL,
				 "the Google Cloud project is missing or is "
				 "no project's name");
	if (!wire_is_id(conf->location, PROJECT_MAX))
		return fault_set(reterr_fault, -EINVAL,
				 "the Google Cloud location is missing or is "
				 "no location's name");
	return 0;
}

/* ---- start ---- */

/* A folder for what this attempt makes: where a lost start is looked for. */
static const char *own_folder(const struct job *job,
			      const struct provider_conf *conf,
			      struct arena *arena)
{
	return arena_printf(arena, "%s/%s/%d/", conf->storage_uri, job->id,
			    (int)job->attempt);
}

/* Does the input say itself where the videos go? */
static bool has_own_storage(const json_t *input)
{
	return json_object_get(json_object_get(input, "parameters"),
			       "storageUri") != NULL;
}

static int check_input(const json_t *input, struct fault *reterr_fault)
{
	const json_t *parameters = json_object_get(input, "parameters");
	const json_t *instances = json_object_get(input, "instances");

	if (parameters && !json_is_object(parameters))
		return fault_set(reterr_fault, -EINVAL,
				 "input.parameters: not an object");
	if (instances && !json_is_array(instances))
		return fault_set(reterr_fault, -EINVAL,
				 "input.instances: not an array");
	return 0;
}

/* The caller may write the request's body, or only what is in instances[0]
 * with parameters and labels beside it. @return a new object, or NULL */
static json_t *make_body(json_t *input, const char *storage_uri)
{
	json_auto_t *body = json_object();
	json_t *rest = json_copy(input);
	json_auto_t *parameters =
		json_copy(json_object_get(input, "parameters"));
	int r = 0;

	if (!parameters && storage_uri)
		parameters = json_object();
	if (storage_uri)
		r |= json_object_set_new(parameters, "storageUri",
					 json_string(storage_uri));

	if (json_object_get(input, "instances")) {
		r |= json_object_update_new(body, rest);
	} else {
		json_t *labels = json_object_get(input, "labels");

		(void)json_object_del(rest, "parameters");
		(void)json_object_del(rest, "labels");
		r |= json_object_set_new(body, "instances",
					 json_pack("[o]", rest));
		if (labels)
			r |= json_object_set(body, "labels", labels);
	}
	if (parameters)
		r |= json_object_set(body, "parameters", parameters);
	return r == 0 ? json_incref(body) : NULL;
}

static int start_request(const struct job *job,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST };
	json_auto_t *input = NULL;
	json_auto_t *body = NULL;
	const char *storage_uri = NULL;
	int r;

	if (!job->model || !vertex_is_model(job->model))
		return fault_set(reterr_fault, -EINVAL,
				 "model: vertex wants the id of a model of "
				 "Google, such as it is in its manual");
	r = check_conf(conf, reterr_fault);
	if (r < 0)
		return r;
	r = wire_parse_input(job, &input, reterr_fault);
	if (r < 0)
		return r;
	r = check_input(input, reterr_fault);
	if (r < 0)
		return r;
	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	if (conf->storage_uri && !has_own_storage(input))
		storage_uri = own_folder(job, conf, arena);
	request.url = arena_printf(arena,
				   "%s/projects/%s/locations/%s/publishers/"
				   "google/models/%s:predictLongRunning",
				   base_url(conf, arena), conf->project,
				   conf->location, job->model);
	if (!arena_failed(arena))
		body = make_body(input, storage_uri);
	if (!body)
		return fault_set(reterr_fault, -ENOMEM,
				 "no memory for the request's body");
	wire_json_body(&request, json_text_write(body, arena));
	return wire_request_done(&request, arena, ret, reterr_fault);
}

/* ---- everything else ---- */

static int status_request(const struct job *job,
			  const struct provider_conf *conf, struct arena *arena,
			  struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_POST };
	const char *name = job->provider_job_id;
	const char *base = base_url(conf, arena);
	int r;

	if (!name || !vertex_is_operation(name))
		return fault_set(reterr_fault, -EINVAL,
				 "the job has no usable operation name");
	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	/* Project, region and model are those it was started with, whatever
	 * is configured by now. */
	request.url = arena_printf(
		arena, "%s/%.*s:fetchPredictOperation", base ? base : "",
		(int)(strstr(name, "/operations/") - name), name);
	wire_json_body(&request,
		       arena_printf(arena, "{\"operationName\":\"%s\"}", name));
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int list_request(const struct job *job, const struct provider_conf *conf,
			const char *cursor, struct arena *arena,
			struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	json_auto_t *input = NULL;
	const char *folder, *bucket, *prefix, *escaped, *page;
	int r = wire_parse_input(job, &input, reterr_fault);

	if (r < 0)
		return r;
	if (!conf->storage_uri || has_own_storage(input))
		return fault_set(reterr_fault, -EINVAL,
				 "the start had no folder of its own in Cloud "
				 "Storage (VERTEX_STORAGE_URI), so that there "
				 "is nowhere to look for it");
	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;

	folder = own_folder(job, conf, arena);
	if (folder && !vertex_split_gs(folder, arena, &bucket, &prefix))
		return fault_set(reterr_fault,
				 arena_failed(arena) ? -ENOMEM : -EINVAL,
				 "VERTEX_STORAGE_URI is not gs://bucket/path");
	if (folder) {
		escaped = text_to_percent(prefix, false, arena);
		request.url = arena_printf(
			arena, "%s/storage/v1/b/%s/o?prefix=%s",
			conf->storage_url, bucket, escaped ? escaped : "");
	}
	if (cursor && request.url) {
		page = text_to_percent(cursor, false, arena);
		request.url = arena_printf(arena, "%s&pageToken=%s",
					   request.url, page ? page : "");
	}
	return wire_request_done(&request, arena, ret, reterr_fault);
}

static int media_request(const struct provider_media *media,
			 const struct provider_conf *conf, struct arena *arena,
			 struct http_request *ret, struct fault *reterr_fault)
{
	struct http_request request = { .method = HTTP_GET };
	const char *bucket, *object, *escaped;
	int r;

	if (!media->url || !text_starts_with(media->url, "gs://"))
		return wire_media_request(media, arena, ret, reterr_fault);

	if (!vertex_split_gs(media->url, arena, &bucket, &object))
		return fault_set(reterr_fault,
				 arena_failed(arena) ? -ENOMEM : -EINVAL,
				 "the medium has no address to fetch it from");
	r = wire_authorize(&request, "Bearer", conf->credential, arena,
			   reterr_fault);
	if (r < 0)
		return r;
	escaped = text_to_percent(object, false, arena);
	request.url =
		arena_printf(arena, "%s/storage/v1/b/%s/o/%s?alt=media",
			     conf->storage_url, bucket, escaped ? escaped : "");
	return wire_request_done(&request, arena, ret, reterr_fault);
}

const struct provider_ops vertex_provider = {
	.name = "vertex",
	.poll_first_ms = 5 * 1000,
	.poll_most_ms = 60 * 1000,
	.response_bytes_max = LIMIT_PROVIDER_INLINE_BYTES,
	.retention_s = 0, /* as the bucket's owner says; inline: fetched */
	.media_as_bytes = true,
	.start_request = start_request,
	.start_event = vertex_start_event,
	.status_request = status_request,
	.status_event = vertex_status_event,
	.list_request = list_request,
	.list_event = vertex_list_event,
	.media_request = media_request,
	.token_request = vertex_token_request,
	.token_event = vertex_token_event,
};
