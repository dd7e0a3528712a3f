/*
 * format/seqset: sequence sets (RFC 3501 9: sequence-set; RFC 9051 4.1.1).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "format/seqset.h"

/* Parses and writes again; "E<code>" for an error. */
static const char *
reduced(const char *text, uint32_t star, size_t max)
{
    static char result[256];
    struct buf out = BUF_INIT(sizeof result - 1);
    struct seqset s;
    int err;

    seqset_init(&s);
    err = seqset_parse(text, strlen(text), star, max, &s);
    if (err < 0) {
        ck_assert_uint_eq(s.count, 0);
        buf_addf(&out, "E%d", err);
    } else {
        seqset_write(&s, &out);
    }
    ck_assert(buf_ok(&out));
    memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    seqset_free(&s);
    return result;
}

START_TEST(sets_are_sorted_and_merged)
{
    ck_assert_str_eq(reduced("1", 10, 5), "1");
    ck_assert_str_eq(reduced("5,1,3", 10, 5), "1,3,5");
    ck_assert_str_eq(reduced("1:3,2:5", 10, 5), "1:5");
    ck_assert_str_eq(reduced("1,2,3", 10, 5), "1:3");
    ck_assert_str_eq(reduced("3,1:9,2", 10, 5), "1:9");
    ck_assert_str_eq(reduced("9:1", 10, 5), "1:9");
    ck_assert_str_eq(reduced("4294967295,4294967294", 10, 5), "4294967294:4294967295");
    ck_assert_str_eq(reduced("4294967295,1,4294967295", 10, 5), "1,4294967295");
}
END_TEST

/* RFC 3501 9: '*' is the largest number in use, at either end; "*:4" is "4:*". */
START_TEST(star_is_the_largest_number)
{
    ck_assert_str_eq(reduced("*", 10, 5), "10");
    ck_assert_str_eq(reduced("9:*", 10, 5), "9:10");
    ck_assert_str_eq(reduced("*:4", 10, 5), "4:10");
    ck_assert_str_eq(reduced("559:*", 10, 5), "10:559"); /* includes the last message */
    ck_assert_str_eq(reduced("*:*", 10, 5), "10");
    ck_assert_str_eq(reduced("*", 0, 5), "");
    ck_assert_str_eq(reduced("1:*", 0, 5), "");
}
END_TEST

START_TEST(syntax_errors)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      ",1",
                                      "1,,2",
                                      "0",
                                      "0:3",
                                      "1:",
                                      ":1",
                                      "1:2:3",
                                      "a",
                                      "1 ",
                                      "4294967296",
                                      "1-2",
                                      "**",
                                      "*1",
                                      "1*",
                                      "$",
                                      "-1",
                                      "+1",
                                      "1:0",
                                      "00",
                                      "99999999999999999999999"};
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strcmp(reduced(bad[i], 10, 5), "E-6") == 0, "%s", bad[i]);
}
END_TEST

START_TEST(number_of_ranges_is_limited)
{
    ck_assert_str_eq(reduced("1,3,5", 10, 3), "1,3,5");
    ck_assert_str_eq(reduced("1,3,5,7", 10, 3), "E-5");
    ck_assert_str_eq(reduced("1,1,1,1", 10, 3), "E-5");
}
END_TEST

/* Every operation against a plain array of bits. */
START_TEST(operations_agree_with_an_array)
{
    bool model[64];
    struct seqset s;
    unsigned round, i, n;

    srand(17);
    for (round = 0; round < 3000; round++) {
        memset(model, 0, sizeof model);
        seqset_init(&s);
        for (i = 0; i < 12; i++) {
            uint32_t a = 1 + (uint32_t)rand() % 62, b = a + (uint32_t)rand() % (63 - a + 1);
            bool add = rand() % 3 > 0;
            uint32_t k;

            if (add)
                seqset_add(&s, a, b);
            else
                seqset_remove(&s, a, b);
            for (k = a; k <= b && k < 64; k++)
                model[k] = add;
        }
        for (i = 0, n = 0; i < 64; i++) {
            ck_assert_msg(seqset_has(&s, i) == model[i], "round %u number %u", round, i);
            n += model[i];
        }
        ck_assert_uint_eq(seqset_size(&s), n);
        for (i = 1; i < s.count; i++)
            ck_assert(s.ranges[i].first > s.ranges[i - 1].last + 1);
        seqset_free(&s);
    }
}
END_TEST

START_TEST(walk_gives_every_number_once)
{
    struct seqset s;
    struct seqset_iter it = {0};
    const uint32_t want[] = {1, 2, 3, 7, 4294967294u, 4294967295u};
    uint32_t n;
    size_t i;

    seqset_init(&s);
    ck_assert_int_eq(seqset_parse("7,1:3,4294967294:4294967295", 27, 1, 9, &s), 0);
    for (i = 0; i < sizeof want / sizeof want[0]; i++) {
        ck_assert(seqset_next(&s, &it, &n));
        ck_assert_uint_eq(n, want[i]);
    }
    ck_assert(!seqset_next(&s, &it, &n));
    ck_assert_uint_eq(seqset_size(&s), 6);
    seqset_free(&s);
}
END_TEST

START_TEST(edges_of_the_number_range)
{
    struct seqset s;

    seqset_init(&s);
    seqset_add(&s, 0, 5); /* 0 is no number: nothing happens */
    ck_assert_uint_eq(s.count, 0);
    seqset_add(&s, 1, UINT32_MAX);
    ck_assert_uint_eq(seqset_size(&s), UINT32_MAX);
    seqset_remove(&s, UINT32_MAX, UINT32_MAX);
    ck_assert(!seqset_has(&s, UINT32_MAX));
    seqset_remove(&s, 1, 1);
    ck_assert(!seqset_has(&s, 0));
    ck_assert(!seqset_has(&s, 1));
    ck_assert_uint_eq(seqset_size(&s), UINT32_MAX - 2);
    seqset_free(&s);
}
END_TEST

/* A hostile set of the largest size is parsed in no time: insertion one by one would move
   gigabytes. */
START_TEST(unsorted_sets_cost_a_sort)
{
    struct buf text = BUF_INIT(4000000);
    struct seqset s;
    uint32_t i;
    clock_t start;

    for (i = 262144; i > 0; i--)
        buf_addf(&text, "%s%u", i == 262144 ? "" : ",", i * 3);
    seqset_init(&s);
    start = clock();
    ck_assert_int_eq(seqset_parse(text.data, text.len, 1, 262144, &s), 0);
    ck_assert_uint_eq(s.count, 262144);
    ck_assert_msg(clock() - start < 10 * CLOCKS_PER_SEC, "took %.1f s",
                  (double)(clock() - start) / CLOCKS_PER_SEC);
    seqset_free(&s);
    buf_free(&text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("seqset");
    TCase *t = tcase_create("seqset");
    SRunner *runner;
    int failed;

    tcase_add_test(t, sets_are_sorted_and_merged);
    tcase_add_test(t, star_is_the_largest_number);
    tcase_add_test(t, syntax_errors);
    tcase_add_test(t, number_of_ranges_is_limited);
    tcase_add_test(t, operations_agree_with_an_array);
    tcase_add_test(t, walk_gives_every_number_once);
    tcase_add_test(t, edges_of_the_number_range);
    tcase_add_test(t, unsorted_sets_cost_a_sort);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
