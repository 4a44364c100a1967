/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_THREAD_H
#define COMMON_IO_THREAD_H

#include "common/base/macro.h"

#include <pthread.h>

/**
 * Start a thread that no signal interrupts: signals are the event loop's
 * business.
 *
 * @ret  to be joined
 *
 * @return 0 or -errno, such as -EAGAIN
 */
_must_check_ int thread_start(pthread_t *ret, void *(*run)(void *userdata),
			      void *userdata);

#endif
