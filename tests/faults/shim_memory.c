/* SPDX-License-Identifier: MIT */
/*
 * The allocations of shim.c: which of them fail, and where the program ends
 * if it cannot bear it.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KERNEL_SET_BYTES = 8 }; /* libc's own set is larger */

/* What libc has behind the names that are ours now. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

/* Looking at the stack may itself allocate. */
static _Thread_local bool looking __attribute__((tls_model("initial-exec")));

static void tell_stack(const char *what, void *const *frames, int count)
{
	char line[LINE_BYTES * 8];
	size_t used = (size_t)snprintf(line, sizeof(line), "%d %s",
				       (int)getpid(), what);

	for (int i = 0; i < count && used + LINE_BYTES < sizeof(line); i++) {
		struct dl_find_object object;
		const char *name;

		if (_dl_find_object(frames[i], &object) != 0)
			continue;
		name = strrchr(object.dlfo_link_map->l_name, '/');
		used += (size_t)snprintf(
			line + used, LINE_BYTES, " %.60s+%lx",
			name ? name + 1 : "program",
			(unsigned long)((char *)frames[i] -
					(char *)object.dlfo_map_start));
	}
	shim_put_word(line, sizeof(line), "\n");
	shim_write_line("fired", line);
}

static uint64_t hash_stack(void *const *frames, int count)
{
	uint64_t hash = 14695981039346656037u;

	for (int i = 0; i < count; i++) {
		struct dl_find_object object;
		uint64_t offset = 0;

		if (_dl_find_object(frames[i], &object) == 0)
			offset = (uint64_t)((char *)frames[i] -
					    (char *)object.dlfo_map_start);
		hash = (hash ^ offset) * 1099511628211u;
	}
	return hash ? hash : 1;
}

/* The place of a stack in the table; NULL when that is full there. */
static struct stack *find_stack(uint64_t hash)
{
	for (size_t i = 0; i < STACK_PROBES; i++) {
		struct stack *stack = &shim.stacks[(hash + i) % STACKS];
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&stack->hash, &none, hash) ||
		    none == hash)
			return stack;
	}
	return NULL;
}

static bool shall_fail(size_t size)
{
	void *frames[STACK_DEPTH];
	struct stack *stack;
	bool fails = false;
	uint64_t hash;
	int count;

	if (shim.plan == PLAN_BIG && size >= (size_t)shim.n)
		shim_die("out of memory");
	if (shim.plan != PLAN_ALLOC || looking)
		return false;
	looking = true;
	count = backtrace(frames, STACK_DEPTH);
	hash = hash_stack(frames, count);
	stack = hash % (uint64_t)shim.parts == (uint64_t)shim.part
			? find_stack(hash)
			: NULL;
	if (atomic_fetch_add(&shim.since, 1) >= shim.gap && stack &&
	    atomic_exchange(&stack->failed, 1) == 0) {
		atomic_store(&shim.since, 0);
		tell_stack("failed", frames, count);
		fails = true;
	}
	looking = false;
	if (fails)
		errno = ENOMEM;
	return fails;
}

/* ---- ends ------------------------------------------------------------------
 */

/* The signals of a mistake. */
static const int ends[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT };

/* Where it crashed; the signal comes again, and ends it. */
static void on_crash(int number)
{
	void *frames[STACK_DEPTH];

	(void)number;
	looking = true;
	tell_stack("crash", frames, backtrace(frames, STACK_DEPTH));
}

/* On purpose: what libc itself ends the program for does not come here. */
EXPORT _Noreturn void abort(void)
{
	void *frames[STACK_DEPTH];

	if (shim.plan == PLAN_ALLOC) {
		looking = true;
		tell_stack("abort", frames, backtrace(frames, STACK_DEPTH));
	}
	(void)signal(SIGABRT, SIG_DFL);
	(void)raise(SIGABRT);
	_exit(128 + SIGABRT);
}

void shim_open_stacks(void)
{
	char path[PATH_BYTES + 16];
	const struct sigaction action = {
		.sa_handler = on_crash,
		.sa_flags = (int)SA_RESETHAND,
	};
	void *frames[1];
	int fd;

	(void)backtrace(frames, 1); /* loads what it needs */
	(void)snprintf(path, sizeof(path), "%s/stacks", shim.dir);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600);
	(void)syscall(SYS_ftruncate, fd, STACKS * sizeof(struct stack));
	shim.stacks = mmap(NULL, STACKS * sizeof(struct stack),
			   PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	shim.plan = shim.stacks == MAP_FAILED ? PLAN_NONE : PLAN_ALLOC;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		(void)sigaction(ends[i], &action, NULL);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* A thread that takes no signals would end without a word. */
EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
	sigset_t some;

	if (shim.plan == PLAN_ALLOC && set && how != SIG_UNBLOCK) {
		some = *set;
		for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
			(void)sigdelset(&some, ends[i]);
		set = &some;
	}
	return syscall(SYS_rt_sigprocmask, how, set, before, KERNEL_SET_BYTES) <
			       0
		       ? errno
		       : 0;
}

EXPORT void *malloc(size_t size)
{
	return shall_fail(size) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
	return shall_fail(count * size) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *memory, size_t size)
{
	return shall_fail(size) ? NULL : __libc_realloc(memory, size);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
