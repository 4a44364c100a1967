/* SPDX-License-Identifier: MIT */
/* rushes-simulator: stand in for the providers. docs/SIMULATOR.md */
#include "tests/simulator/keys.h"
#include "tests/simulator/ledger.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/outgoing.h"
#include "tests/simulator/server.h"
#include "tests/simulator/webhook.h"

#include "common/base/clock.h"
#include "common/base/text.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct words sim_words(const struct sim *sim, enum sim_provider provider,
		       const json_t *own)
{
	return (struct words){
		.level = { own, sim->provider[provider].words,
			   sim->words_for_all },
	};
}

void sim_say(const struct sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->options.quiet)
		return;
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
}

enum option_id {
	OPTION_HOST = 256,
	OPTION_PORT,
	OPTION_PORT_FILE,
	OPTION_PUBLIC_URL,
	OPTION_LEDGER,
	OPTION_SECRET,
	OPTION_ACCOUNT,
	OPTION_DELAY,
	OPTION_JOBS_MAX,
	OPTION_MEDIA_BYTES,
	OPTION_QUIET,
	OPTION_HELP,
};

static const struct option long_options[] = {
	{ "host", required_argument, NULL, OPTION_HOST },
	{ "port", required_argument, NULL, OPTION_PORT },
	{ "port-file", required_argument, NULL, OPTION_PORT_FILE },
	{ "public-url", required_argument, NULL, OPTION_PUBLIC_URL },
	{ "ledger", required_argument, NULL, OPTION_LEDGER },
	{ "webhook-secret", required_argument, NULL, OPTION_SECRET },
	{ "service-account", required_argument, NULL, OPTION_ACCOUNT },
	{ "delay-ms", required_argument, NULL, OPTION_DELAY },
	{ "jobs-max", required_argument, NULL, OPTION_JOBS_MAX },
	{ "media-bytes", required_argument, NULL, OPTION_MEDIA_BYTES },
	{ "quiet", no_argument, NULL, OPTION_QUIET },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 },
};

static const char help[] =
	"usage: rushes-simulator [options]\n"
	"Stands in for Replicate, fal and Veo on Vertex AI.\n"
	"\n"
	"  --host ADDRESS          listen here (127.0.0.1)\n"
	"  --port N                0: any free port (0)\n"
	"  --port-file FILE        write the port there\n"
	"  --public-url URL        prefix of all URLs handed out\n"
	"  --ledger FILE           append every event, one JSON a line\n"
	"  --webhook-secret WHSEC  sign Replicate's webhooks; repeatable\n"
	"  --service-account FILE  write a service-account file for users\n"
	"  --delay-ms N            how long a job takes (1000)\n"
	"  --jobs-max N            ended jobs to remember (20000)\n"
	"  --media-bytes N         size of files (as it comes)\n"
	"  --quiet                 no line per event on standard error\n"
	"  --help                  this text\n";

static int set_number(const char *name, int64_t least, int64_t most,
		      int64_t *ret)
{
	if (text_to_int64(optarg, least, most, ret))
		return 0;
	(void)fprintf(stderr, "rushes-simulator: %s wants a number\n", name);
	return -EINVAL;
}

static int set_secret(struct sim_options *options)
{
	if (options->secret_count == SIM_SECRETS_MAX ||
	    strncmp(optarg, "whsec_", 6) != 0 || strlen(optarg) > 160 ||
	    (strlen(optarg) - 6) % 4 != 0) {
		(void)fprintf(stderr,
			      "rushes-simulator: --webhook-secret wants "
			      "whsec_ and base64\n");
		return -EINVAL;
	}
	options->secrets[options->secret_count++] = optarg;
	return 0;
}

static int set_option(int option, struct sim_options *options)
{
	int64_t port = 0;
	int r;

	switch ((enum option_id)option) {
	case OPTION_HOST:
		options->host = optarg;
		return 0;
	case OPTION_PORT:
		r = set_number("--port", 0, 65535, &port);
		options->port = (uint16_t)port;
		return r;
	case OPTION_PORT_FILE:
		options->port_file = optarg;
		return 0;
	case OPTION_PUBLIC_URL:
		options->public_url = optarg;
		return 0;
	case OPTION_LEDGER:
		options->ledger_path = optarg;
		return 0;
	case OPTION_SECRET:
		return set_secret(options);
	case OPTION_ACCOUNT:
		options->account_path = optarg;
		return 0;
	case OPTION_DELAY:
		return set_number("--delay-ms", 0, 86400000,
				  &options->delay_ms);
	case OPTION_JOBS_MAX:
		return set_number("--jobs-max", 1, 10000000,
				  &options->jobs_max);
	case OPTION_MEDIA_BYTES:
		return set_number("--media-bytes", 0, INT64_C(1) << 40,
				  &options->media_bytes);
	case OPTION_QUIET:
		options->quiet = true;
		return 0;
	case OPTION_HELP:
		(void)fputs(help, stdout);
		return 1;
	}
	return -EINVAL;
}

