/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_LOG_H
#define COMMON_IO_LOG_H

#include "common/base/macro.h"
#include "common/io/conf.h"

#include <stddef.h>
#include <stdint.h>
#include <syslog.h> /* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */

/*
 * One event, one line, one MESSAGE_ID. The identifiers are explained in
 * systemd/rushes.catalog, so that "journalctl -x" says what to do, and
 * "journalctl RUSHES_JOB=…" is the life of one job across both programs.
 *
 * Only fcgi/, poller/ and common/flow/ log. Everything below returns a fault.
 *
 *	LOG_ERR      someone must look
 *	LOG_WARNING  we coped, and the message says how
 *	LOG_NOTICE   the program itself: started, stopped, back again
 *	LOG_INFO     a job moved
 *	LOG_DEBUG    the rest
 *
 * Never: keys, prompts, signed URLs, a stranger's whole answer.
 */

#define LOG_ID_STARTED		"9653736b1e764efd9ae100bdb4aaeb46"
#define LOG_ID_STOPPED		"3a8d4d1a9ca54b7187d1ace3f8a64186"
#define LOG_ID_CONF_WRONG	"503863bb76994c6688e2ee20011985a8"
#define LOG_ID_ALLOW_LOOPBACK	"52bb83db3f9c4a12a0a3ad15e585168f"
#define LOG_ID_JOB_MOVED	"4e3c3c448d3047e6a50ba6a096fdceaa"
#define LOG_ID_JOB_FAILED	"90f6d402ed0f436aaa3c715bb7ea894e"
#define LOG_ID_START_UNKNOWN	"a3de8f56c1834e32992e513704505c1a"
#define LOG_ID_START_RESOLVED	"f70fa971ce334b9c8595144f053896d5"
#define LOG_ID_DOUBLE_START	"757d42ae1626482db739f26b88563e64"
#define LOG_ID_WEBHOOK_ACCEPTED "ec8954f651da48c49fd654c625d5fa94"
#define LOG_ID_WEBHOOK_REFUSED	"c71ac49b6a1c48128ee12f74175cbb0c"
#define LOG_ID_WEBHOOK_FORGED	"09ccee8c3bf84dc19cadcd8f6ba8655c"
#define LOG_ID_PROVIDER_DOWN	"43f1185cb3c449b1ad059018667e1f33"
#define LOG_ID_PROVIDER_UP	"8f1aa700639f4ee6bc9cc6f34fc69e0a"
#define LOG_ID_STATUS_UNKNOWN	"1c845f975548480ea5491fb28636539d"
#define LOG_ID_STORE_FAILED	"57feb044c678427dbfc2132c7521f354"
#define LOG_ID_STORE_HANGS	"4f6f130d9005454ab48b9690c480cf98"
#define LOG_ID_DATABASE_LOST	"78b73b7beea24d888256d3c25c370066"
#define LOG_ID_DATABASE_BACK	"0bf8bc4267ad4204b4f74385fb8de9f4"
#define LOG_ID_LEASE_LOST	"48927d924dea480cbbec20bf0857abcc"
#define LOG_ID_CLEANUP_DONE	"aba4ec0234ba40cc967458f9269b8ae1"
#define LOG_ID_REQUEST_FAILED	"7ce5c71333434dfda83a7fffc4b9e142"

/* What a line is about. Members left NULL or 0 do not appear. */
struct log_context {
	const char *job;       /* RUSHES_JOB=, job= */
	const char *execution; /* RUSHES_EXECUTION=, execution= */
	const char *provider;  /* RUSHES_PROVIDER=, provider= */
	const char *state;     /* RUSHES_STATE=, state= */
	const char *request;   /* RUSHES_REQUEST=, request= */
	int32_t attempt;       /* RUSHES_ATTEMPT=, attempt= */
};

/* Where the program says it; filled in by log_event(). */
struct log_place {
	const char *file;
	int line;
	const char *function;
};

/**
 * Say where lines go from now on and which are left out. Called by main,
 * before there are threads: at once, so that a wrong configuration is told to
 * the journal, and again with what is configured. Before that, lines go to
 * stderr.
 *
 * @program  SYSLOG_IDENTIFIER; static text
 * @level    the least important that is still written
 */
void log_open(const char *program, int64_t level, enum conf_log_target target);

/**
 * Write one event. Safe from any thread, and one line is one write.
 *
 *	log_event(LOG_INFO, LOG_ID_JOB_MOVED,
 *		  &(struct log_context){ .job = job->id, .attempt = 2 },
 *		  "%s -> %s: %s", from, to, why);
 *
 * @context  struct log_context *, or NULL
 *
 * Control characters and bytes that are not UTF-8 are written as \xNN, so no
 * value can start a line or a field of its own.
 */
#define log_event(level, message_id, ...)                                      \
	log_write(&(const struct log_place){ __FILE__, __LINE__, __func__ },   \
		  level, message_id, __VA_ARGS__)

_printf_(5, 6) void log_write(const struct log_place *place, int level,
			      const char *message_id,
			      const struct log_context *context,
			      const char *format, ...);

/* The line that goes to stderr, without its newline; for tests. @return its
 * length, as snprintf() does. */
size_t log_format_line(int level, const struct log_context *context,
		       const char *message, char *ret, size_t size);

#endif
