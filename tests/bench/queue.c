/* SPDX-License-Identifier: MIT */
/*
 * queue URL [NAME=VALUE]... - the queue alone: jobs through their whole life
 * by the programs' own statements and functions, without HTTP, providers and
 * media around them. Prints a line of JSON after each step, what it took, and
 * ends with its input.
 *
 *	jobs=20000     how many
 *	insert=1000    jobs a call of submit_commit()
 *	batch=500      jobs a claim, moves a moves_apply()
 *	clients=2      threads, each with a connection
 *	wide=1         jobs an execution
 *	children=0     1: every second job depends on the one before it;
 *	               2: all depend on the first of their execution
 *	media=0        files stored with each job
 */
#include "common/base/dice.h"
#include "common/flow/move.h"
#include "common/flow/submit.h"
#include "common/io/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	ARENA_BYTES = 64 * 1024 * 1024,
	CLIENTS_MAX = 64,
	LEASE_MS = 60000,
};

#define PROVIDER "replicate"
#define MODEL	 "black-forest-labs/flux-1.1-pro"
#define INPUT	 "{\"prompt\":\"a lighthouse at dawn, slow push in\"}"
#define URL	 "https://delivery.example/a1b2c3d4e5f6/out-0.webp"
#define MEDIA                                                                  \
	"[{\"index\":0,\"key\":\"2026/11/a1b2c3d4e5f6/0.webp\",\"url\":"       \
	"\"https://media.example/2026/11/a1b2c3d4e5f6/0.webp\","               \
	"\"content_type\":\"image/webp\",\"bytes\":262144,\"sha256\":"         \
	"\"000102030405060708090a0b0c0d0e0f"                                   \
	"000102030405060708090a0b0c0d0e0f\"}]"

struct options {
	const char *url;
	long jobs, insert, batch, clients, wide, children, media;
};

/* A job in a worker's hand. */
struct held {
	char id[UUID_SIZE];
	int64_t claim;
	bool childless;
};

struct worker {
	const struct options *options;
	const struct step *step;
	struct db *db;
	pthread_t thread;
	struct held *held;
	size_t held_count;

	/* of the step that runs */
	double *call_ms;
	size_t calls;
	long done, errors;
};

/* One step of a job's life; run() does all of a worker's share. */
struct step {
	const char *name;
	void (*run)(struct worker *worker);
	enum job_state was;
	enum job_event event;
};

static atomic_long submitted; /* jobs of this step so far, of all workers */

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void complain(struct worker *worker, const char *what, const char *why)
{
	if (worker->errors++ == 0)
		(void)fprintf(stderr, "queue: %s: %s: %s\n", worker->step->name,
			      what, why);
}

static void count_call(struct worker *worker, double begun_ms, long done)
{
	worker->call_ms[worker->calls++] = now_ms() - begun_ms;
	worker->done += done;
}

/* ---- submitting --------------------------------------------------------- */

/* An execution of options->wide jobs. */
static struct submission pipeline(const struct options *options,
				  struct arena *arena)
{
	size_t count = (size_t)options->wide;
	struct submission_job *jobs = arena_alloc(arena, count * sizeof(*jobs));
	uint32_t *parents = arena_alloc(arena, count * sizeof(*parents));
	struct submission submission = { .job = jobs, .job_count = count };

	for (size_t i = 0; jobs && parents && i < count; i++) {
		jobs[i] = (struct submission_job){
			.name = arena_printf(arena, "job%zu", i),
			.provider = PROVIDER,
			.model = MODEL,
			.input = INPUT,
			.on_dependency_failure = POLICY_FAIL,
		};
		if ((options->children == 1 && i % 2 == 1) ||
		    (options->children == 2 && i > 0)) {
			parents[i] =
				options->children == 1 ? (uint32_t)i - 1 : 0;
			jobs[i].depends_on = &parents[i];
			jobs[i].depends_on_count = 1;
			submission.edge_count++;
		}
	}
	return submission;
}

