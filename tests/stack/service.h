/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STACK_SERVICE_H
#define TESTS_STACK_SERVICE_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "tests/stack/fd_store.h"

#include <systemd/sd-event.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One supervised program: started with its socket as systemd would pass it,
 * listened to on a notify socket of its own, started again when it is due.
 */

/* What main decides about a service; strings and the socket are borrowed. */
struct service_plan {
	const char *name;    /* "fcgi": its files are name.pid, name.log */
	const char *program; /* path */
	const char *run_dir;
	const char *log_dir;
	const char *socket_name;  /* LISTEN_FDNAMES */
	const char *database_url; /* its DATABASE_URL; NULL: the one we have */
	int socket_fd;
	int64_t idle_ms;     /* from its exit to its next start */
	bool wake_by_socket; /* a readable socket starts it sooner */
	int64_t watchdog_s;  /* 0: it is not watched */
	int64_t grace_s;     /* from SIGTERM to SIGKILL */
	int64_t tired_ms;    /* to its next start when it failed at once */
};

struct service {
	struct service_plan plan;
	sd_event *event; /* borrowed */
	sd_event_source *child;
	sd_event_source *notify;
	sd_event_source *wake;
	sd_event_source *timer; /* next start, or SIGKILL while it ends */
	sd_event_source *watchdog;
	char *notify_path;
	char *pid_path;
	char *log_path;
	char *hold_path;
	pid_t pid;	  /* 0: not running */
	uint64_t started; /* CLOCK_MONOTONIC, microseconds */
	bool at_once;	  /* it was told to restart: no delay */
	bool closing;	  /* we are about to leave: never start again */
	struct fd_store store;
};

/**
 * Make ready to run; nothing is started yet.
 *
 * @ret  must not move afterwards, and is to be given to service_done()
 *	 whatever comes back
 *
 * @return 0; -errno
 */
_must_check_ int service_init(struct service *ret, sd_event *event,
			      const struct service_plan *plan,
			      struct fault *reterr_fault);
void service_done(struct service *service);

/* Start it unless it runs, or the file NAME.hold is in the run folder: then
 * look again a little later. A failure is logged and tried again. */
void service_start(struct service *service);

/* SIGTERM, SIGKILL after the grace, and started again at once. */
void service_restart(struct service *service);

/* SIGTERM, SIGKILL after the grace, and never again. @return whether it runs
 * still: then wait until .pid is 0 */
bool service_close(struct service *service);

#endif
