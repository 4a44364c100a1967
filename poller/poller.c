/* SPDX-License-Identifier: MIT */
#include "poller/poller.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "poller/gate.h"
#include "poller/keys.h"
#include "poller/look.h"
#include "poller/outbox.h"
#include "poller/renew.h"
#include "poller/start.h"
#include "poller/stop.h"
#include "poller/stray.h"
#include "poller/sweep.h"
#include "poller/token.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

enum { TIMER_ACCURACY_US = 1000 };

/* ---- helpers for all ----------------------------------------------------- */

struct provider_state *poller_provider(struct poller *poller, const char *name)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		if (strcmp(poller->provider[i].ops->name, name) == 0)
			return &poller->provider[i];
	}
	return NULL;
}

int poller_add_timer(struct poller *poller, sd_event_source **ret,
		     sd_event_time_handler_t handler,
		     struct fault *reterr_fault)
{
	int r = sd_event_add_time(poller->event, ret, CLOCK_MONOTONIC, 0,
				  TIMER_ACCURACY_US, handler, poller);

	if (r >= 0)
		r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
	return r < 0 ? fault_set(reterr_fault, r, "no timer: %s", strerror(-r))
		     : 0;
}

void poller_arm(sd_event_source *timer, int64_t in_ms)
{
	uint64_t in_us = in_ms > 0 ? (uint64_t)in_ms * 1000 : 0;

	(void)sd_event_source_set_time_relative(timer, in_us);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

bool poller_is_busy(const struct poller *poller)
{
	for (size_t i = 0; i < poller->provider_count; i++) {
		if (poller->provider[i].token.exchange)
			return true;
	}
	return poller->works.count > 0 || poller->claiming ||
	       poller->stray_count > 0 || keys_are_busy(poller) ||
	       !gate_is_clean(poller) || !poller->swept;
}

void poller_fail(struct poller *poller, const char *why)
{
	log_event(LOG_ERR, LOG_ID_STOPPED, NULL, "cannot go on: %s", why);
	poller->stopping = true;
	poller->exit_status = EXIT_FAILURE;
	(void)sd_event_exit(poller->event, EXIT_FAILURE);
}

static size_t in_state(const struct poller *poller, enum job_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < poller->provider_count; i++)
		count += poller->works.in_lane[i][state];
	return count;
}

void poller_say(struct poller *poller)
{
	char due[48] = "nothing planned";
	int64_t due_ms;

	if (poller->next_due_ms != REST_NEVER) {
		due_ms = poller->next_due_ms -
			 (clock_monotonic_ms() - poller->looked_at_ms);
		(void)snprintf(due, sizeof(due), "next due in %" PRId64 " s",
			       due_ms > 0 ? (due_ms + 999) / 1000 : 0);
	}
	(void)sd_notifyf(0,
			 "STATUS=%s%zu in hand (%zu queued, %zu starting, "
			 "%zu unknown, %zu processing, %zu storing), %" PRIu64
			 " completed, %s",
			 poller->database_lost ? "database away; "
			 : poller->stopping    ? "stopping; "
					       : "",
			 poller->works.count, in_state(poller, JOB_QUEUED),
			 in_state(poller, JOB_STARTING),
			 in_state(poller, JOB_START_UNKNOWN),
			 in_state(poller, JOB_PROCESSING),
			 in_state(poller, JOB_STORING), poller->completed, due);
}

/* ---- making and freeing -------------------------------------------------- */

/* The project that a service account belongs to, unless one is configured.
 * @return arena text or a setting; NULL if nobody says it */
static const char *find_project(const struct conf *conf, const char *account,
				struct arena *arena)
{
	json_auto_t *object = NULL;
	const char *project;

	if (conf->vertex_project || !account)
		return conf->vertex_project ? conf->vertex_project : "";
	object = json_loads(account, 0, NULL);
	project = json_string_value(json_object_get(object, "project_id"));
	return project ? arena_strdup(arena, project) : NULL;
}

static int add_provider(struct poller *poller, const struct provider_ops *ops,
			struct fault *reterr_fault)
{
	struct provider_state *provider =
		&poller->provider[poller->provider_count];
	const struct conf *conf = poller->conf;
	const struct provider_settings *settings =
		conf_provider(conf, ops->name);

	if (!settings || poller->provider_count == POLLER_PROVIDERS)
		return fault_set(reterr_fault, -EINVAL,
				 "provider %s has no settings", ops->name);
	*provider = (struct provider_state){
		.poller = poller,
		.index = poller->provider_count++,
		.ops = ops,
		.settings = settings,
		.configured = settings->credential != NULL,
		.conf = {
			.base_url = settings->base_url,
			.list_url = settings->list_url ? settings->list_url
						       : settings->base_url,
			.keys_url = settings->keys_url,
			.credential = settings->credential
					      ? settings->credential
					      : "",
			.location = conf->vertex_location,
			.storage_uri = conf->vertex_storage_uri,
			.storage_url = conf->gcs_base_url,
			.account = settings->credential,
		},
	};
	provider->conf.project = find_project(
		conf, ops->token_request ? settings->credential : NULL,
		poller->arena);
	if (!provider->conf.project)
		return fault_set(reterr_fault, -EINVAL,
				 "VERTEX_PROJECT is not set, and the service "
				 "account names no project_id");
	return 0;
}

