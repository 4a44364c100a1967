/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STACK_FD_STORE_H
#define TESTS_STACK_FD_STORE_H

#include <systemd/sd-event.h>

#include <stddef.h>

/*
 * The descriptor store of one service, as systemd keeps it: descriptors sent
 * with FDSTORE=1 stay here, also while they are handed to the next process,
 * until FDSTOREREMOVE=1 names them or their peer hangs up.
 */

enum {
	FD_STORE_MAX = 1024,
	FD_STORE_NAME_MAX = 32,
};

struct fd_store_entry {
	struct fd_store *store;
	sd_event_source *hangup;
	int fd; /* -1: this place is free */
	char name[FD_STORE_NAME_MAX];
};

struct fd_store {
	sd_event *event; /* borrowed */
	size_t count;
	struct fd_store_entry entries[FD_STORE_MAX];
};

void fd_store_init(struct fd_store *store, sd_event *event);

/* Closes everything in it. */
void fd_store_done(struct fd_store *store);

/* Takes the descriptor, also on failure. @return 0; -ENOSPC when full */
int fd_store_consume(struct fd_store *store, int fd, const char *name);

/* @return how many had that name and are closed now */
size_t fd_store_remove(struct fd_store *store, const char *name);

#endif
