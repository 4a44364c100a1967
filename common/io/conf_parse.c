/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/io/conf_table.h"
#include "common/model/url.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <syslog.h>

/* How a setting's text becomes a value. Faults are the rest of a sentence
 * that begins with the setting's name, and never repeat the value: what is
 * no secret by itself may have been pasted from one. */

/* What the kernel calls users and groups that a namespace of users does not
 * know: nobody, nogroup. In there they may be anybody. */
enum { UNMAPPED_ID = 65534 };

enum {
	REGION_MAX = 64, /* libcurl signs with no more of it */
	PROJECT_MIN = 6, /* Google's rule for ids of projects */
	PROJECT_MAX = 30,
	DOMAIN_MAX = 63 - PROJECT_MAX, /* as common/provider/vertex.c has it */
};

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define DIGITS	"0123456789"

static void *member(const struct conf_row *row, struct conf *conf)
{
	return (char *)conf + row->offset;
}

int conf_parse_text(const struct conf_row *row, const char *value,
		    struct arena *arena, struct conf *conf,
		    struct fault *reterr_fault)
{
	(void)arena;
	for (const char *c = value; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return fault_set(reterr_fault, -EINVAL,
					 "has a control character in it");
	}
	*(const char **)member(row, conf) = value;
	return 0;
}

int conf_parse_number(const struct conf_row *row, const char *value,
		      struct arena *arena, struct conf *conf,
		      struct fault *reterr_fault)
{
	(void)arena;
	if (!text_to_int64(value, row->least, row->most, member(row, conf)))
		return fault_set(reterr_fault, -EINVAL,
				 "is not a whole number from %" PRId64
				 " to %" PRId64 " (%s)",
				 row->least, row->most, row->unit);
	return 0;
}

int conf_parse_bytes(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf,
		     struct fault *reterr_fault)
{
	static const char suffixes[] = "KMG";
	size_t length = strlen(value);
	const char *suffix = strchr(suffixes, value[length - 1]);
	int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
	const char *digits = value;
	int64_t number;

	if (shift > 0)
		digits = arena_strndup(arena, value, length - 1);
	if (!digits)
		return fault_set(reterr_fault, -ENOMEM, "is too long");
	if (!text_to_int64(digits, 0, row->most >> shift, &number) ||
	    number << shift < row->least)
		return fault_set(reterr_fault, -EINVAL,
				 "is not a size from %" PRId64 " to %" PRId64
				 " bytes (K, M or G may follow the number)",
				 row->least, row->most);
	*(int64_t *)member(row, conf) = number << shift;
	return 0;
}

int conf_parse_bool(const struct conf_row *row, const char *value,
		    struct arena *arena, struct conf *conf,
		    struct fault *reterr_fault)
{
	(void)arena;
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return fault_set(reterr_fault, -EINVAL, "is neither 0 nor 1");
	*(bool *)member(row, conf) = value[0] == '1';
	return 0;
}

int conf_parse_path(const struct conf_row *row, const char *value,
		    struct arena *arena, struct conf *conf,
		    struct fault *reterr_fault)
{
	if (value[0] != '/')
		return fault_set(reterr_fault, -EINVAL,
				 "is not an absolute path");
	return conf_parse_text(row, value, arena, conf, reterr_fault);
}

/* Without the slashes at its end. */
static char *trimmed(const char *value, struct arena *arena)
{
	size_t length = strlen(value);

	while (length > 0 && value[length - 1] == '/')
		length--;
	return arena_strndup(arena, value, length);
}

static int parse_url(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf, bool https,
		     struct fault *reterr_fault)
{
	struct fault fault;
	struct url url;
	int r;

	r = url_split(value, arena, &url, &fault);
	if (r < 0)
		return fault_set(reterr_fault, r, "is not a URL: %s",
				 fault.text);
	if (strcmp(url.scheme, "https") != 0 && strcmp(url.scheme, "http") != 0)
		return fault_set(reterr_fault, -EINVAL,
				 "is not an http or https URL");
	if (https && strcmp(url.scheme, "https") != 0)
		return fault_set(reterr_fault, -EINVAL,
				 "is not an https URL (ALLOW_LOOPBACK=1 "
				 "would allow http, for tests)");
	if (strpbrk(value, "?#"))
		return fault_set(reterr_fault, -EINVAL,
				 "has a query or a fragment");
	*(const char **)member(row, conf) = trimmed(value, arena);
	return 0;
}

int conf_parse_url(const struct conf_row *row, const char *value,
		   struct arena *arena, struct conf *conf,
		   struct fault *reterr_fault)
{
	return parse_url(row, value, arena, conf, false, reterr_fault);
}

