/* SPDX-License-Identifier: MIT */
#include "common/model/url.h"

#include "common/model/limits.h"
#include "tests/support/check.h"

#include <errno.h>

static void urls_are_split(void **state)
{
	static const struct {
		const char *text;
		struct url want;
	} cases[] = {
		{ "https://a.example", { "https", "a.example", 443, "/" } },
		{ "http://a.example/", { "http", "a.example", 80, "/" } },
		{ "HTTPS://A.Example:8443/B?c=D#e",
		  { "https", "a.example", 8443, "/B?c=D" } },
		{ "https://a?b", { "https", "a", 443, "/?b" } },
		{ "https://a#b", { "https", "a", 443, "/" } },
		{ "https://a/b#c?d", { "https", "a", 443, "/b" } },
		{ "https://127.0.0.1:1/", { "https", "127.0.0.1", 1, "/" } },
		{ "https://[2001:DB8::1]:65535/x",
		  { "https", "[2001:db8::1]", 65535, "/x" } },
		{ "https://[::1]", { "https", "[::1]", 443, "/" } },
		{ "https://[::]", { "https", "[::]", 443, "/" } },
		{ "https://[fa09::af]", { "https", "[fa09::af]", 443, "/" } },
		{ "https://azAZ09/!~", { "https", "azaz09", 443, "/!~" } },
		{ "https://a_b-c.d0/%2F",
		  { "https", "a_b-c.d0", 443, "/%2F" } },
		{ "https://a/@:b", { "https", "a", 443, "/@:b" } },
		{ "file:///var/lib/x", { "file", "", 0, "/var/lib/x" } },
		{ "s3://bucket/prefix", { "s3", "bucket", 0, "/prefix" } },
		{ "gs://bucket", { "gs", "bucket", 0, "/" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		struct url url = { 0 };

		CHECK_NUMBER(cases[i].text,
			     url_split(cases[i].text, arena, &url, NULL), 0);
		CHECK_TEXT(cases[i].text, url.scheme, cases[i].want.scheme);
		CHECK_TEXT(cases[i].text, url.host, cases[i].want.host);
		CHECK_NUMBER(cases[i].text, url.port, cases[i].want.port);
		CHECK_TEXT(cases[i].text, url.path, cases[i].want.path);
	}
}

static void other_urls_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		"a",
		"/a/b",
		"//a.example/b",
		"https:",
		"https:/a",
		"https:a",
		"https://",
		"https:///a",
		"https://?a",
		"https://:80",
		"://a",
		"1http://a",
		"ht tp://a",
		"ht_tp://a",
		"https:/x://a",
		"data:video/mp4;base64,AAAA",
		"javascript:alert(1)",
		"https://user@a.example/",
		"https://user:secret@a.example/",
		"https://@a.example/",
		"https://a.example@evil.example/",
		"https://a:0/",
		"https://a:65536/",
		"https://a:080/",
		"https://a:/",
		"https://a:+1/",
		"https://a:8 /",
		"https://a:http/",
		"https://a:1:2/",
		"https://a..b/",
		"https://.a/",
		"https://a./",
		"https://a%2eb/",
		"https://a\\b/",
		"https://a\\@b/",
		"https://a,b/",
		"https://*.a/",
		"https://\xc3\xbc.example/",
		"https://a b/",
		"https://a/ b",
		"https://a/\tb",
		"https://a/b\r\nX: y",
		"https://a/\x7f",
		"https://a/\"b",
		"https://a/<b>",
		"https://a/{b}",
		"https://a/b|c",
		"https://a/b^c",
		"https://a/`b`",
		"https://[::1/",
		"https://::1/",
		"https://[]/",
		"https://[::1]x/",
		"https://[::1]80/",
		"https://[fe80::1%25eth0]/",
		"https://[v1.a]/",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		struct url url = { .scheme = "untouched" };
		struct fault fault = { "" };

		CHECK_NUMBER(wrong[i], url_split(wrong[i], arena, &url, &fault),
			     -EINVAL);
		CHECK_TEXT(wrong[i], url.scheme, "untouched");
		CHECK(wrong[i], fault.text[0] != '\0');
		CHECK(wrong[i], !strstr(fault.text, "secret"));
	}
}

