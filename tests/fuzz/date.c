/* SPDX-License-Identifier: MIT */
/*
 * Retry-After and RFC 3339 times, against the C library's calendar. Input: 4
 * bytes of "now" in minutes since 1970, then the text.
 */
#include "common/base/arena.h"
#include "common/model/limits.h"
#include "common/model/retry_after.h"
#include "common/provider/wire.h"
#include "tests/fuzz/fuzz.h"

#include <time.h>

enum { UNTOUCHED = -4711 };

/* The same date read by strptime(), which takes more than we do. */
static bool libc_date(const char *text, int64_t now_unix_s, int64_t *ret)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT",
		"%a %b %e %H:%M:%S %Y",
	};

	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		struct tm tm = { .tm_year = 0 };
		const char *end = strptime(text, forms[i], &tm);
		time_t now = now_unix_s;
		struct tm now_tm;

		if (!end || *end != '\0')
			continue;
		/* The century of two digits is ours to choose. */
		if (i == 1 && gmtime_r(&now, &now_tm)) {
			tm.tm_year =
				now_tm.tm_year / 100 * 100 + tm.tm_year % 100;
			if (tm.tm_year > now_tm.tm_year + 50)
				tm.tm_year -= 100;
		}
		*ret = timegm(&tm);
		return true;
	}
	return false;
}

static void check_retry_after(const char *text, int64_t now_unix_s)
{
	int64_t ms = UNTOUCHED, later_ms = UNTOUCHED, then_unix_s;
	bool taken = retry_after_parse(text, now_unix_s, &ms);

	HOLDS(taken || ms == UNTOUCHED);
	if (!taken)
		return;
	HOLDS(ms >= 0 && ms <= LIMIT_RETRY_AFTER_S * INT64_C(1000));
	/* Time passes: the wait never grows by it. */
	HOLDS(retry_after_parse(text, now_unix_s + 1, &later_ms));
	/* Seconds, as fal says them with a fraction; never undercut. */
	if (strspn(text, "0123456789.") == strlen(text)) {
		HOLDS(later_ms == ms);
		HOLDS(ms == LIMIT_RETRY_AFTER_S * INT64_C(1000) ||
		      (double)(ms + 1) >= strtod(text, NULL) * 1000);
		return;
	}
	HOLDS(ms % 1000 == 0);
	HOLDS(libc_date(text, now_unix_s, &then_unix_s));
	then_unix_s -= now_unix_s;
	if (then_unix_s < 0)
		then_unix_s = 0;
	if (then_unix_s > LIMIT_RETRY_AFTER_S)
		then_unix_s = LIMIT_RETRY_AFTER_S;
	HOLDS(ms == then_unix_s * 1000);
}

/* The day it names, or nothing that a calendar has not got. */
static void check_rfc3339(const char *text)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1000);
	int64_t unix_ms = UNTOUCHED, again_ms = UNTOUCHED;
	int year, month, day, hour, minute, second;
	const char *written;
	struct tm tm, back;
	time_t midnight;

	if (!wire_parse_time(text, &unix_ms)) {
		HOLDS(unix_ms == UNTOUCHED);
		return;
	}
	HOLDS(sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &year, &month, &day,
		     &hour, &minute, &second) == 6);
	tm = (struct tm){
		.tm_year = year - 1900,
		.tm_mon = month - 1,
		.tm_mday = day,
	};
	midnight = timegm(&tm);
	HOLDS(gmtime_r(&midnight, &back));
	HOLDS(back.tm_mday == day && back.tm_mon == month - 1);
	/* A zone moves it by less than a day. */
	HOLDS(llabs(unix_ms - (midnight * INT64_C(1000) +
			       ((hour * 60 + minute) * 60 + second) * 1000)) <
	      24 * 60 * 60 * INT64_C(1000));

	if (unix_ms < 0 || unix_ms > INT64_C(253402300799999))
		return;
	written = wire_time(unix_ms, arena);
	HOLDS(written && wire_parse_time(written, &again_ms));
	HOLDS(again_ms == unix_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	int64_t now_unix_s = 0;
	char *text;
	size_t length;

	for (int i = 0; i < 4; i++)
		now_unix_s = now_unix_s << 8 | input_byte(&input);
	/* from 1970 to 2225 */
	now_unix_s = now_unix_s % (255 * INT64_C(525960)) * 60;
	text = input_rest(&input, &length);
	check_retry_after(text, now_unix_s);
	check_rfc3339(text);
	free(text);
	return 0;
}
