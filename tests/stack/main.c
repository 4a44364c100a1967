/* SPDX-License-Identifier: MIT */
/*
 * rushes-activator - plays systemd for a stack without one: binds the sockets
 * of rushes-fcgi and rushes-poller, starts both as their units would, keeps
 * the descriptor store, watches the watchdog.
 *
 *	SIGTERM, SIGINT  stop rushes-fcgi, then rushes-poller, then leave
 *	SIGUSR1          restart rushes-fcgi (as systemctl restart)
 *	SIGUSR2          restart rushes-poller
 *
 * While the run folder holds a file fcgi.hold or poller.hold that program is
 * not started; the one that runs is not touched.
 */

#include "tests/stack/say.h"
#include "tests/stack/service.h"

#include "common/base/text.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 4096, /* as rushes-fcgi.socket says */
};

struct options {
	const char *run_dir;
	const char *log_dir;
	const char *fcgi;
	const char *poller;
	const char *fcgi_database;
	const char *poller_database;
	int64_t period_s;
	int64_t watchdog_s;
	int64_t grace_s;
	int64_t tired_ms;
};

struct activator {
	sd_event *event;
	struct service fcgi;
	struct service poller;
	bool leaving;
};

void say(const char *format, ...)
{
	time_t now = time(NULL);
	struct tm local;
	char when[16] = "", what[512];
	va_list args;

	if (localtime_r(&now, &local))
		(void)strftime(when, sizeof(when), "%H:%M:%S", &local);
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	fprintf(stderr, "%s activator: %s\n", when, what);
}

