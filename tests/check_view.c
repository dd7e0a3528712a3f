/*
 * store/view: what a client believes, under the changes of other sessions and programs.
 */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store_test.h"

static struct account *a;

static void
setup(void)
{
    store_setup();
    a = store_open();
}

static void
teardown(void)
{
    account_close(&a);
    store_teardown();
}

static struct view *
open_inbox(unsigned flags)
{
    struct view *v;

    ck_assert_int_eq(view_open(a, "INBOX", flags, &v), 0);
    return v;
}

START_TEST(select_of_an_empty_inbox)
{
    struct view *v = open_inbox(0);

    ck_assert_uint_eq(view_info(v)->exists, 0);
    ck_assert_uint_eq(view_info(v)->recent, 0);
    ck_assert_uint_eq(view_info(v)->uidnext, 1);
    ck_assert_uint_ne(view_info(v)->uidvalidity, 0);
    ck_assert_uint_eq(view_info(v)->first_unseen, 0);
    ck_assert_uint_eq(view_uid(v, 1), 0);
    view_close(&v);
}
END_TEST

START_TEST(append_store_expunge)
{
    struct view *v;
    struct view_changes c;
    struct seqset s;
    size_t len;
    char *text;

    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: a\r\n\r\none\r\n", 0, NULL), 1);
    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: b\r\n\r\ntwo\r\n", MSG_SEEN, NULL), 2);
    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: c\r\n\r\nthree\r\n", 0, NULL), 3);
    v = open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 3);
    ck_assert_uint_eq(view_info(v)->recent, 3);
    ck_assert_uint_eq(view_info(v)->first_unseen, 1);
    ck_assert_str_eq(view_text(v), "1 2S 3");
    text = message_text(v, 2, &len);
    ck_assert_str_eq(text, "Subject: b\r\n\r\ntwo\r\n");
    free(text);
    ck_assert_int_eq(store_flags(v, "1:2", STORE_ADD, MSG_DELETED), 0);
    ck_assert_str_eq(view_text(v), "1T 2ST 3");
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.flags.count, 0); /* its own changes aren't echoed */
    view_changes_free(&c);
    seqset_init(&s);
    ck_assert_int_eq(view_expunge(v, NULL, false, &s), 0);
    ck_assert_uint_eq(seqset_size(&s), 2);
    ck_assert_int_eq(files_in(store_dir, "cur"), 1);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 2);
    ck_assert_uint_eq(c.expunged[0], 1);
    ck_assert_uint_eq(c.expunged[1], 1);
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "3");
    ck_assert_uint_eq(view_info(v)->exists, 1);
    seqset_free(&s);
    view_close(&v);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("view");
    TCase *t = tcase_create("view");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, select_of_an_empty_inbox);
    tcase_add_test(t, append_store_expunge);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
