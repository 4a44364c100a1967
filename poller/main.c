/* SPDX-License-Identifier: MIT */
/*
 * rushes-poller: does all outbound work, and what an administrator does.
 *
 * Started by a timer, or at once by a datagram on its wake socket; works
 * until nothing is due for some minutes, then ends.
 */

#include "common/io/log.h"
#include "common/model/job.h"
#include "common/model/limits.h"
#include "poller/admin.h"
#include "poller/poller.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

enum action {
	ACTION_RUN = 0,
	ACTION_MIGRATE,
	ACTION_ADD_KEY,
	ACTION_LIST_KEYS,
	ACTION_REVOKE_KEY,
	ACTION_CLEANUP,
	ACTION_RULES,
	ACTION_CHECK,
	ACTION_HELP,
	ACTION_VERSION,
};

struct options {
	enum action action;
	const char *argument;
};

static void print_help(void)
{
	(void)printf(
		"rushes-poller [OPTION]\n"
		"\n"
		"Without an option: start what is queued, ask providers, "
		"store media,\n"
		"until nothing is due for some minutes; the timer starts us "
		"again.\n"
		"\n"
		"  --migrate         bring the database's schema up to date\n"
		"  --add-key NAME    make an API key for an owner and print "
		"it\n"
		"  --list-keys       list API keys (never the keys "
		"themselves)\n"
		"  --revoke-key ID   make a key useless\n"
		"  --cleanup         remove what is older than its retention\n"
		"  --rules           print the rules of a job's life\n"
		"  --check           check the configuration and print it\n"
		"  --help, --version\n"
		"\n"
		"Configuration, from the environment or "
		"$CREDENTIALS_DIRECTORY:\n"
		"\n");
	conf_print_help(CONF_POLLER | CONF_ADMIN, stdout);
}

static int parse(int argc, char **argv, struct options *ret)
{
	static const struct option known[] = {
		{ "migrate", no_argument, NULL, ACTION_MIGRATE },
		{ "add-key", required_argument, NULL, ACTION_ADD_KEY },
		{ "list-keys", no_argument, NULL, ACTION_LIST_KEYS },
		{ "revoke-key", required_argument, NULL, ACTION_REVOKE_KEY },
		{ "cleanup", no_argument, NULL, ACTION_CLEANUP },
		{ "rules", no_argument, NULL, ACTION_RULES },
		{ "check", no_argument, NULL, ACTION_CHECK },
		{ "help", no_argument, NULL, ACTION_HELP },
		{ "version", no_argument, NULL, ACTION_VERSION },
		{ 0 },
	};
	struct options options = { 0 };
	int found;

	while ((found = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (found == '?' || options.action != ACTION_RUN)
			return -EINVAL;
		options.action = (enum action)found;
		options.argument = optarg;
	}
	if (optind < argc)
		return -EINVAL;
	*ret = options;
	return 0;
}

/* ---- running ------------------------------------------------------------- */

/* @return the descriptor; -1 for none: the timer alone wakes us */
static int find_wake_socket(void)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	int found = -1;

	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], "wake") == 0 && found < 0 &&
		    sd_is_socket_unix(SD_LISTEN_FDS_START + i, SOCK_DGRAM, -1,
				      NULL, 0) > 0)
			found = SD_LISTEN_FDS_START + i;
		free(names[i]);
	}
	free(names);
	return found;
}

static int refuse(const struct fault *fault)
{
	log_event(LOG_ERR, LOG_ID_CONF_WRONG, NULL, "%s", fault->text);
	return EXIT_FAILURE;
}

/* Signals are the event loop's; nobody else may get them first. */
static void block_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A file that may not grow is an error of write(), like a full disk. */
	(void)signal(SIGXFSZ, SIG_IGN);
}

static int run(const struct conf *conf)
{
	_cleanup_(poller_freep) struct poller *poller = NULL;
	struct fault fault = { "" };
	int status, r;

	block_signals();
	/* The loop has one heap, all threads beside it another: each thread's
	 * own would keep what that thread once needed. */
	(void)mallopt(M_ARENA_MAX, 2);
	if (conf_warning(conf))
		log_event(LOG_WARNING, LOG_ID_ALLOW_LOOPBACK, NULL, "%s",
			  conf_warning(conf));
	r = poller_new(conf, find_wake_socket(), &poller, &fault);
	if (r < 0)
		return refuse(&fault);
	log_event(LOG_DEBUG, LOG_ID_STARTED, NULL, "rushes-poller started");
	status = poller_run(poller);
	log_event(LOG_DEBUG, LOG_ID_STOPPED, NULL, "rushes-poller ends");
	return status;
}

static int administer(const struct options *options, const struct conf *conf)
{
	struct fault fault = { "" };
	int r;

	switch (options->action) {
	case ACTION_MIGRATE:
		r = admin_migrate(conf, &fault);
		break;
	case ACTION_ADD_KEY:
		r = admin_add_key(conf, options->argument, &fault);
		break;
	case ACTION_LIST_KEYS:
		r = admin_list_keys(conf, &fault);
		break;
	case ACTION_REVOKE_KEY:
		r = admin_revoke_key(conf, options->argument, &fault);
		break;
	default:
		r = admin_cleanup(conf, &fault);
		break;
	}
	/* A key that nobody got to see is of no use, and not made again. */
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = fault_set(&fault, -EIO,
			      "standard output could not be written");
	if (r < 0) {
		(void)fprintf(stderr, "rushes-poller: %s\n", fault.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	struct options options;
	enum conf_program program;
	struct conf conf;
	struct fault fault = { "" };

	if (parse(argc, argv, &options) < 0) {
		(void)fprintf(stderr, "rushes-poller: one option at most; "
				      "--help tells which\n");
		return 2;
	}
	switch (options.action) {
	case ACTION_HELP:
		print_help();
		return EXIT_SUCCESS;
	case ACTION_VERSION:
		(void)printf("rushes-poller, schema %d\n", db_schema_version());
		return EXIT_SUCCESS;
	case ACTION_RULES:
		job_print_rules(stdout);
		return EXIT_SUCCESS;
	default:
		break;
	}

	program = options.action == ACTION_RUN || options.action == ACTION_CHECK
			  ? CONF_POLLER
			  : CONF_ADMIN;
	log_open("rushes-poller", LOG_INFO, CONF_LOG_AUTO);
	if (!arena || conf_load(program, arena, &conf, &fault) < 0)
		return refuse(&fault);
	log_open("rushes-poller", conf.log_level, conf.log_target);
	if (options.action == ACTION_CHECK) {
		conf_print(program, stdout);
		return EXIT_SUCCESS;
	}
	return options.action == ACTION_RUN ? run(&conf)
					    : administer(&options, &conf);
}
