/* SPDX-License-Identifier: MIT */
#include "fcgi/server.h"

#include "common/base/clock.h"
#include "common/io/log.h"
#include "common/model/limits.h"
#include "common/provider/provider.h"
#include "fcgi/accept.h"
#include "fcgi/api_key.h"
#include "fcgi/committer.h"
#include "fcgi/serve.h"
#include "fcgi/sockets.h"
#include "fcgi/webhook_key.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
	TICK_MS = 250,
	STATUS_MS = 1000,
	THREADS_A_PROCESSOR = 2,
	DESCRIPTORS_WANTED = 65536,
	/* Left for everything that is not a connection. */
	DESCRIPTORS_SPARE = 64,
	IO_TIMEOUT_MS = 10 * 1000,
	REQUEST_TIMEOUT_MS = 20 * 1000,
	ANSWER_TIMEOUT_MS = 30 * 1000,
	/* Less than TimeoutStopSec= of rushes-fcgi.service. */
	STOP_MS = 20 * 1000,
	STOP_TICK_MS = 10,
	/* A request's memory: its body in several forms, and the rest, which
	 * has room for LIMIT_JOBS. Where more are allowed: each stands in a
	 * text that doubles as it grows, and in two when it is cancelled. */
	ARENA_BODIES = 6,
	ARENA_JOB_BYTES = 4 * LIMIT_KIB,
};

struct running {
	const struct conf *conf;
	struct service service;
	struct server server;
	size_t thread_count;
	const char *providers[CONF_PROVIDERS];
	struct sockets sockets;
	struct accept *accept;
	int signal_fd;
	int64_t watchdog_ms; /* 0: nobody watches */
	int64_t said_ms;     /* status and watchdog, last */
	uint64_t strangers;  /* connections refused, as far as it was said */
	uint64_t requests;   /* as of said_ms */
	bool trimmed;	     /* nothing came since memory was given back */
};

/* ---- the main thread's loop --------------------------------------------- */

/*
 * Both halves must get on: a free thread every now and then, and every
 * statement back in time. A database that is away is no reason to restart:
 * its statements fail at once.
 */
static bool gets_on(const struct running *running,
		    const struct accept_figures *accept,
		    const struct committer_figures *committer)
{
	return accept->stuck_ms < running->watchdog_ms &&
	       committer->stuck_ms < running->watchdog_ms;
}

/* nginx cannot tell the operator why its connections are closed. */
static void warn_of_strangers(struct running *running, uint64_t strangers)
{
	if (strangers == running->strangers)
		return;
	log_event(LOG_WARNING, LOG_ID_REQUEST_FAILED, NULL,
		  "%" PRIu64 " connections of users that are not in "
		  "FCGI_PEER_USERS or FCGI_PEER_GROUP were refused",
		  strangers - running->strangers);
	running->strangers = strangers;
}

/* What a burst took is free, but still ours (see tune_malloc()): it goes back
 * once a second has passed without a request. */
static void give_memory_back(struct running *running, uint64_t requests)
{
	bool quiet = requests == running->requests;

	if (quiet && !running->trimmed)
		(void)malloc_trim(0);
	running->trimmed = quiet;
	running->requests = requests;
}

static void tell_systemd(struct running *running, int64_t now_ms)
{
	struct accept_figures accept = accept_figures(running->accept);
	struct committer_figures committer =
		committer_figures(running->service.committer);

	running->said_ms = now_ms;
	warn_of_strangers(running, accept.strangers);
	give_memory_back(running, accept.requests);
	(void)sd_notifyf(
		0,
		"STATUS=%zu connections (%zu busy), %" PRIu64
		" requests, %zu waiting, %" PRIu64 " committed in %" PRIu64
		" batches, %" PRIu64 " refused, database %s",
		accept.connections, accept.busy, accept.requests,
		committer.waiting, committer.committed, committer.commits,
		accept.strangers + accept.malformed + accept.dropped +
			committer.expired,
		committer.database_up ? "up" : "away");
	if (running->watchdog_ms > 0 && gets_on(running, &accept, &committer))
		(void)sd_notify(0, "WATCHDOG=1");
}

/* @return whether a signal asks us to stop */
static bool wait_for_signal(int signal_fd)
{
	struct pollfd poll_fd = { .fd = signal_fd, .events = POLLIN };
	struct signalfd_siginfo info;

	if (poll(&poll_fd, 1, TICK_MS) <= 0)
		return false;
	return read(signal_fd, &info, sizeof(info)) == sizeof(info);
}

