/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/io/store_s3.h"
#include "common/io/store_s3_v2_library.h"
#include "common/io/store_writer.h"
#include "common/io/transfer_spool.h"
#include "common/model/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/*
 * Media in an S3 bucket, signed with version 2 by libs3: for services that
 * know nothing newer. Its calls block, so they are made on the threads of
 * the store, from spool files: a thread must not wait for a slow source.
 *
 * A large file is begun when the rest of it will be here soon, at the speed it
 * has come with so far, and sent as it comes. If it does not come, the upload
 * is broken off, and made from the beginning when the file is whole. The last
 * byte is held back until store_put_finish(), when the source is known to be
 * whole: S3 shows an object only when all of it has come.
 *
 * libs3 2.0 gives up on a connection slower than 1 KiB/s after 15 s by
 * itself. It does not check certificates (store_open() refuses https), and
 * it would take a proxy from the environment.
 */

enum {
	/* What is smaller is here before beginning early would pay. */
	EARLY_BYTES = 32 * LIMIT_MIB,
	/* So much tells how fast the source is. */
	EARLY_LEAST = 4 * LIMIT_MIB,
	SOON_MS = 3000,
	/* That a thread waits for a source, at once and in all. */
	PAUSE_MOST_MS = 1000,
	WAIT_MOST_MS = 2 * SOON_MS,
};

struct v2 {
	const struct libs3 *libs3;
	S3BucketContext bucket;
};

struct v2_put {
	struct store_put base;
	struct workers_task work;
	char *key; /* with the prefix */
	const char *content_type;
	int64_t bytes;
	int spool_fd; /* our own */

	/* the loop's */
	struct store_writer writer; /* of what comes by v2_put_write() */
	int64_t begun_ms;	    /* monotonic */
	bool early;		    /* it was begun before it was whole */
	bool uploading;		    /* a thread has it, or will */
	bool finished;		    /* the spool file is whole */
	int spool_error;	    /* it cannot be */

	/* the thread's while it is uploading */
	int64_t sent;
	int64_t waited_ms; /* for the source */
	bool starved;	   /* it did not go on */
	int error;
	struct fault fault;

	pthread_mutex_t lock;
	pthread_cond_t more;
	int64_t ready;	/* bytes that may be sent; under the lock */
	bool cancelled; /* under the lock */
};

static enum store_needs v2_needs(const struct store *store)
{
	(void)store;
	return STORE_NEEDS_BYTES;
}

static int v2_open(struct store *store, struct fault *reterr_fault)
{
	static const char *const proxies[] = {
		"http_proxy",  "https_proxy", "all_proxy",
		"HTTPS_PROXY", "ALL_PROXY",   "HTTP_PROXY",
	};
	const struct conf *conf = store->conf;
	const struct libs3 *libs3;
	struct v2 *v2;
	int r;

	if (!text_starts_with(conf->s3_url, "http://"))
		return fault_set(reterr_fault, -EINVAL,
				 "S3_SIGNATURE=v2 works with an http:// "
				 "S3_URL only: libs3 checks no certificates");
	/* Nobody else in these programs uses a proxy, or may. */
	for (size_t i = 0; i < COUNT_OF(proxies); i++)
		(void)unsetenv(proxies[i]);
	r = libs3_open(&libs3, reterr_fault);
	if (r < 0)
		return r;
	v2 = calloc(1, sizeof(*v2));
	if (!v2)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	if (libs3->initialize("rushes", S3_INIT_ALL, NULL) != S3StatusOK) {
		free(v2);
		return fault_set(reterr_fault, -ENOMEM, "libs3: no memory");
	}
	v2->libs3 = libs3;
	v2->bucket = (S3BucketContext){
		.hostName = conf->s3_url + strlen("http://"),
		.bucketName = conf->store_bucket,
		.protocol = S3ProtocolHTTP,
		.uriStyle = conf->s3_virtual_style ? S3UriStyleVirtualHost
						   : S3UriStylePath,
		.accessKeyId = conf->s3_access_key,
		.secretAccessKey = conf->s3_secret_key,
	};
	store->state = v2;
	return 0;
}

static void v2_close(struct store *store)
{
	struct v2 *v2 = store->state;

	v2->libs3->deinitialize();
	free(v2);
}

/* What libs3 says, in our words. */
static int judge(const struct store *store, S3Status status,
		 struct fault *reterr_fault)
{
	const struct v2 *v2 = store->state;
	const char *name = v2->libs3->get_status_name(status);
	int r;

