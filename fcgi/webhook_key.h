/* SPDX-License-Identifier: MIT */
#ifndef FCGI_WEBHOOK_KEY_H
#define FCGI_WEBHOOK_KEY_H

#include "common/base/arena.h"
#include "common/io/conf.h"
#include "common/io/db.h"
#include "common/provider/provider.h"

/*
 * The keys that providers sign their webhooks with: from the configuration
 * where they are set there, else those that the poller fetched, kept in
 * memory for ten seconds.
 */

struct webhook_keys;

struct webhook_keys *webhook_keys_new(const struct conf *conf);
struct webhook_keys *webhook_keys_free(struct webhook_keys *keys);
DEFINE_CLEANUP(struct webhook_keys *, webhook_keys_free);

struct webhook_key_set {
	const struct provider_key *key; /* arena memory */
	size_t count;
	bool configured; /* the operator says that these are all */
	int64_t age_s;	 /* since the poller fetched them; the oldest */
};

/**
 * The keys of a provider.
 *
 * @missed  none of those it gave before fits: read the table again, at most
 *	    once a second
 *
 * @return 0; -ENOMEM. A database that is away leaves what was known.
 */
_must_check_ int webhook_keys_of(struct webhook_keys *keys, struct db *db,
				 const char *provider, bool missed,
				 struct arena *arena,
				 struct webhook_key_set *ret);

#endif
