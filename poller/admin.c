/* SPDX-License-Identifier: MIT */
#include "poller/admin.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/dice.h"
#include "common/base/text.h"
#include "common/base/uuid.h"
#include "common/io/db.h"
#include "common/io/log.h"
#include "common/io/store.h"
#include "common/model/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	KEY_BYTES = 32,
	OWNER_MOST = 128,
	CLEANUP_MOST = 500,	   /* executions in one statement */
	CLEANUP_SMALL_MOST = 5000, /* what nothing else hangs on */
	SWEEP_OLDER_S = 24 * 60 * 60,
};

static int open_admin(const struct conf *conf, struct db **ret,
		      struct fault *reterr_fault)
{
	if (!conf->database_admin_url)
		return fault_set(reterr_fault, -EINVAL,
				 "DATABASE_ADMIN_URL is not set, nor is "
				 "DATABASE_URL");
	return db_open(conf->database_admin_url, "rushes-admin", ret,
		       reterr_fault);
}

/* db_run() for a program that can only give up. */
static int run(struct db *db, enum db_query query, const char *const *params,
	       PGresult **ret, struct fault *reterr_fault)
{
	int r = db_run(db, query, params, ret, reterr_fault);

	return r == DB_E_DATA ? -EINVAL : r;
}

int admin_migrate(const struct conf *conf, struct fault *reterr_fault)
{
	int applied = 0;
	int r;

	if (!conf->database_admin_url)
		return fault_set(reterr_fault, -EINVAL,
				 "DATABASE_ADMIN_URL is not set, nor is "
				 "DATABASE_URL");
	r = db_migrate(conf->database_admin_url, &applied, reterr_fault);
	if (r < 0)
		return r;
	(void)printf("schema %d: %d migration%s applied\n", db_schema_version(),
		     applied, applied == 1 ? "" : "s");
	return 0;
}

/* ---- API keys ------------------------------------------------------------ */

static int check_owner(const char *owner, struct fault *reterr_fault)
{
	size_t length = strlen(owner);

	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)owner[i] < 0x20 || owner[i] == 0x7f)
			return fault_set(reterr_fault, -EINVAL,
					 "a name has no control characters");
	}
	if (length < 1 || length > OWNER_MOST)
		return fault_set(reterr_fault, -EINVAL,
				 "a name has 1 to %d bytes", OWNER_MOST);
	return 0;
}

int admin_add_key(const struct conf *conf, const char *owner,
		  struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	_cleanup_(db_closep) struct db *db = NULL;
	_cleanup_(db_result_freep) PGresult *result = NULL;
	uint8_t secret[KEY_BYTES], bits[10], digest[SHA256_BYTES];
	char id[UUID_SIZE];
	const char *key;
	int r;

	r = check_owner(owner, reterr_fault);
	if (r == 0)
		r = open_admin(conf, &db, reterr_fault);
	if (r < 0)
		return r;
	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	dice_fill(secret, sizeof(secret));
	dice_fill(bits, sizeof(bits));
	uuid_v7(clock_unix_ms(), bits, id);
	key = text_to_base64(secret, sizeof(secret), TEXT_BASE64_URL, arena);
	key = key ? arena_printf(arena, "rsh_%s", key) : NULL;
	if (!key)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	crypto_sha256(key, strlen(key), digest);

	const char *params[] = {
		id,
		owner,
		text_to_hex(digest, sizeof(digest), arena),
	};
	r = run(db, DB_api_key_add, params, &result, reterr_fault);
	if (r < 0)
		return r;
	/* The key alone on stdout, for scripts; the rest for eyes. */
	(void)fprintf(stderr, "key %s of \"%s\"; it is not shown again:\n", id,
		      owner);
	(void)printf("%s\n", key);
	return 0;
}

int admin_list_keys(const struct conf *conf, struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	_cleanup_(db_closep) struct db *db = NULL;
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int r = open_admin(conf, &db, reterr_fault);

	if (r == 0)
		r = run(db, DB_api_key_list, NULL, &result, reterr_fault);
	if (r < 0)
		return r;
	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	for (int i = 0; i < db_rows(result); i++) {
		struct db_row row = db_row(result, i, arena);
		const char *id = db_row_text(&row, "id");
		const char *created = db_row_text(&row, "created_at");
		const char *revoked = db_row_text_or_null(&row, "revoked_at");
		const char *owner = db_row_text(&row, "owner");

		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
		(void)printf("%s  %s  %-20s  %s\n", id, created,
			     revoked ? revoked : "active", owner);
	}
	return 0;
}

int admin_revoke_key(const struct conf *conf, const char *id,
		     struct fault *reterr_fault)
{
	_cleanup_(db_closep) struct db *db = NULL;
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *params[] = { id };
	int r;

	if (!text_is_uuid(id))
		return fault_set(reterr_fault, -EINVAL,
				 "the id of a key is a UUID; --list-keys "
				 "prints them");
	r = open_admin(conf, &db, reterr_fault);
	if (r == 0)
		r = run(db, DB_api_key_revoke, params, &result, reterr_fault);
	if (r < 0)
		return r;
	if (db_rows(result) == 0)
		return fault_set(reterr_fault, -ENOENT, "there is no such key");
	(void)printf("key %s is revoked; programs take it for some seconds "
		     "yet\n",
		     id);
	return 0;
}

