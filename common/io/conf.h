/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_CONF_H
#define COMMON_IO_CONF_H

#include "common/base/arena.h"
#include "common/base/fault.h"
#include "common/model/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/*
 * Configuration: environment variables, and files in $CREDENTIALS_DIRECTORY
 * for secrets. One table in conf_table.c feeds parsing, --help, --check and
 * the lint of docs/man/rushes.conf.5.
 */

/* Who asks: each program takes, and insists on, its own part of the table. */
enum conf_program {
	CONF_FCGI = 1,	 /* rushes-fcgi */
	CONF_POLLER = 2, /* rushes-poller at its work */
	CONF_ADMIN = 4,	 /* rushes-poller --migrate, --add-key, --cleanup … */
};

enum {
	CONF_PROVIDERS = 3,
	CONF_WEBHOOK_SECRETS_MAX = 4,
	CONF_PEERS_MAX = 16,
};

enum conf_store {
	CONF_STORE_NONE = 0, /* STORE_URL is not set */
	CONF_STORE_FILE,
	CONF_STORE_S3,
};

enum conf_log_target {
	CONF_LOG_AUTO = 0, /* the journal if stderr is connected to it */
	CONF_LOG_JOURNAL,
	CONF_LOG_STDERR,
};

/* What is configured for one provider. URLs have no trailing slash. */
struct provider_settings {
	const char *name;	/* as in provider_ops: replicate, fal, vertex */
	const char *base_url;	/* its API */
	const char *list_url;	/* where requests are listed; else base_url */
	const char *keys_url;	/* JWKS of its webhook keys, or NULL */
	const char *credential; /* token or key; for Vertex AI the
				   service-account JSON text. NULL: this
				   provider is not configured */
	int64_t poll_first_ms;	/* 0: the provider's own number */
	int64_t poll_most_ms;	/* 0: the provider's own number */
	int64_t concurrency;	/* jobs rendering there at once; 0: no limit */
	int64_t rate_starts;	/* starts in rate_period_s; 0: no limit */
	int64_t rate_period_s;
};

/* Strings live in the arena that was given to conf_load(); what has no
 * default and is not set is NULL. Bytes, seconds and milliseconds are never
 * mixed: the unit is the end of the name. */
struct conf {
	const char *database_url;
	const char *database_admin_url; /* default: database_url */
	const char *api_base_url;	/* no trailing slash */
	bool allow_loopback;		/* say so loudly, see conf_warning() */
	int64_t log_level; /* a syslog level, LOG_ERR to LOG_DEBUG */
	enum conf_log_target log_target;

	/* where media goes */
	const char *store_url;
	enum conf_store store_kind;
	const char *store_dir;	  /* file: absolute, no trailing slash */
	const char *store_bucket; /* s3 */
	const char *store_prefix; /* s3: "" or "some/where/" */
	const char *cdn_base_url; /* prefix of public URLs; never NULL when
				     STORE_URL is set */
	const char *s3_url;	  /* endpoint */
	const char *s3_access_key;
	const char *s3_secret_key;
	const char *s3_region;
	const char *s3_ca_file; /* NULL: the system's */
	bool s3_signature_v2;	/* else version 4 */
	bool s3_virtual_style;	/* bucket in the host name, not the path */
	const char *spool_dir;

	/* providers */
	struct provider_settings provider[CONF_PROVIDERS];
	const char *webhook_secret[CONF_WEBHOOK_SECRETS_MAX]; /* whsec_… */
	size_t webhook_secret_count;
	const char *vertex_project; /* NULL: project_id of the account */
	const char *vertex_location;
	const char *vertex_storage_uri; /* gs://…, or NULL */
	const char *gcs_base_url;

	/* webhook URLs: the first key signs, all of them verify */
	struct token_keys token_keys;

	/* rushes-fcgi */
	const char *wake_socket; /* path, or NULL: nobody is woken */
	uid_t peer_uid[CONF_PEERS_MAX];
	size_t peer_count;
	bool has_peer_gid; /* else nobody gets in by their group */
	gid_t peer_gid;
	int64_t fcgi_threads; /* 0: two a processor */
	int64_t body_bytes_max;
	int64_t jobs_per_execution_max;

	/* rushes-poller */
	int64_t poller_period_s;
	int64_t poller_linger_s;
	int64_t lease_s;
	int64_t media_bytes_max;
	int64_t transfers_max;
	int64_t connect_timeout_ms;
	int64_t answer_timeout_ms;
	int64_t stall_timeout_s;
	int64_t deadline_s;
	int64_t start_retries;
	int64_t store_retries;
	int64_t start_group;
	int64_t reconcile_s;
	int64_t cancel_confirm_s;
	int64_t breaker_failures;
	int64_t breaker_window_s;
	int64_t breaker_open_s;

	/* rushes-poller --cleanup */
	int64_t retain_completed_days;
	int64_t retain_other_days;
	int64_t retain_inbox_days;
	int64_t retain_idempotency_hours;
};

/**
 * Read the configuration of a program.
 *
 * A secret is taken from the file $CREDENTIALS_DIRECTORY/NAME if there is
 * one, else from the environment; one newline at its end is dropped.
 * GOOGLE_APPLICATION_CREDENTIALS is the path of a file; as a credential it is
 * that file itself. A variable that is set to nothing, or to blanks, counts
 * as not set.
 *
 * @arena  owns every string of *ret; 1 MiB is plenty
 *
 * @return 0; -EINVAL, with a sentence that names the setting and never its
 *	   value if that is a secret; -ENOMEM
 */
_must_check_ int conf_load(enum conf_program program, struct arena *arena,
			   struct conf *ret, struct fault *reterr_fault);

/* The settings of a provider by its name, or NULL. Check .credential. */
const struct provider_settings *conf_provider(const struct conf *conf,
					      const char *name);

/* What an operator must be told at every start, or NULL. */
const char *conf_warning(const struct conf *conf);

/* --check: every setting the program takes, as NAME=value, one a line, with
 * secrets as "(set)" and defaults marked. Reads the same places as
 * conf_load(), which must have succeeded. */
void conf_print(enum conf_program program, FILE *out);

/* --help: name, default, range and one line each. */
void conf_print_help(enum conf_program program, FILE *out);

#endif
