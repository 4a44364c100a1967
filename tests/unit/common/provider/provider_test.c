/* SPDX-License-Identifier: MIT */
/* Walks the table of providers for gaps, and gives every reader bytes that no
 * provider would send. */
#include "common/base/macro.h"
#include "common/model/json_text.h"
#include "common/provider/provider.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_BYTES = 64 * 1024 * 1024 };

static void has_what_every_provider_needs(const struct provider_ops *ops)
{
	assert_non_null(ops->name);
	assert_true(strlen(ops->name) > 0);
	assert_in_range(ops->poll_first_ms, 500, 60 * 1000);
	assert_in_range(ops->poll_most_ms, ops->poll_first_ms, 3600 * 1000);
	assert_true(ops->response_bytes_max >= 1024 * 1024);
	assert_true(ops->retention_s >= 0);
	assert_non_null(ops->start_request);
	assert_non_null(ops->start_event);
	assert_non_null(ops->status_request);
	assert_non_null(ops->status_event);
	assert_non_null(ops->media_request);
}

/* What comes in pairs comes whole or not at all. */
static void has_no_half_pair(const struct provider_ops *ops)
{
	assert_int_equal(!ops->result_request, !ops->result_event);
	assert_int_equal(!ops->cancel_request, !ops->cancel_event);
	assert_int_equal(!ops->list_request, !ops->list_event);
	assert_int_equal(!ops->token_request, !ops->token_event);
	assert_int_equal(!ops->keys_request, !ops->keys_event);
	assert_int_equal(!ops->webhook_event, !ops->has_webhook);
	/* Keys are of no use to one that does not verify. */
	assert_true(ops->verify || !ops->keys_request);
	assert_true(ops->has_webhook || !ops->verify);
}

static void table_has_no_gap(void **state)
{
	const struct provider_ops *ops;
	size_t count = 0;

	(void)state;
	for (; (ops = provider_at(count)); count++) {
		has_what_every_provider_needs(ops);
		has_no_half_pair(ops);
		assert_ptr_equal(provider_lookup(ops->name), ops);
	}
	assert_int_equal(count, 3);
	assert_null(provider_at(SIZE_MAX));
}

static void only_exact_names_are_found(void **state)
{
	(void)state;
	assert_ptr_equal(provider_lookup("replicate"), &replicate_provider);
	assert_ptr_equal(provider_lookup("fal"), &fal_provider);
	assert_ptr_equal(provider_lookup("vertex"), &vertex_provider);
	assert_null(provider_lookup(""));
	assert_null(provider_lookup("Replicate"));
	assert_null(provider_lookup("fal "));
}

/* ---- bytes from nowhere ---- */

static const struct job job = {
	.id = "0199f1c2-7a3b-7c4d-8e5f-0123456789ab",
	.state = JOB_PROCESSING,
	.provider = "",
	.model = "owner/name",
	.input = "{}",
	.provider_job_id = "x",
	.webhook_url = "https://rushes.example/w",
	.attempt = 1,
	.started_unix_ms = 1,
};

/* An answer that nobody understands never says that a job did not start,
 * that it failed, or that there is something to fetch. */
static void tells_nothing(const struct provider_ops *ops, provider_event_fn *fn,
			  const struct http_response *response)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct provider_event event = { .kind = JOB_EVENT_NONE };

	if (!fn)
		return;
	assert_int_equal(fn(&job, response, 1000, arena, &event, NULL), 0);
	if (fn == ops->start_event)
		assert_int_equal(event.kind, JOB_START_LOST);
	else if (fn == ops->cancel_event && event.kind == JOB_CANCEL_TRIED)
		assert_int_equal(event.media_count, 0);
	else
		assert_int_equal(event.kind, JOB_NO_ANSWER);
	assert_int_equal(event.media_count, 0);
}

static void is_refused(const struct provider_ops *ops, const char *bytes,
		       size_t size)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct provider_webhook webhook = { .body = bytes, .body_bytes = size };
	struct provider_event event;
	struct provider_key key;
	struct fault fault = { "" };
	struct http_response response = {
		.status = 200,
		.body = bytes,
		.body_bytes = size,
	};
	const char *token;
	int64_t lifetime_s;
	size_t count;

	if (ops->webhook_event)
		assert_int_equal(
			ops->webhook_event(&webhook, arena, &event, &fault),
			-EBADMSG);
	if (ops->keys_event)
		assert_int_equal(ops->keys_event(&response, arena, &key, 1,
						 &count, &fault),
				 -EBADMSG);
	if (ops->token_event)
		assert_int_equal(ops->token_event(&response, arena, &token,
						  &lifetime_s, &fault),
				 -EBADMSG);
}

static void feed(const char *bytes, size_t size)
{
	struct http_response response = {
		.status = 200,
		.body = bytes,
		.body_bytes = size,
	};
	const struct provider_ops *ops;

	for (size_t i = 0; (ops = provider_at(i)); i++) {
		tells_nothing(ops, ops->start_event, &response);
		tells_nothing(ops, ops->status_event, &response);
		tells_nothing(ops, ops->result_event, &response);
		tells_nothing(ops, ops->cancel_event, &response);
		tells_nothing(ops, ops->list_event, &response);
		is_refused(ops, bytes, size);
	}
}

