/* SPDX-License-Identifier: MIT */
/*
 * The address filter against another one, written the other way round: not
 * prefixes that are refused but gaps between them that are allowed, as
 * numbers. Input: a family, whether loopback is allowed, 16 bytes.
 */
#include "common/model/address.h"
#include "tests/fuzz/fuzz.h"

#include <netinet/in.h>
#include <stdbool.h>

__extension__ typedef unsigned __int128 number;

/* clang-format off */
static const struct {
	uint32_t first, last;
} ipv4_public[] = {
	{ 0x01000000, 0x09ffffff }, /* 1.0.0.0     .. 9.255.255.255 */
	{ 0x0b000000, 0x643fffff }, /* 11.0.0.0    .. 100.63.255.255 */
	{ 0x64800000, 0x7effffff }, /* 100.128.0.0 .. 126.255.255.255 */
	{ 0x80000000, 0xa9fdffff }, /* 128.0.0.0   .. 169.253.255.255 */
	{ 0xa9ff0000, 0xac0fffff }, /* 169.255.0.0 .. 172.15.255.255 */
	{ 0xac200000, 0xbfffffff }, /* 172.32.0.0  .. 191.255.255.255 */
	{ 0xc0000100, 0xc00001ff }, /* 192.0.1.0   .. 192.0.1.255 */
	{ 0xc0000300, 0xc05862ff }, /* 192.0.3.0   .. 192.88.98.255 */
	{ 0xc0586400, 0xc0a7ffff }, /* 192.88.100.0.. 192.167.255.255 */
	{ 0xc0a90000, 0xc611ffff }, /* 192.169.0.0 .. 198.17.255.255 */
	{ 0xc6140000, 0xc63363ff }, /* 198.20.0.0  .. 198.51.99.255 */
	{ 0xc6336500, 0xcb0070ff }, /* 198.51.101.0.. 203.0.112.255 */
	{ 0xcb007200, 0xdfffffff }, /* 203.0.114.0 .. 223.255.255.255 */
};

/* The upper 32 bits, within 2000::/3, first and last. */
static const struct {
	uint32_t first, last;
} ipv6_public[] = {
	{ 0x20000000, 0x2000ffff }, /* 2000::     .. */
	{ 0x20010001, 0x20010001 }, /* 2001:1::   .. */
	{ 0x20010003, 0x2001000f }, /* 2001:3::   .. 2001:f:: */
	{ 0x20010030, 0x20010db7 }, /* 2001:30::  .. 2001:db7:: */
	{ 0x20010db9, 0x2001ffff }, /* 2001:db9:: .. */
	{ 0x20030000, 0x3ffeffff }, /* 2003::     .. 3ffe:: */
	{ 0x3fff1000, 0x3fffffff }, /* 3fff:1000::.. */
};
/* clang-format on */

static bool ipv4_may(uint32_t address, bool allow_loopback)
{
	if (address >> 24 == 127)
		return allow_loopback;
	for (size_t i = 0; i < COUNT_OF(ipv4_public); i++)
		if (address >= ipv4_public[i].first &&
		    address <= ipv4_public[i].last)
			return true;
	return false;
}

static bool ipv6_may(number address, bool allow_loopback)
{
	uint32_t top = (uint32_t)(address >> 96);
	uint32_t host = (uint32_t)(address >> 32);

	if (address >> 32 == 0xffff)
		return ipv4_may((uint32_t)address, allow_loopback);
	if (address == 1)
		return allow_loopback;
	/* An ISATAP host: 0000:5efe or 0200:5efe before an IPv4 address. */
	if (host == 0x00005efe || host == 0x02005efe)
		return false;
	/* Of 2001:2::/32 only its first /48 is for benchmarks. */
	if (top == 0x20010002)
		return (uint16_t)(address >> 80) != 0;
	for (size_t i = 0; i < COUNT_OF(ipv6_public); i++)
		if (top >= ipv6_public[i].first && top <= ipv6_public[i].last)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t kind = input_byte(&input);
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	bool allow = kind & 1;
	number address = 0;
	const char *refused;

	for (int i = 0; i < 16; i++) {
		six.sin6_addr.s6_addr[i] = input_byte(&input);
		address = address << 8 | six.sin6_addr.s6_addr[i];
	}
	four.sin_addr.s_addr = htonl((uint32_t)(address >> 96));

	refused = kind & 2 ? address_refusal((struct sockaddr *)&four,
					     sizeof(four), allow)
			   : address_refusal((struct sockaddr *)&six,
					     sizeof(six), allow);
	HOLDS((refused == NULL) ==
	      (kind & 2 ? ipv4_may((uint32_t)(address >> 96), allow)
			: ipv6_may(address, allow)));
	HOLDS(!refused || *refused);

	/* Every other family, and every address cut short, is refused. */
	HOLDS(address_refusal((struct sockaddr *)&six, sizeof(six) - 1, allow));
	six.sin6_family = kind;
	HOLDS(kind == AF_INET || kind == AF_INET6 ||
	      address_refusal((struct sockaddr *)&six, sizeof(six), allow));
	return 0;
}