/* ---- cleanup ------------------------------------------------------------- */

struct cleanup {
	struct db *db;
	struct arena *arena;
	int64_t executions, webhooks, keys;
	size_t files;
};

/* One statement that tells how much it removed. */
static int remove_some(struct cleanup *cleanup, enum db_query query,
		       const char *const *params, const char *column,
		       int64_t *ret_count, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct db_row row;
	int64_t count;
	int r;

	r = run(cleanup->db, query, params, &result, reterr_fault);
	if (r < 0)
		return r;
	row = db_row(result, 0, cleanup->arena);
	count = db_row_int64(&row, column);
	r = db_row_end(&row, reterr_fault);
	if (r < 0)
		return r;
	*ret_count = count;
	return 0;
}

static int remove_executions(struct cleanup *cleanup, const struct conf *conf,
			     struct fault *reterr_fault)
{
	char completed[24], other[24], most[24];
	const char *params[] = { completed, other, most };
	int64_t count = CLEANUP_MOST;
	int r = 0;

	(void)snprintf(completed, sizeof(completed), "%" PRId64,
		       conf->retain_completed_days);
	(void)snprintf(other, sizeof(other), "%" PRId64,
		       conf->retain_other_days);
	(void)snprintf(most, sizeof(most), "%d", CLEANUP_MOST);
	/* Fewer than asked for: somebody holds the rest, or it is the end. */
	while (r == 0 && count == CLEANUP_MOST) {
		r = remove_some(cleanup, DB_cleanup_executions, params,
				"executions", &count, reterr_fault);
		if (r < 0)
			break;
		cleanup->executions += count;
		(void)printf("%" PRId64 " executions removed\n",
			     cleanup->executions);
		(void)fflush(stdout);
	}
	return r;
}

static int remove_webhooks(struct cleanup *cleanup, const struct conf *conf,
			   struct fault *reterr_fault)
{
	char days[24], most[24];
	const char *params[] = { days, most };
	int64_t count = CLEANUP_SMALL_MOST;
	int r = 0;

	(void)snprintf(days, sizeof(days), "%" PRId64, conf->retain_inbox_days);
	(void)snprintf(most, sizeof(most), "%d", CLEANUP_SMALL_MOST);
	while (r == 0 && count == CLEANUP_SMALL_MOST) {
		r = remove_some(cleanup, DB_cleanup_inbox, params, "webhooks",
				&count, reterr_fault);
		if (r == 0)
			cleanup->webhooks += count;
	}
	return r;
}

static int free_keys(struct cleanup *cleanup, const struct conf *conf,
		     struct fault *reterr_fault)
{
	char hours[24], most[24];
	const char *params[] = { hours, most, "", "" };

	(void)snprintf(hours, sizeof(hours), "%" PRId64,
		       conf->retain_idempotency_hours);
	(void)snprintf(most, sizeof(most), "%d", CLEANUP_SMALL_MOST);
	for (;;) {
		_cleanup_(db_result_freep) PGresult *result = NULL;
		struct db_row row;
		int r = run(cleanup->db, DB_cleanup_idempotency, params,
			    &result, reterr_fault);

		if (r < 0 || db_rows(result) == 0)
			return r;
		row = db_row(result, 0, cleanup->arena);
		params[2] = db_row_text(&row, "owner");
		params[3] = db_row_text(&row, "key");
		cleanup->keys += db_row_int64(&row, "keys");
		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
	}
}

/* What killed writers left in a folder; S3 shows no such thing. */
static int sweep_store(struct cleanup *cleanup, const struct conf *conf,
		       struct fault *reterr_fault)
{
	_cleanup_(store_closep) struct store *store = NULL;
	_cleanup_(sd_event_unrefp) sd_event *event = NULL;
	int r;

	if (conf->store_kind != CONF_STORE_FILE)
		return 0;
	r = sd_event_new(&event);
	if (r < 0)
		return fault_set(reterr_fault, r, "no event loop");
	r = store_open(event, conf, &store, reterr_fault);
	if (r < 0)
		return r;
	return store_sweep(store, SWEEP_OLDER_S, &cleanup->files, reterr_fault);
}

int admin_cleanup(const struct conf *conf, struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(LIMIT_ARENA_TICK_BYTES);
	_cleanup_(db_closep) struct db *db = NULL;
	struct cleanup cleanup = { .arena = arena };
	int r;

	if (!arena)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	r = open_admin(conf, &db, reterr_fault);
	if (r < 0)
		return r;
	cleanup.db = db;
	r = remove_executions(&cleanup, conf, reterr_fault);
	if (r == 0)
		r = remove_webhooks(&cleanup, conf, reterr_fault);
	if (r == 0)
		r = free_keys(&cleanup, conf, reterr_fault);
	if (r == 0)
		r = sweep_store(&cleanup, conf, reterr_fault);
	if (r < 0)
		return r;
	log_event(LOG_NOTICE, LOG_ID_CLEANUP_DONE, NULL,
		  "removed %" PRId64 " executions, %" PRId64
		  " webhook deliveries, %" PRId64
		  " idempotency keys, %zu abandoned files",
		  cleanup.executions, cleanup.webhooks, cleanup.keys,
		  cleanup.files);
	return 0;
}
