/* SPDX-License-Identifier: MIT */
#include "common/provider/wire.h"

#include <string.h>

/*
 * Times as providers write them, by arithmetic alone: gmtime_r() looks at
 * the environment, and timegm() takes the 31st of February.
 */

enum { DAY_MS = 24 * 60 * 60 * 1000 };

/* Days from 1970-01-01 in the proleptic Gregorian calendar. Years are
 * counted from March, so that the leap day is the last of a year. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
	int64_t shifted = year - (month <= 2);
	int64_t era = shifted / 400;
	int64_t year_of_era = shifted - era * 400;
	int64_t month_of_year = month + (month > 2 ? -3 : 9);
	int64_t day_of_year = (153 * month_of_year + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 -
	       year_of_era / 100 + day_of_year - 719468;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
	return month == 12 ? 31
			   : days_from_date(year, month + 1, 1) -
				     days_from_date(year, month, 1);
}

const char *wire_time(int64_t unix_ms, struct arena *arena)
{
	int64_t clamped = unix_ms < 0 ? 0 : unix_ms;
	int64_t days = clamped / DAY_MS + 719468;
	int64_t ms = clamped % DAY_MS;
	int64_t era = days / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
			day_of_era / 146096) /
		       365;
	int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
	int64_t month_of_year = (5 * day_of_year + 2) / 153;
	int64_t day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
	int64_t month = month_of_year + (month_of_year < 10 ? 3 : -9);

	return arena_printf(arena, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
			    (int)(year + era * 400 + (month <= 2)), (int)month,
			    (int)day, (int)(ms / 3600000),
			    (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
			    (int)(ms % 1000));
}

/* Exactly that many digits; moves *text behind them. */
static bool take_number(const char **text, int digits, int64_t least,
			int64_t most, int64_t *ret)
{
	int64_t value = 0;

	for (int i = 0; i < digits; i++, (*text)++) {
		if (**text < '0' || **text > '9')
			return false;
		value = value * 10 + (**text - '0');
	}
	*ret = value;
	return value >= least && value <= most;
}

static bool take_char(const char **text, const char *any)
{
	if (**text == '\0' || !strchr(any, **text))
		return false;
	(*text)++;
	return true;
}

/* Fraction of any precision, cut to milliseconds. */
static bool take_fraction(const char **text, int64_t *ret_ms)
{
	int64_t scale = 100;
	int64_t ms = 0;

	if (**text == '.') {
		(*text)++;
		if (**text < '0' || **text > '9')
			return false;
		for (; **text >= '0' && **text <= '9'; (*text)++) {
			ms += (**text - '0') * scale;
			scale /= 10;
		}
	}
	*ret_ms = ms;
	return true;
}

static bool take_zone(const char **text, int64_t *ret_minutes)
{
	bool west = **text == '-';
	int64_t hours, minutes;

	*ret_minutes = 0;
	if (take_char(text, "Zz"))
		return true;
	if (!take_char(text, "+-") || !take_number(text, 2, 0, 23, &hours) ||
	    !take_char(text, ":") || !take_number(text, 2, 0, 59, &minutes))
		return false;
	*ret_minutes = (west ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

bool wire_parse_time(const char *text, int64_t *ret_unix_ms)
{
	int64_t year, month, day, hour, minute, second, ms, zone;

	if (!take_number(&text, 4, 1970, 9999, &year) ||
	    !take_char(&text, "-") || !take_number(&text, 2, 1, 12, &month) ||
	    !take_char(&text, "-") ||
	    !take_number(&text, 2, 1, days_in_month(year, month), &day) ||
	    !take_char(&text, "Tt ") || !take_number(&text, 2, 0, 23, &hour) ||
	    !take_char(&text, ":") || !take_number(&text, 2, 0, 59, &minute) ||
	    !take_char(&text, ":") || !take_number(&text, 2, 0, 60, &second) ||
	    !take_fraction(&text, &ms))
		return false;

	/* Some write no zone and mean UTC. */
	zone = 0;
	if (*text != '\0' && (!take_zone(&text, &zone) || *text != '\0'))
		return false;

	*ret_unix_ms = days_from_date(year, month, day) * DAY_MS +
		       ((hour * 60 + minute - zone) * 60 + second) * 1000 + ms;
	return true;
}
