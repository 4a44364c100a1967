/* SPDX-License-Identifier: MIT */
#include "fcgi/commit.h"

#include "fcgi/route.h"
#include "tests/unit/common/flow/server.h"
#include "tests/unit/fcgi/request.h"

#include "tests/support/arena.h"

#define JOB "01890000-0000-7000-8000-000000000001"

static struct http_header header;

/* A request of the tester's; known is its If-None-Match, or NULL. */
static struct request asking(const char *known)
{
	struct request request = request_make(arena, "");

	request.capture[0] = JOB;
	header = (struct http_header){ "if-none-match", known };
	request.header = &header;
	request.header_count = known != NULL;
	return request;
}

#define ROW                                                                    \
	"[{\"n\":1,\"id\":\"" JOB "\",\"execution_id\":\"e\",\"owner\":"       \
	"\"tester\",\"name\":\"a\",\"provider\":\"acme\",\"model\":\"m\","     \
	"\"status\":\"processing\",\"attempt\":1,\"progress\":null,"           \
	"\"version\":12,\"output\":null,\"completed_via\":null,"               \
	"\"error_code\":null,\"error_message\":null,\"billed\":null,"          \
	"\"provider_job_id\":\"p\",\"cancelling\":false,"                      \
	"\"created_unix_ms\":1,\"started_unix_ms\":2,"                         \
	"\"completed_unix_ms\":null}]"

/* Who knows the newest version is not read its files: that must be all that
 * the client says, and exactly a version. */