static void length_has_a_limit(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
	static char text[LIMIT_URL_BYTES + 2] = "https://a/";
	struct url url;

	(void)state;
	memset(text + strlen(text), 'x', LIMIT_URL_BYTES - strlen(text));
	assert_int_equal(url_split(text, arena, &url, NULL), 0);
	assert_int_equal(strlen(url.path), LIMIT_URL_BYTES - 9);
	text[LIMIT_URL_BYTES] = 'x';
	assert_int_equal(url_split(text, arena, &url, NULL), -EINVAL);
}

static void small_arenas_fail_cleanly(void **state)
{
	int good = 0;

	(void)state;
	for (size_t limit = 0; limit < 60; limit++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(limit);
		_cleanup_(arena_freep) struct arena *other = arena_new(limit);
		struct url url = { .scheme = "untouched" };
		int r = url_split("https://a.example:8443/path?query", arena,
				  &url, NULL);
		char *joined = url_join("https://a.example/", "/b", other);

		if (r == 0)
			good++;
		else
			assert_int_equal(r, -ENOMEM);
		assert_string_equal(url.scheme, r == 0 ? "https" : "untouched");
		assert_int_equal(!joined,
				 limit < sizeof("https://a.example/b"));
	}
	assert_in_range(good, 1, 50);
}

static void origins(void **state)
{
	static const struct {
		const char *one, *other;
		bool want;
	} cases[] = {
		{ "https://a/x", "https://a/y", true },
		{ "https://a", "https://A:443/", true },
		{ "http://a", "http://a:80/", true },
		{ "https://a", "http://a", false },
		{ "https://a", "https://a:8443", false },
		{ "https://a", "https://a.b", false },
		{ "https://a.b", "https://b", false },
		{ "http://a:443", "https://a", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
		struct url one, other;

		assert_int_equal(url_split(cases[i].one, arena, &one, NULL), 0);
		assert_int_equal(url_split(cases[i].other, arena, &other, NULL),
				 0);
		CHECK(cases[i].other,
		      url_same_origin(&one, &other) == cases[i].want);
	}
}

static void host_patterns(void **state)
{
	static const struct {
		const char *host, *pattern;
		bool want;
	} cases[] = {
		{ "replicate.delivery", "replicate.delivery", true },
		{ "a.replicate.delivery", "*.replicate.delivery", true },
		{ "a.b.replicate.delivery", "*.replicate.delivery", true },
		{ "replicate.delivery", "*.replicate.delivery", false },
		{ ".replicate.delivery", "*.replicate.delivery", false },
		{ "evilreplicate.delivery", "*.replicate.delivery", false },
		{ "evilreplicate.delivery", "replicate.delivery", false },
		{ "a.replicate.delivery", "replicate.delivery", false },
		{ "replicate.delivery.evil", "*.replicate.delivery", false },
		{ "replicate.delivery.evil", "replicate.delivery", false },
		{ "a.replicate.delivery.", "*.replicate.delivery", false },
		{ "a", "*.replicate.delivery", false },
		{ "", "*.replicate.delivery", false },
		{ "a.b", "*", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK(cases[i].host,
		      url_host_matches(cases[i].host, cases[i].pattern) ==
			      cases[i].want);
}

static void joining_makes_one_slash(void **state)
{
	static const struct {
		const char *base, *path, *want;
	} cases[] = {
		{ "https://a/v1", "b", "https://a/v1/b" },
		{ "https://a/v1/", "b", "https://a/v1/b" },
		{ "https://a/v1", "/b", "https://a/v1/b" },
		{ "https://a/v1//", "//b/", "https://a/v1/b/" },
		{ "https://a", "", "https://a/" },
		{ "", "b", "/b" },
	};
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_TEXT(cases[i].want,
			   url_join(cases[i].base, cases[i].path, arena),
			   cases[i].want);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_split),
		cmocka_unit_test(other_urls_are_refused),
		cmocka_unit_test(length_has_a_limit),
		cmocka_unit_test(small_arenas_fail_cleanly),
		cmocka_unit_test(origins),
		cmocka_unit_test(host_patterns),
		cmocka_unit_test(joining_makes_one_slash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
