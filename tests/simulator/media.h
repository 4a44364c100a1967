/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_MEDIA_H
#define TESTS_SIMULATOR_MEDIA_H

#include "tests/simulator/job.h"

struct request;

/* Decide on the files of a job that just ended. */
void media_make(struct job *job);

/* Does a model of that name make pictures? */
bool media_is_picture_model(const char *model);

const char *media_type(enum media_kind kind);
const char *media_extension(enum media_kind kind);

/* Absolute URL. Caller frees. */
char *media_url(const struct job *job, size_t file);

/* As base64 text, or NULL above 64 MiB; as a data: URI. Caller frees. */
char *media_base64(const struct job *job, size_t file);
char *media_data_uri(const struct job *job, size_t file);

/* SHA-256 in hex, computed on first demand; NULL above 1 GiB. */
const char *media_sha256(struct job *job, size_t index);

/* Serve a file with whatever its words do to it. */
void media_serve(struct request *request, struct job *job, size_t file);
/* A download ended; complete: it got every byte. */
void media_served(struct request *request, bool complete);

#endif
