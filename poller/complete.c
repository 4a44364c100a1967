/* SPDX-License-Identifier: MIT */
#include "poller/complete.h"

#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/backoff.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "poller/ask.h"
#include "poller/sources.h"
#include "poller/start.h"
#include "poller/token.h"

#include <errno.h>
#include <string.h>

enum {
	AGAIN_FIRST_MS = 2 * 1000,
	AGAIN_MOST_MS = 10 * 60 * 1000,
	/* Where the provider's copy does not live long. */
	URGENT_MOST_MS = 2 * 60 * 1000,
	/* The provider's host is not there at all: names and networks come
	 * back, and trying costs nobody much. */
	UNREACHED_LEAST_MS = 2 * 1000,
	UNREACHED_SPREAD_MS = 13 * 1000,
	/* Our own store turns us away: the operator must act. */
	BARRED_LEAST_MS = 20 * 1000,
	BARRED_SPREAD_MS = 40 * 1000,
};

struct complete;

struct file {
	struct complete *complete;
	struct pooled_transfer *transfer;
	char key[TRANSFER_KEY_SIZE];
	char content_type[TRANSFER_TYPE_SIZE];
	char sha256[SHA256_HEX_SIZE];
	int64_t bytes;
};

struct complete {
	struct work *work;
	struct sources sources;
	struct file file[LIMIT_MEDIA_PER_JOB];
	size_t left;
	bool fresh; /* the provider was asked again for its answer */
};

static void stop(struct work *work)
{
	struct complete *complete = work->owned;

	for (size_t i = 0; i < complete->sources.count; i++) {
		transfer_pool_cancel(complete->file[i].transfer);
		complete->file[i].transfer = NULL;
	}
}

/* ---- how it ends --------------------------------------------------------- */

static void fail(struct work *work, const char *code, const char *message)
{
	const struct log_context context = work_context(work);

	log_event(LOG_ERR, LOG_ID_STORE_FAILED, &context,
		  "the result was rendered and cannot be stored (%s): %s", code,
		  message);
	work_fail(work, JOB_STORE_FAILED, code, message, JOB_BILLED_YES);
}

/* Put off. @failures  to be written to the row; MOVE_KEEP: as it is */
static void put_off(struct work *work, int64_t delay_ms, int32_t failures,
		    const char *code, const char *message)
{
	struct move move = work_move(work, JOB_STORE_AGAIN);
	const struct log_context context = work_context(work);

	log_event(LOG_WARNING, LOG_ID_STORE_FAILED, &context,
		  "storing failed (%s): %s; trying again in %d s", code,
		  message, (int)((delay_ms + 999) / 1000));
	move.due_ms = delay_ms;
	move.error_code = code;
	move.error_message = message;
	move.detail = message;
	move.store_failures = failures;
	work_send(work, &move, NULL);
}

static int64_t again_ms(const struct work *work)
{
	return backoff_delay_ms(
		AGAIN_FIRST_MS,
		work->provider->ops->retention_s > 0 ? URGENT_MOST_MS
						     : AGAIN_MOST_MS,
		(uint32_t)work->store_failures, 0, dice_uint32());
}

static void again(struct work *work, const char *code, const char *message)
{
	if (work->store_failures >= work->poller->conf->store_retries)
		fail(work, code, message);
	else
		put_off(work, again_ms(work), work->store_failures + 1, code,
			message);
}

/* The machine has no memory left. That is no failure of this job's, and not
 * counted, unless it takes more than a job may. */
static void starved(struct work *work)
{
	if (arena_is_full(work->arena))
		again(work, "store_failed", "no memory");
	else
		put_off(work, again_ms(work), MOVE_KEEP, "store_failed",
			"no memory");
}

void complete_again(struct work *work, const char *message)
{
	again(work, "media_unavailable", message);
}

/* Our own store is away: what was paid for waits for it as long as the
 * provider keeps it. Counted are only so many that waits grow. */
static void store_away(struct work *work, const char *message)
{
	int32_t most = (int32_t)work->poller->conf->store_retries / 2;

	put_off(work, again_ms(work),
		work->store_failures < most ? work->store_failures + 1
					    : MOVE_KEEP,
		"store_failed", message);
}

/* Trying again may help. */
static void unavailable(struct work *work, const struct transfer_result *result,
			const char *message)
{
	if (result->side == TRANSFER_STORE)
		store_away(work, message);
	else if (result->unreached && !work->deadline_passed)
		put_off(work,
			UNREACHED_LEAST_MS +
				dice_uint32() % UNREACHED_SPREAD_MS,
			MOVE_KEEP, "media_unavailable", message);
	else
		again(work,
		      result->side == TRANSFER_SOURCE ? "media_unavailable"
						      : "store_failed",
		      message);
}

