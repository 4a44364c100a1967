/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program whose clock is to be set while it runs: adds the
 * seconds in the file $CLOCK_FILE to what the wall clock shows. What measures
 * durations goes on, as it does when a real clock is set; timers that wait for
 * a wall clock's time are used by none of our programs.
 *
 * (libfaketime moves timers of the monotonic clock as well, and by that
 * stops an event loop.)
 */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Read anew each time: the file is replaced as a whole, and is short. */
static time_t offset_s(void)
{
	const char *path = getenv("CLOCK_FILE");
	int saved_errno = errno;
	char text[32] = "";
	ssize_t size;
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		(void)close(fd);
	errno = saved_errno;
	return size > 0 ? (time_t)strtoll(text, NULL, 10) : 0;
}

static int is_wall_clock(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

/* libc's own names of the parameters are libc's alone. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
EXPORT int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && is_wall_clock(clock))
		ret->tv_sec += offset_s();
	return r;
}

EXPORT int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -1;
	ret->tv_sec = now.tv_sec;
	ret->tv_usec = now.tv_nsec / 1000;
	return 0;
}

EXPORT time_t time(time_t *ret)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -1;
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
