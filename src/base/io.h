/*
 * Where bytes come from and where they go, without knowing what is behind: a socket, a TLS
 * stream, a file, a test script. The store and the formatters know only these two.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <sys/types.h>

struct source {
    /* Reads 1 .. n octets into p and returns how many; 0 at the end; a negative ERR_* code. */
    ssize_t (*read)(struct source *s, void *p, size_t n);
};

struct sink {
    /* Takes all n octets. 0 or a negative ERR_* code, which then stays. */
    int (*write)(struct sink *s, const void *p, size_t n);
};

#endif
