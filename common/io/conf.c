/* SPDX-License-Identifier: MIT */
#include "common/io/conf.h"

#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/io/conf_table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FILE_BYTES_MAX = 64 * 1024,
	CA_BYTES_MAX = 4 * 1024 * 1024, /* a system's has a quarter of one */
};

DEFINE_CLEANUP(char *, free);

static void close_fdp(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

/* @return a descriptor; -ENOENT when there is no such file, without a fault;
 *	   -errno */
static int open_file(const char *path, struct fault *reterr_fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return fault_set(reterr_fault, -errno, "cannot be read: %s",
				 strerror(errno));
	return fd;
}

/* Into a buffer with room for one byte more. @return 0; -EFBIG; -errno */
static int read_file(int fd, char *buffer, size_t most, size_t *ret_size,
		     struct fault *reterr_fault)
{
	size_t size = 0;
	ssize_t n;

	while ((n = read(fd, buffer + size, most + 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0)
		return fault_set(reterr_fault, -errno, "cannot be read: %s",
				 strerror(errno));
	if (size > most)
		return fault_set(reterr_fault, -EFBIG,
				 "is a file of more than %zu bytes", most);
	*ret_size = size;
	return 0;
}

/* @return 0; -ENOENT when there is no such file, without a fault; -errno */
static int read_whole(const char *path, struct arena *arena, char **ret,
		      struct fault *reterr_fault)
{
	_cleanup_(close_fdp) int fd = open_file(path, reterr_fault);
	char *text;
	size_t size = 0;
	int r;

	if (fd < 0)
		return fd;
	text = arena_alloc(arena, FILE_BYTES_MAX + 1);
	if (!text)
		return fault_set(reterr_fault, -ENOMEM, "is too long");
	r = read_file(fd, text, FILE_BYTES_MAX, &size, reterr_fault);
	if (r < 0)
		return r;
	if (memchr(text, '\0', size))
		return fault_set(reterr_fault, -EINVAL,
				 "is a file with a zero byte in it");
	if (size > 0 && text[size - 1] == '\n')
		size--;
	text[size] = '\0';
	*ret = text;
	return 0;
}

/* The text of a secret from $CREDENTIALS_DIRECTORY; NULL if none is there. */
static int find_credential(const struct conf_row *row, struct arena *arena,
			   char **ret, struct fault *reterr_fault)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char *path;
	int r;

	if (!row->secret || !folder || !*folder)
		return 0;
	path = arena_printf(arena, "%s/%s", folder, row->name);
	if (!path)
		return fault_set(reterr_fault, -ENOMEM, "is too long");
	r = read_whole(path, arena, ret, reterr_fault);
	return r == -ENOENT ? 0 : r;
}

/* The text of a setting, without its default; NULL if it is not set. */
static int find(const struct conf_row *row, struct arena *arena, char **ret,
		struct fault *reterr_fault)
{
	const char *value;
	int r;

	*ret = NULL;
	r = find_credential(row, arena, ret, reterr_fault);
	if (r < 0 || *ret)
		return r;
	value = getenv(row->name);
	if (!value || !*value)
		return 0;
	if (row->parse == conf_parse_account) {
		r = read_whole(value, arena, ret, reterr_fault);
		if (r == -ENOENT)
			return fault_set(reterr_fault, -ENOENT,
					 "names a file that does not exist");
		return r;
	}
	*ret = arena_strdup(arena, value);
	return *ret ? 0 : fault_set(reterr_fault, -ENOMEM, "is too long");
}

/* Nothing but blanks is nothing: it must not pass for a key. */
static bool is_nothing(const char *value)
{
	return !value || value[strspn(value, " \t\r\n")] == '\0';
}

static int load_row(const struct conf_row *row, enum conf_program program,
		    struct arena *arena, struct conf *conf,
		    struct fault *reterr_fault)
{
	struct fault rest = { "" };
	char *value = NULL;
	int r = 0;

	/* A secret that is not for this program is not even looked at. */
	if (!row->secret || (row->used & program))
		r = find(row, arena, &value, &rest);
	if (r >= 0 && is_nothing(value)) {
		if (row->needed & program)
			return fault_set(reterr_fault, -EINVAL,
					 "%s is not set: %s", row->name,
					 row->help);
		value = row->preset ? arena_strdup(arena, row->preset) : NULL;
	}
	if (r >= 0 && value)
		r = row->parse(row, value, arena, conf, &rest);
	/* What looks wrong may only have been cut for want of memory. */
	if (arena_failed(arena) || r == -ENOMEM)
		return fault_set(reterr_fault, -ENOMEM,
				 "%s: the configuration is too long",
				 row->name);
	if (r < 0)
		return fault_set(reterr_fault, -EINVAL, "%s %s", row->name,
				 rest.text);
	return 0;
}

/* @return how many certificates are in a file; -ENOENT when there is no such
 *	   file, -ENOMEM, both without a fault; -errno */
static int count_certificates(const char *path, struct fault *reterr_fault)
{
	_cleanup_(close_fdp) int fd = open_file(path, reterr_fault);
	_cleanup_(freep) char *text = NULL;
	size_t size = 0;
	int r;

	if (fd < 0)
		return fd;
	text = malloc(CA_BYTES_MAX + 1);
	if (!text)
		return -ENOMEM;
	r = read_file(fd, text, CA_BYTES_MAX, &size, reterr_fault);
	if (r < 0)
		return r;
	r = crypto_count_certificates(text, size);
	if (r == -EINVAL)
		return fault_set(reterr_fault, r,
				 "is a file with a broken certificate in it");
	return r;
}

/* libcurl would look only when the first medium is stored, and that is paid
 * for by then. */
static int check_ca_file(const char *path, struct fault *reterr_fault)
{
	struct fault rest = { "is a file without a certificate in PEM" };
	int r = count_certificates(path, &rest);

	if (r > 0)
		return 0;
	if (r == -ENOMEM)
		return fault_set(reterr_fault, r,
				 "S3_CA_FILE: no memory to read it");
	return fault_set(reterr_fault, -EINVAL,
			 "S3_CA_FILE %s; it is to hold the certificates of the "
			 "S3 service's authorities, in PEM, and the program's "
			 "user must be able to read it (without it the "
			 "system's are trusted)",
			 r == -ENOENT ? "names a file that does not exist"
				      : rest.text);
}

/* Where the public finds the bucket when nothing else is said. */
static const char *bucket_url(const struct conf *conf, struct arena *arena)
{
	const char *host = strstr(conf->s3_url, "://") + 3;
	size_t prefix = strlen(conf->store_prefix);

	if (prefix > 0)
		prefix--; /* its slash */
	if (conf->s3_virtual_style)
		return arena_printf(arena, "%.*s%s.%s%s%.*s",
				    (int)(host - conf->s3_url), conf->s3_url,
				    conf->store_bucket, host, prefix ? "/" : "",
				    (int)prefix, conf->store_prefix);
	return arena_printf(arena, "%s/%s%s%.*s", conf->s3_url,
			    conf->store_bucket, prefix ? "/" : "", (int)prefix,
			    conf->store_prefix);
}

static int derive_store(enum conf_program program, struct arena *arena,
			struct conf *conf, struct fault *reterr_fault)
{
	int r = 0;

	/* Others need not be able to read it. */
	if (program == CONF_POLLER && conf->s3_ca_file)
		r = check_ca_file(conf->s3_ca_file, reterr_fault);
	if (r < 0)
		return r;
	if (conf->store_kind == CONF_STORE_S3) {
		if (!conf->s3_url)
			return fault_set(reterr_fault, -EINVAL,
					 "S3_URL is not set, and STORE_URL is "
					 "an s3:// URL");
		if (program == CONF_POLLER &&
		    (!conf->s3_access_key || !conf->s3_secret_key))
			return fault_set(reterr_fault, -EINVAL,
					 "%s is not set, and STORE_URL is an "
					 "s3:// URL",
					 conf->s3_access_key ? "S3_SECRET_KEY"
							     : "S3_ACCESS_KEY");
		if (!conf->cdn_base_url)
			conf->cdn_base_url = bucket_url(conf, arena);
	}
	if (conf->store_kind == CONF_STORE_FILE && !conf->cdn_base_url &&
	    conf->api_base_url)
		conf->cdn_base_url =
			arena_printf(arena, "%s/media", conf->api_base_url);
	return 0;
}

static void derive_peers(struct conf *conf)
{
	char buffer[4096];
	struct passwd entry, *found;

	if (conf->peer_count > 0 || conf->has_peer_gid)
		return;
	conf->peer_uid[conf->peer_count++] = getuid();
	if (getpwnam_r("www-data", &entry, buffer, sizeof(buffer), &found) ==
		    0 &&
	    found)
		conf->peer_uid[conf->peer_count++] = found->pw_uid;
}

static int derive(enum conf_program program, struct arena *arena,
		  struct conf *conf, struct fault *reterr_fault)
{
	if (!conf->database_admin_url)
		conf->database_admin_url = conf->database_url;
	if (program == CONF_ADMIN && !conf->database_admin_url)
		return fault_set(reterr_fault, -EINVAL,
				 "neither DATABASE_ADMIN_URL nor DATABASE_URL "
				 "is set");
	for (size_t i = 0; i < CONF_PROVIDERS; i++) {
		struct provider_settings *settings = &conf->provider[i];

		if (!settings->list_url)
			settings->list_url = settings->base_url;
		if (settings->poll_first_ms > 0 && settings->poll_most_ms > 0 &&
		    settings->poll_first_ms > settings->poll_most_ms)
			return fault_set(reterr_fault, -EINVAL,
					 "the first poll of %s comes after its "
					 "longest pause (…_POLL_FIRST_MS, "
					 "…_POLL_MOST_MS)",
					 settings->name);
	}
	derive_peers(conf);
	return derive_store(program, arena, conf, reterr_fault);
}

int conf_load(enum conf_program program, struct arena *arena, struct conf *ret,
	      struct fault *reterr_fault)
{
	struct conf conf = {
		.provider = { { .name = "replicate" },
			      { .name = "fal" },
			      { .name = "vertex" } },
	};
	const struct conf_row *row;
	int r;

	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		r = load_row(row, program, arena, &conf, reterr_fault);
		if (r < 0)
			return r;
	}
	r = derive(program, arena, &conf, reterr_fault);
	if (r < 0)
		return r;
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM,
				 "the configuration is too long");
	*ret = conf;
	return 0;
}

