/* SPDX-License-Identifier: MIT */
#include "poller/start.h"

#include "common/base/dice.h"
#include "common/io/log.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/template.h"
#include "common/model/token.h"
#include "poller/ask.h"
#include "poller/look.h"
#include "poller/outbox.h"
#include "poller/prepare.h"
#include "poller/query.h"
#include "poller/token.h"
#include "poller/write.h"

#include <errno.h>
#include <string.h>

enum {
	/* Starts of one provider that wait for their answer at once. */
	ON_WIRE_MOST = 128,
	AGAIN_LEAST_MS = 2 * 1000,
	AGAIN_SPREAD_MS = 8 * 1000,
};

/* A request that is ready to be sent; in the work's draft. */
struct prepared {
	struct http_request request;
};

static int64_t again_ms(void)
{
	return AGAIN_LEAST_MS + dice_uint32() % AGAIN_SPREAD_MS;
}

const char *start_webhook_url(const struct work *work, int32_t attempt,
			      struct arena *arena)
{
	const struct conf *conf = work->poller->conf;
	const char *token;

	if (!work->provider->ops->has_webhook)
		return NULL;
	token = token_make(&conf->token_keys, work->job.id, attempt,
			   work->job.provider, arena);
	return token ? arena_printf(arena, "%s/api/webhooks/job/%s/%s",
				    conf->api_base_url, work->job.id, token)
		     : NULL;
}

/* ---- answers ------------------------------------------------------------- */

/* Nobody waits for this start any more: it is to be cancelled there. */
static void cancel_stray(struct work *work, enum job_state state,
			 int32_t attempt)
{
	struct log_context context = work_context(work);
	struct move move = work->move;

	log_event(LOG_WARNING, LOG_ID_DOUBLE_START, &context,
		  "the provider took a start that nobody waits for any more "
		  "(the job is %s, attempt %d); it is cancelled there",
		  job_state_name(state), attempt);
	move.stray = true;
	work_send(work, &move, NULL);
}

/* What became of a job while its start's answer was on the way. Usually its
 * webhook was faster, and the id in the answer is the job's. */
static void take_late(struct poller *poller, const PGresult *result, int index,
		      struct work **works, struct arena *arena)
{
	struct db_row row = db_row(result, index, arena);
	int64_t n = db_row_int64(&row, "n");
	enum job_state state = job_state_from_name(db_row_text(&row, "status"));
	int32_t attempt = db_row_int32(&row, "attempt");
	const char *known = db_row_text_or_null(&row, "provider_job_id");
	struct fault fault = { "" };
	struct work *work;
	int r = db_row_end(&row, &fault);

	if (r < 0) {
		(void)query_note(poller, r, &fault, true);
		return;
	}
	work = works[n - 1];
	if (attempt == work->job.attempt &&
	    (!job_is_terminal(state) ||
	     (known && strcmp(known, work->move.provider_job_id) == 0)))
		return;
	cancel_stray(work, state, attempt);
}

static void on_late(struct query *query)
{
	struct poller *poller = query->poller;
	struct work **works = query->userdata; /* NULL follows the last */

	if (poller->closing)
		return;
	for (int i = 0; query->r == 0 && i < db_rows(query->result); i++)
		take_late(poller, query->result, i, works, query->arena);
	for (; *works; works++) {
		if ((*works)->queue == &poller->writing)
			work_free(*works);
	}
}

/* @return whether they were sent */
static bool ask_late(struct poller *poller, struct query *query)
{
	size_t most = poller->late.count, count = 0;
	struct work **works =
		arena_alloc(query->arena, (most + 1) * sizeof(*works));
	const char **ids = arena_alloc(query->arena, most * sizeof(*ids));

	if (arena_failed(query->arena))
		return false;
	for (struct work *work = poller->late.first; work;
	     work = work->queue_next) {
		works[count] = work;
		ids[count++] = work->job.id;
	}
	query->params[0] = db_array_text(ids, count, query->arena);
	query->userdata = works;
	if (arena_failed(query->arena))
		return false;
	for (size_t i = 0; i < count; i++)
		work_enqueue(&poller->writing, works[i]);
	query_send(query, on_late);
	return true;
}

void start_check_late(struct poller *poller)
{
	struct query *query;

	if (poller->late.count == 0)
		return;
	query = query_new(poller, DB_start_late);
	if (query && ask_late(poller, query))
		return;
	(void)query_free(query);
	while (poller->late.first)
		work_free(poller->late.first);
}

/* An answer that came too late for its job may bring the id of a start that
 * nobody waits for any more. */
static void on_written(struct work *work, const struct move_result *result)
{
	if (result->outcome == MOVE_LOST && work->move.provider_job_id)
		work_enqueue(&work->poller->late, work);
	else
		work_free(work);
}

static struct provider_event not_sent(const struct http_result *result)
{
	return (struct provider_event){
		.kind = JOB_NOT_STARTED,
		.progress = -1,
		.error_code = "provider_unavailable",
		.error_message = arena_printf(result->arena,
					      "the start could not be sent: %s",
					      result->fault.text),
		.billed = JOB_BILLED_NO,
		.unreached = true,
	};
}

