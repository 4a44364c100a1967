/* SPDX-License-Identifier: MIT */
/*
 * The race for one job: two workers, a start on the wire for each attempt,
 * webhooks, a client, the sweeps, and a provider behind a network that loses,
 * repeats and delays. README.md says what stands for what, and why.
 *
 * Broken on purpose, each of them must be caught:
 *	NO_FENCE	 a worker's write does not compare its claim
 *	REPOST		 a start that got no answer is sent again
 *	KEEP_CLAIM	 a move from outside leaves the claim as it is
 *	START_CANCELLED	 a queued job is started though it is to be cancelled
 *	RETRY_ENDED	 a retry is ended by the start that it looks for
 *	LATE_PROGRESS	 a report of progress moves a queued job, always
 *	NO_RECLAIM	 nobody takes over a start whose poller died
 *
 * EVERYTHING	keeps what cannot matter any more: more states, the same verdict
 * COUNT	prints which rules were taken
 */

#define ATTEMPTS 2 /* paid starts: the rows of job_starts are 1 and 2 */

/* The names of the rule table. */
mtype = {
	queued, starting, start_unknown, processing, storing, completed,
	failed, cancelled
};
mtype = {
	input_invalid, start, unsent, not_started, throttled, refused,
	accepted, start_lost, not_found_yet, absent, gave_up, progress,
	no_answer, rendered, provider_failed, provider_faltered,
	provider_cancelled, store_again, store_failed, stored, cancel,
	cancel_tried, cancel_expired, deadline, retry, retry_reconcile,
	retry_store
};

/* ---- the row in execution_jobs ------------------------------------------ */

mtype status = queued;
byte attempt;
bit to_cancel;		 /* cancel_requested_at */
bit cancel_was_tried;	 /* cancel_tried_at */
bit restart_if_absent;
bit id_known;		 /* provider_job_id */
bit has_result;		 /* media_source */
bit billed_unknown;

/*
 * Two works in hand, of any two pollers or of one. Which poller has which
 * makes no difference, so they are kept by age: 0 is the one that claimed
 * last, 1 an older one.
 */
mtype = { newer, older }; /* as the story calls them */
typedef work {
	mtype was;	/* as claimed; 0: nothing in hand */
	byte about;	/* the attempt */
	bit saw_cancel;
	bit tried;	/* to cancel, before or by this work */
	bit restart;
	bit knows_id;
	mtype undo;	/* what it has to write, whatever else happens */
	bit unsure;	/* nobody knows whether "starting" was committed */
};
work w[2];

/* Whether a claim number is still the row's. The older work's never is. */
bit fresh;
bit wire_fresh[ATTEMPTS + 1];

/* ---- job_starts --------------------------------------------------------- */

/* Of the newest: nothing depends on those of the other any more. */
bit start_id;		 /* provider_job_id */
bit start_accepted;	 /* outcome */
bit stray[ATTEMPTS + 1]; /* cancel_at */

/* ---- the provider, and what is on its way ------------------------------- */

mtype report[ATTEMPTS + 1];	 /* what it says; 0: it has no such job */
bit flying[ATTEMPTS + 1];	 /* the start, on its way there */
mtype reply[ATTEMPTS + 1];	 /* its answer, on its way back */
bit cancel_flying[ATTEMPTS + 1]; /* a request to cancel, on its way there */

/* Who waits for the answer: 1 the poller that sent the start; 2 it wrote it
 * too late, and looks why; 3 it saw that nobody wants this start. */
byte heard[ATTEMPTS + 1];

/* ---- what only the properties look at ----------------------------------- */

bit retried; /* the client asked for another start than the first */

#define ENDED	   (status == completed || status == failed || \
		    status == cancelled)
#define MAY_RENDER (status == starting || status == start_unknown || \
		    status == processing)
/* It is paid for, and may still bring a result; or may yet be. */
#define LIVES(a)   (report[a] == progress || report[a] == rendered || flying[a])

/* ---- faults and time ---------------------------------------------------- */