/* "{location}" stands for VERTEX_LOCATION, which comes before in the table. */
int conf_parse_https_url(const struct conf_row *row, const char *value,
			 struct arena *arena, struct conf *conf,
			 struct fault *reterr_fault)
{
	static const char mark[] = "{location}";
	const char *place = strstr(value, mark);

	if (place && conf->vertex_location)
		value = arena_printf(arena, "%.*s%s%s", (int)(place - value),
				     value, conf->vertex_location,
				     place + sizeof(mark) - 1);
	if (!value)
		return fault_set(reterr_fault, -ENOMEM, "is too long");
	return parse_url(row, value, arena, conf, !conf->allow_loopback,
			 reterr_fault);
}

int conf_parse_location(const struct conf_row *row, const char *value,
			struct arena *arena, struct conf *conf,
			struct fault *reterr_fault)
{
	/* It becomes part of a host name. */
	if (strspn(value, LETTERS DIGITS "-") != strlen(value))
		return fault_set(reterr_fault, -EINVAL, "is not a region");
	return conf_parse_text(row, value, arena, conf, reterr_fault);
}

/* It becomes part of what is signed, between slashes, and libcurl takes it
 * between colons. */
int conf_parse_region(const struct conf_row *row, const char *value,
		      struct arena *arena, struct conf *conf,
		      struct fault *reterr_fault)
{
	if (strlen(value) > REGION_MAX ||
	    strspn(value, LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "._-") !=
		    strlen(value))
		return fault_set(reterr_fault, -EINVAL,
				 "is not a region like eu-central-1 (at most "
				 "%d letters, digits, \".\", \"_\" and \"-\"); "
				 "the S3 service says which it is",
				 REGION_MAX);
	return conf_parse_text(row, value, arena, conf, reterr_fault);
}

/* "my-project-1", old ones "example.com:my-project"; or a project's number,
 * which Google's API takes as well. */
static bool is_project(const char *name)
{
	const char *colon = strchr(name, ':');
	size_t length;

	if (colon) {
		length = (size_t)(colon - name);
		if (length > DOMAIN_MAX ||
		    strspn(name, LETTERS DIGITS ".-") != length ||
		    !memchr(name, '.', length) || name[0] == '.')
			return false;
		name = colon + 1;
	}
	length = strlen(name);
	if (!colon && length <= PROJECT_MAX && strspn(name, DIGITS) == length)
		return true;
	return length >= PROJECT_MIN && length <= PROJECT_MAX &&
	       strspn(name, LETTERS DIGITS "-") == length &&
	       strspn(name, LETTERS) > 0 && name[length - 1] != '-';
}

int conf_parse_project(const struct conf_row *row, const char *value,
		       struct arena *arena, struct conf *conf,
		       struct fault *reterr_fault)
{
	if (!is_project(value))
		return fault_set(reterr_fault, -EINVAL,
				 "is not the id of a Google Cloud project like "
				 "my-project-1 or example.com:my-project (%d "
				 "to %d small letters, digits and \"-\"); the "
				 "console shows it beside the project's name",
				 PROJECT_MIN, PROJECT_MAX);
	return conf_parse_text(row, value, arena, conf, reterr_fault);
}

/* May it stand in a URL as it is? */
static bool fits_url(const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~' ||
		    strchr("\"<>\\^`{|}?#%", *text))
			return false;
	}
	return true;
}

int conf_parse_storage_uri(const struct conf_row *row, const char *value,
			   struct arena *arena, struct conf *conf,
			   struct fault *reterr_fault)
{
	(void)row;
	if (!text_starts_with(value, "gs://") || !value[5] || value[5] == '/' ||
	    !fits_url(value))
		return fault_set(reterr_fault, -EINVAL,
				 "is not gs://bucket/prefix");
	conf->vertex_storage_uri = trimmed(value, arena);
	return 0;
}

/* A bucket name becomes part of a host name or a path. */
static bool is_bucket(const char *name)
{
	size_t length = strlen(name);

	return length >= 3 && length <= 63 && name[0] != '.' &&
	       name[0] != '-' && !strstr(name, "..") &&
	       strspn(name, LETTERS DIGITS ".-") == length;
}

static int parse_bucket(const char *value, struct arena *arena,
			struct conf *conf, struct fault *reterr_fault)
{
	const char *slash = strchrnul(value, '/');
	const char *prefix = *slash ? trimmed(slash + 1, arena) : "";

	conf->store_kind = CONF_STORE_S3;
	conf->store_bucket =
		arena_strndup(arena, value, (size_t)(slash - value));
	if (!conf->store_bucket || !prefix)
		return fault_set(reterr_fault, -ENOMEM, "is too long");
	if (!is_bucket(conf->store_bucket))
		return fault_set(reterr_fault, -EINVAL,
				 "has no valid bucket name in s3://bucket");
	if (strstr(prefix, "//") || !fits_url(prefix))
		return fault_set(reterr_fault, -EINVAL,
				 "has an odd prefix after the bucket");
	conf->store_prefix = *prefix ? arena_printf(arena, "%s/", prefix) : "";
	return 0;
}

