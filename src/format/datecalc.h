/*
 * What the two date parsers share (imapdate.c, maildate.c).
 */
#ifndef FORMAT_DATECALC_H
#define FORMAT_DATECALC_H

#include <stdbool.h>
#include <stdint.h>

/* 1 to 12 for the three letters at s, in any case; 0 if they are no month. At most three octets
   are read, and none behind a NUL. */
int date_month(const char *s);
/* Days since 1970-01-01. ERR_RANGE: no such day in the years 1 to 9999. */
int date_days(int year, int month, int day, int32_t *days);

#endif
