/* SPDX-License-Identifier: MIT */
/* The ledger: records in memory, lines in a file. */
#include "tests/simulator/ledger.h"

#include "tests/simulator/media.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/server.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { RECORDS_MAX = 200000 };

struct ledger {
	int fd; /* -1: no file */
	bool failed;
	struct start *oldest, *newest;
	int64_t count, dropped;
	int64_t seq;
};

struct ledger *ledger_new(struct sim *sim, struct fault *reterr_fault)
{
	struct ledger *ledger = take(sizeof(*ledger));
	const char *path = sim->options.ledger_path;

	ledger->fd = -1;
	if (!path)
		return ledger;
	ledger->fd =
		open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (ledger->fd < 0) {
		(void)fault_set(reterr_fault, -errno, "open %s: %s", path,
				strerror(errno));
		free(ledger);
		return NULL;
	}
	return ledger;
}

static void drop_oldest(struct ledger *ledger)
{
	struct start *start = ledger->oldest;

	ledger->oldest = start->newer;
	if (!ledger->oldest)
		ledger->newest = NULL;
	ledger->count--;
	free(start->id);
	free(start->account);
	free(start->model);
	free(start->webhook);
	free(start);
}

void ledger_forget_all(struct sim *sim)
{
	struct ledger *ledger = sim->ledger;
	struct start *kept = NULL;

	/* Jobs that a delivery still holds keep their record a while. */
	while (ledger->oldest) {
		struct start *start = ledger->oldest;

		if (!start->live) {
			drop_oldest(ledger);
			continue;
		}
		ledger->oldest = start->newer;
		start->newer = kept;
		kept = start;
	}
	ledger->newest = NULL;
	ledger->count = 0;
	while (kept) {
		struct start *next = kept->newer;

		kept->newer = ledger->oldest;
		ledger->oldest = kept;
		if (!ledger->newest)
			ledger->newest = kept;
		ledger->count++;
		kept = next;
	}
	ledger->dropped = 0;
}

struct ledger *ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	while (ledger->oldest)
		drop_oldest(ledger);
	if (ledger->fd >= 0)
		(void)close(ledger->fd);
	free(ledger);
	return NULL;
}

bool ledger_parse_webhook(const char *webhook, char ret_job[UUID_SIZE],
			  int64_t *ret_attempt)
{
	const char *at = webhook ? strstr(webhook, "/job/") : NULL;
	const char *rest;

	if (!at || strlen(at + 5) < UUID_SIZE - 1)
		return false;
	memcpy(ret_job, at + 5, UUID_SIZE - 1);
	ret_job[UUID_SIZE - 1] = '\0';
	if (!text_is_uuid(ret_job)) {
		ret_job[0] = '\0';
		return false;
	}
	rest = at + 5 + UUID_SIZE - 1;
	*ret_attempt = *rest == '/' ? strtol(rest + 1, NULL, 10) : 0;
	return true;
}

void ledger_note(struct sim *sim, const char *event, json_t *fields)
{
	struct ledger *ledger = sim->ledger;
	json_t *line = json_object();
	_cleanup_text_ char *text = NULL, *whole = NULL;
	char time[TIME_SIZE];
	size_t size;

	(void)json_object_set_new(line, "event", json_string(event));
	(void)json_object_set_new(
		line, "time", json_string(time_text(clock_unix_ms(), time)));
	(void)json_object_update(line, fields);
	json_decref(fields);
	if (ledger->fd >= 0 || !sim->options.quiet)
		text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (!text)
		return;
	sim_say(sim, "%s", text);
	if (ledger->fd < 0)
		return;
	whole = take_printf("%s\n", text);
	size = strlen(whole);
	if (write(ledger->fd, whole, size) != (ssize_t)size &&
	    !ledger->failed) {
		ledger->failed = true;
		sim_say(sim, "the ledger file cannot be written: %s",
			strerror(errno));
	}
}

struct start *ledger_add(struct sim *sim, const struct job_plan *plan)
{
	struct ledger *ledger = sim->ledger;
	struct start *start = take(sizeof(*start));

	start->seq = ++ledger->seq;
	start->time_ms = clock_unix_ms();
	start->provider = plan->provider;
	start->id = take_text(plan->id);
	start->account = take_text(plan->account);
	start->model = take_text(plan->model);
	start->webhook = plan->webhook ? take_text(plan->webhook) : NULL;
	start->answered = true;
	memcpy(start->input_sha256, plan->input_sha256, SHA256_HEX_SIZE);
	(void)ledger_parse_webhook(plan->webhook, start->job, &start->attempt);
	if (ledger->newest)
		ledger->newest->newer = start;
	else
		ledger->oldest = start;
	ledger->newest = start;
	ledger->count++;
	while (ledger->count > RECORDS_MAX && !ledger->oldest->live) {
		ledger->dropped++;
		drop_oldest(ledger);
	}
	ledger_note(sim, "start",
		    json_pack("{s:I, s:s, s:s, s:s, s:s, s:s?, s:s*, s:s}",
			      "seq", (json_int_t)start->seq, "provider",
			      sim->provider[plan->provider].name, "id",
			      start->id, "account", start->account, "model",
			      start->model, "webhook", start->webhook, "job",
			      start->job[0] ? start->job : NULL, "input_sha256",
			      start->input_sha256));
	return start;
}

