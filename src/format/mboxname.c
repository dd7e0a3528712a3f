/*
 * Mailbox names and LIST patterns; see mboxname.h. RFC 3501 5.1, 6.3.8. The conversion of
 * modified UTF-7 is in mutf7.c.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/err.h"
#include "format/mboxname.h"

#define INBOX     "INBOX"
#define INBOX_LEN 5

/* Does the name begin with INBOX, in any case, as a whole level? */
static bool
inbox_first(const char *name, size_t len, char separator)
{
    return len >= INBOX_LEN && strncasecmp(name, INBOX, INBOX_LEN) == 0 &&
           (len == INBOX_LEN || name[INBOX_LEN] == separator);
}

/* Takes the prefix off. ERR_NOENT if the name isn't under it. */
static int
skip_prefix(const struct mboxname_rules *r, const char **name, size_t *len)
{
    size_t n = strlen(r->prefix), same = 0;

    if (n == 0)
        return 0;
    if (*len < n)
        return ERR_NOENT;
    if (inbox_first(r->prefix, n, r->separator) && strncasecmp(*name, INBOX, INBOX_LEN) == 0)
        same = INBOX_LEN;
    if (memcmp(*name + same, r->prefix + same, n - same) != 0)
        return ERR_NOENT;
    *name += n;
    *len -= n;
    return 0;
}

/* One level: not empty, no control characters, nothing that a path or Maildir++ would read
   otherwise. */
static int
check_level(const char *s, size_t len, char separator)
{
    size_t i;

    if (len == 0 || (len == 1 && s[0] == '~'))
        return ERR_CANNOT;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == 0x7f || c == '/' || (c == '.' && separator != '.'))
            return ERR_CANNOT;
    }
    return 0;
}

/* Writes the levels with '.' between them. */
static int
put_levels(const char *name, size_t len, char separator, struct buf *out)
{
    size_t start = 0, end;
    int err;

    for (;;) {
        for (end = start; end < len && name[end] != separator; end++)
            continue;
        err = check_level(name + start, end - start, separator);
        if (err < 0)
            return err;
        if (start == 0 && inbox_first(name, end, separator))
            buf_adds(out, INBOX);
        else
            buf_add(out, name + start, end - start);
        if (end == len)
            return 0;
        buf_addc(out, '.');
        start = end + 1;
    }
}

static int
check_utf7(const char *name, size_t len)
{
    struct buf utf8 = BUF_INIT(4 * MBOXNAME_MAX);
    int err = mutf7_to_utf8(name, len, &utf8);

    buf_free(&utf8);
    return err == ERR_LIMIT ? ERR_CANNOT : err;
}

/* A name without trailing separator that isn't INBOX itself. */
static int
convert(const struct mboxname_rules *r, const char *name, size_t len, bool strict,
        struct buf *internal)
{
    int err = skip_prefix(r, &name, &len);

    if (err < 0)
        return err;
    if (len > MBOXNAME_MAX)
        return ERR_CANNOT;
    if (len == INBOX_LEN && inbox_first(name, len, r->separator))
        return ERR_CANNOT; /* only with a prefix: it would be a second INBOX */
    err = put_levels(name, len, r->separator, internal);
    if (err < 0)
        return err;
    if (internal->len > MBOXNAME_MAX || !buf_ok(internal))
        return ERR_CANNOT;
    return strict ? check_utf7(name, len) : 0;
}

int
mboxname_from_client(const struct mboxname_rules *r, const char *name, size_t len, bool strict,
                     struct buf *internal, bool *had_trailing)
{
    bool trailing = len > 1 && name[len - 1] == r->separator;
    int err;

    buf_reset(internal);
    if (had_trailing != NULL)
        *had_trailing = trailing;
    if (trailing)
        len--;
    if (len == 0)
        return ERR_CANNOT;
    if (len == INBOX_LEN && strncasecmp(name, INBOX, INBOX_LEN) == 0) {
        buf_adds(internal, INBOX);
        return buf_ok(internal) ? 0 : ERR_CANNOT;
    }
    err = convert(r, name, len, strict, internal);
    if (err < 0)
        buf_reset(internal);
    return err;
}

