/* SPDX-License-Identifier: MIT */
/* Webhooks: built, forged, signed, delivered, tried again. */
#include "tests/simulator/webhook.h"

#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/outgoing.h"
#include "tests/simulator/providers.h"
#include "tests/simulator/server.h"
#include "tests/simulator/sign.h"

#include "common/base/clock.h"

#include <string.h>

enum { RETRY_MOST_MS = 120000, FAL_FIRST_MS = 15000, FAL_LATER_MS = 120000 };
enum { REPLICATE_TIMEOUT_MS = 10000 };

struct delivery {
	struct job *job;
	struct delivery *next;		/* of the same job */
	struct delivery *newer, *older; /* of all */
	struct exchange exchange;
	struct loop_timer timer;
	struct signature signature;
	char *url;
	char *event;
	const char *kind; /* "genuine", "copy", "forged" */
	char *body;
	bool is_end; /* the genuine one: early answers wait for it */
	int tries, retries_left;
	int64_t retry_ms;
};

static void free_delivery(struct delivery *delivery)
{
	struct sim *sim = delivery->job->sim;

	*(delivery->newer ? &delivery->newer->older : &sim->deliveries) =
		delivery->older;
	if (delivery->older)
		delivery->older->newer = delivery->newer;
	job_unref(delivery->job);
	loop_disarm(sim->loop, &delivery->timer);
	signature_clear(&delivery->signature);
	free(delivery->url);
	free(delivery->event);
	free(delivery->body);
	free(delivery);
}

static void record(struct delivery *delivery)
{
	struct job *job = delivery->job;
	struct sim *sim = job->sim;
	char time[TIME_SIZE];
	json_t *line = json_pack("{s:s, s:s, s:s, s:i, s:i, s:I}", "event",
				 delivery->event, "kind", delivery->kind,
				 "time", time_text(clock_unix_ms(), time),
				 "try", delivery->tries, "answer",
				 (int)delivery->exchange.status, "ms",
				 (json_int_t)delivery->exchange.took_ms);
	json_t *note = json_deep_copy(line);

	if (json_array_size(job->deliveries) < JOB_RECORDS_MAX)
		(void)json_array_append(job->deliveries, line);
	json_decref(line);
	(void)json_object_del(note, "event");
	(void)json_object_set_new(note, "what", json_string(delivery->event));
	(void)json_object_set_new(note, "id", json_string(job->start->id));
	ledger_note(sim, "delivery", note);
	if (strcmp(delivery->kind, "forged") == 0)
		sim->provider[job->provider].forged++;
	else
		sim->provider[job->provider].deliveries++;
}

static void send_next(struct job *job);

static void release_early_answer(struct job *job)
{
	if (job->waiter && job->waits_for_delivery)
		request_wake(job->waiter);
}

/* Is this answer one that the provider tries again after? */
static bool wants_retry(const struct delivery *delivery)
{
	unsigned status = delivery->exchange.status;

	if (delivery->retries_left <= 0 || (status >= 200 && status < 300))
		return false;
	return delivery->job->provider != SIM_FAL || status < 300 ||
	       status >= 400;
}

static void on_done(struct exchange *exchange, void *context)
{
	struct delivery *delivery = context;
	struct job *job = delivery->job;
	struct sim *sim = job->sim;
	bool was_first = delivery->tries == 1;

	(void)exchange;
	record(delivery);
	if (was_first && delivery->is_end)
		release_early_answer(job);
	if (wants_retry(delivery) && !sim->stopping) {
		delivery->retries_left--;
		loop_arm(sim->loop, &delivery->timer, delivery->retry_ms);
		delivery->retry_ms *= 2;
		if (delivery->retry_ms > RETRY_MOST_MS)
			delivery->retry_ms = RETRY_MOST_MS;
	} else {
		free_delivery(delivery);
	}
	/* The next one waits for the first try of this one, no longer. */
	if (was_first) {
		job->sending = false;
		send_next(job);
	}
}