static int bind_socket(const char *run_dir, const char *name, int type,
		       int *ret, struct fault *reterr_fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length = snprintf(address.sun_path, sizeof(address.sun_path),
			      "%s/%s.sock", run_dir, name);
	mode_t mask;
	int fd, r;

	if (length < 0 || (size_t)length >= sizeof(address.sun_path))
		return fault_set(reterr_fault, -ENAMETOOLONG,
				 "%s/%s.sock is too long for a socket", run_dir,
				 name);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fault_set(reterr_fault, -errno, "socket: %m");

	(void)unlink(address.sun_path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (r == 0 && type == SOCK_STREAM)
		r = listen(fd, BACKLOG);
	if (r < 0) {
		r = fault_set(reterr_fault, -errno, "%s: %m", address.sun_path);
		close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

static int on_signal(sd_event_source *source,
		     const struct signalfd_siginfo *info, void *userdata)
{
	struct activator *activator = userdata;

	(void)source;
	switch (info->ssi_signo) {
	case SIGUSR1:
		service_restart(&activator->fcgi);
		return 0;
	case SIGUSR2:
		service_restart(&activator->poller);
		return 0;
	default:
		activator->leaving = true;
		return 0;
	}
}

static int watch_signals(struct activator *activator)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGUSR1, SIGUSR2 };
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < COUNT_OF(signals); i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	for (size_t i = 0; i < COUNT_OF(signals) && r >= 0; i++)
		r = sd_event_add_signal(activator->event, NULL, signals[i],
					on_signal, activator);
	return r < 0 ? r : 0;
}

/* rushes-fcgi always runs; the poller runs on a datagram or every period. */
static int open_services(struct activator *activator,
			 const struct options *options,
			 struct fault *reterr_fault)
{
	struct service_plan fcgi = {
		.name = "fcgi",
		.program = options->fcgi,
		.run_dir = options->run_dir,
		.log_dir = options->log_dir,
		.socket_name = "fcgi",
		.database_url = options->fcgi_database,
		.idle_ms = 100,
		.watchdog_s = options->watchdog_s,
		.grace_s = options->grace_s,
		.tired_ms = options->tired_ms,
	};
	struct service_plan poller = fcgi;
	int r;

	r = bind_socket(options->run_dir, "fcgi", SOCK_STREAM, &fcgi.socket_fd,
			reterr_fault);
	if (r < 0)
		return r;
	r = service_init(&activator->fcgi, activator->event, &fcgi,
			 reterr_fault);
	if (r < 0)
		return r;

	poller.name = "poller";
	poller.program = options->poller;
	poller.socket_name = "wake";
	poller.database_url = options->poller_database;
	poller.idle_ms = options->period_s * 1000;
	poller.wake_by_socket = true;
	r = bind_socket(options->run_dir, "wake", SOCK_DGRAM, &poller.socket_fd,
			reterr_fault);
	if (r < 0)
		return r;
	return service_init(&activator->poller, activator->event, &poller,
			    reterr_fault);
}

/* One after the other: what rushes-fcgi takes in last, the poller still sees.
 */
static void close_service(struct activator *activator, struct service *service)
{
	if (!service_close(service))
		return;
	while (service->pid)
		if (sd_event_run(activator->event, UINT64_MAX) < 0)
			return;
}

static int activator_run(const struct options *options,
			 struct fault *reterr_fault)
{
	static struct activator activator; /* large, for its two stores */
	int r;

	r = sd_event_new(&activator.event);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event loop");
	r = watch_signals(&activator);
	if (r < 0)
		return fault_set(reterr_fault, r, "cannot watch signals");
	r = open_services(&activator, options, reterr_fault);
	if (r == 0) {
		service_start(&activator.fcgi);
		service_start(&activator.poller);
		while (!activator.leaving && r >= 0)
			r = sd_event_run(activator.event, UINT64_MAX);
		close_service(&activator, &activator.fcgi);
		close_service(&activator, &activator.poller);
	}
	service_done(&activator.fcgi);
	service_done(&activator.poller);
	sd_event_unref(activator.event);
	return r < 0 ? r : 0;
}

static void usage(FILE *out)
{
	fputs("usage: rushes-activator --run-dir DIR --log-dir DIR"
	      " --fcgi PROGRAM --poller PROGRAM\n"
	      "\t[--fcgi-database URL] [--poller-database URL]  DATABASE_URL\n"
	      "\t[--period S]    from the poller's end to its next start (10)\n"
	      "\t[--watchdog S]  SIGABRT after so long a silence; 0: none "
	      "(30)\n"
	      "\t[--grace S]     from SIGTERM to SIGKILL (30)\n"
	      "\t[--tired MS]    to the next start of what failed at once "
	      "(1000)\n"
	      "Binds DIR/fcgi.sock and DIR/wake.sock, writes DIR/NAME.pid.\n"
	      "SIGUSR1 restarts fcgi, SIGUSR2 the poller, SIGTERM ends all.\n",
	      out);
}

static bool read_option(int option, const char *value, struct options *options)
{
	switch (option) {
	case 'r':
		options->run_dir = value;
		return true;
	case 'l':
		options->log_dir = value;
		return true;
	case 'f':
		options->fcgi = value;
		return true;
	case 'p':
		options->poller = value;
		return true;
	case 'F':
		options->fcgi_database = value;
		return true;
	case 'P':
		options->poller_database = value;
		return true;
	case 't':
		return text_to_int64(value, 1, 86400, &options->period_s);
	case 'w':
		return text_to_int64(value, 0, 3600, &options->watchdog_s);
	case 'g':
		return text_to_int64(value, 1, 3600, &options->grace_s);
	case 'T':
		return text_to_int64(value, 1, 60000, &options->tired_ms);
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "log-dir", required_argument, NULL, 'l' },
		{ "fcgi", required_argument, NULL, 'f' },
		{ "poller", required_argument, NULL, 'p' },
		{ "fcgi-database", required_argument, NULL, 'F' },
		{ "poller-database", required_argument, NULL, 'P' },
		{ "period", required_argument, NULL, 't' },
		{ "watchdog", required_argument, NULL, 'w' },
		{ "grace", required_argument, NULL, 'g' },
		{ "tired", required_argument, NULL, 'T' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = {
		.period_s = 10,
		.watchdog_s = 30,
		.grace_s = 30,
		.tired_ms = 1000,
	};
	struct fault fault = { "" };

	for (int option;
	     (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		if (option == 'h') {
			usage(stdout);
			return EXIT_SUCCESS;
		}
		if (!read_option(option, optarg, &options)) {
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc || !options.run_dir || !options.log_dir ||
	    !options.fcgi || !options.poller) {
		usage(stderr);
		return 2;
	}
	if (activator_run(&options, &fault) < 0) {
		say("%s", fault.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