static void loop(struct running *running)
{
	int64_t pause_ms = STATUS_MS;

	if (running->watchdog_ms > 0 && running->watchdog_ms / 3 < pause_ms)
		pause_ms = running->watchdog_ms / 3;
	while (!wait_for_signal(running->signal_fd)) {
		int64_t now_ms = clock_monotonic_ms();

		accept_tick(running->accept);
		committer_tick(running->service.committer);
		if (now_ms - running->said_ms >= pause_ms)
			tell_systemd(running, now_ms);
	}
}

/* ---- starting ----------------------------------------------------------- */

static size_t raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < DESCRIPTORS_WANTED) {
		limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED
					 ? limit.rlim_max
					 : DESCRIPTORS_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur < DESCRIPTORS_WANTED ? (size_t)limit.rlim_cur
						   : DESCRIPTORS_WANTED;
}

static size_t count_threads(const struct conf *conf)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->fcgi_threads > 0)
		return (size_t)conf->fcgi_threads;
	return (size_t)(processors > 0 ? processors : 1) * THREADS_A_PROCESSOR;
}

/* Providers that have a credential: others are unknown to clients. */
static void find_providers(struct running *running)
{
	struct submission_rules *rules = &running->service.rules;
	const struct provider_ops *ops;

	rules->jobs_max = (size_t)running->conf->jobs_per_execution_max;
	rules->providers = running->providers;
	for (size_t i = 0;
	     (ops = provider_at(i)) && rules->provider_count < CONF_PROVIDERS;
	     i++) {
		const struct provider_settings *settings =
			conf_provider(running->conf, ops->name);

		if (settings && settings->credential)
			running->providers[rules->provider_count++] = ops->name;
	}
}

/* They connect with their first request: the one connection of the committer
 * tells at start whether the schema fits, and requests wait meanwhile. */
static int open_workers(struct running *running, struct fault *reterr_fault)
{
	int r = 0;

	running->thread_count = count_threads(running->conf);
	running->server.worker =
		calloc(running->thread_count, sizeof(*running->server.worker));
	if (!running->server.worker)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	for (size_t i = 0; r == 0 && i < running->thread_count; i++) {
		struct worker *worker = &running->server.worker[i];

		worker->service = &running->service;
		r = db_open_later(running->conf->database_url, "rushes-fcgi",
				  &worker->db, reterr_fault);
	}
	return r;
}

static int open_service(struct running *running, struct fault *reterr_fault)
{
	struct service *service = &running->service;
	int r;

	service->conf = running->conf;
	service->started_ms = clock_monotonic_ms();
	service->api_keys = api_keys_new();
	service->webhook_keys = webhook_keys_new(running->conf);
	if (!service->api_keys || !service->webhook_keys)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	find_providers(running);
	r = open_workers(running, reterr_fault);
	if (r == 0)
		r = committer_new(service, &service->committer, reterr_fault);
	return r;
}

static size_t arena_bytes_max(const struct conf *conf)
{
	size_t jobs = (size_t)conf->jobs_per_execution_max;
	size_t many = jobs > LIMIT_JOBS ? jobs : 0;

	return LIMIT_ARENA_REQUEST_BYTES +
	       ARENA_BODIES * (size_t)conf->body_bytes_max +
	       ARENA_JOB_BYTES * many;
}

static int open_accept(struct running *running, size_t descriptors,
		       struct fault *reterr_fault)
{
	const struct conf *conf = running->conf;
	size_t spare = DESCRIPTORS_SPARE + 2 * running->thread_count;
	const struct accept_options options = {
		.listen_fd = running->sockets.listen_fd,
		.peer_uid = conf->peer_uid,
		.peer_count = conf->peer_count,
		.has_peer_gid = conf->has_peer_gid,
		.peer_gid = conf->peer_gid,
		.threads = running->thread_count,
		.connections_max = descriptors > 2 * spare ? descriptors - spare
							   : descriptors / 2,
		.io_timeout_ms = IO_TIMEOUT_MS,
		.request_timeout_ms = REQUEST_TIMEOUT_MS,
		.answer_timeout_ms = ANSWER_TIMEOUT_MS,
		.body_drain_bytes_max = 2 * (size_t)conf->body_bytes_max +
					2 * LIMIT_WEBHOOK_BODY_BYTES,
		.arena_bytes_max = arena_bytes_max(conf),
		.serve = serve_exchange,
		.context = &running->server,
	};

