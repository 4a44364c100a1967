/* SPDX-License-Identifier: MIT */
/* Start, watch and end one program, the way systemd does. */

#include "tests/stack/service.h"

#include "tests/stack/say.h"
#include "tests/stack/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	RESTART_MS = 100, /* systemd's RestartSec= */
	SHORT_LIVED_US = 1000 * 1000,
	HOLD_MS = 200,
	NOTIFY_BYTES_MAX = 4096,
	NOTIFY_FDS_MAX = 253, /* the kernel's SCM_MAX_FD */
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void arm(sd_event_source *timer, int64_t delay_ms)
{
	(void)sd_event_source_set_time_relative(timer,
						(uint64_t)delay_ms * 1000);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void disarm(sd_event_source *source)
{
	if (source)
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

/* ---- what the program tells us --------------------------------------- */

static void take_fds(struct service *service, struct msghdr *message, bool keep,
		     const char *name)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
	     part = CMSG_NXTHDR(message, part)) {
		const unsigned char *data = CMSG_DATA(part);
		size_t count;

		if (part->cmsg_level != SOL_SOCKET ||
		    part->cmsg_type != SCM_RIGHTS)
			continue;
		count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, data + i * sizeof(int), sizeof(fd));
			if (!keep)
				close(fd);
			else if (fd_store_consume(&service->store, fd, name) <
				 0)
				say("%s: descriptor store is full",
				    service->plan.name);
		}
	}
}

/* One datagram: lines of NAME=value, and perhaps descriptors. */
static void take_notice(struct service *service, char *text,
			struct msghdr *message)
{
	bool keep = false, drop = false;
	const char *name = "stored";
	char *next = text;

	for (char *line; (line = strsep(&next, "\n"));) {
		if (strcmp(line, "FDSTORE=1") == 0)
			keep = true;
		else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
			drop = true;
		else if (strncmp(line, "FDNAME=", 7) == 0)
			name = line + 7;
		else if (strcmp(line, "WATCHDOG=1") == 0 && service->watchdog)
			arm(service->watchdog, service->plan.watchdog_s * 1000);
		else if (strcmp(line, "READY=1") == 0)
			say("%s is ready", service->plan.name);
	}
	take_fds(service, message, keep, name);
	if (drop)
		(void)fd_store_remove(&service->store, name);
}

static void read_notices(struct service *service, int fd)
{
	for (;;) {
		char text[NOTIFY_BYTES_MAX + 1];
		_Alignas(struct cmsghdr) char
			control[CMSG_SPACE(sizeof(int) * NOTIFY_FDS_MAX)];
		struct iovec part = { text, NOTIFY_BYTES_MAX };
		struct msghdr message = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t size =
			recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return;
		text[size] = '\0';
		take_notice(service, text, &message);
	}
}

static int on_notify(sd_event_source *source, int fd, uint32_t revents,
		     void *userdata)
{
	(void)source;
	(void)revents;
	read_notices(userdata, fd);
	return 0;
}

/* ---- its end, and its next start ------------------------------------- */

static void describe_exit(const struct service *service, const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		say("%s (%d) exited with status %d", service->plan.name,
		    (int)info->si_pid, info->si_status);
	else
		say("%s (%d) was killed by signal %d (%s)", service->plan.name,
		    (int)info->si_pid, info->si_status,
		    strsignal(info->si_status));
}

static int on_exit_of(sd_event_source *source, const siginfo_t *info,
		      void *userdata)
{
	struct service *service = userdata;
	bool failed = info->si_code != CLD_EXITED || info->si_status != 0;
	bool short_lived = now_us() - service->started < SHORT_LIVED_US;

	(void)source;
	describe_exit(service, info);

	/* What it sent last may still wait: its descriptors, above all. */
	read_notices(service, sd_event_source_get_io_fd(service->notify));

	service->child = sd_event_source_disable_unref(service->child);
	service->pid = 0;
	(void)unlink(service->pid_path);
	disarm(service->watchdog);
	disarm(service->timer);

	if (service->closing)
		return 0;
	if (service->at_once)
		service_start(service);
	else if (failed)
		arm(service->timer,
		    short_lived ? service->plan.tired_ms : RESTART_MS);
	else
		arm(service->timer, service->plan.idle_ms);

	if (!service->pid && !failed && service->wake)
		(void)sd_event_source_set_enabled(service->wake,
						  SD_EVENT_ONESHOT);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *service = userdata;

	(void)source;
	(void)usec;
	if (service->pid) {
		say("%s (%d) did not end in time: SIGKILL", service->plan.name,
		    (int)service->pid);
		(void)kill(service->pid, SIGKILL);
	} else {
		service_start(service);
	}
	return 0;
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *service = userdata;

	(void)source;
	(void)usec;
	if (service->pid) {
		say("%s (%d) is silent for %d s: SIGABRT", service->plan.name,
		    (int)service->pid, (int)service->plan.watchdog_s);
		(void)kill(service->pid, SIGABRT);
		arm(service->timer, service->plan.grace_s * 1000);
	}
	return 0;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents,
		   void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	service_start(userdata);
	return 0;
}

