/* SPDX-License-Identifier: MIT */
/*
 * Which addresses are not for us: the special-purpose registries of IANA
 * (RFC 6890 and its successors), and everything in IPv6 that is not global
 * unicast.
 */
#include "common/model/address.h"

#include "common/base/macro.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct range {
	uint8_t prefix[16];
	unsigned bits;
	const char *what;
};

/* clang-format off */
static const struct range ipv4_ranges[] = {
	{ { 0 },            8, "this network (0.0.0.0/8)" },
	{ { 10 },           8, "private network (10.0.0.0/8)" },
	{ { 100, 64 },     10, "carrier's shared network (100.64.0.0/10)" },
	{ { 127 },          8, "loopback (127.0.0.0/8)" },
	{ { 169, 254 },    16, "link-local (169.254.0.0/16)" },
	{ { 172, 16 },     12, "private network (172.16.0.0/12)" },
	{ { 192, 0, 0 },   24, "protocol assignments (192.0.0.0/24)" },
	{ { 192, 0, 2 },   24, "documentation (192.0.2.0/24)" },
	{ { 192, 88, 99 }, 24, "6to4 relays (192.88.99.0/24)" },
	{ { 192, 168 },    16, "private network (192.168.0.0/16)" },
	{ { 198, 18 },     15, "benchmarks (198.18.0.0/15)" },
	{ { 198, 51, 100 },24, "documentation (198.51.100.0/24)" },
	{ { 203, 0, 113 }, 24, "documentation (203.0.113.0/24)" },
	{ { 224 },          4, "multicast (224.0.0.0/4)" },
	{ { 240 },          4, "reserved (240.0.0.0/4)" },
};

/* What is not in 2000::/3 is refused in any case; the rows outside of it are
 * here for their words. */
static const struct range ipv6_ranges[] = {
	{ { 0 },                            128, "unspecified (::)" },
	{ { [15] = 1 },                     128, "loopback (::1)" },
	{ { 0 },                             96, "IPv4-compatible (::/96)" },
	{ { 0, 0x64, 0xff, 0x9b },           96, "NAT64 (64:ff9b::/96)" },
	{ { 0, 0x64, 0xff, 0x9b, 0, 1 },     48, "NAT64 (64:ff9b:1::/48)" },
	{ { 0x01 },                          64, "discard (100::/64)" },
	{ { 0x20, 0x01 },                    32, "Teredo (2001::/32)" },
	{ { 0x20, 0x01, 0, 2 },              48, "benchmarks (2001:2::/48)" },
	{ { 0x20, 0x01, 0, 0x10 },           28, "ORCHID (2001:10::/28)" },
	{ { 0x20, 0x01, 0, 0x20 },           28, "ORCHID (2001:20::/28)" },
	{ { 0x20, 0x01, 0x0d, 0xb8 },        32, "documentation (2001:db8::/32)" },
	{ { 0x20, 0x02 },                    16, "6to4 (2002::/16)" },
	{ { 0x3f, 0xff },                    20, "documentation (3fff::/20)" },
	{ { 0x5f },                          16, "segment routing (5f00::/16)" },
	{ { 0xfc },                           7, "private network (fc00::/7)" },
	{ { 0xfe, 0x80 },                    10, "link-local (fe80::/10)" },
	{ { 0xfe, 0xc0 },                    10, "site-local (fec0::/10)" },
	{ { 0xff },                           8, "multicast (ff00::/8)" },
};
/* clang-format on */

static bool is_in(const uint8_t *address, const struct range *range)
{
	size_t whole = range->bits / 8;
	unsigned rest = range->bits % 8;

	if (memcmp(address, range->prefix, whole) != 0)
		return false;
	return rest == 0 ||
	       (address[whole] ^ range->prefix[whole]) >> (8 - rest) == 0;
}

static const char *find(const uint8_t *address, const struct range *ranges,
			size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_in(address, &ranges[i]))
			return ranges[i].what;
	return NULL;
}

static const char *ipv4_refusal(const uint8_t address[4], bool allow_loopback)
{
	if (allow_loopback && address[0] == 127)
		return NULL;
	return find(address, ipv4_ranges, COUNT_OF(ipv4_ranges));
}

static const char *ipv6_refusal(const uint8_t address[16], bool allow_loopback)
{
	static const struct range mapped = {
		.prefix = { [10] = 0xff, [11] = 0xff },
		.bits = 96,
	};
	static const struct range global = { .prefix = { 0x20 }, .bits = 3 };
	static const uint8_t loopback[16] = { [15] = 1 };
	const char *what;

	if (is_in(address, &mapped))
		return ipv4_refusal(address + 12, allow_loopback);
	if (allow_loopback && memcmp(address, loopback, 16) == 0)
		return NULL;

	what = find(address, ipv6_ranges, COUNT_OF(ipv6_ranges));
	if (what)
		return what;
	if (!is_in(address, &global))
		return "not global unicast (2000::/3)";
	/* ISATAP (RFC 5214): the host part is [02]00:5efe:, then an IPv4
	 * address that a router on the way unwraps. */
	if ((address[8] & 0xfd) == 0 && address[9] == 0 &&
	    address[10] == 0x5e && address[11] == 0xfe)
		return "ISATAP host";
	return NULL;
}

const char *address_refusal(const struct sockaddr *address, socklen_t size,
			    bool allow_loopback)
{
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
	sa_family_t family;

	if (size < offsetof(struct sockaddr, sa_data))
		return "no address";
	memcpy(&family,
	       (const char *)address + offsetof(struct sockaddr, sa_family),
	       sizeof(family));

	/* Copied out, because a sockaddr may lie anywhere in a buffer. */
	if (family == AF_INET && size >= sizeof(ipv4)) {
		memcpy(&ipv4, address, sizeof(ipv4));
		return ipv4_refusal((const uint8_t *)&ipv4.sin_addr,
				    allow_loopback);
	}
	if (family == AF_INET6 && size >= sizeof(ipv6)) {
		memcpy(&ipv6, address, sizeof(ipv6));
		return ipv6_refusal(ipv6.sin6_addr.s6_addr, allow_loopback);
	}
	return "neither IPv4 nor IPv6";
}
