/* SPDX-License-Identifier: MIT */
#include "common/io/conf.h"

#include "common/io/conf_table.h"
#include "tests/support/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

/* 32 bytes, of value 0 and of value 1 */
#define KEY_0 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static char folder[64];

struct loaded {
	struct arena *arena;
	struct conf conf;
	struct fault fault;
	int r;
};

static struct loaded load(enum conf_program program)
{
	struct loaded loaded = { .arena = arena_new(1 << 20) };

	assert_non_null(loaded.arena);
	loaded.r =
		conf_load(program, loaded.arena, &loaded.conf, &loaded.fault);
	if (loaded.r < 0 && strlen(loaded.fault.text) == 0)
		fail_msg("no reason given");
	return loaded;
}

/* What every test starts from: enough for both programs, and nothing else. */
static int set_up(void **state)
{
	const struct conf_row *row;

	(void)state;
	for (size_t i = 0; (row = conf_row_at(i)); i++)
		(void)unsetenv(row->name);
	(void)unsetenv("CREDENTIALS_DIRECTORY");
	(void)setenv("DATABASE_URL", "postgresql:///rushes", 1);
	(void)setenv("API_BASE_URL", "https://rushes.example/", 1);
	(void)setenv("STORE_URL", "file:///srv/media/", 1);
	(void)setenv("WEBHOOK_TOKEN_KEY", KEY_0, 1);
	return 0;
}

static void defaults_are_complete(void **state)
{
	struct loaded l = load(CONF_POLLER);
	const struct provider_settings *fal;

	(void)state;
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_string_equal(l.conf.api_base_url, "https://rushes.example");
	assert_string_equal(l.conf.store_dir, "/srv/media");
	assert_string_equal(l.conf.cdn_base_url,
			    "https://rushes.example/media");
	assert_string_equal(l.conf.database_admin_url, "postgresql:///rushes");
	assert_string_equal(l.conf.spool_dir, "/var/tmp");
	assert_int_equal(l.conf.body_bytes_max, 4 << 20);
	assert_int_equal(l.conf.media_bytes_max, INT64_C(2) << 30);
	assert_int_equal(l.conf.deadline_s, 6 * 3600);
	assert_int_equal(l.conf.lease_s, 60);
	assert_int_equal(l.conf.log_level, LOG_INFO);
	assert_int_equal(l.conf.token_keys.count, 1);
	assert_null(conf_warning(&l.conf));
	assert_string_equal(conf_provider(&l.conf, "vertex")->base_url,
			    "https://us-central1-aiplatform.googleapis.com/v1");
	fal = conf_provider(&l.conf, "fal");
	assert_string_equal(fal->base_url, "https://queue.fal.run");
	assert_string_equal(fal->list_url, "https://api.fal.ai/v1");
	assert_null(fal->credential);
	assert_int_equal(fal->poll_first_ms, 0);
	assert_int_equal(fal->concurrency, 0);
	assert_null(conf_provider(&l.conf, "nobody"));
	assert_true(l.conf.peer_count >= 1);
	assert_int_equal(l.conf.peer_uid[0], getuid());
	(void)arena_free(l.arena);
}

/* ---- one wrong thing at a time ------------------------------------------ */

