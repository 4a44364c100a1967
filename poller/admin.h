/* SPDX-License-Identifier: MIT */
#ifndef POLLER_ADMIN_H
#define POLLER_ADMIN_H

#include "common/base/fault.h"
#include "common/base/macro.h"
#include "common/io/conf.h"

/*
 * What an administrator does, with DATABASE_ADMIN_URL. Each prints its result
 * to stdout.
 *
 * @return 0; negative and why
 */

_must_check_ int admin_migrate(const struct conf *conf,
			       struct fault *reterr_fault);

/* Make a key for an owner and print it, once: only its SHA-256 is kept. */
_must_check_ int admin_add_key(const struct conf *conf, const char *owner,
			       struct fault *reterr_fault);

_must_check_ int admin_list_keys(const struct conf *conf,
				 struct fault *reterr_fault);

_must_check_ int admin_revoke_key(const struct conf *conf, const char *id,
				  struct fault *reterr_fault);

/* Remove what is older than its retention, some at a time. */
_must_check_ int admin_cleanup(const struct conf *conf,
			       struct fault *reterr_fault);

#endif