/* @return 0; 1 if there is nothing more to do; -EINVAL */
static int read_options(int argc, char **argv, struct sim_options *ret)
{
	int option, r = 0;

	*ret = (struct sim_options){
		.host = "127.0.0.1",
		.delay_ms = 1000,
		.jobs_max = 20000,
		.media_bytes = -1,
	};
	while (r == 0 &&
	       (option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
		r = option == '?' ? -EINVAL : set_option(option, ret);
	if (r == 0 && optind < argc) {
		(void)fprintf(stderr, "rushes-simulator: what is \"%s\"?\n",
			      argv[optind]);
		r = -EINVAL;
	}
	return r;
}

static void on_signal(void *context, uint32_t events)
{
	struct sim *sim = context;

	(void)events;
	loop_stop(sim->loop);
}

static int watch_signals(struct sim *sim, struct fault *reterr_fault)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	sim->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sim->signal_fd >= 0)
		sim->signal_watch = loop_add(sim->loop, sim->signal_fd, EPOLLIN,
					     on_signal, sim);
	if (!sim->signal_watch)
		return fault_set(reterr_fault, -errno, "signalfd: %s",
				 strerror(errno));
	return 0;
}

static int write_port(const struct sim *sim, struct fault *reterr_fault)
{
	const char *path = sim->options.port_file;
	_cleanup_text_ char *other = NULL;
	FILE *out;

	if (!path)
		return 0;
	other = take_printf("%s.new", path);
	out = fopen(other, "we");
	if (!out)
		return fault_set(reterr_fault, -errno, "write %s: %s", other,
				 strerror(errno));
	(void)fprintf(out, "%u\n", server_port(sim->server));
	if (fclose(out) != 0 || rename(other, path) < 0)
		return fault_set(reterr_fault, -EIO, "write %s failed", path);
	return 0;
}

static int open_sim(struct sim *sim, struct fault *reterr_fault)
{
	static const char *const names[] = { "replicate", "fal", "vertex" };
	int r;

	sim->begun_ms = clock_monotonic_ms();
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		sim->provider[i].name = names[i];
		sim->provider[i].words = json_object();
	}
	sim->words_for_all = json_object();
	sim->counters = table_new();
	sim->tokens = table_new();
	sim->jobs = table_new();
	sim->ours = table_new();
	sim->loop = loop_new();
	if (!sim->loop)
		return fault_set(reterr_fault, -errno, "epoll: %s",
				 strerror(errno));
	r = watch_signals(sim, reterr_fault);
	if (r < 0)
		return r;
	sim->ledger = ledger_new(sim, reterr_fault);
	if (!sim->ledger)
		return -EIO;
	sim->keys = keys_new(sim, reterr_fault);
	if (!sim->keys)
		return -EIO;
	sim->outgoing = outgoing_new(sim);
	if (!sim->outgoing)
		return fault_set(reterr_fault, -EIO, "libcurl does not start");
	sim->server = server_new(sim, reterr_fault);
	if (!sim->server)
		return -EIO;
	sim->own_url = take_printf("http://%s:%u", sim->options.host,
				   server_port(sim->server));
	ledger_note(sim, "run", json_pack("{s:s}", "url", sim->own_url));
	r = keys_write_account(sim->keys, reterr_fault);
	return r < 0 ? r : write_port(sim, reterr_fault);
}

static void close_sim(struct sim *sim)
{
	sim->stopping = true;
	sim->server = server_free(sim->server);
	sim->outgoing = outgoing_free(sim->outgoing);
	webhook_stop(sim);
	if (sim->ledger)
		job_forget_all(sim);
	sim->keys = keys_free(sim->keys);
	sim->ledger = ledger_free(sim->ledger);
	for (int i = 0; i < SIM_PROVIDERS; i++) {
		json_decref(sim->provider[i].words);
		json_decref(sim->provider[i].credentials);
	}
	json_decref(sim->words_for_all);
	table_free(sim->counters);
	table_free(sim->tokens);
	table_free(sim->jobs);
	table_free(sim->ours);
	free(sim->own_url);
	if (sim->signal_watch)
		loop_remove(sim->loop, sim->signal_watch);
	if (sim->signal_fd > 0)
		(void)close(sim->signal_fd);
	loop_free(sim->loop);
}

static int64_t on_idle(void *context)
{
	struct sim *sim = context;

	return server_work(sim->server);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 0 };
	struct fault fault = { 0 };
	struct sim sim = { 0 };
	int r = read_options(argc, argv, &sim.options);

	if (r != 0)
		return r < 0 ? 2 : 0;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	r = open_sim(&sim, &fault);
	if (r == 0) {
		(void)printf("listening on %s\n", sim.own_url);
		(void)fflush(stdout);
		r = loop_run(sim.loop, on_idle, &sim, &fault);
	}
	if (r < 0)
		(void)fprintf(stderr, "rushes-simulator: %s\n", fault.text);
	close_sim(&sim);
	return r < 0 ? 1 : 0;
}
