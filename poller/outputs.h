/* SPDX-License-Identifier: MIT */
#ifndef POLLER_OUTPUTS_H
#define POLLER_OUTPUTS_H

#include "common/base/fault.h"
#include "common/base/macro.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What the references in a job's input may name: the results of the jobs it
 * depends on, in the shape the API shows them. Pure.
 */

/* A job that another depends on, as job_upstreams returns it. */
struct upstream {
	const char *name;
	bool completed;
	const char *output; /* JSON text of the provider's result, or NULL */
	const char *media;  /* JSON array of {"url", "key", "content_type",
			       "bytes", "sha256"} */
};

/* For template_resolve(): one object each, by the name of the job. */
struct outputs {
	json_t *outputs;  /* {"url", "urls", "media", "raw"}, or a stand-in */
	json_t *media;	  /* what {"$media"} becomes; only stand-ins so far */
	json_t *stored;	  /* media with their keys in our store */
	json_t *defaults; /* dependency_defaults, or NULL */
};

/**
 * Begin with nothing.
 *
 * @defaults  dependency_defaults as JSON text, or NULL
 *
 * @return 0; -EBADMSG for defaults that are no object; -ENOMEM
 */
_must_check_ int outputs_init(struct outputs *outputs, const char *defaults,
			      struct fault *reterr_fault);
void outputs_done(struct outputs *outputs);

/**
 * Add one upstream job: its result if it completed, else what stands in for
 * it, if anything does.
 *
 * @return 0; -EBADMSG for texts that are not JSON; -ENOMEM
 */
_must_check_ int outputs_add(struct outputs *outputs,
			     const struct upstream *upstream,
			     struct fault *reterr_fault);

/* A file in our store that {"$media"} refers to. */
struct outputs_file {
	const char *key; /* borrowed from outputs */
	const char *content_type;
};

/* @return whether the job has a file of that index in our store */
bool outputs_find_file(const struct outputs *outputs, const char *name,
		       size_t index, struct outputs_file *ret);

/**
 * Say what {"$media": name, "index": index} becomes: the file's bytes.
 *
 * @return 0; -ENOMEM
 */
_must_check_ int outputs_set_bytes(struct outputs *outputs, const char *name,
				   size_t index, const char *base64,
				   const char *content_type);

#endif
