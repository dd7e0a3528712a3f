/*
 * What a test asks that would take minutes under valgrind, which tests/valgrind.py tells it.
 */
#ifndef TESTS_VALGRIND_TEST_H
#define TESTS_VALGRIND_TEST_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool
under_valgrind(void)
{
    return getenv("MANSIO_TEST_VALGRIND") != NULL;
}

/* How often to repeat what says the same each time: `n` times, a twentieth under valgrind. */
static inline unsigned
repeats(unsigned n)
{
    return under_valgrind() ? n / 20 : n;
}

#endif
