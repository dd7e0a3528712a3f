/*
 * Keeping a forked worker's memory together; see heap.h. Knows glibc's malloc: main arena at
 * the break, freed pieces of up to 1032 octets kept by size, the rest of the break on top.
 *
 * A master that has read its configuration and its certificates leaves hundreds of small gaps
 * between what stays. malloc() prefers gaps, so the first allocations of a worker would lie all
 * over the master's pages, and each page with one of them is copied. Measured with glibc 2.36,
 * an IMAP session over TLS in IDLE: 26 pages of the heap were the worker's own; 19 with the
 * gaps filled before the fork; 12 with malloc's cache off as well (daemon_program()). The
 * filling itself is shared: a server has it once.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/heap.h"

#ifdef __GLIBC__

#include <malloc.h>

#define FILL_MAX   1024  /* octets of the largest piece */
#define FILL_STEP  16    /* malloc's granularity */
#define FILL_LIMIT 16384 /* pieces: 16 MB of gaps */
#define PAGE       4096
#define STACK_SPAN                                                                             \
    (256u * 1024) /* below the caller: the kernel keeps more free for the stack */

/* One of this process: the pieces that fill the gaps. */
struct piece {
    struct piece *next;
};
static struct piece *pieces;

/*
 * Freed memory at the top of the heap goes back from 64 KiB on, and large buffers are mapped
 * one by one, so that one big FETCH doesn't stay with an idle connection for hours. Measured
 * with glibc 2.36: an IMAPS session that has read a large mailbox 712 KB instead of 856, at the
 * cost of about ten page faults in a command that answers for 5,000 messages (2 ms).
 */
void
heap_tune(void)
{
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TOP_PAD, 16 * 1024);
}

/* 0 when malloc is another one (a sanitizer's, valgrind's): then nothing counts as a gap. */
static uintptr_t
top_of_heap(void)
{
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 m = mallinfo2();
#else
    struct mallinfo m = mallinfo();
#endif

    return m.arena > 0 ? (uintptr_t)sbrk(0) - (size_t)m.keepcost : 0;
}

static struct piece *
fill(size_t n)
{
    struct piece *p = malloc(n);

    if (p != NULL) {
        p->next = pieces;
        pieces = p;
    }
    return p;
}

/* From large to small: until a piece comes from the top, there was a gap. That last one of each
   size is kept too: freed, it would be a gap again. */
void
heap_pack(void)
{
    uintptr_t top;
    unsigned count = 0;
    struct piece *p;

    malloc_trim(0);
    top = top_of_heap();
    for (size_t n = FILL_MAX; n >= FILL_STEP + sizeof *p; n -= FILL_STEP)
        do
            p = fill(n - sizeof *p);
        while (p != NULL && (uintptr_t)p < top && ++count < FILL_LIMIT);
    top = top_of_heap();
    if (top % PAGE != 0)
        fill(PAGE - top % PAGE); /* the next one begins a page */
}

void
heap_unpack(void)
{
    struct piece *p;

    while ((p = pieces) != NULL) {
        pieces = p->next;
        free(p);
    }
}

/* The pages of the stack that a deep call has used and no frame is on now: 4 of 7 in a session
   that has selected a mailbox. What isn't mapped there is skipped by the kernel. */
static void __attribute__((noinline)) give_stack_back(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t end = (here - PAGE) / PAGE * PAGE; /* this frame, and what madvise() needs */

    madvise((void *)(end - STACK_SPAN), STACK_SPAN, MADV_DONTNEED);
}

void
heap_rest(void)
{
    malloc_trim(0);
    give_stack_back();
}

#else

void
heap_tune(void)
{
}

void
heap_pack(void)
{
}

void
heap_unpack(void)
{
}

void
heap_rest(void)
{
}

#endif
