/*
 * Values of the configuration: from text into struct conf, by the type of the key's row, and
 * back. What a text may contain is the business of conf_check.c.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/conf_keys.h"

struct unit {
    char letter;
    uint64_t factor;
};
static const struct unit size_units[] = {
    {'G', 1024ULL * 1024 * 1024}, {'M', 1024ULL * 1024}, {'K', 1024}, {'\0', 1}};
static const struct unit time_units[] = {
    {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}, {'\0', 1}};
static const struct unit no_units[] = {{'\0', 1}};

static const char *const security_words[] = {"any", "hashed", "tls"};

static const struct unit *
units_of(enum conf_type type)
{
    switch (type) {
    case CONF_TIME:
        return time_units;
    case CONF_SIZE:
    case CONF_SMALL_SIZE:
        return size_units;
    default:
        return no_units;
    }
}

const char *
conf_type_text(enum conf_type type)
{
    switch (type) {
    case CONF_TEXT:
        return "text";
    case CONF_LIST:
        return "list";
    case CONF_NUMBER:
        return "number";
    case CONF_TIME:
        return "time";
    case CONF_SIZE:
    case CONF_SMALL_SIZE:
        return "size";
    case CONF_BOOL:
        return "yes or no";
    case CONF_SECURITY:
        return "any, hashed or tls";
    case CONF_SEPARATOR:
        return "character";
    }
    return "?";
}

/* Digits and at most one letter of the units (upper or lower case). False if it's anything
   else; what passes 64 bits counts as UINT64_MAX, which is above every range. */
static bool
parse_number(const char *s, const struct unit *units, uint64_t *out)
{
    uint64_t n = 0;

    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        n = n > (UINT64_MAX - 9) / 10 ? UINT64_MAX : n * 10 + (uint64_t)(*s - '0');
    if (s[0] != '\0' && s[1] != '\0')
        return false;
    for (;; units++) {
        if (*s == units->letter || (*s != '\0' && (*s ^ 0x20) == units->letter)) {
            *out = n > UINT64_MAX / units->factor ? UINT64_MAX : n * units->factor;
            return true;
        }
        if (units->letter == '\0')
            return false;
    }
}

/* With the largest unit that divides it. */
static void
number_text(uint64_t n, const struct unit *units, struct buf *out)
{
    while (units->letter != '\0' && (n == 0 || n % units->factor != 0))
        units++;
    buf_addu(out, n / units->factor);
    if (units->letter != '\0' && units->letter != 's')
        buf_addc(out, units->letter);
}

static void
explain_number(enum conf_type type, struct buf *why)
{
    switch (type) {
    case CONF_TIME:
        buf_adds(why, "a time: a number of seconds, or with s, m, h or d, such as 90 or 30m");
        return;
    case CONF_SIZE:
    case CONF_SMALL_SIZE:
        buf_adds(why, "a size: a number of octets, or with K, M or G, such as 4096 or 64M");
        return;
    default:
        buf_adds(why, "a number");
    }
}

static bool
set_number(void *field, const struct conf_row *row, const char *value, struct buf *why)
{
    const struct unit *units = units_of(row->type);
    uint64_t n;

    if (!parse_number(value, units, &n)) {
        buf_addf(why, "\"%.80s\" is not ", value);
        explain_number(row->type, why);
        return false;
    }
    if (n < row->min || n > row->max) {
        buf_addf(why, "%.80s is too %s: it must be ", value, n < row->min ? "small" : "large");
        number_text(row->min, units, why);
        buf_adds(why, " to ");
        number_text(row->max, units, why);
        buf_addf(why, " (default %s)", row->default_value);
        return false;
    }
    if (row->type == CONF_SIZE)
        *(size_t *)field = (size_t)n;
    else
        *(unsigned *)field = (unsigned)n;
    return true;
}

static bool
set_text(char **field, const struct conf_row *row, const char *value, struct buf *why)
{
    size_t len = strlen(value);

    if (len < row->min) {
        buf_addf(why, "must not be empty (default %s)", row->default_value);
        return false;
    }
    if (len > row->max) {
        buf_addf(why, "is too long: %zu octets, at most %u are allowed", len,
                 (unsigned)row->max);
        return false;
    }
    if (row->check != NULL && !row->check(value, why))
        return false;
    free(*field);
    *field = mem_strdup(value);
    return true;
}

static bool
set_bool(bool *field, const char *value, struct buf *why)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *field = i % 2 == 1;
            return true;
        }
    }
    buf_addf(why, "\"%.80s\" is neither yes nor no", value);
    return false;
}

static bool
set_security(enum conf_login_security *field, const char *value, struct buf *why)
{
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(value, security_words[i]) == 0) {
            *field = (enum conf_login_security)i;
            return true;
        }
    }
    buf_addf(why, "\"%.80s\" is none of any, hashed, tls", value);
    return false;
}

static bool
set_separator(char *field, const char *value, struct buf *why)
{
    if ((value[0] != '.' && value[0] != '/') || value[1] != '\0') {
        buf_addf(why, "\"%.80s\" is neither . nor /", value);
        return false;
    }
    *field = value[0];
    return true;
}

bool
conf_set(struct conf *conf, const struct conf_row *row, const char *value, struct buf *why)
{
    void *field = (char *)conf + row->offset;

    switch (row->type) {
    case CONF_TEXT:
    case CONF_LIST:
        return set_text(field, row, value, why);
    case CONF_NUMBER:
    case CONF_TIME:
    case CONF_SIZE:
    case CONF_SMALL_SIZE:
        return set_number(field, row, value, why);
    case CONF_BOOL:
        return set_bool(field, value, why);
    case CONF_SECURITY:
        return set_security(field, value, why);
    case CONF_SEPARATOR:
        return set_separator(field, value, why);
    }
    return false;
}

void
conf_value_text(const struct conf *conf, const struct conf_row *row, struct buf *out)
{
    const void *field = (const char *)conf + row->offset;

    switch (row->type) {
    case CONF_TEXT:
    case CONF_LIST:
        buf_adds(out, *(char *const *)field);
        return;
    case CONF_NUMBER:
    case CONF_TIME:
    case CONF_SMALL_SIZE:
        number_text(*(const unsigned *)field, units_of(row->type), out);
        return;
    case CONF_SIZE:
        number_text(*(const size_t *)field, units_of(row->type), out);
        return;
    case CONF_BOOL:
        buf_adds(out, *(const bool *)field ? "yes" : "no");
        return;
    case CONF_SECURITY:
        buf_adds(out, security_words[*(const enum conf_login_security *)field]);
        return;
    case CONF_SEPARATOR:
        buf_addc(out, *(const char *)field);
        return;
    }
}
