/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/io/log.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/token.h"
#include "fcgi/commit.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"
#include "fcgi/webhook_key.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/*
 * POST /api/webhooks/job/{id}/{token} and …/job/{id} - a provider reports.
 *
 * Token, signature and body are checked here, without writing anything; what
 * is left is committed together with others. Never 410 or 3xx, which some
 * providers take as "never again", and never 2xx before the commit.
 */

/* What is known of it so far. */
struct arrival {
	const char *job_id;
	const struct provider_ops *ops;
	int32_t attempt; /* 0: it came without a token */
	struct provider_webhook webhook;
};

enum { ARRIVAL_E_ANSWERED = 1 }; /* with a refusal, in *ret */

static int refuse_arrival(const struct request *request, struct reply *ret,
			  unsigned status, const char *code, const char *detail)
{
	log_event(LOG_WARNING,
		  status == 401 ? LOG_ID_WEBHOOK_FORGED
				: LOG_ID_WEBHOOK_REFUSED,
		  &(struct log_context){
			  .job = text_is_uuid(request->capture[0])
					 ? request->capture[0]
					 : NULL,
			  .request = request->id,
		  },
		  "webhook refused, %u %s", status, code);
	(void)refuse(request, ret, status, code, detail);
	/* There is no scheme a provider could authenticate with. */
	if (ret->status == 401)
		ret->header_count = 0;
	return ARRIVAL_E_ANSWERED;
}

static int refuse_unknown(const struct request *request, struct reply *ret)
{
	return refuse_arrival(request, ret, 404, "job_not_found",
			      "There is no such job.");
}

/* The provider of a job; NULL if there is no such job. */
static int read_provider(struct worker *worker, const struct request *request,
			 const char **ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct db_row row;
	int r;

	r = read_run(worker_db(worker), DB_job_provider, &request->capture[0],
		     &rows, reterr_fault);
	if (r < 0)
		return r;
	*ret = NULL;
	if (db_rows(rows) == 0)
		return 0;
	row = db_row(rows, 0, request->arena);
	*ret = db_row_text(&row, "provider");
	return db_row_end(&row, reterr_fault);
}

/* Without a token that says it, the job does. */
static int ask_provider(struct worker *worker, const struct request *request,
			struct arrival *arrival, struct reply *ret,
			struct fault *reterr_fault)
{
	const char *provider;
	int r;

	r = read_provider(worker, request, &provider, reterr_fault);
	if (r < 0)
		return r;
	if (!provider)
		return refuse_unknown(request, ret);
	if (request->capture[1])
		return refuse_arrival(request, ret, 401, "bad_token",
				      "The token is not one of this job.");
	arrival->ops = provider_lookup(provider);
	return arrival->ops ? 0 : refuse_unknown(request, ret);
}

/* The token names the provider too, so one that is good needs no look at the
 * job. For one that is not, all providers are tried. */
static int check_token(struct worker *worker, const struct request *request,
		       struct arrival *arrival, struct reply *ret,
		       struct fault *reterr_fault)
{
	const struct provider_ops *ops;

	if (!text_is_uuid(request->capture[0]))
		return refuse_unknown(request, ret);
	arrival->job_id = request->capture[0];
	for (size_t i = 0;
	     request->capture[1] && !arrival->ops && (ops = provider_at(i));
	     i++) {
		int32_t attempt;

		if (!token_verify(&worker->service->conf->token_keys,
				  request->capture[1], arrival->job_id,
				  ops->name, request->arena, &attempt))
			continue;
		arrival->ops = ops;
		arrival->attempt = attempt;
	}
	if (arena_failed(request->arena))
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	return arrival->ops ? 0
			    : ask_provider(worker, request, arrival, ret,
					   reterr_fault);
}

/* Judge it with the keys we have, and once more with new ones. */
static int judge(struct worker *worker, const struct request *request,
		 struct arrival *arrival, enum webhook_trust *ret_trust,
		 const char **ret_delivery_id, struct fault *reterr_fault)
{
	struct webhook_judging judging = {
		.ops = arrival->ops,
		.webhook = &arrival->webhook,
	};
	struct webhook_key_set keys;
	int r;

	for (int again = 0; again < 2; again++) {
		r = webhook_keys_of(worker->service->webhook_keys, worker->db,
				    arrival->ops->name, again > 0,
				    request->arena, &keys);
		if (r < 0)
			return fault_set(reterr_fault, r, "arena is full");
		arrival->webhook.key = keys.key;
		arrival->webhook.key_count = keys.count;
		judging.keys_configured = keys.configured;
		judging.keys_are_new = again > 0;
		judging.keys_age_s = keys.age_s;
		*ret_trust = webhook_judge(&judging, request->arena,
					   ret_delivery_id);
		/* Nobody has looked: it is not to be called a forgery. */
		if (*ret_trust != WEBHOOK_GENUINE &&
		    arena_failed(request->arena))
			return fault_set(reterr_fault, -ENOMEM,
					 "arena is full");
		if (*ret_trust != WEBHOOK_UNSURE)
			break;
	}
	return 0;
}