	return accept_start(&options, &running->accept, reterr_fault);
}

static int open_signals(struct running *running, struct fault *reterr_fault)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	running->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return running->signal_fd >= 0
		       ? 0
		       : fault_set(reterr_fault, -errno, "signalfd: %s",
				   strerror(errno));
}

static int start(struct running *running, struct fault *reterr_fault)
{
	size_t descriptors = raise_descriptors();
	uint64_t watchdog_us = 0;
	int r;

	r = sockets_receive(&running->sockets, reterr_fault);
	if (r == 0)
		r = open_signals(running, reterr_fault);
	if (r == 0)
		r = open_service(running, reterr_fault);
	if (r == 0)
		r = open_accept(running, descriptors, reterr_fault);
	if (r < 0)
		return r;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		running->watchdog_ms = (int64_t)(watchdog_us / 1000);

	for (size_t i = 0; i < running->sockets.connection_count; i++)
		accept_adopt(running->accept, running->sockets.connection[i]);
	sockets_forget_stored();
	log_event(LOG_NOTICE, LOG_ID_STARTED, NULL,
		  "serving with %zu threads; %zu connections taken over",
		  running->thread_count, running->sockets.connection_count);
	(void)sd_notify(0, "READY=1");
	return 0;
}

/* ---- stopping ----------------------------------------------------------- */

/* Connections stay open, in systemd's hands: what nginx sends into them now
 * is read by the next process. */
static size_t hand_over(struct running *running)
{
	size_t count, total = 0;
	int fds[128];

	do {
		count = accept_take_connections(running->accept, fds,
						COUNT_OF(fds));
		(void)sockets_store(fds, count);
		total += count;
		/* The store's copies have to be there before ours go. */
		if (count > 0)
			sockets_flush();
		for (size_t i = 0; i < count; i++)
			(void)close(fds[i]);
	} while (count > 0);
	return total;
}

/* Requests in hand are finished, those handed to the committer included.
 * @return whether they were in time */
static bool finish_requests(struct running *running)
{
	int64_t until_ms = clock_monotonic_ms() + STOP_MS;

	accept_begin_stop(running->accept);
	while (!accept_has_stopped(running->accept)) {
		if (clock_monotonic_ms() > until_ms)
			return false;
		accept_tick(running->accept);
		committer_tick(running->service.committer);
		(void)poll(NULL, 0, STOP_TICK_MS);
	}
	/* All are answered, but a statement may hang on: do not wait. */
	return committer_figures(running->service.committer).stuck_ms == 0;
}

static int stop(struct running *running)
{
	struct accept_figures figures;
	bool finished;

	(void)sd_notify(0, "STOPPING=1\nSTATUS=finishing requests");
	finished = finish_requests(running);
	figures = accept_figures(running->accept);
	log_event(finished ? LOG_NOTICE : LOG_WARNING, LOG_ID_STOPPED, NULL,
		  "stopped after %" PRIu64 " requests; %zu connections handed "
		  "over%s",
		  figures.requests, hand_over(running),
		  finished ? "" : "; a statement was still running");
	return finished ? 0 : SERVER_E_STUCK;
}

static void done(struct running *running)
{
	struct service *service = &running->service;

	running->accept = accept_free(running->accept);
	service->committer = committer_free(service->committer);
	service->api_keys = api_keys_free(service->api_keys);
	service->webhook_keys = webhook_keys_free(service->webhook_keys);
	for (size_t i = 0; running->server.worker && i < running->thread_count;
	     i++)
		(void)db_close(running->server.worker[i].db);
	free(running->server.worker);
	if (running->signal_fd >= 0)
		(void)close(running->signal_fd);
	sockets_done(&running->sockets);
}

int server_run(const struct conf *conf, struct fault *reterr_fault)
{
	/* Static: threads that are stuck outlive this call. */
	static struct running running;
	int r;

	running = (struct running){ .conf = conf, .signal_fd = -1 };

	r = start(&running, reterr_fault);
	if (r == 0) {
		loop(&running);
		r = stop(&running);
	}
	if (r != SERVER_E_STUCK)
		done(&running);
	return r;
}
