/*
 * SASL PLAIN (RFC 4616) messages and Base64 (RFC 4648 4); see sasl.h.
 */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "format/digits.h"
#include "format/sasl.h"

int
sasl_plain_parse(const char *msg, size_t len, struct buf *authzid, struct buf *authcid,
                 struct buf *password)
{
    const char *end = msg + len, *first, *second;

    buf_reset(authzid);
    buf_reset(authcid);
    buf_reset(password);
    first = len > 0 ? memchr(msg, '\0', len) : NULL;
    if (first == NULL)
        return ERR_SYNTAX;
    second = memchr(first + 1, '\0', (size_t)(end - first - 1));
    if (second == NULL || second == first + 1 || second + 1 == end ||
        memchr(second + 1, '\0', (size_t)(end - second - 1)) != NULL)
        return ERR_SYNTAX;
    buf_add(authzid, msg, (size_t)(first - msg));
    buf_add(authcid, first + 1, (size_t)(second - first - 1));
    buf_add(password, second + 1, (size_t)(end - second - 1));
    return buf_ok(authzid) && buf_ok(authcid) && buf_ok(password) ? 0 : ERR_LIMIT;
}

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(const void *p, size_t n, struct buf *out)
{
    const unsigned char *s = p;
    char *to;

    if (n > SIZE_MAX / 4) {
        out->failed = true;
        return;
    }
    to = buf_room(out, (n + 2) / 3 * 4);
    if (to == NULL)
        return;
    buf_added(out, (n + 2) / 3 * 4);
    for (; n >= 3; n -= 3, s += 3) {
        *to++ = alphabet[s[0] >> 2];
        *to++ = alphabet[(s[0] & 3) << 4 | s[1] >> 4];
        *to++ = alphabet[(s[1] & 15) << 2 | s[2] >> 6];
        *to++ = alphabet[s[2] & 63];
    }
    if (n > 0) {
        *to++ = alphabet[s[0] >> 2];
        *to++ = alphabet[(s[0] & 3) << 4 | (n == 2 ? s[1] >> 4 : 0)];
        *to++ = n == 2 ? alphabet[(s[1] & 15) << 2] : '=';
        *to++ = '=';
    }
}

/* Four digits, of which the last `padding` are '=', into 3 - padding octets. */
static int
decode_group(const char *s, unsigned padding, struct buf *out)
{
    unsigned char octets[3];
    uint32_t bits = 0;
    unsigned i;
    int digit;

    for (i = 0; i < 4; i++) {
        digit = i < 4 - padding ? base64_value(s[i], '/') : 0;
        if (digit < 0)
            return ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)digit;
    }
    if (bits & ((1u << 8 * padding) - 1))
        return ERR_SYNTAX; /* bits that say nothing must be zero */
    octets[0] = bits >> 16 & 255;
    octets[1] = bits >> 8 & 255;
    octets[2] = bits & 255;
    buf_add(out, octets, 3 - padding);
    return buf_ok(out) ? 0 : ERR_LIMIT;
}

int
base64_decode(const char *s, size_t len, struct buf *out)
{
    unsigned padding;
    size_t i;
    int err;

    if (len % 4 != 0)
        return ERR_SYNTAX;
    for (i = 0; i < len; i += 4) {
        padding = 0;
        if (i + 4 == len && s[i + 3] == '=')
            padding = s[i + 2] == '=' ? 2 : 1;
        err = decode_group(s + i, padding, out);
        if (err < 0)
            return err;
    }
    return 0;
}