const struct provider_settings *conf_provider(const struct conf *conf,
					      const char *name)
{
	for (size_t i = 0; i < CONF_PROVIDERS; i++) {
		if (strcmp(conf->provider[i].name, name) == 0)
			return &conf->provider[i];
	}
	return NULL;
}

const char *conf_warning(const struct conf *conf)
{
	return conf->allow_loopback
		       ? "ALLOW_LOOPBACK=1: http and loopback addresses are "
			 "allowed, which is for tests and development only"
		       : NULL;
}

void conf_print(enum conf_program program, FILE *out)
{
	const struct conf_row *row;

	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(FILE_BYTES_MAX * 4);
		char *value = NULL;

		if (!(row->used & program) || !arena)
			continue;
		if (find(row, arena, &value, NULL) < 0 || is_nothing(value)) {
			if (row->preset)
				(void)fprintf(out, "%s=%s  # default\n",
					      row->name, row->preset);
			else
				(void)fprintf(out, "# %s is not set\n",
					      row->name);
		} else {
			(void)fprintf(out, "%s=%s\n", row->name,
				      row->secret ? "(set)" : value);
		}
	}
}

/* What follows a setting's line of help: "[60; 5 to 3600 s]". */
static void print_facts(const struct conf_row *row, enum conf_program program,
			FILE *out)
{
	const char *before = "[";

	(void)fprintf(out, "  %-30s ", "");
	if (row->needed & program) {
		(void)fprintf(out, "%srequired", before);
		before = "; ";
	}
	if (row->secret) {
		(void)fprintf(out, "%ssecret", before);
		before = "; ";
	}
	if (row->preset) {
		(void)fprintf(out, "%s%s", before, row->preset);
		before = "; ";
	}
	if (row->unit && row->least < row->most &&
	    row->parse != conf_parse_bool)
		(void)fprintf(out, "%s%" PRId64 " to %" PRId64 " %s", before,
			      row->least, row->most, row->unit);
	else if (row->unit)
		(void)fprintf(out, "%s%s", before, row->unit);
	(void)fprintf(out, "]\n");
}

void conf_print_help(enum conf_program program, FILE *out)
{
	const struct conf_row *row;

	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		if (!(row->used & program))
			continue;
		(void)fprintf(out, "  %-30s %s\n", row->name, row->help);
		if (row->preset || row->unit || row->secret ||
		    (row->needed & program))
			print_facts(row, program, out);
	}
}
