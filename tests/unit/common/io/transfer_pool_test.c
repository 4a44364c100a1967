/* SPDX-License-Identifier: MIT */
#include "common/io/transfer_pool.h"

#include "tests/unit/common/io/transfer_fixture.h"

#include <sys/syscall.h>

/* What transfers are is told by transfer_test.c; here, that they may run on
 * other threads. */

enum { MANY = 24 };

static atomic_bool disk_hangs;
static pthread_t loop_thread;

/* A disk whose large writes wait, and whose files are written on no loop that
 * has anything else to do. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t write(int fd, const void *bytes, size_t size)
{
	if (size > 1000)
		assert(!pthread_equal(pthread_self(), loop_thread));
	while (size > 1000 && atomic_load(&disk_hangs))
		(void)usleep(1000);
	return syscall(SYS_write, fd, bytes, size);
}

struct pooled {
	struct fixture *fixture;
	struct transfer_pool *pool;
	struct seen seen[MANY];
	int count;
	struct pooled_transfer *other; /* to cancel when one is done */
};

static void on_pooled(const struct transfer_result *result, void *userdata)
{
	assert_true(pthread_equal(pthread_self(), loop_thread));
	on_done(result, userdata);
}

static void open_pool(struct pooled *p)
{
	struct fault fault = { "" };

	if (transfer_pool_new(p->fixture->event, &p->fixture->conf, &p->pool,
			      &fault) < 0)
		fail_msg("%s", fault.text);
}

static int set_up_pool(void **state)
{
	struct pooled *p = calloc(1, sizeof(*p));
	void *fixture = NULL;

	assert_non_null(p);
	(void)set_up(&fixture);
	p->fixture = fixture;
	p->fixture->conf.transfers_max = 16;
	atomic_store(&disk_hangs, false);
	loop_thread = pthread_self();
	open_pool(p);
	*state = p;
	return 0;
}

static int tear_down_pool(void **state)
{
	struct pooled *p = *state;
	void *fixture = p->fixture;

	(void)transfer_pool_free(p->pool);
	(void)tear_down(&fixture);
	free(p);
	return 0;
}

static struct pooled_transfer *start_at(struct pooled *p, const char *path,
					const char *prefix,
					transfer_done_fn *done, void *userdata)
{
	struct http_request request = {
		.method = HTTP_GET,
		.url = peer_url(&p->fixture->peer, path),
	};
	struct transfer_job job = { .request = &request,
				    .key_prefix = prefix,
				    .lane = "lane" };
	struct pooled_transfer *transfer = NULL;

	assert_int_equal(transfer_pool_start(p->pool, &job, done, userdata,
					     &transfer, NULL),
			 0);
	assert_non_null(transfer);
	return transfer;
}

static struct pooled_transfer *start(struct pooled *p, const char *path, int i)
{
	char prefix[64];

	(void)snprintf(prefix, sizeof(prefix), "e/j/1/%d", i);
	return start_at(p, path, prefix, on_pooled, &p->seen[i]);
}

static void wait_for(struct pooled *p, int from, int to)
{
	for (int i = from; i < to; i++)
		peer_run_loop(p->fixture->event, &p->seen[i].count, 1);
}

/* Threads may be about to remove what was given up. */
static void assert_files(const struct pooled *p, size_t want)
{
	for (int i = 0; i < 1000 && count_files(p->fixture) != want; i++)
		(void)usleep(5000);
	assert_int_equal(count_files(p->fixture), want);
}

static void many_are_stored_side_by_side(void **state)
{
	struct pooled *p = *state;

	for (int i = 0; i < MANY; i++)
		(void)start(p, "/media", i);
	wait_for(p, 0, MANY);
	for (int i = 0; i < MANY; i++) {
		const struct transfer_result *result = &p->seen[i].result;
		char key[64];

		if (result->error < 0)
			fail_msg("%d: %s", i, result->fault.text);
		(void)snprintf(key, sizeof(key), "e/j/1/%d.png", i);
		assert_string_equal(result->key, key);
		assert_string_equal(result->sha256, media_sha256);
		assert_int_equal(p->seen[i].count, 1);
	}
	assert_files(p, MANY);
}