static void deliver(void *context)
{
	struct delivery *delivery = context;
	struct job *job = delivery->job;
	struct exchange *exchange = &delivery->exchange;

	if (delivery->is_end)
		job->end_told = true;
	delivery->tries++;
	*exchange = (struct exchange){
		.url = delivery->url,
		.body = delivery->body,
		.body_bytes = strlen(delivery->body),
		.timeout_ms = REPLICATE_TIMEOUT_MS,
		.done = on_done,
		.context = delivery,
	};
	if (job->provider == SIM_FAL)
		exchange->timeout_ms =
			delivery->tries == 1 ? FAL_FIRST_MS : FAL_LATER_MS;
	signature_apply(&delivery->signature, job, exchange);
	outgoing_send(job->sim->outgoing, exchange);
}

static void send_next(struct job *job)
{
	struct delivery *delivery = job->delivery_first;

	if (job->sending || !delivery || job->sim->stopping)
		return;
	job->delivery_first = delivery->next;
	if (!job->delivery_first)
		job->delivery_last = NULL;
	job->sending = true;
	deliver(delivery);
}

static struct delivery *add(struct job *job, const char *event,
			    const char *kind, json_t *body)
{
	struct delivery *delivery = take(sizeof(*delivery));

	delivery->job = job_ref(job);
	delivery->timer =
		(struct loop_timer){ .fn = deliver, .context = delivery };
	delivery->url = take_text(job->start->webhook);
	delivery->event = take_text(event);
	delivery->kind = kind;
	delivery->body = json_dumps(body, JSON_COMPACT);
	if (!delivery->body)
		abort();
	json_decref(body);
	signature_begin(&delivery->signature, job);
	delivery->older = job->sim->deliveries;
	if (delivery->older)
		delivery->older->newer = delivery;
	job->sim->deliveries = delivery;
	if (job->delivery_last)
		job->delivery_last->next = delivery;
	else
		job->delivery_first = delivery;
	job->delivery_last = delivery;
	return delivery;
}

static json_t *body_of(struct job *job, const char *event,
		       const struct words *words)
{
	if (job->provider == SIM_FAL)
		return fal_webhook(
			job, words_bool(words, "webhook", "payload", true));
	if (strcmp(event, "completed") == 0)
		return replicate_prediction(job, VIEW_TRUE);
	if (strcmp(event, "output") == 0)
		return replicate_prediction(job, VIEW_WITH_OUTPUT);
	return replicate_prediction(job, VIEW_RUNNING);
}

/* A body that claims what is not true. */
static json_t *forged_body(struct job *job, const struct words *words,
			   enum forge how)
{
	json_t *body = body_of(job, "completed", words);
	bool fal = job->provider == SIM_FAL;

	(void)json_object_set_new(body, "status",
				  json_string(fal ? "ERROR" : "failed"));
	(void)json_object_set_new(body, "error", json_string("forged"));
	(void)json_object_set_new(body, fal ? "payload" : "output",
				  json_null());
	if (how == FORGE_OTHER) {
		(void)json_object_set_new(
			body, fal ? "request_id" : "id",
			json_string("another0job0altogether"));
		if (fal)
			(void)json_object_set_new(
				body, "gateway_request_id",
				json_string("another0job0altogether"));
	}
	return body;
}

static void add_forged(struct job *job, const struct words *words)
{
	const char *name = words_text(words, "webhook", "forge", NULL);
	enum forge how = forge_from_name(name);
	struct delivery *delivery;
	size_t length;

	if (how == FORGE_NONE)
		return;
	delivery =
		add(job, "completed", "forged", forged_body(job, words, how));
	delivery->signature.forge = how;
	if (how == FORGE_TOKEN) {
		length = strlen(delivery->url);
		delivery->url[length - 1] =
			delivery->url[length - 1] == 'A' ? 'B' : 'A';
	}
}

