/* SPDX-License-Identifier: MIT */
#include "tests/unit/common/io/transfer_fixture.h"

/* ---- what goes well ----------------------------------------------------- */

static void known_length_is_stored(void **state)
{
	struct fixture *f = *state;
	mode_t mask = umask(077);

	(void)move(f, "/media");
	(void)umask(mask);
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
	assert_int_equal(f->seen.result.http_status, 200);
}

static void chunks_are_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/chunked");
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
}

static void small_files_are_stored(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/small");
	assert_stored(f, 20);
}

static void again_leaves_one_file(void **state)
{
	struct fixture *f = *state;

	(void)move(f, "/small");
	(void)move(f, "/media");
	assert_stored(f, MEDIA_BYTES);
}

static const struct transfer_result *
move_inline(struct fixture *f, const char *text, size_t size, int64_t bytes_max)
{
	struct transfer_job job = { .base64 = text,
				    .base64_bytes = size,
				    .key_prefix = PREFIX,
				    .bytes_max = bytes_max };
	int want = f->seen.count + 1;

	assert_int_equal(transfer_start(f->transfers, &job, on_done, &f->seen,
					NULL, NULL),
			 0);
	peer_run_loop(f->event, &f->seen.count, want);
	return &f->seen.result;
}

static void inline_media_is_stored(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct fixture *f = *state;
	const char *text =
		text_to_base64(media, sizeof(media), TEXT_BASE64, arena);

	assert_non_null(text);
	(void)move_inline(f, text, strlen(text), 0);
	assert_stored(f, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
}

static void bad_inline_media_fails(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	struct fixture *f = *state;
	char *text = text_to_base64(media, sizeof(media), TEXT_BASE64, arena);

	assert_non_null(text);
	(void)move_inline(f, text, strlen(text), MEDIA_BYTES - 1);
	assert_failed(f, -EFBIG, TRANSFER_SOURCE);
	/* Padding in the middle, where a slice ends. */
	text[65535] = '=';
	(void)move_inline(f, text, strlen(text), 0);
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
	(void)move_inline(f, "PGh0bWw+", 8, 0); /* <html> */
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
	(void)move_inline(f, "", 0, 0);
	assert_failed(f, -EBADMSG, TRANSFER_SOURCE);
}

static void a_folder_that_is_none_is_the_stores_fault(void **state)
{
	struct fixture *f = *state;
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%.36s", f->folder, PREFIX);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EACCES);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
	assert_int_equal(count_files(f), 1);
}

static void no_link_leads_out_of_the_store(void **state)
{
	struct fixture *f = *state;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%.36s", f->folder, PREFIX);
	assert_int_equal(symlink("/tmp", path), 0);
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EACCES);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
}

static void cancelled_midway_leaves_nothing(void **state)
{
	struct transfer *transfer = NULL;
	struct fixture *f = *state;

	begin(f, peer_url(&f->peer, "/hang"), &f->seen, NULL, &transfer);
	for (int i = 0; i < 100 && count_files(f) == 0; i++)
		peer_run_for(f->event, 20);
	assert_int_equal(count_files(f), 1); /* the temporary one */
	transfer_cancel(transfer);
	assert_int_equal(count_files(f), 0);
	assert_int_equal(transfers_count(f->transfers), 0);
	peer_run_for(f->event, 50);
	assert_int_equal(f->seen.count, 0);
}

static void all_may_go_at_any_moment(void **state)
{
	struct fixture *f = *state;

	/* Some are queued, some run, some are about to be published. */
	for (uint64_t ms = 0; ms < 24; ms += 3) {
		for (int i = 0; i < 8; i++)
			begin(f, peer_url(&f->peer, i % 2 ? "/hang" : "/media"),
			      &f->seen, NULL, NULL);
		peer_run_for(f->event, ms);
		f->transfers = transfers_free(f->transfers);
		f->store = store_close(f->store);
		assert_true(count_files(f) <= 1);
		f->seen.count = 0;
		open_all(f);
	}
}

