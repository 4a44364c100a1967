/* SPDX-License-Identifier: MIT */
#include "fcgi/problem.h"

#include "tests/unit/fcgi/request.h"

#include <errno.h>

static void a_refusal_says_what_and_where(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct request request = request_make(arena, "");
	struct reply reply;

	(void)state;
	problem_reply(
		&(struct problem){
			.status = 422,
			.code = "unknown_job",
			.detail = "There is no job \"a\\b\".",
			.pointer = "/jobs/3/depends_on/0",
			.field = "X-Field",
		},
		&request, &reply);
	CHECK_NUMBER("status", reply.status, 422);
	CHECK_TEXT("type", reply.content_type, "application/problem+json");
	CHECK_TEXT("type", reply_member(&reply, "type", arena), "about:blank");
	CHECK_TEXT("title", reply_member(&reply, "title", arena),
		   "Unprocessable Content");
	CHECK_TEXT("status", reply_member(&reply, "status", arena), "422");
	CHECK_TEXT("code", reply_member(&reply, "code", arena), "unknown_job");
	CHECK_TEXT("detail", reply_member(&reply, "detail", arena),
		   "There is no job \"a\\b\".");
	CHECK_TEXT("pointer", reply_member(&reply, "pointer", arena),
		   "/jobs/3/depends_on/0");
	CHECK_TEXT("field", reply_member(&reply, "field", arena), "X-Field");
	CHECK_TEXT("id", reply_member(&reply, "request_id", arena),
		   "test-request");
	CHECK_NUMBER("headers", reply.header_count, 0);
}

static void some_refusals_have_headers(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
	struct request request = request_make(arena, "");
	struct reply reply;

	(void)state;
	(void)refuse(&request, &reply, 401, "missing_key", "Send one.");
	CHECK_TEXT("401", reply_header(&reply, "WWW-Authenticate"),
		   "Bearer realm=\"rushes\"");
	(void)refuse_for_now(&request, &reply, "overloaded", "Too much.");
	CHECK_NUMBER("503", reply.status, 503);
	CHECK_TEXT("503", reply_header(&reply, "Retry-After"), "2");
}

static void our_failures_look_like_ours(void **state)
{
	static const struct {
		int r;
		unsigned status;
		const char *code;
		const char *retry_after;
	} cases[] = {
		{ -EAGAIN, 503, "database_away", "2" },
		{ -ENOMEM, 503, "out_of_memory", "2" },
		{ -EPROTO, 500, "internal_error", NULL },
		{ -EBADMSG, 500, "internal_error", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(65536);
		struct request request = request_make(arena, "");
		struct reply reply;

		problem_from_failure(cases[i].r, &request, &reply);
		CHECK_NUMBER(cases[i].code, reply.status, cases[i].status);
		CHECK_TEXT(cases[i].code, reply_member(&reply, "code", arena),
			   cases[i].code);
		CHECK_TEXT(cases[i].code, reply_header(&reply, "Retry-After"),
			   cases[i].retry_after);
	}
}

static void a_full_arena_still_gets_an_answer(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 3000; limit += 50) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		_cleanup_(arena_freep) struct arena *spare = arena_new(65536);
		struct request request = request_make(arena, "");
		struct reply reply;

		(void)refuse(&request, &reply, 404, "not_found", "Nothing.");
		CHECK("status", reply.status == 404 || reply.status == 503);
		CHECK("code", reply_member(&reply, "code", spare));
		CHECK_TEXT("503 alone", reply_header(&reply, "Retry-After"),
			   reply.status == 503 ? "2" : NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_says_what_and_where),
		cmocka_unit_test(some_refusals_have_headers),
		cmocka_unit_test(our_failures_look_like_ours),
		cmocka_unit_test(a_full_arena_still_gets_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
