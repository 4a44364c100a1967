/* SPDX-License-Identifier: MIT */
#ifndef FCGI_SHOW_H
#define FCGI_SHOW_H

#include "common/flow/json_out.h"
#include "fcgi/exchange.h"
#include "fcgi/service.h"

/*
 * Jobs and executions as the API shows them: read from the database and
 * written as JSON, the same on every route.
 */

enum { SHOW_E_NOT_FOUND = 1 }; /* not there, or somebody else's */

/* What handlers compare of a job that is shown. */
struct shown_job {
	const char *id;
	const char *execution_id;
	const char *status;
	int64_t version;
	bool cancelling;
};

/**
 * What a row of job_read or job_read_alone is about, if it is this owner's.
 *
 * @return 0; SHOW_E_NOT_FOUND; as db_row_end()
 */
_must_check_ int show_job_find(struct db_row *row,
			       const struct request *request,
			       struct shown_job *ret,
			       struct fault *reterr_fault);

/* All of it. @ret_text  JSON, arena memory. @return 0; as db_row_end() */
_must_check_ int show_job_text(struct db_row *row, const struct shown_job *job,
			       const char **ret_text,
			       struct fault *reterr_fault);

/**
 * Read a job of this owner.
 *
 * @ret_text  JSON, arena memory
 *
 * @return 0; SHOW_E_NOT_FOUND; as db_run()
 */
_must_check_ int show_job(struct worker *worker, const struct request *request,
			  const char *id, struct shown_job *ret,
			  const char **ret_text, struct fault *reterr_fault);

struct shown_execution {
	const char *status;
	bool cancelling; /* a job of it is being cancelled */
};

/* Likewise an execution, with its jobs. */
_must_check_ int show_execution(struct worker *worker,
				const struct request *request, const char *id,
				struct shown_execution *ret,
				const char **ret_text,
				struct fault *reterr_fault);

/* The execution in a row of execution_list or in the first of execution_read,
 * without its closing brace. */
_must_check_ int show_execution_row(const PGresult *rows, int i,
				    struct arena *arena, struct json_out *out,
				    const char **ret_id,
				    struct fault *reterr_fault);

/* "links" of a job and of an execution. */
void show_job_links(struct json_out *out, const char *id, struct arena *arena);
void show_execution_links(struct json_out *out, const char *id,
			  struct arena *arena);

/* Fill in a 200 with this JSON; 503 is made of no text. */
int reply_json(struct reply *ret, unsigned status, const char *text,
	       struct fault *reterr_fault);

#endif
