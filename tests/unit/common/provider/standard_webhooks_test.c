/* SPDX-License-Identifier: MIT */
/*
 * Everything that the Standard Webhooks project's own libraries test
 * (repository standard-webhooks/standard-webhooks, libraries/), the vector of
 * Kling's callback page, and what else a header can be. Signatures that are
 * not published were made with another implementation (Python's hmac module).
 */
#include "common/base/crypto.h"
#include "common/base/text.h"
#include "common/provider/standard_webhooks.h"
#include "tests/support/check.h"

enum { ARENA_BYTES = 1024 * 1024, KEYS = 4, HUGE_BYTES = 64 * 1024 };

static const struct vector {
	const char *secret;
	const char *id;
	const char *timestamp;
	int64_t now_unix_s;
	const char *body;
	const char *signature;
} vectors[] = {
	{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"msg_p5jXN8AQM9LWM0D4loKWxJek",
		"1614265330",
		1614265330,
		"{\"test\": 2432232314}",
		"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	},
	{
		"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
		"1649367553",
		1649367553,
		"{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
		"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
	},
	{
		"whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=",
		"9876543210",
		"1781080794",
		1781080794,
		"{\"id\":\"1234567890\",\"status\":\"succeeded\",\"message\":"
		"\"\",\"create_time\":1781080778802,"
		"\"update_time\":1781080794151}",
		"v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
	},
};

/* Of the first vector. */
#define SECRET	 "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define PREFIXED "whsec_" SECRET
#define RIGHT	 "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define GOOD	 "v1," RIGHT
#define WRONG	 "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
#define OLD	 "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#define THIRD	 "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="

#define LETTERS_51  "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"
#define LETTERS_255 LETTERS_51 LETTERS_51 LETTERS_51 LETTERS_51 LETTERS_51
#define OTHERS_31                                                              \
	"v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 v2 "   \
	"v2 "                                                                  \
	"v2 v2 v2 v2 v2 v2 v2 v2 "

/* What a value of a case may also be. */
static const char ABSENT[] = "", HUGE[] = "", NONE[] = "";
enum { NO_HEADERS = -1, OTHER_HEADERS = -2 };
#define BODY(text)                                                             \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

/* A delivery like a vector's, and what is different. */
static const struct test_case {
	const char *name;
	size_t vector;
	const char *id, *timestamp, *signature;
	struct {
		const char *bytes;
		size_t size;
	} body;
	const char *keys[KEYS];
	int64_t ahead_s; /* our clock against the delivery's */
	size_t doubled;	 /* header that is there twice */
	int only;	 /* header that is there alone */
	bool foreign;	 /* headers of somebody else's standard */
	enum provider_verdict want;
} cases[] = {
	/* clang-format off */

	/* what the tests of the official libraries are about */
	{ .name = "valid signature", .want = PROVIDER_GENUINE },
	{ .name = "the vector of the Rust library", .vector = 1, .want = PROVIDER_GENUINE },
	{ .name = "the vector of a callback page", .vector = 2, .want = PROVIDER_GENUINE },
	{ .name = "secret without its prefix", .keys = { SECRET }, .want = PROVIDER_GENUINE },
	{ .name = "secret of 31 characters, no padding", .signature = "v1,LVOXivKoo4FWasi/IaHvzhE/u+7/cu2AME+zS/nXqzk=", .keys = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS" }, .want = PROVIDER_GENUINE },
	{ .name = "secret of 31 characters, padded", .signature = "v1,LVOXivKoo4FWasi/IaHvzhE/u+7/cu2AME+zS/nXqzk=", .keys = { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=" }, .want = PROVIDER_GENUINE },
	{ .name = "secret of 34 characters, no padding", .signature = "v1,yK2tMbA6BHPrMEJ1lLv7UlJJbgFoqGenJkiajZ29evg=", .keys = { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwBr" }, .want = PROVIDER_GENUINE },
	{ .name = "secret of 34 characters, prefix", .signature = "v1,yK2tMbA6BHPrMEJ1lLv7UlJJbgFoqGenJkiajZ29evg=", .keys = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwBr" }, .want = PROVIDER_GENUINE },
	{ .name = "secret of 34 characters, padded", .signature = "v1,yK2tMbA6BHPrMEJ1lLv7UlJJbgFoqGenJkiajZ29evg=", .keys = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwBr==" }, .want = PROVIDER_GENUINE },
	{ .name = "no id", .id = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "no timestamp", .timestamp = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "no signature", .signature = ABSENT, .want = PROVIDER_FORGED },
	{ .name = "invalid signature", .signature = "v1," WRONG, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "signature of no form", .signature = "v1,dawfeoifkpqwoekfpqoekf", .want = PROVIDER_FORGED },
	{ .name = "partial signature", .signature = "v1,g0hM9", .want = PROVIDER_FORGED },
	{ .name = "label alone", .signature = "v1,", .want = PROVIDER_FORGED },
	{ .name = "another version", .signature = "v2," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "no label", .signature = RIGHT, .want = PROVIDER_FORGED },
	{ .name = "old timestamp", .ahead_s = 301, .want = PROVIDER_FORGED },
	{ .name = "new timestamp", .ahead_s = -301, .want = PROVIDER_FORGED },
	{ .name = "multi sig", .signature = "v1," WRONG " v2," WRONG " " GOOD " v1," WRONG, .want = PROVIDER_GENUINE },
	{ .name = "multi sig, none right", .signature = "v1," WRONG " v1," WRONG, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "multi sig, right under v2 only", .signature = "v1," WRONG " v2," RIGHT, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "timestamp is a word", .timestamp = "hello", .want = PROVIDER_FORGED },
	{ .name = "timestamp is a float", .timestamp = "1614265330.0", .want = PROVIDER_FORGED },
	{ .name = "timestamp is negative", .timestamp = "-1614265330", .want = PROVIDER_FORGED },
	{ .name = "empty body, signed", .signature = "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A=", .body = BODY(""), .want = PROVIDER_GENUINE },
	{ .name = "empty secret", .keys = { "" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "empty secret with prefix", .keys = { "whsec_" }, .want = PROVIDER_KEY_UNKNOWN },

	/* the clock */
	{ .name = "our clock -299 s", .ahead_s = -299, .want = PROVIDER_GENUINE },
	{ .name = "our clock -300 s", .ahead_s = -300, .want = PROVIDER_GENUINE },
	{ .name = "our clock -1 s", .ahead_s = -1, .want = PROVIDER_GENUINE },
	{ .name = "our clock +1 s", .ahead_s = 1, .want = PROVIDER_GENUINE },
	{ .name = "our clock +299 s", .ahead_s = 299, .want = PROVIDER_GENUINE },
	{ .name = "our clock +300 s", .ahead_s = 300, .want = PROVIDER_GENUINE },
	{ .name = "a year late", .ahead_s = 31536000, .want = PROVIDER_FORGED },
	{ .name = "a year early", .ahead_s = -31536000, .want = PROVIDER_FORGED },
	{ .name = "our clock at the end of time", .ahead_s = INT64_MAX / 4, .want = PROVIDER_FORGED },
	{ .name = "our clock at 0", .ahead_s = -1614265330, .want = PROVIDER_FORGED },

	/* odd numbers */
	{ .name = "time: empty", .timestamp = "", .want = PROVIDER_FORGED },
	{ .name = "time: blank before", .timestamp = " 1614265330", .want = PROVIDER_FORGED },
	{ .name = "time: blank after", .timestamp = "1614265330 ", .want = PROVIDER_FORGED },
	{ .name = "time: tab after", .timestamp = "1614265330\t", .want = PROVIDER_FORGED },
	{ .name = "time: line feed after", .timestamp = "1614265330\n", .want = PROVIDER_FORGED },
	{ .name = "time: plus sign", .timestamp = "+1614265330", .want = PROVIDER_FORGED },
	{ .name = "time: leading zero", .timestamp = "01614265330", .want = PROVIDER_FORGED },
	{ .name = "time: hexadecimal", .timestamp = "0x60378832", .want = PROVIDER_FORGED },
	{ .name = "time: octal", .timestamp = "014015704062", .want = PROVIDER_FORGED },
	{ .name = "time: exponent", .timestamp = "1.614265330e9", .want = PROVIDER_FORGED },
	{ .name = "time: half a second", .timestamp = "1614265330.5", .want = PROVIDER_FORGED },
	{ .name = "time: thousands", .timestamp = "1,614,265,330", .want = PROVIDER_FORGED },
	{ .name = "time: underscores", .timestamp = "1_614_265_330", .want = PROVIDER_FORGED },
	{ .name = "time: twice", .timestamp = "1614265330 1614265330", .want = PROVIDER_FORGED },
	{ .name = "time: list", .timestamp = "1614265330,1614265330", .want = PROVIDER_FORGED },
	{ .name = "time: milliseconds", .timestamp = "1614265330000", .want = PROVIDER_FORGED },
	{ .name = "time: microseconds", .timestamp = "1614265330000000", .want = PROVIDER_FORGED },
	{ .name = "time: zero", .timestamp = "0", .want = PROVIDER_FORGED },
	{ .name = "time: minus one", .timestamp = "-1", .want = PROVIDER_FORGED },
	{ .name = "time: not a number", .timestamp = "NaN", .want = PROVIDER_FORGED },
	{ .name = "time: infinity", .timestamp = "Infinity", .want = PROVIDER_FORGED },
	{ .name = "time: 2^62", .timestamp = "4611686018427387904", .want = PROVIDER_FORGED },
	{ .name = "time: 2^63 - 1", .timestamp = "9223372036854775807", .want = PROVIDER_FORGED },
	{ .name = "time: 2^63", .timestamp = "9223372036854775808", .want = PROVIDER_FORGED },
	{ .name = "time: 2^64 + the time", .timestamp = "18446744075323816946", .want = PROVIDER_FORGED },
	{ .name = "time: 100 digits", .timestamp = "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999", .want = PROVIDER_FORGED },
	{ .name = "time: null", .timestamp = "null", .want = PROVIDER_FORGED },
	{ .name = "time: ISO 8601", .timestamp = "2021-02-25T15:02:10Z", .want = PROVIDER_FORGED },
	{ .name = "time: HTTP date", .timestamp = "Thu, 25 Feb 2021 15:02:10 GMT", .want = PROVIDER_FORGED },
	{ .name = "time: a second later than signed", .timestamp = "1614265331", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "time: full-width digits", .timestamp = "\xef\xbc\x91\xef\xbc\x96", .want = PROVIDER_FORGED },

	/* ids */
	{ .name = "empty id", .id = "", .want = PROVIDER_FORGED },
	{ .name = "id with a blank", .id = "a b", .want = PROVIDER_FORGED },
	{ .name = "id with a tab", .id = "a\tb", .want = PROVIDER_FORGED },
	{ .name = "id with a line feed", .id = "a\nb", .want = PROVIDER_FORGED },
	{ .name = "id with a control character", .id = "a\x01", .want = PROVIDER_FORGED },
	{ .name = "id beyond ASCII", .id = "caf\xc3\xa9", .want = PROVIDER_FORGED },
	{ .name = "id of other case", .id = "msg_p5jXN8AQM9LWM0D4loKWxJeK", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "id with more", .id = "msg_p5jXN8AQM9LWM0D4loKWxJekk", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "id cut short", .id = "msg_p5jXN8AQM9LWM0D4loKWxJe", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "id of 255 bytes", .id = LETTERS_255, .signature = "v1,835aEhSwP8jwiXO+XpkJsQ5LECqGIXuNZUx7OSm6dJo=", .want = PROVIDER_GENUINE },
	{ .name = "id of 256 bytes", .id = LETTERS_255 "i", .signature = "v1,UmyRTXjCa1YCWwWsGfb7lz82LUgjm53UXPHNecotoio=", .want = PROVIDER_FORGED },
	{ .name = "id of 64 KiB", .id = HUGE, .want = PROVIDER_FORGED },
	{ .name = "one signature, read as it was meant", .id = "m", .signature = "v1,Dzn61E5lNyJHS3LP928/gMKV/G2ToED9yW3lQJ8p1BQ=", .body = BODY("1614265331.x"), .want = PROVIDER_GENUINE },
	{ .name = "one signature, cut at another full stop", .id = "m.1614265330", .timestamp = "1614265331", .signature = "v1,Dzn61E5lNyJHS3LP928/gMKV/G2ToED9yW3lQJ8p1BQ=", .body = BODY("x"), .want = PROVIDER_FORGED },

	/* lists of signatures */
	{ .name = "first of two", .signature = GOOD " v1," WRONG, .want = PROVIDER_GENUINE },
	{ .name = "last of two", .signature = "v1," WRONG " " GOOD, .want = PROVIDER_GENUINE },
	{ .name = "twice the same", .signature = GOOD " " GOOD, .want = PROVIDER_GENUINE },
	{ .name = "blanks around", .signature = "  " GOOD "  ", .want = PROVIDER_GENUINE },
	{ .name = "blanks between", .signature = "v1," WRONG "   " GOOD, .want = PROVIDER_GENUINE },
	{ .name = "after an unknown version", .signature = "v1a,AAAA v9,x " GOOD, .want = PROVIDER_GENUINE },
	{ .name = "after what has no form", .signature = "v1, v1 x , ,, v1,= " GOOD, .want = PROVIDER_GENUINE },
	{ .name = "joined by a comma", .signature = "v1," WRONG "," GOOD, .want = PROVIDER_FORGED },
	{ .name = "joined by a tab", .signature = "v1," WRONG "\t" GOOD, .want = PROVIDER_FORGED },
	{ .name = "joined by a semicolon", .signature = "v1," WRONG ";" GOOD, .want = PROVIDER_FORGED },
	{ .name = "empty signature", .signature = "", .want = PROVIDER_FORGED },
	{ .name = "blanks only", .signature = "   ", .want = PROVIDER_FORGED },
	{ .name = "version without comma", .signature = "v1", .want = PROVIDER_FORGED },
	{ .name = "commas only", .signature = ",,,,", .want = PROVIDER_FORGED },
	{ .name = "label in capitals", .signature = "V1," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "label v11", .signature = "v11," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "label v1a", .signature = "v1a," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "label v0", .signature = "v0," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "label with equals sign", .signature = "v1=" RIGHT, .want = PROVIDER_FORGED },
	{ .name = "label with colon", .signature = "v1:" RIGHT, .want = PROVIDER_FORGED },
	{ .name = "blank behind the comma", .signature = "v1, " RIGHT, .want = PROVIDER_FORGED },
	{ .name = "two commas", .signature = "v1,," RIGHT, .want = PROVIDER_FORGED },
	{ .name = "no padding", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", .want = PROVIDER_FORGED },
	{ .name = "more padding", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE===", .want = PROVIDER_FORGED },
	{ .name = "URL alphabet", .signature = "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=", .want = PROVIDER_FORGED },
	{ .name = "hexadecimal digest", .signature = "v1,83484cf52b04f8e4cf2531adfed9882ad4b2665137b852442d594d20e2c9d4e1", .want = PROVIDER_FORGED },
	{ .name = "31 bytes", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1A==", .want = PROVIDER_FORGED },
	{ .name = "33 bytes", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OEA", .want = PROVIDER_FORGED },
	{ .name = "64 bytes", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OGDSEz1KwT45M8lMa3+2Ygq1LJmUTe4UkQtWU0g4snU4Q==", .want = PROVIDER_FORGED },
	{ .name = "other spelling of the last bits", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=", .want = PROVIDER_FORGED },
	{ .name = "one bit of the first byte", .signature = "v1,gkhM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "one bit of the middle byte", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtWyZlE3uFJELVlNIOLJ1OE=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "one bit of the last byte", .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OU=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "all zeros", .signature = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "SHA-1 of the same", .signature = "v1,nLII/83MyaPcuxB/WdA7EkMxDsE=", .want = PROVIDER_FORGED },
	{ .name = "of the body alone", .signature = "v1,4stPUlFXJTnUWL+4p621M7CIAeanlEZ+Bvdx3ruwgYs=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "by the secret as text", .signature = "v1,TcxlhK9b6UD6iVI1ZU2tTqp8PEVfYRseNNfa6b+LcUg=", .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "header of 64 KiB", .signature = HUGE, .want = PROVIDER_FORGED },
	{ .name = "32nd in the list", .signature = OTHERS_31 GOOD, .want = PROVIDER_GENUINE },
	{ .name = "33rd in the list", .signature = OTHERS_31 "v2 " GOOD, .want = PROVIDER_FORGED },

	/* rotation and keys */
	{ .name = "new secret, old one still there", .keys = { OLD, PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "old secret still in use", .keys = { PREFIXED, OLD }, .want = PROVIDER_GENUINE },
	{ .name = "signed with both, we know the new one", .signature = "v1,78nXHjpFP0tVJQW5D0SBwmVyyW87BV/rL6MgfM/Bw44= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", .keys = { PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "signed with both, we know the old one", .signature = "v1,78nXHjpFP0tVJQW5D0SBwmVyyW87BV/rL6MgfM/Bw44= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", .keys = { OLD }, .want = PROVIDER_GENUINE },
	{ .name = "signed with both, we know none", .signature = "v1,78nXHjpFP0tVJQW5D0SBwmVyyW87BV/rL6MgfM/Bw44= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", .keys = { THIRD }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "rotated away", .keys = { OLD }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "rotated twice", .keys = { OLD, THIRD }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "no keys", .keys = { NONE }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "a bad key before the right one", .keys = { "whsec_!not base64", PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "an empty key before the right one", .keys = { "whsec_", PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "the fourth key", .keys = { OLD, THIRD, "x y", PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "the same key twice", .keys = { PREFIXED, PREFIXED }, .want = PROVIDER_GENUINE },
	{ .name = "key: one character", .keys = { "whsec_A" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: a blank", .keys = { "a b" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: prefix twice", .keys = { "whsec_whsec_" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: prefix in capitals", .keys = { "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: public key", .keys = { "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: private key", .keys = { "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: URL alphabet", .keys = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-" }, .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "key: one byte off", .keys = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx" }, .want = PROVIDER_KEY_UNKNOWN },

	/* headers */
	{ .name = "two ids", .doubled = 1, .want = PROVIDER_FORGED },
	{ .name = "two timestamps", .doubled = 2, .want = PROVIDER_FORGED },
	{ .name = "two signatures", .doubled = 3, .want = PROVIDER_FORGED },
	{ .name = "none of them", .only = NO_HEADERS, .want = PROVIDER_UNSIGNED },
	{ .name = "others only", .only = OTHER_HEADERS, .want = PROVIDER_UNSIGNED },
	{ .name = "the id alone", .only = 1, .want = PROVIDER_FORGED },
	{ .name = "the timestamp alone", .only = 2, .want = PROVIDER_FORGED },
	{ .name = "the signature alone", .only = 3, .want = PROVIDER_FORGED },
	{ .name = "under another name", .foreign = true, .want = PROVIDER_UNSIGNED },

	/* bodies */
	{ .name = "body: a byte less", .body = BODY("{\"test\": 2432232314"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: a byte more", .body = BODY("{\"test\": 2432232314} "), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: a line feed more", .body = BODY("{\"test\": 2432232314}\n"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: written anew", .body = BODY("{\"test\":2432232314}"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: another number", .body = BODY("{\"test\": 2432232315}"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: a member more", .body = BODY("{\"test\": 2432232314, \"a\": 1}"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: none", .body = BODY(""), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: a NUL in it, signed", .signature = "v1,OCz/PmGBdMa0Av1gDdWl33myIh8dApC6qlZDpRISdA8=", .body = BODY("a\0b"), .want = PROVIDER_GENUINE },
	{ .name = "body: cut at its NUL", .signature = "v1,OCz/PmGBdMa0Av1gDdWl33myIh8dApC6qlZDpRISdA8=", .body = BODY("a"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: other bytes behind the NUL", .signature = "v1,OCz/PmGBdMa0Av1gDdWl33myIh8dApC6qlZDpRISdA8=", .body = BODY("a\0c"), .want = PROVIDER_KEY_UNKNOWN },
	{ .name = "body: no UTF-8, signed", .signature = "v1,dnDi5GZ3Te6lvRJ+A/l7mt41DfmU9c0vC3pjxJYxUg8=", .body = BODY("\xff\xfe"), .want = PROVIDER_GENUINE },
	/* clang-format on */
};

static char huge[HUGE_BYTES];

/* A delivery as it is checked. */
struct delivery {
	struct http_header header[8];
	struct provider_key key[KEYS];
	struct provider_webhook webhook;
};

static const char *pick(const char *changed, const char *usual)
{
	if (changed == HUGE)
		return huge;
	return changed ? changed : usual;
}

static void set_headers(struct delivery *delivery, const struct test_case *test)
{
	const struct vector *vector = &vectors[test->vector];
	struct http_header *header = delivery->header;

	header[0] = (struct http_header){ "Content-Type", "application/json" };
	header[1] = (struct http_header){ "Webhook-Id",
					  pick(test->id, vector->id) };
	header[2] = (struct http_header){
		"webhook-timestamp", pick(test->timestamp, vector->timestamp)
	};
	header[3] = (struct http_header){
		"WEBHOOK-SIGNATURE", pick(test->signature, vector->signature)
	};
	delivery->webhook.header_count = 4;
	for (size_t i = 1; i <= 3; i++) {
		bool other = test->only != 0 && test->only != (int)i;

		if (other || header[i].value == ABSENT)
			header[i].name = "x-other";
	}
	if (test->foreign) {
		header[1].name = "svix-id";
		header[2].name = "svix-timestamp";
		header[3].name = "svix-signature";
	}
	if (test->doubled)
		header[delivery->webhook.header_count++] =
			header[test->doubled];
	if (test->only == NO_HEADERS)
		delivery->webhook.header_count = 0;
}

static void set_up(struct delivery *delivery, const struct test_case *test)
{
	const struct vector *vector = &vectors[test->vector];

	*delivery = (struct delivery){
		.webhook = {
			.body = vector->body,
			.body_bytes = strlen(vector->body),
			.now_unix_s = vector->now_unix_s + test->ahead_s,
		},
	};
	set_headers(delivery, test);
	if (test->body.bytes) {
		delivery->webhook.body = test->body.bytes;
		delivery->webhook.body_bytes = test->body.size;
	}
	delivery->key[0].key = vector->secret;
	delivery->webhook.key_count = 1;
	for (size_t i = 0; i < KEYS && test->keys[i]; i++) {
		delivery->key[i] = (struct provider_key){ "", test->keys[i] };
		delivery->webhook.key_count = test->keys[i] == NONE ? 0 : i + 1;
	}
}

static enum provider_verdict verify(struct delivery *delivery,
				    struct arena *arena,
				    const char **ret_delivery_id)
{
	delivery->webhook.header = delivery->header;
	delivery->webhook.key = delivery->key;
	*ret_delivery_id = "untouched";
	return standard_webhooks_verify(&delivery->webhook, arena,
					ret_delivery_id);
}

static void every_case_ends_as_it_should(void **state)
{
	(void)state;
	assert_true(COUNT_OF(cases) >= 100);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena =
			arena_new(ARENA_BYTES);
		struct delivery delivery;
		const char *id;

		set_up(&delivery, &cases[i]);
		CHECK_NUMBER(cases[i].name, verify(&delivery, arena, &id),
			     cases[i].want);
		/* The id is told only where it is to be trusted. */
		CHECK_TEXT(cases[i].name, id,
			   cases[i].want == PROVIDER_GENUINE
				   ? delivery.header[1].value
				   : NULL);
	}
}

/* What is genuine is so for all of it: any other byte anywhere in what was
 * signed, in the signature or in the secret, and it is not. */
static void every_byte_counts(void **state)
{
	static const struct test_case usual = { .name = "usual" };
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
	char text[5][128];
	struct delivery delivery;
	const char *id;

	(void)state;
	set_up(&delivery, &usual);
	for (size_t part = 0; part < COUNT_OF(text); part++) {
		const char *from = part == 0   ? delivery.webhook.body
				   : part == 4 ? SECRET
					       : delivery.header[part].value;
		size_t length = strlen(from);

		(void)snprintf(text[part], sizeof(text[part]), "%s", from);
		for (size_t at = 0; at < length; at++) {
			struct delivery other = delivery;

			text[part][at] ^= 1;
			if (part == 0)
				other.webhook.body = text[0];
			else if (part == 4)
				other.key[0].key = text[4];
			else
				other.header[part].value = text[part];
			assert_int_not_equal(verify(&other, arena, &id),
					     PROVIDER_GENUINE);
			assert_null(id);
			text[part][at] ^= 1;
		}
	}
	assert_int_equal(verify(&delivery, arena, &id), PROVIDER_GENUINE);
}

/* An empty key would make everybody's signature right: HMAC takes one. */
static void an_empty_key_is_no_key(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);

	(void)state;
	assert_false(standard_webhooks_is_key("", arena));
	assert_false(standard_webhooks_is_key("whsec_", arena));
	assert_false(standard_webhooks_is_key("whsec_=", arena));
	assert_false(
		standard_webhooks_is_key("whsec_MfKQ9r8GKYqrTwjU-_", arena));
	assert_true(standard_webhooks_is_key(vectors[0].secret, arena));
}

static void too_little_memory_is_never_genuine_nor_forged(void **state)
{
	static const struct test_case usual = { .name = "usual" };
	bool genuine = false;

	(void)state;
	for (size_t bytes = 0; !genuine; bytes++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(bytes);
		struct delivery delivery;
		enum provider_verdict verdict;
		const char *id;

		set_up(&delivery, &usual);
		verdict = verify(&delivery, arena, &id);
		genuine = verdict == PROVIDER_GENUINE;
		if (!genuine)
			assert_int_equal(verdict, PROVIDER_KEY_UNKNOWN);
		assert_true(bytes < 4096);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_case_ends_as_it_should),
		cmocka_unit_test(every_byte_counts),
		cmocka_unit_test(an_empty_key_is_no_key),
		cmocka_unit_test(too_little_memory_is_never_genuine_nor_forged),
	};

	memset(huge, 'v', sizeof(huge) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
