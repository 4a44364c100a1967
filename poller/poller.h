/* SPDX-License-Identifier: MIT */
#ifndef POLLER_POLLER_H
#define POLLER_POLLER_H

#include "common/io/conf.h"
#include "common/io/db.h"
#include "common/io/http_client.h"
#include "common/io/store.h"
#include "common/io/transfer_pool.h"
#include "common/io/workers.h"
#include "common/provider/provider.h"
#include "poller/rest.h"
#include "poller/work.h"

#include <systemd/sd-event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One poller at its work: what everything here is given. There is one event
 * loop, whose thread has all of this but the connection to the database; each
 * file owns the members under its name.
 */

enum {
	POLLER_IN_HAND_MOST = 2000, /* claimed jobs at once */
	POLLER_PROVIDERS = CONF_PROVIDERS,
};

/* An OAuth access token, and who waits for it (token.c). */
struct token {
	struct arena *arena;   /* of the token in use; NULL: none */
	int64_t refresh_at_ms; /* monotonic; from then on a new one is bought */
	struct http_exchange *exchange; /* that buys one */
	struct work_queue waiting;
};

/* Verification keys of a provider's webhooks (keys.c). */
struct keys {
	int64_t stale_at_ms; /* monotonic; when the hour is over */
	int64_t again_at_ms; /* monotonic; not before, not even on wake */
	bool known; /* whether the database was asked how old they are */
	struct http_exchange *exchange;
};

struct provider_state {
	struct poller *poller;
	size_t index;
	const struct provider_ops *ops;
	const struct provider_settings *settings;
	struct provider_conf conf;
	bool configured;

	struct token token;
	struct keys keys;

	/* gate.c: exchanges since the last report */
	int32_t failed;
	int32_t succeeded;

	/* start.c */
	struct work_queue ready; /* prepared, not yet written ahead */
	size_t written_ahead;	 /* being so, not yet sent */
	size_t on_wire;
};

struct poller {
	const struct conf *conf;
	struct arena *arena; /* what lives as long as the poller */
	sd_event *event;
	struct workers *aside; /* one thread, which waits for the database */
	struct db *db;	       /* the thread's while it has something to do */
	struct http_client *http;
	struct store *store;
	struct transfer_pool *transfers;
	struct provider_state provider[POLLER_PROVIDERS];
	size_t provider_count;

	struct works works;

	/* write.c */
	struct work_queue writing;

	/* outbox.c */
	struct work_queue outbox;
	bool outbox_writing;	       /* some of it */
	bool outbox_busy;	       /* much of it, the last time */
	sd_event_source *outbox_idle;  /* when nothing else is to be done */
	sd_event_source *outbox_timer; /* at the latest, and after failures */
	bool outbox_waits;	       /* for the database to come back */
	bool unsettled;	    /* ended jobs have dependents to be told */
	uint64_t completed; /* jobs, since the start */

	/* look.c */
	int wake_fd; /* -1: nobody wakes us */
	sd_event_source *wake_source;
	sd_event_source *look_timer;
	sd_event_source *linger_timer;
	sd_event_source *say_timer;
	int64_t looked_at_ms;	 /* monotonic; 0: not yet */
	int64_t looked_round_ms; /* the same, at everything */
	int64_t look_at_ms;	 /* monotonic; when the timer fires */
	uint32_t idle_looks;	 /* that found nothing although work was due */
	int64_t next_due_ms;	 /* as of the last look; REST_NEVER */
	bool configured;	 /* provider_configure was done */
	bool woken;		 /* since the last look */
	bool claiming;		 /* a look is under way */
	int64_t look_begun_ms;	 /* monotonic */
	int64_t look_took_ms;	 /* the last one */
	int look_found;		 /* and claimed; negative: failed */
	int64_t look_again_ms;	 /* monotonic; wished for meanwhile */
	bool lingering;
	bool grown; /* by much work, and not trimmed since */

	/* renew.c */
	sd_event_source *renew_timer;
	int64_t renewed_at_ms;

	/* start.c */
	sd_event_source *start_source; /* sends the next groups */
	sd_event_source *start_timer;  /* the same, after failures */
	struct work_queue late;	       /* whose start was answered too late */

	sd_event_source *gate_timer;

	/* sweep.c */
	sd_event_source *sweep_timer;
	int64_t slots_checked_ms; /* monotonic */
	bool swept;		  /* once since the start */

	/* stray.c */
	struct stray *strays;
	size_t stray_count;

	/* query.c */
	bool database_lost;
	uint32_t database_tries;

	/* stop.c */
	sd_event_source *stop_timer;
	bool stopping; /* nothing new is begun */
	bool closing;  /* everything is being freed */
	int exit_status;
};

/**
 * Make a poller that is ready to look: store, client and loop are there, the
 * database is asked for by the first look.
 *
 * @conf     must outlive it
 * @wake_fd  the socket systemd passed, or -1; stays the caller's
 *
 * @return 0; -EINVAL, -ENOENT and the like for what the configuration names
 *	   and cannot be used; -EPROTO for a database without our schema;
 *	   -ENOMEM
 */
_must_check_ int poller_new(const struct conf *conf, int wake_fd,
			    struct poller **ret, struct fault *reterr_fault);
struct poller *poller_free(struct poller *poller);
DEFINE_CLEANUP(struct poller *, poller_free);

/* Work until nothing is due, or told to stop. @return the exit status */
int poller_run(struct poller *poller);

/* Anything that is not finished: jobs, questions, things to be written. */
bool poller_is_busy(const struct poller *poller);

/* The state of a provider by its name, or NULL. */
struct provider_state *poller_provider(struct poller *poller, const char *name);

/* A one-shot timer of the loop's, not armed yet. */
_must_check_ int poller_add_timer(struct poller *poller, sd_event_source **ret,
				  sd_event_time_handler_t handler,
				  struct fault *reterr_fault);

/* Arm it: in so many milliseconds from now, sooner or later than before. */
void poller_arm(sd_event_source *timer, int64_t in_ms);

/* Tell systemd how it goes (systemctl status). */
void poller_say(struct poller *poller);

/* Something is wrong that running on will not mend: log it and end. */
void poller_fail(struct poller *poller, const char *why);

#endif