static void on_answer(const struct http_result *result, void *userdata)
{
	struct work *work = userdata;
	struct provider_event event;
	struct move move;

	work->on_wire = false;
	work->provider->on_wire--;
	ask_answered(work, result);
	event = result->outcome == HTTP_NOT_SENT
			? not_sent(result)
			: ask_event(work, result,
				    work->provider->ops->start_event,
				    JOB_START_LOST);
	(void)ask_wants_new_token(work, result);
	if (work_decide(work, &event, &move))
		work_send(work, &move, on_written);
	start_more(work->poller);
}

/* ---- sending ------------------------------------------------------------- */

/* Whether this one was written ahead; if not it is not sent. */
static void send_one(struct work *work, const struct move_result *result)
{
	const struct prepared *prepared = work->owned;
	struct fault fault = { "" };
	struct move move;
	int r;

	if (result->outcome != MOVE_DONE) {
		work_free(work); /* cancelled, or claimed by another */
		return;
	}
	work_set_state(work, JOB_STARTING);
	work->job.attempt = result->attempt;
	r = work->poller->stopping
		    ? -ECANCELED
		    : ask_send(work, &prepared->request, true, on_answer);
	work->owned = NULL;
	work_drop_draft(work); /* the client has its own copy */
	if (r == 0) {
		work->on_wire = true;
		work->provider->on_wire++;
		return;
	}
	(void)fault_set(&fault, r, "the request cannot be sent: %s",
			strerror(-r));
	move = work_move(work, r == -EINVAL ? JOB_REFUSED : JOB_UNSENT);
	move.start_outcome = "not_started";
	move.error_code = r == -EINVAL ? "invalid_input" : NULL;
	move.error_message = fault.text;
	move.billed = job_billed_name(JOB_BILLED_NO);
	move.due_ms = r == -ECANCELED ? 0 : again_ms();
	work_send(work, &move, NULL);
}

/* Nobody knows whether "starting" was committed. Nothing was sent, so both
 * are undone: the one that does not fit the row has no effect. */
static void on_unsent(struct work *work, const struct move_result *result)
{
	if (result->outcome == MOVE_LOST && work->job.state == JOB_STARTING) {
		work_set_state(work, JOB_QUEUED);
		work->job.attempt--;
		work_postpone(work, 0, NULL, NULL);
		return;
	}
	work_free(work);
}

static void undo(struct work *work)
{
	struct move move;

	work_set_state(work, JOB_STARTING);
	work->job.attempt++;
	move = work_move(work, JOB_UNSENT);
	move.start_outcome = "not_started";
	move.due_ms = 0;
	work_send(work, &move, on_unsent);
}

static void on_ahead(struct write *write)
{
	struct poller *poller = write->poller;

	write->works[0]->provider->written_ahead = 0;
	if (poller->closing)
		return;
	for (size_t i = 0; i < write->count; i++) {
		if (write->r < 0)
			undo(write->works[i]);
		else
			send_one(write->works[i], &write->results[i]);
	}
	start_more(poller);
}

/* Write one group of a provider ahead; it is sent when that is done. */
static void send_group(struct provider_state *provider, size_t most)
{
	struct poller *poller = provider->poller;
	struct write *write = write_new(poller, most);
	struct move move;

	if (!write) {
		poller_arm(poller->start_timer, query_again_ms(poller));
		return;
	}
	while (write->count < most) {
		struct work *work = provider->ready.first;

		move = work_move(work, JOB_START);
		move.lease_ms = poller->conf->lease_s * 1000;
		move.attempt = 0;
		write_add(write, work, &move);
	}
	provider->written_ahead = write->count;
	write_send(write, on_ahead);
}

/* How many to send now. Room is made one answer at a time; groups wait until
 * they fit whole, or every start would be written ahead alone. The bytes of
 * one leave before the next is written ahead. */
static size_t group_size(const struct provider_state *provider)
{
	size_t most = (size_t)provider->poller->conf->start_group;
	size_t room = provider->on_wire < ON_WIRE_MOST
			      ? ON_WIRE_MOST - provider->on_wire
			      : 0;

	if (provider->written_ahead > 0)
		return 0;
	if (most > ON_WIRE_MOST / 2)
		most = ON_WIRE_MOST / 2;
	if (most > provider->ready.count)
		most = provider->ready.count;
	return most <= room ? most : 0;
}

void start_more(struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		if (group_size(&poller->provider[i]) > 0)
			(void)sd_event_source_set_enabled(poller->start_source,
							  SD_EVENT_ONESHOT);
	}
}

/* One group of each provider. */
static int on_start(sd_event_source *source, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	if (poller->stopping)
		return 0;
	for (size_t i = 0; i < poller->provider_count; i++) {
		size_t size = group_size(&poller->provider[i]);

		if (size > 0)
			send_group(&poller->provider[i], size);
	}
	return 0;
}

/* Without memory, and perhaps nothing else will happen that would try again. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	start_more(userdata);
	return 0;
}

/* ---- preparing ----------------------------------------------------------- */

/* Too large for the memory that a job may take? Where the machine has none
 * left it is tried again instead. */
