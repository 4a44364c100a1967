/* SPDX-License-Identifier: MIT */
#include "fcgi/accept_head.h"

#include "common/base/macro.h"
#include "common/model/limits.h"
#include "tests/support/check.h"
#include "tests/unit/fcgi/wire.h"

static struct wire wire;
static uint8_t scratch[LIMIT_PARAMS_BYTES];

static enum head look(size_t size)
{
	size_t bytes;

	return head_check(wire.bytes, size, scratch, sizeof(scratch), &bytes);
}

static void begin(void)
{
	wire.size = 0;
	wire_begin(&wire, true);
}

static void a_request_is_complete_at_its_last_byte_only(void **state)
{
	(void)state;
	wire.size = 0;
	wire_head(&wire, "GET", "/healthz", 0, NULL);
	for (size_t size = 0; size < wire.size; size++)
		CHECK_NUMBER("cut", look(size), HEAD_MORE);
	CHECK_NUMBER("whole", look(wire.size), HEAD_COMPLETE);
	wire_body(&wire, "body", 4);
	CHECK_NUMBER("with body", look(wire.size), HEAD_COMPLETE);
}

static void parameters_may_come_in_pieces(void **state)
{
	static struct wire params;

	(void)state;
	params.size = 0;
	wire_pair(&params, "DOCUMENT_URI", "/api/execute");
	begin();
	for (size_t i = 0; i < params.size; i++)
		wire_record(&wire, FCGI_PARAMS, 1, params.bytes + i, 1);
	wire_record(&wire, FCGI_PARAMS, 1, "", 0);
	CHECK_NUMBER("byte by byte", look(wire.size), HEAD_COMPLETE);
}

static void add_params(const char *bytes, size_t size)
{
	begin();
	wire_record(&wire, FCGI_PARAMS, 1, bytes, size);
	wire_record(&wire, FCGI_PARAMS, 1, "", 0);
}

static void lengths_that_lie_are_bad(void **state)
{
	static const struct {
		const char *name;
		const char *bytes;
		size_t size;
	} cases[] = {
		{ "name beyond the end",
		  "\x05\x01"
		  "abc",
		  5 },
		{ "value beyond the end",
		  "\x01\x7f"
		  "ab",
		  4 },
		{ "two gigabytes",
		  "\xff\xff\xff\xff\xff\xff\xff\xff"
		  "a",
		  9 },
		{ "half a length", "\x80\x00", 2 },
		{ "no value length", "\x01", 1 },
		{ "no name",
		  "\x00\x01"
		  "a",
		  3 },
		{ "NUL in a name",
		  "\x02\x01"
		  "a\0b",
		  5 },
		{ "NUL in a value",
		  "\x01\x02"
		  "ab\0",
		  5 },
		{ "= in a name",
		  "\x02\x01"
		  "a=b",
		  5 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		add_params(cases[i].bytes, cases[i].size);
		CHECK_NUMBER(cases[i].name, look(wire.size), HEAD_BAD);
	}
}

static void too_much_is_bad(void **state)
{
	static const char piece[32 * 1024] = { 0 };

	(void)state;
	begin();
	for (int i = 0; i < 3; i++)
		wire_record(&wire, FCGI_PARAMS, 1, piece, sizeof(piece));
	CHECK_NUMBER("bytes", look(wire.size), HEAD_BAD);
}

static void other_records_are_bad(void **state)
{
	static const uint8_t authorizer[8] = { 0, FCGI_AUTHORIZER };
	static const uint8_t responder[8] = { 0, FCGI_RESPONDER };

	(void)state;
	wire.size = 0;
	wire_record(&wire, FCGI_BEGIN_REQUEST, 1, authorizer, 8);
	CHECK_NUMBER("authorizer", look(wire.size), HEAD_BAD);

	wire.size = 0;
	wire_record(&wire, FCGI_BEGIN_REQUEST, 0, responder, 8);
	CHECK_NUMBER("request 0", look(wire.size), HEAD_BAD);

	wire.size = 0;
	wire_record(&wire, FCGI_GET_VALUES, 0, responder, 8);
	CHECK_NUMBER("management", look(wire.size), HEAD_BAD);

	begin();
	wire_record(&wire, FCGI_STDIN, 1, "x", 1);
	CHECK_NUMBER("body before parameters", look(wire.size), HEAD_BAD);

	begin();
	wire_record(&wire, FCGI_PARAMS, 2, "", 0);
	CHECK_NUMBER("another request", look(wire.size), HEAD_BAD);

	begin();
	wire_begin(&wire, true);
	CHECK_NUMBER("begun twice", look(wire.size), HEAD_BAD);

	begin();
	wire.bytes[0] = 2;
	CHECK_NUMBER("version", look(1), HEAD_BAD);
	wire.size = 0;
	wire_put(&wire, "GET / HTTP/1.1\r\n\r\n", 18);
	CHECK_NUMBER("plain HTTP", look(wire.size), HEAD_BAD);

	/* libfcgi would take the padding for a header */
	begin();
	wire_record(&wire, FCGI_PARAMS, 1, "", 0);
	wire.bytes[wire.size - 2] = 8;
	wire_put(&wire, responder, 8);
	CHECK_NUMBER("padding at the end", look(wire.size), HEAD_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_complete_at_its_last_byte_only),
		cmocka_unit_test(parameters_may_come_in_pieces),
		cmocka_unit_test(lengths_that_lie_are_bad),
		cmocka_unit_test(too_much_is_bad),
		cmocka_unit_test(other_records_are_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
