/* SPDX-License-Identifier: MIT */
#include "common/io/db.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_WORDS = 4 }; /* what a server says before it hangs up */

static const struct {
	const char *name;
	const char *text;
	int params;
} queries[DB_QUERY_MAX] = {
#define QUERY(name, params, text) [DB_##name] = { #name, text, params },
#include "queries.inc"
#undef QUERY
};

static const struct {
	int version;
	const char *name;
	const char *text;
} migrations[] = {
#define MIGRATION(version, name, text) { version, #name, text },
#include "migrations.inc"
#undef MIGRATION
};

struct db {
	char *conninfo;
	char *program;
	PGconn *conn;		     /* NULL before the first success */
	bool prepared[DB_QUERY_MAX]; /* on this connection */
};

static PGconn *connection_free(PGconn *conn)
{
	PQfinish(conn);
	return NULL;
}
DEFINE_CLEANUP(PGconn *, connection_free);

PGresult *db_result_free(PGresult *result)
{
	PQclear(result);
	return NULL;
}

/* libpq ends its messages with a newline; a fault is one sentence. */
static int fault_from(struct fault *fault, int code, const char *what,
		      const char *message)
{
	size_t length = strlen(message);

	while (length > 0 && message[length - 1] == '\n')
		length--;
	return fault_set(fault, code, "%s: %.*s", what, (int)length, message);
}

/*
 * Settings that matter more than a user may know: silent loss of the server
 * shows within seconds instead of minutes, and no time is spent on asking
 * for encryption by Kerberos on a unix socket.
 */
static PGconn *connect_now(const char *conninfo, const char *program)
{
	/* dbname last: what the string itself says wins over what stands
	 * before it. */
	/* clang-format off */
	static const char *const keys[] = {
		"fallback_application_name", "connect_timeout",
		"tcp_user_timeout", "keepalives_idle", "keepalives_interval",
		"keepalives_count", "gssencmode", "client_encoding", "dbname",
		NULL,
	};
	const char *const values[] = {
		program, "5",
		"3000", "5", "2",
		"3", "disable", "UTF8", conninfo,
		NULL,
	};
	/* clang-format on */
	PGconn *conn = PQconnectdbParams(keys, values, 1);

	if (conn && PQstatus(conn) == CONNECTION_OK)
		(void)PQsetErrorVerbosity(conn, PQERRORS_TERSE);
	return conn;
}

/* Run one by its text and parameters. */
static int run_text(PGconn *conn, enum db_query query,
		    const char *const *params, PGresult **ret,
		    struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result =
		PQexecParams(conn, queries[query].text, queries[query].params,
			     NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		return fault_from(reterr_fault,
				  PQstatus(conn) == CONNECTION_OK ? -EPROTO
								  : -EAGAIN,
				  queries[query].name, PQerrorMessage(conn));
	*ret = TAKE_PTR(result);
	return 0;
}

/* How a session plans, and whether the schema is what the statements were
 * written for: one round trip. Newer is good, for hosts are upgraded one after
 * the other. */
static int begin_session(PGconn *conn, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	struct fault fault = { "" };
	const char *version;
	int r;

	r = run_text(conn, DB_session_begin, NULL, &result, &fault);
	if (r == -EPROTO)
		return fault_set(reterr_fault, r,
				 "the database has no schema that this user "
				 "may read; rushes-poller --migrate and "
				 "roles.sql make it: %s",
				 fault.text);
	if (r < 0)
		return fault_set(reterr_fault, r, "%s", fault.text);
	version = PQgetvalue(result, 0, PQfnumber(result, "version"));
	if (strtol(version, NULL, 10) < db_schema_version())
		return fault_set(reterr_fault, -EPROTO,
				 "the database's schema is at version %s, this "
				 "program is made for %d; rushes-poller "
				 "--migrate brings it up to date",
				 version, db_schema_version());
	return 0;
}

static int reconnect(struct db *db, struct fault *reterr_fault)
{
	_cleanup_(connection_freep) PGconn *conn = NULL;
	int r;

	db->conn = connection_free(db->conn);
	conn = connect_now(db->conninfo, db->program);
	if (!conn)
		return fault_set(reterr_fault, -ENOMEM, "no memory for libpq");
	if (PQstatus(conn) != CONNECTION_OK)
		return fault_from(reterr_fault, -EAGAIN, "database",
				  PQerrorMessage(conn));
	r = begin_session(conn, reterr_fault);
	if (r < 0)
		return r;
	memset(db->prepared, 0, sizeof(db->prepared));
	db->conn = TAKE_PTR(conn);
	return 0;
}

static int check_conninfo(const char *conninfo, struct fault *reterr_fault)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);

	/* The message may repeat the string, and with it the password. */
	PQfreemem(message);
	if (!options)
		return fault_set(reterr_fault, -EINVAL,
				 "the database URL is not one libpq takes "
				 "(postgresql://user@host/name or key=value)");
	PQconninfoFree(options);
	return 0;
}

