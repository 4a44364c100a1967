/* SPDX-License-Identifier: MIT */
#include "fcgi/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
	/* The kernel takes 253 descriptors in one message. */
	STORE_AT_ONCE = 200,
	FLUSH_US = 5 * 1000 * 1000,
};

static void take(int fd, const char *name, struct sockets *sockets)
{
	if (name && strcmp(name, "conn") == 0)
		sockets->connection[sockets->connection_count++] = fd;
	else if (sockets->listen_fd < 0 &&
		 sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0)
		sockets->listen_fd = fd;
	else
		(void)close(fd);
}

int sockets_receive(struct sockets *ret, struct fault *reterr_fault)
{
	struct sockets sockets = { .listen_fd = -1 };
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);

	if (count < 0)
		return fault_set(reterr_fault, count,
				 "LISTEN_FDS cannot be read: %s",
				 strerror(-count));
	sockets.connection = calloc((size_t)count + 1, sizeof(int));
	if (!sockets.connection)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	for (int i = 0; i < count; i++) {
		take(SD_LISTEN_FDS_START + i, names ? names[i] : NULL,
		     &sockets);
		if (names)
			free(names[i]);
	}
	free(names);
	if (sockets.listen_fd < 0) {
		sockets_done(&sockets);
		return fault_set(reterr_fault, -EINVAL,
				 "no listening unix stream socket was passed; "
				 "rushes-fcgi.socket does that (to try it by "
				 "hand: systemd-socket-activate -l PATH "
				 "--fdname=fcgi rushes-fcgi)");
	}
	*ret = sockets;
	return 0;
}

void sockets_forget_stored(void)
{
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=conn");
}

int sockets_store(const int *fds, size_t count)
{
	for (size_t at = 0; at < count; at += STORE_AT_ONCE) {
		size_t some =
			count - at < STORE_AT_ONCE ? count - at : STORE_AT_ONCE;
		int r = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=conn",
					       fds + at, (unsigned)some);

		if (r <= 0)
			return r;
	}
	return 0;
}

void sockets_flush(void)
{
	(void)sd_notify_barrier(0, FLUSH_US);
}

void sockets_done(struct sockets *sockets)
{
	free(sockets->connection);
	sockets->connection = NULL;
	sockets->connection_count = 0;
}