int conf_parse_store(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf,
		     struct fault *reterr_fault)
{
	(void)row;
	conf->store_url = value;
	if (text_starts_with(value, "s3://"))
		return parse_bucket(value + 5, arena, conf, reterr_fault);
	if (!text_starts_with(value, "file:///") || strchr(value, '%'))
		return fault_set(reterr_fault, -EINVAL,
				 "is neither file:///folder nor "
				 "s3://bucket/prefix");
	conf->store_kind = CONF_STORE_FILE;
	conf->store_dir = trimmed(value + strlen("file://"), arena);
	if (conf->store_dir && !*conf->store_dir)
		return fault_set(reterr_fault, -EINVAL,
				 "names no folder but the root");
	return 0;
}

static int parse_choice(const struct conf_row *row, const char *value,
			const char *const *words, size_t count,
			struct fault *reterr_fault)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, words[i]) == 0)
			return (int)i;
	}
	return fault_set(reterr_fault, -EINVAL, "is not %s", row->unit);
}

int conf_parse_level(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf,
		     struct fault *reterr_fault)
{
	static const char *const words[] = { "err", "warning", "notice", "info",
					     "debug" };
	int r = parse_choice(row, value, words, COUNT_OF(words), reterr_fault);

	(void)arena;
	if (r < 0)
		return r;
	conf->log_level = LOG_ERR + r;
	return 0;
}

int conf_parse_target(const struct conf_row *row, const char *value,
		      struct arena *arena, struct conf *conf,
		      struct fault *reterr_fault)
{
	static const char *const words[] = { "auto", "journal", "stderr" };
	int r = parse_choice(row, value, words, COUNT_OF(words), reterr_fault);

	(void)arena;
	if (r < 0)
		return r;
	conf->log_target = (enum conf_log_target)r;
	return 0;
}

int conf_parse_signature(const struct conf_row *row, const char *value,
			 struct arena *arena, struct conf *conf,
			 struct fault *reterr_fault)
{
	static const char *const words[] = { "v4", "v2" };
	int r = parse_choice(row, value, words, COUNT_OF(words), reterr_fault);

	(void)arena;
	if (r < 0)
		return r;
	conf->s3_signature_v2 = r == 1;
	return 0;
}

int conf_parse_style(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf,
		     struct fault *reterr_fault)
{
	static const char *const words[] = { "path", "virtual" };
	int r = parse_choice(row, value, words, COUNT_OF(words), reterr_fault);

	(void)arena;
	if (r < 0)
		return r;
	conf->s3_virtual_style = r == 1;
	return 0;
}

/* The next word of a list separated by blanks, or NULL. */
static char *next_word(const char **rest, struct arena *arena)
{
	const char *word = *rest + strspn(*rest, " \t\r\n");
	size_t length = strcspn(word, " \t\r\n");

	*rest = word + length;
	return length > 0 ? arena_strndup(arena, word, length) : NULL;
}

/* Split "fal=2" and find the provider. @return what follows "=", or NULL */
static const char *provider_word(char *word, struct conf *conf,
				 struct provider_settings **ret)
{
	char *equals = strchr(word, '=');

	if (!equals)
		return NULL;
	*equals = '\0';
	for (size_t i = 0; i < CONF_PROVIDERS; i++) {
		*ret = &conf->provider[i];
		if (strcmp(conf->provider[i].name, word) == 0)
			return equals + 1;
	}
	return NULL;
}

int conf_parse_concurrency(const struct conf_row *row, const char *value,
			   struct arena *arena, struct conf *conf,
			   struct fault *reterr_fault)
{
	struct provider_settings *settings;
	const char *number;
	char *word;

	(void)row;
	while ((word = next_word(&value, arena))) {
		number = provider_word(word, conf, &settings);
		if (!number ||
		    !text_to_int64(number, 1, 1000000, &settings->concurrency))
			return fault_set(reterr_fault, -EINVAL,
					 "is not a list like \"replicate=20 "
					 "fal=2\" of known providers");
	}
	return 0;
}

int conf_parse_rate(const struct conf_row *row, const char *value,
		    struct arena *arena, struct conf *conf,
		    struct fault *reterr_fault)
{
	struct provider_settings *settings;
	const char *number;
	char *word, *slash;

	(void)row;
	while ((word = next_word(&value, arena))) {
		number = provider_word(word, conf, &settings);
		slash = number ? strchr(word + strlen(word) + 1, '/') : NULL;
		if (slash)
			*slash = '\0';
		if (!slash ||
		    !text_to_int64(number, 1, 1000000,
				   &settings->rate_starts) ||
		    !text_to_int64(slash + 1, 1, 86400,
				   &settings->rate_period_s))
			return fault_set(reterr_fault, -EINVAL,
					 "is not a list like \"vertex=50/60\" "
					 "(starts/seconds) of known providers");
	}
	return 0;
}

