/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_HANDLERS_H
#define TESTS_SIMULATOR_HANDLERS_H

#include "tests/simulator/server.h"

/* One handler a prefix of the URL space; each routes further by itself. */
request_fn replicate_handle, fal_handle, vertex_handle, gcs_handle,
	oauth_handle, media_handle, control_handle;

#endif
