/* SPDX-License-Identifier: MIT */
#include "common/io/store_file.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Reading from the folder store, and cleaning it. */

/* Folders in each other; ours are three deep. */
enum { DEPTH_MAX = 16 };

struct file_read {
	struct store_read base;
	struct workers_task work;
	char *key;
	size_t bytes_max;
	char *bytes;
	struct store_content content;
};

static int read_all(struct file_read *read_, int fd)
{
	struct fault *fault = &read_->content.fault;
	struct stat st;
	size_t size, done = 0;

	if (fstat(fd, &st) < 0)
		return fault_set(fault, store_error_of(-errno), "store: %s",
				 strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fault_set(fault, -ENOENT, "store: not a file");
	if ((uint64_t)st.st_size > read_->bytes_max)
		return fault_set(fault, -EFBIG,
				 "store: the file has more than %zu bytes",
				 read_->bytes_max);
	size = (size_t)st.st_size;
	read_->bytes = malloc(size + 1);
	if (!read_->bytes)
		return fault_set(fault, -ENOMEM, "store: no memory");
	while (done < size) {
		ssize_t n = read(fd, read_->bytes + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fault_set(fault, -EAGAIN, "store: read: %s",
					 n < 0 ? strerror(errno) : "cut short");
		done += (size_t)n;
	}
	read_->content.bytes = read_->bytes;
	read_->content.size = size;
	return 0;
}

static void run_read(struct workers_task *work)
{
	struct file_read *read =
		(struct file_read *)((char *)work -
				     offsetof(struct file_read, work));
	_cleanup_(close_fdp) int folder_fd =
		store_file_open_folder(read->base.store, read->key, false);
	_cleanup_(close_fdp) int fd = -1;
	int r = folder_fd < 0 ? folder_fd : 0;

	if (r >= 0) {
		fd = openat(folder_fd, store_file_name(read->key),
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		r = fd < 0 ? -errno : 0;
	}
	if (r < 0)
		read->content.error =
			fault_set(&read->content.fault,
				  r == -ENOENT ? r : store_error_of(r),
				  "store: %s", strerror(-r));
	else
		read->content.error = read_all(read, fd);
}

static void finish_read(struct workers_task *work)
{
	struct file_read *read =
		(struct file_read *)((char *)work -
				     offsetof(struct file_read, work));

	if (!read->base.cancelled)
		read->base.done(&read->content, read->base.userdata);
	free(read->bytes);
	free(read->key);
	free(read);
}

int store_file_read(struct store *store, const char *key, size_t bytes_max,
		    store_read_fn *done, void *userdata,
		    struct store_read **ret)
{
	struct file_read *read = calloc(1, sizeof(*read));

	if (!read)
		return -ENOMEM;
	read->base = (struct store_read){ store, done, userdata, false };
	read->work =
		(struct workers_task){ .run = run_read, .done = finish_read };
	read->bytes_max = bytes_max;
	read->key = strdup(key);
	if (!read->key) {
		free(read);
		return -ENOMEM;
	}
	workers_run(store->workers, &read->work);
	*ret = &read->base;
	return 0;
}

void store_file_read_cancel(struct store_read *read)
{
	read->cancelled = true; /* finish_read() frees it */
}

/* ---- sweeping ----------------------------------------------------------- */

static DIR *folder_close(DIR *folder)
{
	if (folder)
		(void)closedir(folder);
	return NULL;
}
DEFINE_CLEANUP(DIR *, folder_close);

static DIR *folder_open(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);

	if (!folder && fd >= 0)
		(void)close(fd);
	return folder;
}

static bool is_temporary(const char *name)
{
	size_t length = strlen(name), suffix = strlen(STORE_FILE_TEMP_SUFFIX);

	return length + 1 <= STORE_FILE_TEMP_SIZE && length > suffix &&
	       text_starts_with(name, STORE_FILE_TEMP_PREFIX) &&
	       strcmp(name + length - suffix, STORE_FILE_TEMP_SUFFIX) == 0;
}

static size_t sweep_entry(int folder_fd, const char *name, int64_t older_than_s)
{
	struct stat st;

	if (!is_temporary(name) ||
	    fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) ||
	    st.st_mtim.tv_sec > clock_unix_s() - older_than_s)
		return 0;
	return unlinkat(folder_fd, name, 0) == 0 ? 1 : 0;
}

size_t store_file_sweep_folder(int folder_fd, int64_t older_than_s)
{
	_cleanup_(folder_closep) DIR *folder = folder_open(folder_fd, ".");
	struct dirent *entry;
	size_t count = 0;

	while (folder && (entry = readdir(folder)))
		count += sweep_entry(folder_fd, entry->d_name, older_than_s);
	return count;
}

static size_t sweep_below(int parent_fd, const char *name, int depth,
			  int64_t older_than_s)
{
	_cleanup_(folder_closep) DIR *folder = folder_open(parent_fd, name);
	struct dirent *entry;
	size_t count = 0;

	while (folder && (entry = readdir(folder))) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		/* What is no folder does not open as one. */
		if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
			count += depth < DEPTH_MAX
					 ? sweep_below(dirfd(folder),
						       entry->d_name, depth + 1,
						       older_than_s)
					 : 0;
		count +=
			sweep_entry(dirfd(folder), entry->d_name, older_than_s);
	}
	return count;
}

int store_file_sweep(struct store *store, int64_t older_than_s,
		     size_t *ret_count, struct fault *reterr_fault)
{
	struct store_file *file = store->state;

	(void)reterr_fault;
	*ret_count = sweep_below(file->root_fd, ".", 0, older_than_s);
	return 0;
}
