/* SPDX-License-Identifier: MIT */
/* Keys of make-believe providers, by OpenSSL directly: the code under test
 * must not be checked against itself. */
#include "tests/simulator/keys.h"

#include "tests/simulator/memory.h"

#include "common/base/dice.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEYS_MAX = 8, RSA_BITS = 2048, SECRET_BYTES_MAX = 128 };

#define DEFAULT_SECRET "whsec_cnVzaGVzLXNpbXVsYXRvci13ZWJob29rLWtleS0wMDE="
#define ACCOUNT_EMAIL  "rushes@simulator.iam.gserviceaccount.com"

struct keys {
	struct sim *sim;
	char *secret[KEYS_MAX];
	size_t secret_count;
	EVP_PKEY *fal[KEYS_MAX]; /* the first one signs */
	size_t fal_count;
	EVP_PKEY *account;
};

static void pkey_freep(EVP_PKEY **slot)
{
	EVP_PKEY_free(*slot);
}

static char *base64_of(const void *bytes, size_t size)
{
	char *text = take(size / 3 * 4 + 5);

	(void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
	return text;
}

static char *base64url_of(const void *bytes, size_t size)
{
	char *text = base64_of(bytes, size);

	for (char *at = text; *at; at++) {
		if (*at == '+')
			*at = '-';
		else if (*at == '/')
			*at = '_';
		else if (*at == '=')
			*at-- = '\0';
	}
	return text;
}

static void add_secret(struct keys *keys, char *secret)
{
	if (keys->secret_count == KEYS_MAX)
		free(keys->secret[--keys->secret_count]);
	memmove(&keys->secret[1], &keys->secret[0],
		keys->secret_count * sizeof(char *));
	keys->secret[0] = secret;
	keys->secret_count++;
}

static void add_fal(struct keys *keys)
{
	if (keys->fal_count == KEYS_MAX)
		EVP_PKEY_free(keys->fal[--keys->fal_count]);
	memmove(&keys->fal[1], &keys->fal[0],
		keys->fal_count * sizeof(EVP_PKEY *));
	keys->fal[0] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!keys->fal[0])
		abort();
	keys->fal_count++;
}

static char *new_secret(void)
{
	uint8_t bytes[24];
	_cleanup_text_ char *text = NULL;

	dice_fill(bytes, sizeof(bytes));
	text = base64_of(bytes, sizeof(bytes));
	return take_printf("whsec_%s", text);
}

void keys_rotate(struct keys *keys, bool drop_old)
{
	while (drop_old && keys->secret_count > 0)
		free(keys->secret[--keys->secret_count]);
	while (drop_old && keys->fal_count > 0)
		EVP_PKEY_free(keys->fal[--keys->fal_count]);
	add_secret(keys, new_secret());
	add_fal(keys);
}

/* The key of a service-account file from an earlier run, if there is one. */
static EVP_PKEY *read_account(const char *path)
{
	json_t *file = path ? json_load_file(path, 0, NULL) : NULL;
	const char *pem =
		json_string_value(json_object_get(file, "private_key"));
	EVP_PKEY *key = NULL;
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;

	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	json_decref(file);
	return key;
}

struct keys *keys_new(struct sim *sim, struct fault *reterr_fault)
{
	struct keys *keys = take(sizeof(*keys));
	const struct sim_options *options = &sim->options;

	keys->sim = sim;
	for (size_t i = options->secret_count; i > 0; i--)
		add_secret(keys, take_text(options->secrets[i - 1]));
	if (keys->secret_count == 0)
		add_secret(keys, take_text(DEFAULT_SECRET));
	add_fal(keys);
	keys->account = read_account(options->account_path);
	if (!keys->account)
		keys->account =
			EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS);
	if (!keys->account) {
		(void)fault_set(reterr_fault, -EIO, "cannot make an RSA key");
		return keys_free(keys);
	}
	return keys;
}

struct keys *keys_free(struct keys *keys)
{
	if (!keys)
		return NULL;
	while (keys->secret_count > 0)
		free(keys->secret[--keys->secret_count]);
	while (keys->fal_count > 0)
		EVP_PKEY_free(keys->fal[--keys->fal_count]);
	EVP_PKEY_free(keys->account);
	free(keys);
	return NULL;
}

const char *keys_secret(const struct keys *keys, size_t index)
{
	return index < keys->secret_count ? keys->secret[index] : NULL;
}

