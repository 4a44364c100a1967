/* SPDX-License-Identifier: MIT */
#ifndef FCGI_SOCKETS_H
#define FCGI_SOCKETS_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <stddef.h>

/*
 * What systemd hands us and takes back: the listening socket ("fcgi"), and
 * connections of nginx that the process before us was serving ("conn"). They
 * survive a restart in systemd's descriptor store, for nginx does not repeat
 * a POST that it sent into a connection that was closed.
 */

struct sockets {
	int listen_fd;
	int *connection;
	size_t connection_count;
};

/* @return 0; -EINVAL: no listening socket was passed, and the fault says how
 * that is done; -ENOMEM */
_must_check_ int sockets_receive(struct sockets *ret,
				 struct fault *reterr_fault);

/* Tell systemd to forget its copies: a connection that we close must be
 * closed for nginx, too. */
void sockets_forget_stored(void);

/* Put connections into the store. They stay the caller's. @return 0; -errno,
 * or 0 with nothing done where there is no store */
int sockets_store(const int *fds, size_t count);

/* Wait until systemd has taken all that was sent, at most a few seconds. */
void sockets_flush(void);

void sockets_done(struct sockets *sockets);

#endif