static const struct {
	const char *name, *value;
	enum conf_program program;
} wrong[] = {
	{ "DATABASE_URL", "", CONF_FCGI },
	{ "DATABASE_URL", "", CONF_POLLER },
	{ "API_BASE_URL", "", CONF_FCGI },
	{ "API_BASE_URL", "http://rushes.example", CONF_FCGI },
	{ "API_BASE_URL", "https://user@rushes.example", CONF_FCGI },
	{ "API_BASE_URL", "https://rushes.example/?a=b", CONF_FCGI },
	{ "API_BASE_URL", "rushes.example", CONF_FCGI },
	{ "API_BASE_URL", "ftp://rushes.example", CONF_FCGI },
	{ "STORE_URL", "", CONF_POLLER },
	{ "STORE_URL", "/srv/media", CONF_POLLER },
	{ "STORE_URL", "file://srv/media", CONF_POLLER },
	{ "STORE_URL", "file:///", CONF_POLLER },
	{ "STORE_URL", "s3://", CONF_POLLER },
	{ "STORE_URL", "s3://UPPER/x", CONF_POLLER },
	{ "STORE_URL", "s3://bucket/a//b", CONF_POLLER },
	{ "STORE_URL", "s3://bucket/a?b", CONF_POLLER },
	{ "STORE_URL", "s3://bucket/a\tb", CONF_POLLER },
	{ "STORE_URL", "s3://bucket/caf\xc3\xa9", CONF_POLLER },
	{ "STORE_URL", "s3://bucket/\xff", CONF_POLLER },
	{ "WEBHOOK_TOKEN_KEY", "", CONF_POLLER },
	{ "WEBHOOK_TOKEN_KEY", " \t\r\n", CONF_FCGI },
	{ "WEBHOOK_TOKEN_KEY", "c2hvcnQ=", CONF_FCGI },
	{ "WEBHOOK_TOKEN_KEY", "no base64", CONF_FCGI },
	{ "WEBHOOK_TOKEN_KEY", KEY_0 " " KEY_1 " " KEY_0, CONF_FCGI },
	{ "REPLICATE_WEBHOOK_SECRET", "secret", CONF_FCGI },
	{ "REPLICATE_WEBHOOK_SECRET", "whsec_!!", CONF_FCGI },
	{ "REPLICATE_WEBHOOK_SECRET", "whsec_AAAA", CONF_FCGI },
	{ "REPLICATE_API_TOKEN", "two\nlines", CONF_POLLER },
	{ "REPLICATE_BASE_URL", "http://127.0.0.1:9", CONF_POLLER },
	{ "GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent", CONF_POLLER },
	{ "GOOGLE_APPLICATION_CREDENTIALS", "/etc/hostname", CONF_POLLER },
	{ "VERTEX_LOCATION", "evil.example/", CONF_POLLER },
	{ "VERTEX_PROJECT", "short", CONF_POLLER },
	{ "VERTEX_PROJECT", "a234567890123456789012345678901", CONF_POLLER },
	{ "VERTEX_PROJECT", "My Project", CONF_POLLER },
	{ "VERTEX_PROJECT", "My-Project", CONF_FCGI },
	{ "VERTEX_PROJECT", "my_project", CONF_POLLER },
	{ "VERTEX_PROJECT", "my-project-", CONF_POLLER },
	{ "VERTEX_PROJECT", "-my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "1st-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "projects/my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "example.com:", CONF_POLLER },
	{ "VERTEX_PROJECT", "example.com:1234567", CONF_POLLER },
	{ "VERTEX_PROJECT", ":my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "example:my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", ".com:my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "example.com:a:my-project", CONF_POLLER },
	{ "VERTEX_PROJECT", "a-domain-of-more-than-33-bytes.com:my-project",
	  CONF_POLLER },
	{ "S3_REGION", "eu central 1", CONF_POLLER },
	{ "S3_REGION", "eu-central-1 ", CONF_POLLER },
	{ "S3_REGION", "eu/central", CONF_POLLER },
	{ "S3_REGION", "eu:central", CONF_POLLER },
	{ "S3_REGION", "eu-central-1\x01", CONF_POLLER },
	{ "S3_REGION", "\xff", CONF_POLLER },
	{ "S3_REGION", "https://s3.eu-central-1.amazonaws.com", CONF_POLLER },
	{ "S3_REGION",
	  "a2345678901234567890123456789012345678901234567890123456789012345",
	  CONF_POLLER },
	{ "S3_CA_FILE", "ca.pem", CONF_POLLER },
	{ "S3_CA_FILE", "/nonexistent/ca.pem", CONF_POLLER },
	{ "S3_CA_FILE", "/etc/hostname", CONF_POLLER },
	{ "S3_CA_FILE", "/etc/hostname/ca.pem", CONF_POLLER },
	{ "S3_CA_FILE", "/etc", CONF_POLLER },
	{ "S3_CA_FILE", "/dev/null", CONF_POLLER },
	{ "S3_CA_FILE", "/dev/zero", CONF_POLLER },
	{ "VERTEX_STORAGE_URI", "s3://bucket", CONF_POLLER },
	{ "VERTEX_STORAGE_URI", "gs://bucket/\xff", CONF_POLLER },
	{ "VERTEX_STORAGE_URI", "gs://bucket/a b", CONF_POLLER },
	{ "PROVIDER_CONCURRENCY", "nobody=3", CONF_POLLER },
	{ "PROVIDER_CONCURRENCY", "fal=0", CONF_POLLER },
	{ "PROVIDER_CONCURRENCY", "fal", CONF_POLLER },
	{ "PROVIDER_RATE", "fal=5", CONF_POLLER },
	{ "PROVIDER_RATE", "fal=5/0", CONF_POLLER },
	{ "PROVIDER_RATE", "fal=/5", CONF_POLLER },
	{ "FCGI_PEER_USERS", "no-such-user-here", CONF_FCGI },
	{ "FCGI_PEER_USERS", "root nobody", CONF_FCGI },
	{ "FCGI_PEER_GROUP", "no-such-group-here", CONF_FCGI },
	{ "FCGI_PEER_GROUP", "nogroup", CONF_FCGI },
	{ "FCGI_PEER_GROUP", "-1", CONF_FCGI },
	{ "FCGI_THREADS", "-1", CONF_FCGI },
	{ "FCGI_THREADS", "many", CONF_FCGI },
	{ "BODY_BYTES_MAX", "1T", CONF_FCGI },
	{ "BODY_BYTES_MAX", "1", CONF_FCGI },
	{ "BODY_BYTES_MAX", "M", CONF_FCGI },
	{ "BODY_BYTES_MAX", "99999999999999999999G", CONF_FCGI },
	{ "LEASE_S", "4", CONF_POLLER },
	{ "LEASE_S", "60s", CONF_POLLER },
	{ "LEASE_S", " 60", CONF_POLLER },
	{ "SPOOL_DIR", "tmp", CONF_POLLER },
	{ "WAKE_SOCKET", "wake.sock", CONF_FCGI },
	{ "ALLOW_LOOPBACK", "yes", CONF_POLLER },
	{ "S3_SIGNATURE", "v3", CONF_POLLER },
	{ "S3_STYLE", "dns", CONF_POLLER },
	{ "LOG_LEVEL", "loud", CONF_POLLER },
	{ "LOG_TARGET", "syslog", CONF_POLLER },
};

static void a_wrong_value_is_named(void **state)
{
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct loaded l;

		(void)set_up(state);
		(void)setenv(wrong[i].name, wrong[i].value, 1);
		l = load(wrong[i].program);
		if (l.r != -EINVAL)
			fail_msg("%s=%s was taken", wrong[i].name,
				 wrong[i].value);
		if (strncmp(l.fault.text, wrong[i].name,
			    strlen(wrong[i].name)) != 0)
			fail_msg("%s=%s: %s", wrong[i].name, wrong[i].value,
				 l.fault.text);
		(void)arena_free(l.arena);
	}
}

