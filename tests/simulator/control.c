/* SPDX-License-Identifier: MIT */
/* The simulator's own routes: health, control, ledger. */
#include "tests/simulator/google.h"
#include "tests/simulator/handlers.h"
#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/start.h"
#include "tests/simulator/webhook.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const level_names[] = {
	[SIM_REPLICATE] = "replicate",
	[SIM_FAL] = "fal",
	[SIM_VERTEX] = "vertex",
	[SIM_PROVIDERS] = "all",
};

static json_t **level_slot(struct sim *sim, int level)
{
	return level == SIM_PROVIDERS ? &sim->words_for_all
				      : &sim->provider[level].words;
}

static void replace(json_t **slot, json_t *value)
{
	json_decref(*slot);
	*slot = value;
}

/* New words start counting anew. */
static void forget_counter(struct sim *sim, int level, const char *word)
{
	_cleanup_text_ char *key = take_printf(
		"%s|%d|%s", level == SIM_PROVIDERS ? "all" : "provider",
		level == SIM_PROVIDERS ? 0 : level, word);

	(void)table_remove(sim->counters, key);
}

static int set_words(struct sim *sim, int level, const json_t *words,
		     struct fault *reterr_fault)
{
	json_t **slot = level_slot(sim, level);
	json_t *value;
	const char *name;

	if (json_is_null(words)) {
		json_object_foreach(*slot, name, value)
			forget_counter(sim, level, name);
		replace(slot, json_object());
		return 0;
	}
	if (!json_is_object(words))
		return fault_set(reterr_fault, -EINVAL,
				 "\"%s\" must be an object or null",
				 level_names[level]);
	json_object_foreach((json_t *)(uintptr_t)words, name, value)
	{
		forget_counter(sim, level, name);
		if (json_is_null(value))
			(void)json_object_del(*slot, name);
		else
			(void)json_object_set(*slot, name, value);
	}
	return 0;
}

static int check_words(const json_t *words, struct fault *reterr_fault)
{
	json_t *set, *value;
	const char *name;
	void *next;
	int r;

	if (!json_is_object(words))
		return 0;
	set = json_copy((json_t *)(uintptr_t)words);
	json_object_foreach_safe(set, next, name,
				 value) if (json_is_null(value))(void)
		json_object_del(set, name);
	r = words_check(set, reterr_fault);
	json_decref(set);
	return r;
}

static void clear_settings(struct sim *sim)
{
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		struct sim_account *own = &sim->provider[i];

		replace(&own->words, json_object());
		replace(&own->credentials, NULL);
		own->rate = (struct sim_rate){ 0 };
		own->concurrency = 0;
		own->down = false;
	}
	replace(&sim->words_for_all, json_object());
	table_remove_prefix(sim->counters, "");
}

static void reset(struct sim *sim)
{
	clear_settings(sim);
	job_forget_all(sim);
	ledger_forget_all(sim);
	oauth_forget_tokens(sim);
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		struct sim_account *own = &sim->provider[i];

		own->starts = own->refused = own->polls = own->results = 0;
		own->cancels = own->lists = own->running_most = 0;
		own->deliveries = own->forged = 0;
	}
	sim->requests = 0;
	sim->tokens_issued = 0;
	ledger_note(sim, "reset", json_object());
}

static void set_credentials(struct sim_account *own, const json_t *value)
{
	if (json_is_array(value))
		replace(&own->credentials,
			json_incref((json_t *)(uintptr_t)value));
	else if (json_is_string(value))
		replace(&own->credentials, json_true());
	else
		replace(&own->credentials, NULL);
}

static void set_rate(struct sim_account *own, const json_t *value)
{
	double per_s = json_number_value(json_object_get(value, "per_s"));
	const json_t *burst = json_object_get(value, "burst");

	own->rate = (struct sim_rate){
		.per_s = per_s,
		.burst = burst ? json_number_value(burst) : 1,
		.filled_ms = clock_monotonic_ms(),
	};
	own->rate.tokens = own->rate.burst;
}

