/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_UUID_H
#define COMMON_BASE_UUID_H

#include <stdint.h>

enum { UUID_SIZE = 37 }; /* 36 characters and the NUL */

/**
 * Write a UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits,
 * so ids made later sort later and index pages fill in order.
 *
 * @unix_ms  now; passed in so that tests are exact
 * @bits     74 random bits are taken from these
 */
void uuid_v7(int64_t unix_ms, const uint8_t bits[10], char ret[UUID_SIZE]);

#endif
