/*
 * Folding of text: Unicode full case folding, then NFKD, by libunistring; see mimetext_fold.h.
 *
 * Chunks. ASCII characters are starters and fold to themselves or their lower case whatever
 * stands beside them, so each run of other characters can be folded by itself. A run that
 * reaches the end of a chunk is kept for the next one; a very long one is cut before a starter.
 *
 * Speed. ASCII is folded 16 octets at a time. u8_casefold() costs more than a microsecond a
 * call, so the folding of single characters is remembered: 4 us/KB of Cyrillic text instead of
 * 120. That may be done for starters only; a run with combining characters goes to libunistring
 * as a whole, which puts them in order. The table is process-wide; it holds nothing of any
 * message but which characters it had.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <uninorm.h>
#include <unictype.h>
#include <unistr.h>

#include "format/charset.h"
#include "format/mimetext_fold.h"

#define CACHE_SIZE 1024 /* a power of two */
#define HOLD_MAX   256  /* octets of a run kept for the next chunk */
#define NOT_SIMPLE 0xff

struct folded {
    uint32_t c; /* 0 = unused */
    uint8_t len;
    char utf8[11];
};

static struct folded fold_cache[CACHE_SIZE];

typedef unsigned char octets16 __attribute__((vector_size(16)));

size_t
fold_ascii(const char *s, size_t n, char *to)
{
    size_t i = 0;
    octets16 v, upper;
    uint64_t half[2];

    for (; i + sizeof v <= n; i += sizeof v) {
        memcpy(&v, s + i, sizeof v);
        memcpy(half, &v, sizeof v);
        if ((half[0] | half[1]) & 0x8080808080808080u)
            break;
        upper = (octets16)(v >= 'A') & (octets16)(v <= 'Z');
        v |= upper & 0x20;
        memcpy(to + i, &v, sizeof v);
    }
    for (; i < n && (unsigned char)s[i] < 0x80; i++)
        to[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 0x20 : s[i]);
    return i;
}

/* A whole run at once. */
static void
fold_slowly(const char *s, size_t n, struct buf *out)
{
    struct buf valid = BUF_INIT(n * 3);
    uint8_t *folded;
    size_t len = 0;

    utf8_add_valid(s, n, &valid);
    folded = u8_casefold((const uint8_t *)buf_str(&valid), valid.len, NULL, UNINORM_NFKD, NULL,
                         &len);
    if (folded != NULL)
        buf_add(out, folded, len);
    else
        buf_add(out, valid.data, valid.len);
    free(folded);
    buf_free(&valid);
}

static void
cache_fill(struct folded *f, ucs4_t c, const char *s, size_t n)
{
    uint8_t *folded;
    size_t len = 0;
    ucs4_t first = c;

    f->c = c;
    f->len = NOT_SIMPLE;
    if (uc_combining_class(c) != 0)
        return;
    folded = u8_casefold((const uint8_t *)s, n, NULL, UNINORM_NFKD, NULL, &len);
    if (folded == NULL)
        return;
    if (len > 0 && len <= sizeof f->utf8 && u8_mbtouc(&first, folded, len) > 0 &&
        uc_combining_class(first) == 0) {
        memcpy(f->utf8, folded, len);
        f->len = (uint8_t)len;
    }
    free(folded);
}

static bool
is_unchanged(ucs4_t c)
{
    return c >= 0x3400 && c <= 0x9fff; /* the ideographs: too many for the table */
}

/* Character by character; false when one needs its neighbours. */
static bool
fold_quickly(const char *s, size_t n, struct buf *out)
{
    struct folded *f;
    size_t i, len;
    ucs4_t c;

    for (i = 0; i < n; i += len) {
        len = utf8_length(s + i, n - i, NULL);
        if (len == 0) {
            buf_adds(out, "\xef\xbf\xbd");
            len = 1;
            continue;
        }
        u8_mbtouc(&c, (const uint8_t *)s + i, len);
        if (is_unchanged(c)) {
            buf_add(out, s + i, len);
            continue;
        }
        f = &fold_cache[c % CACHE_SIZE];
        if (f->c != c)
            cache_fill(f, c, s + i, len);
        if (f->len == NOT_SIMPLE)
            return false;
        buf_add(out, f->utf8, f->len);
    }
    return true;
}

static void
fold_run(const char *s, size_t n, struct buf *out)
{
    size_t start = out->len;

    if (fold_quickly(s, n, out))
        return;
    buf_cut(out, start);
    fold_slowly(s, n, out);
}

/* How much of a run at the end of a chunk may be folded now. */
static size_t
safe_part(const char *s, size_t n)
{
    size_t i, len, cut = 0;
    ucs4_t c;

    if (n <= HOLD_MAX)
        return 0;
    for (i = n - 3; i > n - HOLD_MAX; i--) {
        len = utf8_length(s + i, n - i, NULL);
        if (len == 0)
            continue;
        cut = cut > 0 ? cut : i;
        u8_mbtouc(&c, (const uint8_t *)s + i, len);
        if (uc_combining_class(c) == 0)
            return i;
    }
    return cut > 0 ? cut : n;
}

size_t
fold_add(const char *s, size_t n, bool final, struct buf *out)
{
    size_t i = 0, j, done;
    char *to;

    while (i < n) {
        to = buf_room(out, n - i);
        if (to == NULL)
            return n;
        done = fold_ascii(s + i, n - i, to);
        buf_added(out, done);
        i += done;
        for (j = i; j < n && (unsigned char)s[j] >= 0x80; j++)
            ;
        if (j == n && !final) {
            done = safe_part(s + i, n - i);
            fold_run(s + i, done, out);
            return i + done;
        }
        fold_run(s + i, j - i, out);
        i = j;
    }
    return n;
}