static const char *job_state(const struct job *job)
{
	static const char *const names[] = {
		[OUTCOME_SUCCEED] = "succeeded", [OUTCOME_FAIL] = "failed",
		[OUTCOME_CANCEL] = "cancelled",	 [OUTCOME_ABORT] = "aborted",
		[OUTCOME_REFUSE] = "refused",	 [OUTCOME_PARTIAL] = "partial",
		[OUTCOME_NOTHING] = "nothing",	 [OUTCOME_NEVER] = "running",
		[OUTCOME_VANISH] = "vanished",
	};

	if (job->phase == JOB_IN_QUEUE)
		return "queued";
	if (job->phase != JOB_ENDED)
		return "running";
	return names[job->outcome];
}

static json_t *media_json(struct job *job)
{
	json_t *list = json_array();

	for (size_t i = 0; i < job->media_count; i++) {
		const struct media_file *file = &job->media[i];
		_cleanup_text_ char *url = media_url(job, i);

		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:I, s:s?, s:I, s:I}", "url", url,
				  "content_type", media_type(file->kind),
				  "bytes", (json_int_t)file->bytes, "sha256",
				  media_sha256(job, i), "served",
				  (json_int_t)file->served, "complete",
				  (json_int_t)file->complete));
	}
	return list;
}

static void add_job(json_t *item, struct job *job)
{
	char time[TIME_SIZE];
	json_t *more = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:O, s:O, s:o}", "status",
		job_state(job), "polls", (json_int_t)job->polls, "results",
		(json_int_t)job->results, "cancels", (json_int_t)job->cancels,
		"listed", (json_int_t)job->listed, "fetched_inputs",
		job->fetched_inputs, "deliveries", job->deliveries, "media",
		media_json(job));

	if (job->phase == JOB_ENDED)
		(void)json_object_set_new(
			more, "ended",
			json_string(time_text(job->ended_ms, time)));
	if (job->storage_uri)
		(void)json_object_set_new(more, "storage_uri",
					  json_string(job->storage_uri));
	(void)json_object_update(item, more);
	json_decref(more);
}

static json_t *start_json(const struct sim *sim, const struct start *start)
{
	char time[TIME_SIZE];
	json_t *item = json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:s, s:b}",
		"seq", (json_int_t)start->seq, "time",
		time_text(start->time_ms, time), "provider",
		sim->provider[start->provider].name, "id", start->id, "account",
		start->account, "model", start->model, "webhook",
		start->webhook, "job", start->job[0] ? start->job : NULL,
		"attempt",
		start->job[0] ? json_integer(start->attempt) : json_null(),
		"input_sha256", start->input_sha256, "answered",
		start->answered);

	if (start->live)
		add_job(item, start->live);
	return item;
}

static json_t *totals_json(const struct sim *sim)
{
	json_t *totals = json_object();

	for (int i = 0; i < SIM_PROVIDERS; i++) {
		const struct sim_account *own = &sim->provider[i];

		(void)json_object_set_new(
			totals, own->name,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
				  "s:I, s:I}",
				  "starts", (json_int_t)own->starts, "refused",
				  (json_int_t)own->refused, "polls",
				  (json_int_t)own->polls, "results",
				  (json_int_t)own->results, "cancels",
				  (json_int_t)own->cancels, "lists",
				  (json_int_t)own->lists, "running",
				  (json_int_t)own->running, "running_most",
				  (json_int_t)own->running_most, "deliveries",
				  (json_int_t)own->deliveries, "forged",
				  (json_int_t)own->forged));
	}
	return totals;
}

static bool fits(const struct sim *sim, const struct start *start,
		 const char *const want[3], int64_t since)
{
	return start->seq > since && !(start->live && start->live->forgotten) &&
	       (!want[0] ||
		strcmp(want[0], sim->provider[start->provider].name) == 0) &&
	       (!want[1] || strcmp(want[1], start->id) == 0) &&
	       (!want[2] || strcmp(want[2], start->job) == 0);
}

void ledger_reply(struct request *request)
{
	struct sim *sim = request->sim;
	struct ledger *ledger = sim->ledger;
	const char *const want[3] = { request_query(request, "provider"),
				      request_query(request, "id"),
				      request_query(request, "job") };
	const char *since_text = request_query(request, "since");
	const char *limit_text = request_query(request, "limit");
	int64_t since = 0, limit = INT64_MAX, count = 0;
	json_t *starts = json_array();

	if ((since_text && !text_to_int64(since_text, 0, INT64_MAX, &since)) ||
	    (limit_text && !text_to_int64(limit_text, 1, INT64_MAX, &limit))) {
		json_decref(starts);
		reply_json(request, 400,
			   json_pack("{s:s}", "error",
				     "since and limit are numbers"));
		return;
	}
	if (request_query(request, "totals"))
		since = INT64_MAX;
	for (struct start *at = ledger->oldest; at; at = at->newer)
		count += fits(sim, at, want, since);
	for (struct start *at = ledger->oldest; at; at = at->newer)
		if (fits(sim, at, want, since) && count-- <= limit)
			(void)json_array_append_new(starts,
						    start_json(sim, at));
	reply_json(request, 200,
		   json_pack("{s:o, s:o, s:I, s:I, s:I}", "starts", starts,
			     "totals", totals_json(sim), "tokens",
			     (json_int_t)sim->tokens_issued, "dropped",
			     (json_int_t)ledger->dropped, "requests",
			     (json_int_t)sim->requests));
}
