/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_KEYS_H
#define TESTS_SIMULATOR_KEYS_H

#include "tests/simulator/sim.h"

#include "common/base/arena.h"

/*
 * The providers' keys: Replicate's webhook secrets, fal's Ed25519 keys, and
 * the RSA key of a Google service account. All are made up here; they guard
 * nothing but tests.
 */
struct keys;

struct keys *keys_new(struct sim *sim, struct fault *reterr_fault);
struct keys *keys_free(struct keys *keys);

/* New webhook keys; the old ones stay good unless drop_old. */
void keys_rotate(struct keys *keys, bool drop_old);

/* "whsec_…"; 0 is the current one. NULL past the last. */
const char *keys_secret(const struct keys *keys, size_t index);

/* base64 of HMAC-SHA256 by the index-th secret, or, past the last, by a
 * secret nobody knows. Caller frees. */
char *keys_sign_standard(const struct keys *keys, size_t index,
			 const void *bytes, size_t size);

/* Hex of the Ed25519 signature, by a key nobody knows if unknown. Frees:
 * the caller. */
char *keys_sign_fal(const struct keys *keys, bool unknown, const void *bytes,
		    size_t size);
json_t *keys_jwks(const struct keys *keys);

/* The content of a service-account file. */
json_t *keys_account(const struct keys *keys);
const char *keys_account_email(const struct keys *keys);
bool keys_verify_rs256(const struct keys *keys, const void *bytes, size_t size,
		       const void *signature, size_t signature_size);

/* Write the service-account file, if one is wanted. */
int keys_write_account(const struct keys *keys, struct fault *reterr_fault);

#endif
