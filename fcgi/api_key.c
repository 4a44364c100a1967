/* SPDX-License-Identifier: MIT */
#include "fcgi/api_key.h"

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/model/limits.h"
#include "fcgi/exchange.h"
#include "fcgi/fresh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct api_keys {
	struct fresh fresh;
	pthread_rwlock_t lock; /* of what follows */
	struct api_key *key;
	size_t count;
};

static void free_list(struct api_key *list, size_t count)
{
	for (size_t i = 0; list && i < count; i++)
		free(list[i].owner);
	free(list);
}

struct api_keys *api_keys_new(void)
{
	struct api_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return NULL;
	fresh_init(&keys->fresh, clock_monotonic_ms());
	(void)pthread_rwlock_init(&keys->lock, NULL);
	return keys;
}

struct api_keys *api_keys_free(struct api_keys *keys)
{
	if (!keys)
		return NULL;
	free_list(keys->key, keys->count);
	(void)pthread_rwlock_destroy(&keys->lock);
	fresh_done(&keys->fresh);
	free(keys);
	return NULL;
}

/* What a header brings by our scheme, be it a key or not; NULL if it brings
 * nothing, or something else: a name and a password, say. */
static const char *find_token(const char *header)
{
	static const char scheme[] = "Bearer ";

	if (!header || strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	header += sizeof(scheme) - 1;
	header += strspn(header, " ");
	return *header ? header : NULL;
}

const char *api_key_from_header(const char *header)
{
	size_t length;

	header = find_token(header);
	if (!header)
		return NULL;
	length = strnlen(header, LIMIT_API_KEY_BYTES + 1);
	if (length > LIMIT_API_KEY_BYTES || !text_starts_with(header, "rsh_"))
		return NULL;
	return header;
}

const char *api_keys_find(struct api_keys *keys, const char *key,
			  struct arena *arena)
{
	const char *owner = NULL;
	uint8_t sha256[SHA256_BYTES];

	crypto_sha256(key, strlen(key), sha256);
	(void)pthread_rwlock_rdlock(&keys->lock);
	/* All of them, each in constant time: how long it takes tells
	 * nothing of how near a guess was. */
	for (size_t i = 0; i < keys->count; i++) {
		if (crypto_equal(keys->key[i].sha256, sha256, sizeof(sha256)))
			owner = keys->key[i].owner;
	}
	owner = owner ? arena_strdup(arena, owner) : NULL;
	(void)pthread_rwlock_unlock(&keys->lock);
	return owner;
}

int api_keys_replace(struct api_keys *keys, const struct api_key *news,
		     size_t count)
{
	struct api_key *list = calloc(count + 1, sizeof(*list));
	struct api_key *old;
	size_t old_count;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		list[i] = news[i];
		list[i].owner = strdup(news[i].owner);
		if (!list[i].owner) {
			free_list(list, i);
			return -ENOMEM;
		}
	}

	(void)pthread_rwlock_wrlock(&keys->lock);
	old = keys->key;
	old_count = keys->count;
	keys->key = list;
	keys->count = count;
	(void)pthread_rwlock_unlock(&keys->lock);
	free_list(old, old_count);
	return 0;
}

static int read_keys(struct api_keys *keys, struct db *db, struct arena *arena,
		     struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct api_key *news;
	size_t count;
	int r;

	r = read_run(db, DB_api_key_active, NULL, &rows, reterr_fault);
	if (r < 0)
		return r;
	count = (size_t)db_rows(rows);
	news = arena_alloc(arena, (count + 1) * sizeof(*news));
	if (!news)
		return fault_set(reterr_fault, -ENOMEM, "too many API keys");

	for (size_t i = 0; i < count; i++) {
		struct db_row row = db_row(rows, (int)i, arena);
		const char *owner = db_row_text(&row, "owner");
		const char *sha256 = db_row_text(&row, "key_sha256");

		r = db_row_end(&row, reterr_fault);
		if (r < 0)
			return r;
		news[i].owner = arena_strdup(arena, owner);
		if (!news[i].owner)
			return -ENOMEM;
		if (!text_from_hex(sha256, news[i].sha256, SHA256_BYTES))
			return fault_set(reterr_fault, -EBADMSG,
					 "an API key's hash is not one");
	}
	return api_keys_replace(keys, news, count);
}

/* Read the table if it is time to; what was known stays if that fails. */
static int refresh(struct api_keys *keys, struct db *db, bool missed,
		   struct arena *arena, struct fault *reterr_fault)
{
	int r;

	if (missed)
		exchange_may_wait();
	if (!fresh_due(&keys->fresh, missed, clock_monotonic_ms()))
		return 0;
	exchange_may_wait();
	r = read_keys(keys, db, arena, reterr_fault);
	fresh_read(&keys->fresh, r == 0, clock_monotonic_ms());
	return r;
}

int api_keys_owner(struct api_keys *keys, struct db *db, const char *header,
		   struct arena *arena, const char **ret_owner,
		   struct fault *reterr_fault)
{
	const char *key = api_key_from_header(header);
	const char *owner;
	int r;

	if (!key)
		return find_token(header) ? API_KEY_E_UNKNOWN
					  : API_KEY_E_MISSING;

	r = refresh(keys, db, false, arena, reterr_fault);
	owner = api_keys_find(keys, key, arena);
	if (!owner && r == 0) {
		r = refresh(keys, db, true, arena, reterr_fault);
		owner = api_keys_find(keys, key, arena);
	}
	if (owner) {
		*ret_owner = owner;
		return 0;
	}
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	if (r < 0)
		return r;
	/* Another thread may have just failed to read the table. */
	if (!fresh_trusted(&keys->fresh, clock_monotonic_ms()))
		return fault_set(reterr_fault, -EAGAIN,
				 "the API keys cannot be read");
	return API_KEY_E_UNKNOWN;
}
