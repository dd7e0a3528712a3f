/*
 * Writing IMAP strings; the functions are declared in imapparse.h. RFC 3501 4.3 and 9.
 */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "format/imapparse.h"

/* A longer string goes as literal also if it could be quoted: clients read it faster, and some
   limit the length of a line. */
#define QUOTED_MAX 1000

/* quoted-specials are escaped; what no quoted string holds (RFC 3501 9: TEXT-CHAR is 7-bit,
   without CR and LF) makes a literal. */
static bool
can_quote(const char *s, size_t len)
{
    size_t i;

    if (len > QUOTED_MAX)
        return false;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c == '\0' || c == '\r' || c == '\n' || c >= 0x80)
            return false;
    }
    return true;
}

static void
write_quoted(struct buf *out, const char *s, size_t len)
{
    size_t start = 0, i;

    buf_addc(out, '"');
    for (i = 0; i < len; i++) {
        if (s[i] != '"' && s[i] != '\\')
            continue;
        buf_add(out, s + start, i - start);
        buf_addc(out, '\\');
        start = i;
    }
    buf_add(out, s + start, len - start);
    buf_addc(out, '"');
}

static void
write_literal(struct buf *out, const char *s, size_t len)
{
    size_t at, i;

    buf_addf(out, "{%zu}\r\n", len);
    at = out->len;
    buf_add(out, s, len);
    if (!buf_ok(out) || memchr(s, '\0', len) == NULL)
        return;
    for (i = at; i < out->len; i++) {
        if (out->data[i] == '\0')
            out->data[i] = (char)0x80;
    }
}

void
imap_write_string(struct buf *out, const char *s, size_t len)
{
    if (can_quote(s, len))
        write_quoted(out, s, len);
    else
        write_literal(out, s, len);
}

void
imap_write_nstring(struct buf *out, const char *s, size_t len)
{
    if (s == NULL)
        buf_adds(out, "NIL");
    else
        imap_write_string(out, s, len);
}

/* ASTRING-CHAR (RFC 3501 9). NIL is quoted, because it would be read as nothing. */
static bool
can_be_atom(const char *s, size_t len)
{
    size_t i;

    if (len == 0 || len > QUOTED_MAX || (len == 3 && strncasecmp(s, "NIL", 3) == 0))
        return false;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c <= ' ' || c >= 0x7f || strchr("(){%*\"\\", c) != NULL)
            return false;
    }
    return true;
}

void
imap_write_astring(struct buf *out, const char *s, size_t len)
{
    if (can_be_atom(s, len))
        buf_add(out, s, len);
    else
        imap_write_string(out, s, len);
}