static int add_parts(struct poller *poller, struct fault *reterr_fault)
{
	int r;

	r = outbox_init(poller, reterr_fault);
	if (r >= 0)
		r = gate_init(poller, reterr_fault);
	if (r >= 0)
		r = renew_init(poller, reterr_fault);
	if (r >= 0)
		r = start_init(poller, reterr_fault);
	if (r >= 0)
		r = sweep_init(poller, reterr_fault);
	if (r >= 0)
		r = stop_init(poller, reterr_fault);
	if (r >= 0)
		r = look_init(poller, reterr_fault);
	return r;
}

/* A connection is made beside the loop's thread, which has libraries to set up
 * meanwhile that take as long. */
struct opening {
	struct workers_task task;
	const char *url;
	struct db *db;
	struct fault fault;
	int r;
};

static void open_database(struct workers_task *task)
{
	struct opening *opening =
		(struct opening *)((char *)task -
				   offsetof(struct opening, task));

	opening->r = db_open(opening->url, "rushes-poller", &opening->db,
			     &opening->fault);
}

static void opened_database(struct workers_task *task)
{
	(void)task; /* whoever began it waits for it */
}

static int open_neighbours(struct poller *poller, struct fault *reterr_fault)
{
	const struct conf *conf = poller->conf;
	struct opening opening = {
		.task = { .run = open_database, .done = opened_database },
		.url = conf->database_url,
	};
	int r;

	r = workers_new(poller->event, 1, &poller->aside, reterr_fault);
	if (r < 0)
		return r;
	workers_run(poller->aside, &opening.task);
	r = http_client_new(poller->event, conf, &poller->http, reterr_fault);
	if (r >= 0)
		r = store_open(poller->event, conf, &poller->store,
			       reterr_fault);
	if (r >= 0)
		r = transfer_pool_new(poller->event, conf, &poller->transfers,
				      reterr_fault);
	workers_finish(poller->aside);
	poller->db = opening.db;
	if (r >= 0 && opening.r < 0)
		r = fault_set(reterr_fault, opening.r, "%s",
			      opening.fault.text);
	return r;
}

int poller_new(const struct conf *conf, int wake_fd, struct poller **ret,
	       struct fault *reterr_fault)
{
	_cleanup_(poller_freep) struct poller *poller =
		calloc(1, sizeof(*poller));
	const struct provider_ops *ops;
	int r;

	if (poller)
		poller->arena = arena_new(LIMIT_MIB);
	if (!poller || !poller->arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	poller->conf = conf;
	poller->wake_fd = wake_fd;
	poller->next_due_ms = REST_NEVER;
	/* Of each kind we have one; only the default loop is watched over. */
	r = sd_event_default(&poller->event);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event loop: %s",
				 strerror(-r));
	for (size_t i = 0; r >= 0 && (ops = provider_at(i)); i++)
		r = add_provider(poller, ops, reterr_fault);
	if (r >= 0)
		r = open_neighbours(poller, reterr_fault);
	if (r >= 0)
		r = add_parts(poller, reterr_fault);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(poller);
	return 0;
}

struct poller *poller_free(struct poller *poller)
{
	if (!poller)
		return NULL;
	poller->closing = true;
	poller->stopping = true;
	poller->aside = workers_free(poller->aside);
	while (poller->works.first)
		work_free(poller->works.first);
	stray_done(poller);
	keys_done(poller);
	token_done(poller);
	look_done(poller);
	stop_done(poller);
	sweep_done(poller);
	start_done(poller);
	renew_done(poller);
	gate_done(poller);
	outbox_done(poller);
	(void)transfer_pool_free(poller->transfers);
	(void)store_close(poller->store);
	(void)http_client_free(poller->http);
	(void)db_close(poller->db);
	poller->event = sd_event_unref(poller->event);
	(void)arena_free(poller->arena);
	free(poller);
	return NULL;
}

int poller_run(struct poller *poller)
{
	int r;

	(void)sd_event_set_watchdog(poller->event, 1);
	(void)sd_notify(0, "READY=1");
	poller_say(poller);
	r = sd_event_loop(poller->event);
	(void)sd_notify(0, "STOPPING=1");
	if (r < 0) {
		log_event(LOG_ERR, LOG_ID_STOPPED, NULL,
			  "the event loop failed: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	return r;
}
