/* SPDX-License-Identifier: MIT */
#ifndef COMMON_PROVIDER_WIRE_H
#define COMMON_PROVIDER_WIRE_H

#include "common/provider/provider.h"

#include <jansson.h>

/*
 * What the provider files share: reading foreign JSON, building requests,
 * naming what went wrong. Private to common/provider.
 *
 * Strings from a JSON document are borrowed from it; whatever goes into an
 * event is copied to the arena first, by the functions below.
 */

enum {
	WIRE_ID_MAX = 128,	 /* bytes of an id that goes into a URL */
	WIRE_REF_URL_MAX = 2048, /* bytes of a URL kept in provider_ref */
	WIRE_MEDIA_DEPTH = 16,	 /* levels of JSON in which media is sought */
};

/* ---- reading ---- */

/**
 * Parse an answer's or a webhook's body, which must be a JSON object.
 *
 * More lenient than json_text_read(), because a finished job must not be
 * lost to a digit in its metadata: integers beyond 64 bits (seeds) become
 * reals, and \u0000 is let in (wire_output() keeps it from the database).
 * Members given twice are refused, and so is what would take much memory:
 * over LIMIT_JSON_VALUES values.
 *
 * @return 0; -EBADMSG for anything else; -ENOMEM
 */
_must_check_ int wire_parse(const char *bytes, size_t size, json_t **ret);

/* wire_parse() of an answer's body; NULL when that is no object, as a proxy's
 * page. @return 0; -ENOMEM */
_must_check_ int wire_parse_answer(const struct http_response *response,
				   json_t **ret, struct fault *reterr_fault);

/* The job's input as an object; -EINVAL if it is none; -ENOMEM. */
_must_check_ int wire_parse_input(const struct job *job, json_t **ret,
				  struct fault *reterr_fault);

/* The member as text without NUL bytes; NULL for anything else. Borrowed. */
const char *wire_string(const json_t *object, const char *key);

/* Equal as JSON values, 5 and 5.0 included? */
bool wire_same(json_t *one, json_t *other);

/* May this item of a list be the job, whose input is given parsed? */
typedef bool wire_candidate_fn(json_t *item, const struct job *job,
			       json_t *input);

/* How many items of a list may be the job; *ret is then one of them,
 * borrowed. */
size_t wire_count_candidates(const json_t *items, const struct job *job,
			     json_t *input, wire_candidate_fn *may_be_ours,
			     json_t **ret);

/* Letters, digits, '_' and '-', at most of them and at least one? */
bool wire_is_id(const char *text, size_t most);

/* A name: letters, digits, '.', '_' and '-', begun by a letter or digit,
 * without "..", ended by the text's end or at length? */
bool wire_is_name(const char *text, size_t length);

/* From least to most names joined by '/'? */
bool wire_is_path(const char *text, size_t least, size_t most);

/* Printable ASCII without blanks, at most of it and at least one? */
bool wire_is_visible(const char *text, size_t most);

/* An http or https URL as a whole? false also when the arena is full. */
bool wire_is_url(const char *text, struct arena *arena);

/* Would credentials for the one be safe with the other? */
bool wire_same_origin(const char *url, const char *base_url,
		      struct arena *arena);

/* The value of a header that must be there exactly once, else NULL: which of
 * two a signature was made for is not ours to guess. */
const char *wire_only_header(const struct provider_webhook *webhook,
			     const char *name);

bool wire_is_success(const struct http_response *response);

/* RFC 3339 in UTC with milliseconds, and any RFC 3339 time back. */
const char *wire_time(int64_t unix_ms, struct arena *arena);
bool wire_parse_time(const char *text, int64_t *ret_unix_ms);

/* ---- requests ---- */

/* Add "Authorization: SCHEME CREDENTIAL"; -EINVAL for one that cannot stand
 * in a header, without quoting it. */
_must_check_ int wire_authorize(struct http_request *request,
				const char *scheme, const char *credential,
				struct arena *arena,
				struct fault *reterr_fault);

/* Give it a JSON body. NULL is left to wire_request_done() to find. */
void wire_json_body(struct http_request *request, const char *text);

/* Store the request; -ENOMEM if the arena has failed meanwhile. */
_must_check_ int wire_request_done(const struct http_request *request,
				   const struct arena *arena,
				   struct http_request *ret,
				   struct fault *reterr_fault);

/* GET this medium from its http or https address, without credentials. */
_must_check_ int wire_media_request(const struct provider_media *media,
				    struct arena *arena,
				    struct http_request *ret,
				    struct fault *reterr_fault);

/* ---- events ---- */

/* An event of this kind, everything else "not said". */
struct provider_event wire_event(enum job_event kind);

/* An event that says no more than which job it is about. */
struct provider_event wire_only_id(enum job_event kind,
				   const struct provider_event *from);

/* Store the event; -ENOMEM if the arena has failed meanwhile. */
_must_check_ int wire_event_done(const struct provider_event *event,
				 const struct arena *arena,
				 struct provider_event *ret,
				 struct fault *reterr_fault);

/**
 * Foreign text made fit to be shown: cut to LIMIT_ERROR_MESSAGE_BYTES between
 * characters, control characters made blanks, URLs reduced to their origin
 * (paths and queries carry signatures), words that look like credentials
 * replaced.
 */
const char *wire_message(const char *text, struct arena *arena);

/* Likewise of a JSON value: of a string itself, else of its JSON text. */
const char *wire_message_json(json_t *value, struct arena *arena);

/* Say what went wrong. text goes through wire_message(); may be NULL. */
void wire_explain(struct provider_event *event, const char *code,
		  const char *text, struct arena *arena);

/* How long its Retry-After header asks us to wait; 0: it does not. */
int64_t wire_retry_after_ms(const struct http_response *response,
			    int64_t now_unix_s);

/**
 * What a status other than 2xx means as the answer to a start.
 *
 * Known not started is only what the provider refuses in its own words: a
 * 4xx other than 408, 409 and 499. Refusals that by their nature come before
 * anything could start (401, 413, 414, 429, 431) need no body.
 *
 * @documented  is the body the provider's documented error form?
 * @text        what it says, or NULL
 */
struct provider_event wire_start_refusal(const struct http_response *response,
					 int64_t now_unix_s, bool documented,
					 const char *text, struct arena *arena);

/* A start that was answered, and nobody can tell what came of it. */
struct provider_event wire_start_lost(const struct http_response *response,
				      int64_t now_unix_s, struct arena *arena);

/* An answer to anything but a start that tells nothing of the job. */
struct provider_event wire_no_answer(const struct http_response *response,
				     int64_t now_unix_s, struct arena *arena);

/* The provider does not know the job any more. */
struct provider_event wire_job_gone(struct arena *arena);

/* ---- media ---- */

/**
 * Find the files in a provider's result and add them to the event.
 *
 * A string that is a URL as a whole is a file; so is an object with a "url"
 * or "uri", whose "content_type" is taken. Of an object's members, those
 * that usually hold media are looked at first, video before image before
 * sound, and the others only if these had nothing. data: URIs with base64
 * become inline media. What is beyond PROVIDER_MEDIA_MAX is left out.
 */
void wire_find_media(json_t *value, struct arena *arena,
		     struct provider_event *event);

/* The result as JSON text for the database: data: URIs and what is nested
 * beyond LIMIT_JSON_DEPTH become null, NUL characters vanish. NULL when that
 * is over LIMIT_OUTPUT_BYTES or the arena is full. */
const char *wire_output(json_t *value, struct arena *arena);

#endif
