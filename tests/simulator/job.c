/* SPDX-License-Identifier: MIT */
/* The life of a job at its provider, moved by timers. */
#include "tests/simulator/job.h"

#include "tests/simulator/fetch.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/server.h"
#include "tests/simulator/webhook.h"

#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>

enum { LOG_TICK_MS = 500 }; /* Replicate throttles logs events to this */

static const char *const outcome_names[] = {
	[OUTCOME_SUCCEED] = "succeed", [OUTCOME_FAIL] = "fail",
	[OUTCOME_CANCEL] = "cancel",   [OUTCOME_ABORT] = "abort",
	[OUTCOME_REFUSE] = "refuse",   [OUTCOME_PARTIAL] = "partial",
	[OUTCOME_NOTHING] = "nothing", [OUTCOME_NEVER] = "never",
	[OUTCOME_VANISH] = "vanish",
};

bool job_outcome_from_name(const char *name, enum job_outcome *ret)
{
	for (size_t i = 0; i < COUNT_OF(outcome_names); i++) {
		if (strcmp(name, outcome_names[i]) != 0)
			continue;
		*ret = (enum job_outcome)i;
		return true;
	}
	return false;
}

struct words job_words(const struct job *job)
{
	return sim_words(job->sim, job->provider, job->words);
}

static struct sim_account *account_of(const struct job *job)
{
	return &job->sim->provider[job->provider];
}

static char *table_key(enum sim_provider provider, const char *id)
{
	return take_printf("%d/%s", (int)provider, id);
}

struct job *job_find(const struct sim *sim, enum sim_provider provider,
		     const char *id)
{
	_cleanup_text_ char *key = table_key(provider, id);
	struct job *job = table_get(sim->jobs, key);

	return job && job->outcome != OUTCOME_VANISH ? job : NULL;
}

struct job *job_find_any(const struct sim *sim, const char *id)
{
	struct job *job = table_get(sim->ours, id);

	for (int i = 0; i < SIM_PROVIDERS && !job; i++)
		job = job_find(sim, (enum sim_provider)i, id);
	return job;
}

struct job *job_ref(struct job *job)
{
	job->refs++;
	return job;
}

void job_unref(struct job *job)
{
	job->refs--;
}

static void forget(struct job *job)
{
	struct sim *sim = job->sim;
	struct sim_account *account = account_of(job);
	_cleanup_text_ char *key = table_key(job->provider, job->start->id);

	if (table_get(sim->jobs, key) == job)
		(void)table_remove(sim->jobs, key);
	if (table_get(sim->ours, job->start->job) == job)
		(void)table_remove(sim->ours, job->start->job);
	*(job->older ? &job->older->newer : &account->oldest) = job->newer;
	*(job->newer ? &job->newer->older : &account->newest) = job->older;
	job->start->live = NULL;
	loop_disarm(sim->loop, &job->timer);
	loop_disarm(sim->loop, &job->tick);
	loop_disarm(sim->loop, &job->limit);
	if (job->waiter)
		job->waiter->waited_for = NULL;
	for (size_t i = 0; i < job->media_count; i++) {
		free(job->media[i].sha256);
		free(job->media[i].path);
	}
	free(job->key);
	free(job->url_base);
	free(job->error);
	free(job->version);
	free(job->deployment);
	free(job->deadline);
	free(job->storage_uri);
	json_decref(job->input);
	json_decref(job->words);
	json_decref(job->filter);
	json_decref(job->deliveries);
	json_decref(job->fetched_inputs);
	json_decref(job->postponed);
	free(job);
}

/* Drop the oldest ended jobs beyond the limit; those in use go to the end. */
static void forget_old(struct sim *sim, int64_t most)
{
	int64_t tries = sim->ended_count;
	struct job *job;

	while (sim->ended_count > most && tries-- > 0 &&
	       (job = sim->ended_head)) {
		sim->ended_head = job->next_ended;
		if (!sim->ended_head)
			sim->ended_tail = NULL;
		job->next_ended = NULL;
		if (job->refs == 0) {
			sim->ended_count--;
			forget(job);
			continue;
		}
		if (sim->ended_tail)
			sim->ended_tail->next_ended = job;
		else
			sim->ended_head = job;
		sim->ended_tail = job;
	}
}

void job_forget_all(struct sim *sim)
{
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		struct job *older;

		for (struct job *job = sim->provider[i].newest; job;
		     job = older) {
			older = job->older;
			/* Quietly: nobody is to hear of a forgotten job. */
			job_end(job, OUTCOME_VANISH, NULL);
			job->outcome = OUTCOME_VANISH;
			job->forgotten = true;
		}
	}
	forget_old(sim, 0);
}

