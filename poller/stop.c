/* SPDX-License-Identifier: MIT */
#include "poller/stop.h"

#include "common/io/log.h"
#include "poller/gate.h"
#include "poller/keys.h"
#include "poller/look.h"
#include "poller/outbox.h"
#include "poller/start.h"
#include "poller/stray.h"
#include "poller/token.h"

#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { STOP_MOST_MS = 35 * 1000 };

/* Questions can be asked again by somebody else; starts cannot. */
void stop_give_back(struct poller *poller)
{
	struct work *next;

	start_give_back(poller);
	for (struct work *work = poller->works.first; work; work = next) {
		next = work->next;
		if (work->on_wire || work_is_decided(work))
			continue;
		http_exchange_cancel(work->exchange);
		work->exchange = NULL;
		if (work->stop) {
			work->stop(work);
			work->stop = NULL;
		}
		if (work->hashed && !job_is_terminal(work->job.state))
			work_postpone(work, 0, work->error_code, NULL);
		else
			work_free(work);
	}
}

static int on_signal(sd_event_source *source,
		     const struct signalfd_siginfo *info, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	if (poller->stopping) {
		log_event(LOG_WARNING, LOG_ID_STOPPED, NULL,
			  "told to stop again: %zu jobs are left to their "
			  "leases",
			  poller->works.count);
		(void)sd_event_exit(poller->event, 0);
		return 0;
	}
	poller->stopping = true;
	(void)sd_notify(0, "STOPPING=1");
	log_event(LOG_NOTICE, LOG_ID_STOPPED, NULL,
		  "told to stop (signal %u) with %zu jobs in hand",
		  info->ssi_signo, poller->works.count);
	poller->swept = true;
	stray_done(poller);
	keys_done(poller);
	stop_give_back(poller);
	token_done(poller);
	outbox_flush(poller);
	gate_report(poller);
	poller_arm(poller->stop_timer, STOP_MOST_MS);
	look_after_work(poller);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct poller *poller = userdata;

	(void)source;
	(void)usec;
	log_event(LOG_WARNING, LOG_ID_STOPPED, NULL,
		  "stopping took too long: %zu jobs are left to their leases",
		  poller->works.count);
	(void)sd_event_exit(poller->event, 0);
	return 0;
}

int stop_init(struct poller *poller, struct fault *reterr_fault)
{
	int r;

	r = sd_event_add_signal(poller->event, NULL, SIGTERM, on_signal,
				poller);
	if (r >= 0)
		r = sd_event_add_signal(poller->event, NULL, SIGINT, on_signal,
					poller);
	if (r < 0)
		return fault_set(reterr_fault, r, "no signals: %s",
				 strerror(-r));
	return poller_add_timer(poller, &poller->stop_timer, on_timer,
				reterr_fault);
}

void stop_done(struct poller *poller)
{
	poller->stop_timer = sd_event_source_disable_unref(poller->stop_timer);
}