	if (status == S3StatusOK)
		return 0;
	if (text_starts_with(name, "Error"))
		name += strlen("Error");
	r = store_s3_error(0, name, reterr_fault);
	if (status == S3StatusHttpErrorNotFound)
		return -ENOENT;
	/* What store_s3_error() does not know is a matter of taste: libs3
	 * knows which of its own words may pass. */
	if (r == -EAGAIN && !v2->libs3->status_is_retryable(status) &&
	    status != S3StatusNameLookupError &&
	    status != S3StatusFailedToConnect &&
	    status != S3StatusConnectionFailed &&
	    status != S3StatusErrorRequestTimeout &&
	    status != S3StatusErrorSlowDown &&
	    status != S3StatusErrorOperationAborted)
		return -EACCES;
	return r;
}

static S3Status ignore_properties(const S3ResponseProperties *properties,
				  void *userdata)
{
	(void)properties;
	(void)userdata;
	return S3StatusOK;
}

/* ---- writing, on a thread ----------------------------------------------- */

static struct v2_put *v2_put_free(struct v2_put *put)
{
	if (!put)
		return NULL;
	store_writer_done(&put->writer);
	if (put->spool_fd >= 0)
		(void)close(put->spool_fd);
	(void)pthread_cond_destroy(&put->more);
	(void)pthread_mutex_destroy(&put->lock);
	free(put->key);
	free(put);
	return NULL;
}
DEFINE_CLEANUP(struct v2_put *, v2_put_free);

/* Wait for the source, but not for long. @return how many bytes may be sent
 * from put->sent on; 0: none came; negative: cancelled */
static int64_t wait_ready(struct v2_put *put)
{
	int64_t begun_ms = clock_monotonic_ms();
	int64_t left_ms = WAIT_MOST_MS - put->waited_ms;
	int64_t until_ms =
		begun_ms + (left_ms < PAUSE_MOST_MS ? left_ms : PAUSE_MOST_MS);
	const struct timespec until = {
		.tv_sec = until_ms / 1000,
		.tv_nsec = until_ms % 1000 * 1000000,
	};
	int64_t ready;
	int r = 0;

	(void)pthread_mutex_lock(&put->lock);
	while (r == 0 && !put->cancelled && put->ready <= put->sent)
		r = pthread_cond_timedwait(&put->more, &put->lock, &until);
	ready = put->cancelled ? -1 : put->ready - put->sent;
	(void)pthread_mutex_unlock(&put->lock);
	put->waited_ms += clock_monotonic_ms() - begun_ms;
	return ready;
}

static int give(int size, char *buffer, void *userdata)
{
	struct v2_put *put = userdata;
	int64_t ready;
	ssize_t n;

	if (put->sent == put->bytes)
		return 0;
	ready = wait_ready(put);
	put->starved = ready == 0;
	if (ready <= 0)
		return -1;
	n = pread(put->spool_fd, buffer,
		  size < ready ? (size_t)size : (size_t)ready, put->sent);
	if (n <= 0)
		return -1;
	put->sent += n;
	return (int)n;
}

static void put_complete(S3Status status, const S3ErrorDetails *details,
			 void *userdata)
{
	struct v2_put *put = userdata;

	(void)details;
	put->error = judge(put->base.store, status, &put->fault);
	if (put->error == 0 && put->sent < put->bytes)
		put->error = fault_set(&put->fault, -EAGAIN,
				       "S3 store: an answer too soon");
}

static void run_put(struct workers_task *work)
{
	struct v2_put *put =
		(struct v2_put *)((char *)work - offsetof(struct v2_put, work));
	const struct v2 *v2 = put->base.store->state;
	S3PutProperties properties = {
		.contentType = put->content_type,
		.expires = -1,
		.cannedAcl = S3CannedAclPrivate,
	};
	S3PutObjectHandler handler = {
		.responseHandler = { ignore_properties, put_complete },
		.putObjectDataCallback = give,
	};

	put->sent = 0;
	put->waited_ms = 0;
	put->starved = false;
	put->error = fault_set(&put->fault, -EAGAIN, "S3 store: no answer");
	if (wait_ready(put) > 0)
		v2->libs3->put_object(&v2->bucket, put->key,
				      (uint64_t)put->bytes, &properties, NULL,
				      &handler, put);
}

/* ---- writing, on the loop ----------------------------------------------- */

static void upload(struct v2_put *put)
{
	put->uploading = true;
	workers_run(put->base.store->workers, &put->work);
}

