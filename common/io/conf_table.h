/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_CONF_TABLE_H
#define COMMON_IO_CONF_TABLE_H

#include "common/io/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The table of settings; private to conf.c and its tests. */

struct conf_row;

/**
 * Turn the text of a setting into members of *conf.
 *
 * @value  never NULL, never empty; arena memory
 *
 * @return 0; -EINVAL with the rest of a sentence that begins with the name
 *	   ("is not a number"); -ENOMEM
 */
typedef int conf_parse_fn(const struct conf_row *row, const char *value,
			  struct arena *arena, struct conf *conf,
			  struct fault *reterr_fault);

struct conf_row {
	const char *name;
	conf_parse_fn *parse;
	size_t offset;	    /* of its member, for the plain kinds */
	const char *preset; /* the default as an operator would write it */
	int64_t least, most;
	const char *unit; /* of numbers; of words: the choices */
	unsigned used;	  /* programs that take it */
	unsigned needed;  /* programs that do not start without it */
	bool secret;	  /* never shown, may come as a credential */
	const char *help; /* one line */
};

/* The i-th row, or NULL past the last. */
const struct conf_row *conf_row_at(size_t index);

/* The kinds; conf_parse.c. */
conf_parse_fn conf_parse_text, conf_parse_bool, conf_parse_number,
	conf_parse_bytes, conf_parse_path, conf_parse_url, conf_parse_https_url,
	conf_parse_store, conf_parse_level, conf_parse_target,
	conf_parse_signature, conf_parse_style, conf_parse_concurrency,
	conf_parse_rate, conf_parse_peers, conf_parse_peer_group,
	conf_parse_token_key, conf_parse_webhook_secret, conf_parse_account,
	conf_parse_storage_uri, conf_parse_location, conf_parse_project,
	conf_parse_region;

#endif
