/* SPDX-License-Identifier: MIT */
#include "common/model/address.h"

#include "common/base/macro.h"
#include "tests/support/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static const char *refusal(const char *text, bool allow_loopback)
{
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in ipv4 = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
		return address_refusal((const struct sockaddr *)&ipv4,
				       sizeof(ipv4), allow_loopback);
	if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) != 1)
		fail_msg("%s: not an address", text);
	return address_refusal((const struct sockaddr *)&ipv6, sizeof(ipv6),
			       allow_loopback);
}

static void public_addresses_pass(void **state)
{
	static const char *const good[] = {
		/* the neighbours of what is refused */
		"1.0.0.0",
		"9.255.255.255",
		"11.0.0.0",
		"100.63.255.255",
		"100.128.0.0",
		"126.255.255.255",
		"128.0.0.0",
		"169.253.255.255",
		"169.255.0.0",
		"172.15.255.255",
		"172.32.0.0",
		"191.255.255.255",
		"192.0.1.0",
		"192.0.3.0",
		"192.88.98.255",
		"192.88.100.0",
		"192.167.255.255",
		"192.169.0.0",
		"198.17.255.255",
		"198.20.0.0",
		"198.51.99.255",
		"198.51.101.0",
		"203.0.112.255",
		"203.0.114.0",
		"223.255.255.255",
		"8.8.8.8",
		"2000::",
		"2001:1::1",
		"2001:db7::1",
		"2001:db9::1",
		"2001:4860:4860::8888",
		"2003::1",
		"2606:4700::1111",
		"3ffe::1",
		"3fff:1000::1",
		"2a00:1450:4001::5efe:1",
		"2a00:1450:4001:81b:0:5eff:0:1",
		"2a00:1450:4001:81b:1:5efe:a00:1",
		"2a00:1450:4001:81b:f200:5efe:a00:1",
		"::ffff:8.8.8.8",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		CHECK_TEXT(good[i], refusal(good[i], false), NULL);
		CHECK_TEXT(good[i], refusal(good[i], true), NULL);
	}
}

static const struct {
	const char *address;
	const char *what; /* part of the words */
} special[] = {
	{ "0.0.0.0", "0.0.0.0/8" },
	{ "0.255.255.255", "0.0.0.0/8" },
	{ "10.0.0.0", "10.0.0.0/8" },
	{ "10.255.255.255", "10.0.0.0/8" },
	{ "100.64.0.0", "100.64.0.0/10" },
	{ "100.127.255.255", "100.64.0.0/10" },
	{ "169.254.169.254", "169.254.0.0/16" },
	{ "172.16.0.0", "172.16.0.0/12" },
	{ "172.31.255.255", "172.16.0.0/12" },
	{ "192.0.0.1", "192.0.0.0/24" },
	{ "192.0.2.255", "192.0.2.0/24" },
	{ "192.88.99.1", "192.88.99.0/24" },
	{ "192.168.0.0", "192.168.0.0/16" },
	{ "192.168.255.255", "192.168.0.0/16" },
	{ "198.18.0.0", "198.18.0.0/15" },
	{ "198.19.255.255", "198.18.0.0/15" },
	{ "198.51.100.1", "198.51.100.0/24" },
	{ "203.0.113.1", "203.0.113.0/24" },
	{ "224.0.0.0", "224.0.0.0/4" },
	{ "239.255.255.255", "224.0.0.0/4" },
	{ "240.0.0.0", "240.0.0.0/4" },
	{ "255.255.255.255", "240.0.0.0/4" },
	{ "::", "(::)" },
	{ "::2", "::/96" },
	{ "::8.8.8.8", "::/96" },
	{ "::ffff:10.0.0.1", "10.0.0.0/8" },
	{ "::ffff:169.254.169.254", "169.254.0.0/16" },
	{ "::ffff:0.0.0.0", "0.0.0.0/8" },
	{ "::ffff:0:8.8.8.8", "2000::/3" },
	{ "64:ff9b::8.8.8.8", "64:ff9b::/96" },
	{ "64:ff9b::10.0.0.1", "64:ff9b::/96" },
	{ "64:ff9b:1:2::3", "64:ff9b:1::/48" },
	{ "100::1", "100::/64" },
	{ "2001::1", "2001::/32" },
	{ "2001:0:ffff::1", "2001::/32" },
	{ "2001:2::1", "2001:2::/48" },
	{ "2001:10::1", "2001:10::/28" },
	{ "2001:2f:ffff::1", "2001:20::/28" },
	{ "2001:db8::1", "2001:db8::/32" },
	{ "2001:db8:ffff:ffff::", "2001:db8::/32" },
	{ "2002:a00:1::", "2002::/16" },
	{ "2002:808:808::1", "2002::/16" },
	{ "3fff::1", "3fff::/20" },
	{ "3fff:fff:ffff::1", "3fff::/20" },
	{ "5f00::1", "5f00::/16" },
	{ "fc00::1", "fc00::/7" },
	{ "fd12:3456::1", "fc00::/7" },
	{ "fe80::1", "fe80::/10" },
	{ "febf::1", "fe80::/10" },
	{ "fec0::1", "fec0::/10" },
	{ "ff02::1", "ff00::/8" },
	{ "4000::1", "2000::/3" },
	{ "1fff:ffff::1", "2000::/3" },
	{ "2a00:1450:4001:81b:0:5efe:a00:1", "ISATAP" },
	{ "2a00:1450:4001:81b:200:5efe:808:808", "ISATAP" },
};