static void a_secret_is_never_repeated(void **state)
{
	static const char *const names[] = { "WEBHOOK_TOKEN_KEY",
					     "REPLICATE_WEBHOOK_SECRET",
					     "REPLICATE_API_TOKEN" };

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct loaded l;

		(void)set_up(state);
		(void)setenv(names[i], "hunter2\x01", 1);
		l = load(CONF_POLLER);
		assert_int_equal(l.r, -EINVAL);
		assert_null(strstr(l.fault.text, "hunter2"));
		(void)arena_free(l.arena);
	}
}

static void each_program_needs_its_own(void **state)
{
	struct loaded l;

	(void)state;
	(void)unsetenv("API_BASE_URL");
	(void)unsetenv("STORE_URL");
	(void)unsetenv("WEBHOOK_TOKEN_KEY");
	l = load(CONF_ADMIN);
	assert_int_equal(l.r, 0);
	(void)arena_free(l.arena);
	(void)unsetenv("DATABASE_URL");
	l = load(CONF_ADMIN);
	assert_int_equal(l.r, -EINVAL);
	assert_non_null(strstr(l.fault.text, "DATABASE_URL"));
	(void)arena_free(l.arena);
	(void)setenv("DATABASE_ADMIN_URL", "postgresql:///x", 1);
	l = load(CONF_ADMIN);
	assert_int_equal(l.r, 0);
	assert_string_equal(l.conf.database_admin_url, "postgresql:///x");
	(void)arena_free(l.arena);
}