/*
 * Anything may happen until, at any moment, the world turns for good:
 *	silent	 the provider says nothing any more, and every time is over:
 *		 the job has to end
 *	kind	 the newest start is rendered, the provider can be asked and the
 *		 list is true, no time runs out, nothing breaks: the job has to
 *		 complete
 * Then only workers and starts on the wire move, and not for ever.
 */
mtype = { wild, silent, kind };
mtype world = wild;
byte claims; /* since then */

#define CLAIMS_MOST 6

#define WILD	(world == wild)
#define ANSWERS (world != silent)
#define OVER	(world != kind)	  /* a deadline, or the like, may be */
#define IN_TIME (world != silent) /* it need not be */

/* ---- deciding and writing ----------------------------------------------- */

/* With these broken, only the double start is looked for. */
#if defined(NO_FENCE) || defined(REPOST)
#define CHECK(what) skip
#else
#define CHECK(what) assert(what)
#endif

/* Which rules the search took; the runner compares. */
#ifdef COUNT
#define TAKEN c_code { taken[__LINE__]++; };
c_decl {
	static unsigned long taken[1000];
	static void say_taken(void)
	{
		for (int i = 0; i < 1000; i++)
			if (taken[i])
				printf("taken: %d %lu\n", i, taken[i]);
	}
	static void __attribute__((constructor)) say_taken_at_exit(void)
	{
		atexit(say_taken);
	}
}
#else
#define TAKEN
#endif

/* Of one step; 0 between steps. */
mtype becomes; /* 0: no such rule */
mtype meant;
bit written;
bit heard_of;
bit blind; /* start 2 is to leave, start 1 lives, nobody asked for another */

#define FORGET becomes = 0; meant = 0; written = 0; heard_of = 0; blind = 0

#define RULE(from, on, to) :: x_was == from && x_on == on -> becomes = to; TAKEN

/* job_decide() */
inline decide(x_was, x_on)
{
	becomes = 0;
	if
#include "rules.pml"
	:: else -> skip
	fi
}

/* What the provider says of a failure may be anything, so the worst is. */
#define BILLED_UNKNOWN(was, on) (on == gave_up || on == cancel_expired || \
	on == deadline && was != queued || on == provider_failed || \
	on == provider_cancelled)

/* Whoever says this knows the provider's id. */
#define NAMES_ID(on) (on == accepted || on == progress || on == rendered || \
	on == provider_failed || on == provider_faltered || \
	on == provider_cancelled)

/* What is applied is about this attempt, and true. */
inline check_truth(x_on, x_a)
{
	CHECK(x_a == 0 || x_a == attempt);
	CHECK(!(x_on == rendered || x_on == stored) ||
	      report[attempt] == rendered);
	CHECK(!(x_on == accepted || x_on == progress) || report[attempt] != 0);
	CHECK(!(x_on == not_started || x_on == throttled) ||
	      report[attempt] == 0 && !flying[attempt]);
	CHECK(!(x_on == provider_failed || x_on == provider_faltered) ||
	      report[attempt] == provider_failed ||
	      report[attempt] == provider_faltered ||
	      report[attempt] == provider_cancelled);
	/* nobody but us cancels there, and we only if the client wants to */
	CHECK(x_on != provider_cancelled || to_cancel)
}

/*
 * Once start 2 is written ahead, what start 1 can still do to the row is
 * refused, whatever it is (README.md): one late answer stands for all.
 */
#if defined(NO_FENCE) || defined(EVERYTHING)
#define FORGET_FIRST stray[1] = 0; cancel_flying[1] = 0
#else
#define FORGET_FIRST \
	stray[1] = 0; \
	cancel_flying[1] = 0; \
	flying[1] = 0; \
	report[1] = progress; \
	heard[1] = (heard[1] == 1 -> 1 : 0); \
	reply[1] = (heard[1] -> accepted : 0)
#endif

#define FENCE_ALL fresh = 0; wire_fresh[1] = 0; wire_fresh[2] = 0

/* A move from outside (webhook, client, sweep) takes the job from whoever had
 * it, unless it stays in its state. */
