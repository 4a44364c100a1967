/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_GOOGLE_H
#define TESTS_SIMULATOR_GOOGLE_H

#include "tests/simulator/server.h"

/* What Vertex AI, Cloud Storage and the token endpoint share. */

/* {"error": {code, message, status}}. New reference. */
json_t *google_error(struct request *request, unsigned code,
		     const char *status);
void google_fail(struct request *request, unsigned code, const char *message);

/* Does the request carry a good token? If not, it is answered (401). */
bool google_knows(struct request *request, char ret_account[17]);

/* Refuse every token issued so far. */
void oauth_forget_tokens(struct sim *sim);
/* Whom a token was issued to, or NULL if it is unknown or has expired. */
const char *oauth_token_account(const struct sim *sim, const char *token);
bool oauth_is_ours(const char *token);

/* The object of a job's file: "prefix/OPERATION/sample_0.mp4" without the
 * bucket, and the bucket. Callers free. */
char *gcs_object_name(const struct job *job, size_t file);
char *gcs_bucket(const struct job *job);

#endif
