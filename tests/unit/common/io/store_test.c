/* SPDX-License-Identifier: MIT */
#include "common/io/store.h"

#include "common/io/store_file.h"
#include "common/model/limits.h"
#include "tests/unit/common/io/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

struct fixture {
	sd_event *event;
	struct conf conf;
	char folder[64];
	struct store *store;
	int count, error;
	size_t size;
	char bytes[64], fault[256];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder),
		       "/tmp/rushes-store-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->conf.store_kind = CONF_STORE_FILE;
	f->conf.store_dir = f->folder;
	f->conf.cdn_base_url = "https://cdn.example/m";
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(store_open(f->event, &f->conf, &f->store, NULL), 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)store_close(f->store);
	(void)sd_event_unref(f->event);
	(void)nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void write_file(const struct fixture *f, const char *name, time_t age_s)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - age_s },
				     { .tv_sec = time(NULL) - age_s } };
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	for (char *slash = path + strlen(f->folder) + 1;
	     (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_int_equal(futimens(fd, times), 0);
	(void)close(fd);
}

static bool exists(const struct fixture *f, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	return access(path, F_OK) == 0;
}

static void on_read(const struct store_content *content, void *userdata)
{
	struct fixture *f = userdata;

	f->error = content->error;
	f->size = content->size;
	if (content->size > 0)
		memcpy(f->bytes, content->bytes, content->size);
	(void)snprintf(f->fault, sizeof(f->fault), "%s", content->fault.text);
	f->count++;
}

static void read_key(struct fixture *f, const char *key, size_t bytes_max)
{
	int want = f->count + 1;

	assert_int_equal(store_read(f->store, key, bytes_max, on_read, f, NULL),
			 0);
	peer_run_loop(f->event, &f->count, want);
}

static void files_are_read(void **state)
{
	struct fixture *f = *state;

	write_file(f, "e/j/1/0.png", 0);
	read_key(f, "e/j/1/0.png", 10);
	assert_int_equal(f->error, 0);
	assert_int_equal(f->size, 10);
	assert_memory_equal(f->bytes, "0123456789", 10);
	read_key(f, "e/j/1/0.png", 9);
	assert_int_equal(f->error, -EFBIG);
	read_key(f, "e/j/1/1.png", 10);
	assert_int_equal(f->error, -ENOENT);
	read_key(f, "x/j/1/1.png", 10);
	assert_int_equal(f->error, -ENOENT);
	read_key(f, "e/j/1", 10); /* a folder */
	assert_int_equal(f->error, -ENOENT);
}

static void a_link_is_not_read(void **state)
{
	struct fixture *f = *state;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/link", f->folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	read_key(f, "link", 1 << 20);
	assert_true(f->error < 0);
	assert_int_equal(f->size, 0);
}

static void what_is_cancelled_does_not_call_back(void **state)
{
	struct fixture *f = *state;
	struct store_read *read = NULL;

	write_file(f, "e/0.png", 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(
			store_read(f->store, "e/0.png", 10, on_read, f, &read),
			0);
		store_read_cancel(read);
	}
	peer_run_for(f->event, 50);
	assert_int_equal(f->count, 0);
}

static const struct {
	const char *key;
	bool valid;
} keys[] = {
	{ "0193a1b2/job/1/0.mp4", true },
	{ "a", true },
	{ "-_.~!$&'()*+,;=:@", true },
	{ "a/.b/..c/...", true },
	{ "", false },
	{ "/a", false },
	{ "a/", false },
	{ "a//b", false },
	{ ".", false },
	{ "..", false },
	{ "a/../b", false },
	{ "a/./b", false },
	{ "a/..", false },
	{ "a b", false },
	{ "a\nb", false },
	{ "a%2fb", false },
	{ "a?b", false },
	{ "a#b", false },
	{ "a\\b", false },
	{ "a\"b", false },
	{ "\xc3\xbc", false },
};

static void only_our_keys_are_taken(void **state)
{
	struct fixture *f = *state;
	char longest[LIMIT_STORE_KEY_BYTES + 2];

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		if (store_key_is_valid(keys[i].key) != keys[i].valid)
			fail_msg("\"%s\"", keys[i].key);
		if (!keys[i].valid)
			assert_int_equal(store_read(f->store, keys[i].key, 10,
						    on_read, f, NULL),
					 -EINVAL);
	}
	memset(longest, 'a', sizeof(longest));
	for (size_t i = 100; i < sizeof(longest); i += 100)
		longest[i] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_false(store_key_is_valid(longest));
	longest[sizeof(longest) - 2] = '\0';
	assert_true(store_key_is_valid(longest));
}