static void barred(struct work *work, const char *message)
{
	const struct log_context context = work_context(work);

	log_event(LOG_ERR, LOG_ID_STORE_FAILED, &context,
		  "our store does not let us in: %s", message);
	put_off(work, BARRED_LEAST_MS + dice_uint32() % BARRED_SPREAD_MS,
		MOVE_KEEP, "store_refused", "our store refused the file");
}

static void ask_again(struct complete *complete);

/* A transfer failed: what becomes of the job? */
static void failed(struct complete *complete,
		   const struct transfer_result *result)
{
	struct work *work = complete->work;
	const char *message = arena_printf(
		work->arena, "%s: %s",
		result->side == TRANSFER_STORE	  ? "our store"
		: result->side == TRANSFER_SOURCE ? "the provider's file"
						  : "the transfer",
		result->fault.text);

	if (!message)
		message = "no memory";
	stop(work);
	if (result->http_status == 401)
		token_drop(work->provider);
	switch (result->error) {
	case -ENOENT:
		if (!complete->fresh && result->side == TRANSFER_SOURCE)
			ask_again(complete);
		else
			fail(work, "media_expired", message);
		break;
	case -EFBIG:
		fail(work, "media_too_large", message);
		break;
	case -EBADMSG:
		/* Once more: it may have been cut where nobody could tell. */
		if (work->store_failures == 0)
			again(work, "not_media", message);
		else
			fail(work, "not_media", message);
		break;
	case -EACCES:
		if (result->side == TRANSFER_STORE)
			barred(work, message);
		else
			fail(work, "media_refused", message);
		break;
	case -ENOMEM:
		starved(work);
		break;
	default:
		unavailable(work, result, message);
		break;
	}
}

static void stored(struct complete *complete)
{
	struct work *work = complete->work;
	struct stored list[LIMIT_MEDIA_PER_JOB];
	struct move move = work_move(work, JOB_STORED);

	for (size_t i = 0; i < complete->sources.count; i++) {
		const struct file *file = &complete->file[i];

		list[i] = (struct stored){
			.key = file->key,
			.url = store_public_url(work->poller->conf, file->key,
						work->arena),
			.content_type = file->content_type,
			.bytes = file->bytes,
			.sha256 = file->sha256,
		};
	}
	if (complete->sources.count > 0)
		move.media = sources_stored(list, complete->sources.count,
					    work->arena);
	if (complete->sources.count > 0 && !move.media) {
		stop(work);
		starved(work);
		return;
	}
	work_send(work, &move, NULL);
}

/* ---- transfers ----------------------------------------------------------- */

static void on_transfer(const struct transfer_result *result, void *userdata)
{
	struct file *file = userdata;
	struct complete *complete = file->complete;

	file->transfer = NULL;
	if (result->error < 0) {
		failed(complete, result);
		return;
	}
	memcpy(file->key, result->key, sizeof(file->key));
	memcpy(file->content_type, result->content_type,
	       sizeof(file->content_type));
	memcpy(file->sha256, result->sha256, sizeof(file->sha256));
	file->bytes = result->bytes;
	if (--complete->left == 0)
		stored(complete);
}

static int start_transfer(struct complete *complete, size_t i,
			  const struct provider_event *event,
			  struct fault *reterr_fault)
{
	struct work *work = complete->work;
	const struct provider_state *provider = work->provider;
	const struct source *source = &complete->sources.source[i];
	const struct provider_media media = {
		.url = source->url,
		.content_type = source->content_type,
	};
	struct http_request request;
	struct transfer_job job = { .lane = work->job.provider };
	int r;

	if (source->url) {
		r = provider->ops->media_request(&media, &provider->conf,
						 work->arena, &request,
						 reterr_fault);
		if (r < 0)
			return r;
		job.request = &request;
	} else {
		if (!event || source->inline_index >= event->media_count ||
		    !event->media[source->inline_index].base64)
			return fault_set(reterr_fault, -ENOENT,
					 "the provider's answer has no such "
					 "file any more");
		job.base64 = event->media[source->inline_index].base64;
		job.base64_bytes =
			event->media[source->inline_index].base64_bytes;
	}
	job.key_prefix =
		arena_printf(work->arena, "%s/%s/%d/%zu", work->execution_id,
			     work->job.id, work->job.attempt, i);
	if (!job.key_prefix)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	return transfer_pool_start(work->poller->transfers, &job, on_transfer,
				   &complete->file[i],
				   &complete->file[i].transfer, reterr_fault);
}

