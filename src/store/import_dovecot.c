/*
 * Dovecot's dovecot-uidlist.
 *
 *   version 1   1 <uidvalidity> <next uid>              <uid> <file name>
 *   version 3   3 V<uidvalidity> N<next uid> G<guid>    <uid> [<field> ...] :<file name>
 *
 * Fields are a letter and a value without blanks, in any order: P the POP3 UIDL, W the size on
 * the wire, S the file's size; others mean nothing to us. Lines are appended in between without
 * a new header, so the last UID may be above the header's next one. Version 2 was only in test
 * releases, and isn't read.
 */
#include <string.h>

#include "store/import_private.h"

static bool
is_guid(const char *s, size_t len)
{
    return len == 32 && strspn(s, "0123456789abcdef") >= 32;
}

/* "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1" behind the version. */
static bool
header_fields(struct import *imp, const char *s)
{
    uint64_t uidvalidity = 0, uidnext = 0;
    const char *value;
    size_t len;

    while (*s != '\0') {
        if (*s == ' ') {
            s++;
            continue;
        }
        len = strcspn(s, " ");
        value = s + 1;
        if (*s == 'V' && (!import_number(&value, &uidvalidity) || value != s + len))
            return false;
        if (*s == 'N' && (!import_number(&value, &uidnext) || value != s + len))
            return false;
        if (*s == 'G' && is_guid(value, len - 1))
            memcpy(imp->guid, value, 32);
        s += len;
    }
    return import_header(imp, uidvalidity, uidnext);
}

/* The fields of a line of version 3, and its name. */
static bool
line_fields(struct import *imp, uint64_t uid, const char *s)
{
    char other[IMPORT_LINE_MAX + 1];
    const char *uidl = NULL, *number;
    uint64_t crlf_size = MDNAME_SIZE_UNKNOWN;
    size_t len, uidl_len = 0, other_len = 0;
    struct import_entry *e;

    for (; *s != ':'; s += len) {
        if (*s == '\0')
            return false;
        len = *s == ' ' ? 1 : strcspn(s, " ");
        number = s + 1;
        if (*s == 'P') {
            uidl = s + 1;
            uidl_len = len - 1;
        } else if (*s == 'W') {
            if (!import_number(&number, &crlf_size) || number != s + len)
                crlf_size = MDNAME_SIZE_UNKNOWN;
        } else if (*s != 'S' && *s != ' ') {
            if (other_len > 0)
                other[other_len++] = ' ';
            memcpy(other + other_len, s, len); /* never more than the line */
            other_len += len;
        }
    }
    e = import_listed(imp, uid, s + 1, strlen(s + 1));
    if (e == NULL)
        return false;
    e->crlf_size = crlf_size;
    if (uidl != NULL && import_uidl_ok(uidl, uidl_len))
        e->uidl = import_text(imp, uidl, uidl_len);
    if (other_len > 0)
        e->other = import_text(imp, other, other_len);
    return true;
}

bool
import_dovecot_line(struct import *imp, char *line, size_t len, unsigned long number,
                    bool *stop)
{
    const char *s = line;
    uint64_t uid;

    (void)len;
    if (number == 1) {
        if (strncmp(s, "3 ", 2) == 0)
            *stop = !header_fields(imp, s + 2);
        else
            *stop = strncmp(s, "1 ", 2) != 0 || !import_header_numbers(imp, s + 2);
        imp->version = s[0];
        return !*stop;
    }
    if (!import_number(&s, &uid) || *s != ' ')
        return false;
    s++;
    return imp->version == '3' ? line_fields(imp, uid, s)
                               : import_listed(imp, uid, s, strlen(s)) != NULL;
}
