/*
 * Modified UTF-7 of mailbox names; see mboxname.h. RFC 3501 5.1.3, strict: what has two ways to
 * be written is refused in the wrong one, so that two names are never the same folder.
 */
#include <unistr.h>

#include "base/err.h"
#include "format/digits.h"
#include "format/mboxname.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool
is_direct(unsigned char c)
{
    return c >= 0x20 && c < 0x7f;
}

/* A character of an encoded run: not one that has to be written directly, no control. */
static int
put_character(ucs4_t c, struct buf *out)
{
    uint8_t bytes[6];
    int n;

    if (c < 0x80)
        return ERR_SYNTAX;
    n = u8_uctomb(bytes, c, sizeof bytes);
    if (n <= 0)
        return ERR_SYNTAX;
    buf_add(out, bytes, (size_t)n);
    return 0;
}

/* A unit of UTF-16: *high keeps the first half of a surrogate pair. */
static int
put_unit(unsigned unit, unsigned *high, struct buf *out)
{
    ucs4_t c;

    if (*high != 0) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return ERR_SYNTAX;
        c = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
        *high = 0;
        return put_character(c, out);
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return 0;
    }
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return ERR_SYNTAX;
    return put_character(unit, out);
}

/* A run behind '&', at *pos, up to and with its '-'. */
static int
decode_run(const char *in, size_t len, size_t *pos, struct buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0, high = 0;
    size_t i, start = *pos;
    int digit, err;

    for (i = start; i < len && in[i] != '-'; i++) {
        digit = base64_value(in[i], ',');
        if (digit < 0)
            return ERR_SYNTAX;
        bits = (bits << 6 | (uint32_t)digit) & 0xffffff;
        count += 6;
        if (count >= 16) {
            count -= 16;
            err = put_unit(bits >> count & 0xffff, &high, out);
            if (err < 0)
                return err;
        }
    }
    if (i == len || i == start)
        return ERR_SYNTAX;
    /* at the end at most 5 bits are left, and they are zero */
    if (count >= 6 || (bits & ((1u << count) - 1)) != 0 || high != 0)
        return ERR_SYNTAX;
    *pos = i + 1;
    if (*pos + 1 < len && in[*pos] == '&' && in[*pos + 1] != '-')
        return ERR_SYNTAX; /* two runs side by side: one is superfluous */
    return 0;
}

int
mutf7_to_utf8(const char *in, size_t len, struct buf *out)
{
    size_t i = 0;
    int err;

    while (i < len) {
        if (!is_direct((unsigned char)in[i]))
            return ERR_SYNTAX;
        if (in[i] != '&') {
            buf_addc(out, in[i++]);
        } else if (i + 1 < len && in[i + 1] == '-') {
            buf_addc(out, '&');
            i += 2;
        } else {
            i++;
            err = decode_run(in, len, &i, out);
            if (err < 0)
                return err;
        }
    }
    return buf_ok(out) ? 0 : ERR_LIMIT;
}

struct encoder {
    struct buf *out;
    uint32_t bits;
    unsigned count;
    bool shifted;
};

static void
encode_unit(struct encoder *e, unsigned unit)
{
    if (!e->shifted)
        buf_addc(e->out, '&');
    e->shifted = true;
    e->bits = e->bits << 16 | unit;
    for (e->count += 16; e->count >= 6; e->count -= 6)
        buf_addc(e->out, alphabet[e->bits >> (e->count - 6) & 63]);
    e->bits &= (1u << e->count) - 1;
}

static void
end_shift(struct encoder *e)
{
    if (!e->shifted)
        return;
    if (e->count > 0)
        buf_addc(e->out, alphabet[e->bits << (6 - e->count) & 63]);
    buf_addc(e->out, '-');
    e->shifted = false;
    e->bits = 0;
    e->count = 0;
}

int
mutf7_from_utf8(const char *in, size_t len, struct buf *out)
{
    struct encoder e = {.out = out};
    const uint8_t *s = (const uint8_t *)in;
    ucs4_t c;
    int n;

    while (len > 0) {
        n = u8_mbtoucr(&c, s, len);
        if (n <= 0 || c < 0x20 || c == 0x7f)
            return ERR_SYNTAX;
        if (c < 0x7f) {
            end_shift(&e);
            buf_addc(out, (char)c);
            if (c == '&')
                buf_addc(out, '-');
        } else if (c < 0x10000) {
            encode_unit(&e, c);
        } else {
            encode_unit(&e, 0xd800 + ((c - 0x10000) >> 10));
            encode_unit(&e, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
        s += n;
        len -= (size_t)n;
    }
    end_shift(&e);
    return buf_ok(out) ? 0 : ERR_LIMIT;
}