static void inline_media_is_stored(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct pooled *p = *state;
	char *text = text_to_base64(media, sizeof(media), TEXT_BASE64, arena);
	struct transfer_job job = { .base64 = text, .key_prefix = PREFIX };

	assert_non_null(text);
	job.base64_bytes = strlen(text);
	assert_int_equal(transfer_pool_start(p->pool, &job, on_pooled, p->seen,
					     NULL, NULL),
			 0);
	memset(text, '!', job.base64_bytes); /* it was copied */
	wait_for(p, 0, 1);
	p->fixture->seen = p->seen[0];
	assert_stored(p->fixture, MEDIA_BYTES);
}

/* What transfer_start() refuses comes back as a result. */
static void odd_jobs_come_back(void **state)
{
	struct http_request post = { .method = HTTP_POST,
				     .url = "https://example.com/x",
				     .body = "x",
				     .body_bytes = 1 };
	struct transfer_job jobs[] = {
		{ .key_prefix = PREFIX },
		{ .key_prefix = PREFIX, .request = &post },
		{ .key_prefix = "a/../../b", .request = &post },
	};
	struct pooled *p = *state;

	for (int i = 0; i < (int)COUNT_OF(jobs); i++) {
		assert_int_equal(transfer_pool_start(p->pool, &jobs[i],
						     on_pooled, &p->seen[i],
						     NULL, NULL),
				 0);
		wait_for(p, i, i + 1);
		assert_int_equal(p->seen[i].result.error, -EACCES);
		assert_int_equal(p->seen[i].result.side, TRANSFER_SOURCE);
		assert_true(strlen(p->seen[i].result.fault.text) > 0);
	}
}

static void a_spool_that_is_gone_is_nobodys_fault(void **state)
{
	struct transfer_job job = { .base64 = "AAAA",
				    .base64_bytes = 4,
				    .key_prefix = PREFIX };
	struct pooled *p = *state;

	assert_int_equal(rmdir(p->fixture->folder), 0);
	assert_int_equal(transfer_pool_start(p->pool, &job, on_pooled, p->seen,
					     NULL, NULL),
			 0);
	wait_for(p, 0, 1);
	assert_int_equal(p->seen[0].result.error, -EAGAIN);
	assert_int_equal(p->seen[0].result.side, TRANSFER_NOWHERE);
}

/* Copies that wait for a disk are bounded, but for a single one. */
static void inline_media_does_not_pile_up(void **state)
{
	enum { TEXT_BYTES = 70 << 20 };
	struct pooled *p = *state;
	char *text = malloc(TEXT_BYTES);
	struct transfer_job job = { .base64 = text,
				    .base64_bytes = TEXT_BYTES,
				    .key_prefix = PREFIX,
				    .bytes_max = TEXT_BYTES };

	assert_non_null(text);
	memset(text, 'A', TEXT_BYTES);
	atomic_store(&disk_hangs, true);
	assert_int_equal(transfer_pool_start(p->pool, &job, on_pooled, p->seen,
					     NULL, NULL),
			 0);
	assert_int_equal(transfer_pool_start(p->pool, &job, on_pooled, p->seen,
					     NULL, NULL),
			 -ENOMEM);
	atomic_store(&disk_hangs, false);
	wait_for(p, 0, 1);
	assert_int_equal(p->seen[0].result.error, -EBADMSG); /* no media */
	assert_int_equal(transfer_pool_start(p->pool, &job, on_pooled,
					     &p->seen[1], NULL, NULL),
			 0);
	wait_for(p, 1, 2);
	free(text);
}