static void run(struct job *job);

static void admit_next(struct sim_account *account)
{
	struct job *job = account->queue_head;

	if (!job || (account->concurrency > 0 &&
		     account->rendering >= account->concurrency))
		return;
	account->queue_head = job->next_queued;
	if (!account->queue_head)
		account->queue_tail = NULL;
	job->next_queued = NULL;
	job->queued = false;
	run(job);
}

static void leave_queue(struct job *job)
{
	struct sim_account *account = account_of(job);
	struct job *before = NULL;

	if (!job->queued)
		return;
	for (struct job *at = account->queue_head; at != job;
	     at = at->next_queued)
		before = at;
	*(before ? &before->next_queued : &account->queue_head) =
		job->next_queued;
	if (account->queue_tail == job)
		account->queue_tail = before;
	job->queued = false;
}

void job_end(struct job *job, enum job_outcome outcome, const char *error)
{
	struct sim *sim = job->sim;
	struct sim_account *account = account_of(job);

	if (job->phase == JOB_ENDED)
		return;
	leave_queue(job);
	loop_disarm(sim->loop, &job->timer);
	loop_disarm(sim->loop, &job->tick);
	loop_disarm(sim->loop, &job->limit);
	job->phase = JOB_ENDED;
	job->outcome = outcome;
	job->ended_ms = clock_unix_ms();
	if (error) {
		free(job->error);
		job->error = take_text(error);
	}
	account->running--;
	if (job->rendering)
		account->rendering--;
	job->rendering = false;
	if (sim->ended_tail)
		sim->ended_tail->next_ended = job;
	else
		sim->ended_head = job;
	sim->ended_tail = job;
	sim->ended_count++;
	if (outcome != OUTCOME_VANISH) {
		media_make(job);
		ledger_note(sim, "end",
			    json_pack("{s:s, s:s, s:s}", "provider",
				      account->name, "id", job->start->id,
				      "outcome", outcome_names[outcome]));
		webhook_end(job);
	}
	if (job->waiter && !job->waits_for_delivery)
		request_wake(job->waiter);
	admit_next(account);
}

static enum job_outcome outcome_of(const struct job *job)
{
	struct words words = job_words(job);
	enum job_outcome outcome = OUTCOME_SUCCEED;

	(void)job_outcome_from_name(
		words_text(&words, NULL, "outcome", "succeed"), &outcome);
	return outcome;
}

void job_end_by_words(struct job *job)
{
	enum job_outcome outcome = outcome_of(job);

	if (outcome != OUTCOME_NEVER)
		job_end(job, outcome, NULL);
}

/* Its time is over: what did its words want of it? */
static void conclude(struct job *job)
{
	enum job_outcome outcome = outcome_of(job);

	if (outcome == OUTCOME_NEVER)
		return;
	if (outcome == OUTCOME_SUCCEED && job->phase == JOB_RUNNING &&
	    fetch_inputs(job)) {
		job->phase = JOB_FETCHING;
		return;
	}
	job_end(job, outcome, NULL);
}

static void on_timer(void *context)
{
	struct job *job = context;

	if (job->phase == JOB_IN_QUEUE) {
		job->phase = JOB_RUNNING;
		job->started_ms = clock_unix_ms();
		loop_arm(job->sim->loop, &job->timer,
			 job->delay_ms - job->queue_ms);
		webhook_event(job, "start");
		if (webhook_wants(job, "logs"))
			loop_arm(job->sim->loop, &job->tick, LOG_TICK_MS);
	} else if (job->phase == JOB_RUNNING) {
		conclude(job);
	}
}

static void on_tick(void *context)
{
	struct job *job = context;

	webhook_event(job, "logs");
	loop_arm(job->sim->loop, &job->tick, LOG_TICK_MS);
}

static void on_limit(void *context)
{
	struct job *job = context;

	job_end(job,
		job->phase == JOB_IN_QUEUE ? OUTCOME_ABORT : OUTCOME_CANCEL,
		NULL);
}

static void run(struct job *job)
{
	struct sim_account *account = account_of(job);

	account->rendering++;
	job->rendering = true;
	loop_arm(job->sim->loop, &job->timer, job->queue_ms);
}

