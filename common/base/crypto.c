/* SPDX-License-Identifier: MIT */
#include "common/base/crypto.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>

/* Google's keys have 2048 bits; less than that is not worth signing with,
 * and more than 16384 is a way to keep a processor busy. */
enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 16384 };

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(BIO *, BIO_free);

/*
 * A digest fails only where memory or the library itself is broken. Going on
 * would compare, sign or store whatever the buffer held before, so we stop.
 */
static void must(int ok)
{
	if (ok != 1)
		abort();
}

/*
 * Finding HMAC or SHA-256 by its name costs OpenSSL 3 more than computing it
 * over what we sign or compare: SHA-256 is found once, and HMAC by each thread,
 * which keeps what it found.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const EVP_MD *sha256_found;
static pthread_key_t hmac_contexts;

static void free_hmac_context(void *context)
{
	EVP_MAC_CTX_free(context);
}

static void find(void)
{
	sha256_found = EVP_MD_fetch(NULL, "SHA256", NULL);
	must(sha256_found != NULL);
	must(pthread_key_create(&hmac_contexts, free_hmac_context) == 0);
}

static const EVP_MD *sha256_method(void)
{
	must(pthread_once(&once, find) == 0);
	return sha256_found;
}

struct sha256 {
	EVP_MD_CTX *context;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *sha256 = calloc(1, sizeof(*sha256));

	if (!sha256)
		return NULL;
	sha256->context = EVP_MD_CTX_new();
	if (!sha256->context ||
	    EVP_DigestInit_ex(sha256->context, sha256_method(), NULL) != 1)
		return sha256_free(sha256);
	return sha256;
}

void sha256_add(struct sha256 *sha256, const void *bytes, size_t size)
{
	must(EVP_DigestUpdate(sha256->context, bytes, size));
}

void sha256_finish(struct sha256 *sha256, uint8_t ret[SHA256_BYTES])
{
	must(EVP_DigestFinal_ex(sha256->context, ret, NULL));
}

struct sha256 *sha256_free(struct sha256 *sha256)
{
	if (!sha256)
		return NULL;
	EVP_MD_CTX_free(sha256->context);
	free(sha256);
	return NULL;
}

void crypto_sha256(const void *bytes, size_t size, uint8_t ret[SHA256_BYTES])
{
	must(EVP_Digest(bytes, size, ret, NULL, sha256_method(), NULL));
}

static EVP_MAC_CTX *hmac_context(void)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *context;
	EVP_MAC *mac;

	must(pthread_once(&once, find) == 0);
	context = pthread_getspecific(hmac_contexts);
	if (context)
		return context;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	must(mac != NULL);
	context = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	must(context != NULL);
	must(EVP_MAC_CTX_set_params(context, params));
	must(pthread_setspecific(hmac_contexts, context) == 0);
	return context;
}

void crypto_hmac_sha256(const void *key, size_t key_size, const void *bytes,
			size_t size, uint8_t ret[SHA256_BYTES])
{
	EVP_MAC_CTX *context = hmac_context();
	size_t written = 0;

	/* Without a pointer the key before it would stay. */
	must(EVP_MAC_init(context, key ? key : (const void *)"", key_size,
			  NULL));
	must(EVP_MAC_update(context, bytes, size));
	must(EVP_MAC_final(context, ret, &written, SHA256_BYTES));
	must(written == SHA256_BYTES);
}

static bool verify_once(EVP_PKEY *public_key, const uint8_t *signature,
			const void *bytes, size_t size)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();

	must(context != NULL);
	must(EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key));
	return EVP_DigestVerify(context, signature, ED25519_SIGNATURE_BYTES,
				bytes, size) == 1;
}

bool crypto_ed25519_verify(const uint8_t key[ED25519_KEY_BYTES],
			   const uint8_t signature[ED25519_SIGNATURE_BYTES],
			   const void *bytes, size_t size)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *public_key = NULL;
	bool genuine = false;

	/* Any 32 bytes will do for a key here. */
	public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key,
						 ED25519_KEY_BYTES);
	must(public_key != NULL);
	/* OpenSSL says the same of a wrong signature and of an allocation that
	 * failed: what is refused once is looked at again. */
	for (int i = 0; i < 2 && !genuine; i++)
		genuine = verify_once(public_key, signature, bytes, size);
	ERR_clear_error();
	return genuine;
}

/* Without this, OpenSSL would ask the terminal for an encrypted key's
 * passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *unused)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)unused;
	return -1;
}

/* @return the key, or NULL if the text holds no RSA private key */
static EVP_PKEY *read_rsa_key(const char *pem)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;

	if (!bio)
		return NULL;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
	    EVP_PKEY_get_bits(key) < RSA_BITS_MIN ||
	    EVP_PKEY_get_bits(key) > RSA_BITS_MAX)
		return NULL;
	return TAKE_PTR(key);
}

/* Signature and size are one result in two, hence seven parameters. */
/* NOLINTNEXTLINE(readability-function-size) */
int crypto_rs256_sign(const char *pem, const void *bytes, size_t size,
		      struct arena *arena, uint8_t **ret_signature,
		      size_t *ret_size, struct fault *reterr_fault)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = read_rsa_key(pem);
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *signature;
	size_t signed_size;
	bool ok;

	/* OpenSSL's own words are left out: they may quote key material. */
	ERR_clear_error();
	if (!context)
		return fault_set(reterr_fault, -ENOMEM,
				 "RS256: no memory to sign");
	if (!key)
		return fault_set(reterr_fault, -EINVAL,
				 "RS256: this is no unencrypted RSA private "
				 "key of at least %d bits",
				 RSA_BITS_MIN);

	signed_size = (size_t)EVP_PKEY_get_size(key);
	signature = arena_alloc(arena, signed_size);
	if (!signature)
		return fault_set(reterr_fault, -ENOMEM,
				 "RS256: the arena is full");

	/* PKCS#1 v1.5 is OpenSSL's default padding for RSA keys. */
	ok = EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestSign(context, signature, &signed_size, bytes, size) == 1;
	ERR_clear_error();
	if (!ok)
		return fault_set(reterr_fault, -EINVAL,
				 "RS256: this key does not sign");

	*ret_signature = signature;
	*ret_size = signed_size;
	return 0;
}

static void free_infos(STACK_OF(X509_INFO) * infos)
{
	sk_X509_INFO_pop_free(infos, X509_INFO_free);
}
DEFINE_CLEANUP(STACK_OF(X509_INFO) *, free_infos);

int crypto_count_certificates(const char *pem, size_t size)
{
	_cleanup_(free_infosp) STACK_OF(X509_INFO) *infos = NULL;
	_cleanup_(BIO_freep) BIO *bio = NULL;
	bool no_memory;
	int count = 0;

	if (size > INT_MAX)
		return -EINVAL;
	bio = BIO_new_mem_buf(pem, (int)size);
	if (bio)
		infos = PEM_X509_INFO_read_bio(bio, NULL, no_passphrase, NULL);
	no_memory = !bio || ERR_GET_REASON(ERR_peek_last_error()) ==
				    ERR_R_MALLOC_FAILURE;
	ERR_clear_error();
	if (!infos)
		return no_memory ? -ENOMEM : -EINVAL;
	for (int i = 0; i < sk_X509_INFO_num(infos); i++)
		count += sk_X509_INFO_value(infos, i)->x509 != NULL;
	return count;
}

bool crypto_equal(const void *one, const void *other, size_t size)
{
	return CRYPTO_memcmp(one, other, size) == 0;
}
