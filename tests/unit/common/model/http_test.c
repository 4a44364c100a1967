/* SPDX-License-Identifier: MIT */
#include "common/model/http.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

static const struct http_header headers[] = {
	{ "Content-Type", "application/json" },
	{ "webhook-id", "first" },
	{ "Webhook-Id", "second" },
	{ "X-Empty", "" },
};

static void names_are_found_in_any_case(void **state)
{
	static const struct {
		const char *name;
		const char *value;
		size_t count;
	} cases[] = {
		{ "content-type", "application/json", 1 },
		{ "CONTENT-TYPE", "application/json", 1 },
		{ "webhook-id", "first", 2 },
		{ "x-empty", "", 1 },
		{ "content", NULL, 0 },
		{ "content-type ", NULL, 0 },
		{ "content_type", NULL, 0 },
		{ "", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		CHECK_TEXT(cases[i].name,
			   http_header_value(headers, COUNT_OF(headers),
					     cases[i].name),
			   cases[i].value);
		CHECK_NUMBER(cases[i].name,
			     http_header_count(headers, COUNT_OF(headers),
					       cases[i].name),
			     cases[i].count);
	}
	assert_null(http_header_value(NULL, 0, "a"));
	assert_int_equal(http_header_count(NULL, 0, "a"), 0);
	assert_null(http_header_value(headers, 1, "webhook-id"));
}

static void headers_are_appended(void **state)
{
	struct http_request request = { .method = HTTP_GET };

	(void)state;
	for (size_t i = 0; i < HTTP_REQUEST_HEADER_MAX; i++)
		http_add_header(&request, i == 3 ? "Accept" : "X", "y");
	assert_int_equal(request.header_count, HTTP_REQUEST_HEADER_MAX);
	assert_string_equal(request.header[3].name, "Accept");
	assert_string_equal(request.header[3].value, "y");
}

static void methods_have_names(void **state)
{
	(void)state;
	assert_string_equal(http_method_name(HTTP_GET), "GET");
	assert_string_equal(http_method_name(HTTP_HEAD), "HEAD");
	assert_string_equal(http_method_name(HTTP_POST), "POST");
	assert_string_equal(http_method_name(HTTP_PUT), "PUT");
	assert_string_equal(http_method_name(HTTP_DELETE), "DELETE");
	assert_string_equal(http_method_name(HTTP_OTHER), "OTHER");
	assert_string_equal(http_method_name((enum http_method)99), "OTHER");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_in_any_case),
		cmocka_unit_test(headers_are_appended),
		cmocka_unit_test(methods_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