static void write_pid(const struct service *service)
{
	FILE *file = fopen(service->pid_path, "we");

	if (!file)
		return;
	fprintf(file, "%d\n", (int)service->pid);
	fclose(file);
}

void service_start(struct service *service)
{
	struct fault fault = { "" };
	pid_t pid;
	int r;

	if (service->pid || service->closing)
		return;
	disarm(service->wake);
	if (access(service->hold_path, F_OK) == 0) {
		arm(service->timer, HOLD_MS);
		return;
	}
	disarm(service->timer);

	r = spawn_service(service, &pid, &fault);
	if (r == 0) {
		service->pid = pid;
		service->started = now_us();
		service->at_once = false;
		r = sd_event_add_child(service->event, &service->child, pid,
				       WEXITED, on_exit_of, service);
	}
	if (r < 0) {
		say("%s: cannot start: %s", service->plan.name,
		    fault.text[0] ? fault.text : strerror(-r));
		arm(service->timer, service->plan.tired_ms);
		return;
	}
	say("%s (%d) started with %zu stored descriptors", service->plan.name,
	    (int)pid, service->store.count);
	write_pid(service);
	if (service->watchdog)
		arm(service->watchdog, service->plan.watchdog_s * 1000);
}

static void terminate(struct service *service)
{
	(void)kill(service->pid, SIGTERM);
	(void)kill(service->pid, SIGCONT); /* a test may have stopped it */
	arm(service->timer, service->plan.grace_s * 1000);
}

void service_restart(struct service *service)
{
	if (!service->pid) {
		service_start(service);
		return;
	}
	service->at_once = true;
	terminate(service);
}

bool service_close(struct service *service)
{
	service->closing = true;
	disarm(service->wake);
	disarm(service->timer);
	if (!service->pid)
		return false;
	terminate(service);
	return true;
}

/* ---- making and unmaking --------------------------------------------- */

static int open_notify(struct service *service, struct fault *reterr_fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(service->notify_path) >= sizeof(address.sun_path))
		return fault_set(reterr_fault, -ENAMETOOLONG,
				 "%s is too long for a socket",
				 service->notify_path);
	memcpy(address.sun_path, service->notify_path,
	       strlen(service->notify_path) + 1);

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fault_set(reterr_fault, -errno, "socket: %m");
	(void)unlink(service->notify_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		r = fault_set(reterr_fault, -errno, "bind %s: %m",
			      service->notify_path);
		close(fd);
		return r;
	}
	r = sd_event_add_io(service->event, &service->notify, fd, EPOLLIN,
			    on_notify, service);
	if (r < 0) {
		close(fd);
		return fault_set(reterr_fault, r, "no event source");
	}
	return sd_event_source_set_io_fd_own(service->notify, true);
}

static char *path_of(const char *folder, const char *name, const char *kind)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s.%s", folder, name, kind) < 0 ? NULL
								   : path;
}

int service_init(struct service *ret, sd_event *event,
		 const struct service_plan *plan, struct fault *reterr_fault)
{
	int r;

	*ret = (struct service){ .plan = *plan, .event = event };
	fd_store_init(&ret->store, event);
	ret->notify_path = path_of(plan->run_dir, plan->name, "notify");
	ret->pid_path = path_of(plan->run_dir, plan->name, "pid");
	ret->hold_path = path_of(plan->run_dir, plan->name, "hold");
	ret->log_path = path_of(plan->log_dir, plan->name, "log");
	if (!ret->notify_path || !ret->pid_path || !ret->hold_path ||
	    !ret->log_path)
		return fault_set(reterr_fault, -ENOMEM, "out of memory");

	r = open_notify(ret, reterr_fault);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &ret->timer, CLOCK_MONOTONIC, 0,
				       1000, on_timer, ret);
	if (r >= 0 && plan->watchdog_s)
		r = sd_event_add_time_relative(event, &ret->watchdog,
					       CLOCK_MONOTONIC, 0, 1000,
					       on_watchdog, ret);
	if (r >= 0 && plan->wake_by_socket)
		r = sd_event_add_io(event, &ret->wake, plan->socket_fd, EPOLLIN,
				    on_wake, ret);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event source");
	disarm(ret->timer);
	disarm(ret->watchdog);
	disarm(ret->wake);
	return 0;
}

void service_done(struct service *service)
{
	if (!service->event)
		return;
	fd_store_done(&service->store);
	sd_event_source_disable_unref(service->child);
	sd_event_source_disable_unref(service->notify);
	sd_event_source_disable_unref(service->wake);
	sd_event_source_disable_unref(service->timer);
	sd_event_source_disable_unref(service->watchdog);
	if (service->notify_path)
		(void)unlink(service->notify_path);
	free(service->notify_path);
	free(service->pid_path);
	free(service->hold_path);
	free(service->log_path);
}