static void the_version_a_client_has_is_read_and_nothing_else(void **state)
{
	static const struct {
		const char *known;
		int64_t version;
	} cases[] = {
		{ NULL, 0 },
		{ "", 0 },
		{ "\"12\"", 12 },
		{ "W/\"12\"", 12 },
		{ "\"12\", \"13\"", 12 },
		{ " \"12\" ", 12 },
		{ "*", 0 },
		{ "12", 0 },
		{ "\"\"", 0 },
		{ "\"twelve\"", 0 },
		{ "\"12x\"", 0 },
		{ "\"012\"", 0 },
		{ "\" 12\"", 0 },
		{ "\"+12\"", 0 },
		{ "x\"12\"", 0 },
		{ "\"12", 0 },
		{ "\"99999999999999999999\"", 0 },
		{ "\"9223372036854775807\"", INT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *name = cases[i].known ? cases[i].known : "nothing";
		struct request request = asking(cases[i].known);
		struct reply reply = { 0 };
		struct fault fault;

		CHECK_NUMBER(name, get_job(NULL, &request, &reply, &fault), 0);
		CHECK(name, reply.commit);
		CHECK_NUMBER(name, reply.commit->kind, COMMIT_READ_JOB);
		CHECK_TEXT(name, reply.commit->read_job.id, JOB);
		CHECK_NUMBER(name, reply.commit->read_job.known,
			     cases[i].version);
	}
}

static void what_is_no_id_is_not_looked_for(void **state)
{
	struct request request = asking(NULL);
	struct reply reply = { 0 };
	struct fault fault;

	(void)state;
	request.capture[0] = "12";
	CHECK_NUMBER("get", get_job(NULL, &request, &reply, &fault), 0);
	CHECK("answered", !reply.commit);
	CHECK_NUMBER("status", reply.status, 404);
	CHECK_TEXT("code", reply_member(&reply, "code", arena),
		   "job_not_found");
}

/* As the answering thread does for what is too long for the others. */
static int read_alone(struct db *db, const struct request *request,
		      struct reply *ret)
{
	struct worker worker = { .db = db };
	const struct commit commit = {
		.kind = COMMIT_READ_JOB,
		.read_job = { .id = JOB, .outcome = READ_ALONE },
	};
	struct fault fault = { "" };

	*ret = (struct reply){ 0 };
	return commit_answer_read_job(&worker, request, &commit, ret, &fault);
}

static void what_a_client_has_is_not_sent_again(void **state)
{
	static const struct {
		const char *known;
		unsigned status;
	} cases[] = {
		{ NULL, 200 },
		{ "", 200 },
		{ "\"12\"", 304 },
		{ "W/\"12\"", 304 },
		{ "*", 304 },
		{ "\"11\", \"12\"", 304 },
		{ "\"11\",W/\"12\"\t", 304 },
		{ "\"12\", \"11\"", 304 },
		{ "\"11\", *", 304 },
		{ "\"11\"", 200 },
		{ "\"1\", \"2\"", 200 },
		{ "\"120\"", 200 },
		{ "\"12", 200 },
		{ "12", 200 },
		{ "\"12\"3", 200 },
		{ "w/\"12\"", 200 },
		{ ",,, \t", 200 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *name = cases[i].known ? cases[i].known : "nothing";
		struct request request = asking(cases[i].known);
		struct db db = { .rows = ROW };
		struct reply reply;

		CHECK_NUMBER(name, read_alone(&db, &request, &reply), 0);
		CHECK_NUMBER(name, reply.status, cases[i].status);
		CHECK_TEXT(name, reply_header(&reply, "ETag"), "\"12\"");
		CHECK_NUMBER(name, reply.body != NULL, reply.status == 200);
		if (reply.status == 200)
			CHECK_TEXT(name, reply_member(&reply, "id", arena),
				   JOB);
	}
}

/* To be away is not to be missing, and another's is missing, known or not. */
static void what_is_not_there_is_told_from_what_cannot_be_read(void **state)
{
	static const struct {
		const char *name;
		const char *owner, *rows;
		int fails_with, r;
		unsigned status;
	} cases[] = {
		{ "there is none", "tester", "[]", 0, 0, 404 },
		{ "it is another's", "stranger", ROW, 0, 0, 404 },
		{ "a row nobody asked for", "tester", "[{\"n\":2}]", 0, 0,
		  404 },
		{ "a row of another shape", "tester", "[{}]", 0, -EAGAIN, 0 },
		{ "an odd row", "tester", "[{\"n\":1}]", 0, -EBADMSG, 0 },
		{ "the server is away", "tester", ROW, -EAGAIN, -EAGAIN, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct request request = asking("\"12\"");
		struct db db = {
			.rows = cases[i].rows,
			.failing = DB_job_read_alone,
			.fails_with = cases[i].fails_with,
			.fails = cases[i].fails_with ? 9 : 0,
		};
		struct reply reply;

		request.owner = cases[i].owner;
		CHECK_NUMBER(cases[i].name, read_alone(&db, &request, &reply),
			     cases[i].r);
		CHECK_NUMBER(cases[i].name, reply.status, cases[i].status);
		if (cases[i].status)
			CHECK_TEXT(cases[i].name,
				   reply_member(&reply, "code", arena),
				   "job_not_found");
	}
}

/* Of many at once only what is short is read: the rest in turn. */
static void what_is_long_is_left_to_be_read_alone(void **state)
{
	static const struct {
		const char *name;
		enum read_outcome outcome;
		int row; /* its first */
	} want[] = {
		{ "short, of two files", READ_FOUND, 0 },
		{ "long, of two files", READ_ALONE, 2 },
		{ "not there", READ_NOT_FOUND, 0 },
		{ "short, behind them", READ_FOUND, 4 },
	};
	struct read_job jobs[COUNT_OF(want)], *items[COUNT_OF(want)];
	_cleanup_(db_result_freep) PGresult *rows = NULL;
	struct db db = {
		.rows = "[{\"n\":1,\"is_long\":false},"
			"{\"n\":1,\"is_long\":false},"
			"{\"n\":2,\"is_long\":true},"
			"{\"n\":2,\"is_long\":true},"
			"{\"n\":4,\"is_long\":false}]",
	};
	struct worker worker = { .db = &db };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(want); i++) {
		jobs[i] = (struct read_job){ .id = JOB };
		items[i] = &jobs[i];
	}
	commit_read_jobs(&worker, items, COUNT_OF(want), arena, &rows);
	for (size_t i = 0; i < COUNT_OF(want); i++) {
		CHECK_NUMBER(want[i].name, jobs[i].outcome, want[i].outcome);
		CHECK_NUMBER(want[i].name, jobs[i].row, want[i].row);
	}
	CHECK_NUMBER("statements", db.statements, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_version_a_client_has_is_read_and_nothing_else),
		cmocka_unit_test(what_is_no_id_is_not_looked_for),
		cmocka_unit_test(what_a_client_has_is_not_sent_again),
		cmocka_unit_test(what_is_long_is_left_to_be_read_alone),
		cmocka_unit_test(
			what_is_not_there_is_told_from_what_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, start, end);
}