/* All files at once; the mover has its own limits.
 *
 * @event  the provider's answer, where files are inline in it */
static void transfer_all(struct complete *complete,
			 const struct provider_event *event)
{
	struct transfer_result result = { .side = TRANSFER_SOURCE };

	complete->left = complete->sources.count;
	for (size_t i = 0; i < complete->sources.count; i++) {
		complete->file[i] = (struct file){ .complete = complete };
	}
	for (size_t i = 0; i < complete->sources.count; i++) {
		int r = start_transfer(complete, i, event, &result.fault);

		if (r >= 0)
			continue;
		result.error = r == -EINVAL ? -EACCES : r;
		if (r != -EINVAL && r != -ENOENT)
			result.side = TRANSFER_NOWHERE;
		failed(complete, &result);
		return;
	}
	if (complete->left == 0)
		stored(complete);
}

/* ---- the provider's answer once more ------------------------------------- */

static void ask_result(struct work *work);
static void ask_status(struct work *work);

/* Links from the answer replace ours; what was inline is in it. */
static void take_answer(struct complete *complete,
			const struct provider_event *event)
{
	struct work *work = complete->work;
	struct sources sources;
	struct fault fault = { "" };
	const char *message = event->error_message;
	int r;

	if (event->kind == JOB_RESULT_READY &&
	    work->provider->ops->result_request) {
		token_then(work, ask_result);
		return;
	}
	if (event->kind == JOB_PROVIDER_FAILED ||
	    event->kind == JOB_PROVIDER_CANCELLED) {
		fail(work, "media_expired",
		     message ? message : "the provider has the result no more");
		return;
	}
	r = event->kind == JOB_RENDERED
		    ? sources_from_event(event, work->arena, &sources, &fault)
		    : -EBADMSG;
	if (r == -ENOMEM) {
		starved(work);
		return;
	}
	if (r < 0 || sources.count < complete->sources.count) {
		again(work, "media_unavailable",
		      message ? message
			      : "the provider did not name the files again");
		return;
	}
	complete->fresh = true;
	complete->sources = sources;
	transfer_all(complete, event);
}

static void on_answer(struct work *work, const struct http_result *result,
		      provider_event_fn *translate)
{
	struct complete *complete = work->owned;
	struct provider_event event;

	ask_answered(work, result);
	event = ask_event(work, result, translate, JOB_NO_ANSWER);
	if (result->starved ||
	    (result->outcome == HTTP_ANSWERED && json_text_starved()))
		starved(work);
	else if (ask_wants_new_token(work, result))
		token_then(work, ask_status);
	else
		take_answer(complete, &event);
}

static void on_status(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;

	on_answer(work, result, work->provider->ops->status_event);
}

static void on_result(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;

	on_answer(work, result, work->provider->ops->result_event);
}

static void ask(struct work *work, provider_request_fn *build,
		http_done_fn *done)
{
	struct http_request request;
	struct fault fault = { "" };
	int r;

	r = build(&work->job, &work->provider->conf, work->arena, &request,
		  &fault);
	if (r == 0)
		r = ask_send(work, &request, false, done);
	if (r == -ENOMEM)
		starved(work);
	else if (r < 0)
		again(work, "media_unavailable", fault.text);
}

static void ask_status(struct work *work)
{
	ask(work, work->provider->ops->status_request, on_status);
}

static void ask_result(struct work *work)
{
	ask(work, work->provider->ops->result_request, on_result);
}

static void ask_again(struct complete *complete)
{
	token_then(complete->work, ask_status);
}

/* ---- beginning ----------------------------------------------------------- */

/* With a token, which some providers' files want as well. */
static void go_on(struct work *work)
{
	struct complete *complete = work->owned;

	if (complete->sources.has_inline)
		ask_again(complete);
	else
		transfer_all(complete, NULL);
}

void complete_begin(struct work *work)
{
	struct complete *complete = arena_alloc(work->arena, sizeof(*complete));
	struct fault fault = { "" };
	int r = complete ? 0 : -ENOMEM;

	if (r == 0) {
		complete->work = work;
		r = sources_read(work->media_source ? work->media_source : "",
				 work->arena, &complete->sources, &fault);
	}
	if (r == -ENOMEM) {
		starved(work);
		return;
	}
	if (r < 0) {
		fail(work, "media_unavailable", fault.text);
		return;
	}
	work->owned = complete;
	work->stop = stop;
	if (complete->sources.count == 0)
		stored(complete);
	else
		token_then(work, go_on);
}