static void s3_needs_its_settings(void **state)
{
	struct loaded l;

	(void)state;
	(void)setenv("STORE_URL", "s3://my-bucket/some/where/", 1);
	l = load(CONF_POLLER);
	assert_non_null(strstr(l.fault.text, "S3_URL"));
	(void)arena_free(l.arena);
	(void)setenv("S3_URL", "http://10.0.0.9:7480/", 1);
	l = load(CONF_POLLER);
	assert_non_null(strstr(l.fault.text, "S3_ACCESS_KEY"));
	(void)arena_free(l.arena);
	l = load(CONF_FCGI); /* which does not write there */
	assert_int_equal(l.r, 0);
	assert_string_equal(l.conf.cdn_base_url,
			    "http://10.0.0.9:7480/my-bucket/some/where");
	(void)arena_free(l.arena);
	(void)setenv("S3_ACCESS_KEY", "a", 1);
	(void)setenv("S3_SECRET_KEY", "b", 1);
	(void)setenv("S3_STYLE", "virtual", 1);
	l = load(CONF_POLLER);
	assert_int_equal(l.r, 0);
	assert_string_equal(l.conf.store_bucket, "my-bucket");
	assert_string_equal(l.conf.store_prefix, "some/where/");
	assert_string_equal(l.conf.cdn_base_url,
			    "http://my-bucket.10.0.0.9:7480/some/where");
	(void)arena_free(l.arena);
	(void)setenv("CDN_BASE_URL", "https://cdn.example/x/", 1);
	l = load(CONF_POLLER);
	assert_string_equal(l.conf.cdn_base_url, "https://cdn.example/x");
	(void)arena_free(l.arena);
}

static void allow_loopback_allows_http_and_is_loud(void **state)
{
	struct loaded l;

	(void)state;
	(void)setenv("ALLOW_LOOPBACK", "1", 1);
	(void)setenv("API_BASE_URL", "http://127.0.0.1:8080", 1);
	(void)setenv("REPLICATE_BASE_URL", "http://127.0.0.1:9000/v1", 1);
	(void)setenv("VERTEX_BASE_URL", "http://127.0.0.1:9000/{location}/v1",
		     1);
	(void)setenv("VERTEX_LOCATION", "europe-west4", 1);
	l = load(CONF_POLLER);
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_non_null(strstr(conf_warning(&l.conf), "ALLOW_LOOPBACK"));
	assert_string_equal(conf_provider(&l.conf, "vertex")->base_url,
			    "http://127.0.0.1:9000/europe-west4/v1");
	(void)arena_free(l.arena);
}