static void cancelled_ones_leave_nothing(void **state)
{
	struct pooled_transfer *transfers[8];
	struct pooled *p = *state;

	transfer_pool_cancel(NULL);
	/* some before their thread has heard of them */
	for (int i = 0; i < 8; i++)
		transfers[i] = start(p, "/hang", i);
	for (int i = 0; i < 4; i++)
		transfer_pool_cancel(transfers[i]);
	assert_files(p, 4); /* the temporary ones */
	for (int i = 4; i < 8; i++)
		transfer_pool_cancel(transfers[i]);
	assert_files(p, 0);
	(void)start(p, "/media", 8);
	wait_for(p, 8, 9);
	assert_int_equal(p->seen[8].result.error, 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(p->seen[i].count, 0);
}

static void cancel_other(const struct transfer_result *result, void *userdata)
{
	struct pooled *p = userdata;

	assert_int_equal(result->error, 0);
	p->count++;
	transfer_pool_cancel(TAKE_PTR(p->other));
}

static void on_other(const struct transfer_result *result, void *userdata)
{
	struct pooled *p = userdata;

	assert_int_equal(result->error, 0);
	assert_non_null(p->other); /* else it was cancelled */
	p->other = NULL;
}

/* It may have been done as well, and be next to be called back. */
static void one_callback_may_cancel_another(void **state)
{
	struct pooled *p = *state;

	for (int i = 0; i < 10; i++) {
		p->count = 0;
		(void)start_at(p, "/small", "e/j/1/0", cancel_other, p);
		p->other = start_at(p, "/small", "e/j/1/1", on_other, p);
		(void)usleep(i % 2 ? 20000 : 0);
		while (p->count == 0)
			(void)sd_event_run(p->fixture->event, 100000);
		assert_null(p->other);
		peer_run_for(p->fixture->event, 5);
	}
}

static void all_may_go_at_any_moment(void **state)
{
	struct pooled *p = *state;

	for (uint64_t ms = 0; ms < 24; ms += 3) {
		for (int i = 0; i < 8; i++)
			(void)start(p, i % 2 ? "/hang" : "/media", i);
		peer_run_for(p->fixture->event, ms);
		p->pool = transfer_pool_free(p->pool);
		assert_true(count_files(p->fixture) <= 4);
		open_pool(p);
	}
}

static void one_place_is_enough(void **state)
{
	struct pooled *p = *state;

	p->pool = transfer_pool_free(p->pool);
	p->fixture->conf.transfers_max = 1;
	open_pool(p);
	for (int i = 0; i < 4; i++)
		(void)start(p, "/media", i);
	wait_for(p, 0, 4);
	assert_files(p, 4);
}

static void a_store_that_is_none_is_said_at_once(void **state)
{
	struct fault fault = { "" };
	struct pooled *p = *state;
	char path[80];

	p->pool = transfer_pool_free(p->pool);
	(void)snprintf(path, sizeof(path), "%s/none/media", p->fixture->folder);
	p->fixture->conf.store_dir = path;
	assert_int_equal(transfer_pool_new(p->fixture->event, &p->fixture->conf,
					   &p->pool, &fault),
			 -ENOENT);
	assert_non_null(strstr(fault.text, "STORE_URL"));
	assert_null(p->pool);
}

/* The loop goes on while every writer waits. */
static void a_disk_that_hangs_holds_up_nobody_else(void **state)
{
	struct pooled *p = *state;

	atomic_store(&disk_hangs, true);
	for (int i = 0; i < 8; i++)
		(void)start(p, "/media", i);
	peer_run_for(p->fixture->event, 300);
	for (int i = 0; i < 8; i++)
		assert_int_equal(p->seen[i].count, 0);
	atomic_store(&disk_hangs, false);
	wait_for(p, 0, 8);
	for (int i = 0; i < 8; i++)
		assert_int_equal(p->seen[i].result.error, 0);
	assert_files(p, 8);
}

#define POOL(name)                                                             \
	cmocka_unit_test_setup_teardown(name, set_up_pool, tear_down_pool)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL(many_are_stored_side_by_side),
		POOL(inline_media_is_stored),
		POOL(odd_jobs_come_back),
		POOL(a_spool_that_is_gone_is_nobodys_fault),
		POOL(inline_media_does_not_pile_up),
		POOL(cancelled_ones_leave_nothing),
		POOL(one_callback_may_cancel_another),
		POOL(all_may_go_at_any_moment),
		POOL(one_place_is_enough),
		POOL(a_store_that_is_none_is_said_at_once),
		POOL(a_disk_that_hangs_holds_up_nobody_else),
	};

	make_media();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
