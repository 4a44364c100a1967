/* SPDX-License-Identifier: MIT */
/* Faults of requests. */
#include "tests/simulator/mischief.h"

#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	HANG_MS = 600000,
	COUNTERS_MAX = 100000,
	HUGE_BYTES = 2 << 20,
	EARLY_MS = 10000,
};

int64_t mischief_count(struct sim *sim, const char *key)
{
	uintptr_t count;

	if (table_count(sim->counters) > COUNTERS_MAX)
		table_remove_prefix(sim->counters, "");
	count = (uintptr_t)table_get(sim->counters, key) + 1;
	table_set(sim->counters, key, (void *)count);
	return (int64_t)count;
}

/* Is this one of the requests that the fault is meant for? */
static bool applies(struct request *request, const json_t *fault,
		    const char *key)
{
	int64_t after = json_integer_value(json_object_get(fault, "after"));
	const json_t *times = json_object_get(fault, "times");
	const char *drop = json_string_value(json_object_get(fault, "drop"));
	int64_t count;

	if (drop && strcmp(drop, "reused") == 0 && !request->reused)
		return false;
	if (!times && after == 0)
		return true;
	count = mischief_count(request->sim, key);
	return count > after &&
	       (!times || count <= after + json_integer_value(times));
}

static int choice(const json_t *fault, const char *name,
		  const char *const *names, int count)
{
	const char *value = json_string_value(json_object_get(fault, name));

	for (int i = 1; value && i < count; i++)
		if (names[i] && strcmp(value, names[i]) == 0)
			return i;
	return 0;
}

static struct mischief read_fault(const json_t *fault)
{
	static const char *const drops[] = {
		[DROP_BEFORE] = "before",
		[DROP_AFTER] = "after",
		[DROP_PARTIAL] = "partial",
	};
	static const char *const answers[] = {
		[ANSWER_GARBAGE] = "garbage",
		[ANSWER_EMPTY] = "empty",
		[ANSWER_NO_ID] = "no_id",
		[ANSWER_HUGE] = "huge",
	};
	const char *drop = json_string_value(json_object_get(fault, "drop"));
	const char *form =
		json_string_value(json_object_get(fault, "retry_after_form"));
	const json_t *after = json_object_get(fault, "retry_after_s");
	struct mischief mischief = {
		.latency_ms = json_integer_value(
			json_object_get(fault, "latency_ms")),
		.status = (unsigned)json_integer_value(
			json_object_get(fault, "status")),
		.error = json_string_value(json_object_get(fault, "error")),
		.body = json_object_get(fault, "body"),
		.accepted = json_is_true(json_object_get(fault, "accepted")),
		.retry_after_s = after ? json_integer_value(after) : -1,
		.retry_after_form = form ? form : "seconds",
		.hang = json_is_true(json_object_get(fault, "hang")),
		.drop = (enum mischief_drop)choice(fault, "drop", drops,
						   COUNT_OF(drops)),
		.answer = (enum mischief_answer)choice(fault, "answer", answers,
						       COUNT_OF(answers)),
		.hide = json_is_true(json_object_get(fault, "hide")),
		.omit_webhook =
			json_is_true(json_object_get(fault, "omit_webhook")),
		.in_flight = json_is_true(json_object_get(fault, "in_flight")),
		.lag_ms = json_integer_value(json_object_get(fault, "lag_ms")),
	};

	if (drop && strcmp(drop, "reused") == 0)
		mischief.drop = DROP_AFTER;
	return mischief;
}

static bool is_drop_before(const json_t *fault)
{
	const char *drop = json_string_value(json_object_get(fault, "drop"));

	return drop && strcmp(drop, "before") == 0;
}

struct mischief mischief_of(struct request *request, enum sim_provider provider,
			    const char *operation, const json_t *own,
			    const char *key)
{
	struct words words = sim_words(request->sim, provider, own);
	static const char *const origins[] = { "job", "provider", "all" };

	for (size_t i = 0; i < COUNT_OF(words.level); i++) {
		const json_t *fault =
			json_object_get(words.level[i], operation);
		_cleanup_text_ char *counter = NULL;

		if (!fault)
			continue;
		/* Counted and decided when the head was in. */
		if (i > 0 && request->head_done && is_drop_before(fault) &&
		    strcmp(operation, "start") == 0)
			break;
		counter = i == 0 ? take_printf("job|%d|%s|%s", (int)provider,
					       key ? key : "", operation)
				 : take_printf("%s|%d|%s", origins[i],
					       i == 1 ? (int)provider : 0,
					       operation);
		if (!applies(request, fault, counter))
			break;
		return read_fault(fault);
	}
	return (struct mischief){ .retry_after_s = -1 };
}

