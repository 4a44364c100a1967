/* SPDX-License-Identifier: MIT */
/*
 * One program for all recorded and written answers: each folder
 * tests/fixtures/PROVIDER/CALL-CASE/ is one case.
 *
 *	job.json   optional: members of the job and of the configuration that
 *		   differ from the usual, see read_job()
 *	response   "HTTP STATUS", headers, a blank line, the body; not in
 *		   request-CALL-CASE folders, whose subject is the request
 *	want       what must come out, as print_event() and print_request()
 *		   write it
 *
 * Every case is also run with too little memory, at every size up to what it
 * needs. UPDATE=1 in the environment writes the want files anew; read the
 * difference before you commit it.
 */
#include "common/base/text.h"
#include "common/provider/provider.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	NOW_UNIX_S = 1764000000,
	ARENA_BYTES = 8 * 1024 * 1024,
	FILE_BYTES_MAX = 4 * 1024 * 1024,
};

#define FIXTURES "tests/fixtures"
#define JOB_ID	 "0199f1c2-7a3b-7c4d-8e5f-0123456789ab"

struct test_case {
	const struct provider_ops *ops;
	char folder[600];
	const char *call; /* start, status, …: what the folder begins with */
	bool is_request;
	struct job job;
	struct provider_conf conf;
	const char *cursor;
	struct provider_media media;
	struct http_response response;
	struct http_header header[HTTP_RESPONSE_HEADER_MAX];
	struct arena *arena; /* of all these strings */
};

/* ---- reading a case ---- */

static char *read_file(const char *folder, const char *name,
		       struct arena *arena, size_t *ret_size)
{
	char path[700];
	char *text;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	text = arena_alloc(arena, FILE_BYTES_MAX);
	assert_non_null(text);
	*ret_size = fread(text, 1, FILE_BYTES_MAX - 1, file);
	assert_int_equal(fclose(file), 0);
	return text;
}

static const char *member(json_t *from, const char *key, const char *usual,
			  struct arena *arena)
{
	json_t *value = json_object_get(from, key);

	if (!value)
		return usual;
	if (json_is_null(value))
		return NULL;
	assert_true(json_is_string(value));
	return arena_strdup(arena, json_string_value(value));
}

static const char *input_text(json_t *from, const char *usual,
			      struct arena *arena)
{
	json_t *value = json_object_get(from, "input");
	char *text, *copy;

