/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STACK_SPAWN_H
#define TESTS_STACK_SPAWN_H

#include "tests/stack/service.h"

/**
 * Run the service's program: its socket is descriptor 3, those of its store
 * follow; LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, NOTIFY_SOCKET and the
 * watchdog's variables say so; output is appended to its log.
 *
 * @return 0 and *ret_pid; -errno. A program that cannot be executed is a
 *	   child that exits with status 127
 */
_must_check_ int spawn_service(const struct service *service, pid_t *ret_pid,
			       struct fault *reterr_fault);

#endif