char *keys_sign_standard(const struct keys *keys, size_t index,
			 const void *bytes, size_t size)
{
	uint8_t secret[SECRET_BYTES_MAX], mac[EVP_MAX_MD_SIZE];
	const char *text = keys_secret(keys, index);
	unsigned mac_size = 0;
	int secret_size = 32;

	dice_fill(secret, sizeof(secret));
	if (text) {
		const char *base64 = strchr(text, '_') + 1;
		size_t length = strlen(base64);

		secret_size = EVP_DecodeBlock(
			secret, (const unsigned char *)base64, (int)length);
		while (length > 0 && base64[--length] == '=')
			secret_size--;
	}
	if (!HMAC(EVP_sha256(), secret, secret_size, bytes, size, mac,
		  &mac_size))
		abort();
	return base64_of(mac, mac_size);
}

char *keys_sign_fal(const struct keys *keys, bool unknown, const void *bytes,
		    size_t size)
{
	_cleanup_(pkey_freep) EVP_PKEY *stranger = NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[64];
	size_t signature_size = sizeof(signature);
	char *hex = take(2 * sizeof(signature) + 1);

	if (unknown)
		stranger = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!context ||
	    EVP_DigestSignInit(context, NULL, NULL, NULL,
			       stranger ? stranger : keys->fal[0]) != 1 ||
	    EVP_DigestSign(context, signature, &signature_size, bytes, size) !=
		    1)
		abort();
	EVP_MD_CTX_free(context);
	for (size_t i = 0; i < sizeof(signature); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", signature[i]);
	return hex;
}

json_t *keys_jwks(const struct keys *keys)
{
	json_t *list = json_array();

	for (size_t i = 0; i < keys->fal_count; i++) {
		uint8_t raw[32];
		size_t size = sizeof(raw);
		_cleanup_text_ char *x = NULL;

		if (EVP_PKEY_get_raw_public_key(keys->fal[i], raw, &size) != 1)
			abort();
		x = base64url_of(raw, size);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "kty",
					"OKP", "crv", "Ed25519", "x", x, "use",
					"sig", "alg", "EdDSA"));
	}
	return json_pack("{s:o}", "keys", list);
}

const char *keys_account_email(const struct keys *keys)
{
	(void)keys;
	return ACCOUNT_EMAIL;
}

json_t *keys_account(const struct keys *keys)
{
	_cleanup_text_ char *token_uri =
		take_printf("%s/google/token", keys->sim->own_url);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem = NULL;
	long size;
	json_t *file;

	if (!bio || PEM_write_bio_PrivateKey(bio, keys->account, NULL, NULL, 0,
					     NULL, NULL) != 1)
		abort();
	size = BIO_get_mem_data(bio, &pem);
	file = json_pack("{s:s, s:s, s:s, s:s%, s:s, s:s, s:s}", "type",
			 "service_account", "project_id", "rushes-simulator",
			 "private_key_id", "simulator", "private_key", pem,
			 (size_t)size, "client_email", ACCOUNT_EMAIL,
			 "client_id", "100000000000000000001", "token_uri",
			 token_uri);
	BIO_free(bio);
	return file;
}

bool keys_verify_rs256(const struct keys *keys, const void *bytes, size_t size,
		       const void *signature, size_t signature_size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good;

	good = context &&
	       EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL,
				    keys->account) == 1 &&
	       EVP_DigestVerify(context, signature, signature_size, bytes,
				size) == 1;
	EVP_MD_CTX_free(context);
	return good;
}

int keys_write_account(const struct keys *keys, struct fault *reterr_fault)
{
	const char *path = keys->sim->options.account_path;
	_cleanup_text_ char *text = NULL, *other = NULL;
	json_t *file;
	ssize_t written;
	size_t size;
	int fd;

	if (!path)
		return 0;
	file = keys_account(keys);
	text = json_dumps(file, JSON_INDENT(2));
	json_decref(file);
	other = take_printf("%s.new", path);
	fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (!text || fd < 0)
		return fault_set(reterr_fault, -errno, "write %s: %s", other,
				 strerror(errno));
	size = strlen(text);
	written = write(fd, text, size);
	if (close(fd) < 0 || written != (ssize_t)size ||
	    rename(other, path) < 0)
		return fault_set(reterr_fault, -EIO, "write %s failed", path);
	return 0;
}