struct mischief mischief_of_job(struct request *request, struct job *job,
				const char *operation)
{
	return mischief_of(request, job->provider, operation, job->words,
			   job->key);
}

static bool provider_of_path(const char *path, enum sim_provider *ret)
{
	static const struct {
		const char *prefix;
		enum sim_provider provider;
	} prefixes[] = {
		{ "/replicate/", SIM_REPLICATE }, { "/fal/", SIM_FAL },
		{ "/vertex/", SIM_VERTEX },	  { "/google/", SIM_VERTEX },
		{ "/gcs/", SIM_VERTEX },
	};

	for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
		if (!text_starts_with(path, prefixes[i].prefix))
			continue;
		*ret = prefixes[i].provider;
		return true;
	}
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length &&
	       strcmp(text + length - end_length, end) == 0;
}

static bool is_start(const struct request *request, enum sim_provider provider)
{
	if (request->method != HTTP_POST)
		return false;
	switch (provider) {
	case SIM_REPLICATE:
		return ends_with(request->path, "/predictions");
	case SIM_FAL:
		return text_starts_with(request->path, "/fal/queue/");
	case SIM_VERTEX:
		return ends_with(request->path, ":predictLongRunning");
	case SIM_PROVIDERS:
		break;
	}
	return false;
}

bool mischief_at_head(struct request *request)
{
	enum sim_provider provider;
	struct words words;
	const json_t *fault;

	if (!provider_of_path(request->path, &provider))
		return false;
	if (request->sim->provider[provider].down)
		return true;
	if (!is_start(request, provider))
		return false;
	words = sim_words(request->sim, provider, NULL);
	fault = words_find(&words, NULL, "start");
	if (!is_drop_before(fault) ||
	    mischief_of(request, provider, "start", NULL, NULL).drop !=
		    DROP_BEFORE)
		return false;
	request->sim->provider[provider].refused++;
	return true;
}

/* The three forms of RFC 9110, 5.6.7; NULL: the word is another form. */
static const char *date_format(const char *form)
{
	static const char *const formats[][2] = {
		{ "date", "%a, %d %b %Y %H:%M:%S GMT" },
		{ "rfc850", "%A, %d-%b-%y %H:%M:%S GMT" },
		{ "asctime", "%a %b %e %H:%M:%S %Y" },
	};

	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		if (strcmp(form, formats[i][0]) == 0)
			return formats[i][1];
	}
	return NULL;
}

static void say_retry_after(struct request *request,
			    const struct mischief *mischief, json_t *body)
{
	const char *form = mischief->retry_after_form;
	int64_t seconds = mischief->retry_after_s;
	char text[128];

	if (seconds < 0)
		return;
	(void)snprintf(text, sizeof(text), "%lld", (long long)seconds);
	if (strcmp(form, "seconds") == 0) {
		reply_header(request, "Retry-After", text);
	} else if (strcmp(form, "fraction") == 0) {
		(void)snprintf(text, sizeof(text), "%lld.5",
			       (long long)seconds);
		reply_header(request, "Retry-After", text);
	} else if (date_format(form)) {
		time_t when = (time_t)(clock_unix_s() + seconds);
		struct tm tm;

		(void)gmtime_r(&when, &tm);
		(void)strftime(text, sizeof(text), date_format(form), &tm);
		reply_header(request, "Retry-After", text);
	} else if (strcmp(form, "reset") == 0) {
		reply_header(request, "ratelimit-remaining", "0");
		reply_header(request, "ratelimit-reset", text);
	} else if (strcmp(form, "body") == 0) {
		(void)json_object_set_new(body, "retry_after",
					  json_integer(seconds));
	} else if (strcmp(form, "text") == 0) {
		(void)snprintf(text, sizeof(text),
			       "Request was throttled. Your rate limit resets "
			       "in ~%llds.",
			       (long long)seconds);
		(void)json_object_set_new(body, "detail", json_string(text));
	}
}

