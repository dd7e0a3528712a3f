/*
 * Growable bounded byte buffer; see buf.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"

#define BUF_FIRST 256 /* first allocation, octets */

void
buf_init(struct buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void
buf_free(struct buf *b)
{
    size_t max = b->max;

    free(b->data);
    buf_init(b, max);
}

void
buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

bool
buf_ok(const struct buf *b)
{
    return !b->failed;
}

/* One octet more than asked is always kept, so that buf_str() needs no growth. */
char *
buf_room(struct buf *b, size_t n)
{
    size_t want, cap;

    if (n > b->max || b->len > b->max - n) {
        b->failed = true;
        return NULL;
    }
    want = b->len + n + 1;
    if (want > b->cap) {
        cap = b->cap ? b->cap : BUF_FIRST;
        while (cap < want)
            cap += cap; /* want <= max + 1, and max is far below SIZE_MAX / 2 */
        b->data = mem_realloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void
buf_added(struct buf *b, size_t n)
{
    b->len += n;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
    char *to = buf_room(b, n);

    if (to == NULL || n == 0)
        return;
    memcpy(to, p, n);
    b->len += n;
}

void
buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void
buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void
buf_addu(struct buf *b, uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;

    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_add(b, digits + i, sizeof digits - i);
}

void
buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    char *to;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0) {
        b->failed = true;
        return;
    }
    to = buf_room(b, (size_t)n);
    if (to == NULL)
        return;
    vsnprintf(to, (size_t)n + 1, fmt, ap); /* buf_room keeps one octet for the NUL */
    b->len += (size_t)n;
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(b, fmt, ap);
    va_end(ap);
}

void
buf_drop(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    if (n > 0) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
}

void
buf_cut(struct buf *b, size_t n)
{
    if (n < b->len)
        b->len = n;
}

const char *
buf_str(struct buf *b)
{
    if (b->data == NULL)
        return "";
    b->data[b->len] = '\0';
    return b->data;
}
