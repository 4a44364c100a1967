/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SUPPORT_CERTIFICATE_H
#define TESTS_SUPPORT_CERTIFICATE_H

/* A certificate of an authority that nobody has the key of any more. */
static const char test_certificate[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBhDCCASugAwIBAgIUanNSCm0mwwpVIsqrhDHox+kjYoYwCgYIKoZIzj0EAwIw\n"
	"FzEVMBMGA1UEAwwMYSBwcml2YXRlIFMzMCAXDTI2MTEyODIzNDk1MVoYDzIxMjYx\n"
	"MTA0MjM0OTUxWjAXMRUwEwYDVQQDDAxhIHByaXZhdGUgUzMwWTATBgcqhkjOPQIB\n"
	"BggqhkjOPQMBBwNCAARShV3VEKHG3O+OYy3gS/Fm9iO/LhJ7L4DHDcE0etZo+vKB\n"
	"5jPHfVfTkrjOvIoBTqjcGNottzK7DI9IHzd8ytH5o1MwUTAdBgNVHQ4EFgQUWx9e\n"
	"tfwrTR+VN9meInLog2j8H0owHwYDVR0jBBgwFoAUWx9etfwrTR+VN9meInLog2j8\n"
	"H0owDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBLbvn+HWOTN+4+\n"
	"H8o10scw1uEJgXzNFqPcYBfNOG+u1QIgeu+/x26rno9GdsTMPlOsO2iAvqUlINuV\n"
	"3GA4IC99szg=\n"
	"-----END CERTIFICATE-----\n";

#endif
