/*
 * format/mdname: Maildir file names.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "format/mdname.h"

START_TEST(fields_and_flags_are_read)
{
    struct mdname m;
    const char *name = "1700000000.M1P2.host,S=1234,W=1260:2,FRSab";

    ck_assert_int_eq(mdname_parse(name, &m), 0);
    ck_assert_uint_eq(m.base_len, strlen("1700000000.M1P2.host,S=1234,W=1260"));
    ck_assert_ptr_eq(m.base, name);
    ck_assert_uint_eq(m.size, 1234);
    ck_assert_uint_eq(m.crlf_size, 1260);
    ck_assert_uint_eq(m.flags, MSG_FLAGGED | MSG_ANSWERED | MSG_SEEN);
    ck_assert_uint_eq(m.keywords, 3);
    ck_assert(m.has_info);
    ck_assert_str_eq(m.other, "");
}
END_TEST

START_TEST(a_name_in_new_has_no_info)
{
    struct mdname m;

    ck_assert_int_eq(mdname_parse("1700000000.M1P2.host", &m), 0);
    ck_assert(!m.has_info);
    ck_assert_uint_eq(m.size, MDNAME_SIZE_UNKNOWN);
    ck_assert_uint_eq(m.crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_uint_eq(m.flags, 0);
    ck_assert_uint_eq(m.base_len, 20);
}
END_TEST

START_TEST(what_is_no_message)
{
    struct mdname m;
    char name[400];

    ck_assert_int_eq(mdname_parse("", &m), ERR_SYNTAX);
    ck_assert_int_eq(mdname_parse(".", &m), ERR_SYNTAX);
    ck_assert_int_eq(mdname_parse(".hidden", &m), ERR_SYNTAX);
    ck_assert_int_eq(mdname_parse(":2,S", &m), ERR_SYNTAX);
    ck_assert_int_eq(mdname_parse("a\nb:2,S", &m), ERR_SYNTAX);
    ck_assert_int_eq(mdname_parse("a/b", &m), ERR_SYNTAX);
    memset(name, 'a', sizeof name);
    name[256] = '\0';
    ck_assert_int_eq(mdname_parse(name, &m), ERR_SYNTAX);
    name[255] = '\0';
    ck_assert_int_eq(mdname_parse(name, &m), 0);
}
END_TEST

START_TEST(sizes_are_taken_only_when_well_formed)
{
    struct mdname m;

    ck_assert_int_eq(mdname_parse("a,S=:2,", &m), 0);
    ck_assert_uint_eq(m.size, MDNAME_SIZE_UNKNOWN);
    ck_assert_int_eq(mdname_parse("a,S=12x,W=7", &m), 0);
    ck_assert_uint_eq(m.size, MDNAME_SIZE_UNKNOWN);
    ck_assert_uint_eq(m.crlf_size, 7);
    ck_assert_int_eq(mdname_parse("a,S=99999999999999999999", &m), 0);
    ck_assert_uint_eq(m.size, MDNAME_SIZE_UNKNOWN);
    ck_assert_int_eq(mdname_parse("a,S=0,X=1,W=0:2,S", &m), 0);
    ck_assert_uint_eq(m.size, 0);
    ck_assert_uint_eq(m.crlf_size, 0);
    ck_assert_int_eq(mdname_parse("a,S=5,W=10", &m), 0);
    ck_assert_uint_eq(m.crlf_size, 10);
    ck_assert_int_eq(mdname_parse("a,S=5,W=11", &m), 0); /* can't be */
    ck_assert_uint_eq(m.crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_int_eq(mdname_parse("a,S=5,W=4", &m), 0);
    ck_assert_uint_eq(m.crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_int_eq(mdname_parse("a:2,S,S=5", &m), 0); /* in the info it's no size */
    ck_assert_uint_eq(m.size, MDNAME_SIZE_UNKNOWN);
}
END_TEST

static const char *
rebuilt(const char *name, unsigned add)
{
    static char out[MDNAME_MAX + 1];
    struct mdname m;

    ck_assert_int_eq(mdname_parse(name, &m), 0);
    ck_assert_int_eq(mdname_build(m.base, m.base_len, m.flags | add, m.keywords, m.other, out),
                     0);
    return out;
}

/* A neighbour's letters and fields survive our flag changes. */
START_TEST(unknown_letters_and_fields_are_kept)
{
    ck_assert_str_eq(rebuilt("a,S=1,X=y,Z=z:2,S", MSG_FLAGGED), "a,S=1,X=y,Z=z:2,FS");
    ck_assert_str_eq(rebuilt("a:2,ABS", 0), "a:2,ABS");
    ck_assert_str_eq(rebuilt("a:2,ZSA", MSG_DRAFT), "a:2,ADSZ");
    ck_assert_str_eq(rebuilt("a:2,S,more=1", MSG_DRAFT), "a:2,DS,more=1");
    ck_assert_str_eq(rebuilt("a:2,zaS", 0), "a:2,Saz");
    ck_assert_str_eq(rebuilt("a:2,SSS", 0), "a:2,S");
    ck_assert_str_eq(rebuilt("a:2,S7", 0), "a:2,7S");
    ck_assert_str_eq(rebuilt("a:2,", MSG_PASSED), "a:2,P");
    ck_assert_str_eq(rebuilt("a", MSG_SEEN), "a:2,S");
    ck_assert_str_eq(rebuilt("a:1,x:2,S", 0), "a:1,x:2,S");
    ck_assert_str_eq(rebuilt("a:2,S:2,F", 0), "a:2,2:S,F"); /* one info only: the first */
    ck_assert_str_eq(rebuilt("a:2,ABCEGHIJKLMNOQUVWXYZ", 0), "a:2,ABCEGHIJKLMNOQUVWXYZ");
    ck_assert_str_eq(rebuilt("a:2,DFPRSTabcdefghijklmnopqrstuvwxyz", 0),
                     "a:2,DFPRSTabcdefghijklmnopqrstuvwxyz");
}
END_TEST

/* Taking apart and building gives a name that means the same, for any octets. */
START_TEST(round_trip_of_random_names)
{
    static const char some[] = "abzDFPRSTXQ:2,=SW019.~\x80\xff";
    char name[64], again[MDNAME_MAX + 1];
    struct mdname a, b;
    unsigned round;
    size_t i, n;

    srand(5);
    for (round = 0; round < 10000; round++) {
        n = 1 + (size_t)rand() % 40;
        for (i = 0; i < n; i++)
            name[i] = some[(size_t)rand() % (sizeof some - 1)];
        name[n] = '\0';
        if (mdname_parse(name, &a) < 0)
            continue;
        ck_assert_int_eq(mdname_build(a.base, a.base_len, a.flags, a.keywords, a.other, again),
                         0);
        ck_assert_int_eq(mdname_parse(again, &b), 0);
        ck_assert_uint_eq(a.base_len, b.base_len);
        ck_assert_mem_eq(a.base, b.base, a.base_len);
        ck_assert_uint_eq(a.flags, b.flags);
        ck_assert_uint_eq(a.keywords, b.keywords);
        ck_assert_str_eq(a.other, b.other);
    }
}
END_TEST

START_TEST(names_have_a_bound)
{
    char base[300], out[MDNAME_MAX + 1];

    memset(base, 'a', sizeof base);
    ck_assert_int_eq(mdname_build(base, 251, MSG_SEEN, 0, "", out), 0);
    ck_assert_uint_eq(strlen(out), 255);
    ck_assert_int_eq(mdname_build(base, 251, MSG_SEEN | MSG_DRAFT, 0, "", out), ERR_LIMIT);
    ck_assert_int_eq(mdname_build(base, 251, 0, 0, ",x", out), ERR_LIMIT);
    ck_assert_int_eq(mdname_build(base, 300, 0, 0, "", out), ERR_LIMIT);
}
END_TEST

START_TEST(new_names_differ_and_parse)
{
    char a[MDNAME_MAX + 1], b[MDNAME_MAX + 1];
    struct mdname m;

    ck_assert_int_eq(mdname_new(10, 12, a), 0);
    ck_assert_int_eq(mdname_new(10, 12, b), 0);
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(mdname_parse(a, &m), 0);
    ck_assert_uint_eq(m.size, 10);
    ck_assert_uint_eq(m.crlf_size, 12);
    ck_assert_uint_eq(m.base_len, strlen(a));
    ck_assert(strchr(a, ':') == NULL && strchr(a, '/') == NULL);
    ck_assert_int_eq(mdname_new(UINT64_MAX - 1, UINT64_MAX - 1, a), 0);
    ck_assert_int_eq(mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, a), 0);
    ck_assert(strstr(a, ",S=") == NULL);
}
END_TEST

