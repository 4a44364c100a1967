/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_STORE_FILE_H
#define COMMON_IO_STORE_FILE_H

#include "common/io/store_put.h"

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* The folder store's own pieces; private to store_file*.c. */

#define STORE_FILE_TEMP_PREFIX ".rushes-"
#define STORE_FILE_TEMP_SUFFIX ".tmp"

enum {
	STORE_FILE_TEMP_SIZE = sizeof(STORE_FILE_TEMP_PREFIX) + 16 +
			       sizeof(STORE_FILE_TEMP_SUFFIX),
	/* A writer touches its file every few minutes at least: a source slower
	 * than 1 KiB/s for STALL_TIMEOUT_S is given up, and so many KiB are
	 * gathered at most. */
	STORE_FILE_TEMP_OLD_S = 3600,
};

struct store_file {
	int root_fd;
};

static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Open the folder of a key, below the store's own. @return fd or -errno */
int store_file_open_folder(struct store *store, const char *key, bool make);

/* What comes after the last slash. */
const char *store_file_name(const char *key);

/* Remove temporary files of killed writers in one folder. */
size_t store_file_sweep_folder(int folder_fd, int64_t older_than_s);

int store_file_sweep(struct store *store, int64_t older_than_s,
		     size_t *ret_count, struct fault *reterr_fault);
int store_file_read(struct store *store, const char *key, size_t bytes_max,
		    store_read_fn *done, void *userdata,
		    struct store_read **ret);
void store_file_read_cancel(struct store_read *read);

#endif