/* So much of the spool file may be sent. */
static void set_ready(struct v2_put *put, int64_t ready)
{
	(void)pthread_mutex_lock(&put->lock);
	put->ready = ready;
	(void)pthread_cond_signal(&put->more);
	(void)pthread_mutex_unlock(&put->lock);
}

static bool is_cancelled(struct v2_put *put)
{
	bool cancelled;

	(void)pthread_mutex_lock(&put->lock);
	cancelled = put->cancelled;
	(void)pthread_mutex_unlock(&put->lock);
	return cancelled;
}

static void uploaded(struct workers_task *work)
{
	_cleanup_(v2_put_freep) struct v2_put *put =
		(struct v2_put *)((char *)work - offsetof(struct v2_put, work));

	put->uploading = false;
	if (is_cancelled(put))
		return;
	if (put->spool_error < 0) {
		put->error =
			fault_set(&put->fault, put->spool_error,
				  "SPOOL_DIR: %s", strerror(-put->spool_error));
	} else if (put->starved) {
		if (put->finished)
			upload(put);
		put = NULL; /* else v2_put_finish() goes on with it */
		return;
	}
	put->base.events->done(put->error == -ENOENT ? -EACCES : put->error,
			       &put->fault, put->base.userdata);
}

/* Where its bytes come from. */
static int open_spool(struct v2_put *put, const struct store_object *object,
		      struct fault *reterr_fault)
{
	int r = 0;

	if (object->spool_fd >= 0) {
		put->spool_fd = fcntl(object->spool_fd, F_DUPFD_CLOEXEC, 0);
		return put->spool_fd < 0
			       ? fault_set(reterr_fault, -EAGAIN,
					   "S3 store: %s", strerror(errno))
			       : 0;
	}
	put->spool_fd = transfer_spool_open(put->base.store->conf->spool_dir,
					    reterr_fault);
	if (put->spool_fd < 0)
		return store_error_of(put->spool_fd);
	r = store_writer_begin(&put->writer, put->spool_fd, put->bytes);
	return r < 0 ? fault_set(reterr_fault, r, "no memory") : 0;
}

