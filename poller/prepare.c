/* SPDX-License-Identifier: MIT */
#include "poller/prepare.h"

#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"
#include "common/model/template.h"
#include "poller/outputs.h"
#include "poller/query.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum {
	/* Children whose upstream results are in memory at once. */
	TOGETHER = 16,
};

struct prepare;

/* A file that is being read for a provider that wants bytes. */
struct reading {
	struct prepare *prepare;
	const char *name;
	size_t index;
	const char *content_type;
	struct store_read *read;
};

struct prepare {
	struct work *work;
	prepare_done_fn *done;
	struct outputs outputs;
	json_t *input;
	struct reading *reading;
	size_t reading_count;
	size_t left; /* of them */
};

static void stop(struct work *work)
{
	struct prepare *prepare = work->owned;

	for (size_t i = 0; i < prepare->reading_count; i++)
		store_read_cancel(prepare->reading[i].read);
	outputs_done(&prepare->outputs);
	json_decref(prepare->input);
	work->owned = NULL;
	work->stop = NULL;
}

static void finish(struct prepare *prepare, int error,
		   const struct fault *fault)
{
	struct work *work = prepare->work;
	prepare_done_fn *done = prepare->done;

	stop(work);
	done(work, error, fault);
}

/* All is there: write the input. */
static void resolve(struct prepare *prepare)
{
	struct work *work = prepare->work;
	struct provider_state *provider = work->provider;
	const struct template_values values = {
		.outputs = prepare->outputs.outputs,
		.media = prepare->outputs.media,
		.bytes_most = provider->ops->media_as_bytes
				      ? LIMIT_RESOLVED_INLINE_BYTES
				      : LIMIT_RESOLVED_BYTES,
	};
	json_auto_t *resolved = NULL;
	struct arena *draft = work_draft(work);
	struct fault fault = { "" };
	const char *text;
	int r = -ENOMEM;

	json_text_watch();
	if (draft)
		r = template_resolve(prepare->input, &values, draft, &resolved,
				     &fault);
	if (json_text_starved())
		r = -ENOMEM;
	if (r == 0) {
		text = json_text_write(resolved, draft);
		if (text)
			work->job.input = text;
		else if (!arena_is_full(draft))
			r = -ENOMEM;
		else
			r = fault_set(&fault, -EFBIG,
				      "the input is too large once its "
				      "references are replaced");
	}
	finish(prepare, r, &fault);
}

/* ---- files --------------------------------------------------------------- */

static void on_read(const struct store_content *content, void *userdata)
{
	struct reading *reading = userdata;
	struct prepare *prepare = reading->prepare;
	struct arena *draft = work_draft(prepare->work);
	struct fault fault = { "" };
	const char *base64 = NULL;
	int r = content->error;

	reading->read = NULL;
	if (r == -ENOENT)
		r = fault_set(&fault, TEMPLATE_E_REFERENCE_MISSING,
			      "file %zu of \"%s\" is not in the store any more",
			      reading->index, reading->name);
	else if (r == -EFBIG)
		(void)fault_set(&fault, r,
				"file %zu of \"%s\" has more than %d bytes, "
				"the most that can be sent with an input",
				reading->index, reading->name,
				LIMIT_MEDIA_INLINE_BYTES);
	else if (r < 0)
		r = fault_set(&fault, -EAGAIN, "the store: %s",
			      content->fault.text);
	if (r != 0) {
		finish(prepare, r, &fault);
		return;
	}

	if (draft)
		base64 = text_to_base64(content->bytes, content->size,
					TEXT_BASE64, draft);
	if (base64)
		r = outputs_set_bytes(&prepare->outputs, reading->name,
				      reading->index, base64,
				      reading->content_type);
	else if (draft && arena_is_full(draft))
		r = fault_set(&fault, -EFBIG,
			      "the files in the input are too large together");
	else
		r = fault_set(&fault, -ENOMEM, "no memory for a file");
	if (r < 0) {
		finish(prepare, r, &fault);
		return;
	}
	if (--prepare->left == 0)
		resolve(prepare);
}

static bool is_listed(const struct prepare *prepare,
		      const struct template_reference *reference)
{
	for (size_t i = 0; i < prepare->reading_count; i++) {
		if (prepare->reading[i].index == reference->index &&
		    strcmp(prepare->reading[i].name, reference->job) == 0)
			return true;
	}
	return false;
}

/* Begin to read every file that the input refers to.
 * @return 0, or why that cannot be */
static int read_files(struct prepare *prepare,
		      const struct template_references *references,
		      struct fault *reterr_fault)
{
	struct work *work = prepare->work;

	prepare->reading = arena_alloc(
		work->arena, references->count * sizeof(*prepare->reading) + 1);
	if (!prepare->reading)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	for (size_t i = 0; i < references->count; i++) {
		const struct template_reference *reference =
			&references->reference[i];
		struct reading *reading =
			&prepare->reading[prepare->reading_count];
		struct outputs_file file;
		int r;

		if (!reference->is_media || is_listed(prepare, reference) ||
		    !outputs_find_file(&prepare->outputs, reference->job,
				       reference->index, &file))
			continue;
		*reading = (struct reading){
			.prepare = prepare,
			.name = reference->job,
			.index = reference->index,
			.content_type =
				arena_strdup(work->arena, file.content_type),
		};
		r = store_read(work->poller->store, file.key,
			       LIMIT_MEDIA_INLINE_BYTES, on_read, reading,
			       &reading->read);
		if (r < 0)
			return fault_set(reterr_fault, r,
					 "a file cannot be read");
		prepare->reading_count++;
		prepare->left++;
	}
	return 0;
}