static void garbage_tells_nothing(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"null",
		"true",
		"5",
		"\"text\"",
		"[]",
		"[{}]",
		"{",
		"{\"a\":1,\"a\":2}",
		"{\"a\":1e999}",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\xff\"}",
		"{}trailing",
		"<html></html>",
		"\xef\xbb\xbf{}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		feed(texts[i], strlen(texts[i]));
	feed("{}\0{}", 5);
	feed(NULL, 0);
}

/* Sixteen million brackets, and as many values as fit into a megabyte. */
static void depth_and_number_are_limited(void **state)
{
	size_t size = 16 * 1024 * 1024;
	char *bytes = malloc(size);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, '[', size);
	feed(bytes, size);
	memset(bytes, '{', size);
	feed(bytes, size);
	for (size_t i = 0; i + 5 <= size; i += 5)
		memcpy(bytes + i, "{\"a\":", 5);
	feed(bytes, size);
	memcpy(bytes, "{\"a\":[", 6);
	for (size_t i = 6; i < size; i++)
		bytes[i] = i % 2 ? ',' : '0';
	memcpy(bytes + size - 2, "]}", 2);
	feed(bytes, size);
	free(bytes);
}

/* Not refused, but bounded: JSON as deep as the parser goes. */
static void deep_json_is_walked_without_harm(void **state)
{
	enum { LEVELS = 1900 };
	static const char head[] =
		"{\"id\":\"x\",\"request_id\":\"x\",\"status\":\"succeeded\","
		"\"output\":";
	char body[sizeof(head) + LEVELS * 12];
	size_t length = sizeof(head) - 1;
	struct http_response response = { .status = 200, .body = body };
	const struct provider_ops *ops;

	(void)state;
	memcpy(body, head, length);
	for (int i = 0; i < LEVELS; i++, length += 9)
		memcpy(body + length, "{\"video\":", 9);
	body[length++] = '1';
	for (int i = 0; i <= LEVELS; i++)
		body[length++] = '}';
	response.body_bytes = length;

	for (size_t i = 0; (ops = provider_at(i)); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		struct provider_event event = { .kind = JOB_EVENT_NONE };

		assert_int_equal(ops->status_event(&job, &response, 1000, arena,
						   &event, NULL),
				 0);
		assert_int_not_equal(event.kind, JOB_EVENT_NONE);
		assert_int_not_equal(event.kind, JOB_RENDERED);
	}
}

/* ---- a request without memory ---- */

static json_malloc_t jansson_takes;
static json_free_t jansson_frees;
static int until_none;

/* The n-th time, and only then, more than there is. */
static void *takes_too_much(size_t size)
{
	return jansson_takes(--until_none == 0 ? PTRDIFF_MAX : size);
}

/* @return whether jansson had no memory; else *ret_body is the request's */
static bool is_starved(const struct provider_ops *ops, const char *model,
		       int nth, struct arena *arena, const char **ret_body)
{
	static const struct provider_conf conf = {
		.base_url = "https://provider.example/v1",
		.credential = "secret-token",
		.project = "project",
		.location = "us-central1",
		.storage_uri = "gs://bucket/prefix",
	};
	struct http_request request = { 0 };
	struct job start = job;
	int r;

	start.model = model;
	start.input = "{\"prompt\":\"a cat\",\"n\":[1,{\"seed\":7}],"
		      "\"parameters\":{\"sampleCount\":2},"
		      "\"labels\":{\"a\":\"b\"}}";
	until_none = nth;
	json_text_watch();
	r = ops->start_request(&start, &conf, arena, &request, NULL);
	if (json_text_starved())
		return true;
	assert_int_equal(r, 0);
	*ret_body = arena_strndup(arena, request.body, request.body_bytes);
	return false;
}

/* What is missing in a request is always noticed. */
static void no_start_is_half_said(void **state)
{
	static const struct {
		const struct provider_ops *ops;
		const char *model;
	} cases[] = {
		{ &replicate_provider, "owner/name" },
		{ &replicate_provider, "owner/name:v1" },
		{ &fal_provider, "fal-ai/veo3" },
		{ &vertex_provider, "veo-3.0-generate-001" },
	};

	(void)state;
	json_get_alloc_funcs(&jansson_takes, &jansson_frees);
	json_set_alloc_funcs(takes_too_much, jansson_frees);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		const char *whole = NULL, *body = NULL;
		int nth = 1;

		assert_false(is_starved(cases[i].ops, cases[i].model, 0, arena,
					&whole));
		while (is_starved(cases[i].ops, cases[i].model, nth, arena,
				  &body))
			nth++;
		assert_true(nth > 10);
		assert_string_equal(body, whole);
	}
	json_set_alloc_funcs(jansson_takes, jansson_frees);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_has_no_gap),
		cmocka_unit_test(only_exact_names_are_found),
		cmocka_unit_test(garbage_tells_nothing),
		cmocka_unit_test(depth_and_number_are_limited),
		cmocka_unit_test(deep_json_is_walked_without_harm),
		cmocka_unit_test(no_start_is_half_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
