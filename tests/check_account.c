/*
 * store/account: first login, daily housekeeping, paths.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store_test.h"

static void
ignore_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
setup(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    store_setup();
}

static void
teardown(void)
{
    log_hook = NULL;
    store_teardown();
}

static void
auto_folders(const char *value)
{
    free(store_conf()->auto_folders);
    store_conf()->auto_folders = mem_strdup(value);
}

static bool
there(const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    return access(path, F_OK) == 0;
}

static mode_t
mode_of(const char *name)
{
    char path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(first_login_makes_the_folders)
{
    struct folder_list l;
    struct account *a;
    size_t i;

    auto_folders("Drafts:\\Drafts, Entw\xc3\xbcrfe, Sent:\\Sent, Sent, , Junk:\\Junk");
    a = store_open();
    ck_assert_int_eq(folder_list(a, &l), 0);
    ck_assert_uint_eq(l.count, 5);
    ck_assert_str_eq(l.items[1].name, "Drafts");
    ck_assert_uint_eq(l.items[1].special_use, SPECIAL_DRAFTS);
    ck_assert_str_eq(l.items[2].name, "Entw&APw-rfe");
    for (i = 1; i < l.count; i++)
        ck_assert(l.items[i].exists && l.items[i].subscribed);
    folder_list_free(&l);
    ck_assert(!there("mansio-pending"));
    ck_assert_uint_eq(mode_of("."), 0700);
    ck_assert_uint_eq(mode_of("cur"), 0700);
    ck_assert_uint_eq(mode_of("mansio-index"), 0700);
    ck_assert_uint_eq(mode_of("subscriptions"), 0600);
    ck_assert_int_eq(folder_delete(a, "Junk"), 0);
    account_close(&a);
    a = store_open(); /* not again */
    ck_assert(!there(".Junk"));
    account_close(&a);
}
END_TEST

/* A Maildir that another server made: at our first login its folders get their use, and what is
   missing is made; not at the second. */
START_TEST(existing_maildir_is_taken_over)
{
    static const char *const dirs[] = {"",       "/cur",       "/new",       "/tmp",
                                       "/.Sent", "/.Sent/cur", "/.Sent/new", "/.Sent/tmp"};
    struct folder_list l;
    struct account *a;
    char path[600];
    size_t i;

    for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        snprintf(path, sizeof path, "%s%s", store_dir, dirs[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    auto_folders("Sent:\\Sent, Trash:\\Trash");
    a = store_open();
    ck_assert_int_eq(folder_list(a, &l), 0);
    ck_assert_uint_eq(l.count, 3);
    ck_assert_str_eq(l.items[1].name, "Sent");
    ck_assert_uint_eq(l.items[1].special_use, SPECIAL_SENT);
    ck_assert_uint_eq(l.items[2].special_use, SPECIAL_TRASH);
    ck_assert(l.items[1].subscribed && l.items[2].subscribed);
    folder_list_free(&l);
    ck_assert_int_eq(folder_delete(a, "Trash"), 0);
    account_close(&a);
    a = store_open();
    ck_assert(!there(".Trash"));
    account_close(&a);
}
END_TEST

/* The first login was cut short: the next one makes the folders. */
START_TEST(first_login_that_was_cut_short)
{
    struct account *a;
    char path[600];

    auto_folders("");
    a = store_open();
    account_close(&a);
    auto_folders("Sent:\\Sent");
    neighbour_put(store_dir, ".", "mansio-pending", "setup\n");
    a = store_open();
    ck_assert(there(".Sent/cur"));
    ck_assert_int_eq(folder_delete(a, "Sent"), 0);
    account_close(&a);
    snprintf(path, sizeof path, "%s/cur", store_dir);
    ck_assert_int_eq(rmdir(path), 0); /* it came no further than this */
    a = store_open();
    ck_assert(there(".Sent/cur"));
    ck_assert(!there("mansio-pending"));
    account_close(&a);
}
END_TEST

/* Nonsense in that file doesn't keep a user out. */
START_TEST(damaged_pending_file)
{
    struct account *a = store_open();

    account_close(&a);
    log_hook = ignore_log;
    neighbour_put(store_dir, ".", "mansio-pending", "rename\t../x\t/etc\n");
    a = store_open();
    account_close(&a);
    neighbour_put(store_dir, ".", "mansio-pending", "");
    a = store_open();
    ck_assert(!there("mansio-pending"));
    account_close(&a);
}
END_TEST

static void
make_old(const char *name, int hours)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - 3600 * hours}, {0}};
    char path[600];

    times[1] = times[0];
    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int64_t
