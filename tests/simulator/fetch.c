/* SPDX-License-Identifier: MIT */
/* Fetching what a job was given, as a provider would. */
#include "tests/simulator/fetch.h"

#include "tests/simulator/memory.h"
#include "tests/simulator/outgoing.h"

#include "common/base/text.h"

#include <string.h>

enum { FETCHES_MAX = 32, FETCH_TIMEOUT_MS = 30000 };

struct fetch {
	struct job *job;
	size_t left;
	bool failed;
	size_t count;
	char *url[FETCHES_MAX];
	struct exchange exchange[FETCHES_MAX];
};

static void add(struct fetch *fetch, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text && fetch->count < FETCHES_MAX &&
	    (text_starts_with(text, "http://") ||
	     text_starts_with(text, "https://")))
		fetch->url[fetch->count++] = take_text(text);
}

/* Every URL in a JSON value, in order, down to a sane depth. */
static void collect(struct fetch *fetch, const json_t *value, int depth)
{
	json_t *any = (json_t *)(uintptr_t)value, *inner;
	const char *name;
	size_t i;

	if (depth > 8)
		return;
	add(fetch, value);
	json_array_foreach(any, i, inner) collect(fetch, inner, depth + 1);
	json_object_foreach(any, name,
			    inner) if (strcmp(name, "rushes_sim") != 0)
		collect(fetch, inner, depth + 1);
}

static void finish(struct fetch *fetch)
{
	struct job *job = fetch->job;

	if (fetch->failed)
		job_end(job, OUTCOME_FAIL,
			job->provider == SIM_FAL
				? "file_download_error"
				: "E9825: an input could not be fetched");
	else
		job_end(job, OUTCOME_SUCCEED, NULL);
	job_unref(job);
	for (size_t i = 0; i < fetch->count; i++)
		free(fetch->url[i]);
	free(fetch);
}

static void on_done(struct exchange *exchange, void *context)
{
	struct fetch *fetch = context;

	if (exchange->status != 200)
		fetch->failed = true;
	(void)json_array_append_new(fetch->job->fetched_inputs,
				    json_pack("{s:s, s:i, s:I, s:s}", "url",
					      exchange->url, "status",
					      (int)exchange->status, "bytes",
					      (json_int_t)exchange->bytes,
					      "sha256", exchange->sha256));
	if (--fetch->left == 0)
		finish(fetch);
}

bool fetch_inputs(struct job *job)
{
	struct words words = job_words(job);
	struct fetch *fetch;

	if (!words_bool(&words, NULL, "fetch_inputs", job->fetch))
		return false;
	fetch = take(sizeof(*fetch));
	collect(fetch, job->input, 0);
	if (fetch->count == 0) {
		free(fetch);
		return false;
	}
	fetch->job = job_ref(job);
	fetch->left = fetch->count;
	for (size_t i = 0; i < fetch->count; i++) {
		fetch->exchange[i] = (struct exchange){
			.url = fetch->url[i],
			.timeout_ms = FETCH_TIMEOUT_MS,
			.follow = true,
			.done = on_done,
			.context = fetch,
		};
		outgoing_send(job->sim->outgoing, &fetch->exchange[i]);
	}
	return true;
}
