/*
 * The Date: field of messages: maildate_parse() of imapdate.h. RFC 5322 3.3, and 4.3 for what
 * old programs wrote: two-digit years, names of zones, comments anywhere, no weekday, no
 * seconds.
 *
 * The field is read token by token, comments and blanks skipped; a token is a run of letters, a
 * run of digits, or one other octet. What follows the zone isn't looked at. It doesn't check
 * the weekday: programs get it wrong, and the date is what counts.
 */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/datecalc.h"
#include "format/imapdate.h"

struct reader {
    const char *s;
    size_t len, i;
    /* the token */
    const char *text;
    size_t text_len;
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Comments may nest, and have quoted pairs (RFC 5322 3.2.2). */
static void
skip_comment(struct reader *r)
{
    size_t depth = 0;

    for (; r->i < r->len; r->i++) {
        if (r->s[r->i] == '\\')
            r->i++;
        else if (r->s[r->i] == '(')
            depth++;
        else if (r->s[r->i] == ')' && --depth == 0) {
            r->i++;
            return;
        }
    }
    r->i = r->len;
}

/* Moves to the next token; text_len is 0 at the end. */
static void
next(struct reader *r)
{
    bool (*same)(char) = NULL;

    while (r->i < r->len) {
        if (r->s[r->i] == '(')
            skip_comment(r);
        else if (strchr(" \t\r\n", r->s[r->i]) != NULL)
            r->i++; /* a NUL counts as blank too */
        else
            break;
    }
    r->text = r->s + r->i;
    r->text_len = 0;
    if (r->i >= r->len)
        return;
    same = is_digit(*r->text) ? is_digit : is_letter(*r->text) ? is_letter : NULL;
    do {
        r->i++;
        r->text_len++;
    } while (same != NULL && r->i < r->len && same(r->s[r->i]));
}

static bool
at_char(const struct reader *r, char c)
{
    return r->text_len == 1 && r->text[0] == c;
}

static bool
at_digits(const struct reader *r)
{
    return r->text_len > 0 && is_digit(r->text[0]);
}

/* A number of at most max_digits, and the next token. -1 if there's none. */
static int
number(struct reader *r, size_t max_digits)
{
    int value = 0;
    size_t i;

    if (!at_digits(r) || r->text_len > max_digits)
        return -1;
    for (i = 0; i < r->text_len; i++)
        value = value * 10 + (r->text[i] - '0');
    next(r);
    return value;
}

static void
skip_char(struct reader *r, char c)
{
    if (at_char(r, c))
        next(r);
}

/* RFC 5322 4.3: two digits up to 49 are of this century, other short years of the last. */
static int
full_year(int year, size_t len)
{
    if (len <= 2)
        return year < 50 ? year + 2000 : year + 1900;
    return len == 3 ? year + 1900 : year;
}

/* "Thu, 13 Feb 1969", the weekday optional. */
static int
read_date(struct reader *r, int32_t *days)
{
    int day, month, year;
    size_t year_len;

    next(r);
    if (r->text_len > 0 && is_letter(r->text[0])) {
        next(r);
        skip_char(r, ',');
    }
    day = number(r, 2);
    skip_char(r, '-'); /* 13-Feb-69, from before RFC 822 */
    month = r->text_len >= 3 ? date_month(r->text) : 0;
    if (day < 0 || month == 0)
        return ERR_SYNTAX;
    next(r);
    skip_char(r, '.');
    skip_char(r, '-');
    year_len = r->text_len;
    year = number(r, 4);
    if (year < 0 || year_len < 2)
        return ERR_SYNTAX;
    return date_days(full_year(year, year_len), month, day, days) < 0 ? ERR_SYNTAX : 0;
}

/* "23:32" or "23:32:15". */
static int
read_time(struct reader *r, int32_t *seconds)
{
    int h, m, s = 0;

    *seconds = 0;
    if (!at_digits(r))
        return 0; /* the day alone is worth having */
    h = number(r, 2);
    if (h < 0 || !at_char(r, ':'))
        return ERR_SYNTAX;
    next(r);
    m = number(r, 2);
    if (at_char(r, ':')) {
        next(r);
        s = number(r, 2);
        if (at_char(r, '.')) { /* a fraction, which some programs add */
            next(r);
            if (at_digits(r))
                next(r);
        }
    }
    if (m < 0 || s < 0 || h > 23 || m > 59 || s > 60)
        return ERR_SYNTAX;
    *seconds = h * 3600 + m * 60 + s;
    return 0;
}

/* RFC 5322 4.3: names that mean what they say. The military letters were defined with the wrong
   sign, and other names may mean several zones: all of those count as -0000. */
static int32_t
named_zone(const char *s, size_t len)
{
    static const struct {
        const char *name;
        int hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                 {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    size_t i;

    for (i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        if (len == 3 && strncasecmp(s, zones[i].name, 3) == 0)
            return zones[i].hours * 3600;
    }
    return 0;
}

/* "+0100", also "+01:00"; a name; nothing. What isn't a zone counts as none. */
static int32_t
read_zone(struct reader *r)
{
    int32_t sign, minutes;
    int value, m;
    size_t len;

    if (r->text_len > 0 && is_letter(r->text[0]))
        return named_zone(r->text, r->text_len);
    if (!at_char(r, '+') && !at_char(r, '-'))
        return 0;
    sign = r->text[0] == '-' ? -60 : 60;
    next(r);
    len = r->text_len;
    value = number(r, 4);
    if (value < 0)
        return 0;
    minutes = len > 2 ? value / 100 * 60 + value % 100 : value * 60;
    if (len <= 2 && at_char(r, ':')) {
        next(r);
        m = number(r, 2);
        minutes += m > 0 ? m : 0;
    }
    return minutes < 24 * 60 ? minutes * sign : 0;
}

int
maildate_parse(const char *s, size_t len, int64_t *t, int32_t *day)
{
    struct reader r = {.s = s, .len = len};
    int32_t days, seconds;
    int err = read_date(&r, &days);

    if (err == 0)
        err = read_time(&r, &seconds);
    if (err < 0)
        return err;
    *t = (int64_t)days * 86400 + seconds - read_zone(&r);
    *day = days;
    return 0;
}