inline set_row_outside(x_was, x_on, x_a, x_id)
{
#ifndef KEEP_CLAIM
	if
	:: becomes != x_was -> FENCE_ALL
	:: else -> skip
	fi;
#endif
	set_row(x_was, x_on, x_a, x_id)
}

/* Statement job_move after its comparisons. a: the attempt it is about, 0 for
 * none; id: it brings the provider's. */
inline set_row(x_was, x_on, x_a, x_id)
{
	check_truth(x_on, x_a);
	if
	:: x_on == start ->
		attempt++;
		start_id = 0;
		start_accepted = 0;
		if
		:: attempt > 1 ->
			blind = LIVES(1) && !retried;
			retried = 0;
			FORGET_FIRST
		:: else -> skip
		fi
	:: else -> skip
	fi;
	if
	:: x_was == failed || x_was == cancelled ->
		to_cancel = 0;
		cancel_was_tried = 0
	:: x_on == cancel && becomes == x_was -> to_cancel = 1
	:: x_on == cancel_tried -> cancel_was_tried = 1
	:: else -> skip
	fi;
	restart_if_absent = (restart_if_absent || x_on == retry_reconcile) &&
			    (becomes == start_unknown ||
			     becomes == processing || becomes == storing);
	id_known = (id_known || x_id) && becomes != queued &&
		   becomes != starting;
	has_result = (has_result || x_on == rendered) && becomes != queued &&
		     becomes != starting && becomes != completed;
	billed_unknown = (becomes == failed || becomes == cancelled) &&
			 BILLED_UNKNOWN(x_was, x_on);
	/* what it asked for was found: it is not another start */
	retried = retried && becomes != processing && becomes != storing;
	status = becomes;
	CHECK(status != processing || id_known)
}

#ifdef NO_FENCE
#define HOLDS(is_fresh) true
#else
#define HOLDS(is_fresh) is_fresh
#endif

/* A poller's write. The provider's id is kept even if the row has moved. */
inline write(x_was, x_on, x_a, is_fresh)
{
	written = 0;
	if
	:: NAMES_ID(x_on) && x_a == attempt -> start_id = 1; start_accepted = 1
	:: else -> skip
	fi;
	if
	:: status == x_was && HOLDS(is_fresh) ->
		decide(x_was, x_on);
		assert(becomes != 0);
		printf("\t%e: %e -> %e\n", x_on, x_was, becomes);
		set_row(x_was, x_on, x_a, NAMES_ID(x_on));
		written = 1
	:: else -> printf("\t%e: refused, the row has moved\n", x_on)
	fi
}

/* settle_tries() of advance.c, but for the counters: a start that fails in
 * passing may always be the last. */
inline settle(x_was, x_to_cancel, x_restart)
{
	if
	:: meant == provider_faltered && x_to_cancel ->
		meant = provider_cancelled
#ifndef RETRY_ENDED
	:: x_restart && !x_to_cancel && x_was == start_unknown &&
	   (meant == provider_failed || meant == provider_faltered ||
	    meant == provider_cancelled) -> meant = absent
	:: x_restart && !x_to_cancel && x_was == processing &&
	   meant == provider_cancelled -> meant = provider_faltered
#endif
	:: else -> skip
	fi
}

/* How an overtaken start goes on makes no difference to the job. */
#define WORKS(a) (report[a] == progress && a == attempt)

/* An unwanted start is cancelled, if it is not over. */
#define MARK_STRAY(a) stray[a] = WORKS(a)

/* ---- workers ------------------------------------------------------------ */

#ifdef START_CANCELLED
#define MAY_START true
#else
#define MAY_START (!MINE.saw_cancel)
#endif

#ifdef NO_RECLAIM
#define MAY_RECLAIM (status != starting)
#else
#define MAY_RECLAIM true
#endif

#define MINE	 w[me]
#define IS_FRESH (me == 0 && fresh)
#define WHO	 (me == 0 -> newer : older)
/* Its lease is renewed for as long as the holder is well. */
#define HELD	 (fresh || wire_fresh[1] || wire_fresh[2])

