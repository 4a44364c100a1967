/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into one program of a test: counts the calls that touch the
 * world, and does one thing at one of them. What it does is in the file
 * $SHIM_DIR/plan, read when the program starts:
 *
 *	record			    append each point to $SHIM_DIR/record
 *	kill before N KIND LABEL    SIGKILL ourselves before the Nth such call
 *	kill after N KIND LABEL     ... or after it
 *	alloc GAP PARTS N	    fail allocations, see below
 *	big N			    SIGKILL ourselves instead of allocating so
 *				    many bytes at once, as if out of memory
 *
 * A point is a kind of call and a label that says what it is about: the
 * statement of a connection to PostgreSQL, the request of one to a provider or
 * from nginx, the file. Numbers and identifiers are left out of labels, so
 * that they are the same in each run. A plan is carried out once: it is
 * removed, and $SHIM_DIR/fired tells, before the signal.
 *
 * With "alloc" one allocation of each call stack that asks for memory fails
 * (of the Nth of PARTS parts of them), and at least GAP go well in between.
 * Stacks are known by where their innermost calls are, whatever the addresses
 * of this run; they stay known over the program's lives, in $SHIM_DIR/stacks.
 *
 * Calls are made here by syscall(): libc's own functions of these names are
 * behind us. Only what goes through the dynamic linker is seen, so what libc
 * does for itself (files of its configuration, standard error) is no point.
 */

#include "shim.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

struct shim shim = {
	.record_fd = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static struct what {
	enum peer peer;
	char label[LABEL_BYTES];
} fds[FDS];

static struct what *what_of(int fd)
{
	return fd >= 0 && fd < FDS ? &fds[fd] : NULL;
}

/* ---- labels ---------------------------------------------------------------
 */

/* Whether a word is somebody's name or number, and so differs from run to
 * run. */
static bool is_unique(const char *word, size_t length)
{
	size_t digits = 0;

	for (size_t i = 0; i < length; i++)
		digits += word[i] >= '0' && word[i] <= '9';
	return length >= 8 && digits > 0;
}

/* Copy a path or URL up to its end, with "*" for what is unique. */
static void put_path(char *to, size_t size, const char *path, size_t length)
{
	size_t used = strlen(to), start = 0;

	for (size_t i = 0; i <= length && used + 2 < size; i++) {
		char c = (char)(i < length ? path[i] : '\0');

		if (c && c != '/' && c != '?' && c > ' ' && c < 127)
			continue;
		if (is_unique(path + start, i - start)) {
			to[used++] = '*';
		} else {
			for (; start < i && used + 2 < size; start++)
				to[used++] = path[start];
		}
		start = i + 1;
		if (c != '/')
			break;
		to[used++] = '/';
	}
	to[used] = '\0';
}

/* The last two parts of a file's name say enough. */
static void name_file(struct what *what, const char *path)
{
	const char *tail = path + strlen(path);

	for (int parts = 2; tail > path && parts > 0; tail--)
		parts -= tail[-1] == '/';
	*what = (struct what){ .peer = PEER_OTHER, .label = "file " };
	put_path(what->label, sizeof(what->label), tail, strlen(tail));
}

void shim_put_word(char *label, size_t size, const char *word)
{
	size_t used = strlen(label);

	(void)snprintf(label + used, size - used, "%s", word);
}

static void set_label(struct what *what, const char *word)
{
	what->label[0] = '\0';
	shim_put_word(what->label, sizeof(what->label), word);
}

/* The events of a move: they tell which of its many uses this is. */
static void put_events(char *label, size_t size, const char *bytes, size_t n)
{
	static const char key[] = "\"event\":";
	const char *at = bytes, *end = bytes + n;

	for (int i = 0; i < EVENTS_MOST; i++) {
		char word[32] = " ";
		size_t used = 1;

		at = memmem(at, (size_t)(end - at), key, sizeof(key) - 1);
		if (!at)
			return;
		at += sizeof(key) - 1;
		while (at < end && (*at == ' ' || *at == '"'))
			at++;
		while (at < end && *at != '"' && used + 1 < sizeof(word))
			word[used++] = *at++;
		word[used] = '\0';
		if (!strstr(label, word))
			shim_put_word(label, size, word);
	}
}

/* What libpq is about to send; what is no beginning changes nothing. */
static void name_statement(struct what *what, const char *bytes, size_t n)
{
	size_t portal;

	if (n < 6)
		return;
	switch (bytes[0]) {
	case '\0':
		set_label(what, "db startup");
		break;
	case 'P':
		set_label(what, "db prepare");
		break;
	case 'X':
		set_label(what, "db goodbye");
		break;
	case 'B':
		portal = strnlen(bytes + 5, n - 5);
		if (portal + 6 >= n)
			return;
		(void)snprintf(what->label, sizeof(what->label), "db %.*s",
			       (int)strnlen(bytes + 6 + portal, n - 6 - portal),
			       bytes + 6 + portal);
		put_events(what->label, sizeof(what->label), bytes, n);
		break;
	default:
		break;
	}
}

/* A request's first line. */
static void name_request(struct what *what, const char *bytes, size_t n)
{
	static const char *const methods[] = { "GET ", "POST ", "PUT " };

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		size_t length = strlen(methods[i]);

		if (n <= length || memcmp(bytes, methods[i], length) != 0)
			continue;
		(void)snprintf(what->label, sizeof(what->label), "http %s",
			       methods[i]);
		put_path(what->label, sizeof(what->label), bytes + length,
			 n - length);
	}
}

