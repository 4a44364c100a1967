/* SPDX-License-Identifier: MIT */
#include "common/io/store_writer.h"

#include "common/model/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIECE = 16 * LIMIT_KIB, BLOCK = 512 };

static char piece[PIECE];

static char byte_at(int64_t offset)
{
	return (char)(offset % 251);
}

static int temporary(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

/* Write so many bytes by pieces of one size, and look at the file. */
static void check(int64_t bytes, size_t step, int64_t expected)
{
	struct store_writer writer = { 0 };
	int fd = temporary();
	struct stat st;
	ssize_t n;

	assert_int_equal(store_writer_begin(&writer, fd, expected), 0);
	for (int64_t done = 0; done < bytes;) {
		size_t size = step;

		if ((int64_t)size > bytes - done)
			size = (size_t)(bytes - done);
		for (size_t i = 0; i < size; i++)
			piece[i] = byte_at(done + (int64_t)i);
		assert_int_equal(store_writer_add(&writer, piece, size), 0);
		done += (int64_t)size;
	}
	assert_int_equal(store_writer_end(&writer), 0);
	assert_null(writer.bytes);

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, bytes);
	/* No room is kept that the file does not need. */
	assert_in_range(st.st_blocks * BLOCK, 0, bytes + LIMIT_MIB);
	for (int64_t done = 0; done < bytes; done += n) {
		n = pread(fd, piece, sizeof(piece), done);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(piece[i], byte_at(done + i));
	}
	(void)close(fd);
}

static void every_byte_is_written(void **state)
{
	static const int64_t sizes[] = {
		0,
		1,
		256 * LIMIT_KIB - 1,
		256 * LIMIT_KIB,
		256 * LIMIT_KIB + 1,
		8 * LIMIT_MIB,
		8 * LIMIT_MIB + 1,
		17 * LIMIT_MIB + 12345,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check(sizes[i], PIECE, -1);
		check(sizes[i], PIECE - 1, sizes[i]);
	}
}

/* The length that was announced was a lie, one way and the other. */
static void lengths_that_lie_do_no_harm(void **state)
{
	(void)state;
	check(LIMIT_MIB, PIECE, 7 * LIMIT_MIB);
	check(9 * LIMIT_MIB, PIECE, LIMIT_MIB);
	check(LIMIT_MIB, PIECE, INT64_MAX);
}

static void a_full_disk_is_noticed(void **state)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct store_writer writer = { 0 };
	int r = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(store_writer_begin(&writer, fd, -1), 0);
	assert_int_equal(store_writer_add(&writer, piece, 1), 0);
	assert_int_equal(store_writer_end(&writer), -ENOSPC);

	assert_int_equal(store_writer_begin(&writer, fd, LIMIT_MIB), 0);
	for (int i = 0; r == 0 && i < LIMIT_MIB / PIECE; i++)
		r = store_writer_add(&writer, piece, PIECE);
	assert_int_equal(r, -ENOSPC);
	store_writer_done(&writer);
	store_writer_done(&writer);
	assert_int_equal(store_writer_end(&writer), 0);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_is_written),
		cmocka_unit_test(lengths_that_lie_do_no_harm),
		cmocka_unit_test(a_full_disk_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
