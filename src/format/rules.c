/*
 * Rules for user names; see rules.h. A name becomes part of paths, so what could lead elsewhere
 * is refused here, before anything is made of it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/err.h"
#include "format/rules.h"

/* One side of the '@': what a path component may be. */
static bool
component_ok(const char *s, size_t len)
{
    return len > 0 && s[0] != '.';
}

static bool
name_ok(const char *s, size_t len)
{
    const char *at;
    size_t i;

    if (len == 0 || len > USER_NAME_MAX || u8_check((const uint8_t *)s, len) != NULL)
        return false;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == 0x7f || c == '/')
            return false;
        if (c == '.' && i + 1 < len && s[i + 1] == '.')
            return false;
        /* U+0080 to U+009F, control characters too */
        if (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0)
            return false;
    }
    at = memrchr(s, '@', len);
    if (at == NULL)
        return component_ok(s, len);
    return component_ok(s, (size_t)(at - s)) &&
           component_ok(at + 1, len - (size_t)(at - s) - 1);
}

static bool
is_ascii(const char *s, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if ((unsigned char)s[i] >= 0x80)
            return false;
    }
    return true;
}

/* Lower case and NFC; the input is valid UTF-8. */
static int
fold(const char *s, size_t len, struct buf *out)
{
    uint8_t *folded;
    size_t i, n = 0;

    if (is_ascii(s, len)) {
        for (i = 0; i < len; i++)
            buf_addc(out, (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] - 'A' + 'a' : s[i]));
        return 0;
    }
    folded = u8_tolower((const uint8_t *)s, len, NULL, UNINORM_NFC, NULL, &n);
    if (folded == NULL)
        return ERR_CANNOT;
    buf_add(out, folded, n);
    free(folded);
    return 0;
}

int
user_name_check(const char *name, size_t len, bool lower, const char *domain, struct buf *out)
{
    int err = 0;

    buf_reset(out);
    if (!name_ok(name, len))
        return ERR_CANNOT;
    if (lower)
        err = fold(name, len, out);
    else
        buf_add(out, name, len);
    if (domain[0] != '\0' && memchr(name, '@', len) == NULL) {
        buf_addc(out, '@');
        buf_adds(out, domain);
    }
    /* again, because folding may lengthen it and the domain comes from the configuration */
    if (err < 0 || !buf_ok(out) || !name_ok(out->data, out->len)) {
        buf_reset(out);
        return ERR_CANNOT;
    }
    return 0;
}
