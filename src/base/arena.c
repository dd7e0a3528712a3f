/*
 * Arena allocator; see arena.h. Blocks form a list, the newest first; a request larger than a
 * quarter block gets a block of its own behind the first, so that the first stays in use.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"

#define ARENA_BLOCK 4096 /* octets in a block, header included */
#define EXIT_SHORT  75   /* EX_TEMPFAIL: short of resources */

struct block {
    struct block *next;
    size_t used, size; /* octets of data */
    _Alignas(max_align_t) char data[];
};

struct arena {
    struct block *first;
    size_t used;
};

_Noreturn void
mem_fatal(size_t n)
{
    log_fatal(EXIT_SHORT, "out of memory (%zu octets asked for)", n);
}

void *
mem_alloc(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);

    if (p == NULL)
        mem_fatal(n);
    return p;
}

void *
mem_calloc(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);

    if (p == NULL)
        mem_fatal(n);
    return p;
}

void *
mem_realloc(void *p, size_t n)
{
    p = realloc(p, n > 0 ? n : 1);
    if (p == NULL)
        mem_fatal(n);
    return p;
}

void *
mem_reallocarray(void *p, size_t n, size_t size)
{
    if (size > 0 && n > SIZE_MAX / size)
        mem_fatal(SIZE_MAX);
    return mem_realloc(p, n * size);
}

char *
mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(mem_alloc(n), s, n);
}

static struct block *
block_new(size_t size)
{
    struct block *b;

    if (size > SIZE_MAX - sizeof *b)
        mem_fatal(size);
    b = mem_alloc(sizeof *b + size);
    b->next = NULL;
    b->used = 0;
    b->size = size;
    return b;
}

struct arena *
arena_new(void)
{
    struct arena *a = mem_calloc(1, sizeof *a);

    a->first = block_new(ARENA_BLOCK - sizeof(struct block));
    return a;
}

/* Keeps the last block of the list when `keep` is set: it's the first one made, of normal size.
 */
static void
free_blocks(struct arena *a, int keep)
{
    struct block *b, *next;

    for (b = a->first; b != NULL; b = next) {
        next = b->next;
        if (keep && next == NULL)
            break;
        free(b);
    }
    a->first = b;
}

void
arena_free(struct arena **a)
{
    if (*a == NULL)
        return;
    free_blocks(*a, 0);
    free(*a);
    *a = NULL;
}

void
arena_reset(struct arena *a)
{
    free_blocks(a, 1);
    a->first->used = 0;
    a->used = 0;
}

void
arena_wipe(struct arena *a)
{
    for (struct block *b = a->first; b != NULL; b = b->next)
        explicit_bzero(b->data, b->used);
    arena_reset(a);
}

void *
arena_alloc(struct arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    struct block *b = a->first;
    void *p;

    if (n > SIZE_MAX - align)
        mem_fatal(n);
    n = (n + align - 1) / align * align;
    a->used += n;
    if (n > ARENA_BLOCK / 4) {
        struct block *own = block_new(n);

        /* behind the first block, but never last: the last one is kept by arena_reset() */
        if (b->next == NULL) {
            a->first = own;
            own->next = b;
        } else {
            own->next = b->next;
            b->next = own;
        }
        own->used = n;
        return own->data;
    }
    if (n > b->size - b->used) {
        b = block_new(ARENA_BLOCK - sizeof *b);
        b->next = a->first;
        a->first = b;
    }
    p = b->data + b->used;
    b->used += n;
    return p;
}

void *
arena_calloc(struct arena *a, size_t n, size_t size)
{
    if (size > 0 && n > SIZE_MAX / size)
        mem_fatal(SIZE_MAX);
    return memset(arena_alloc(a, n * size), 0, n * size);
}

char *
arena_memdup(struct arena *a, const void *p, size_t n)
{
    char *copy;

    if (n == SIZE_MAX)
        mem_fatal(n);
    copy = arena_alloc(a, n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

char *
arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup(a, s, strlen(s));
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        log_panic("arena_printf: bad format %s", fmt);
    s = arena_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

size_t
arena_used(const struct arena *a)
{
    return a->used;
}