int conf_parse_peers(const struct conf_row *row, const char *value,
		     struct arena *arena, struct conf *conf,
		     struct fault *reterr_fault)
{
	char buffer[4096], *word;
	struct passwd entry, *found;
	int64_t uid;

	(void)row;
	while ((word = next_word(&value, arena))) {
		if (conf->peer_count == CONF_PEERS_MAX)
			return fault_set(reterr_fault, -EINVAL,
					 "names more than %d users",
					 CONF_PEERS_MAX);
		if (!text_to_int64(word, 0, UINT32_MAX - 1, &uid)) {
			if (getpwnam_r(word, &entry, buffer, sizeof(buffer),
				       &found) != 0 ||
			    !found)
				return fault_set(reterr_fault, -EINVAL,
						 "names a user that does not "
						 "exist: %s",
						 word);
			uid = found->pw_uid;
		}
		if (uid == UNMAPPED_ID)
			return fault_set(reterr_fault, -EINVAL,
					 "has the user in it that stands for "
					 "all unknown ones in a namespace of "
					 "users; put nginx's user into "
					 "FCGI_PEER_GROUP");
		conf->peer_uid[conf->peer_count++] = (uid_t)uid;
	}
	return 0;
}

int conf_parse_peer_group(const struct conf_row *row, const char *value,
			  struct arena *arena, struct conf *conf,
			  struct fault *reterr_fault)
{
	char buffer[16 * 1024]; /* all the members' names */
	struct group entry, *found;
	int64_t gid;

	(void)row;
	(void)arena;
	if (!text_to_int64(value, 0, UINT32_MAX - 1, &gid)) {
		if (getgrnam_r(value, &entry, buffer, sizeof(buffer), &found) !=
			    0 ||
		    !found)
			return fault_set(reterr_fault, -EINVAL,
					 "names a group that does not exist");
		gid = found->gr_gid;
	}
	if (gid == UNMAPPED_ID)
		return fault_set(reterr_fault, -EINVAL,
				 "is the group that stands for all unknown "
				 "ones in a namespace of users");
	conf->has_peer_gid = true;
	conf->peer_gid = (gid_t)gid;
	return 0;
}

int conf_parse_token_key(const struct conf_row *row, const char *value,
			 struct arena *arena, struct conf *conf,
			 struct fault *reterr_fault)
{
	struct token_keys *keys = &conf->token_keys;
	uint8_t *bytes;
	size_t size;
	char *word;

	(void)row;
	while ((word = next_word(&value, arena))) {
		bytes = text_from_base64(word, strlen(word), TEXT_BASE64, arena,
					 &size);
		if (!bytes || size != TOKEN_KEY_BYTES ||
		    keys->count == TOKEN_KEYS)
			return fault_set(reterr_fault, -EINVAL,
					 "is not one or two keys of 32 bytes "
					 "in base64 (make one with: openssl "
					 "rand -base64 32)");
		memcpy(keys->key[keys->count++], bytes, TOKEN_KEY_BYTES);
	}
	return 0;
}

int conf_parse_webhook_secret(const struct conf_row *row, const char *value,
			      struct arena *arena, struct conf *conf,
			      struct fault *reterr_fault)
{
	static const char mark[] = "whsec_";
	size_t size;
	char *word;

	(void)row;
	while ((word = next_word(&value, arena))) {
		const char *key = word + sizeof(mark) - 1;

		if (conf->webhook_secret_count == CONF_WEBHOOK_SECRETS_MAX)
			return fault_set(reterr_fault, -EINVAL,
					 "holds more than %d secrets",
					 CONF_WEBHOOK_SECRETS_MAX);
		if (!text_starts_with(word, mark) ||
		    !text_from_base64(key, strlen(key), TEXT_BASE64, arena,
				      &size) ||
		    size < 16)
			return fault_set(reterr_fault, -EINVAL,
					 "holds something that is not whsec_ "
					 "and base64");
		conf->webhook_secret[conf->webhook_secret_count++] = word;
	}
	return 0;
}

/* The JSON is taken apart by the provider; here is only looked whether it
 * can be that file at all. */
int conf_parse_account(const struct conf_row *row, const char *value,
		       struct arena *arena, struct conf *conf,
		       struct fault *reterr_fault)
{
	(void)row;
	(void)arena;
	if (value[strspn(value, " \t\r\n")] != '{' ||
	    !strstr(value, "\"private_key\""))
		return fault_set(reterr_fault, -EINVAL,
				 "is not a service-account file (JSON with a "
				 "private_key)");
	conf->provider[2].credential = value;
	return 0;
}
