/* SPDX-License-Identifier: MIT */
#include "common/io/transfer.h"

#include "common/base/text.h"
#include "common/io/transfer_spool.h"
#include "common/io/transfer_state.h"
#include "common/model/limits.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARENA_BYTES = 128 * LIMIT_KIB };

/* ---- lists -------------------------------------------------------------- */

static void list_add(struct transfer_list *list, struct transfer *t)
{
	t->list = list;
	t->next = NULL;
	t->previous = list->last;
	if (list->last)
		list->last->next = t;
	else
		list->first = t;
	list->last = t;
	list->count++;
}

static void list_remove(struct transfer *t)
{
	struct transfer_list *list = t->list;

	if (t->previous)
		t->previous->next = t->next;
	else
		list->first = t->next;
	if (t->next)
		t->next->previous = t->previous;
	else
		list->last = t->previous;
	list->count--;
	if (list == &t->transfers->running)
		t->lane->running--;
	t->list = NULL;
}

/* ---- one transfer ------------------------------------------------------- */

static struct transfer *transfer_free(struct transfer *t)
{
	if (!t)
		return NULL;
	http_wire_done(&t->wire);
	store_put_cancel(t->put);
	store_writer_done(&t->spool);
	(void)sd_event_source_disable_unref(t->retry);
	if (t->spool_fd >= 0)
		(void)close(t->spool_fd);
	curl_slist_free_all(t->headers);
	(void)sha256_free(t->sha256);
	(void)arena_free(t->arena);
	free(t);
	return NULL;
}
DEFINE_CLEANUP(struct transfer *, transfer_free);

static void schedule(struct transfers *transfers)
{
	(void)sd_event_source_set_enabled(transfers->pump, SD_EVENT_ONESHOT);
}

int transfer_note(struct transfer *t, enum transfer_side side, int error,
		  const char *format, ...)
{
	va_list args;

	if (t->result.error == 0) {
		t->result.error = error;
		t->result.side = side;
		va_start(args, format);
		(void)vsnprintf(t->result.fault.text,
				sizeof(t->result.fault.text), format, args);
		va_end(args);
	}
	return error;
}

void transfer_end(struct transfer *t)
{
	struct transfers *transfers = t->transfers;

	list_remove(t);
	schedule(transfers);
	/* A connection must not outlive its transfer in the callback's eyes:
	 * what did not succeed leaves nothing behind from here on. */
	http_wire_done(&t->wire);
	store_put_cancel(TAKE_PTR(t->put));
	t->result.bytes = t->bytes;
	t->done(&t->result, t->userdata);
	(void)transfer_free(t);
}

void transfer_cancel(struct transfer *transfer)
{
	if (!transfer)
		return;
	list_remove(transfer);
	schedule(transfer->transfers);
	(void)transfer_free(transfer);
}

int transfer_sniff(struct transfer *t)
{
	struct transfer_result *result = &t->result;

	t->type = media_type_sniff(t->head, t->head_size);
	if (!t->type)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "not media: its first bytes are those of "
				     "no video, image or audio file");
	(void)snprintf(result->content_type, sizeof(result->content_type), "%s",
		       t->type->content_type);
	(void)snprintf(result->key, sizeof(result->key), "%s.%s", t->key_prefix,
		       t->type->extension);
	return 0;
}