static void public_urls_are_encoded(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	_cleanup_(arena_freep) struct arena *small = arena_new(10);
	struct fixture *f = *state;

	assert_string_equal(store_public_url(&f->conf, "e/j/1/0.mp4", arena),
			    "https://cdn.example/m/e/j/1/0.mp4");
	assert_string_equal(store_public_url(&f->conf, "a/+=&.png", arena),
			    "https://cdn.example/m/a/%2B%3D%26.png");
	assert_null(store_public_url(&f->conf, "a/b", small));
}

static void leftovers_are_swept(void **state)
{
	static const char old[] = "e/j/1/.rushes-0123456789abcdef.tmp";
	static const char young[] = "e/j/2/.rushes-0123456789abcdef.tmp";
	static const char other[] = "e/j/1/.rushes-notes";
	static const char media[] = "e/j/1/0.png";
	struct fixture *f = *state;
	size_t count = 99;

	write_file(f, old, 7200);
	write_file(f, young, 10);
	write_file(f, other, 7200);
	write_file(f, media, 7200);
	assert_int_equal(store_sweep(f->store, 3600, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_false(exists(f, old));
	assert_true(exists(f, young));
	assert_true(exists(f, other));
	assert_true(exists(f, media));
}

/* By the rights of a folder, or of somebody who is not its owner. */
static void a_folder_that_cannot_be_made_says_why(void **state)
{
	struct fixture *f = *state;
	bool root = geteuid() == 0;
	int r;

	assert_int_equal(chmod(f->folder, 0555), 0);
	assert_true(!root || seteuid(NOBODY) == 0);
	r = store_file_open_folder(f->store, "e/j/1/0.png", true);
	assert_true(!root || seteuid(0) == 0);
	assert_int_equal(chmod(f->folder, 0755), 0);
	assert_int_equal(r, -EACCES);
}

static void a_missing_parent_is_named(void **state)
{
	struct fixture *f = *state;
	struct store *store = NULL;
	struct fault fault;

	f->conf.store_dir = "/nonexistent/folder";
	assert_int_equal(store_open(f->event, &f->conf, &store, &fault),
			 -ENOENT);
	assert_non_null(strstr(fault.text, "/nonexistent/folder"));
	f->conf.store_dir = f->folder;
	f->conf.store_kind = CONF_STORE_NONE;
	assert_int_equal(store_open(f->event, &f->conf, &store, &fault),
			 -EINVAL);
}

static void libs3_is_not_trusted_with_tls(void **state)
{
	struct fixture *f = *state;
	struct conf conf = { .store_kind = CONF_STORE_S3,
			     .s3_signature_v2 = true,
			     .transfers_max = 1,
			     .s3_url = "https://s3.example" };
	struct store *store = NULL;
	struct fault fault;

	assert_int_equal(store_open(f->event, &conf, &store, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "certificates"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files_are_read),
		CASE(a_link_is_not_read),
		CASE(what_is_cancelled_does_not_call_back),
		CASE(only_our_keys_are_taken),
		CASE(public_urls_are_encoded),
		CASE(leftovers_are_swept),
		CASE(a_folder_that_cannot_be_made_says_why),
		CASE(a_missing_parent_is_named),
		CASE(libs3_is_not_trusted_with_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