inline forget_work(i)
{
	w[i].was = 0;
	w[i].about = 0;
	w[i].saw_cancel = 0;
	w[i].tried = 0;
	w[i].restart = 0;
	w[i].knows_id = 0;
	w[i].undo = 0;
	w[i].unsure = 0
}

inline copy_work(from, to)
{
	w[to].was = w[from].was;
	w[to].about = w[from].about;
	w[to].saw_cancel = w[from].saw_cancel;
	w[to].tried = w[from].tried;
	w[to].restart = w[from].restart;
	w[to].knows_id = w[from].knows_id;
	w[to].undo = w[from].undo;
	w[to].unsure = w[from].unsure
}

/* The work is over; an older one moves up. */
inline drop()
{
	if
	:: me == 0 -> copy_work(1, 0); fresh = 0
	:: else -> skip
	fi;
	forget_work(1);
	FORGET
}

inline say_and_drop(x_on)
{
	printf("%e worker:\n", WHO);
	write(MINE.was, x_on, MINE.about, IS_FRESH);
	drop()
}

proctype worker(byte me)
{
end:	do
	/* job_claim: it is due, or the lease of who had it is over */
	:: d_step { me == 0 && !ENDED && (w[0].was == 0 || w[1].was == 0) &&
		    (!HELD || WILD) && MAY_RECLAIM ->
		printf("a worker claims the job, which is %e\n", status);
		assert(WILD || claims < CLAIMS_MOST);
		claims = (WILD -> 0 : claims + 1);
		if
		:: w[0].was -> copy_work(0, 1); forget_work(0)
		:: else -> skip
		fi;
		FENCE_ALL;
		fresh = 1;
		w[0].was = status;
		w[0].about = attempt;
		w[0].saw_cancel = to_cancel && status != starting &&
				  status != storing;
		w[0].tried = cancel_was_tried && status == processing;
		w[0].restart = restart_if_absent && (status == start_unknown ||
						     status == processing);
		w[0].knows_id = (id_known || start_id) &&
				status == start_unknown
	   }
	/* it dies, or is told to stop, or learns that its lease is lost */
	:: d_step { MINE.was && WILD ->
		printf("%e worker is gone\n", WHO);
		drop()
	   }

	/* start_begin() */
	:: atomic { MINE.was == queued && !MINE.undo && !MINE.saw_cancel &&
		    (OVER || MINE.about == ATTEMPTS) ->
		if
		:: OVER -> meant = deadline
		:: OVER -> meant = input_invalid
		:: meant = refused /* or there is no attempt 3 in the model */
		:: WILD -> meant = unsent
		fi;
		d_step { say_and_drop(meant) }
	   }
	:: d_step { MINE.was == queued && !MINE.undo && MINE.saw_cancel ->
		say_and_drop(cancel)
	   }
	/* written ahead, and then it leaves */
	:: atomic { MINE.was == queued && !MINE.undo && MINE.about < ATTEMPTS &&
		    MAY_START && IN_TIME ->
		d_step {
			printf("%e worker:\n", WHO);
			write(queued, start, 0, IS_FRESH);
			if
			:: written -> MINE.was = starting; MINE.about = attempt
			:: else -> drop()
			fi
		};
		if
		:: !written -> skip
		:: d_step { written ->
			printf("%e worker sends start %d\n", WHO, attempt);
			CHECK(!to_cancel);
			assert(!blind);
			flying[attempt] = 1;
			heard[attempt] = 1;
			wire_fresh[attempt] = IS_FRESH;
			drop()
		   }
		:: d_step { written && WILD ->
			printf("%e worker is gone before it sends\n", WHO);
			drop()
		   }
		:: d_step { written && WILD -> MINE.undo = unsent }
		:: written && OVER -> MINE.undo = refused
		/* the connection broke: it does not know that it was written */
		:: d_step { written && WILD ->
			MINE.undo = unsent;
			MINE.unsure = 1
		   }
		fi;
		d_step { FORGET }
	   }
	/* the connection broke, and it was not */
	:: d_step { MINE.was == queued && !MINE.undo && MINE.about < ATTEMPTS &&
		    MAY_START && IN_TIME && WILD ->
		MINE.was = starting;
		MINE.about++;
		MINE.undo = unsent;
		MINE.unsure = 1
	   }
	:: d_step { MINE.undo ->
		printf("%e worker takes it back:\n", WHO);
		write(MINE.was, MINE.undo, MINE.about, IS_FRESH);
		if
		:: !written && MINE.unsure ->
			MINE.was = queued;
			MINE.about--;
			MINE.unsure = 0;
			FORGET
		:: else -> drop()
		fi
	   }

	/* start_found() */
	:: d_step { MINE.was == starting && !MINE.undo ->
#ifdef REPOST
		say_and_drop(not_started)
#else
		say_and_drop(start_lost)
#endif
	   }

	/* reconcile_begin(): by its id, or else by the list */
	:: atomic { MINE.was == start_unknown ->
		if
		:: MINE.saw_cancel && OVER -> meant = cancel_expired
		:: report[MINE.about] && ANSWERS -> meant = report[MINE.about]
		:: report[MINE.about] && WILD -> meant = progress
		:: report[MINE.about] == provider_faltered && WILD ->
			meant = provider_failed
		:: report[MINE.about] && !MINE.knows_id && WILD ->
			meant = accepted
		:: !MINE.knows_id && MINE.restart &&
		   (WILD || !report[MINE.about]) -> meant = absent
		:: !MINE.knows_id && !MINE.restart && IN_TIME &&
		   (WILD || !report[MINE.about]) -> meant = not_found_yet
		:: WILD -> meant = no_answer
		:: OVER -> meant = gave_up
		fi;
		d_step {
			heard_of = NAMES_ID(meant);
			settle(MINE.was, MINE.saw_cancel, MINE.restart);
			if
			:: heard_of && MINE.about == attempt ->
				start_accepted = 1
			:: else -> skip
			fi;
			say_and_drop(meant)
		}
	   }

	/* check_begin() */
	:: d_step { MINE.was == processing && MINE.saw_cancel && !MINE.tried ->
		printf("%e worker asks the provider to cancel\n", WHO);
		MINE.tried = 1;
		cancel_flying[MINE.about] = WORKS(MINE.about)
	   }
	:: atomic { MINE.was == processing ->
		if
		:: ANSWERS -> meant = report[MINE.about]
		:: WILD -> meant = progress
		:: WILD -> meant = accepted
		:: report[MINE.about] == provider_faltered && WILD ->
			meant = provider_failed
		:: OVER -> meant = no_answer
		:: MINE.saw_cancel && MINE.tried && !cancel_was_tried ->
			meant = cancel_tried
		fi;
		settle(MINE.was, MINE.saw_cancel, MINE.restart);
		if
		:: meant != progress && meant != accepted &&
		   meant != no_answer && meant != cancel_tried -> skip
		:: else ->
			if
			:: MINE.saw_cancel && OVER -> meant = cancel_expired
			:: OVER -> meant = deadline
			:: IN_TIME -> skip
			fi
		fi;
		d_step {
			printf("%e worker:\n", WHO);
			write(MINE.was, meant, MINE.about, IS_FRESH);
			if
			:: written && (meant == deadline ||
				       meant == cancel_expired && !MINE.tried) ->
				MARK_STRAY(MINE.about)
			:: else -> skip
			fi;
			drop()
		}
	   }

	/* complete_begin() */
	:: atomic { MINE.was == storing ->
		if
		:: meant = stored
		:: WILD -> meant = store_again
		:: OVER -> meant = store_failed
		fi;
		d_step { say_and_drop(meant) }
	   }
	od
}