static void lists_are_taken_apart(void **state)
{
	struct loaded l;

	(void)state;
	(void)setenv("PROVIDER_CONCURRENCY", "replicate=20  fal=2", 1);
	(void)setenv("PROVIDER_RATE", "vertex=50/60", 1);
	(void)setenv("WEBHOOK_TOKEN_KEY", KEY_1 " " KEY_0, 1);
	(void)setenv("FCGI_PEER_USERS", "root 12345", 1);
	(void)setenv("REPLICATE_WEBHOOK_SECRET",
		     "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
		     "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
		     1);
	l = load(CONF_FCGI);
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_int_equal(conf_provider(&l.conf, "replicate")->concurrency, 20);
	assert_int_equal(conf_provider(&l.conf, "fal")->concurrency, 2);
	assert_int_equal(conf_provider(&l.conf, "vertex")->concurrency, 0);
	assert_int_equal(conf_provider(&l.conf, "vertex")->rate_starts, 50);
	assert_int_equal(conf_provider(&l.conf, "vertex")->rate_period_s, 60);
	assert_int_equal(l.conf.token_keys.count, 2);
	assert_int_equal(l.conf.token_keys.key[0][31], 1);
	assert_int_equal(l.conf.token_keys.key[1][31], 0);
	assert_int_equal(l.conf.webhook_secret_count, 2);
	assert_int_equal(l.conf.peer_count, 2);
	assert_int_equal(l.conf.peer_uid[0], 0);
	assert_int_equal(l.conf.peer_uid[1], 12345);
	assert_false(l.conf.has_peer_gid);
	(void)arena_free(l.arena);
}

static void a_peer_group_stands_for_the_default_users(void **state)
{
	struct loaded l;

	(void)state;
	(void)setenv("FCGI_PEER_GROUP", "12345", 1);
	l = load(CONF_FCGI);
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_true(l.conf.has_peer_gid);
	assert_int_equal(l.conf.peer_gid, 12345);
	assert_int_equal(l.conf.peer_count, 0);
	(void)arena_free(l.arena);

	(void)setenv("FCGI_PEER_GROUP", "root", 1);
	l = load(CONF_FCGI);
	assert_int_equal(l.conf.peer_gid, 0);
	(void)arena_free(l.arena);
}

/* ---- credentials -------------------------------------------------------- */

static void write_file(const char *name, const char *text, size_t size)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	(void)close(fd);
}

