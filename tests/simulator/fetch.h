/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_FETCH_H
#define TESTS_SIMULATOR_FETCH_H

#include "tests/simulator/job.h"

/**
 * Fetch what a job takes as input, as its provider would, and end the job
 * when that is done.
 *
 * @return whether there is anything to fetch
 */
bool fetch_inputs(struct job *job);

#endif
