/*
 * What the tests of header, envelope, MIME and text share: a source over memory that hands out
 * its bytes in pieces of a chosen size, and usual limits.
 */
#ifndef TESTS_MIME_TEST_H
#define TESTS_MIME_TEST_H

#include <string.h>

#include "base/io.h"
#include "format/mime.h"

struct memory_source {
    struct source source;
    const char *p;
    size_t left;
    size_t piece; /* octets a read gives at most; 0: all */
};

static inline ssize_t
memory_read(struct source *s, void *p, size_t n)
{
    struct memory_source *m = (struct memory_source *)(void *)s;

    if (n > m->left)
        n = m->left;
    if (m->piece > 0 && n > m->piece)
        n = m->piece;
    memcpy(p, m->p, n);
    m->p += n;
    m->left -= n;
    return (ssize_t)n;
}

static inline struct memory_source
memory_source(const void *p, size_t n, size_t piece)
{
    struct memory_source m = {{memory_read}, p, n, piece};

    return m;
}

static const struct mime_limits usual_limits = {.max_depth = 64,
                                                .max_parts = 10000,
                                                .max_headers = 10000,
                                                .max_addresses = 4096,
                                                .max_parameter_segments = 256,
                                                .max_header_size = 1 << 20};

#endif