/* What is said per provider beside words: {"rate": {"fal": …}}. */
static void set_limits(struct sim *sim, const json_t *body)
{
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		struct sim_account *own = &sim->provider[i];
		const json_t *value;

		value = json_object_get(json_object_get(body, "credentials"),
					own->name);
		if (value)
			set_credentials(own, value);
		value = json_object_get(json_object_get(body, "rate"),
					own->name);
		if (value)
			set_rate(own, value);
		value = json_object_get(json_object_get(body, "concurrency"),
					own->name);
		if (value)
			own->concurrency = json_integer_value(value);
		value = json_object_get(json_object_get(body, "down"),
					own->name);
		if (value)
			own->down = json_is_true(value);
	}
	if (json_is_null(json_object_get(body, "credentials")))
		for (int i = 0; i < SIM_PROVIDERS; i++)
			replace(&sim->provider[i].credentials, NULL);
}

static int steer_job(struct sim *sim, const json_t *body,
		     struct fault *reterr_fault)
{
	const char *id = json_string_value(json_object_get(body, "job"));
	struct job *job = id ? job_find_any(sim, id) : NULL;
	json_t *words = json_object_get(body, "words");
	const char *end = json_string_value(json_object_get(body, "end"));
	const json_t *deliver = json_object_get(body, "deliver");
	enum job_outcome outcome = OUTCOME_SUCCEED;
	json_t *wrapped = json_pack("{s:O?}", "webhook", deliver);
	int r = 0;

	if (words)
		r = check_words(words, reterr_fault);
	if (r == 0 && deliver)
		r = words_check(wrapped, reterr_fault);
	json_decref(wrapped);
	if (r < 0)
		return r;
	if (!job)
		return fault_set(reterr_fault, -ENOENT, "no such job");
	if (end &&
	    (!job_outcome_from_name(end, &outcome) || outcome == OUTCOME_NEVER))
		return fault_set(reterr_fault, -EINVAL, "no such end");
	if (words) {
		replace(&job->words, json_incref(words));
		job->status_place = 0;
	}
	if (end)
		job_end(job, outcome, NULL);
	if (deliver)
		webhook_repeat(job, deliver);
	return 0;
}

static int check_members(const json_t *body, struct fault *reterr_fault)
{
	static const char *const known[] = {
		"reset",  "clear",  "all",	   "replicate",
		"fal",	  "vertex", "credentials", "expire_tokens",
		"rotate", "rate",   "concurrency", "down",
		"job",	  "words",  "end",	   "deliver",
	};
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, name, value)
	{
		bool found = false;

		for (size_t i = 0; i < COUNT_OF(known); i++)
			found = found || strcmp(name, known[i]) == 0;
		if (!found)
			return fault_set(reterr_fault, -EINVAL,
					 "no member \"%.40s\" here", name);
	}
	return 0;
}

static bool is_limit(const char *member, const json_t *value)
{
	if (json_is_null(value))
		return true;
	if (strcmp(member, "credentials") == 0)
		return json_is_array(value) ||
		       (json_is_string(value) &&
			strcmp(json_string_value(value), "issued") == 0);
	if (strcmp(member, "rate") == 0)
		return json_is_number(json_object_get(value, "per_s"));
	if (strcmp(member, "concurrency") == 0)
		return json_is_integer(value) && json_integer_value(value) > 0;
	return json_is_boolean(value);
}

static int check_limits(const json_t *body, struct fault *reterr_fault)
{
	static const char *const members[] = { "credentials", "rate",
					       "concurrency", "down" };

	for (size_t i = 0; i < COUNT_OF(members); i++) {
		json_t *limits = json_object_get(body, members[i]), *value;
		const char *name;

		if (limits && !json_is_object(limits) && !json_is_null(limits))
			return fault_set(reterr_fault, -EINVAL,
					 "\"%s\" must be an object",
					 members[i]);
		json_object_foreach(limits, name, value)
		{
			bool known = false;

			for (int p = 0; p < SIM_PROVIDERS; p++)
				known = known ||
					strcmp(name, level_names[p]) == 0;
			if (!known || !is_limit(members[i], value))
				return fault_set(reterr_fault, -EINVAL,
						 "\"%s\": \"%.40s\" is wrong",
						 members[i], name);
		}
	}
	return 0;
}

