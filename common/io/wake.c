/* SPDX-License-Identifier: MIT */
#include "common/io/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Senders may fill the socket as fast as it is emptied; that must not keep
 * the poller from its work. */
enum { DRAIN_MAX = 4096 };

void wake_send(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length;
	int fd;

	if (!path)
		return;
	length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)&address, sizeof(address));
	(void)close(fd);
}

int wake_drain(int fd)
{
	char byte;
	int count;

	for (count = 0; count < DRAIN_MAX; count++) {
		if (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
			continue;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		return -errno;
	}
	return count;
}
