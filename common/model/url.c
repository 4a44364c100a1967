/* SPDX-License-Identifier: MIT */
#include "common/model/url.h"

#include "common/base/text.h"
#include "common/model/limits.h"

#include <errno.h>
#include <string.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

/* What RFC 3986 never lets stand bare, and what parsers disagree about. */
static bool has_strange_bytes(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~' || strchr("\"<>\\^`{|}", *text))
			return true;
	return false;
}

static bool is_scheme(const char *text)
{
	if (!is_lower(*text))
		return false;
	for (; *text != '\0'; text++)
		if (!is_lower(*text) && !is_digit(*text) &&
		    !strchr("+-.", *text))
			return false;
	return true;
}

/* Labels between single dots; "_" because such names exist. */
static bool is_name(const char *host)
{
	bool empty = true;

	for (; *host != '\0'; host++) {
		if (*host == '.' && empty)
			return false;
		if (*host != '.' && *host != '-' && *host != '_' &&
		    !is_lower(*host) && !is_digit(*host))
			return false;
		empty = *host == '.';
	}
	return !empty;
}

/* Only its characters: the socket address says what it really is. */
static bool is_ipv6(const char *host)
{
	size_t length = strlen(host);

	if (length < 4 || host[0] != '[' || host[length - 1] != ']')
		return false;
	for (size_t i = 1; i < length - 1; i++)
		if (!is_hex(host[i]) && host[i] != ':' && host[i] != '.')
			return false;
	return true;
}

/* Cut "host:port" in two. @return the port's text, or NULL without one */
static char *cut_port(char *authority)
{
	char *from = *authority == '[' ? strchr(authority, ']') : authority;
	char *colon = from ? strchr(from, ':') : NULL;

	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static uint16_t default_port(const char *scheme)
{
	if (strcmp(scheme, "https") == 0)
		return 443;
	if (strcmp(scheme, "http") == 0)
		return 80;
	return 0;
}

/* Fills in host and port. */
static int split_authority(char *authority, struct url *url,
			   struct fault *reterr_fault)
{
	const char *port_text;
	int64_t port;

	if (strchr(authority, '@'))
		return fault_set(reterr_fault, -EINVAL,
				 "a user or password in a URL is not allowed");
	port_text = cut_port(authority);
	port = default_port(url->scheme);
	if (port_text && !text_to_int64(port_text, 1, UINT16_MAX, &port))
		return fault_set(reterr_fault, -EINVAL,
				 "the port of a URL must be 1 to 65535");

	lower(authority);
	if (*authority == '\0' && strcmp(url->scheme, "file") != 0)
		return fault_set(reterr_fault, -EINVAL, "a URL needs a host");
	if (*authority != '\0' && !is_name(authority) && !is_ipv6(authority))
		return fault_set(reterr_fault, -EINVAL,
				 "the host of a URL must be a plain name or "
				 "address");
	url->host = authority;
	url->port = (uint16_t)port;
	return 0;
}

int url_split(const char *text, struct arena *arena, struct url *ret,
	      struct fault *reterr_fault)
{
	struct url url = { 0 };
	char *scheme, *authority;
	const char *rest, *path;
	int r;

	if (strnlen(text, LIMIT_URL_BYTES + 1) > LIMIT_URL_BYTES)
		return fault_set(reterr_fault, -EINVAL,
				 "a URL may have at most %d bytes",
				 LIMIT_URL_BYTES);
	if (has_strange_bytes(text))
		return fault_set(reterr_fault, -EINVAL,
				 "a URL may hold no blanks, controls, quotes, "
				 "backslashes, braces or bytes over 126");
	rest = strstr(text, "://");
	if (!rest)
		return fault_set(reterr_fault, -EINVAL,
				 "a URL must begin with scheme://");

	scheme = arena_strndup(arena, text, (size_t)(rest - text));
	rest += strlen("://");
	path = rest + strcspn(rest, "/?#");
	authority = arena_strndup(arena, rest, (size_t)(path - rest));
	url.path = arena_printf(arena, "%s%.*s", *path == '/' ? "" : "/",
				(int)strcspn(path, "#"), path);
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM, "the arena is full");

	lower(scheme);
	if (!is_scheme(scheme))
		return fault_set(reterr_fault, -EINVAL,
				 "a URL must begin with scheme://");
	url.scheme = scheme;
	r = split_authority(authority, &url, reterr_fault);
	if (r < 0)
		return r;

	*ret = url;
	return 0;
}

bool url_same_origin(const struct url *one, const struct url *other)
{
	return strcmp(one->scheme, other->scheme) == 0 &&
	       strcmp(one->host, other->host) == 0 && one->port == other->port;
}

bool url_host_matches(const char *host, const char *pattern)
{
	size_t host_length = strlen(host), length;

	if (!text_starts_with(pattern, "*."))
		return strcmp(host, pattern) == 0;

	pattern++; /* the dot stays: "evilreplicate.delivery" is no match */
	length = strlen(pattern);
	return host_length > length &&
	       strcmp(host + host_length - length, pattern) == 0;
}

char *url_join(const char *base, const char *path, struct arena *arena)
{
	size_t length = strlen(base);

	while (length > 0 && base[length - 1] == '/')
		length--;
	while (*path == '/')
		path++;
	return arena_printf(arena, "%.*s/%s", (int)length, base, path);
}