static void special_addresses_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(special); i++) {
		const char *what = refusal(special[i].address, false);

		CHECK(special[i].address,
		      what && strstr(what, special[i].what));
		/* Allowing loopback allows nothing else. */
		CHECK_TEXT(special[i].address,
			   refusal(special[i].address, true), what);
	}
}

static void loopback_passes_only_when_allowed(void **state)
{
	static const char *const loopback[] = { "127.0.0.0", "127.0.0.1",
						"127.255.255.255", "::1",
						"::ffff:127.0.0.1" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(loopback); i++) {
		CHECK(loopback[i],
		      strstr(refusal(loopback[i], false), "loopback"));
		CHECK_TEXT(loopback[i], refusal(loopback[i], true), NULL);
	}
}

/* 64:ff9b::127.0.0.1 and the like must not count as loopback. */
static void wrapped_loopback_is_never_allowed(void **state)
{
	static const char *const wrapped[] = {
		"::127.0.0.1", "64:ff9b::127.0.0.1",
		"2002:7f00:1::", "2a00::5efe:127.0.0.1"
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrapped); i++)
		CHECK(wrapped[i], refusal(wrapped[i], true));
}

static void other_families_are_refused(void **state)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	struct sockaddr_in ipv4 = { .sin_family = AF_INET };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6 };
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)state;
	ipv4.sin_addr.s_addr = htonl(0x08080808);
	ipv6.sin6_addr.s6_addr[0] = 0x20;
	assert_non_null(address_refusal((const struct sockaddr *)&local,
					sizeof(local), true));
	assert_non_null(address_refusal(&none, sizeof(none), true));
	assert_null(address_refusal((const struct sockaddr *)&ipv4,
				    sizeof(ipv4), false));
	assert_null(address_refusal((const struct sockaddr *)&ipv6,
				    sizeof(ipv6), false));
	/* Cut short, they say nothing. */
	for (socklen_t size = 0; size < sizeof(ipv4); size++)
		assert_non_null(address_refusal((const struct sockaddr *)&ipv4,
						size, true));
	for (socklen_t size = 0; size < sizeof(ipv6); size++)
		assert_non_null(address_refusal((const struct sockaddr *)&ipv6,
						size, true));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_addresses_pass),
		cmocka_unit_test(special_addresses_are_refused),
		cmocka_unit_test(loopback_passes_only_when_allowed),
		cmocka_unit_test(wrapped_loopback_is_never_allowed),
		cmocka_unit_test(other_families_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