	if (!value)
		return usual;
	if (json_is_string(value)) /* verbatim, for what is no JSON object */
		return arena_strdup(arena, json_string_value(value));
	text = json_dumps(value, JSON_COMPACT);
	copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

static void read_job(struct test_case *test, const char *model)
{
	struct arena *arena = test->arena;
	size_t size = 0;
	char *text = read_file(test->folder, "job.json", arena, &size);
	json_error_t error = { .text = "" };
	json_auto_t *from =
		text ? json_loadb(text, size, 0, &error) : json_object();
	struct job *job = &test->job;

	if (!from)
		fail_msg("%s/job.json: %s", test->folder, error.text);
	(void)snprintf(job->id, sizeof(job->id), "%s", JOB_ID);
	job->state = JOB_PROCESSING;
	job->provider = test->ops->name;
	job->model = member(from, "model", model, arena);
	job->input = input_text(from, "{\"prompt\":\"a cat\"}", arena);
	job->provider_job_id =
		member(from, "provider_job_id", job->provider_job_id, arena);
	job->provider_ref = member(from, "provider_ref", NULL, arena);
	job->webhook_url = member(from, "webhook_url", job->webhook_url, arena);
	job->attempt = 1;
	job->started_unix_ms = (NOW_UNIX_S - 30) * INT64_C(1000);
	if (json_object_get(from, "started_unix_ms"))
		job->started_unix_ms = json_integer_value(
			json_object_get(from, "started_unix_ms"));

	test->conf.base_url =
		member(from, "base_url", test->conf.base_url, arena);
	test->conf.credential =
		member(from, "credential", test->conf.credential, arena);
	test->conf.storage_uri =
		member(from, "storage_uri", test->conf.storage_uri, arena);
	test->conf.project = member(from, "project", test->conf.project, arena);
	test->conf.location =
		member(from, "location", test->conf.location, arena);
	test->conf.account = member(from, "account", NULL, arena);
	test->cursor = member(from, "cursor", NULL, arena);
	test->media.url = member(from, "media_url", NULL, arena);
}

static void read_response(struct test_case *test)
{
	size_t size = 0;
	char *text = read_file(test->folder, "response", test->arena, &size);
	char *end;

	if (!text)
		fail_msg("%s: no file 'response'", test->folder);
	if (sscanf(text, "HTTP %u", &test->response.status) != 1)
		fail_msg("%s/response: no status line", test->folder);
	end = strchr(text, '\n');
	while (end && end[1] != '\n') {
		char *name = end + 1;
		char *colon = strstr(name, ": ");

		end = strchr(name, '\n');
		if (!end || !colon || colon > end ||
		    test->response.header_count == HTTP_RESPONSE_HEADER_MAX)
			fail_msg("%s/response: bad header", test->folder);
		*colon = '\0';
		*end = '\0';
		test->header[test->response.header_count++] =
			(struct http_header){ name, colon + 2 };
	}
	if (!end)
		fail_msg("%s/response: no blank line", test->folder);
	test->response.header = test->header;
	test->response.body = end + 2;
	test->response.body_bytes = size - (size_t)(end + 2 - text);
}

/* ---- printing ---- */

static void print_line(FILE *out, const char *name, const char *value)
{
	if (value)
		(void)fprintf(out, "%s %s\n", name, value);
}

static void print_event(FILE *out, const struct provider_event *event)
{
	print_line(out, "kind", job_event_name(event->kind));
	print_line(out, "id", event->provider_job_id);
	print_line(out, "ref", event->provider_ref);
	if (event->progress >= 0)
		(void)fprintf(out, "progress %.3f\n", event->progress);
	for (size_t i = 0; i < event->media_count; i++) {
		const struct provider_media *media = &event->media[i];

		if (media->url)
			(void)fprintf(out, "media %s", media->url);
		else
			(void)fprintf(out, "media inline %zu %.24s",
				      media->base64_bytes, media->base64);
		(void)fprintf(out, " (%s)\n",
			      media->content_type ? media->content_type
						  : "no type");
	}
	print_line(out, "output", event->output);
	print_line(out, "error_code", event->error_code);
	print_line(out, "error_message", event->error_message);
	if (event->error_code && event->kind != JOB_NO_ANSWER)
		print_line(out, "billed", job_billed_name(event->billed));
	if (event->retry_after_ms)
		(void)fprintf(out, "retry_after_ms %lld\n",
			      (long long)event->retry_after_ms);
	print_line(out, "cursor", event->cursor);
	print_line(out, "unknown_status", event->unknown_status);
	if (event->hint)
		(void)fprintf(out, "hint\n");
}

static void print_request(FILE *out, const struct http_request *request)
{
	(void)fprintf(out, "%s %s\n", http_method_name(request->method),
		      request->url);
	for (size_t i = 0; i < request->header_count; i++)
		(void)fprintf(out, "%s: %s\n", request->header[i].name,
			      request->header[i].value);
	if (request->body)
		(void)fprintf(out, "\n%.*s\n", (int)request->body_bytes,
			      request->body);
}

/* ---- running ---- */

static int run_request(const struct test_case *test, struct arena *arena,
		       FILE *out, struct fault *fault)
{
	const struct provider_ops *ops = test->ops;
	const char *call = test->call;
	struct http_request request = { .url = "untouched" };
	int r = -ENOSYS;

	if (text_starts_with(call, "start"))
		r = ops->start_request(&test->job, &test->conf, arena, &request,
				       fault);
	else if (text_starts_with(call, "status"))
		r = ops->status_request(&test->job, &test->conf, arena,
					&request, fault);
	else if (text_starts_with(call, "result"))
		r = ops->result_request(&test->job, &test->conf, arena,
					&request, fault);
	else if (text_starts_with(call, "cancel"))
		r = ops->cancel_request(&test->job, &test->conf, arena,
					&request, fault);
	else if (text_starts_with(call, "list"))
		r = ops->list_request(&test->job, &test->conf, test->cursor,
				      arena, &request, fault);
	else if (text_starts_with(call, "media"))
		r = ops->media_request(&test->media, &test->conf, arena,
				       &request, fault);
	else if (text_starts_with(call, "token"))
		r = ops->token_request(&test->conf, NOW_UNIX_S, arena, &request,
				       fault);
	else if (text_starts_with(call, "keys"))
		r = ops->keys_request(&test->conf, arena, &request, fault);
	else
		fail_msg("%s: no such call", test->folder);

	if (r == 0)
		print_request(out, &request);
	else
		assert_string_equal(request.url, "untouched");
	return r;
}

static int run_keys(const struct test_case *test, struct arena *arena,
		    FILE *out, struct fault *fault)
{
	struct provider_key key[4];
	size_t count = 99;
	int r = test->ops->keys_event(&test->response, arena, key,
				      COUNT_OF(key), &count, fault);

	if (r != 0)
		assert_int_equal(count, 99);
	for (size_t i = 0; r == 0 && i < count; i++)
		(void)fprintf(out, "key '%s' %s\n", key[i].id, key[i].key);
	return r;
}

static int run_token(const struct test_case *test, struct arena *arena,
		     FILE *out, struct fault *fault)
{
	const char *token = "untouched";
	int64_t lifetime_s = -1;
	int r = test->ops->token_event(&test->response, arena, &token,
				       &lifetime_s, fault);

	if (r == 0)
		(void)fprintf(out, "token %s for %lld s\n", token,
			      (long long)lifetime_s);
	else
		assert_string_equal(token, "untouched");
	return r;
}

static int run_webhook(const struct test_case *test, struct arena *arena,
		       struct provider_event *event, struct fault *fault)
{
	struct provider_webhook webhook = {
		.header = test->response.header,
		.header_count = test->response.header_count,
		.body = test->response.body,
		.body_bytes = test->response.body_bytes,
		.now_unix_s = NOW_UNIX_S,
	};