static void remove_file(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

static void secrets_come_as_credentials(void **state)
{
	static const char account[] = "{\"private_key\": \"x\"}\n";
	struct loaded l;

	(void)state;
	(void)setenv("CREDENTIALS_DIRECTORY", folder, 1);
	(void)setenv("FAL_KEY", "from the environment", 1);
	(void)setenv("LEASE_S", "30", 1);
	write_file("FAL_KEY", "from-the-file\n", 14);
	write_file("LEASE_S", "99\n", 3); /* no secret: not looked at */
	write_file("GOOGLE_APPLICATION_CREDENTIALS", account,
		   sizeof(account) - 1);
	l = load(CONF_POLLER);
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_string_equal(conf_provider(&l.conf, "fal")->credential,
			    "from-the-file");
	assert_int_equal(l.conf.lease_s, 30);
	assert_string_equal(conf_provider(&l.conf, "vertex")->credential,
			    "{\"private_key\": \"x\"}");
	(void)arena_free(l.arena);
	write_file("FAL_KEY", "a\0b", 3);
	l = load(CONF_POLLER);
	assert_int_equal(l.r, -EINVAL);
	assert_non_null(strstr(l.fault.text, "FAL_KEY"));
	(void)arena_free(l.arena);
	remove_file("FAL_KEY");
	remove_file("LEASE_S");
	remove_file("GOOGLE_APPLICATION_CREDENTIALS");
}

static void the_path_of_an_account_is_followed(void **state)
{
	static const char account[] = "{\"private_key\": \"x\"}";
	struct loaded l;
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/account.json", folder);
	write_file("account.json", account, sizeof(account) - 1);
	(void)setenv("GOOGLE_APPLICATION_CREDENTIALS", path, 1);
	l = load(CONF_POLLER);
	assert_int_equal(l.r, 0);
	assert_string_equal(conf_provider(&l.conf, "vertex")->credential,
			    account);
	(void)arena_free(l.arena);
	remove_file("account.json");
}

/* ---- names and files that others judge as well -------------------------- */

static void names_are_taken_as_they_are(void **state)
{
	static const struct {
		const char *name, *value;
	} cases[] = {
		{ "VERTEX_PROJECT", "rushes" },
		{ "VERTEX_PROJECT", "my-project-123456" },
		{ "VERTEX_PROJECT", "a23456789012345678901234567890" },
		{ "VERTEX_PROJECT", "example.com:my-project" },
		{ "VERTEX_PROJECT", "an-example.co.uk:my-project" },
		{ "VERTEX_PROJECT", "123456789012" }, /* a project's number */
		{ "S3_REGION", "us-east-1" },
		{ "S3_REGION", "auto" },
		{ "S3_REGION", "RegionOne" },
		{ "S3_REGION", "eu_central.003" },
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct loaded l;

		(void)set_up(state);
		(void)setenv(cases[i].name, cases[i].value, 1);
		l = load(CONF_POLLER);
		if (l.r < 0)
			fail_msg("%s", l.fault.text);
		assert_string_equal(cases[i].name[0] == 'S'
					    ? l.conf.s3_region
					    : l.conf.vertex_project,
				    cases[i].value);
		(void)arena_free(l.arena);
	}
}

static void certificates_are_looked_at_by_whom_they_are_for(void **state)
{
	static const char *const words[] = { "in PEM", "system's" };
	struct loaded l;
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/ca.pem", folder);
	(void)setenv("S3_CA_FILE", path, 1);
	l = load(CONF_POLLER);
	assert_int_equal(l.r, -EINVAL);
	for (size_t i = 0; i < COUNT_OF(words); i++)
		assert_non_null(strstr(l.fault.text, words[i]));
	(void)arena_free(l.arena);
	/* They do without it, and may not even be allowed to read it. */
	l = load(CONF_FCGI);
	assert_int_equal(l.r, 0);
	(void)arena_free(l.arena);
	l = load(CONF_ADMIN);
	assert_int_equal(l.r, 0);
	(void)arena_free(l.arena);

	write_file("ca.pem", test_certificate, strlen(test_certificate));
	l = load(CONF_POLLER);
	if (l.r < 0)
		fail_msg("%s", l.fault.text);
	assert_string_equal(l.conf.s3_ca_file, path);
	(void)arena_free(l.arena);
	/* cut off, as by a full disk */
	write_file("ca.pem", test_certificate, strlen(test_certificate) / 2);
	l = load(CONF_POLLER);
	assert_int_equal(l.r, -EINVAL);
	assert_non_null(strstr(l.fault.text, "broken"));
	(void)arena_free(l.arena);
	remove_file("ca.pem");
}

static void secrets_of_others_are_not_read(void **state)
{
	struct loaded l;

	(void)state;
	(void)setenv("S3_SECRET_KEY", "secret", 1);
	(void)setenv("DATABASE_ADMIN_URL", "postgresql:///admin", 1);
	l = load(CONF_FCGI);
	assert_int_equal(l.r, 0);
	assert_null(l.conf.s3_secret_key);
	assert_string_equal(l.conf.database_admin_url, "postgresql:///rushes");
	(void)arena_free(l.arena);
}

/* ---- printing ----------------------------------------------------------- */

static char *print(void (*fn)(enum conf_program, FILE *),
		   enum conf_program program)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fn(program, out);
	(void)fclose(out);
	return text;
}