static struct db *db_new(const char *conninfo, const char *program)
{
	_cleanup_(db_closep) struct db *db = calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->conninfo = strdup(conninfo);
	db->program = strdup(program);
	return db->conninfo && db->program ? TAKE_PTR(db) : NULL;
}

int db_open_later(const char *conninfo, const char *program, struct db **ret,
		  struct fault *reterr_fault)
{
	struct db *db;
	int r;

	r = check_conninfo(conninfo, reterr_fault);
	if (r < 0)
		return r;
	db = db_new(conninfo, program);
	if (!db) {
		(void)fault_set(reterr_fault, -ENOMEM, "no memory");
		return -ENOMEM;
	}
	*ret = db;
	return 0;
}

int db_open(const char *conninfo, const char *program, struct db **ret,
	    struct fault *reterr_fault)
{
	_cleanup_(db_closep) struct db *db = NULL;
	int r;

	r = db_open_later(conninfo, program, &db, reterr_fault);
	if (r < 0)
		return r;
	r = reconnect(db, reterr_fault);
	if (r < 0 && r != -EAGAIN)
		return r;
	*ret = TAKE_PTR(db);
	return 0;
}

struct db *db_close(struct db *db)
{
	if (!db)
		return NULL;
	connection_free(db->conn);
	free(db->conninfo);
	free(db->program);
	free(db);
	return NULL;
}

bool db_connected(const struct db *db)
{
	return db->conn && PQstatus(db->conn) == CONNECTION_OK;
}

/* What a statement's failure means: see db_run(). */
static int error_kind(const PGconn *conn, const PGresult *result)
{
	static const char *const passing[] = { "08", "25", "40",
					       "53", "55", "57" };
	/* No SQLSTATE at all is legal: libpq made the error up itself. */
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (PQstatus(conn) != CONNECTION_OK || !state)
		return -EAGAIN;
	/* 08: the connection; 25: only reads are taken, by a standby or on
	 * request; 40: undone; 53: no memory, disk or connections; 55: a lock
	 * was not had in time; 57: the operator. */
	for (size_t i = 0; i < COUNT_OF(passing); i++) {
		if (strncmp(state, passing[i], 2) == 0)
			return -EAGAIN;
	}
	/* 26000 and 0A000: the plan or statement is gone (a migration, a
	 * pooler between us); 42xxx: no such table, column, right. */
	if (strncmp(state, "26", 2) == 0 || strncmp(state, "42", 2) == 0 ||
	    strncmp(state, "0A", 2) == 0)
		return -EPROTO;
	return DB_E_DATA;
}

/* Has the server hung up while nothing was asked? Noticed now it costs a new
 * connection; noticed by a statement it costs that one, of which nobody knows
 * whether it was done. */
static void notice_hangup(const struct db *db)
{
	struct pollfd wait = { .fd = PQsocket(db->conn), .events = POLLIN };

	/* First its last words, then the end. */
	for (int i = 0; i < LAST_WORDS && poll(&wait, 1, 0) > 0; i++) {
		if (PQconsumeInput(db->conn) == 0)
			return;
	}
}

static bool has_state(const PGresult *result, const char *state)
{
	const char *found = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return found && strcmp(found, state) == 0;
}

/* When it is first run: a poller that is started for one job uses few of
 * them, and to prepare them all takes longer than to run those. */
static int prepare(struct db *db, enum db_query query,
		   struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result = PQprepare(
		db->conn, queries[query].name, queries[query].text, 0, NULL);
	int r;

	/* There already: it was prepared, and for want of memory we did not
	 * hear of it. */
	if (PQresultStatus(result) == PGRES_COMMAND_OK ||
	    has_state(result, "42P05")) {
		db->prepared[query] = true;
		return 0;
	}
	r = error_kind(db->conn, result);
	return fault_from(reterr_fault, r == DB_E_DATA ? -EPROTO : r,
			  queries[query].name, PQerrorMessage(db->conn));
}

int db_run(struct db *db, enum db_query query, const char *const *params,
	   PGresult **ret, struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int r;

	if (db_connected(db))
		notice_hangup(db);
	if (!db_connected(db)) {
		r = reconnect(db, reterr_fault);
		if (r < 0)
			return r;
	}
	if (!db->prepared[query]) {
		r = prepare(db, query, reterr_fault);
		if (r < 0)
			return r;
	}
	result = PQexecPrepared(db->conn, queries[query].name,
				queries[query].params, params, NULL, NULL, 0);
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		*ret = TAKE_PTR(result);
		return 0;
	default:
		/* Gone, by a pooler between us: next time it is made anew. */
		if (has_state(result, "26000"))
			db->prepared[query] = false;
		return fault_from(reterr_fault, error_kind(db->conn, result),
				  queries[query].name,
				  PQerrorMessage(db->conn));
	}
}

