/* SPDX-License-Identifier: MIT */
#include "common/io/wake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/rushes-wake-XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };

static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	return fd;
}

static void what_is_sent_is_drained(void **state)
{
	int fd = open_socket();

	(void)state;
	assert_int_equal(wake_drain(fd), 0); /* a blocking socket, too */
	for (int i = 0; i < 3; i++)
		wake_send(address.sun_path);
	assert_int_equal(wake_drain(fd), 3);
	assert_int_equal(wake_drain(fd), 0);
	(void)close(fd);
}

static void a_full_socket_does_not_block(void **state)
{
	int fd = open_socket(), count;

	(void)state;
	for (int i = 0; i < 2000; i++)
		wake_send(address.sun_path);
	count = wake_drain(fd);
	assert_true(count > 0 && count < 2000);
	(void)close(fd);
}

static void nobody_there_is_fine(void **state)
{
	char longest[300];

	(void)state;
	(void)unlink(address.sun_path);
	wake_send(address.sun_path);
	wake_send(NULL);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	wake_send(longest);
	assert_int_equal(wake_drain(-1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent_is_drained),
		cmocka_unit_test(a_full_socket_does_not_block),
		cmocka_unit_test(nobody_there_is_fine),
	};
	int failed;

	if (!mkdtemp(folder))
		return 1;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/wake",
		       folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlink(address.sun_path);
	(void)rmdir(folder);
	return failed;
}