static void submit_call(struct worker *worker, size_t executions)
{
	static const char body[] = "{\"jobs\":[]}";
	const struct submit_options how = {
		.owner = "demo",
		.body = body,
		.body_bytes = sizeof(body) - 1,
		.deadline_s = 21600,
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct submission submission = pipeline(worker->options, arena);
	struct submit_item *items =
		arena_alloc(arena, executions * sizeof(*items));
	struct submit_item **order =
		arena_alloc(arena, executions * sizeof(struct submit_item *));
	struct fault fault = { "" };
	double begun_ms = now_ms();
	long stored = 0;

	for (size_t i = 0; order && i < executions; i++) {
		if (submit_prepare(&submission, &how, arena, &items[i],
				   &fault) < 0)
			return complain(worker, "prepare", fault.text);
		order[i] = &items[i];
	}
	if (!order)
		return complain(worker, "prepare", "no memory");
	submit_commit(worker->db, order, executions, arena);
	for (size_t i = 0; i < executions; i++) {
		if (items[i].outcome == SUBMIT_STORED)
			stored += worker->options->wide;
		else
			complain(worker, "commit", "not stored");
	}
	count_call(worker, begun_ms, stored);
}

static void run_submit(struct worker *worker)
{
	const struct options *options = worker->options;
	long executions = options->insert / options->wide;
	long jobs;

	if (executions < 1)
		executions = 1;
	jobs = executions * options->wide;
	while (worker->errors == 0 &&
	       atomic_fetch_add(&submitted, jobs) < options->jobs)
		submit_call(worker, (size_t)executions);
}

/* ---- claiming ----------------------------------------------------------- */

static void hold(struct worker *worker, const PGresult *rows,
		 struct arena *arena)
{
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);
		struct held *held = &worker->held[worker->held_count];
		const char *id = db_row_text(&row, "id");
		struct fault fault = { "" };

		held->claim = db_row_int64(&row, "claim");
		held->childless = db_row_bool(&row, "childless");
		if (db_row_end(&row, &fault) < 0)
			return complain(worker, "claim", fault.text);
		if (worker->held_count == (size_t)worker->options->jobs)
			return complain(worker, "claim", "more than there are");
		(void)snprintf(held->id, sizeof(held->id), "%s", id);
		worker->held_count++;
	}
}

static void run_claim(struct worker *worker)
{
	const char *provider = PROVIDER;
	const char *state = job_state_name(worker->step->was);
	int64_t most = worker->options->batch;
	int rows_count;

	worker->held_count = 0;
	do {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		_cleanup_(db_result_freep) PGresult *rows = NULL;
		const char *params[] = {
			db_array_text(&provider, 1, arena),
			db_array_text(&state, 1, arena),
			db_array_int64(&most, 1, arena),
			arena_printf(arena, "%d", LEASE_MS),
		};
		struct fault fault = { "" };
		double begun_ms = now_ms();

		if (db_run(worker->db, DB_job_claim, params, &rows, &fault))
			return complain(worker, "claim", fault.text);
		hold(worker, rows, arena);
		rows_count = db_rows(rows);
		if (rows_count > 0)
			count_call(worker, begun_ms, rows_count);
	} while (rows_count > 0 && worker->errors == 0);
}

/* ---- moving ------------------------------------------------------------- */

static struct move make_move(const struct worker *worker,
			     const struct held *held,
			     const struct job_decision *decision,
			     struct arena *arena)
{
	const struct step *step = worker->step;
	struct move move =
		move_init(held->id, step->event, step->was, decision);

	move.claim = held->claim;
	move.childless = held->childless;
	move.attempt = step->event == JOB_START ? 0 : 1;
	switch (step->event) {
	case JOB_START:
		move.lease_ms = LEASE_MS;
		break;
	case JOB_ACCEPTED:
		move.due_ms = 0; /* asked about next */
		move.start_outcome = "accepted";
		move.provider_job_id = held->id; /* unique, as theirs are */
		break;
	case JOB_PROGRESS: /* of a question: still the same */
		move.quiet = true;
		move.due_ms = 30000;
		move.poll_attempts = 1;
		move.start_failures = 0;
		break;
	case JOB_RENDERED: /* a webhook: from outside */
		move.claim = MOVE_ANY;
		move.due_ms = 0;
		move.via = "webhook";
		move.output = "\"" URL "\"";
		move.media_source = "[{\"url\":\"" URL "\"}]";
		move.delivery_key = arena_printf(arena, "msg_%s", held->id);
		break;
	default:
		if (worker->options->media)
			move.media = MEDIA;
		break;
	}
	return move;
}