/* The provider's own id of the delivery, else the body tells two apart. */
static const char *delivery_key(const struct request *request, const char *id)
{
	uint8_t sha256[SHA256_BYTES];

	if (id && *id && strlen(id) <= LIMIT_DELIVERY_ID_BYTES)
		return id;
	crypto_sha256(request->body, request->body_bytes, sha256);
	return text_to_hex(sha256, sizeof(sha256), request->arena);
}

/* Read what a genuine one says. */
static int parse(const struct request *request, struct arrival *arrival,
		 const char *delivery_id, struct webhook_item *item,
		 struct reply *ret, struct fault *reterr_fault)
{
	int r;

	item->delivery_key = delivery_key(request, delivery_id);
	json_text_watch();
	r = arrival->ops->webhook_event(&arrival->webhook, request->arena,
					&item->event, reterr_fault);
	if (r == 0 && json_text_starved())
		r = fault_set(reterr_fault, -ENOMEM, "no memory");
	if (r == -EBADMSG)
		return refuse_arrival(request, ret, 400, "malformed_webhook",
				      "The body is not what this provider "
				      "sends.");
	return r;
}

static int check_form(const struct request *request, struct reply *ret)
{
	static const char json[] = "application/json";

	if (request->content_type &&
	    strncasecmp(request->content_type, json, sizeof(json) - 1) != 0)
		return refuse_arrival(request, ret, 415, "not_json",
				      "A webhook is sent as "
				      "application/json.");
	return 0;
}

static int refuse_signature(const struct request *request, struct reply *ret)
{
	return refuse_arrival(request, ret, 401, "bad_signature",
			      "The signature is missing or wrong.");
}

static int check_trust(struct worker *worker, const struct request *request,
		       struct arrival *arrival, struct commit *commit,
		       struct reply *ret, struct fault *reterr_fault)
{
	struct webhook_item *item = &commit->webhook;
	enum webhook_trust trust = WEBHOOK_REFUSED;
	const char *delivery_id;
	int r;

	arrival->webhook = (struct provider_webhook){
		.header = request->header,
		.header_count = request->header_count,
		.body = request->body,
		.body_bytes = request->body_bytes,
		.now_unix_s = clock_unix_s(),
	};
	r = judge(worker, request, arrival, &trust, &delivery_id, reterr_fault);
	if (r < 0)
		return r;
	if (trust == WEBHOOK_REFUSED ||
	    (arrival->attempt == 0 && trust != WEBHOOK_GENUINE))
		return refuse_signature(request, ret);
	commit->refuse_webhook = trust == WEBHOOK_DOUBTFUL;
	item->hint = trust != WEBHOOK_GENUINE;
	return item->hint ? 0
			  : parse(request, arrival, delivery_id, item, ret,
				  reterr_fault);
}

int post_webhook(struct worker *worker, const struct request *request,
		 struct reply *ret, struct fault *reterr_fault)
{
	struct commit *commit = arena_alloc(request->arena, sizeof(*commit));
	struct arrival arrival = { 0 };
	int r;

	if (!commit)
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	commit->kind = COMMIT_WEBHOOK;
	r = check_token(worker, request, &arrival, ret, reterr_fault);
	if (r == 0 && !(arrival.ops && arrival.ops->has_webhook))
		r = refuse_arrival(request, ret, 401, "bad_token",
				   "This job's provider sends no webhooks.");
	if (r == 0)
		r = check_form(request, ret);
	if (r == 0)
		r = check_trust(worker, request, &arrival, commit, ret,
				reterr_fault);
	if (r != 0)
		return r == ARRIVAL_E_ANSWERED ? 0 : r;

	commit->webhook.job_id = arrival.job_id;
	commit->webhook.ops = arrival.ops;
	commit->webhook.attempt = arrival.attempt;
	*ret = (struct reply){ .commit = commit };
	return 0;
}

int commit_answer_webhook(const struct request *request,
			  const struct commit *commit, struct reply *ret)
{
	static const char taken[] = "{\"status\":\"accepted\"}";
	static const char ignored[] = "{\"status\":\"no_effect\"}";
	const char *text = taken;

	if (commit->refuse_webhook &&
	    (commit->webhook.outcome == WEBHOOK_TAKEN ||
	     commit->webhook.outcome == WEBHOOK_NO_EFFECT)) {
		(void)refuse_signature(request, ret);
		return 0;
	}
	switch (commit->webhook.outcome) {
	case WEBHOOK_TAKEN:
		break;
	case WEBHOOK_NO_EFFECT:
		text = ignored;
		break;
	case WEBHOOK_JOB_UNKNOWN:
		(void)refuse_unknown(request, ret);
		return 0;
	case WEBHOOK_WRONG_JOB:
		(void)refuse_arrival(request, ret, 401, "bad_signature",
				     "The body names another prediction than "
				     "the job's.");
		return 0;
	case WEBHOOK_AWAY:
		return refuse_for_now(request, ret, "database_away",
				      "The webhook could not be committed; "
				      "please repeat it.");
	}
	return reply_json(ret, 200, text, NULL);
}