	return test->ops->webhook_event(&webhook, arena, event, fault);
}

static int run_event(const struct test_case *test, struct arena *arena,
		     FILE *out, struct fault *fault)
{
	const struct provider_ops *ops = test->ops;
	const char *call = test->call;
	struct provider_event event = { .kind = JOB_EVENT_MAX };
	provider_event_fn *fn = NULL;
	int r;

	if (text_starts_with(call, "keys"))
		return run_keys(test, arena, out, fault);
	if (text_starts_with(call, "token"))
		return run_token(test, arena, out, fault);

	if (text_starts_with(call, "start"))
		fn = ops->start_event;
	else if (text_starts_with(call, "status"))
		fn = ops->status_event;
	else if (text_starts_with(call, "result"))
		fn = ops->result_event;
	else if (text_starts_with(call, "cancel"))
		fn = ops->cancel_event;
	else if (text_starts_with(call, "list"))
		fn = ops->list_event;
	else if (!text_starts_with(call, "webhook"))
		fail_msg("%s: no such call", test->folder);

	if (fn)
		r = fn(&test->job, &test->response, NOW_UNIX_S, arena, &event,
		       fault);
	else
		r = run_webhook(test, arena, &event, fault);

	if (r == 0)
		print_event(out, &event);
	else
		assert_int_equal(event.kind, JOB_EVENT_MAX);
	return r;
}

/* @return the outcome as text, for free(); *ret_code is the function's */
static char *run(const struct test_case *test, size_t arena_bytes,
		 int *ret_code)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(arena_bytes);
	struct fault fault = { "" };
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r;

	assert_non_null(arena);
	assert_non_null(out);
	r = test->is_request ? run_request(test, arena, out, &fault)
			     : run_event(test, arena, out, &fault);
	/* The fault is filled in on failure and only then. */
	assert_true((r == 0) == (fault.text[0] == '\0'));
	if (r != 0)
		(void)fprintf(out, "%s: %s\n", strerrorname_np(-r), fault.text);
	assert_int_equal(fclose(out), 0);
	*ret_code = r;
	return text;
}

static void run_short_of_memory(const struct test_case *test, int want,
				const char *want_text)
{
	for (size_t bytes = 0;; bytes += bytes < 2048 ? 7 : bytes / 8) {
		int r;
		char *text = run(test, bytes, &r);

		if (r != -ENOMEM) {
			if (r != want || strcmp(text, want_text) != 0)
				fail_msg("%s: with %zu bytes: %s", test->folder,
					 bytes, text);
			free(text);
			break;
		}
		free(text);
		assert_true(bytes < ARENA_BYTES);
	}
}