in_two_days(void)
{
    return (int64_t)time(NULL) + 2 * 86400;
}

/* tmp/ is purged of files older than 36 hours, once a day; deletions are finished. */
START_TEST(housekeeping)
{
    struct account *a = store_open();
    char path[600];

    account_close(&a);
    neighbour_put(store_dir, "tmp", "old", "x");
    neighbour_put(store_dir, "tmp", "young", "x");
    make_old("tmp/old", 40);
    a = store_open();
    ck_assert_int_eq(folder_create(a, "F", 0), 0);
    account_close(&a);
    neighbour_put(store_dir, ".F/tmp", "old", "x");
    make_old(".F/tmp/old", 40);
    snprintf(path, sizeof path, "%s/mansio-deleted.1", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    neighbour_put(store_dir, "mansio-deleted.1", "file", "x");
    a = store_open();
    ck_assert(there("tmp/old")); /* not twice a day */
    account_close(&a);
    sys_hooks.now = in_two_days;
    make_old("tmp/young", -48);
    a = store_open();
    ck_assert(!there("tmp/old"));
    ck_assert(!there(".F/tmp/old"));
    ck_assert(there("tmp/young"));
    ck_assert(!there("mansio-deleted.1"));
    account_close(&a);
}
END_TEST

START_TEST(paths_are_expanded)
{
    struct account_params p = {.conf = store_conf(), .user = "bob@example.org", .home = ""};
    char location[600], index[600], expected[700];
    struct account *a;
    struct view *v;

    snprintf(location, sizeof location, "%s/%%d/%%n/Maildir", store_dir);
    snprintf(index, sizeof index, "%s/index/%%u", store_dir);
    snprintf(expected, sizeof expected, "%s/example.org/bob/Maildir", store_dir);
    free(store_conf()->mail_location);
    store_conf()->mail_location = mem_strdup(location);
    free(store_conf()->index_dir);
    store_conf()->index_dir = mem_strdup(index);
    ck_assert_int_eq(account_open(&p, &a), 0);
    ck_assert_str_eq(account_mail_dir(a), expected);
    ck_assert_str_eq(account_user(a), "bob@example.org");
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    view_close(&v);
    ck_assert(there("index/bob@example.org/lock"));
    ck_assert(!there("example.org/bob/Maildir/mansio-index"));
    account_idle(a);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    account_idle(a);
    sync_quietly(v);
    view_close(&v);
    account_close(&a);
}
END_TEST

START_TEST(maildir_that_cannot_be_made)
{
    struct account_params p = {.conf = store_conf(), .user = "ann", .home = ""};
    struct account *a;

    log_hook = ignore_log;
    p.mail_location = "/dev/null/Maildir";
    ck_assert_int_lt(account_open(&p, &a), 0);
    ck_assert_ptr_null(a);
    p.mail_location = "relative";
    ck_assert_int_eq(account_open(&p, &a), ERR_CANNOT);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("account");
    TCase *t = tcase_create("account");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, first_login_makes_the_folders);
    tcase_add_test(t, existing_maildir_is_taken_over);
    tcase_add_test(t, first_login_that_was_cut_short);
    tcase_add_test(t, damaged_pending_file);
    tcase_add_test(t, housekeeping);
    tcase_add_test(t, paths_are_expanded);
    tcase_add_test(t, maildir_that_cannot_be_made);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
