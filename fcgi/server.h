/* SPDX-License-Identifier: MIT */
#ifndef FCGI_SERVER_H
#define FCGI_SERVER_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/io/conf.h"

/*
 * rushes-fcgi from its start to its end: sockets, threads, the watchdog, and
 * a stop that loses no request.
 */

enum {
	/* Stopped, but for a thread that is stuck: end the process at once. */
	SERVER_E_STUCK = 1,
};

/**
 * Serve until SIGTERM or SIGINT. Signals must be blocked, and no other
 * thread must be running.
 *
 * @return 0 after a clean stop; SERVER_E_STUCK; -errno when it could not start
 */
_must_check_ int server_run(const struct conf *conf,
			    struct fault *reterr_fault);

#endif