/* @return one result for each, or NULL */
static struct move_result *move_all(struct worker *worker,
				    const struct held *held, size_t count,
				    struct arena *arena)
{
	struct move *moves = arena_alloc(arena, count * sizeof(*moves));
	struct move_result *results =
		arena_alloc(arena, count * sizeof(*results));
	const struct move_batch batch = { moves, count, false };
	struct job_decision decision;
	struct fault fault = { "" };

	if (!moves || !results ||
	    job_decide(worker->step->was, worker->step->event, &decision) !=
		    0) {
		complain(worker, "move", "cannot be made");
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		moves[i] = make_move(worker, &held[i], &decision, arena);
	if (moves_apply(worker->db, &batch, arena, results, NULL, &fault) < 0) {
		complain(worker, "move", fault.text);
		return NULL;
	}
	return results;
}

static void move_call(struct worker *worker, size_t first, size_t count)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	double begun_ms = now_ms();
	const struct move_result *results =
		move_all(worker, &worker->held[first], count, arena);
	long done = 0;

	for (size_t i = 0; results && i < count; i++) {
		if (results[i].outcome == MOVE_DONE)
			done++;
		else
			complain(worker, "move", "lost");
	}
	count_call(worker, begun_ms, done);
}

/* Statements are planned when they are used first, once a connection: no part
 * of what a call costs. A job that is not there goes nowhere. */
static void warm(struct worker *worker, const struct step *step)
{
	static const struct held nobody = {
		.id = "00000000-0000-7000-8000-000000000000",
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	worker->step = step;
	(void)move_all(worker, &nobody, 1, arena);
}

static void run_move(struct worker *worker)
{
	size_t batch = (size_t)worker->options->batch;

	for (size_t i = 0; i < worker->held_count && worker->errors == 0;
	     i += batch) {
		size_t left = worker->held_count - i;

		move_call(worker, i, left < batch ? left : batch);
	}
}

/* ---- all steps, all workers --------------------------------------------- */

static const struct step steps[] = {
	{ "insert", run_submit, 0, 0 },
	{ "claim", run_claim, JOB_QUEUED, 0 },
	{ "start", run_move, JOB_QUEUED, JOB_START },
	{ "accepted", run_move, JOB_STARTING, JOB_ACCEPTED },
	{ "claim to ask", run_claim, JOB_PROCESSING, 0 },
	{ "asked", run_move, JOB_PROCESSING, JOB_PROGRESS },
	{ "rendered", run_move, JOB_PROCESSING, JOB_RENDERED },
	{ "claim to store", run_claim, JOB_STORING, 0 },
	{ "complete", run_move, JOB_STORING, JOB_STORED },
};

static void *work(void *context)
{
	struct worker *worker = context;

	worker->step->run(worker);
	return NULL;
}

static int by_size(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return a < b ? -1 : a > b;
}

static double percentile(const double *sorted, size_t count, double p)
{
	size_t place = (size_t)ceil((double)count * p);

	return count ? sorted[place ? place - 1 : 0] : 0;
}

static void report(const struct step *step, const struct worker *workers,
		   long clients, double seconds, double cpu_s)
{
	size_t calls = 0, n = 0;
	long done = 0, errors = 0;
	double *all;
	json_t *object;
	char *text;

	for (long i = 0; i < clients; i++)
		calls += workers[i].calls;
	all = calloc(calls + 1, sizeof(*all));
	for (long i = 0; i < clients; i++) {
		for (size_t j = 0; all && j < workers[i].calls; j++)
			all[n++] = workers[i].call_ms[j];
		done += workers[i].done;
		errors += workers[i].errors;
	}
	if (n > 0)
		qsort(all, n, sizeof(*all), by_size);
	object = json_pack(
		"{s:s, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f}", "step",
		step->name, "rate", (double)done / seconds, "seconds", seconds,
		"cpu_s", cpu_s, "count", (json_int_t)done, "errors",
		(json_int_t)errors, "p50_ms", percentile(all, n, 0.5), "p99_ms",
		percentile(all, n, 0.99), "max_ms", percentile(all, n, 1));
	text = json_dumps(object, JSON_COMPACT);
	(void)puts(text);
	(void)fflush(stdout);
	free(text);
	free(all);
	json_decref(object);
}

static double cpu_seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static void run_step(const struct step *step, struct worker *workers,
		     long clients)
{
	double begun_ms = now_ms();
	double begun_cpu_s = cpu_seconds();

	atomic_store(&submitted, 0);
	for (long i = 0; i < clients; i++) {
		workers[i].step = step;
		workers[i].calls = 0;
		workers[i].done = workers[i].errors = 0;
		if (pthread_create(&workers[i].thread, NULL, work,
				   &workers[i]) != 0)
			abort();
	}
	for (long i = 0; i < clients; i++)
		(void)pthread_join(workers[i].thread, NULL);
	report(step, workers, clients, (now_ms() - begun_ms) / 1e3,
	       cpu_seconds() - begun_cpu_s);
}

static void open_worker(struct worker *worker, const struct options *options)
{
	size_t jobs = (size_t)options->jobs + 1;
	struct fault fault = { "" };

	worker->options = options;
	worker->held = calloc(jobs, sizeof(*worker->held));
	worker->call_ms = calloc(jobs, sizeof(*worker->call_ms));
	if (!worker->held || !worker->call_ms ||
	    db_open(options->url, "bench queue", &worker->db, &fault) < 0) {
		(void)fprintf(stderr, "queue: %s\n", fault.text);
		exit(1);
	}
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		if (steps[i].run == run_move)
			warm(worker, &steps[i]);
	}
}

