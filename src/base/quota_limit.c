/*
 * The texts of a quota's limits: this server's own, Maildir++'s, and those of Dovecot's
 * passwd-file (quota_rule=, and the older quota=maildir:storage=...), so that a users file can
 * be taken over as it is. What can't be meant here (a percentage, a rule for one folder, a
 * quota that isn't enforced) is a fault, not a guess.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/quota_limit.h"

#define RULE_OCTETS 128

/* Digits. NULL: none, or beyond QUOTA_LIMIT_MAX. */
static const char *
number(const char *p, uint64_t *out)
{
    if (!isdigit((unsigned char)*p))
        return NULL;
    for (*out = 0; isdigit((unsigned char)*p); p++) {
        if (*out > QUOTA_LIMIT_MAX / 10) /* before: ten times the largest doesn't fit */
            return NULL;
        *out = *out * 10 + (uint64_t)(*p - '0');
    }
    if (*out > QUOTA_LIMIT_MAX)
        return NULL;
    return p;
}

/* Digits and perhaps a unit; `unit` octets when there's none. */
static const char *
size(const char *p, uint64_t unit, uint64_t *out)
{
    static const char letters[] = "BKMGT";
    const char *found;

    p = number(p, out);
    if (p == NULL)
        return NULL;
    found = *p != '\0' ? strchr(letters, toupper((unsigned char)*p)) : NULL;
    if (found != NULL) {
        unit = UINT64_C(1) << (10 * (found - letters));
        p++;
    }
    if (*out > QUOTA_LIMIT_MAX / unit)
        return NULL;
    *out *= unit;
    return p;
}

/* "SIZE" or "SIZE:MESSAGES". */
static int
parse_own(const char *p, struct quota_limit *out)
{
    p = size(p, 1, &out->bytes);
    if (p != NULL && *p == ':')
        p = number(p + 1, &out->messages);
    return p != NULL && *p == '\0' ? 0 : ERR_SYNTAX;
}

/* "1000000S,1000C"; `strict`: nothing else. */
static int
parse_maildir(const char *p, bool strict, struct quota_limit *out)
{
    uint64_t n;

    for (;; p++) {
        p = number(p, &n);
        if (p == NULL || !isalpha((unsigned char)*p))
            return ERR_SYNTAX;
        if (*p == 'S')
            out->bytes = n;
        else if (*p == 'C')
            out->messages = n;
        else if (strict)
            return ERR_SYNTAX;
        if (*++p == '\0')
            return 0;
        if (*p != ',')
            return ERR_SYNTAX;
    }
}

/* One word of "*:storage=1G:messages=1000". */
static int
rule_word(const char *word, struct quota_limit *out)
{
    const char *end = NULL;

    if (strncasecmp(word, "storage=", 8) == 0)
        end = size(word + 8, 1024, &out->bytes);
    else if (strncasecmp(word, "bytes=", 6) == 0)
        end = size(word + 6, 1, &out->bytes);
    else if (strncasecmp(word, "messages=", 9) == 0)
        end = number(word + 9, &out->messages);
    return end != NULL && *end == '\0' ? 0 : ERR_SYNTAX;
}

/* Behind the first word. A limit must be among them. */
static int
parse_rule(const char *text, struct quota_limit *out)
{
    char copy[RULE_OCTETS], *save = NULL, *word;
    int err = ERR_SYNTAX;

    if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy)
        return ERR_SYNTAX;
    for (word = strtok_r(copy, ":", &save); word != NULL; word = strtok_r(NULL, ":", &save)) {
        err = rule_word(word, out);
        if (err < 0)
            break;
    }
    return err;
}

int
quota_parse(const char *text, struct quota_limit *out)
{
    size_t digits = strspn(text, "0123456789");
    int err;

    memset(out, 0, sizeof *out);
    if (strncmp(text, "*:", 2) == 0)
        err = parse_rule(text + 2, out);
    else if (strncasecmp(text, "maildir:", 8) == 0)
        err = parse_rule(text + 8, out);
    else if (text[digits] == 'S' || text[digits] == 'C')
        err = parse_maildir(text, true, out);
    else
        err = parse_own(text, out);
    if (err < 0)
        memset(out, 0, sizeof *out);
    return err;
}

int
quota_parse_header(const char *text, struct quota_limit *out)
{
    int err = 0;

    memset(out, 0, sizeof *out);
    if (strcmp(text, "NOQUOTA") != 0) /* what Courier writes for none */
        err = parse_maildir(text, false, out);
    if (err < 0)
        memset(out, 0, sizeof *out);
    return err;
}

bool
quota_is_none(const struct quota_limit *l)
{
    return l->bytes == 0 && l->messages == 0;
}

void
quota_limit_text(const struct quota_limit *l, char out[QUOTA_LIMIT_SIZE])
{
    static const char units[] = {'\0', 'K', 'M', 'G', 'T'};
    uint64_t n = l->bytes;
    size_t unit = 0;
    int len;

    while (n != 0 && n % 1024 == 0 && unit + 1 < sizeof units) {
        n /= 1024;
        unit++;
    }
    len = snprintf(out, QUOTA_LIMIT_SIZE, "%llu%.1s", (unsigned long long)n, &units[unit]);
    if (l->messages != 0 && len > 0)
        snprintf(out + len, QUOTA_LIMIT_SIZE - (size_t)len, ":%llu",
                 (unsigned long long)l->messages);
}