static void link_job(struct sim *sim, struct job *job)
{
	struct sim_account *account = account_of(job);
	_cleanup_text_ char *key = table_key(job->provider, job->start->id);

	table_set(sim->jobs, key, job);
	if (job->start->job[0])
		table_set(sim->ours, job->start->job, job);
	job->older = account->newest;
	if (job->older)
		job->older->newer = job;
	else
		account->oldest = job;
	account->newest = job;
	account->starts++;
	account->running++;
	if (account->running > account->running_most)
		account->running_most = account->running;
}

struct job *job_new(struct sim *sim, const struct job_plan *plan)
{
	struct job *job = take(sizeof(*job));

	/* Here alone, so that no job goes while somebody works on it. */
	forget_old(sim, sim->options.jobs_max);
	job->sim = sim;
	job->provider = plan->provider;
	job->start = ledger_add(sim, plan);
	job->start->live = job;
	job->key = take_text(plan->key);
	job->url_base = take_text(plan->url_base);
	job->input = json_incref((json_t *)(uintptr_t)plan->input);
	job->words = json_incref((json_t *)(uintptr_t)plan->words);
	job->media_wanted = plan->media_wanted;
	job->fetch = plan->fetch_inputs;
	job->created_ms = job->start->time_ms;
	job->deliveries = json_array();
	job->fetched_inputs = json_array();
	job->postponed = json_array();
	job->timer = (struct loop_timer){ .fn = on_timer, .context = job };
	job->tick = (struct loop_timer){ .fn = on_tick, .context = job };
	job->limit = (struct loop_timer){ .fn = on_limit, .context = job };
	link_job(sim, job);
	return job;
}

void job_begin(struct job *job)
{
	struct sim_account *account = account_of(job);
	struct words words = job_words(job);

	job->delay_ms =
		words_int(&words, NULL, "delay_ms", job->sim->options.delay_ms);
	job->queue_ms = words_int(&words, NULL, "queue_ms", job->delay_ms / 5);
	if (job->queue_ms > job->delay_ms)
		job->queue_ms = job->delay_ms;
	job->regress_left = words_int(&words, NULL, "regress", 0);
	if (strcmp(words_text(&words, NULL, "outcome", ""), "vanish") == 0) {
		job_end(job, OUTCOME_VANISH, NULL);
		return;
	}
	if (account->concurrency == 0 ||
	    account->rendering < account->concurrency) {
		run(job);
		return;
	}
	job->queued = true;
	if (account->queue_tail)
		account->queue_tail->next_queued = job;
	else
		account->queue_head = job;
	account->queue_tail = job;
}

bool job_tells_end(struct job *job)
{
	if (job->phase != JOB_ENDED)
		return false;
	if (job->end_told && job->regress_left > 0) {
		job->regress_left--;
		return false;
	}
	job->end_told = true;
	return true;
}

const char *job_next_status(struct job *job)
{
	struct words words = job_words(job);
	const json_t *statuses = words_find(&words, NULL, "statuses");

	return json_string_value(json_array_get(statuses, job->status_place++));
}

bool job_output_gone(const struct job *job)
{
	struct words words = job_words(job);

	return job->phase == JOB_ENDED &&
	       clock_unix_ms() - job->ended_ms >=
		       words_int(&words, NULL, "retention_ms", 3600000);
}

bool job_has_output(const struct job *job)
{
	return job->phase == JOB_ENDED && (job->outcome == OUTCOME_SUCCEED ||
					   job->outcome == OUTCOME_PARTIAL);
}

double job_progress(const struct job *job)
{
	int64_t whole_ms = job->delay_ms - job->queue_ms;
	int64_t done_ms = clock_unix_ms() - job->started_ms;

	if (job_has_output(job))
		return 1;
	if (job->phase == JOB_IN_QUEUE || whole_ms <= 0 || done_ms <= 0)
		return 0;
	if (job->phase == JOB_ENDED)
		done_ms = job->ended_ms - job->started_ms;
	return done_ms < whole_ms ? (double)done_ms / (double)whole_ms : 1;
}

char *job_logs(const struct job *job)
{
	struct words words = job_words(job);
	int64_t steps = words_int(&words, NULL, "steps", 10);
	int64_t done = (int64_t)(job_progress(job) * (double)steps);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	for (int64_t step = 1; step <= done; step++) {
		int tenths = (int)(step * 10 / steps);

		(void)fprintf(out, "%3d%%|", (int)(step * 100 / steps));
		for (int i = 0; i < 10; i++)
			(void)fputs(i < tenths ? "█" : " ", out);
		(void)fprintf(out, "| %d/%d [00:01<00:01, 10.00it/s]\n",
			      (int)step, (int)steps);
	}
	(void)fclose(out);
	return text;
}
