/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "common/flow/json_out.h"
#include "common/flow/read.h"
#include "fcgi/problem.h"
#include "fcgi/route.h"
#include "fcgi/show.h"
#include "fcgi/version.h"

#include <errno.h>

/* GET /healthz - the program runs and answers. Asks nobody. */
int get_healthz(struct worker *worker, const struct request *request,
		struct reply *ret, struct fault *reterr_fault)
{
	struct json_out out = json_out_init(request->arena);
	int64_t up_ms = clock_monotonic_ms() - worker->service->started_ms;

	json_out_open(&out, '{');
	json_out_member(&out, "status", "ok");
	json_out_member(&out, "version", RUSHES_VERSION);
	json_out_member_int(&out, "uptime_s", up_ms / 1000);
	json_out_close(&out, '}');
	return reply_json(ret, 200, json_out_end(&out, NULL), reterr_fault);
}

/* GET /readyz - requests can be served: the database is there, and its schema
 * is not older than what this program was built for. A newer one is good, for
 * hosts are upgraded one after the other. */
int get_readyz(struct worker *worker, const struct request *request,
	       struct reply *ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct json_out out = json_out_init(request->arena);
	struct db_row row;
	int64_t version = 0;
	int r;

	r = read_run(worker_db(worker), DB_database_ready, NULL, &rows,
		     reterr_fault);
	if (r == 0) {
		row = db_row(rows, 0, request->arena);
		version = db_row_int64_or(&row, "version", 0);
	}
	/* A connection is not even made to one that is older. */
	if (r == -EPROTO || (r == 0 && version < db_schema_version()))
		return refuse_for_now(request, ret, "schema_mismatch",
				      "The database's schema is not one that "
				      "this program can use: run rushes-poller "
				      "--migrate.");
	if (r < 0)
		return refuse_for_now(request, ret, "database_away",
				      "The database cannot be reached.");

	json_out_open(&out, '{');
	json_out_member(&out, "status", "ready");
	json_out_member_int(&out, "schema_version", version);
	json_out_close(&out, '}');
	return reply_json(ret, 200, json_out_end(&out, NULL), reterr_fault);
}