static void update(const char *folder, const char *text)
{
	char path[700];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/want", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void run_case(const struct test_case *test)
{
	size_t size = 0;
	int r;
	char *text = run(test, ARENA_BYTES, &r);
	char *want;

	if (getenv("UPDATE"))
		update(test->folder, text);
	want = read_file(test->folder, "want", test->arena, &size);
	if (!want)
		fail_msg("%s: no file 'want'", test->folder);
	if (strcmp(text, want) != 0)
		fail_msg("%s:\n--- got\n%s--- want\n%s", test->folder, text,
			 want);
	run_short_of_memory(test, r, text);
	free(text);
}

/* ---- the usual job and configuration of each provider ---- */

static void set_up(struct test_case *test)
{
	const char *name = test->ops->name;
	const char *model = "";

	test->conf = (struct provider_conf){
		.credential = "secret-token",
		.project = "",
		.location = "",
		.storage_url = "",
	};
	if (strcmp(name, "replicate") == 0) {
		model = "owner/name";
		test->conf.base_url = "https://api.replicate.com/v1";
		test->job.provider_job_id = "gm3qorzdhgbfurvjtvhg6dckhu";
	} else if (strcmp(name, "fal") == 0) {
		model = "fal-ai/veo3/fast/image-to-video";
		test->conf.base_url = "https://queue.fal.run";
		test->conf.list_url = "https://api.fal.ai/v1";
		test->conf.keys_url =
			"https://rest.fal.ai/.well-known/jwks.json";
		test->job.provider_job_id =
			"5057fca7-2eb3-468f-b95d-cefe92b0b9d4";
	} else {
		model = "veo-3.1-generate-001";
		test->conf.base_url =
			"https://us-central1-aiplatform.googleapis.com/v1";
		test->conf.project = "demo-project";
		test->conf.location = "us-central1";
		test->conf.storage_url = "https://storage.googleapis.com";
		test->job.provider_job_id =
			"projects/demo-project/locations/us-central1/"
			"publishers/google/models/veo-3.1-generate-001/"
			"operations/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
	}
	if (test->ops->has_webhook)
		test->job.webhook_url = "https://rushes.example/api/webhooks/"
					"job/" JOB_ID "/1.AbC-dEf_0123";
	if (!test->conf.list_url)
		test->conf.list_url = test->conf.base_url;
	read_job(test, model);
}

static size_t run_folder(const struct provider_ops *ops)
{
	struct dirent **entries = NULL;
	char path[300];
	size_t count = 0;
	int found;

	(void)snprintf(path, sizeof(path), "%s/%s", FIXTURES, ops->name);
	found = scandir(path, &entries, NULL, alphasort);
	if (found < 0)
		fail_msg("%s: %s (run from the root of the tree)", path,
			 strerror(errno));
	for (int i = 0; i < found; i++) {
		const char *name = entries[i]->d_name;

		if (name[0] != '.') {
			_cleanup_(arena_freep) struct arena *arena =
				arena_new(8 * (size_t)FILE_BYTES_MAX);
			struct test_case test = { .ops = ops, .arena = arena };

			(void)snprintf(test.folder, sizeof(test.folder),
				       "%s/%s", path, name);
			test.is_request = text_starts_with(name, "request-");
			test.call = name + (test.is_request ? 8 : 0);
			set_up(&test);
			if (!test.is_request)
				read_response(&test);
			run_case(&test);
			count++;
		}
		free(entries[i]);
	}
	free(entries);
	return count;
}

static void replicate_cases(void **state)
{
	(void)state;
	assert_true(run_folder(&replicate_provider) >= 200);
}

static void fal_cases(void **state)
{
	(void)state;
	assert_true(run_folder(&fal_provider) >= 200);
}

static void vertex_cases(void **state)
{
	(void)state;
	assert_true(run_folder(&vertex_provider) >= 180);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replicate_cases),
		cmocka_unit_test(fal_cases),
		cmocka_unit_test(vertex_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
