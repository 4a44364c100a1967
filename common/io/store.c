/* SPDX-License-Identifier: MIT */
#include "common/io/store_put.h"

#include <errno.h>
#include <stdlib.h>

enum {
	FILE_THREADS = 4,
	/* libs3 holds a thread for as long as an upload takes. */
	V2_THREADS_MAX = 16,
};

static size_t thread_count(const struct conf *conf)
{
	if (conf->store_kind != CONF_STORE_S3 || !conf->s3_signature_v2)
		return FILE_THREADS;
	return conf->transfers_max < V2_THREADS_MAX
		       ? (size_t)conf->transfers_max
		       : V2_THREADS_MAX;
}

int store_open(sd_event *event, const struct conf *conf, struct store **ret,
	       struct fault *reterr_fault)
{
	_cleanup_(store_closep) struct store *store = NULL;
	const struct store_ops *ops;
	int r;

	switch (conf->store_kind) {
	case CONF_STORE_FILE:
		ops = &store_file_ops;
		break;
	case CONF_STORE_S3:
		ops = conf->s3_signature_v2 ? &store_s3_v2_ops : &store_s3_ops;
		break;
	default:
		return fault_set(reterr_fault, -EINVAL, "STORE_URL is not set");
	}
	store = calloc(1, sizeof(*store));
	if (!store)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	store->conf = conf;
	store->event = sd_event_ref(event);
	r = workers_new(event, thread_count(conf), &store->workers,
			reterr_fault);
	if (r < 0)
		return r;
	r = ops->open(store, reterr_fault);
	if (r < 0)
		return r;
	store->ops = ops;

	*ret = TAKE_PTR(store);
	return 0;
}

struct store *store_close(struct store *store)
{
	if (!store)
		return NULL;
	(void)workers_free(store->workers);
	if (store->ops)
		store->ops->close(store);
	(void)sd_event_unref(store->event);
	free(store);
	return NULL;
}

int store_read(struct store *store, const char *key, size_t bytes_max,
	       store_read_fn *done, void *userdata,
	       struct store_read **ret_read)
{
	struct store_read *read = NULL;
	int r;

	if (!store_key_is_valid(key))
		return -EINVAL;
	r = store->ops->read(store, key, bytes_max, done, userdata, &read);
	if (r >= 0 && ret_read)
		*ret_read = read;
	return r;
}

void store_read_cancel(struct store_read *read)
{
	if (read)
		read->store->ops->read_cancel(read);
}

int store_sweep(struct store *store, int64_t older_than_s, size_t *ret_count,
		struct fault *reterr_fault)
{
	if (store->ops->sweep)
		return store->ops->sweep(store, older_than_s, ret_count,
					 reterr_fault);
	*ret_count = 0;
	return 0;
}

enum store_needs store_needs(const struct store *store)
{
	return store->ops->needs(store);
}

int store_put_start(struct store *store, const struct store_object *object,
		    const struct store_put_events *events, void *userdata,
		    struct store_put **ret, struct fault *reterr_fault)
{
	if (!store_key_is_valid(object->key))
		return fault_set(reterr_fault, -EINVAL, "not a key of ours");
	return store->ops->put_start(store, object, events, userdata, ret,
				     reterr_fault);
}

int store_put_write(struct store_put *put, const void *bytes, size_t size,
		    struct fault *reterr_fault)
{
	return put->store->ops->put_write(put, bytes, size, reterr_fault);
}

void store_put_finish(struct store_put *put)
{
	put->store->ops->put_finish(put);
}

void store_put_cancel(struct store_put *put)
{
	if (put)
		put->store->ops->put_cancel(put);
}

int store_error_of(int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG: /* of a limit on files: what is too large is known before
		      */
	case -EIO:
	case -EMFILE:
	case -ENFILE:
	case -EINTR:
	case -EAGAIN:
	case -ESTALE:
	case -ETIMEDOUT:
		return -EAGAIN;
	case -ENOMEM:
		return error;
	default:
		return -EACCES;
	}
}
