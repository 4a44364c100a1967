/* SPDX-License-Identifier: MIT */
#include "common/io/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, void *(*run)(void *userdata), void *userdata)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret, NULL, run, userdata);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}