static void no_memory(struct work *work, const char *too_large)
{
	if (arena_is_full(work->arena) ||
	    (work->draft && arena_is_full(work->draft)))
		work_fail(work, JOB_INPUT_INVALID, "input_too_large", too_large,
			  JOB_BILLED_NO);
	else
		work_postpone(work, again_ms(), NULL, "no memory");
}

/* With a token: say it in the provider's words, then wait for the turn. */
static void build(struct work *work)
{
	struct provider_state *provider = work->provider;
	struct arena *draft = work_draft(work);
	struct prepared *prepared =
		draft ? arena_alloc(draft, sizeof(*prepared)) : NULL;
	struct fault fault = { "" };
	struct job job = work->job;
	int r;

	/* The request is of the attempt that it begins. */
	job.attempt++;
	job.webhook_url = start_webhook_url(work, job.attempt, work->arena);
	/* What jansson has no memory for is missing in the request. */
	json_text_watch();
	r = prepared
		    ? provider->ops->start_request(&job, &provider->conf, draft,
						   &prepared->request, &fault)
		    : -ENOMEM;
	if (json_text_starved())
		r = -ENOMEM;
	if (r == -EINVAL) {
		work_fail(work, JOB_REFUSED, "invalid_input", fault.text,
			  JOB_BILLED_NO);
		return;
	}
	if (r < 0 || arena_failed(draft) || arena_failed(work->arena)) {
		no_memory(work, "the input is too large to be sent");
		return;
	}
	work->owned = prepared;
	work_enqueue(&provider->ready, work);
	start_more(work->poller);
}

static void on_prepared(struct work *work, int error, const struct fault *fault)
{
	switch (error) {
	case 0:
		token_then(work, build);
		break;
	case TEMPLATE_E_REFERENCE_MISSING:
		work_fail(work, JOB_INPUT_INVALID, "reference_missing",
			  fault->text, JOB_BILLED_NO);
		break;
	case -EFBIG:
		work_fail(work, JOB_INPUT_INVALID, "input_too_large",
			  fault->text, JOB_BILLED_NO);
		break;
	case -ENOMEM:
		no_memory(work, fault->text);
		break;
	case -EAGAIN:
		work_postpone(work, again_ms(), "input_unavailable",
			      fault->text);
		break;
	default:
		work_fail(work, JOB_INPUT_INVALID, "invalid_input", fault->text,
			  JOB_BILLED_NO);
		break;
	}
}

/* @return whether there is no use in starting it; it is ended then */
static bool is_hopeless(struct work *work)
{
	struct move move;

	/* clang-format off */
	static const struct {
		const char *provider;
		const char *why;
	} settings[] = {
		{ "replicate", "REPLICATE_API_TOKEN is not set: this installation cannot use Replicate" },
		{ "fal", "FAL_KEY is not set: this installation cannot use fal" },
		{ "vertex", "GOOGLE_APPLICATION_CREDENTIALS is not set: this installation cannot use Vertex AI" },
	};
	/* clang-format on */
	const char *why = "its provider is not configured";

	/* Cancelling was asked for while a start was on the wire, and that
	 * one did not come to anything. */
	if (work->cancel_requested) {
		move = work_move(work, JOB_CANCEL);
		work_send(work, &move, NULL);
		return true;
	}
	if (work->deadline_passed) {
		work_fail(work, JOB_DEADLINE, "deadline_exceeded",
			  "the deadline passed before the job was started",
			  JOB_BILLED_NO);
		return true;
	}
	if (work->provider->configured)
		return false;
	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		if (strcmp(settings[i].provider, work->job.provider) == 0)
			why = settings[i].why;
	}
	work_fail(work, JOB_REFUSED, "provider_not_configured", why,
		  JOB_BILLED_NO);
	return true;
}

void start_begin(struct poller *poller, struct work **works, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (!is_hopeless(works[i]))
			works[left++] = works[i];
	}
	prepare_inputs(poller, works, left, on_prepared);
}

void start_found(struct work *work)
{
	const struct provider_event event = {
		.kind = JOB_START_LOST,
		.progress = -1,
		.error_code = "start_unconfirmed",
		.error_message = "the poller that sent the start is gone, and "
				 "nobody knows whether it was taken",
		.billed = JOB_BILLED_UNKNOWN,
	};

	work_advance(work, &event);
}

void start_give_back(struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		struct work_queue *ready = &poller->provider[i].ready;

		while (ready->first)
			work_postpone(ready->first, 0, NULL, NULL);
	}
}

int start_init(struct poller *poller, struct fault *reterr_fault)
{
	int r = sd_event_add_defer(poller->event, &poller->start_source,
				   on_start, poller);

	if (r >= 0)
		r = sd_event_source_set_enabled(poller->start_source,
						SD_EVENT_OFF);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event source");
	return poller_add_timer(poller, &poller->start_timer, on_timer,
				reterr_fault);
}

void start_done(struct poller *poller)
{
	poller->start_source =
		sd_event_source_disable_unref(poller->start_source);
	poller->start_timer =
		sd_event_source_disable_unref(poller->start_timer);
}
