/* SPDX-License-Identifier: MIT */
/*
 * rushes-fcgi: answers the HTTP requests that nginx passes on.
 *
 * It validates, commits and answers; providers and stores are the business
 * of rushes-poller, which it wakes.
 */

#include "common/io/log.h"
#include "common/model/limits.h"
#include "fcgi/server.h"
#include "fcgi/version.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum action {
	ACTION_RUN = 0,
	ACTION_CHECK,
	ACTION_HELP,
	ACTION_VERSION,
};

enum { EXIT_USAGE = 2 };

static void print_help(void)
{
	(void)printf("rushes-fcgi [OPTION]\n"
		     "\n"
		     "Without an option: serve FastCGI requests on the "
		     "listening socket that\n"
		     "systemd passes (rushes-fcgi.socket), until SIGTERM.\n"
		     "\n"
		     "  --check           check the configuration and print "
		     "it\n"
		     "  --help, --version\n"
		     "\n"
		     "Configuration, from the environment or "
		     "$CREDENTIALS_DIRECTORY:\n"
		     "\n");
	conf_print_help(CONF_FCGI, stdout);
}

static int parse(int argc, char **argv, enum action *ret)
{
	static const struct option known[] = {
		{ "check", no_argument, NULL, ACTION_CHECK },
		{ "help", no_argument, NULL, ACTION_HELP },
		{ "version", no_argument, NULL, ACTION_VERSION },
		{ 0 },
	};
	enum action action = ACTION_RUN;
	int found;

	while ((found = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (found == '?' || action != ACTION_RUN)
			return -EINVAL;
		action = (enum action)found;
	}
	if (optind < argc)
		return -EINVAL;
	*ret = action;
	return 0;
}

/* All but one, before any thread and before libfcgi: they are read from a
 * descriptor, and interrupt no read or write. With SIGABRT systemd's watchdog
 * ends a program that hangs; blocked, it would wait for TimeoutStopSec=. */
static void block_signals(void)
{
	sigset_t set;

	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGABRT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/*
 * A request takes buffers of some KiB, and gives them back from another thread.
 * Each of that size would first merge all small pieces that are free (fast
 * bins), and what is free at the end of a heap would go back to the kernel
 * with every batch and be faulted in again with the next.
 */
static void tune_malloc(void)
{
	(void)mallopt(M_MXFAST, 0);
	(void)mallopt(M_TOP_PAD, (int)LIMIT_MIB);
	(void)mallopt(M_TRIM_THRESHOLD, 4 * (int)LIMIT_MIB);
	(void)mallopt(M_MMAP_THRESHOLD, (int)LIMIT_MIB);
}

static int refuse(const struct fault *fault)
{
	log_event(LOG_ERR, LOG_ID_CONF_WRONG, NULL, "%s", fault->text);
	return EXIT_FAILURE;
}

static int run(const struct conf *conf)
{
	struct fault fault = { "" };
	int r;

	block_signals();
	tune_malloc();
	if (conf_warning(conf))
		log_event(LOG_WARNING, LOG_ID_ALLOW_LOOPBACK, NULL, "%s",
			  conf_warning(conf));
	r = server_run(conf, &fault);
	if (r == SERVER_E_STUCK)
		_exit(EXIT_FAILURE);
	return r < 0 ? refuse(&fault) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	struct fault fault = { "no memory" };
	enum action action = ACTION_RUN;
	struct conf conf;

	if (parse(argc, argv, &action) < 0) {
		(void)fprintf(stderr, "rushes-fcgi: one option at most; "
				      "--help tells which\n");
		return EXIT_USAGE;
	}
	if (action == ACTION_HELP) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (action == ACTION_VERSION) {
		(void)printf("rushes-fcgi " RUSHES_VERSION "\n");
		return EXIT_SUCCESS;
	}

	log_open("rushes-fcgi", LOG_INFO, CONF_LOG_AUTO);
	if (!arena || conf_load(CONF_FCGI, arena, &conf, &fault) < 0)
		return refuse(&fault);
	log_open("rushes-fcgi", conf.log_level, conf.log_target);
	if (action == ACTION_CHECK) {
		conf_print(CONF_FCGI, stdout);
		return EXIT_SUCCESS;
	}
	return run(&conf);
}
