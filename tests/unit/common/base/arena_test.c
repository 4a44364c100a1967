/* SPDX-License-Identifier: MIT */
#include "common/base/arena.h"

#include "tests/support/check.h"

static void memory_is_zeroed_and_aligned(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(4096);

	(void)state;
	for (size_t size = 0; size < 64; size++) {
		unsigned char *bytes = arena_alloc(arena, size);

		assert_non_null(bytes);
		assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(bytes[i], 0);
		memset(bytes, 0xff, size);
	}
	assert_false(arena_failed(arena));
}

/* Of any sizes, mixed: what one holds stays as it is, whatever comes after. */
static void nothing_overlaps(void **state)
{
	enum { PIECES = 2000 };
	_cleanup_(arena_freep) struct arena *arena = arena_new(SIZE_MAX);
	static unsigned char *piece[PIECES];
	static size_t size[PIECES];

	(void)state;
	for (size_t i = 0; i < PIECES; i++) {
		size[i] = i * 7919 % (i % 50 == 0 ? 20000 : 300);
		piece[i] = arena_alloc(arena, size[i]);
		assert_non_null(piece[i]);
		for (size_t b = 0; b < size[i]; b++)
			assert_int_equal(piece[i][b], 0);
		memset(piece[i], (int)(i & 0xff), size[i]);
	}
	for (size_t i = 0; i < PIECES; i++) {
		for (size_t b = 0; b < size[i]; b++)
			assert_int_equal(piece[i][b], i & 0xff);
	}
}

static void limit_is_exact(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(100);

	(void)state;
	assert_non_null(arena_alloc(arena, 60));
	assert_non_null(arena_alloc(arena, 40));
	assert_false(arena_failed(arena));
	assert_null(arena_alloc(arena, 1));
	assert_true(arena_failed(arena));
	assert_true(arena_is_full(arena));
}

static void want_of_memory_is_not_its_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(SIZE_MAX);

	(void)state;
	assert_null(arena_alloc(arena, PTRDIFF_MAX / 2));
	assert_true(arena_failed(arena));
	assert_false(arena_is_full(arena));
	assert_null(arena_alloc(arena, 1));
	assert_false(arena_is_full(arena));
}

static void what_cannot_be_printed_fails(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);

	(void)state;
	/* A letter that the C locale has not. */
	assert_null(arena_printf(arena, "%ls", L"\u0416"));
	assert_true(arena_failed(arena));
	assert_false(arena_is_full(arena));
}

static void failure_is_sticky(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(100);

	(void)state;
	assert_null(arena_alloc(arena, 101));
	assert_null(arena_alloc(arena, 1));
	assert_null(arena_alloc(arena, 0));
	assert_null(arena_strdup(arena, ""));
	assert_null(arena_printf(arena, "%d", 1));
	assert_true(arena_failed(arena));
}

static void huge_sizes_do_not_wrap(void **state)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(100);

		assert_non_null(arena_alloc(arena, 1));
		assert_null(arena_alloc(arena, sizes[i]));
	}
}

static void copies_end_in_a_nul(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(100);

	(void)state;
	assert_string_equal(arena_strdup(arena, "take"), "take");
	assert_string_equal(arena_strndup(arena, "taken", 4), "take");
	assert_string_equal(arena_strndup(arena, "", 0), "");
	assert_string_equal(arena_printf(arena, "%s %d", "take", 2), "take 2");
}

static void a_copy_needs_room_for_its_nul(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(4);
	_cleanup_(arena_freep) struct arena *larger = arena_new(5);

	(void)state;
	assert_null(arena_strdup(arena, "take"));
	assert_non_null(arena_strdup(larger, "take"));
	assert_null(arena_free(NULL));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(nothing_overlaps),
		cmocka_unit_test(limit_is_exact),
		cmocka_unit_test(want_of_memory_is_not_its_limit),
		cmocka_unit_test(what_cannot_be_printed_fails),
		cmocka_unit_test(failure_is_sticky),
		cmocka_unit_test(huge_sizes_do_not_wrap),
		cmocka_unit_test(copies_end_in_a_nul),
		cmocka_unit_test(a_copy_needs_room_for_its_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
