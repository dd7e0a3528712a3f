/*
 * Dates of IMAP (RFC 3501 9: date, date-time) and RFC 5322 3.3.
 */
#ifndef FORMAT_IMAPDATE_H
#define FORMAT_IMAPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* " 1-Feb-2024 10:00:00 +0100" or "01-Feb-...": seconds since 1970. 0, ERR_SYNTAX, ERR_RANGE.
 * Leap second 60 accepted. */
int imapdate_parse_datetime(const char *s, size_t len, int64_t *out);
/* "17-Nov-2024" (quotes already removed): days since 1970-01-01. */
int imapdate_parse_date(const char *s, size_t len, int32_t *days);
/* Writes the 28 octets "\"17-Jul-1996 02:44:25 -0700\"" with quotes, in the local zone. */
void imapdate_write_datetime(int64_t t, struct buf *out);
/* The day of a time in the local zone, days since 1970-01-01 (SEARCH SINCE, BEFORE, ON). */
int32_t imapdate_local_day(int64_t t);
/* RFC 5322 Date: field, obsolete forms and comments too. *t: seconds since 1970; *day: the day
 * as written, zone ignored (SENT*). 0 or ERR_SYNTAX. */
int maildate_parse(const char *s, size_t len, int64_t *t, int32_t *day);

#endif
