/*
 * Dates of IMAP; see imapdate.h. RFC 3501 9 (date, date-time). The Date: field of messages is
 * in maildate.c.
 */
#include <strings.h>
#include <time.h>

#include "base/err.h"
#include "format/datecalc.h"
#include "format/imapdate.h"

#define TIME_MIN (-INT64_C(62135596800)) /* 0001-01-01, the first that has four digits */
#define TIME_MAX INT64_C(253402300799)   /* 9999-12-31 23:59:59 */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

int
date_month(const char *s)
{
    int i;

    for (i = 0; i < 12; i++) {
        if (strncasecmp(s, months + 3 * i, 3) == 0)
            return i + 1;
    }
    return 0;
}

/* Days since 1970-01-01 of a day in the Gregorian calendar: years are counted from March, so
   that the leap day is the last of a year. */
static int32_t
days_of(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year;
    int era = y / 400, of_era = y - era * 400; /* years 0 .. 9999 only */
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int
date_days(int year, int month, int day, int32_t *days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (leap && month == 2))
        return ERR_RANGE;
    *days = days_of(year, month, day);
    return 0;
}

/* n digits, or -1. */
static int
digits(const char *s, size_t n)
{
    int value = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        value = value * 10 + (s[i] - '0');
    }
    return value;
}

/* "-Feb-2024" behind a day. */
static int
parse_month_year(const char *s, size_t len, int day, int32_t *days)
{
    int month, year;

    if (len != 9 || s[0] != '-' || s[4] != '-' || day < 0)
        return ERR_SYNTAX;
    month = date_month(s + 1);
    year = digits(s + 5, 4);
    if (month == 0 || year < 0)
        return ERR_SYNTAX;
    return date_days(year, month, day, days);
}

int
imapdate_parse_date(const char *s, size_t len, int32_t *days)
{
    size_t day_len = len == 10 ? 1 : 2;

    if (len != 10 && len != 11)
        return ERR_SYNTAX;
    return parse_month_year(s + day_len, len - day_len, digits(s, day_len), days);
}

/* " 10:00:00 +0100": seconds of the day, and of the zone. */
static int
parse_time_zone(const char *s, int32_t *seconds, int32_t *zone)
{
    int h = digits(s + 1, 2), m = digits(s + 4, 2), sec = digits(s + 7, 2);
    int zh = digits(s + 11, 2), zm = digits(s + 13, 2);

    if (s[0] != ' ' || s[3] != ':' || s[6] != ':' || s[9] != ' ' ||
        (s[10] != '+' && s[10] != '-') || h < 0 || m < 0 || sec < 0 || zh < 0 || zm < 0)
        return ERR_SYNTAX;
    if (h > 23 || m > 59 || sec > 60 || zh > 23 || zm > 59)
        return ERR_RANGE;
    *seconds = h * 3600 + m * 60 + sec;
    *zone = (zh * 3600 + zm * 60) * (s[10] == '-' ? -1 : 1);
    return 0;
}

int
imapdate_parse_datetime(const char *s, size_t len, int64_t *out)
{
    size_t day_len;
    int32_t days, seconds, zone;
    int err;

    if (len == 26 && s[0] == ' ') {
        s++; /* date-day-fixed: a blank and one digit */
        len--;
    }
    if (len != 25 && len != 26)
        return ERR_SYNTAX;
    day_len = len - 24;
    err = parse_month_year(s + day_len, 9, digits(s, day_len), &days);
    if (err < 0)
        return err;
    err = parse_time_zone(s + day_len + 9, &seconds, &zone);
    if (err < 0)
        return err;
    *out = (int64_t)days * 86400 + seconds - zone;
    return 0;
}

/* The local time of t, which is brought into the years that can be written. */
static void
local_time(int64_t t, struct tm *tm)
{
    time_t value;

    t = t < TIME_MIN + 86400 ? TIME_MIN + 86400 : t > TIME_MAX - 86400 ? TIME_MAX - 86400 : t;
    value = (time_t)t;
    localtime_r(&value, tm);
}

static void
put2(char *to, int n)
{
    to[0] = (char)('0' + n / 10 % 10);
    to[1] = (char)('0' + n % 10);
}

void
imapdate_write_datetime(int64_t t, struct buf *out)
{
    char text[28] = "\"00-Mmm-0000 00:00:00 +0000\"";
    struct tm tm;
    long zone;
    int i;

    local_time(t, &tm);
    put2(text + 1, tm.tm_mday);
    if (text[1] == '0')
        text[1] = ' '; /* date-day-fixed */
    for (i = 0; i < 3; i++)
        text[4 + i] = months[3 * tm.tm_mon + i];
    put2(text + 8, (tm.tm_year + 1900) / 100);
    put2(text + 10, (tm.tm_year + 1900) % 100);
    put2(text + 13, tm.tm_hour);
    put2(text + 16, tm.tm_min);
    put2(text + 19, tm.tm_sec);
    zone = tm.tm_gmtoff / 60;
    if (zone < 0) {
        text[22] = '-';
        zone = -zone;
    }
    put2(text + 23, (int)(zone / 60));
    put2(text + 25, (int)(zone % 60));
    buf_add(out, text, sizeof text);
}

int32_t
imapdate_local_day(int64_t t)
{
    struct tm tm;

    local_time(t, &tm);
    return days_of(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}