/* What is modified UTF-7 already stays: "R&-D" and "R&D" are the same folder. */
static int
encode_text(const char *text, struct buf *mutf7)
{
    struct buf utf8 = BUF_INIT(4 * MBOXNAME_MAX);
    int err = mutf7_to_utf8(text, strlen(text), &utf8);

    if (err == 0)
        buf_adds(mutf7, text);
    else
        err = mutf7_from_utf8(text, strlen(text), mutf7);
    buf_free(&utf8);
    return err;
}

int
mboxname_from_text(const struct mboxname_rules *r, const char *text, struct buf *internal)
{
    const struct mboxname_rules bare = {.separator = r->separator, .prefix = ""};
    struct buf mutf7 = BUF_INIT(4 * MBOXNAME_MAX);
    int err = encode_text(text, &mutf7);

    buf_reset(internal);
    if (err == 0)
        err = mboxname_from_client(r, buf_str(&mutf7), mutf7.len, true, internal, NULL);
    if (err == ERR_NOENT) /* not under the prefix */
        err = mboxname_from_client(&bare, buf_str(&mutf7), mutf7.len, true, internal, NULL);
    buf_free(&mutf7);
    return err == ERR_LIMIT ? ERR_CANNOT : err;
}

void
mboxname_to_client(const struct mboxname_rules *r, const char *internal, struct buf *out)
{
    const char *p, *dot;

    if (strcmp(internal, INBOX) == 0) {
        buf_adds(out, internal);
        return;
    }
    buf_adds(out, r->prefix);
    for (p = internal; (dot = strchr(p, '.')) != NULL; p = dot + 1) {
        buf_add(out, p, (size_t)(dot - p));
        buf_addc(out, r->separator);
    }
    buf_adds(out, p);
}

/*
 * The patterns are matched for all prefixes of the name at once: row[j] says that the pattern
 * so far matches the first j octets of name + separator. An octet of the pattern turns one row
 * into the next, so the work is pattern * name whatever the pattern is, and nothing recurses.
 * Once the row is all false it stays so, and the rest of the pattern isn't looked at.
 */
struct matcher {
    const char *name;
    size_t len;   /* of the name */
    size_t inbox; /* so many octets are compared without regard to case */
    char separator;
    bool *row; /* len + 2 values */
};

static char
upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool
same_octet(const struct matcher *m, size_t j, char c)
{
    char own = j < m->len ? m->name[j] : m->separator;

    return own == c || (j < m->inbox && upper(own) == upper(c));
}

/* True while any prefix still matches. */
static bool
match_octet(struct matcher *m, char c)
{
    bool *row = m->row, any = false;
    size_t j;

    if (c == '*' || c == '%') {
        for (j = 0; j <= m->len + 1; j++) {
            if (!row[j] && j > 0 && row[j - 1] &&
                (c == '*' || !same_octet(m, j - 1, m->separator)))
                row[j] = true;
            any |= row[j];
        }
        return any;
    }
    for (j = m->len + 1; j > 0; j--) {
        row[j] = row[j - 1] && same_octet(m, j - 1, c);
        any |= row[j];
    }
    row[0] = false;
    return any;
}

static unsigned
run_pattern(struct matcher *m, const char *pattern)
{
    const char *p;
    bool child_possible = false;
    unsigned result = 0;
    size_t j;

    m->row[0] = true;
    for (p = pattern; *p != '\0'; p++) {
        if (!match_octet(m, *p))
            return child_possible ? MATCH_PARENT : MATCH_NO;
        /* name + separator is matched, and there is something that can match more */
        if (m->row[m->len + 1] && (p[1] != '\0' || *p == '*'))
            child_possible = true;
    }
    for (j = 1; j < m->len; j++) {
        if (m->row[j] && m->name[j] == m->separator)
            result |= MATCH_CHILD;
    }
    if (m->row[m->len])
        return result | MATCH_YES;
    return child_possible ? result | MATCH_PARENT : result;
}

unsigned
mboxname_match(const char *pattern, const char *name, char separator)
{
    bool local[MBOXNAME_MAX + 64];
    struct matcher m = {
        .name = name, .len = strlen(name), .separator = separator, .row = local};
    unsigned result;

    if (m.len + 2 > sizeof local)
        m.row = mem_calloc(m.len + 2, sizeof *m.row);
    else
        memset(local, 0, m.len + 2);
    if (inbox_first(name, m.len, separator))
        m.inbox = INBOX_LEN;
    result = run_pattern(&m, pattern);
    if (m.row != local)
        free(m.row);
    return result;
}
