/*
 * Header blocks: walking, finding, unfolding, selecting (RFC 5322 2.2, RFC 3501 6.4.5).
 *
 * Takes headers as they are found on disk: LF or CRLF or mixed, 8-bit, obsolete blanks before
 * the colon, garbage lines. Doesn't decode anything (header_decode.c) and doesn't know what a
 * field means.
 */
#include <string.h>
#include <strings.h>

#include "format/header.h"

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Behind the line that starts at p; `end` when it has no line end. */
static const char *
line_end(const char *p, const char *end)
{
    const char *nl = memchr(p, '\n', (size_t)(end - p));

    return nl == NULL ? end : nl + 1;
}

/* Behind the last continuation line of the field that starts at p. */
static const char *
field_end(const char *p, const char *end)
{
    p = line_end(p, end);
    while (p < end && is_blank(*p))
        p = line_end(p, end);
    return p;
}

/* The name at p: its length, and *colon is set; 0 when it is no field name. One with a blank or
   control character inside is garbage: that is how a "From " line of an mbox looks. */
static size_t
field_name(const char *p, const char *end, const char **colon)
{
    const char *q = p;
    size_t len;

    while (q < end && (unsigned char)*q > ' ' && *q != ':' && *q != 0x7f)
        q++;
    len = (size_t)(q - p);
    while (q < end && is_blank(*q))
        q++;
    *colon = q;
    return q < end && *q == ':' ? len : 0;
}

bool
header_next(const char *block, size_t len, size_t *pos, struct header_field *f)
{
    const char *end = block + len, *p, *next, *colon;

    while (*pos < len) {
        p = block + *pos;
        if (*p == '\n' || (*p == '\r' && end - p > 1 && p[1] == '\n'))
            return false;
        next = field_end(p, end);
        *pos = (size_t)(next - block);
        f->name_len = field_name(p, next, &colon);
        if (f->name_len == 0)
            continue;
        f->name = f->raw = p;
        f->raw_len = (size_t)(next - p);
        if (next[-1] == '\n') {
            next--;
            if (next > colon + 1 && next[-1] == '\r')
                next--;
        }
        f->value = colon + 1;
        f->value_len = (size_t)(next - f->value);
        return true;
    }
    return false;
}

static bool
name_equal(const struct header_field *f, const char *name, size_t len)
{
    return f->name_len == len && strncasecmp(f->name, name, len) == 0;
}

bool
header_name_is(const struct header_field *f, const char *name)
{
    return name_equal(f, name, strlen(name));
}

bool
header_find(const char *block, size_t len, const char *name, unsigned n, struct header_field *f)
{
    size_t pos = 0, name_len = strlen(name);

    while (header_next(block, len, &pos, f))
        if (name_equal(f, name, name_len) && n-- == 0)
            return true;
    return false;
}

/* NUL octets go with the line ends: no string of the IMAP grammar can carry them. */
char *
header_unfold(struct arena *a, const char *value, size_t len, size_t *out_len)
{
    char *out;
    size_t i, n = 0;

    while (len > 0 && (is_blank(*value) || *value == '\r' || *value == '\n')) {
        value++;
        len--;
    }
    out = arena_alloc(a, len + 1);
    for (i = 0; i < len; i++)
        if (value[i] != '\r' && value[i] != '\n' && value[i] != '\0')
            out[n++] = value[i];
    while (n > 0 && is_blank(out[n - 1]))
        n--;
    out[n] = '\0';
    if (out_len != NULL)
        *out_len = n;
    return out;
}

/* Copies whole lines with CRLF line ends; a last line without an end gets one. */
static void
add_crlf(const char *p, size_t len, struct buf *out)
{
    const char *end = p + len, *nl;

    while (p < end) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            nl = end;
        buf_add(out, p, (size_t)(nl - p) - (nl > p && nl < end && nl[-1] == '\r' ? 1 : 0));
        buf_add(out, "\r\n", 2);
        p = nl + 1;
    }
}

void
header_select(const char *block, size_t len, const char *const *names, size_t n, bool not,
              struct buf *out)
{
    struct header_field f;
    size_t pos = 0, i;

    while (header_next(block, len, &pos, &f)) {
        for (i = 0; i < n; i++)
            if (header_name_is(&f, names[i]))
                break;
        if ((i < n) != not )
            add_crlf(f.raw, f.raw_len, out);
    }
    buf_add(out, "\r\n", 2);
}