int db_rows(const PGresult *result)
{
	return PQntuples(result);
}

/* ---- migrations --------------------------------------------------------- */

/* For what a migration needs, of which only the number of rows matters. */
static int run_step(PGconn *conn, enum db_query query,
		    const char *const *params, int *ret_rows,
		    struct fault *reterr_fault)
{
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int r = run_text(conn, query, params, &result, reterr_fault);

	if (r == 0 && ret_rows)
		*ret_rows = PQntuples(result);
	return r;
}

static int apply_migration(PGconn *conn, size_t i, const char *version,
			   struct fault *reterr_fault)
{
	const char *params[] = { version, migrations[i].name };
	_cleanup_(db_result_freep) PGresult *result = NULL;
	int r;

	r = run_step(conn, DB_transaction_begin, NULL, NULL, reterr_fault);
	if (r < 0)
		return r;
	result = PQexec(conn, migrations[i].text);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return fault_from(reterr_fault, -EPROTO, migrations[i].name,
				  PQerrorMessage(conn));
	r = run_step(conn, DB_migration_note, params, NULL, reterr_fault);
	if (r < 0)
		return r;
	return run_step(conn, DB_transaction_commit, NULL, NULL, reterr_fault);
}

/* Prompts and metadata are in any language. Elsewhere PostgreSQL refuses a
 * character it has no code for, and with it a submission that is right; or it
 * takes bytes for characters. What is in a database cannot be given another
 * encoding, so this is looked at before anything is. */
static int check_encoding(const PGconn *conn, struct fault *reterr_fault)
{
	const char *encoding = PQparameterStatus(conn, "server_encoding");

	if (encoding && strcmp(encoding, "UTF8") == 0)
		return 0;
	return fault_set(reterr_fault, -EINVAL,
			 "the database's encoding is %s and has to be UTF8; "
			 "nothing was changed: make a new one with CREATE "
			 "DATABASE rushes ENCODING 'UTF8' TEMPLATE template0, "
			 "and LOCALE 'C' if PostgreSQL does not take that",
			 encoding ? encoding : "unknown");
}

int db_migrate(const char *conninfo, int *ret_applied,
	       struct fault *reterr_fault)
{
	_cleanup_(connection_freep) PGconn *conn = NULL;
	int applied = 0;
	int r;

	r = check_conninfo(conninfo, reterr_fault);
	if (r < 0)
		return r;
	conn = connect_now(conninfo, "rushes migrate");
	if (!conn || PQstatus(conn) != CONNECTION_OK)
		return fault_from(reterr_fault, -EAGAIN, "database",
				  conn ? PQerrorMessage(conn) : "no memory");
	r = check_encoding(conn, reterr_fault);
	/* Held until the connection ends, whatever happens. */
	if (r == 0)
		r = run_step(conn, DB_migration_lock, NULL, NULL, reterr_fault);
	if (r == 0)
		r = run_step(conn, DB_migration_table, NULL, NULL,
			     reterr_fault);
	for (size_t i = 0; r == 0 && i < COUNT_OF(migrations); i++) {
		char version[16];
		const char *params[] = { version };
		int rows = 0;

		(void)snprintf(version, sizeof(version), "%d",
			       migrations[i].version);
		r = run_step(conn, DB_migration_find, params, &rows,
			     reterr_fault);
		if (r < 0 || rows > 0)
			continue;
		r = apply_migration(conn, i, version, reterr_fault);
		if (r == 0)
			applied++;
	}
	if (r == 0)
		*ret_applied = applied;
	return r;
}

int db_schema_version(void)
{
	return migrations[COUNT_OF(migrations) - 1].version;
}

/* ---- rows --------------------------------------------------------------- */

struct db_row db_row(const PGresult *result, int row, struct arena *arena)
{
	return (struct db_row){
		.result = result,
		.row = row,
		.arena = arena,
	};
}

static void break_row(struct db_row *row, const char *column,
		      const char *reason)
{
	if (!row->broken) {
		row->broken = column;
		row->reason = reason;
	}
}

/* Columns are mostly asked for in their order. PQfnumber() would fold the
 * case of the name first, with memory of its own. */
