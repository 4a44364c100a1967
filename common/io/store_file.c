/* SPDX-License-Identifier: MIT */
#include "common/io/store_file.h"

#include "common/base/dice.h"
#include "common/io/store_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Media in a folder: a temporary name in the folder where it will be, fsync,
 * rename, fsync of the folder and those above. So a name either stands for a
 * whole file that survives a power cut, or does not exist. nginx reads along,
 * so folders are 0755 and files 0644 whatever the umask is.
 */

struct file_put {
	struct store_put base;
	struct workers_task work;
	char *key;
	char temp[STORE_FILE_TEMP_SIZE];
	int folder_fd, fd;
	int spool_fd; /* our own; -1: bytes come by file_put_write() */
	struct store_writer writer;
	atomic_bool cancelled; /* the loop says it, a worker looks */
	bool working;	       /* the worker has it */
	int error;
	struct fault fault;
};

static enum store_needs file_needs(const struct store *store)
{
	(void)store;
	return STORE_NEEDS_NOTHING;
}

static int file_open(struct store *store, struct fault *reterr_fault)
{
	const char *path = store->conf->store_dir;
	struct store_file *file;
	int fd;

	if (mkdir(path, 0755) == 0)
		(void)chmod(path, 0755);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fault_set(reterr_fault, -errno,
				 "STORE_URL: folder %s: %s", path,
				 strerror(errno));
	file = calloc(1, sizeof(*file));
	if (!file) {
		(void)close(fd);
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	}
	file->root_fd = fd;
	store->state = file;
	return 0;
}

static void file_close(struct store *store)
{
	struct store_file *file = store->state;

	(void)close(file->root_fd);
	free(file);
}

const char *store_file_name(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash ? slash + 1 : key;
}

/* No link is followed below the store's own folder: what is not ours must
 * not lead our writes elsewhere. */
