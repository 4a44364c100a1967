/* SPDX-License-Identifier: MIT */
#include "common/io/store_s3.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *code;
	int error;
	const char *advice;
} refusals[] = {
	{ "SignatureDoesNotMatch", -EACCES,
	  ": S3_SECRET_KEY (or S3_REGION, S3_SIGNATURE) is wrong" },
	{ "InvalidAccessKeyId", -EACCES, ": S3_ACCESS_KEY is not known there" },
	{ "AccessDenied", -EACCES,
	  ": the key may not write to (or read) this bucket" },
	{ "AllAccessDisabled", -EACCES, ": the bucket is closed" },
	{ "AuthorizationHeaderMalformed", -EACCES, ": S3_REGION is wrong" },
	{ "PermanentRedirect", -EACCES, ": S3_URL or S3_REGION is wrong" },
	{ "RequestTimeTooSkewed", -EACCES, ": this machine's clock is wrong" },
	{ "NoSuchBucket", -EACCES, ": STORE_URL names no bucket there" },
	{ "InvalidBucketName", -EACCES, ": STORE_URL names no valid bucket" },
	{ "QuotaExceeded", -EAGAIN, ": the bucket is full" },
	{ "NoSuchKey", -ENOENT, "" },
	{ "RequestTimeout", -EAGAIN, "" },
	{ "SlowDown", -EAGAIN, "" },
	{ "OperationAborted", -EAGAIN, "" },
	{ "InternalError", -EAGAIN, "" },
	{ "ServiceUnavailable", -EAGAIN, "" },
};

static int error_of_status(long status)
{
	if (status >= 500 || status == 408 || status == 409 || status == 429)
		return -EAGAIN;
	return status == 404 ? -ENOENT : -EACCES;
}

int store_s3_error(long status, const char *code, struct fault *reterr_fault)
{
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		if (strcmp(refusals[i].code, code) == 0)
			return fault_set(reterr_fault, refusals[i].error,
					 "S3 store: %s%s", code,
					 refusals[i].advice);
	}
	if (status == 0)
		return fault_set(reterr_fault, -EAGAIN, "S3 store: %s", code);
	return fault_set(reterr_fault, error_of_status(status),
			 "S3 store: HTTP %ld%s%s", status, *code ? " " : "",
			 code);
}