static int apply(struct sim *sim, const json_t *body,
		 struct fault *reterr_fault)
{
	const json_t *rotate = json_object_get(body, "rotate");
	int r = check_members(body, reterr_fault);

	if (r == 0)
		r = check_limits(body, reterr_fault);

	for (int i = 0; r == 0 && i <= SIM_PROVIDERS; i++)
		r = check_words(json_object_get(body, level_names[i]),
				reterr_fault);
	if (r < 0)
		return r;
	if (json_is_true(json_object_get(body, "reset")))
		reset(sim);
	if (json_is_true(json_object_get(body, "clear")))
		clear_settings(sim);
	for (int i = 0; r == 0 && i <= SIM_PROVIDERS; i++) {
		const json_t *words = json_object_get(body, level_names[i]);

		if (words)
			r = set_words(sim, i, words, reterr_fault);
	}
	set_limits(sim, body);
	if (json_is_true(json_object_get(body, "expire_tokens")))
		oauth_forget_tokens(sim);
	if (json_is_true(rotate) || json_is_string(rotate))
		keys_rotate(sim->keys, json_is_string(rotate));
	if (r == 0 && json_object_get(body, "job"))
		r = steer_job(sim, body, reterr_fault);
	return r;
}

static void reply_settings(struct request *request)
{
	struct sim *sim = request->sim;
	json_t *json = json_object();

	for (int i = 0; i <= SIM_PROVIDERS; i++)
		(void)json_object_set(json, level_names[i],
				      *level_slot(sim, i));
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		const struct sim_account *own = &sim->provider[i];
		_cleanup_text_ char *name = take_printf("limits_%s", own->name);

		(void)json_object_set_new(
			json, name,
			json_pack("{s:b, s:I, s:f, s:b}", "credentials",
				  own->credentials != NULL, "concurrency",
				  (json_int_t)own->concurrency, "per_s",
				  own->rate.per_s, "down", own->down));
	}
	reply_json(request, 200, json);
}

static void control(struct request *request)
{
	struct fault fault = { 0 };
	json_t *body;
	int r;

	if (request->method == HTTP_GET) {
		reply_settings(request);
		return;
	}
	body = start_parse_body(request);
	if (!body) {
		reply_json(request, 400,
			   json_pack("{s:s}", "error",
				     "the body must be a JSON object"));
		return;
	}
	r = apply(request->sim, body, &fault);
	json_decref(body);
	if (r < 0)
		reply_json(request, r == -ENOENT ? 404 : 400,
			   json_pack("{s:s}", "error", fault.text));
	else
		reply_settings(request);
}

static void health(struct request *request)
{
	struct sim *sim = request->sim;
	int64_t running = 0;

	for (int i = 0; i < SIM_PROVIDERS; i++)
		running += sim->provider[i].running;
	reply_json(
		request, 200,
		json_pack("{s:s, s:I, s:I, s:I}", "status", "ok", "uptime_s",
			  (json_int_t)((clock_monotonic_ms() - sim->begun_ms) /
				       1000),
			  "jobs", (json_int_t)table_count(sim->jobs), "running",
			  (json_int_t)running));
}

void control_handle(struct request *request)
{
	if (strcmp(request->path, "/_health") == 0)
		health(request);
	else if (strcmp(request->path, "/_ledger") == 0)
		ledger_reply(request);
	else if (strcmp(request->path, "/_service_account") == 0)
		reply_json(request, 200, keys_account(request->sim->keys));
	else if (strcmp(request->path, "/_control") == 0)
		control(request);
	else
		reply_json(request, 404,
			   json_pack("{s:s}", "error", "no such route"));
}
