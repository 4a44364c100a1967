/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/flow/read.h"
#include "common/model/limits.h"
#include "fcgi/problem.h"
#include "fcgi/query.h"
#include "fcgi/route.h"
#include "fcgi/show.h"

#include <errno.h>
#include <string.h>

/*
 * GET /api/executions - the owner's executions, newest first.
 *
 * limit, cursor, and status to see only those in one state. A cursor is the
 * id that the page before ended with, so pages neither repeat nor skip when
 * executions are added meanwhile.
 */

enum { CURSOR_KIND = 'e' };

struct page {
	int64_t limit;
	const char *before; /* or NULL */
	const char *status; /* or NULL */
};

static bool is_status(const char *status)
{
	static const char *const names[] = { "running", "completed", "failed",
					     "cancelled" };

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (strcmp(status, names[i]) == 0)
			return true;
	}
	return false;
}

static int read_page(const struct request *request, struct page *ret_page,
		     struct reply *ret)
{
	int r;

	r = query_limit(request, LIMIT_PAGE_ITEMS, LIMIT_PAGE_MOST_ITEMS,
			&ret_page->limit, ret);
	if (r == 0)
		r = query_cursor(request, CURSOR_KIND, &ret_page->before, ret);
	if (r == 0)
		r = query_text(request, "status", &ret_page->status, ret);
	if (r != 0)
		return r;
	if ((ret_page->before && !text_is_uuid(ret_page->before)) ||
	    (ret_page->status && !is_status(ret_page->status))) {
		bool cursor =
			ret_page->before && !text_is_uuid(ret_page->before);

		problem_reply(
			&(struct problem){
				.status = 400,
				.code = "bad_parameter",
				.detail = cursor ? "The cursor is not one that "
						   "this list gave."
						 : "A status is running, "
						   "completed, failed or "
						   "cancelled.",
				.field = cursor ? "cursor" : "status",
			},
			request, ret);
		return QUERY_E_BAD;
	}
	return 0;
}

/* One more than the page is read, to know whether it goes on. */
static int write_page(const PGresult *rows, const struct page *page,
		      struct arena *arena, const char **ret_text,
		      struct fault *reterr_fault)
{
	struct json_out out = json_out_init(arena);
	bool more = db_rows(rows) > page->limit;
	const char *id = NULL;

	json_out_open(&out, '{');
	json_out_key(&out, "items");
	json_out_open(&out, '[');
	for (int i = 0; i < db_rows(rows) && i < page->limit; i++) {
		int r = show_execution_row(rows, i, arena, &out, &id,
					   reterr_fault);

		if (r < 0)
			return r;
		json_out_close(&out, '}');
	}
	json_out_close(&out, ']');
	json_out_member(&out, "next_cursor",
			more ? cursor_make(CURSOR_KIND, id, arena) : NULL);
	json_out_close(&out, '}');
	*ret_text = json_out_end(&out, NULL);
	return 0;
}

int get_executions(struct worker *worker, const struct request *request,
		   struct reply *ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct page page = { 0 };
	const char *params[4];
	const char *text;
	int r;

	r = read_page(request, &page, ret);
	if (r != 0)
		return r < 0 ? fault_set(reterr_fault, r, "arena is full") : 0;
	params[0] = request->owner;
	params[1] = page.status;
	params[2] = page.before;
	params[3] = arena_printf(request->arena, "%d", (int)page.limit + 1);
	if (!params[3])
		return fault_set(reterr_fault, -ENOMEM, "arena is full");

	r = read_run(worker_db(worker), DB_execution_list, params, &rows,
		     reterr_fault);
	if (r < 0)
		return r;
	r = write_page(rows, &page, request->arena, &text, reterr_fault);
	return r < 0 ? r : reply_json(ret, 200, text, reterr_fault);
}