static int open_below(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Somebody else may have been faster. */
static int make_below(int fd, const char *name)
{
	if (mkdirat(fd, name, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(fd, name, 0755, 0) < 0 ? -errno : 0;
}

int store_file_open_folder(struct store *store, const char *key, bool make)
{
	struct store_file *file = store->state;
	_cleanup_(close_fdp) int fd = open_below(file->root_fd, ".");
	char name[256];
	int next;

	for (const char *slash; fd >= 0 && (slash = strchr(key, '/'));
	     key = slash + 1) {
		(void)snprintf(name, sizeof(name), "%.*s", (int)(slash - key),
			       key);
		next = open_below(fd, name);
		if (next == -ENOENT && make) {
			next = make_below(fd, name);
			if (next == 0)
				next = open_below(fd, name);
		}
		close_fdp(&fd);
		fd = next;
	}
	next = fd;
	fd = -1;
	return next;
}

static struct file_put *file_put_free(struct file_put *put)
{
	if (!put)
		return NULL;
	close_fdp(&put->fd);
	close_fdp(&put->spool_fd);
	close_fdp(&put->folder_fd);
	store_writer_done(&put->writer);
	free(put->key);
	free(put);
	return NULL;
}
DEFINE_CLEANUP(struct file_put *, file_put_free);

static int fail(struct file_put *put, const char *what, int error)
{
	put->error = fault_set(&put->fault, store_error_of(error),
			       "store: %s: %s", what, strerror(-error));
	return put->error;
}

/* ---- on a worker's thread ----------------------------------------------- */

static int copy_spool(struct file_put *put)
{
	static const size_t step = 1 << 20;
	char buffer[64 * 1024];
	off_t offset = 0;
	ssize_t n;

	while ((n = copy_file_range(put->spool_fd, &offset, put->fd, NULL, step,
				    0)) > 0)
		;
	if (n == 0)
		return 0;
	if (errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
	    errno != EOPNOTSUPP)
		return -errno;

	/* Two file systems that do not talk to each other. */
	while ((n = pread(put->spool_fd, buffer, sizeof(buffer), offset)) > 0) {
		ssize_t written = write(put->fd, buffer, (size_t)n);

		if (written < 0)
			return -errno;
		offset = lseek(put->fd, 0, SEEK_CUR);
	}
	return n < 0 ? -errno : 0;
}

/* Every folder down to the file's, because any of them may be new. */
static int sync_folders(struct file_put *put)
{
	struct store_file *file = put->base.store->state;
	char *slash = put->key;
	int r = fsync(file->root_fd) < 0 ? -errno : 0;

	while (r >= 0 && (slash = strchr(slash, '/'))) {
		_cleanup_(close_fdp) int fd = -1;

		*slash = '\0';
		fd = openat(file->root_fd, put->key,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
		*slash++ = '/';
	}
	return r;
}

static void publish(struct workers_task *work)
{
	struct file_put *put =
		(struct file_put *)((char *)work -
				    offsetof(struct file_put, work));
	int r;

	r = put->spool_fd >= 0 ? copy_spool(put)
			       : store_writer_end(&put->writer);
	if (r >= 0 && fchmod(put->fd, 0644) < 0)
		r = -errno;
	if (r >= 0 && fsync(put->fd) < 0)
		r = -errno;
	if (r < 0) {
		(void)fail(put, "write", r);
	} else if (atomic_load(&put->cancelled)) {
		put->error = -ECANCELED;
	} else if (renameat(put->folder_fd, put->temp, put->folder_fd,
			    store_file_name(put->key)) < 0) {
		(void)fail(put, "rename", -errno);
	} else {
		r = sync_folders(put);
		if (r < 0)
			(void)fail(put, "sync of the folder", r);
		(void)store_file_sweep_folder(put->folder_fd,
					      STORE_FILE_TEMP_OLD_S);
		return;
	}
	(void)unlinkat(put->folder_fd, put->temp, 0);
}

/* ---- on the loop -------------------------------------------------------- */

static void published(struct workers_task *work)
{
	_cleanup_(file_put_freep) struct file_put *put =
		(struct file_put *)((char *)work -
				    offsetof(struct file_put, work));

	if (!atomic_load(&put->cancelled))
		put->base.events->done(put->error, &put->fault,
				       put->base.userdata);
}

static void file_put_finish(struct store_put *base)
{
	struct file_put *put = (struct file_put *)base;

	put->working = true;
	workers_run(base->store->workers, &put->work);
}

/* Where its bytes come from. */
static int open_content(struct file_put *put, const struct store_object *object)
{
	if (object->spool_fd < 0)
		return store_writer_begin(&put->writer, put->fd, object->bytes);
	put->spool_fd = fcntl(object->spool_fd, F_DUPFD_CLOEXEC, 0);
	return put->spool_fd < 0 ? -errno : 0;
}

static int file_put_start(struct store *store,
			  const struct store_object *object,
			  const struct store_put_events *events, void *userdata,
			  struct store_put **ret, struct fault *reterr_fault)
{
	_cleanup_(file_put_freep) struct file_put *put =
		calloc(1, sizeof(*put));
	uint64_t dice;
	int r;

	if (!put)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	put->base = (struct store_put){ store, events, userdata };
	put->work = (struct workers_task){ .run = publish, .done = published };
	put->folder_fd = put->fd = -1;
	put->spool_fd = -1;
	put->key = strdup(object->key);
	if (!put->key)
		return fault_set(reterr_fault, -ENOMEM, "no memory");

	put->folder_fd = store_file_open_folder(store, object->key, true);
	if (put->folder_fd < 0)
		return fault_set(reterr_fault, store_error_of(put->folder_fd),
				 "store: folder: %s",
				 strerror(-put->folder_fd));
	dice_fill(&dice, sizeof(dice));
	(void)snprintf(put->temp, sizeof(put->temp),
		       STORE_FILE_TEMP_PREFIX
		       "%016" PRIx64 STORE_FILE_TEMP_SUFFIX,
		       dice);
	put->fd = openat(put->folder_fd, put->temp,
			 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			 0600);
	if (put->fd < 0) {
		r = -errno;
		return fault_set(reterr_fault, store_error_of(r),
				 "store: new file: %s", strerror(-r));
	}
	r = open_content(put, object);
	if (r < 0) {
		(void)unlinkat(put->folder_fd, put->temp, 0);
		return fault_set(reterr_fault, store_error_of(r), "store: %s",
				 strerror(-r));
	}
	if (put->spool_fd >= 0)
		file_put_finish(&put->base);
	*ret = &put->base;
	put = NULL;
	return 0;
}

static int file_put_write(struct store_put *base, const void *bytes,
			  size_t size, struct fault *reterr_fault)
{
	struct file_put *put = (struct file_put *)base;
	int r = store_writer_add(&put->writer, bytes, size);

	if (r >= 0)
		return 0;
	r = fail(put, "write", r);
	if (reterr_fault)
		*reterr_fault = put->fault;
	/* -EAGAIN would mean "when there is room". */
	return r == -EAGAIN ? -ENOSPC : r;
}

static void file_put_cancel(struct store_put *base)
{
	struct file_put *put = (struct file_put *)base;

	atomic_store(&put->cancelled, true);
	if (put->working)
		return; /* the worker removes it, published() frees it */
	(void)unlinkat(put->folder_fd, put->temp, 0);
	(void)file_put_free(put);
}

const struct store_ops store_file_ops = {
	.needs = file_needs,
	.open = file_open,
	.close = file_close,
	.put_start = file_put_start,
	.put_write = file_put_write,
	.put_finish = file_put_finish,
	.put_cancel = file_put_cancel,
	.read = store_file_read,
	.read_cancel = store_file_read_cancel,
	.sweep = store_file_sweep,
};
