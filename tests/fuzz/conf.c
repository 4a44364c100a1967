/* SPDX-License-Identifier: MIT */
/*
 * Configuration. Input: a byte that chooses the program, then lines of
 * NAME=value; a number in place of the name is that row of the table, so that
 * a fuzzer need not learn to spell. Over a configuration that is complete.
 */
#include "common/io/conf.h"

#include "common/io/conf_table.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <strings.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

enum { ARENA_BYTES = 1024 * 1024, ROWS_MAX = 128, LINES_MAX = 12 };

static void clean_up(void)
{
	const struct conf_row *row;

	for (size_t i = 0; (row = conf_row_at(i)); i++)
		(void)unsetenv(row->name);
	(void)setenv("DATABASE_URL", "postgresql:///rushes", 1);
	(void)setenv("API_BASE_URL", "https://rushes.example", 1);
	(void)setenv("STORE_URL", "file:///srv/media", 1);
	(void)setenv("WEBHOOK_TOKEN_KEY",
		     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1);
}

/* A setting that is the path of a file: put the value into one. */
static void set_file(const char *name, const char *text, int *fd)
{
	char path[64];

	if (*fd < 0)
		*fd = memfd_create(name, MFD_CLOEXEC);
	HOLDS(*fd >= 0 && ftruncate(*fd, 0) == 0);
	HOLDS(pwrite(*fd, text, strlen(text), 0) == (ssize_t)strlen(text));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	(void)setenv(name, path, 1);
}

static const struct conf_row *find_row(const char *name)
{
	size_t number = strtoul(name, NULL, 10);
	const struct conf_row *row;

	for (size_t i = 0; (row = conf_row_at(i)); i++)
		if (strcmp(row->name, name) == 0)
			return row;
	return *name >= '0' && *name <= '9' && number < ROWS_MAX
		       ? conf_row_at(number)
		       : NULL;
}

static void set(char *line)
{
	static int account_fd = -1, ca_fd = -1;
	char *equals = strchr(line, '=');
	const struct conf_row *row;

	if (!equals)
		return;
	*equals = '\0';
	row = find_row(line);
	if (!row)
		return;
	if (row->parse == conf_parse_account)
		set_file(row->name, equals + 1, &account_fd);
	else if (strcmp(row->name, "S3_CA_FILE") == 0)
		set_file(row->name, equals + 1, &ca_fd);
	else
		(void)setenv(row->name, equals + 1, 1);
}

static void url_holds(const char *url)
{
	if (!url)
		return;
	HOLDS(strncasecmp(url, "https://", 8) == 0 ||
	      strncasecmp(url, "http://", 7) == 0);
	HOLDS(url[strlen(url) - 1] != '/');
	for (const char *at = url; *at; at++)
		HOLDS(*at > ' ' && *at != 0x7f);
}

static void numbers_hold(const struct conf *conf)
{
	const struct conf_row *row;

	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		int64_t number;

		if (row->parse != conf_parse_number &&
		    row->parse != conf_parse_bytes)
			continue;
		memcpy(&number, (const char *)conf + row->offset,
		       sizeof(number));
		HOLDS(number >= row->least && number <= row->most);
	}
}

static void conf_holds(const struct conf *conf, enum conf_program program)
{
	numbers_hold(conf);
	url_holds(conf->api_base_url);
	url_holds(conf->cdn_base_url);
	url_holds(conf->s3_url);
	url_holds(conf->gcs_base_url);
	for (size_t i = 0; i < CONF_PROVIDERS; i++) {
		const struct provider_settings *one = &conf->provider[i];

		url_holds(one->base_url);
		url_holds(one->list_url);
		url_holds(one->keys_url);
		HOLDS(one->concurrency >= 0 && one->rate_starts >= 0);
		HOLDS(one->rate_starts == 0 || one->rate_period_s > 0);
	}
	HOLDS(conf->peer_count <= CONF_PEERS_MAX);
	HOLDS(conf->webhook_secret_count <= CONF_WEBHOOK_SECRETS_MAX);
	HOLDS(conf->token_keys.count <= TOKEN_KEYS);
	HOLDS(conf->log_level >= LOG_ERR && conf->log_level <= LOG_DEBUG);
	HOLDS(conf->allow_loopback == (conf_warning(conf) != NULL));
	if (program == CONF_ADMIN)
		return;
	HOLDS(conf->database_url && conf->api_base_url);
	HOLDS(conf->token_keys.count >= 1);
	HOLDS(conf->store_kind != CONF_STORE_NONE && conf->cdn_base_url);
	if (conf->store_kind == CONF_STORE_FILE)
		HOLDS(conf->store_dir[0] == '/' &&
		      conf->store_dir[strlen(conf->store_dir) - 1] != '/');
}

/* It names the setting, and shows no secret: those of this target that are
 * worth looking for have a "~", which no sentence of ours has. */
static void fault_holds(const struct fault *fault)
{
	const struct conf_row *row;

	HOLDS(fault->text[0]);
	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		const char *value = getenv(row->name);

		if (row->secret && value && strchr(value, '~'))
			HOLDS(!strstr(fault->text, value));
	}
}

/* --check shows that a secret is set, and no more. */
static void print_holds(enum conf_program program)
{
	_cleanup_(freep) char *text = NULL;
	const struct conf_row *row;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	HOLDS(out);
	conf_print(program, out);
	HOLDS(fclose(out) == 0);
	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		char name[64];
		const char *line;

		(void)snprintf(name, sizeof(name), "\n%s=", row->name);
		line = strstr(text, name);
		if (row->secret && line)
			HOLDS(strncmp(line + strlen(name), "(set)\n", 6) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum conf_program programs[] = { CONF_FCGI, CONF_POLLER,
						      CONF_ADMIN };
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	struct input input = { data, size };
	enum conf_program program = programs[input_byte(&input) % 3];
	struct conf conf = { .lease_s = 4711 };
	struct fault fault = { "" };
	int r;

	clean_up();
	for (int i = 0; i < LINES_MAX && input.left > 0; i++) {
		char *line = input_line(&input);

		set(line);
		free(line);
	}
	r = conf_load(program, arena, &conf, &fault);
	HOLDS(r == 0 || r == -EINVAL || r == -ENOMEM);
	if (r < 0) {
		HOLDS(conf.lease_s == 4711);
		fault_holds(&fault);
		return 0;
	}
	conf_holds(&conf, program);
	print_holds(program);
	return 0;
}
