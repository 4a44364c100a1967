/* SPDX-License-Identifier: MIT */
/* Fork and execute with the sockets where sd_listen_fds() looks for them. */

#include "tests/stack/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
	FIRST_FD = 3, /* SD_LISTEN_FDS_START */
};

/* What the child needs, made before the fork. */
struct launch {
	int fds[1 + FD_STORE_MAX];
	int count;
	char *names; /* LISTEN_FDNAMES */
	int log_fd;
};

static void launch_done(struct launch *launch)
{
	free(launch->names);
	if (launch->log_fd >= 0)
		close(launch->log_fd);
}

static int gather(const struct service *service, struct launch *launch,
		  struct fault *reterr_fault)
{
	size_t size;
	FILE *names = open_memstream(&launch->names, &size);

	if (!names)
		return fault_set(reterr_fault, -ENOMEM, "out of memory");
	launch->fds[launch->count++] = service->plan.socket_fd;
	fputs(service->plan.socket_name, names);
	for (size_t i = 0; i < FD_STORE_MAX; i++) {
		if (service->store.entries[i].fd < 0)
			continue;
		launch->fds[launch->count++] = service->store.entries[i].fd;
		fprintf(names, ":%s", service->store.entries[i].name);
	}
	if (fclose(names) != 0)
		return fault_set(reterr_fault, -ENOMEM, "out of memory");

	launch->log_fd = open(service->log_path,
			      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (launch->log_fd < 0)
		return fault_set(reterr_fault, -errno, "open %s: %m",
				 service->log_path);
	return 0;
}

/* Copies above all targets first: a source may be somebody's target. */
static int place_fds(const struct launch *launch)
{
	int above = FIRST_FD + launch->count, copy[1 + FD_STORE_MAX];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int log_fd = fcntl(launch->log_fd, F_DUPFD_CLOEXEC, above);

	if (null < 0 || log_fd < 0)
		return -1;
	for (int i = 0; i < launch->count; i++) {
		copy[i] = fcntl(launch->fds[i], F_DUPFD_CLOEXEC, above);
		if (copy[i] < 0)
			return -1;
	}
	if (dup2(null, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
	    dup2(log_fd, STDERR_FILENO) < 0)
		return -1;
	for (int i = 0; i < launch->count; i++)
		if (dup2(copy[i], FIRST_FD + i) < 0)
			return -1;
	return 0;
}

static void set_number(const char *name, long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", number);
	setenv(name, text, 1);
}

static void set_environment(const struct service *service,
			    const struct launch *launch)
{
	set_number("LISTEN_PID", getpid());
	set_number("LISTEN_FDS", launch->count);
	setenv("LISTEN_FDNAMES", launch->names, 1);
	setenv("NOTIFY_SOCKET", service->notify_path, 1);
	if (service->plan.database_url)
		setenv("DATABASE_URL", service->plan.database_url, 1);
	unsetenv("JOURNAL_STREAM"); /* its output goes to a file now */
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	if (service->plan.watchdog_s) {
		set_number("WATCHDOG_PID", getpid());
		set_number("WATCHDOG_USEC",
			   (long long)service->plan.watchdog_s * 1000000);
	}
}

static void run_child(const struct service *service,
		      const struct launch *launch)
{
	sigset_t none;

	/* If we are killed there is nobody left who knows its pid. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	set_environment(service, launch);
	if (place_fds(launch) == 0)
		execl(service->plan.program, service->plan.program,
		      (char *)NULL);
	dprintf(STDERR_FILENO, "%s: %m\n", service->plan.program);
	_exit(127);
}

int spawn_service(const struct service *service, pid_t *ret_pid,
		  struct fault *reterr_fault)
{
	_cleanup_(launch_done) struct launch launch = { .log_fd = -1 };
	pid_t pid;
	int r;

	r = gather(service, &launch, reterr_fault);
	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return fault_set(reterr_fault, -errno, "fork: %m");
	if (pid == 0)
		run_child(service, &launch);
	*ret_pid = pid;
	return 0;
}