static void init_lock(struct v2_put *put)
{
	pthread_condattr_t attributes;

	(void)pthread_mutex_init(&put->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&put->more, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

static int v2_put_start(struct store *store, const struct store_object *object,
			const struct store_put_events *events, void *userdata,
			struct store_put **ret, struct fault *reterr_fault)
{
	_cleanup_(v2_put_freep) struct v2_put *put = NULL;
	int r;

	if (object->bytes > STORE_S3_BYTES_MAX)
		return fault_set(reterr_fault, -EFBIG,
				 "S3 store: %" PRId64
				 " bytes are more than one upload may have",
				 object->bytes);
	put = calloc(1, sizeof(*put));
	if (!put)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	init_lock(put);
	put->base = (struct store_put){ store, events, userdata };
	put->work = (struct workers_task){ .run = run_put, .done = uploaded };
	put->content_type = object->content_type;
	put->bytes = object->bytes;
	put->begun_ms = clock_monotonic_ms();
	r = open_spool(put, object, reterr_fault);
	if (r < 0)
		return r;
	if (asprintf(&put->key, "%s%s", store->conf->store_prefix,
		     object->key) < 0) {
		put->key = NULL;
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	}
	*ret = &put->base;
	if (object->spool_fd >= 0) {
		put->finished = true;
		put->ready = put->bytes;
		upload(put);
	}
	put = NULL;
	return 0;
}

/* Will the rest be here soon, when so much is? */
static bool may_begin(const struct v2_put *put, int64_t ready)
{
	int64_t took_ms = clock_monotonic_ms() - put->begun_ms;

	return put->bytes >= EARLY_BYTES && ready >= EARLY_LEAST &&
	       took_ms * (put->bytes - ready) / ready <= SOON_MS;
}

static int v2_put_write(struct store_put *base, const void *bytes, size_t size,
			struct fault *reterr_fault)
{
	struct v2_put *put = (struct v2_put *)base;
	int64_t before = put->writer.written, ready;
	int r = store_writer_add(&put->writer, bytes, size);

	if (r < 0) {
		r = fault_set(reterr_fault, store_error_of(r), "SPOOL_DIR: %s",
			      strerror(-r));
		/* -EAGAIN would mean "when there is room". */
		return r == -EAGAIN ? -ENOSPC : r;
	}
	ready = put->writer.written;
	if (ready == before || (!put->early && !may_begin(put, ready)))
		return 0;
	set_ready(put, ready < put->bytes ? ready : put->bytes - 1);
	if (!put->early)
		upload(put);
	put->early = true;
	return 0;
}

static void v2_put_finish(struct store_put *base)
{
	struct v2_put *put = (struct v2_put *)base;
	int r = store_writer_end(&put->writer);

	put->finished = true;
	put->spool_error = r < 0 ? store_error_of(r) : 0;
	set_ready(put, r < 0 ? 0 : put->bytes);
	if (!put->uploading)
		upload(put);
}

static void v2_put_cancel(struct store_put *base)
{
	struct v2_put *put = (struct v2_put *)base;

	if (!put->uploading) {
		(void)v2_put_free(put);
		return;
	}
	(void)pthread_mutex_lock(&put->lock);
	put->cancelled = true; /* uploaded() frees it */
	(void)pthread_cond_signal(&put->more);
	(void)pthread_mutex_unlock(&put->lock);
}

/* ---- reading ------------------------------------------------------------ */

struct v2_read {
	struct store_read base;
	struct workers_task work;
	char *key;
	size_t bytes_max, room;
	char *bytes;
	struct store_content content;
};

static S3Status take(int size, const char *bytes, void *userdata)
{
	struct v2_read *read = userdata;
	struct store_content *content = &read->content;
	size_t more = (size_t)size;
	char *longer;

	if (more > read->bytes_max - content->size) {
		content->error = -EFBIG;
		return S3StatusAbortedByCallback;
	}
	if (content->size + more > read->room) {
		size_t room = read->room * 2 + more;

		longer = realloc(read->bytes, room);
		if (!longer) {
			content->error = -ENOMEM;
			return S3StatusAbortedByCallback;
		}
		read->bytes = longer;
		read->room = room;
	}
	memcpy(read->bytes + content->size, bytes, more);
	content->size += more;
	return S3StatusOK;
}

static void read_complete(S3Status status, const S3ErrorDetails *details,
			  void *userdata)
{
	struct v2_read *read = userdata;
	struct store_content *content = &read->content;

	(void)details;
	if (content->error == -EFBIG)
		(void)fault_set(&content->fault, 0,
				"S3 store: the object has more than %zu bytes",
				read->bytes_max);
	else if (content->error < 0)
		(void)fault_set(&content->fault, 0, "S3 store: no memory");
	else
		content->error =
			judge(read->base.store, status, &content->fault);
}

static void run_read(struct workers_task *work)
{
	struct v2_read *read =
		(struct v2_read *)((char *)work -
				   offsetof(struct v2_read, work));
	const struct v2 *v2 = read->base.store->state;
	S3GetObjectHandler handler = {
		.responseHandler = { ignore_properties, read_complete },
		.getObjectDataCallback = take,
	};

	v2->libs3->get_object(&v2->bucket, read->key, NULL, 0, 0, NULL,
			      &handler, read);
}

static void finish_read(struct workers_task *work)
{
	struct v2_read *read =
		(struct v2_read *)((char *)work -
				   offsetof(struct v2_read, work));

	if (read->content.error < 0)
		read->content.size = 0;
	read->content.bytes = read->bytes;
	if (!read->base.cancelled)
		read->base.done(&read->content, read->base.userdata);
	free(read->bytes);
	free(read->key);
	free(read);
}

static int v2_read(struct store *store, const char *key, size_t bytes_max,
		   store_read_fn *done, void *userdata, struct store_read **ret)
{
	struct v2_read *read = calloc(1, sizeof(*read));

	if (!read)
		return -ENOMEM;
	read->base = (struct store_read){ store, done, userdata, false };
	read->work =
		(struct workers_task){ .run = run_read, .done = finish_read };
	read->bytes_max = bytes_max;
	if (asprintf(&read->key, "%s%s", store->conf->store_prefix, key) < 0) {
		free(read);
		return -ENOMEM;
	}
	*ret = &read->base;
	workers_run(store->workers, &read->work);
	return 0;
}

static void v2_read_cancel(struct store_read *read)
{
	read->cancelled = true; /* finish_read() frees it */
}

const struct store_ops store_s3_v2_ops = {
	.needs = v2_needs,
	.open = v2_open,
	.close = v2_close,
	.put_start = v2_put_start,
	.put_write = v2_put_write,
	.put_finish = v2_put_finish,
	.put_cancel = v2_put_cancel,
	.read = v2_read,
	.read_cancel = v2_read_cancel,
};
