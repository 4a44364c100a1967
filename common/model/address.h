/* SPDX-License-Identifier: MIT */
#ifndef COMMON_MODEL_ADDRESS_H
#define COMMON_MODEL_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/**
 * May we connect to this address? Media URLs come from outside, so a name in
 * one may lead into our own network; the address itself cannot lie.
 *
 * Refused: everything but global unicast, i.e. the special ranges of IPv4
 * and IPv6; IPv4-mapped addresses are judged by what they wrap; NAT64, 6to4,
 * Teredo and ISATAP lead to an IPv4 address by way of a relay and are
 * refused whole. So is every family but IPv4 and IPv6.
 *
 * @allow_loopback  let 127.0.0.0/8 and ::1 pass (tests and development)
 *
 * @return NULL if we may; else what it is, static words such as
 *	   "private network (10.0.0.0/8)"
 */
const char *address_refusal(const struct sockaddr *address, socklen_t size,
			    bool allow_loopback);

#endif
