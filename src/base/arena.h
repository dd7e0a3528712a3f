/*
 * Memory with one owner and one end: everything allocated from an arena is given back by one
 * arena_reset() or arena_free(). The lifetimes in this program are process, session and
 * command.
 *
 * Out of memory is never returned to a caller: the process logs and exits with status 75, which
 * tells the master to back off (design: a worker holds one connection, and mail is safe on
 * disk).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena **a);
/* Gives everything back; keeps one block for the next use. */
void arena_reset(struct arena *a);
/* The same, and fills it with zeros before: there may have been a password in it. */
void arena_wipe(struct arena *a);

void *arena_alloc(struct arena *a, size_t n); /* aligned for any type, not cleared */
void *arena_calloc(struct arena *a, size_t n, size_t size); /* cleared; overflow is checked */
char *arena_strdup(struct arena *a, const char *s);
char *arena_memdup(struct arena *a, const void *p, size_t n); /* adds a NUL behind the copy */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Octets handed out since the last reset. */
size_t arena_used(const struct arena *a);

/* The same policy for memory with another owner; freed with free(). */
void *mem_alloc(size_t n);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t n);
/* n * size, checked: the way to grow an array. */
void *mem_reallocarray(void *p, size_t n, size_t size);
char *mem_strdup(const char *s);
/* Logs "out of memory" and exits 75. */
_Noreturn void mem_fatal(size_t n);

#endif
