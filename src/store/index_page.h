/*
 * Is a page of a Berkeley DB B-tree file fit to be looked at? For index_resources.c and
 * index_loose.c.
 */
#ifndef STORE_INDEX_PAGE_H
#define STORE_INDEX_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Numbers of a page, which lie at any address, in this machine's order of octets. */
static inline unsigned
get16(const unsigned char *p)
{
    uint16_t n;

    memcpy(&n, p, sizeof n);
    return n;
}

static inline uint32_t
get32(const unsigned char *p)
{
    uint32_t n;

    memcpy(&n, p, sizeof n);
    return n;
}

/* Every offset and length in the page lies within it, and it is page `number`. `zero_ok`: a
   page of zeros passes (a hole, as recovery may meet it). */
bool page_ok(const unsigned char *page, size_t size, uint64_t number, bool zero_ok);

#endif