static void close_worker(struct worker *worker)
{
	worker->db = db_close(worker->db);
	free(worker->held);
	free(worker->call_ms);
}

static int read_options(int argc, char **argv, struct options *options)
{
	struct {
		const char *name;
		long *value;
	} known[] = {
		{ "jobs", &options->jobs },
		{ "insert", &options->insert },
		{ "batch", &options->batch },
		{ "wide", &options->wide },
		{ "children", &options->children },
		{ "media", &options->media },
		{ "clients", &options->clients },
	};

	for (int i = 2; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		size_t length = equals ? (size_t)(equals - argv[i]) : 0;
		bool found = false;

		for (size_t j = 0; j < COUNT_OF(known) && equals; j++) {
			if (strlen(known[j].name) != length ||
			    strncmp(known[j].name, argv[i], length) != 0)
				continue;
			*known[j].value = strtol(equals + 1, NULL, 10);
			found = true;
		}
		if (!found)
			return -EINVAL;
	}
	return argc > 1 && options->clients > 0 &&
			       options->clients <= CLIENTS_MAX &&
			       options->batch > 0 && options->wide > 0
		       ? 0
		       : -EINVAL;
}

int main(int argc, char **argv)
{
	struct options options = {
		.jobs = 20000,
		.insert = 1000,
		.batch = 500,
		.clients = 2,
		.wide = 1,
	};
	struct worker workers[CLIENTS_MAX] = { 0 };

	if (read_options(argc, argv, &options) < 0) {
		(void)fprintf(stderr, "usage: queue URL [NAME=VALUE]...\n");
		return 2;
	}
	options.url = argv[1];
	log_open("queue", LOG_WARNING, CONF_LOG_STDERR);
	for (long i = 0; i < options.clients; i++)
		open_worker(&workers[i], &options);
	for (size_t i = 0; i < COUNT_OF(steps); i++)
		run_step(&steps[i], workers, options.clients);
	/* Whoever reads the lines may still want to look at the server's
	 * processes, and ends our input when that is done. */
	(void)getchar();
	for (long i = 0; i < options.clients; i++)
		close_worker(&workers[i]);
	return 0;
}
