/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_VERTEX_H
#define COMMON_PROVIDER_VERTEX_H

#include "common/provider/provider.h"

#include <jansson.h>

/*
 * The parts of the Vertex AI provider that vertex.c puts into its table:
 * answers (vertex_event.c), what Google's errors and refusals mean
 * (vertex_error.c), access tokens (vertex_token.c). See vertex.c for the
 * manual and its oddities.
 */

enum { VERTEX_SAMPLES_MAX = 4 };

provider_event_fn vertex_start_event, vertex_status_event, vertex_list_event;
provider_token_request_fn vertex_token_request;
provider_token_event_fn vertex_token_event;

/* projects/P/locations/L/publishers/google/models/M/operations/ID? */
bool vertex_is_operation(const char *name);

/* A model's name: letters, digits, '.', '_', '-', and one '@' for a version? */
bool vertex_is_model(const char *name);

/* A gs://bucket/object that may be asked for; both parts go to the arena. */
bool vertex_split_gs(const char *uri, struct arena *arena,
		     const char **ret_bucket, const char **ret_object);

/* How many videos the job asked for; 0: it does not say. */
int64_t vertex_samples(const json_t *input);

/* The event of an operation that ended in this google.rpc.Status. */
struct provider_event vertex_failure(json_t *error, struct arena *arena);

/**
 * What the filters refused, as they say it: texts with "Support codes: N".
 *
 * @reasons  an array of texts, or a text
 *
 * @return the categories its codes stand for, joined by ", " ("violence");
 *	   NULL if there is none that we know. Arena memory.
 */
const char *vertex_categories(json_t *reasons, struct arena *arena);

/* Nothing was made because the filters refused it. */
struct provider_event vertex_refusal(json_t *reasons, struct arena *arena);

#endif
