/*
 * Base64 and quoted-printable in chunks; see mimetext_decode.h.
 */
#include <string.h>

#include "format/digits.h"
#include "format/mimetext_decode.h"

#define SKIP 64 /* not in the alphabet */
#define PAD  65

static const uint8_t base64_values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62,
    64, 64, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 65, 64, 64, 64, 0,
    1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
    23, 24, 25, 64, 64, 64, 64, 64, 64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
    39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64};

void
decoder_init(struct decoder *d, enum mime_encoding encoding)
{
    memset(d, 0, sizeof *d);
    d->encoding = encoding;
}

static void
add_base64(struct decoder *d, const char *p, size_t n, struct buf *out)
{
    const unsigned char *u = (const unsigned char *)p, *end = u + n;
    char *start = buf_room(out, n), *to = start;
    unsigned a, b, c, e;

    if (to == NULL)
        return;
    while (u < end) {
        if (d->have == 0 && end - u >= 4) {
            a = base64_values[u[0]];
            b = base64_values[u[1]];
            c = base64_values[u[2]];
            e = base64_values[u[3]];
            if ((a | b | c | e) < SKIP) {
                *to++ = (char)(a << 2 | b >> 4);
                *to++ = (char)(b << 4 | c >> 2);
                *to++ = (char)(c << 6 | e);
                u += 4;
                continue;
            }
        }
        a = base64_values[*u++];
        if (a == PAD) {
            d->have = 0; /* another text may follow */
        } else if (a < SKIP) {
            d->bits = (d->bits << 6 | a) & 0xffffu;
            d->have += 6;
            if (d->have >= 8) {
                d->have -= 8;
                *to++ = (char)(d->bits >> d->have & 0xffu);
            }
        }
    }
    buf_added(out, (size_t)(to - start));
}

/* One octet inside of an escape. False: the octet isn't part of it, take it again. */
static bool
escape(struct decoder *d, char c, struct buf *out)
{
    if (d->have == 1) {
        if (c == '\n') {
            d->have = 0; /* soft line break */
            return true;
        }
        if (c == '\r' || c == ' ' || c == '\t')
            return true;
        if (hex_value(c) >= 0) {
            d->first_hex = c;
            d->have = 2;
            return true;
        }
        buf_addc(out, '=');
        d->have = 0;
        return false;
    }
    d->have = 0;
    if (hex_value(c) >= 0) {
        buf_addc(out, (char)(hex_value(d->first_hex) * 16 + hex_value(c)));
        return true;
    }
    buf_addc(out, '=');
    buf_addc(out, d->first_hex);
    return false;
}

static void
add_qp(struct decoder *d, const char *p, size_t n, struct buf *out)
{
    const char *end = p + n, *sign;

    while (p < end) {
        if (d->have > 0) {
            if (escape(d, *p, out))
                p++;
            continue;
        }
        sign = memchr(p, '=', (size_t)(end - p));
        if (sign == NULL)
            sign = end;
        buf_add(out, p, (size_t)(sign - p));
        p = sign;
        if (p < end) {
            d->have = 1;
            p++;
        }
    }
}

void
decoder_add(struct decoder *d, const char *p, size_t n, struct buf *out)
{
    if (d->encoding == ENC_BASE64)
        add_base64(d, p, n, out);
    else if (d->encoding == ENC_QP)
        add_qp(d, p, n, out);
    else
        buf_add(out, p, n);
}