/* ---- a start on the wire ------------------------------------------------ */

proctype wire(byte a)
{
end:	do
	/* the answer is written */
	:: d_step { heard[a] == 1 && reply[a] ->
#ifdef REPOST
		if
		:: reply[a] == start_lost -> reply[a] = not_started
		:: else -> skip
		fi;
#endif
		printf("start %d is answered\n", a);
		write(starting, reply[a], a, wire_fresh[a]);
		heard[a] = (!written && NAMES_ID(reply[a]) -> 2 : 0);
		reply[a] = 0;
		wire_fresh[a] = 0;
		FORGET
	   }
	/* the same, and the connection broke: it seems to be late */
	:: d_step { heard[a] == 1 && NAMES_ID(reply[a]) && WILD ->
		printf("start %d is answered; the connection breaks\n", a);
		write(starting, reply[a], a, wire_fresh[a]);
		heard[a] = 2;
		reply[a] = 0;
		wire_fresh[a] = 0;
		FORGET
	   }
	/* no answer in time; what was sent may still arrive */
	:: d_step { heard[a] == 1 && reply[a] == 0 &&
		    (world != kind || !flying[a]) ->
		reply[a] = start_lost
	   }
	/* it never left */
	:: d_step { heard[a] == 1 && flying[a] && WILD ->
		flying[a] = 0;
		reply[a] = not_started
	   }
	/* its poller dies */
	:: d_step { heard[a] && WILD ->
		printf("the poller that sent start %d is gone\n", a);
		heard[a] = 0;
		reply[a] = 0;
		wire_fresh[a] = 0
	   }
	/* check_late() */
	:: d_step { heard[a] == 2 ->
		heard[a] = (attempt == a && (!ENDED || id_known) -> 0 : 3)
	   }
	:: d_step { heard[a] == 3 ->
		printf("start %d is not wanted any more\n", a);
		heard[a] = 0;
		start_id = start_id || a == attempt;
		MARK_STRAY(a)
	   }
	od
}

