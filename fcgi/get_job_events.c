/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/model/limits.h"
#include "fcgi/problem.h"
#include "fcgi/query.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>
#include <inttypes.h>

/* GET /api/jobs/{id}/events - what happened to a job, oldest first. */

enum { CURSOR_KIND = 'v' };

static int write_event(const PGresult *rows, int i, struct arena *arena,
		       struct json_out *out, int64_t *ret_id,
		       struct fault *reterr_fault)
{
	struct db_row row = db_row(rows, i, arena);

	*ret_id = db_row_int64(&row, "id");
	json_out_open(out, '{');
	json_out_member_time(out, "at", db_row_int64(&row, "at_unix_ms"));
	json_out_member(out, "event", db_row_text(&row, "event"));
	json_out_member(out, "from", db_row_text_or_null(&row, "from_status"));
	json_out_member(out, "to", db_row_text(&row, "to_status"));
	json_out_member_int(out, "attempt", db_row_int32(&row, "attempt"));
	json_out_member(out, "why", db_row_text(&row, "why"));
	json_out_member(out, "detail", db_row_text_or_null(&row, "detail"));
	json_out_close(out, '}');
	return db_row_end(&row, reterr_fault);
}

static int write_page(const PGresult *rows, int64_t limit, struct arena *arena,
		      const char **ret_text, struct fault *reterr_fault)
{
	struct json_out out = json_out_init(arena);
	const char *after = NULL;
	int64_t id = 0;

	json_out_open(&out, '{');
	json_out_key(&out, "items");
	json_out_open(&out, '[');
	for (int i = 0; i < db_rows(rows) && i < limit; i++) {
		int r = write_event(rows, i, arena, &out, &id, reterr_fault);

		if (r < 0)
			return r;
	}
	json_out_close(&out, ']');
	if (db_rows(rows) > limit)
		after = arena_printf(arena, "%" PRId64, id);
	json_out_member(&out, "next_cursor",
			after ? cursor_make(CURSOR_KIND, after, arena) : NULL);
	json_out_close(&out, '}');
	*ret_text = json_out_end(&out, NULL);
	return 0;
}

int get_job_events(struct worker *worker, const struct request *request,
		   struct reply *ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	const char *after, *text;
	const char *params[3];
	struct shown_job job;
	int64_t limit, number;
	int r;

	r = query_limit(request, LIMIT_PAGE_ITEMS, LIMIT_EVENTS_ITEMS, &limit,
			ret);
	if (r == 0)
		r = query_cursor(request, CURSOR_KIND, &after, ret);
	if (r != 0)
		return r < 0 ? fault_set(reterr_fault, r, "arena is full") : 0;
	if (after && !text_to_int64(after, 0, INT64_MAX, &number))
		return refuse(request, ret, 400, "bad_parameter",
			      "The cursor is not one that this list gave.");
	/* Whose job is it? */
	r = show_job(worker, request, request->capture[0], &job, &text,
		     reterr_fault);
	if (r == SHOW_E_NOT_FOUND)
		return refuse(request, ret, 404, "job_not_found",
			      "There is no such job.");
	if (r < 0)
		return r;

	params[0] = request->capture[0];
	params[1] = after ? after : "0";
	params[2] = arena_printf(request->arena, "%d", (int)limit + 1);
	if (!params[2])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");
	r = read_run(worker_db(worker), DB_job_events_read, params, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	r = write_page(rows, limit, request->arena, &text, reterr_fault);
	return r < 0 ? r : reply_json(ret, 200, text, reterr_fault);
}
