/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_FIXTURE_H
#define TESTS_SIMULATOR_FIXTURE_H

#include <stddef.h>

/* The simulator's own media: two seconds of H.264, and a picture. */
extern const unsigned char fixture_clip[];  /* MP4 */
extern const unsigned char fixture_still[]; /* PNG */
extern const size_t fixture_clip_size, fixture_still_size;

#endif