static void printing_masks_secrets(void **state)
{
	char *text;

	(void)state;
	(void)setenv("FAL_KEY", "hunter2", 1);
	(void)setenv("LEASE_S", "30", 1);
	text = print(conf_print, CONF_POLLER);
	assert_non_null(strstr(text, "\nFAL_KEY=(set)\n"));
	assert_non_null(strstr(text, "\nDATABASE_URL=(set)\n"));
	assert_non_null(strstr(text, "\nLEASE_S=30\n"));
	assert_non_null(strstr(text, "\nSTART_GROUP=64  # default\n"));
	assert_non_null(strstr(text, "\n# REPLICATE_API_TOKEN is not set\n"));
	assert_null(strstr(text, "hunter2"));
	assert_null(strstr(text, KEY_0));
	free(text);
}

static void help_names_every_setting(void **state)
{
	static const enum conf_program programs[] = { CONF_FCGI, CONF_POLLER,
						      CONF_ADMIN };
	const struct conf_row *row;

	(void)state;
	for (size_t p = 0; p < COUNT_OF(programs); p++) {
		char *text = print(conf_print_help, programs[p]);

		for (size_t i = 0; (row = conf_row_at(i)); i++) {
			char line[64];

			(void)snprintf(line, sizeof(line), "  %-30s ",
				       row->name);
			assert_int_equal(strstr(text, line) != NULL,
					 (row->used & programs[p]) != 0);
		}
		free(text);
	}
}

static void help_says_what_may_be_set(void **state)
{
	char *text = print(conf_print_help, CONF_POLLER);

	(void)state;
	assert_non_null(strstr(text, " [required; secret]\n"));
	assert_non_null(strstr(text, " [0; 0 or 1]\n"));
	assert_non_null(strstr(text, " [60; 5 to 3600 s]\n"));
	assert_non_null(strstr(text, " [v4; v4 or v2]\n"));
	free(text);
}

static void the_table_is_sound(void **state)
{
	const struct conf_row *row;

	(void)state;
	for (size_t i = 0; (row = conf_row_at(i)); i++) {
		assert_true(row->used != 0);
		assert_int_equal(row->needed & ~row->used, 0);
		assert_true(row->least <= row->most);
		/* One line of a terminal, with the name before it. */
		assert_true(strlen(row->help) <= 100);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(conf_row_at(j)->name,
						row->name);
	}
}

static void small_arenas_fail_cleanly(void **state)
{
	bool worked = false;

	(void)state;
	(void)setenv("STORE_URL", "s3://my-bucket/x", 1);
	(void)setenv("S3_URL", "https://s3.example", 1);
	(void)setenv("S3_ACCESS_KEY", "a", 1);
	(void)setenv("S3_SECRET_KEY", "b", 1);
	for (size_t limit = 0; !worked; limit += 7) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		struct conf conf = { .lease_s = 77 };
		struct fault fault;
		int r = conf_load(CONF_POLLER, arena, &conf, &fault);

		worked = r == 0;
		assert_int_equal(conf.lease_s, worked ? 60 : 77);
		if (!worked)
			assert_int_equal(r, -ENOMEM);
	}
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(defaults_are_complete),
		CASE(a_wrong_value_is_named),
		CASE(a_secret_is_never_repeated),
		CASE(each_program_needs_its_own),
		CASE(s3_needs_its_settings),
		CASE(allow_loopback_allows_http_and_is_loud),
		CASE(lists_are_taken_apart),
		CASE(a_peer_group_stands_for_the_default_users),
		CASE(secrets_come_as_credentials),
		CASE(the_path_of_an_account_is_followed),
		CASE(names_are_taken_as_they_are),
		CASE(certificates_are_looked_at_by_whom_they_are_for),
		CASE(secrets_of_others_are_not_read),
		CASE(printing_masks_secrets),
		CASE(help_names_every_setting),
		CASE(help_says_what_may_be_set),
		CASE(the_table_is_sound),
		CASE(small_arenas_fail_cleanly),
	};
	int failed;

	(void)snprintf(folder, sizeof(folder), "/tmp/rushes-conf-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(folder);
	return failed;
}
