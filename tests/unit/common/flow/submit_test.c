/* SPDX-License-Identifier: MIT */
#include "common/flow/submit.h"

#include "common/base/text.h"
#include "tests/support/check.h"

#include <errno.h>
#include <jansson.h>

static const char *const providers[] = { "fal" };

static const char body[] =
	"{\"name\":\"film\",\"metadata\":{\"k\":[1,2]},\"jobs\":["
	"{\"name\":\"a\",\"provider\":\"fal\",\"model\":\"m/a\","
	"\"input\":{\"prompt\":\"\\\"quoted\\\"\"},\"deadline_s\":7},"
	"{\"name\":\"b\",\"provider\":\"fal\",\"model\":\"m/b\","
	"\"input\":{\"u\":\"${a.output.url}\"},\"max_attempts\":1,"
	"\"on_dependency_failure\":\"run\","
	"\"dependency_defaults\":{\"a\":{\"url\":\"x\"}}},"
	"{\"name\":\"c\",\"provider\":\"fal\",\"model\":\"m/c\","
	"\"input\":{\"t\":\"$${plain}\"},\"depends_on\":[\"a\",\"b\"]}]}";

static int prepare(struct arena *arena, struct submit_item *ret)
{
	const struct submission_rules rules = { 100, providers, 1 };
	const struct submit_options options = {
		.owner = "tester",
		.idempotency_key = "k\"1",
		.body = body,
		.body_bytes = sizeof(body) - 1,
		.deadline_s = 100,
	};
	struct submission_problem wrong = { 0 };
	struct submission submission;
	struct fault fault;
	int r = submission_parse(body, sizeof(body) - 1, &rules, arena,
				 &submission, &wrong);

	if (r > 0)
		fail_msg("%s at %s", wrong.detail, wrong.pointer);
	return r < 0 ? r
		     : submit_prepare(&submission, &options, arena, ret,
				      &fault);
}

/* Rows as the statement will see them. */
static json_t *rows(const char *text, size_t bytes, struct arena *arena)
{
	json_t *array =
		json_loads(arena_printf(arena, "[%.*s]", (int)bytes, text),
			   JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(array);
	return array;
}

static const char *member(const json_t *array, size_t i, const char *key)
{
	return json_string_value(
		json_object_get(json_array_get(array, i), key));
}

static int number(const json_t *array, size_t i, const char *key)
{
	return (int)json_integer_value(
		json_object_get(json_array_get(array, i), key));
}

static bool flag(const json_t *array, size_t i, const char *key)
{
	return json_is_true(json_object_get(json_array_get(array, i), key));
}

static void the_execution_is_a_row(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct submit_item item = { 0 };
	json_t *array;

	(void)state;
	CHECK_NUMBER("prepare", prepare(arena, &item), 0);
	array = rows(item.execution_rows, item.execution_bytes, arena);
	CHECK_NUMBER("rows", json_array_size(array), 1);
	CHECK("id", text_is_uuid(item.id));
	CHECK_TEXT("id", member(array, 0, "id"), item.id);
	CHECK_TEXT("owner", member(array, 0, "owner"), "tester");
	CHECK_TEXT("name", member(array, 0, "name"), "film");
	CHECK_TEXT("key", member(array, 0, "idempotency_key"), "k\"1");
	CHECK_TEXT("hash", member(array, 0, "body_sha256"), item.body_sha256);
	CHECK_NUMBER("hash", strlen(item.body_sha256), 64);
	CHECK_NUMBER("jobs", number(array, 0, "jobs_total"), 3);
	json_decref(array);
}

static void jobs_are_rows_with_defaults_filled_in(void **state)
{
	static const struct {
		const char *name;
		int deadline_s, max_attempts, needs_left;
		bool has_references;
		const char *policy;
	} want[] = {
		{ "a", 7, SUBMIT_ATTEMPTS, 0, false, "fail" },
		{ "b", 100, 1, 1, true, "run" },
		{ "c", 100, SUBMIT_ATTEMPTS, 2, true, "fail" },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct submit_item item = { 0 };
	json_t *array;

	(void)state;
	CHECK_NUMBER("prepare", prepare(arena, &item), 0);
	array = rows(item.job_rows, item.job_bytes, arena);
	CHECK_NUMBER("rows", json_array_size(array), 3);
	for (size_t i = 0; i < COUNT_OF(want); i++) {
		CHECK_TEXT("id", member(array, i, "id"), item.job[i].id);
		CHECK_TEXT("of", member(array, i, "execution_id"), item.id);
		CHECK_TEXT("name", member(array, i, "name"), want[i].name);
		CHECK_TEXT("policy", member(array, i, "on_dependency_failure"),
			   want[i].policy);
		CHECK_NUMBER("position", number(array, i, "position"), i);
		CHECK_NUMBER("deadline", number(array, i, "deadline_s"),
			     want[i].deadline_s);
		CHECK_NUMBER("attempts", number(array, i, "max_attempts"),
			     want[i].max_attempts);
		CHECK_NUMBER("needs", number(array, i, "needs_left"),
			     want[i].needs_left);
		CHECK("references", flag(array, i, "has_references") ==
					    want[i].has_references);
		CHECK("waits", item.job[i].waits == (want[i].needs_left > 0));
	}
	json_decref(array);
}

static void edges_go_from_parents_to_children(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct submit_item item = { 0 };
	json_t *array, *parents;

	(void)state;
	CHECK_NUMBER("prepare", prepare(arena, &item), 0);
	array = rows(item.edge_rows, item.edge_bytes, arena);
	CHECK_NUMBER("children", json_array_size(array), 2);
	CHECK_TEXT("b", member(array, 0, "child_id"), item.job[1].id);
	CHECK_TEXT("c", member(array, 1, "child_id"), item.job[2].id);
	parents = json_object_get(json_array_get(array, 1), "parent_ids");
	CHECK_NUMBER("parents", json_array_size(parents), 2);
	CHECK_TEXT("a", json_string_value(json_array_get(parents, 0)),
		   item.job[0].id);
	CHECK_TEXT("b", json_string_value(json_array_get(parents, 1)),
		   item.job[1].id);
	json_decref(array);
}

static void the_same_body_has_the_same_hash_and_new_ids(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct submit_item one = { 0 }, other = { 0 };

	(void)state;
	CHECK_NUMBER("prepare", prepare(arena, &one), 0);
	CHECK_NUMBER("prepare", prepare(arena, &other), 0);
	CHECK_TEXT("hash", one.body_sha256, other.body_sha256);
	CHECK("id", strcmp(one.id, other.id) != 0);
	CHECK("job id", strcmp(one.job[0].id, other.job[0].id) != 0);
	CHECK("job id", strcmp(one.job[0].id, one.job[1].id) != 0);
}

static void a_small_arena_fails_cleanly(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 20000; limit += 100) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		struct submit_item item = { .owner = "untouched" };
		int r = prepare(arena, &item);

		CHECK("result", r == 0 || r == -ENOMEM);
		if (r < 0)
			CHECK_TEXT("item", item.owner, "untouched");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_execution_is_a_row),
		cmocka_unit_test(jobs_are_rows_with_defaults_filled_in),
		cmocka_unit_test(edges_go_from_parents_to_children),
		cmocka_unit_test(the_same_body_has_the_same_hash_and_new_ids),
		cmocka_unit_test(a_small_arena_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