static void answer_error(struct request *request,
			 const struct mischief *mischief, error_body_fn *body)
{
	json_t *json = mischief->body ? json_deep_copy(mischief->body)
				      : body(request, mischief->status,
					     mischief->error);

	say_retry_after(request, mischief, json);
	reply_json(request, mischief->status, json);
}

bool mischief_refuse(struct request *request, const struct mischief *mischief,
		     error_body_fn *body)
{
	request->hold_ms = mischief->latency_ms;
	if (mischief->drop == DROP_BEFORE) {
		request->reply.kind = REPLY_CLOSE;
		return true;
	}
	if (mischief->status == 0 || mischief->accepted)
		return false;
	answer_error(request, mischief, body);
	return true;
}

static void spoil_answer(struct request *request,
			 const struct mischief *mischief)
{
	unsigned status = request->reply.status;
	char *huge;

	switch (mischief->answer) {
	case ANSWER_GOOD:
		break;
	case ANSWER_GARBAGE:
		reply_text(request, status, "application/json",
			   "<html>upstream said {\"id\": ");
		break;
	case ANSWER_EMPTY:
		reply_text(request, status, "application/json", "");
		break;
	case ANSWER_NO_ID:
		reply_text(request, status, "application/json",
			   "{\"note\": \"no id here\"}");
		break;
	case ANSWER_HUGE:
		huge = take(HUGE_BYTES + 1);
		memset(huge, 'x', HUGE_BYTES);
		reply_json(request, status,
			   json_pack("{s:s}", "padding", huge));
		free(huge);
		break;
	}
}

void mischief_spoil(struct request *request, const struct mischief *mischief,
		    error_body_fn *body)
{
	request->hold_ms = mischief->latency_ms;
	if (mischief->status != 0)
		answer_error(request, mischief, body);
	spoil_answer(request, mischief);
	if (mischief->drop == DROP_AFTER)
		request->reply.kind = REPLY_CLOSE;
	if (mischief->drop == DROP_PARTIAL)
		request->reply.kind = REPLY_PARTIAL;
	if (mischief->hang) {
		request->reply.kind = REPLY_CLOSE;
		request->hold_ms = HANG_MS;
	}
}

void mischief_start(struct request *request, struct job *job,
		    const struct mischief *mischief, error_body_fn *body)
{
	struct words words = job_words(job);

	mischief_spoil(request, mischief, body);
	if (mischief->status != 0 || mischief->hang ||
	    mischief->drop != DROP_NONE || mischief->answer != ANSWER_GOOD)
		job->start->answered = false;
	if (!job->start->webhook ||
	    !words_bool(&words, "webhook", "early", false))
		return;
	if (request->hold_ms < EARLY_MS && !mischief->hang)
		request->hold_ms = EARLY_MS;
	job->waiter = request;
	job->waits_for_delivery = true;
	request->waited_for = job;
	job->started_ms = job->created_ms;
	job_end_by_words(job);
}

bool mischief_over_rate(struct sim_account *account)
{
	struct sim_rate *rate = &account->rate;
	int64_t now_ms = clock_monotonic_ms();

	if (rate->per_s <= 0)
		return false;
	rate->tokens +=
		(double)(now_ms - rate->filled_ms) * rate->per_s / 1000.0;
	if (rate->tokens > rate->burst)
		rate->tokens = rate->burst;
	rate->filled_ms = now_ms;
	if (rate->tokens < 1)
		return true;
	rate->tokens -= 1;
	return false;
}

bool mischief_knows(struct request *request, enum sim_provider provider,
		    const char *credential, char ret_hash[17])
{
	const json_t *wanted = request->sim->provider[provider].credentials;
	uint8_t hash[SHA256_BYTES];
	const json_t *one;
	size_t i;

	if (!credential || !*credential)
		return false;
	crypto_sha256(credential, strlen(credential), hash);
	for (i = 0; i < 8; i++)
		(void)snprintf(ret_hash + 2 * i, 3, "%02x", hash[i]);
	if (!json_is_array(wanted))
		return true;
	json_array_foreach((json_t *)(uintptr_t)wanted, i,
			   one) if (json_is_string(one) &&
				    strcmp(json_string_value(one),
					   credential) == 0) return true;
	return false;
}
