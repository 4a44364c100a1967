/* SPDX-License-Identifier: MIT */
#include "common/io/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

/* The caller's place goes in, not ours. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

/* Where and for what lines are written: set by log_open() before there are
 * threads, only read afterwards. A process has one log as it has one stderr,
 * hence static state, of which common/ has no other (but what libcrypto
 * found, in base/crypto). */
static struct {
	const char *program;
	int level;
	bool journal;
} sink = { .program = "rushes", .level = LOG_DEBUG };

enum {
	MESSAGE_BYTES_MAX = 2048,
	LINE_BYTES_MAX = 4096,
	VALUE_BYTES_MAX = 512,
	FIELDS_MAX = 16,
};

/* $JOURNAL_STREAM is "device:inode" of the journal's stream socket; if stderr
 * is that very socket, what we write there ends up in the journal. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	int end = 0;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	if (sscanf(stream, "%ju:%ju%n", &device, &inode, &end) != 2 ||
	    stream[end] != '\0')
		return false;
	return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void log_open(const char *program, int64_t level, enum conf_log_target target)
{
	sink.program = program;
	sink.level = (int)level;
	switch (target) {
	case CONF_LOG_AUTO:
		sink.journal = stderr_is_journal();
		break;
	case CONF_LOG_JOURNAL:
		sink.journal = access("/run/systemd/journal/socket", F_OK) == 0;
		break;
	case CONF_LOG_STDERR:
		sink.journal = false;
		break;
	}
}

/* How many bytes the UTF-8 character at text has; 0 if it is none. */
static size_t character_size(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t size = c[0] < 0x80		     ? 1
		      : c[0] >= 0xc2 && c[0] <= 0xdf ? 2
		      : c[0] >= 0xe0 && c[0] <= 0xef ? 3
		      : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4
						     : 0;

	for (size_t i = 1; i < size; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, what is beyond Unicode, and the C1
	 * controls, which some terminals obey. */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f) ||
	    (c[0] == 0xc2 && c[1] < 0xa0))
		return 0;
	return size;
}

/* A text that is being put together in a buffer. What does not fit, and all
 * that comes after it, is left out; the total goes on. */
struct line {
	char *text;
	size_t size, length, total;
	bool full;
};

static void add(struct line *line, const char *bytes, size_t count)
{
	line->total += count;
	if (line->full || line->length + count >= line->size) {
		line->full = true;
		return;
	}
	memcpy(line->text + line->length, bytes, count);
	line->length += count;
}

/* Add a foreign text so that it cannot start a line, a field or an escape
 * sequence of its own. */
static void add_clean(struct line *line, const char *text)
{
	while (*text) {
		size_t size = character_size(text);
		char escape[5];

		if (size == 0 || (unsigned char)*text < 0x20 || *text == 0x7f) {
			(void)snprintf(escape, sizeof(escape), "\\x%02x",
				       (unsigned)(unsigned char)*text);
			add(line, escape, 4);
			text++;
			continue;
		}
		add(line, text, size);
		text += size;
	}
}

static void finish(struct line *line)
{
	if (line->size > 0)
		line->text[line->length] = '\0';
}

static void add_value(struct line *line, const char *name, const char *value)
{
	if (!value)
		return;
	add(line, " ", 1);
	add(line, name, strlen(name));
	add(line, "=", 1);
	add_clean(line, value);
}

static const char *level_name(int level)
{
	switch (level) {
	case LOG_ERR:
		return "ERR";
	case LOG_WARNING:
		return "WARNING";
	case LOG_NOTICE:
		return "NOTICE";
	case LOG_INFO:
		return "INFO";
	case LOG_DEBUG:
		return "DEBUG";
	default:
		return "CRIT";
	}
}

size_t log_format_line(int level, const struct log_context *context,
		       const char *message, char *ret, size_t size)
{
	struct line line = { .text = ret, .size = size };
	char number[12];

	add(&line, level_name(level), strlen(level_name(level)));
	add(&line, " ", 1);
	add_clean(&line, message);
	if (context) {
		add_value(&line, "job", context->job);
		add_value(&line, "execution", context->execution);
		add_value(&line, "provider", context->provider);
		add_value(&line, "state", context->state);
		if (context->attempt > 0) {
			(void)snprintf(number, sizeof(number), "%" PRId32,
				       context->attempt);
			add_value(&line, "attempt", number);
		}
		add_value(&line, "request", context->request);
	}
	finish(&line);
	return line.total;
}

static void write_stderr(int level, const struct log_context *context,
			 const char *message)
{
	char text[LINE_BYTES_MAX];
	size_t length, done = 0;
	ssize_t n;

	(void)log_format_line(level, context, message, text, sizeof(text) - 1);
	length = strlen(text);
	text[length++] = '\n';
	/* One write, so that lines of threads do not mix; what cannot be
	 * written cannot be reported either. */
	while (done < length) {
		n = write(STDERR_FILENO, text + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

/* The journal's fields of one event, and room for their text. */
struct fields {
	struct iovec iov[FIELDS_MAX];
	int count;
	char text[FIELDS_MAX][VALUE_BYTES_MAX];
	char message[MESSAGE_BYTES_MAX];
};

static void add_field(struct fields *fields, const char *name,
		      const char *value)
{
	bool message = strcmp(name, "MESSAGE") == 0;
	struct line line = {
		.size = message ? MESSAGE_BYTES_MAX : VALUE_BYTES_MAX,
	};

	if (!value || fields->count == FIELDS_MAX)
		return;
	line.text = message ? fields->message : fields->text[fields->count];
	add(&line, name, strlen(name));
	add(&line, "=", 1);
	add_clean(&line, value);
	finish(&line);
	fields->iov[fields->count++] = (struct iovec){
		.iov_base = line.text,
		.iov_len = line.length,
	};
}

static void add_number(struct fields *fields, const char *name, int number)
{
	char text[12];

	(void)snprintf(text, sizeof(text), "%d", number);
	add_field(fields, name, text);
}

static int write_journal(const struct log_place *place, int level,
			 const char *message_id,
			 const struct log_context *context, const char *message)
{
	struct fields fields = { .count = 0 };

	add_field(&fields, "MESSAGE", message);
	add_field(&fields, "MESSAGE_ID", message_id);
	add_field(&fields, "SYSLOG_IDENTIFIER", sink.program);
	add_number(&fields, "PRIORITY", level);
	add_field(&fields, "CODE_FILE", place->file);
	add_number(&fields, "CODE_LINE", place->line);
	add_field(&fields, "CODE_FUNC", place->function);
	if (context) {
		add_field(&fields, "RUSHES_JOB", context->job);
		add_field(&fields, "RUSHES_EXECUTION", context->execution);
		add_field(&fields, "RUSHES_PROVIDER", context->provider);
		add_field(&fields, "RUSHES_STATE", context->state);
		if (context->attempt > 0)
			add_number(&fields, "RUSHES_ATTEMPT", context->attempt);
		add_field(&fields, "RUSHES_REQUEST", context->request);
	}
	return sd_journal_sendv(fields.iov, fields.count);
}

void log_write(const struct log_place *place, int level, const char *message_id,
	       const struct log_context *context, const char *format, ...)
{
	char message[MESSAGE_BYTES_MAX];
	va_list args;

	if (level > sink.level)
		return;
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);

	if (!sink.journal ||
	    write_journal(place, level, message_id, context, message) < 0)
		write_stderr(level, context, message);
}