static int find_field(struct db_row *row, const char *column)
{
	int count = PQnfields(row->result);

	for (int i = 0; i < count; i++) {
		int field = (row->next_field + i) % count;

		if (strcmp(PQfname(row->result, field), column) == 0) {
			row->next_field = field + 1;
			return field;
		}
	}
	return -1;
}

/* The value where it lies; NULL for SQL NULL or no such column. */
static const char *borrow(struct db_row *row, const char *column)
{
	int field = find_field(row, column);

	if (field < 0) {
		break_row(row, column, "is not in the result");
		return NULL;
	}
	if (PQgetisnull(row->result, row->row, field))
		return NULL;
	return PQgetvalue(row->result, row->row, field);
}

const char *db_row_text_or_null(struct db_row *row, const char *column)
{
	const char *value = borrow(row, column);

	return value ? arena_strdup(row->arena, value) : NULL;
}

const char *db_row_text(struct db_row *row, const char *column)
{
	const char *text = db_row_text_or_null(row, column);

	if (!text) {
		break_row(row, column, "is null");
		return "";
	}
	return text;
}

static int64_t to_int64(struct db_row *row, const char *column,
			const char *value, int64_t least, int64_t most)
{
	char *end = NULL;
	long long number;

	if (!value) {
		break_row(row, column, "is null");
		return 0;
	}
	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno || end == value || *end || number < least || number > most) {
		break_row(row, column, "is not a number of its size");
		return 0;
	}
	return number;
}

int32_t db_row_int32(struct db_row *row, const char *column)
{
	return (int32_t)to_int64(row, column, borrow(row, column), INT32_MIN,
				 INT32_MAX);
}

int64_t db_row_int64(struct db_row *row, const char *column)
{
	return to_int64(row, column, borrow(row, column), INT64_MIN, INT64_MAX);
}

int64_t db_row_int64_or(struct db_row *row, const char *column, int64_t if_null)
{
	const char *value = borrow(row, column);

	return value ? to_int64(row, column, value, INT64_MIN, INT64_MAX)
		     : if_null;
}

double db_row_double_or(struct db_row *row, const char *column, double if_null)
{
	const char *value = borrow(row, column);
	char *end = NULL;
	double number;

	if (!value)
		return if_null;
	number = strtod(value, &end);
	if (end == value || *end || !isfinite(number)) {
		break_row(row, column, "is not a number");
		return if_null;
	}
	return number;
}

bool db_row_bool(struct db_row *row, const char *column)
{
	const char *value = borrow(row, column);

	if (value && strcmp(value, "t") == 0)
		return true;
	if (!value || strcmp(value, "f") != 0)
		break_row(row, column, "is not a boolean");
	return false;
}

int db_row_end(const struct db_row *row, struct fault *reterr_fault)
{
	if (arena_failed(row->arena))
		return fault_set(reterr_fault, -ENOMEM, "row %d: arena is full",
				 row->row);
	if (row->broken)
		return fault_set(reterr_fault, -EBADMSG, "row %d: %s %s",
				 row->row, row->broken, row->reason);
	return 0;
}

/* ---- arrays ------------------------------------------------------------- */

/* Bytes an item takes: quotes, comma, and a backslash before some. */
static size_t quoted_size(const char *item)
{
	size_t size = sizeof("NULL,");

	if (!item)
		return size;
	for (const char *c = item; *c; c++)
		size += *c == '"' || *c == '\\' ? 2 : 1;
	return size;
}

static char *put_quoted(char *end, const char *item)
{
	if (!item)
		return mempcpy(end, "NULL", 4);
	*end++ = '"';
	for (const char *c = item; *c; c++) {
		if (*c == '"' || *c == '\\')
			*end++ = '\\';
		*end++ = *c;
	}
	*end++ = '"';
	return end;
}

const char *db_array_text(const char *const *items, size_t count,
			  struct arena *arena)
{
	size_t size = sizeof("{}");
	char *text, *end;

	for (size_t i = 0; i < count; i++)
		size += quoted_size(items[i]);
	text = arena_alloc(arena, size);
	if (!text)
		return NULL;
	end = text;
	*end++ = '{';
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			*end++ = ',';
		end = put_quoted(end, items[i]);
	}
	*end++ = '}';
	*end = '\0';
	return text;
}

const char *db_array_int64(const int64_t *items, size_t count,
			   struct arena *arena)
{
	enum { DIGITS = 21 }; /* sign, 19 digits, comma */
	size_t size = sizeof("{}") + count * DIGITS;
	char *text = arena_alloc(arena, size);
	size_t used = 1;

	if (!text)
		return NULL;
	text[0] = '{';
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%" PRId64,
					 i > 0 ? "," : "", items[i]);
	text[used] = '}';
	text[used + 1] = '\0';
	return text;
}