/* ---- the provider ------------------------------------------------------- */

/* Who is asked to cancel what has ended does nothing. */
inline end_as(how)
{
	report[a] = how;
	cancel_flying[a] = 0;
	stray[a] = 0
}

/* The start is not on its way any more. Its answer is heard if somebody is
 * there. */
inline take(with)
{
	flying[a] = 0;
	if
	:: heard[a] == 1 -> reply[a] = with
	:: else -> skip
	fi
}

proctype provider(byte a)
{
end:	do
	/* the start arrives, or is lost */
	:: d_step { flying[a] && WILD -> report[a] = progress; take(accepted) }
	:: d_step { flying[a] && WILD -> report[a] = progress; take(start_lost)
	   }
	:: d_step { flying[a] && ANSWERS -> report[a] = rendered; take(rendered)
	   }
	:: d_step { flying[a] && WILD -> take(start_lost) }
	:: d_step { flying[a] && WILD -> take(not_started) }
	:: d_step { flying[a] && WILD -> take(throttled) }
	:: d_step { flying[a] && WILD -> take(refused) }
	/* it works */
	:: d_step { WORKS(a) && WILD -> end_as(rendered) }
	:: d_step { WORKS(a) && WILD -> end_as(provider_failed) }
	:: d_step { WORKS(a) && WILD -> end_as(provider_faltered) }
	/* it is asked to stop, and does, or does not, or never hears of it */
	:: d_step { cancel_flying[a] && WILD -> end_as(provider_cancelled) }
	:: d_step { cancel_flying[a] && WILD -> cancel_flying[a] = 0 }
	/* start_claim_stray: our poller asks it to */
	:: d_step { stray[a] && WILD -> stray[a] = 0; cancel_flying[a] = 1 }
	od
}

/* ---- webhooks: any number of times, in any order, or never -------------- */

