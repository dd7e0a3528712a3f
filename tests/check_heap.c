/*
 * base/heap.c: after heap_pack() nothing is drawn from the gaps of before, heap_rest() gives
 * the pages of heap and stack back that nobody uses, and what is in use stays as it is.
 */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/heap.h"

#define BLOCKS 2000
#define DEEP   (100 * 1024) /* octets of stack */

/* KB of this mapping that are in memory. */
static long
resident(const char *mapping)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    long kb, sum = 0;
    int here = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '-') != NULL && strstr(line, " r") != NULL)
            here = strstr(line, mapping) != NULL;
        else if (here && sscanf(line, "Rss: %ld kB", &kb) == 1)
            sum += kb;
    }
    fclose(f);
    return sum;
}

/* Not under valgrind or a sanitizer, which have a malloc of their own. */
static int
on_break(const void *p)
{
    uintptr_t end = (uintptr_t)sbrk(0), at = (uintptr_t)p;

    return at < end && end - at < (64u << 20);
}

static int
filled(const void *p, int octet, size_t n)
{
    const unsigned char *at = p;

    while (n > 0 && *at == octet) {
        at++;
        n--;
    }
    return n == 0;
}

START_TEST(test_packed_heap_has_no_gaps)
{
    static unsigned char *blocks[BLOCKS];
    unsigned char *highest, *drawn;
    size_t sizes[] = {24, 100, 400, 1000};

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(sizes[i % 4]);
        ck_assert_ptr_nonnull(blocks[i]);
        memset(blocks[i], (int)(i % 251), sizes[i % 4]);
    }
    highest = blocks[BLOCKS - 1];
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 3 != 0) {
            free(blocks[i]);
            blocks[i] = NULL;
        } else if (blocks[i] > highest) {
            highest = blocks[i];
        }
    }
    for (int round = 0; round < 3; round++) { /* as at a start and two reloads */
        heap_pack();
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            drawn = malloc(sizes[i]);
            ck_assert_ptr_nonnull(drawn);
            if (on_break(drawn))
                ck_assert(drawn > highest);
            free(drawn);
        }
        heap_unpack();
    }
    for (size_t i = 0; i < BLOCKS; i += 3) {
        ck_assert(filled(blocks[i], (int)(i % 251), sizes[i % 4]));
        free(blocks[i]);
    }
}
END_TEST

static unsigned __attribute__((noinline)) use_stack(void)
{
    volatile unsigned char deep[DEEP];
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof deep; i += 512)
        sum += deep[i];
    return sum;
}

START_TEST(test_rest_gives_the_stack_back)
{
    char here[2048];
    long before, deep, after;

    memset(here, 'x', sizeof here);
    before = resident("[stack]");
    ck_assert_uint_gt(use_stack() + 1, 0);
    deep = resident("[stack]");
    heap_rest();
    after = resident("[stack]");
    if (before > 0 && deep >= before + DEEP / 1024 / 2) /* a stack as Linux gives it */
        ck_assert_int_lt(after, before + DEEP / 1024 / 4);
    ck_assert(filled(here, 'x', sizeof here));
    ck_assert_uint_gt(use_stack() + 1, 0); /* and it can be used again */
}
END_TEST

START_TEST(test_rest_gives_the_heap_back)
{
    enum { PIECES = 600, SIZE = 16 * 1024 };
    static char *pieces[PIECES];
    long full, after;

    heap_tune();
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = malloc(SIZE);
        ck_assert_ptr_nonnull(pieces[i]);
        memset(pieces[i], 'p', SIZE);
    }
    full = resident("[heap]");
    for (size_t i = 0; i < PIECES; i++)
        if (i % 100 != 99)
            free(pieces[i]);
    heap_rest();
    after = resident("[heap]");
    if (on_break(pieces[99]))
        ck_assert_int_lt(after, full / 2);
    for (size_t i = 99; i < PIECES; i += 100) {
        ck_assert(filled(pieces[i], 'p', SIZE));
        free(pieces[i]);
    }
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("heap");
    TCase *t = tcase_create("heap");
    SRunner *r;
    int failed;

    tcase_add_test(t, test_packed_heap_has_no_gaps);
    tcase_add_test(t, test_rest_gives_the_stack_back);
    tcase_add_test(t, test_rest_gives_the_heap_back);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