/* ---- a store that takes its time ---------------------------------------- */

/* It wants the length, takes a chunk only now and then, and can fail. */
struct slow_put {
	struct store_put base;
	sd_event_source *timer;
	int64_t bytes;
	bool room, refused, finished;
};

static struct {
	int puts, cancelled, refusals;
	int64_t bytes, announced, fail_at;
	int write_error;
} slow;

static enum store_needs slow_needs(const struct store *store)
{
	(void)store;
	return STORE_NEEDS_BYTES;
}

static void slow_free(struct slow_put *put)
{
	(void)sd_event_source_disable_unref(put->timer);
	free(put);
}

static int on_slow_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct slow_put *put = userdata;
	struct store_put base = put->base;
	struct fault fault = { "slow store: no" };

	(void)usec;
	put->room = true;
	if (put->finished || (slow.fail_at > 0 && put->bytes >= slow.fail_at)) {
		int error = put->finished ? 0 : -EAGAIN;

		slow.bytes = put->bytes;
		slow_free(put);
		base.events->done(error, &fault, base.userdata);
		return 0;
	}
	(void)sd_event_source_set_time_relative(source, 500);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (put->refused) {
		put->refused = false;
		base.events->ready(base.userdata);
	}
	return 0;
}

static int slow_start(struct store *store, const struct store_object *object,
		      const struct store_put_events *events, void *userdata,
		      struct store_put **ret, struct fault *reterr_fault)
{
	struct slow_put *put = calloc(1, sizeof(*put));

	(void)reterr_fault;
	assert_non_null(put);
	put->base = (struct store_put){ store, events, userdata };
	put->room = true;
	slow.puts++;
	slow.announced = object->bytes;
	if (object->spool_fd >= 0) {
		put->bytes = object->bytes;
		put->finished = true;
	}
	assert_true(sd_event_add_time_relative(store->event, &put->timer,
					       CLOCK_MONOTONIC, 500, 1,
					       on_slow_timer, put) >= 0);
	*ret = &put->base;
	return 0;
}

static int slow_write(struct store_put *base, const void *bytes, size_t size,
		      struct fault *reterr_fault)
{
	struct slow_put *put = (struct slow_put *)base;

	if (slow.write_error < 0 && put->bytes > 0)
		return fault_set(reterr_fault, slow.write_error, "slow store");
	/* Room for a first chunk and its head, then for one a turn. */
	if (!put->room && put->bytes > 512) {
		put->refused = true;
		slow.refusals++;
		return -EAGAIN;
	}
	if (memcmp(bytes, media + put->bytes, size) != 0)
		fail_msg("other bytes at %d", (int)put->bytes);
	put->bytes += (int64_t)size;
	put->room = false;
	return 0;
}

static void slow_finish(struct store_put *base)
{
	((struct slow_put *)base)->finished = true;
}

static void slow_cancel(struct store_put *base)
{
	slow.cancelled++;
	slow_free((struct slow_put *)base);
}

static const struct store_ops slow_ops = {
	.needs = slow_needs,
	.put_start = slow_start,
	.put_write = slow_write,
	.put_finish = slow_finish,
	.put_cancel = slow_cancel,
};

/* Give the fixture a slow store. The real one is closed as before. */
static void use_slow_store(struct fixture *f, struct store *store)
{
	memset(&slow, 0, sizeof(slow));
	*store = (struct store){ .ops = &slow_ops,
				 .event = f->event,
				 .conf = &f->conf };
	(void)transfers_free(f->transfers);
	assert_int_equal(
		transfers_new(f->event, &f->conf, store, &f->transfers, NULL),
		0);
}

