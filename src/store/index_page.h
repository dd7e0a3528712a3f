/*
 * Is a page of a Berkeley DB B-tree file fit to be looked at? Private to index_resources.c.
 */
#ifndef STORE_INDEX_PAGE_H
#define STORE_INDEX_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every offset and length in the page lies within it, and it is page `number`. `zero_ok`: a
   page of zeros passes (a hole, as recovery may meet it). */
bool page_ok(const unsigned char *page, size_t size, uint64_t number, bool zero_ok);

#endif