inline deliver(a, what)
{
	printf("a webhook: start %d, %e\n", a, what);
	if
#ifndef LATE_PROGRESS
	/* it was heard of, and is over, or the job would not be queued */
	:: what == progress && status == queued && start_accepted ->
		start_id = 1
#endif
	:: else ->
		start_id = 1;
		meant = what;
		settle(status, to_cancel, restart_if_absent);
		decide(status, meant);
		/* a result that a job waits for is never turned away */
		CHECK(what != rendered || ENDED || status == storing ||
		      becomes == storing);
		if
		:: becomes == 0 -> skip /* stale or odd: only noted */
		:: else ->
			printf("\t%e: %e -> %e\n", meant, status, becomes);
			start_accepted = 1;
			set_row_outside(status, meant, a, 1)
		fi
	fi;
	FORGET
}

/* Of a start that a newer one has overtaken they only leave notes. */
#define REPORTS (WILD && a == attempt && report[a])

proctype webhook(byte a)
{
end:	do
	:: d_step { REPORTS -> deliver(a, report[a]) }
	/* one that comes late */
	:: d_step { REPORTS && report[a] != progress -> deliver(a, progress) }
	/* the last try: settle_tries() counts */
	:: d_step { REPORTS && report[a] == provider_faltered ->
		deliver(a, provider_failed)
	   }
	/* a note that was decided before something moved the row */
	:: d_step { REPORTS && !start_id -> start_id = 1 }
	od
}

/* ---- the client --------------------------------------------------------- */

inline ask_for(what)
{
	decide(status, what);
	assert(becomes != 0);
	printf("the client: %e: %e -> %e\n", what, status, becomes);
	set_row_outside(status, what, 0, what == retry_reconcile && start_id);
	FORGET
}

proctype client()
{
end:	do
	:: d_step { WILD && !ENDED && !(to_cancel && MAY_RENDER) ->
		ask_for(cancel)
	   }
	:: atomic { WILD && (status == failed || status == cancelled) ->
		if
		:: has_result -> meant = retry_store
		:: has_result -> meant = retry /* what is gone, or no media */
		:: !has_result && attempt > 0 && billed_unknown ->
			meant = retry_reconcile
		:: !has_result && !(attempt > 0 && billed_unknown) ->
			meant = retry
		fi;
		d_step {
			retried = attempt == 1;
#ifndef RETRY_ENDED
			stray[attempt] = stray[attempt] &&
					 meant != retry_reconcile;
#endif
			ask_for(meant)
		}
	   }
	od
}

/* ---- job_overdue -------------------------------------------------------- */

proctype sweep()
{
end:	do
	:: d_step { WILD && (status == queued || status == start_unknown ||
			     status == processing) ->
		decide(status, deadline);
		assert(becomes != 0);
		printf("a sweep: deadline: %e -> failed\n", status);
		if
		:: status != queued && start_id -> MARK_STRAY(attempt)
		:: else -> skip
		fi;
		set_row_outside(status, deadline, 0, 0);
		FORGET
	   }
	od
}

/* ---- how it comes out --------------------------------------------------- */

#define SILENCE(a) \
	report[a] = (report[a] == rendered -> rendered : 0); \
	flying[a] = 0; \
	cancel_flying[a] = 0; \
	stray[a] = 0; \
	heard[a] = (heard[a] == 1 -> 1 : 0); \
	reply[a] = (heard[a] -> start_lost : 0)

init {
	atomic {
		run worker(0);
		run worker(1);
		run wire(1);
		run wire(2);
		run provider(1);
		run provider(2);
		run webhook(1);
		run webhook(2);
		run client();
		run sweep()
	}
	if
	:: d_step { WILD && !ENDED ->
		printf("the provider says nothing any more\n");
		world = silent;
		SILENCE(1);
		SILENCE(2);
		start_id = 0;
		start_accepted = 0;
		retried = 0
	   };
	   timeout;
	   assert(ENDED)
	:: d_step { WILD && (MAY_RENDER || status == storing) &&
		    (report[attempt] == progress ||
		     report[attempt] == rendered) ->
		printf("nothing goes wrong any more\n");
		world = kind;
		if
		:: report[attempt] == progress ->
			report[attempt] = rendered;
			cancel_flying[attempt] = 0;
			stray[attempt] = 0
		:: else -> skip
		fi
	   };
	   timeout;
	   assert(status == completed)
	fi
}