static void name_sent(int fd, const void *bytes, size_t n)
{
	struct what *what = what_of(fd);

	if (what && what->peer == PEER_DATABASE)
		name_statement(what, bytes, n);
	else if (what && what->peer == PEER_HTTP)
		name_request(what, bytes, n);
}

/* The value of a FastCGI parameter, which follows its name. */
static void put_param(char *label, size_t size, const char *bytes, size_t n,
		      const char *name)
{
	size_t length = strlen(name);
	const char *at = memmem(bytes, n, name, length);

	if (!at)
		return;
	at += length;
	n -= (size_t)(at - bytes);
	length = 0;
	/* Its length stands before its name; but no method and no path of
	 * ours goes on with what follows it. */
	while (length < n && (isalnum((unsigned char)at[length]) ||
			      memchr("/-._", at[length], 4)))
		length++;
	put_path(label, size, at, length);
}

/* What nginx has sent and we are about to read. */
static void name_asked(int fd)
{
	struct what *what = what_of(fd);
	char bytes[8192];
	ssize_t n;

	if (!what || what->peer != PEER_NGINX)
		return;
	n = syscall(SYS_recvfrom, fd, bytes, sizeof(bytes),
		    MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
	if (n <= 0 || !memmem(bytes, (size_t)n, "DOCUMENT_URI", 12))
		return;
	set_label(what, "nginx ");
	put_param(what->label, sizeof(what->label), bytes, (size_t)n,
		  "REQUEST_METHOD");
	shim_put_word(what->label, sizeof(what->label), " ");
	put_param(what->label, sizeof(what->label), bytes, (size_t)n,
		  "DOCUMENT_URI");
}

static void name_address(int fd, const struct sockaddr *address, socklen_t size)
{
	struct what *what = what_of(fd);
	const struct sockaddr_un *local = (const struct sockaddr_un *)address;
	bool is_database;

	if (!what || !address || size < sizeof(address->sa_family))
		return;
	*what = (struct what){ .peer = PEER_OTHER };
	if (address->sa_family == AF_INET || address->sa_family == AF_INET6) {
		what->peer = PEER_HTTP;
		set_label(what, "http");
	} else if (address->sa_family == AF_UNIX) {
		is_database = strstr(local->sun_path, ".s.PGSQL.") != NULL;
		what->peer = is_database ? PEER_DATABASE : PEER_OTHER;
		(void)snprintf(what->label, sizeof(what->label), "%s",
			       is_database ? "db connect"
			       : strstr(local->sun_path, "notify") ? "notify"
								   : "wake");
	} else {
		*what = (struct what){ 0 };
	}
}

/* ---- the plan -------------------------------------------------------------
 */

void shim_write_line(const char *name, const char *line)
{
	char path[PATH_BYTES + 16];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", shim.dir, name);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	(void)syscall(SYS_write, fd, line, strlen(line));
	(void)syscall(SYS_close, fd);
}

void shim_die(const char *point)
{
	char text[LINE_BYTES + 64];

	(void)snprintf(text, sizeof(text), "%s/plan", shim.dir);
	(void)syscall(SYS_unlinkat, AT_FDCWD, text, 0);
	(void)snprintf(text, sizeof(text), "%d %s\n", (int)getpid(), point);
	shim_write_line("fired", text);
	(void)syscall(SYS_kill, getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

static void write_record(const char *point)
{
	char line[LINE_BYTES + 32];
	int n = snprintf(line, sizeof(line), "%d %s\n", (int)getpid(), point);

	(void)syscall(SYS_write, shim.record_fd, line, (size_t)n);
}

/* One call is about to be made. @return whether to die after it */
static bool before(const char *kind, const char *label)
{
	char point[LINE_BYTES];
	bool now;

	if (shim.plan != PLAN_RECORD && shim.plan != PLAN_KILL)
		return false;
	(void)snprintf(point, sizeof(point), "%s %s", kind, label);
	if (shim.plan == PLAN_RECORD) {
		write_record(point);
		return false;
	}
	if (strcmp(point, shim.point) != 0)
		return false;
	(void)pthread_mutex_lock(&shim.lock);
	now = ++shim.seen == shim.n;
	(void)pthread_mutex_unlock(&shim.lock);
	if (now && !shim.after)
		shim_die(shim.point);
	return now;
}

static bool before_fd(const char *kind, int fd)
{
	const struct what *what = what_of(fd);

	return what && what->peer != PEER_NONE && before(kind, what->label);
}

static bool before_path(const char *kind, const char *path)
{
	struct what what;

	name_file(&what, path);
	return before(kind, what.label);
}

static ssize_t after(bool dies, ssize_t result)
{
	if (dies)
		shim_die(shim.point);
	return result;
}

/* libc's headers name their parameters in another way. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* ---- the calls ------------------------------------------------------------
 */

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	bool dies;

	name_address(fd, address, size);
	dies = before_fd("connect", fd);
	return (int)after(dies, syscall(SYS_connect, fd, address, size));
}

EXPORT int accept4(int listen_fd, struct sockaddr *address, socklen_t *size,
		   int flags)
{
	bool dies = before("accept", "nginx");
	int fd = (int)after(
		dies, syscall(SYS_accept4, listen_fd, address, size, flags));
	struct what *what = what_of(fd);

	if (what)
		*what = (struct what){ .peer = PEER_NGINX, .label = "nginx" };
	return fd;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t n)
{
	bool dies;

	name_sent(fd, bytes, n);
	dies = before_fd("write", fd);
	return after(dies, syscall(SYS_write, fd, bytes, n));
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
	bool dies = before_fd("write", fd);

	return after(dies, syscall(SYS_writev, fd, parts, count));
}

EXPORT ssize_t sendto(int fd, const void *bytes, size_t n, int flags,
		      const struct sockaddr *address, socklen_t size)
{
	bool dies;

	if (address)
		name_address(fd, address, size);
	name_sent(fd, bytes, n);
	dies = before_fd("send", fd);
	return after(dies,
		     syscall(SYS_sendto, fd, bytes, n, flags, address, size));
}

EXPORT ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
	return sendto(fd, bytes, n, flags, NULL, 0);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	bool dies;

	if (message->msg_name)
		name_address(fd, message->msg_name, message->msg_namelen);
	dies = before_fd("send", fd);
	return after(dies, syscall(SYS_sendmsg, fd, message, flags));
}

EXPORT ssize_t read(int fd, void *bytes, size_t n)
{
	bool dies;

	name_asked(fd);
	dies = before_fd("read", fd);
	return after(dies, syscall(SYS_read, fd, bytes, n));
}

EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
	bool dies = before_fd("read", fd);

	return after(dies, syscall(SYS_readv, fd, parts, count));
}

