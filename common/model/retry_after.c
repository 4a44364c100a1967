/* SPDX-License-Identifier: MIT */
#include "common/model/retry_after.h"

#include "common/base/macro.h"
#include "common/model/limits.h"

#include <stddef.h>
#include <string.h>

/* Reads along a text; the first thing that does not fit ends it for good,
 * so that a date can be read in one go and checked once. */
struct reader {
	const char *next;
	bool failed;
};

static void take_text(struct reader *reader, const char *text)
{
	size_t length = strlen(text);

	if (!reader->failed && strncmp(reader->next, text, length) == 0)
		reader->next += length;
	else
		reader->failed = true;
}

/* @return the place in words of the one that stands here */
static int take_word(struct reader *reader, const char *const *words,
		     size_t count)
{
	for (size_t i = 0; !reader->failed && i < count; i++) {
		size_t length = strlen(words[i]);

		if (strncmp(reader->next, words[i], length) == 0) {
			reader->next += length;
			return (int)i;
		}
	}
	reader->failed = true;
	return 0;
}

/* Exactly that many digits; a first blank counts as 0 where asctime() pads
 * a day with one. */
static int take_number(struct reader *reader, int digits, bool padded)
{
	int value = 0;

	for (int i = 0; !reader->failed && i < digits; i++) {
		char c = *reader->next;

		if (padded && i == 0 && c == ' ')
			c = '0';
		if (c < '0' || c > '9') {
			reader->failed = true;
			return 0;
		}
		value = value * 10 + (c - '0');
		reader->next++;
	}
	return value;
}

struct date {
	int year, month /* 0 to 11 */, day, hour, minute, second;
};

static const char *const short_days[] = { "Mon", "Tue", "Wed", "Thu",
					  "Fri", "Sat", "Sun" };
static const char *const long_days[] = { "Monday",   "Tuesday", "Wednesday",
					 "Thursday", "Friday",	"Saturday",
					 "Sunday" };
static const char *const months[] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	"Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
};

static int take_month(struct reader *reader)
{
	return take_word(reader, months, COUNT_OF(months));
}

static void take_time(struct reader *reader, struct date *date)
{
	date->hour = take_number(reader, 2, false);
	take_text(reader, ":");
	date->minute = take_number(reader, 2, false);
	take_text(reader, ":");
	date->second = take_number(reader, 2, false);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static struct date take_imf(struct reader *reader)
{
	struct date date = { 0 };

	(void)take_word(reader, short_days, COUNT_OF(short_days));
	take_text(reader, ", ");
	date.day = take_number(reader, 2, false);
	take_text(reader, " ");
	date.month = take_month(reader);
	take_text(reader, " ");
	date.year = take_number(reader, 4, false);
	take_text(reader, " ");
	take_time(reader, &date);
	take_text(reader, " GMT");
	return date;
}

/* Sunday, 06-Nov-94 08:49:37 GMT; the century is in complete_year() */
static struct date take_rfc850(struct reader *reader)
{
	struct date date = { 0 };

	(void)take_word(reader, long_days, COUNT_OF(long_days));
	take_text(reader, ", ");
	date.day = take_number(reader, 2, false);
	take_text(reader, "-");
	date.month = take_month(reader);
	take_text(reader, "-");
	date.year = take_number(reader, 2, false);
	take_text(reader, " ");
	take_time(reader, &date);
	take_text(reader, " GMT");
	return date;
}

/* Sun Nov  6 08:49:37 1994 */
static struct date take_asctime(struct reader *reader)
{
	struct date date = { 0 };

	(void)take_word(reader, short_days, COUNT_OF(short_days));
	take_text(reader, " ");
	date.month = take_month(reader);
	take_text(reader, " ");
	date.day = take_number(reader, 2, true);
	take_text(reader, " ");
	take_time(reader, &date);
	take_text(reader, " ");
	date.year = take_number(reader, 4, false);
	return date;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool is_real(const struct date *date)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30,
				    31, 31, 30, 31, 30, 31 };
	int last =
		days[date->month] + (date->month == 1 && is_leap(date->year));

	/* Second 60 is a leap second. */
	return date->year >= 1970 && date->day >= 1 && date->day <= last &&
	       date->hour <= 23 && date->minute <= 59 && date->second <= 60;
}

/* Not timegm(): it reads the time zone files, and this layer reads none. */
static int64_t to_unix_s(const struct date *date)
{
	static const int before[] = { 0,   31,	59,  90,  120, 151,
				      181, 212, 243, 273, 304, 334 };
	int past = date->year - 1;
	int64_t leaps = past / 4 - past / 100 + past / 400 - 477;
	int64_t days = (int64_t)(date->year - 1970) * 365 + leaps +
		       before[date->month] + date->day - 1 +
		       (date->month > 1 && is_leap(date->year));

	return days * 86400 + date->hour * 3600 + date->minute * 60 +
	       date->second;
}

/* RFC 9110, 5.6.7: a date with two digits of a year that seems to be more
 * than 50 years ahead is of the century before. */
static void complete_year(struct date *date, int64_t now_unix_s)
{
	int now_year = (int)(1970 + now_unix_s / 31556952);

	date->year += now_year / 100 * 100;
	if (date->year > now_year + 50)
		date->year -= 100;
}

static bool parse_date(const char *value, int64_t now_unix_s, int64_t *ret)
{
	static struct date (*const forms[])(
		struct reader *) = { take_imf, take_rfc850, take_asctime };

	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		struct reader reader = { .next = value };
		struct date date = forms[i](&reader);

		if (reader.failed || *reader.next != '\0')
			continue;
		if (forms[i] == take_rfc850)
			complete_year(&date, now_unix_s);
		if (!is_real(&date))
			return false;
		*ret = to_unix_s(&date);
		return true;
	}
	return false;
}

/* Any number of digits; more than we would wait for is all the same. The
 * RFC has whole seconds only, but a fraction is said by some who compute the
 * wait, and not to be understood would be to come back too early. */
static bool parse_seconds(const char *value, int64_t *ret_ms)
{
	int64_t ms = 0, part = 1000;
	size_t digits;

	digits = strspn(value, "0123456789");
	if (digits == 0)
		return false;
	for (; digits > 0; digits--, value++) {
		ms = ms * 10 + (*value - '0') * 1000;
		if (ms > LIMIT_RETRY_AFTER_S * 1000)
			ms = LIMIT_RETRY_AFTER_S * 1000;
	}
	if (*value == '.' && value[1] != '\0') {
		value++;
		digits = strspn(value, "0123456789");
		for (; digits > 0; digits--, value++) {
			part /= 10;
			ms += (*value - '0') * part;
		}
	}
	*ret_ms = ms;
	return *value == '\0';
}

bool retry_after_parse(const char *value, int64_t now_unix_s, int64_t *ret_ms)
{
	int64_t ms, then_unix_s;

	if (!parse_seconds(value, &ms)) {
		if (!parse_date(value, now_unix_s, &then_unix_s))
			return false;
		ms = then_unix_s <= now_unix_s
			     ? 0
			     : (then_unix_s - now_unix_s) * 1000;
	}
	if (ms > LIMIT_RETRY_AFTER_S * 1000)
		ms = LIMIT_RETRY_AFTER_S * 1000;
	*ret_ms = ms;
	return true;
}

int64_t retry_after_base(const char *date, int64_t now_unix_s)
{
	int64_t there_unix_s;

	return date && parse_date(date, now_unix_s, &there_unix_s)
		       ? there_unix_s
		       : now_unix_s;
}
