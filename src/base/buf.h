/*
 * A growable byte buffer with a bound. The only way in which this program puts bytes together:
 * with struct arena it is the only place that computes sizes.
 *
 * Errors are sticky: an addition that would pass `max` is dropped whole and sets `failed`, so
 * that a writer adds freely and tests once with buf_ok(). Out of memory ends the process with
 * status 75 (mem_fatal() in arena.h).
 *
 * The bytes are data[0] .. data[len-1]. They aren't terminated by NUL; buf_str() does that.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;  /* owned; NULL while nothing was added */
    size_t len;  /* octets in use */
    size_t cap;  /* octets allocated */
    size_t max;  /* bound of len */
    bool failed; /* an addition was dropped */
};

/* A static or stack buffer may also be set up with = BUF_INIT(max). */
#define BUF_INIT(limit)                                                                        \
    {                                                                                          \
        .max = (limit)                                                                         \
    }

void buf_init(struct buf *b, size_t max);
/* Frees the memory and leaves an empty buffer with the same bound. */
void buf_free(struct buf *b);
/* Empties it, keeps the memory, clears `failed`. */
void buf_reset(struct buf *b);
/* False once an addition was dropped. */
bool buf_ok(const struct buf *b);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addu(struct buf *b, uint64_t n); /* decimal digits */
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Makes room for n more octets and returns where to write them, or NULL (and failed) when the
   bound forbids it; buf_added(n) then counts what was really written. */
char *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);

/* Removes n octets (at most len) from the front. Cost: a move of the rest. */
void buf_drop(struct buf *b, size_t n);
/* Cuts to n octets (no effect when len is less). */
void buf_cut(struct buf *b, size_t n);
/* The content as a C string, valid until the next change; "" when empty. The NUL isn't counted.
 */
const char *buf_str(struct buf *b);

#endif