EXPORT ssize_t pread(int fd, void *bytes, size_t n, off_t offset)
{
	bool dies = before_fd("read", fd);

	return after(dies, syscall(SYS_pread64, fd, bytes, n, offset));
}

EXPORT ssize_t recvfrom(int fd, void *restrict bytes, size_t n, int flags,
			struct sockaddr *restrict address,
			socklen_t *restrict size)
{
	bool dies = before_fd("recv", fd);

	return after(dies,
		     syscall(SYS_recvfrom, fd, bytes, n, flags, address, size));
}

EXPORT ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
	return recvfrom(fd, bytes, n, flags, NULL, NULL);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	bool dies = before_fd("recv", fd);

	return after(dies, syscall(SYS_recvmsg, fd, message, flags));
}

EXPORT int shutdown(int fd, int how)
{
	bool dies = before_fd("shutdown", fd);

	return (int)after(dies, syscall(SYS_shutdown, fd, how));
}

EXPORT int close(int fd)
{
	struct what *what = what_of(fd);
	bool dies = before_fd("close", fd);

	if (what)
		*what = (struct what){ 0 };
	return (int)after(dies, syscall(SYS_close, fd));
}

static int open_at(int folder_fd, const char *path, int flags, mode_t mode)
{
	struct what what;
	bool dies;
	int fd;

	name_file(&what, path);
	dies = before("open", what.label);
	fd = (int)after(dies,
			syscall(SYS_openat, folder_fd, path, flags, mode));
	if (what_of(fd))
		*what_of(fd) = what;
	return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))
		       ? va_arg(rest, mode_t)
		       : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list rest;

	va_start(rest, flags);
	mode = mode_of(flags, rest);
	va_end(rest);
	return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int folder_fd, const char *path, int flags, ...)
{
	mode_t mode;
	va_list rest;

	va_start(rest, flags);
	mode = mode_of(flags, rest);
	va_end(rest);
	return open_at(folder_fd, path, flags, mode);
}

