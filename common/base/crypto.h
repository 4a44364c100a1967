/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_CRYPTO_H
#define COMMON_BASE_CRYPTO_H

#include "common/base/arena.h"
#include "common/base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The cryptography Rushes needs, each primitive once, all of it OpenSSL 3
 * through EVP. Pure: bytes in, bytes out; usable by providers.
 */

enum {
	SHA256_BYTES = 32,
	SHA256_HEX_SIZE = 65, /* 64 digits and the NUL */
	ED25519_KEY_BYTES = 32,
	ED25519_SIGNATURE_BYTES = 64,
};

/* A running SHA-256, for media that never lies in memory as a whole. */
struct sha256;
struct sha256 *sha256_new(void); /* NULL without memory */
void sha256_add(struct sha256 *sha256, const void *bytes, size_t size);
void sha256_finish(struct sha256 *sha256, uint8_t ret[SHA256_BYTES]);
struct sha256 *sha256_free(struct sha256 *sha256);
DEFINE_CLEANUP(struct sha256 *, sha256_free);

void crypto_sha256(const void *bytes, size_t size, uint8_t ret[SHA256_BYTES]);
void crypto_hmac_sha256(const void *key, size_t key_size, const void *bytes,
			size_t size, uint8_t ret[SHA256_BYTES]);

/* @return whether the signature is the key's over exactly these bytes */
bool crypto_ed25519_verify(const uint8_t key[ED25519_KEY_BYTES],
			   const uint8_t signature[ED25519_SIGNATURE_BYTES],
			   const void *bytes, size_t size);

/**
 * Sign with RSASSA-PKCS1-v1_5 and SHA-256 (JOSE "RS256").
 *
 * @pem            PKCS#8 or PKCS#1 private key, as in a service-account file
 * @ret_signature  arena memory, *ret_size bytes
 *
 * @return 0; -EINVAL for a key that is none; -ENOMEM
 */
_must_check_ int crypto_rs256_sign(const char *pem, const void *bytes,
				   size_t size, struct arena *arena,
				   uint8_t **ret_signature, size_t *ret_size,
				   struct fault *reterr_fault);

/**
 * Count the certificates in PEM text; other things may stand between them.
 *
 * @return their number; -EINVAL if one of them is broken; -ENOMEM
 */
_must_check_ int crypto_count_certificates(const char *pem, size_t size);

/* Compares in a time that depends on size alone. */
bool crypto_equal(const void *one, const void *other, size_t size);

#endif
