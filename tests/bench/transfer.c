/* SPDX-License-Identifier: MIT */
/*
 * transfer URL COUNT AT_ONCE EXECUTION - move the same media many times, so
 * many at once, into the store that the environment says, by the code of
 * rushes-poller and nothing else of it. Prints what it took as JSON.
 */
#include "common/base/clock.h"
#include "common/io/transfer_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { COUNT_MAX = 1000000, CONF_BYTES = 1 << 20 };

struct bench {
	sd_event *event;
	struct transfer_pool *transfers;
	const char *url, *execution;
	long count, started, ended, errors;
	int64_t bytes;
	double *took_ms; /* of each, in the order in which they ended */
};

struct one {
	struct bench *bench;
	uint64_t since_us;
};

static bool start_one(struct bench *bench);

static uint64_t now_us(struct bench *bench)
{
	uint64_t now = 0;

	(void)sd_event_now(bench->event, CLOCK_MONOTONIC, &now);
	return now;
}

static void on_done(const struct transfer_result *result, void *userdata)
{
	struct one *one = userdata;
	struct bench *bench = one->bench;
	uint64_t took = now_us(bench) - one->since_us;

	free(one);
	if (result->error < 0) {
		if (bench->errors++ == 0)
			(void)fprintf(stderr, "transfer: %s\n",
				      result->fault.text);
	}
	bench->bytes += result->bytes;
	bench->took_ms[bench->ended++] = (double)took / 1000;
	if (bench->started < bench->count && !start_one(bench))
		(void)sd_event_exit(bench->event, 1);
	else if (bench->ended == bench->count)
		(void)sd_event_exit(bench->event, 0);
}

static bool start_one(struct bench *bench)
{
	/* One lane alone may not fill all places. */
	static const char *const lanes[] = { "replicate", "fal", "vertex" };
	struct http_request request = { .method = HTTP_GET, .url = bench->url };
	struct transfer_job job = { .request = &request };
	struct one *one = malloc(sizeof(*one));
	struct fault fault;
	char prefix[128];
	int r;

	if (!one)
		return false;
	*one = (struct one){ bench, now_us(bench) };
	(void)snprintf(prefix, sizeof(prefix), "%s/%ld/1/0", bench->execution,
		       bench->started);
	job.key_prefix = prefix;
	job.lane = lanes[bench->started % 3];
	r = transfer_pool_start(bench->transfers, &job, on_done, one, NULL,
				&fault);
	if (r < 0) {
		(void)fprintf(stderr, "transfer: %s\n", fault.text);
		free(one);
		return false;
	}
	bench->started++;
	return true;
}

/* The most memory that was resident; getrusage() would say the shell's if
 * that had more. */
static int64_t peak_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	int64_t kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtoll(line + 6, NULL, 10);
	}
	if (file)
		(void)fclose(file);
	return kib * 1024;
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static void print(const struct bench *bench, int64_t elapsed_ms)
{
	struct rusage usage;
	size_t count = (size_t)bench->count;

	(void)getrusage(RUSAGE_SELF, &usage);
	qsort(bench->took_ms, count, sizeof(*bench->took_ms), compare);
	(void)printf("{\"errors\": %ld, \"bytes\": %" PRId64
		     ", \"seconds\": %.3f, \"user_s\": %.3f, "
		     "\"system_s\": %.3f, \"peak_bytes\": %" PRId64
		     ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
		     "\"max_ms\": %.3f}\n",
		     bench->errors, bench->bytes, (double)elapsed_ms / 1000,
		     (double)usage.ru_utime.tv_sec +
			     (double)usage.ru_utime.tv_usec / 1e6,
		     (double)usage.ru_stime.tv_sec +
			     (double)usage.ru_stime.tv_usec / 1e6,
		     peak_bytes(), bench->took_ms[(count - 1) / 2],
		     bench->took_ms[(count - 1) * 99 / 100],
		     bench->took_ms[count - 1]);
}

static int move(struct bench *bench, const struct conf *conf, long at_once)
{
	int64_t begun_ms = clock_monotonic_ms();
	_cleanup_(transfer_pool_freep) struct transfer_pool *transfers = NULL;
	struct fault fault = { "" };
	int r;

	r = sd_event_new(&bench->event);
	if (r >= 0)
		r = transfer_pool_new(bench->event, conf, &transfers, &fault);
	bench->transfers = transfers;
	for (long i = 0; r >= 0 && i < at_once; i++)
		r = start_one(bench) ? 0 : -EINVAL;
	if (r >= 0)
		r = sd_event_loop(bench->event) == 0 ? 0 : -EIO;
	if (r < 0)
		(void)fprintf(stderr, "transfer: %s %s\n", strerror(-r),
			      fault.text);
	else
		print(bench, clock_monotonic_ms() - begun_ms);
	(void)transfer_pool_free(TAKE_PTR(transfers));
	(void)sd_event_unref(bench->event);
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(CONF_BYTES);
	long count = argc == 5 ? strtol(argv[2], NULL, 10) : 0;
	long at_once = argc == 5 ? strtol(argv[3], NULL, 10) : 0;
	struct bench bench = { .count = count };
	struct fault fault = { "no memory" };
	struct conf conf;
	int r;

	if (count < 1 || count > COUNT_MAX || at_once < 1 || at_once > count) {
		(void)fprintf(stderr,
			      "usage: transfer URL COUNT AT_ONCE EXECUTION\n");
		return 2;
	}
	bench.url = argv[1];
	bench.execution = argv[4];
	bench.took_ms = calloc((size_t)count, sizeof(*bench.took_ms));
	if (!arena || !bench.took_ms ||
	    conf_load(CONF_POLLER, arena, &conf, &fault) < 0) {
		(void)fprintf(stderr, "transfer: %s\n", fault.text);
		free(bench.took_ms);
		return 1;
	}
	r = move(&bench, &conf, at_once);
	free(bench.took_ms);
	return r < 0 || bench.errors > 0;
}
