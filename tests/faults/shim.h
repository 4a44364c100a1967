/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FAULTS_SHIM_H
#define TESTS_FAULTS_SHIM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the calls (shim.c) and the allocations (shim_memory.c) share. */

#define EXPORT __attribute__((visibility("default")))

enum {
	LABEL_BYTES = 160,
	LINE_BYTES = 256,
	PATH_BYTES = 256,
	FDS = 4096,
	EVENTS_MOST = 4,  /* named in one label */
	STACKS = 1 << 16, /* as exhaustion.test.mjs knows */
	STACK_DEPTH = 16,
	STACK_PROBES = 64,
};

enum plan { PLAN_NONE, PLAN_RECORD, PLAN_KILL, PLAN_ALLOC, PLAN_BIG };

enum peer { PEER_NONE, PEER_DATABASE, PEER_HTTP, PEER_NGINX, PEER_OTHER };

struct stack {
	_Atomic uint64_t hash; /* 0: free */
	_Atomic uint64_t failed;
};

struct shim {
	enum plan plan;
	bool after;
	long n;
	char point[LINE_BYTES];
	long seen;
	char dir[PATH_BYTES];
	int record_fd;
	struct stack *stacks;
	long gap, parts, part;
	atomic_long since; /* allocations since one failed */
	pthread_mutex_t lock;
};
extern struct shim shim;

/* Append to $SHIM_DIR/name. */
void shim_write_line(const char *name, const char *line);

/* Say in $SHIM_DIR/fired why, and end by SIGKILL. */
_Noreturn void shim_die(const char *point);

/* Append a word to a text that has room for size bytes, as far as it fits. */
void shim_put_word(char *label, size_t size, const char *word);

/* Carry out a plan of failing allocations, from now on. */
void shim_open_stacks(void);

#endif
