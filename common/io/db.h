/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_DB_H
#define COMMON_IO_DB_H

#include "common/base/arena.h"
#include "common/base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * PostgreSQL. The only file pair that knows libpq.
 *
 * Statements live in sql/queries/ and are prepared by name when they are first
 * run; C never contains SQL text. A struct db is one connection, for one thread
 * at a time; it comes back by itself after the server was away.
 */

struct db;
typedef struct pg_result PGresult; /* as in libpq-fe.h */

enum db_query {
#define QUERY(name, params, text) DB_##name,
#include "queries.inc"
#undef QUERY
	DB_QUERY_MAX,
};

/* Outcomes of db_run() that its caller handles. */
enum {
	/* The statement was refused for what is in its parameters, as far as
	 * its SQLSTATE says: sending the same again is useless. */
	DB_E_DATA = 1,
};

/**
 * Prepare a connection for use; connects at once so that a wrong setting
 * shows at start, but a server that is away is no failure: the next db_run()
 * tries again.
 *
 * @conninfo  libpq connection string or URI
 * @program   application_name in pg_stat_activity
 *
 * @return 0; -EPROTO for a schema older than ours (migrations missing);
 *	   -EINVAL for a connection string that is none; -ENOMEM
 */
_must_check_ int db_open(const char *conninfo, const char *program,
			 struct db **ret, struct fault *reterr_fault);

/* The same without connecting: the first db_run() does it. For those who
 * cannot wait for many connections, one after the other, before they begin. */
_must_check_ int db_open_later(const char *conninfo, const char *program,
			       struct db **ret, struct fault *reterr_fault);
struct db *db_close(struct db *db); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct db *, db_close);

/* Is the connection up, as far as we have noticed? */
bool db_connected(const struct db *db);

/**
 * Run one prepared statement with text parameters (NULL is SQL NULL).
 *
 * Reconnects first where the last statement lost the connection, at most
 * once a call.
 *
 * @return 0; DB_E_DATA; -EAGAIN when the server is away, shuts down, only
 *	   reads, or a deadlock, serialization failure or timeout undid the
 *	   statement: it may be run again, but after a lost connection it may
 *	   also have been committed;
 *	   -EPROTO when statement and schema disagree
 */
_must_check_ int db_run(struct db *db, enum db_query query,
			const char *const *params, PGresult **ret,
			struct fault *reterr_fault);

PGresult *db_result_free(PGresult *result); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(PGresult *, db_result_free);

int db_rows(const PGresult *result);

/**
 * Apply the migrations that are missing, each in a transaction of its own,
 * under a lock that makes a second caller wait and then find nothing to do.
 *
 * @ret_applied  how many were applied now
 *
 * @return 0; -EAGAIN; -EINVAL for a database whose encoding is not UTF8,
 *	   which is left as it was; -EPROTO with the server's words
 */
_must_check_ int db_migrate(const char *conninfo, int *ret_applied,
			    struct fault *reterr_fault);

/* The newest migration this program was built with. */
int db_schema_version(void);

/**
 * Row reader. Each getter converts one column strictly; the first failure
 * sticks and db_row_end() reports it with the column's name. Texts are copied
 * to the arena.
 */
struct db_row {
	const PGresult *result;
	int row;
	int next_field; /* to look at first */
	struct arena *arena;
	const char *broken; /* column that failed, or NULL */
	const char *reason;
};

struct db_row db_row(const PGresult *result, int row, struct arena *arena);
const char *db_row_text(struct db_row *row, const char *column);
const char *db_row_text_or_null(struct db_row *row, const char *column);
int32_t db_row_int32(struct db_row *row, const char *column);
int64_t db_row_int64(struct db_row *row, const char *column);
int64_t db_row_int64_or(struct db_row *row, const char *column,
			int64_t if_null);
double db_row_double_or(struct db_row *row, const char *column, double if_null);
bool db_row_bool(struct db_row *row, const char *column);

/* @return 0; -EBADMSG naming the column; -ENOMEM */
_must_check_ int db_row_end(const struct db_row *row,
			    struct fault *reterr_fault);

/* Array parameters as PostgreSQL spells them; a NULL item is SQL NULL.
 * @return arena text, or NULL when the arena is full */
const char *db_array_text(const char *const *items, size_t count,
			  struct arena *arena);
const char *db_array_int64(const int64_t *items, size_t count,
			   struct arena *arena);

#endif
