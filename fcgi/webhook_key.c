/* SPDX-License-Identifier: MIT */
#include "fcgi/webhook_key.h"

#include "common/base/clock.h"
#include "common/flow/read.h"
#include "fcgi/exchange.h"
#include "fcgi/fresh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_ARENA_BYTES = 1024 * 1024 };

struct row {
	const char *provider;
	struct provider_key key;
	int64_t fetched_s; /* monotonic */
};

struct webhook_keys {
	const struct conf *conf;
	struct fresh fresh;
	pthread_rwlock_t lock; /* of what follows */
	struct arena *arena;   /* of the rows */
	struct row *row;
	size_t count;
};

struct webhook_keys *webhook_keys_new(const struct conf *conf)
{
	struct webhook_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return NULL;
	keys->conf = conf;
	fresh_init(&keys->fresh, clock_monotonic_ms());
	(void)pthread_rwlock_init(&keys->lock, NULL);
	return keys;
}

struct webhook_keys *webhook_keys_free(struct webhook_keys *keys)
{
	if (!keys)
		return NULL;
	(void)arena_free(keys->arena);
	(void)pthread_rwlock_destroy(&keys->lock);
	fresh_done(&keys->fresh);
	free(keys);
	return NULL;
}

static int read_rows(struct db *db, struct arena *arena, struct row **ret,
		     size_t *ret_count, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	int64_t now_s = clock_monotonic_ms() / 1000;
	struct row *list;
	int r;

	r = read_run(db, DB_provider_keys_read, NULL, &rows, reterr_fault);
	if (r < 0)
		return r;
	list = arena_alloc(arena, ((size_t)db_rows(rows) + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (int i = 0; i < db_rows(rows); i++) {
		struct db_row row = db_row(rows, i, arena);

		list[i] = (struct row){
			.provider = db_row_text(&row, "provider"),
			.key.id = db_row_text(&row, "key_id"),
			.key.key = db_row_text(&row, "key"),
			.fetched_s = now_s - db_row_int64(&row, "age_s"),
		};
		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
	}
	*ret = list;
	*ret_count = (size_t)db_rows(rows);
	return 0;
}

static int read_keys(struct webhook_keys *keys, struct db *db,
		     struct fault *reterr_fault)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(TABLE_ARENA_BYTES);
	struct arena *old;
	struct row *list;
	size_t count;
	int r;

	if (!arena)
		return -ENOMEM;
	r = read_rows(db, arena, &list, &count, reterr_fault);
	if (r < 0)
		return r;
	(void)pthread_rwlock_wrlock(&keys->lock);
	old = keys->arena;
	keys->arena = TAKE_PTR(arena);
	keys->row = list;
	keys->count = count;
	(void)pthread_rwlock_unlock(&keys->lock);
	(void)arena_free(old);
	return 0;
}

static int refresh(struct webhook_keys *keys, struct db *db, bool missed,
		   struct fault *reterr_fault)
{
	int r;

	if (missed)
		exchange_may_wait();
	if (!fresh_due(&keys->fresh, missed, clock_monotonic_ms()))
		return 0;
	exchange_may_wait();
	/* In place before those who wait for it are told: a webhook that came
	 * at the same moment would else be judged by the old keys. */
	r = read_keys(keys, db, reterr_fault);
	fresh_read(&keys->fresh, r == 0, clock_monotonic_ms());
	return r;
}

static int configured(const struct conf *conf, struct arena *arena,
		      struct webhook_key_set *ret)
{
	struct provider_key *list =
		arena_alloc(arena, conf->webhook_secret_count * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < conf->webhook_secret_count; i++)
		list[i] = (struct provider_key){
			.id = "",
			.key = conf->webhook_secret[i],
		};
	*ret = (struct webhook_key_set){
		.key = list,
		.count = conf->webhook_secret_count,
		.configured = true,
	};
	return 0;
}

/* Copy a provider's rows; under the lock. */
static int copy_rows(const struct webhook_keys *keys, const char *provider,
		     struct arena *arena, struct webhook_key_set *ret)
{
	int64_t now_s = clock_monotonic_ms() / 1000;
	struct webhook_key_set set = { 0 };
	struct provider_key *list =
		arena_alloc(arena, (keys->count + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < keys->count; i++) {
		const struct row *row = &keys->row[i];

		if (strcmp(row->provider, provider) != 0)
			continue;
		list[set.count++] = (struct provider_key){
			.id = arena_strdup(arena, row->key.id),
			.key = arena_strdup(arena, row->key.key),
		};
		if (now_s - row->fetched_s > set.age_s)
			set.age_s = now_s - row->fetched_s;
	}
	set.key = list;
	*ret = set;
	return arena_failed(arena) ? -ENOMEM : 0;
}

int webhook_keys_of(struct webhook_keys *keys, struct db *db,
		    const char *provider, bool missed, struct arena *arena,
		    struct webhook_key_set *ret)
{
	int r;

	/* The secret in the configuration is Replicate's: the other
	 * providers sign with keys that are public. */
	if (strcmp(provider, replicate_provider.name) == 0 &&
	    keys->conf->webhook_secret_count > 0)
		return configured(keys->conf, arena, ret);

	(void)refresh(keys, db, missed, NULL);
	(void)pthread_rwlock_rdlock(&keys->lock);
	r = copy_rows(keys, provider, arena, ret);
	(void)pthread_rwlock_unlock(&keys->lock);
	return r;
}
