/*
 * format/rules: user names that may become part of a path (design, section 8).
 */
#include <check.h>
#include <string.h>

#include "base/err.h"
#include "format/rules.h"

static const char *
checked(const char *name, bool lower, const char *domain)
{
    static char result[600];
    struct buf out = BUF_INIT(sizeof result - 1);

    if (user_name_check(name, strlen(name), lower, domain, &out) < 0)
        memcpy(result, "refused", 8);
    else
        memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    return result;
}

START_TEST(names_that_pass)
{
    ck_assert_str_eq(checked("ann", true, ""), "ann");
    ck_assert_str_eq(checked("Ann@Example.ORG", true, ""), "ann@example.org");
    ck_assert_str_eq(checked("Ann", false, ""), "Ann");
    ck_assert_str_eq(checked("J\xc3\x96RG", true, ""), "j\xc3\xb6rg");
    ck_assert_str_eq(checked("jo\xcc\x88rg", true, ""), "j\xc3\xb6rg"); /* NFC */
    ck_assert_str_eq(checked("a b+c=d~e", true, ""), "a b+c=d~e");
    ck_assert_str_eq(checked("a.b", true, ""), "a.b");
}
END_TEST

START_TEST(default_domain)
{
    ck_assert_str_eq(checked("ann", true, "example.org"), "ann@example.org");
    ck_assert_str_eq(checked("ann@x", true, "example.org"), "ann@x");
    ck_assert_str_eq(checked("ann", true, "../x"), "refused");
}
END_TEST

/* Nothing of this may ever reach a path. */
START_TEST(names_that_are_refused)
{
    static const char *const bad[] = {
        "",      ".",      "..",     ".ann",      "a/b",  "/",         "a..b",
        "a\nb",  "a\x7f",  "\x01",   "a\xc2\x85", "\xff", "a\xc0\xaf", "\xed\xa0\x80",
        "@",     "@x",     "a@",     "a@.",       "a@..", "a@.x",      "a@x/y",
        "a\xc2", "a@b@.c", "../a@x", "a/../@x",
    };
    struct buf out = BUF_INIT(600);
    char longname[300];
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strcmp(checked(bad[i], true, ""), "refused") == 0, "%s", bad[i]);
    ck_assert_int_eq(user_name_check("a\0b", 3, true, "", &out), ERR_CANNOT);
    memset(longname, 'a', sizeof longname);
    ck_assert_int_eq(user_name_check(longname, 255, true, "", &out), 0);
    ck_assert_int_eq(user_name_check(longname, 256, true, "", &out), ERR_CANNOT);
    ck_assert_int_eq(user_name_check(longname, 250, true, "long.org", &out), ERR_CANNOT);
    ck_assert_uint_eq(out.len, 0);
    buf_free(&out);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("rules");
    TCase *t = tcase_create("rules");
    SRunner *runner;
    int failed;

    tcase_add_test(t, names_that_pass);
    tcase_add_test(t, default_domain);
    tcase_add_test(t, names_that_are_refused);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