static void add_genuine(struct job *job, const struct words *words,
			const char *kind)
{
	bool fal = job->provider == SIM_FAL;
	struct delivery *delivery =
		add(job, "completed", kind, body_of(job, "completed", words));

	delivery->is_end = job->phase == JOB_ENDED;
	delivery->retry_ms =
		words_int(words, "webhook", "retry_first_ms", 1000);
	delivery->retries_left =
		(int)words_int(words, "webhook", "retries", fal ? 31 : 6);
	delivery->signature.signatures =
		(int)words_int(words, "webhook", "signatures", 1);
}

static void add_end(struct job *job, const struct words *words)
{
	int64_t copies = words_int(words, "webhook", "copies", 1);
	json_t *event;
	size_t i;

	add_forged(job, words);
	if (words_bool(words, "webhook", "genuine", true)) {
		const char *id = NULL;

		for (int64_t copy = 0; copy < copies; copy++) {
			add_genuine(job, words, copy ? "copy" : "genuine");
			if (id)
				signature_same_id(
					&job->delivery_last->signature, id);
			id = job->delivery_last->signature.id;
		}
	} else {
		release_early_answer(job);
	}
	json_array_foreach(job->postponed, i, event)
	{
		const char *name = json_string_value(event);

		(void)add(job, name, "genuine", body_of(job, name, words));
	}
	(void)json_array_clear(job->postponed);
	send_next(job);
}

bool webhook_wants(const struct job *job, const char *event)
{
	const json_t *one;
	size_t i;

	if (!job->start->webhook || job->provider != SIM_REPLICATE)
		return false;
	if (!job->filter)
		return strcmp(event, "output") == 0 ||
		       strcmp(event, "completed") == 0;
	json_array_foreach(job->filter, i,
			   one) if (strcmp(json_string_value(one), event) ==
				    0) return true;
	return false;
}

void webhook_event(struct job *job, const char *event)
{
	struct words words = job_words(job);

	if (!webhook_wants(job, event) ||
	    words_bool(&words, "webhook", "drop", false))
		return;
	if (words_bool(&words, "webhook", "reorder", false)) {
		(void)json_array_append_new(job->postponed, json_string(event));
		return;
	}
	(void)add(job, event, "genuine", body_of(job, event, &words));
	send_next(job);
}

static void on_late(void *context)
{
	struct job *job = context;
	struct words words = job_words(job);

	add_end(job, &words);
	job_unref(job);
}

void webhook_end(struct job *job)
{
	struct words words = job_words(job);
	int64_t late_ms = words_int(&words, "webhook", "late_ms", 0);

	if (!job->start->webhook || job->provider == SIM_VERTEX)
		return;
	if (job_has_output(job))
		webhook_event(job, "output");
	if (words_bool(&words, "webhook", "drop", false) ||
	    (job->provider == SIM_REPLICATE &&
	     !webhook_wants(job, "completed"))) {
		release_early_answer(job);
		return;
	}
	if (late_ms == 0) {
		add_end(job, &words);
		return;
	}
	job->late =
		(struct loop_timer){ .fn = on_late, .context = job_ref(job) };
	loop_arm(job->sim->loop, &job->late, late_ms);
}

void webhook_repeat(struct job *job, const json_t *own)
{
	json_t *level = json_pack("{s:O?}", "webhook", own);
	struct words words = { .level = { level } };

	if (job->start->webhook && job->provider != SIM_VERTEX &&
	    (job->phase == JOB_ENDED || job->provider == SIM_REPLICATE))
		add_end(job, &words);
	json_decref(level);
}

void webhook_stop(struct sim *sim)
{
	while (sim->deliveries)
		free_delivery(sim->deliveries);
	for (int i = 0; i < SIM_PROVIDERS; i++)
		for (struct job *job = sim->provider[i].newest; job;
		     job = job->older) {
			if (job->late.place)
				job_unref(job);
			loop_disarm(sim->loop, &job->late);
		}
}