START_TEST(names_made_after_a_mark)
{
    char before[MDNAME_MAX + 1], after[MDNAME_MAX + 1], other[MDNAME_MAX + 1];
    char mark[MDNAME_MARK_SIZE], *q;

    ck_assert_int_eq(mdname_new(1, 2, before), 0);
    mdname_mark(mark);
    ck_assert_int_eq(mdname_new(1, 2, after), 0);
    ck_assert(mdname_is_after(after, mark));
    ck_assert(!mdname_is_after(before, mark));
    ck_assert_int_eq(mdname_build(after, strlen(after), MSG_SEEN, 1, "", other), 0);
    ck_assert(mdname_is_after(other, mark));
    ck_assert_int_eq(mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, other), 0);
    ck_assert(mdname_is_after(other, mark));
    strncat(other, "x", 2); /* another host */
    ck_assert(!mdname_is_after(other, mark));
    memcpy(other, after, sizeof other);
    q = strchr(other, 'P') + 1; /* another process */
    *q = *q == '1' ? '2' : '1';
    ck_assert(!mdname_is_after(other, mark));
    memcpy(other, after, sizeof other);
    other[0] = '0'; /* long before */
    ck_assert(!mdname_is_after(other, mark));
    ck_assert(!mdname_is_after("1700000000.M1P1.host", mark));
    ck_assert(!mdname_is_after(after, ""));
    ck_assert(!mdname_is_after(after, "1 2"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("mdname");
    TCase *t = tcase_create("mdname");
    SRunner *runner;
    int failed;

    tcase_add_test(t, fields_and_flags_are_read);
    tcase_add_test(t, a_name_in_new_has_no_info);
    tcase_add_test(t, what_is_no_message);
    tcase_add_test(t, sizes_are_taken_only_when_well_formed);
    tcase_add_test(t, unknown_letters_and_fields_are_kept);
    tcase_add_test(t, round_trip_of_random_names);
    tcase_add_test(t, names_have_a_bound);
    tcase_add_test(t, names_made_after_a_mark);
    tcase_add_test(t, new_names_differ_and_parse);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