EXPORT int fsync(int fd)
{
	bool dies = before_fd("fsync", fd);

	return (int)after(dies, syscall(SYS_fsync, fd));
}

EXPORT int ftruncate(int fd, off_t size)
{
	bool dies = before_fd("ftruncate", fd);

	return (int)after(dies, syscall(SYS_ftruncate, fd, size));
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t size)
{
	bool dies = before_fd("fallocate", fd);

	return (int)after(dies, syscall(SYS_fallocate, fd, mode, offset, size));
}

EXPORT int fchmod(int fd, mode_t mode)
{
	bool dies = before_fd("chmod", fd);

	return (int)after(dies, syscall(SYS_fchmod, fd, mode));
}

EXPORT int fchmodat(int folder_fd, const char *path, mode_t mode, int flags)
{
	bool dies = before_path("chmod", path);

	(void)flags; /* we never give any, and the call has none */
	return (int)after(dies, syscall(SYS_fchmodat, folder_fd, path, mode));
}

EXPORT int mkdirat(int folder_fd, const char *path, mode_t mode)
{
	bool dies = before_path("mkdir", path);

	return (int)after(dies, syscall(SYS_mkdirat, folder_fd, path, mode));
}

EXPORT int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

EXPORT int renameat(int old_fd, const char *old_path, int new_fd,
		    const char *new_path)
{
	bool dies = before_path("rename", new_path);

	return (int)after(dies, syscall(SYS_renameat2, old_fd, old_path, new_fd,
					new_path, 0));
}

EXPORT int unlinkat(int folder_fd, const char *path, int flags)
{
	bool dies = before_path("unlink", path);

	return (int)after(dies, syscall(SYS_unlinkat, folder_fd, path, flags));
}

EXPORT int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

EXPORT ssize_t copy_file_range(int from_fd, off_t *from, int to_fd, off_t *to,
			       size_t size, unsigned int flags)
{
	bool dies = before_fd("copy", to_fd);

	return after(dies, syscall(SYS_copy_file_range, from_fd, from, to_fd,
				   to, size, flags));
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- the beginning --------------------------------------------------------
 */

static void read_plan(char *text)
{
	char path[PATH_BYTES + 16], side[8];
	int at = 0;

	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "record") == 0) {
		(void)snprintf(path, sizeof(path), "%s/record", shim.dir);
		shim.record_fd = (int)syscall(
			SYS_openat, AT_FDCWD, path,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		shim.plan = PLAN_RECORD;
	} else if (sscanf(text, "kill %7s %ld %n", side, &shim.n, &at) == 2) {
		shim.after = strcmp(side, "after") == 0;
		(void)snprintf(shim.point, sizeof(shim.point), "%s", text + at);
		shim.plan = PLAN_KILL;
	} else if (sscanf(text, "alloc %ld %ld %ld", &shim.gap, &shim.parts,
			  &shim.part) == 3) {
		shim_open_stacks();
	} else if (sscanf(text, "big %ld", &shim.n) == 1) {
		shim.plan = PLAN_BIG;
	}
}

/* Descriptors that were there before us: sockets of systemd's. */
static void name_inherited(void)
{
	const char *text = getenv("LISTEN_FDS");
	long count = text ? strtol(text, NULL, 10) : 0;

	for (int i = 0; i < count && i < FDS - 3; i++) {
		struct sockaddr_un address;
		socklen_t size = sizeof(address);
		struct what *what = &fds[3 + i];
		int type = 0;
		socklen_t type_size = sizeof(type);

		(void)getsockopt(3 + i, SOL_SOCKET, SO_TYPE, &type, &type_size);
		if (type == SOCK_DGRAM)
			*what = (struct what){ PEER_OTHER, "wake" };
		else if (getpeername(3 + i, (struct sockaddr *)&address,
				     &size) == 0)
			*what = (struct what){ PEER_NGINX, "nginx" };
	}
}

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("SHIM_DIR");
	char text[LINE_BYTES * 2] = "";
	char path[PATH_BYTES + 16];
	int fd;

	if (!dir || strlen(dir) >= sizeof(shim.dir))
		return;
	shim_put_word(shim.dir, sizeof(shim.dir), dir);
	name_inherited();
	(void)snprintf(path, sizeof(path), "%s/plan", dir);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)syscall(SYS_read, fd, text, sizeof(text) - 1);
	(void)syscall(SYS_close, fd);
	read_plan(text);
}