static void a_slow_store_holds_the_source_back(void **state)
{
	struct fixture *f = *state;
	struct store store;

	use_slow_store(f, &store);
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, 0);
	assert_int_equal(slow.announced, MEDIA_BYTES);
	assert_int_equal(slow.bytes, MEDIA_BYTES);
	assert_true(slow.refusals > 3);
	assert_string_equal(f->seen.result.sha256, media_sha256);
}

static void an_unknown_length_is_counted_first(void **state)
{
	struct fixture *f = *state;
	struct store store;

	use_slow_store(f, &store);
	(void)move(f, "/chunked");
	assert_int_equal(f->seen.result.error, 0);
	assert_int_equal(slow.announced, MEDIA_BYTES);
	assert_string_equal(f->seen.result.sha256, media_sha256);
	(void)move(f, "/cut-chunk");
	assert_int_equal(f->seen.result.error, -EAGAIN);
	assert_int_equal(slow.puts, 1); /* it was never told */
}

static void a_store_that_fails_midway_ends_it(void **state)
{
	struct fixture *f = *state;
	struct store store;

	use_slow_store(f, &store);
	slow.fail_at = MEDIA_BYTES / 2;
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EAGAIN);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
	assert_int_equal(slow.cancelled, 0); /* it was over by itself */

	slow.fail_at = 0;
	slow.write_error = -ENOSPC;
	(void)move(f, "/media");
	assert_int_equal(f->seen.result.error, -EAGAIN);
	assert_int_equal(f->seen.result.side, TRANSFER_STORE);
	assert_int_equal(slow.cancelled, 1);

	slow.write_error = 0;
	(void)move(f, "/cut");
	assert_int_equal(f->seen.result.side, TRANSFER_SOURCE);
	assert_int_equal(slow.cancelled, 2);
}

/* ---- the queue ---------------------------------------------------------- */

static void a_lane_leaves_room_for_others(void **state)
{
	struct fixture *f = *state;
	struct seen hung = { .count = 0 };

	for (int i = 0; i < 8; i++)
		begin(f, peer_url(&f->peer, "/hang"), &hung, "slow", NULL);
	begin(f, peer_url(&f->peer, "/media"), &f->seen, "quick", NULL);
	peer_run_loop(f->event, &f->seen.count, 1);
	assert_int_equal(f->seen.result.error, 0);
	assert_int_equal(hung.count, 0);
	assert_int_equal(transfers_count(f->transfers), 8);
	assert_true(atomic_load(&f->peer.requests) <= 3 + 1);
	atomic_store(&gate_open, 1);
	peer_run_loop(f->event, &hung.count, 8);
	assert_int_equal(hung.result.error, 0);
}

static void odd_jobs_are_refused_at_once(void **state)
{
	struct http_request request = { .method = HTTP_GET };
	struct transfer_job job = { .key_prefix = PREFIX };
	struct fixture *f = *state;

	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	job.request = &request;
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	request.url = "https://example.com/x";
	job.key_prefix = "a/../../b";
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	job.key_prefix = PREFIX;
	request.header[0] = (struct http_header){ "A", "b\nc" };
	request.header_count = 1;
	assert_int_equal(
		transfer_start(f->transfers, &job, on_done, NULL, NULL, NULL),
		-EINVAL);
	assert_int_equal(transfers_count(f->transfers), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(known_length_is_stored),
		CASE(chunks_are_stored),
		CASE(small_files_are_stored),
		CASE(again_leaves_one_file),
		CASE(inline_media_is_stored),
		CASE(bad_inline_media_fails),
		CASE(a_folder_that_is_none_is_the_stores_fault),
		CASE(no_link_leads_out_of_the_store),
		CASE(cancelled_midway_leaves_nothing),
		CASE(all_may_go_at_any_moment),
		CASE(a_slow_store_holds_the_source_back),
		CASE(an_unknown_length_is_counted_first),
		CASE(a_store_that_fails_midway_ends_it),
		CASE(a_lane_leaves_room_for_others),
		CASE(odd_jobs_are_refused_at_once),
	};

	make_media();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
