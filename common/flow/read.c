/* SPDX-License-Identifier: MIT */
#include "common/flow/read.h"

#include <errno.h>

int read_run(struct db *db, enum db_query query, const char *const *params,
	     PGresult **ret, struct fault *reterr_fault)
{
	bool was_connected = db_connected(db);
	int r;

	r = db_run(db, query, params, ret, reterr_fault);
	if (r == -EAGAIN && was_connected)
		r = db_run(db, query, params, ret, reterr_fault);
	return r <= 0 ? r : -EPROTO;
}
