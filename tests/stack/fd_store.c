/* SPDX-License-Identifier: MIT */
/* Descriptors that outlive the process that opened them. */

#include "tests/stack/fd_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void entry_drop(struct fd_store_entry *entry)
{
	if (entry->fd < 0)
		return;
	entry->hangup = sd_event_source_disable_unref(entry->hangup);
	close(entry->fd);
	entry->fd = -1;
	entry->store->count--;
}

static int on_hangup(sd_event_source *source, int fd, uint32_t revents,
		     void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	entry_drop(userdata);
	return 0;
}

void fd_store_init(struct fd_store *store, sd_event *event)
{
	store->event = event;
	store->count = 0;
	for (size_t i = 0; i < FD_STORE_MAX; i++)
		store->entries[i] =
			(struct fd_store_entry){ .store = store, .fd = -1 };
}

void fd_store_done(struct fd_store *store)
{
	for (size_t i = 0; i < FD_STORE_MAX; i++)
		entry_drop(&store->entries[i]);
}

int fd_store_consume(struct fd_store *store, int fd, const char *name)
{
	struct fd_store_entry *entry = store->entries;

	if (store->count == FD_STORE_MAX) {
		close(fd);
		return -ENOSPC;
	}
	while (entry->fd >= 0)
		entry++;

	entry->fd = fd;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	store->count++;

	/* What epoll does not take (a file) cannot hang up either. */
	(void)sd_event_add_io(store->event, &entry->hangup, fd,
			      EPOLLHUP | EPOLLERR, on_hangup, entry);
	return 0;
}

size_t fd_store_remove(struct fd_store *store, const char *name)
{
	size_t before = store->count;

	for (size_t i = 0; i < FD_STORE_MAX; i++) {
		struct fd_store_entry *entry = &store->entries[i];

		if (entry->fd >= 0 && strcmp(entry->name, name) == 0)
			entry_drop(entry);
	}
	return before - store->count;
}