static void finish_hash(struct transfer *t)
{
	uint8_t digest[SHA256_BYTES];

	sha256_finish(t->sha256, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(t->result.sha256 + 2 * i, 3, "%02x", digest[i]);
}

void transfer_store(struct transfer *t)
{
	struct store_object object = {
		.key = t->result.key,
		.content_type = t->type->content_type,
		.bytes = t->bytes,
		.spool_fd = t->spool_fd,
		.sha256 = t->result.sha256,
	};
	struct fault fault;
	int r;

	finish_hash(t);
	if (t->put) {
		store_put_finish(t->put);
		return;
	}
	r = store_put_start(t->transfers->store, &object, &transfer_put_events,
			    t, &t->put, &fault);
	if (r < 0) {
		(void)transfer_note(t, TRANSFER_STORE, r, "%s", fault.text);
		transfer_end(t);
	}
}

/* ---- what the store says ------------------------------------------------ */

static int on_retry(sd_event_source *source, void *userdata)
{
	struct transfer *t = userdata;
	CURLcode code;

	(void)source;
	if (!t->paused || !t->wire.loop)
		return 0;
	/* Calls take_body() at once with what was held back; it may pause
	 * again. An error of its does not end the handle: that is for us. */
	t->paused = false;
	code = curl_easy_pause(t->wire.easy, CURLPAUSE_CONT);
	if (code != CURLE_OK) {
		http_wire_stop(&t->wire);
		(void)transfer_note(t, TRANSFER_NOWHERE, -EAGAIN,
				    "download: %s", curl_easy_strerror(code));
		transfer_end(t);
	}
	return 0;
}

static void on_ready(void *userdata)
{
	struct transfer *t = userdata;

	/* The store may say so from within its own libcurl callback, and
	 * pausing one handle from another's callback is asking for trouble. */
	if (t->paused)
		(void)sd_event_source_set_enabled(t->retry, SD_EVENT_ONESHOT);
}

static void on_put_done(int error, const struct fault *fault, void *userdata)
{
	struct transfer *t = userdata;

	t->put = NULL; /* gone by itself */
	if (error < 0)
		(void)transfer_note(t, TRANSFER_STORE, error, "%s",
				    fault->text);
	transfer_end(t);
}

const struct store_put_events transfer_put_events = {
	.ready = on_ready,
	.done = on_put_done,
};

/* ---- the queue ---------------------------------------------------------- */

static void start(struct transfer *t)
{
	t->lane->running++;
	list_add(&t->transfers->running, t);
	if (t->url) {
		transfer_fetch(t);
		return;
	}
	if (t->result.error == 0 && transfer_sniff(t) == 0)
		transfer_store(t);
	else
		transfer_end(t);
}

static int on_pump(sd_event_source *source, void *userdata)
{
	struct transfers *transfers = userdata;
	size_t most = (size_t)transfers->conf->transfers_max;
	/* A source that hangs fills its own lane, never all of them. */
	size_t lane_most = most - most / 4;
	struct transfer *next;

	(void)source;
	for (struct transfer *t = transfers->queued.first;
	     t && transfers->running.count < most; t = next) {
		next = t->next;
		if (t->lane->running >= lane_most)
			continue;
		list_remove(t);
		start(t);
		/* start() may end it at once, and its callback may have
		 * changed the queue: look at it afresh. */
		next = transfers->queued.first;
	}
	return 0;
}

static struct transfer_lane *find_lane(struct transfers *transfers,
				       const char *name)
{
	struct transfer_lane *lane = transfers->lane;

	if (!name)
		name = "";
	for (size_t i = 0; i < transfers->lane_count; i++, lane++) {
		if (strcmp(lane->name, name) == 0)
			return lane;
	}
	/* There are few providers; should there be many, the last share. */
	if (transfers->lane_count == TRANSFER_LANES_MAX)
		return &transfers->lane[TRANSFER_LANES_MAX - 1];
	transfers->lane_count++;
	(void)snprintf(lane->name, sizeof(lane->name), "%s", name);
	return lane;
}

static int copy_request(struct transfer *t, const struct http_request *request,
			struct fault *reterr_fault)
{
	int r;

	if (request->method != HTTP_GET || !request->url ||
	    request->body_bytes > 0)
		return fault_set(reterr_fault, -EINVAL,
				 "media is fetched by GET");
	r = url_split(request->url, t->arena, &t->origin, reterr_fault);
	if (r < 0)
		return r;
	t->url = arena_strdup(t->arena, request->url);
	for (size_t i = 0; i < request->header_count; i++) {
		r = http_list_add(&t->headers, request->header[i].name,
				  request->header[i].value);
		if (r < 0)
			return fault_set(reterr_fault, r,
					 "a header that cannot be sent");
	}
	return 0;
}

/* Inline media is decoded here and now, so that its text, which may be the
 * largest thing in memory, need not live on. A text that is no media is an
 * answer like any other: it waits for its turn to be called back. */
static int decode(struct transfer *t, const struct transfer_job *job,
		  struct fault *reterr_fault)
{
	struct fault fault;
	int64_t r;
	ssize_t n;

	t->spool_fd = transfer_spool_open(t->transfers->conf->spool_dir,
					  reterr_fault);
	if (t->spool_fd < 0)
		return t->spool_fd;
	r = transfer_spool_base64(t->spool_fd, job->base64, job->base64_bytes,
				  t->bytes_max, t->sha256, &fault);
	if (r == -EBADMSG || r == -EFBIG) {
		(void)transfer_note(t, TRANSFER_SOURCE, (int)r, "%s",
				    fault.text);
		return 0;
	}
	if (r < 0)
		return fault_set(reterr_fault, (int)r, "%s", fault.text);
	t->bytes = r;
	n = pread(t->spool_fd, t->head, sizeof(t->head), 0);
	if (n < 0)
		return fault_set(reterr_fault, -errno, "SPOOL_DIR: %s",
				 strerror(errno));
	t->head_size = (size_t)n;
	return 0;
}

int transfer_start(struct transfers *transfers, const struct transfer_job *job,
		   transfer_done_fn *done, void *userdata,
		   struct transfer **ret_transfer, struct fault *reterr_fault)
{
	_cleanup_(transfer_freep) struct transfer *t = calloc(1, sizeof(*t));
	sd_event *event;
	int r;

	if (!t)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	t->transfers = transfers;
	t->done = done;
	t->userdata = userdata;
	t->spool_fd = -1;
	t->bytes_max = job->bytes_max > 0 ? job->bytes_max
					  : transfers->conf->media_bytes_max;
	t->lane = find_lane(transfers, job->lane);
	t->arena = arena_new(ARENA_BYTES);
	t->sha256 = sha256_new();
	if (!t->arena || !t->sha256)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	if (!store_key_is_valid(job->key_prefix) ||
	    strlen(job->key_prefix) + 16 > TRANSFER_KEY_SIZE)
		return fault_set(reterr_fault, -EINVAL, "not a key of ours");
	t->key_prefix = arena_strdup(t->arena, job->key_prefix);

	event = sd_event_source_get_event(transfers->pump);
	r = sd_event_add_defer(event, &t->retry, on_retry, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->retry, SD_EVENT_OFF);
	if (r < 0)
		return fault_set(reterr_fault, r, "%s", strerror(-r));
	if (job->request)
		r = copy_request(t, job->request, reterr_fault);
	else if (job->base64)
		r = decode(t, job, reterr_fault);
	else
		r = fault_set(reterr_fault, -EINVAL, "no media to transfer");
	if (r < 0)
		return r;
	if (arena_failed(t->arena))
		return fault_set(reterr_fault, -ENOMEM, "no memory");

	list_add(&transfers->queued, t);
	schedule(transfers);
	if (ret_transfer)
		*ret_transfer = t;
	t = NULL;
	return 0;
}

int transfers_new(sd_event *event, const struct conf *conf, struct store *store,
		  struct transfers **ret, struct fault *reterr_fault)
{
	_cleanup_(transfers_freep) struct transfers *transfers =
		calloc(1, sizeof(*transfers));
	int r, fd;

	if (!transfers)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	transfers->conf = conf;
	transfers->store = store;
	r = sd_event_add_defer(event, &transfers->pump, on_pump, transfers);
	if (r >= 0)
		r = sd_event_source_set_enabled(transfers->pump, SD_EVENT_OFF);
	if (r < 0)
		return fault_set(reterr_fault, r, "transfers: %s",
				 strerror(-r));
	r = http_loop_new(event, &transfers->loop, reterr_fault);
	if (r < 0)
		return r;
	fd = transfer_spool_open(conf->spool_dir, reterr_fault);
	if (fd < 0)
		return fd;
	(void)close(fd);

	*ret = TAKE_PTR(transfers);
	return 0;
}

struct transfers *transfers_free(struct transfers *transfers)
{
	if (!transfers)
		return NULL;
	while (transfers->running.first)
		transfer_cancel(transfers->running.first);
	while (transfers->queued.first)
		transfer_cancel(transfers->queued.first);
	(void)http_loop_free(transfers->loop);
	(void)sd_event_source_disable_unref(transfers->pump);
	free(transfers);
	return NULL;
}

size_t transfers_count(const struct transfers *transfers)
{
	return transfers->queued.count + transfers->running.count;
}