/* Results are known; files may be missing. */
static void go_on(struct prepare *prepare)
{
	struct work *work = prepare->work;
	struct template_references references = { 0 };
	struct fault fault = { "" };
	const char *where;
	int r = 0;

	if (work->provider->ops->media_as_bytes) {
		r = template_find(prepare->input, work->arena, &references,
				  &where, &fault);
		if (r > 0)
			r = -EINVAL;
		if (r == 0)
			r = read_files(prepare, &references, &fault);
	}
	if (r != 0)
		finish(prepare, r, &fault);
	else if (prepare->left == 0)
		resolve(prepare);
}

/* ---- results ------------------------------------------------------------- */

static int begin(struct work *work, prepare_done_fn *done,
		 struct fault *reterr_fault)
{
	struct prepare *prepare = arena_alloc(work->arena, sizeof(*prepare));
	json_error_t error;
	int r;

	if (!prepare)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	*prepare = (struct prepare){ .work = work, .done = done };
	work->owned = prepare;
	work->stop = stop;
	r = outputs_init(&prepare->outputs, work->dependency_defaults,
			 reterr_fault);
	if (r < 0)
		return r;
	r = json_text_load_large(work->job.input, strlen(work->job.input), 0,
				 &prepare->input, &error);
	return r < 0 ? fault_set(reterr_fault, r, "the input cannot be read")
		     : 0;
}

/* @return 0; -ENOMEM: a row is missing, and nobody knows whose */
static int take_upstreams(struct poller *poller, const PGresult *result)
{
	for (int i = 0; i < db_rows(result); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(LIMIT_ARENA_TICK_BYTES);
		struct upstream upstream;
		struct fault fault = { "" };
		struct db_row row;
		struct work *work;
		int r;

		if (!arena)
			return -ENOMEM;
		row = db_row(result, i, arena);
		work = work_find(poller, db_row_text(&row, "child_id"));
		upstream = (struct upstream){
			.name = db_row_text(&row, "name"),
			.completed = strcmp(db_row_text(&row, "status"),
					    "completed") == 0,
			.output = db_row_text_or_null(&row, "output"),
			.media = db_row_text(&row, "media"),
		};
		r = db_row_end(&row, &fault);
		if (arena_failed(arena) && !arena_is_full(arena))
			return -ENOMEM;
		if (!work || work->stop != stop)
			continue;
		json_text_watch();
		if (r == 0)
			r = outputs_add(
				&((struct prepare *)work->owned)->outputs,
				&upstream, &fault);
		if (json_text_starved())
			r = -ENOMEM;
		if (r < 0)
			finish(work->owned, r, &fault);
	}
	return 0;
}

/* @return 0; negative and why */
static int read_upstreams(struct poller *poller, struct work **works,
			  size_t count)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(LIMIT_MIB);
	_cleanup_(db_result_freep) PGresult *result = NULL;
	const char *ids[TOGETHER];
	size_t asked = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		if (works[i]->has_references)
			ids[asked++] = works[i]->job.id;
	}
	if (asked == 0)
		return 0;
	if (!arena)
		return -ENOMEM;

	const char *params[] = { db_array_text(ids, asked, arena) };
	if (arena_failed(arena))
		return -ENOMEM;
	r = query_run(poller, DB_job_upstreams, params, &result);
	if (r < 0)
		return r;
	return take_upstreams(poller, result);
}

/* Some works whose inputs have something to be replaced. */
static void prepare_some(struct poller *poller, struct work **works,
			 size_t count, prepare_done_fn *done)
{
	char ids[TOGETHER][UUID_SIZE];
	struct fault fault = { "" };
	size_t left = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		r = begin(works[i], done, &fault);
		if (r < 0 && works[i]->owned)
			finish(works[i]->owned, r, &fault);
		else if (r < 0)
			done(works[i], r, &fault);
		else
			works[left++] = works[i];
	}
	for (size_t i = 0; i < left; i++)
		memcpy(ids[i], works[i]->job.id, UUID_SIZE);

	r = read_upstreams(poller, works, left);
	(void)fault_set(&fault, -EAGAIN,
			"what the job depends on cannot be read now");
	for (size_t i = 0; i < left; i++) {
		/* By its id: it may have ended with its upstream rows. */
		struct work *work = work_find(poller, ids[i]);

		if (!work || work->stop != stop)
			continue;
		if (r < 0)
			finish(work->owned, -EAGAIN, &fault);
		else
			go_on(work->owned);
	}
}

/* "$$" may be an escaped reference, which becomes "$" as well. */
static bool is_plain(const struct work *work)
{
	return !work->has_references && !strstr(work->job.input, "$$");
}

void prepare_inputs(struct poller *poller, struct work **works, size_t count,
		    prepare_done_fn *done)
{
	struct work *some[TOGETHER];
	size_t collected = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_plain(works[i])) {
			done(works[i], 0, NULL);
			continue;
		}
		some[collected++] = works[i];
		if (collected == TOGETHER) {
			prepare_some(poller, some, collected, done);
			collected = 0;
		}
	}
	if (collected > 0)
		prepare_some(poller, some, collected, done);
}
