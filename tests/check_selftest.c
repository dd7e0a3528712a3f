/*
 * mansioctl selftest must say no where something is wrong (proc/ctl_selftest*.c): a file
 * system whose fsync fails, and each thing that a kill must not leave.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "proc/ctl_selftest.h"
#include "store/maildir.h"

static struct state before, done, now;
static char why[300];

static int
broken_fsync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

START_TEST(broken_fsync_is_a_no)
{
    char dir[] = "/tmp/check_selftest.XXXXXX", text[4000] = "", path[64];
    unsigned wrong;
    FILE *f;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/out", dir);
    ck_assert_ptr_nonnull(freopen(path, "w", stdout));
    sys_hooks.fsync = broken_fsync;
    wrong = selftest_run(dir, false);
    sys_hooks.fsync = NULL;
    fflush(stdout);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
    fclose(f);
    ck_assert_uint_eq(wrong, 2);
    ck_assert_ptr_nonnull(strstr(text, "NO    fsync of files"));
    ck_assert_ptr_nonnull(strstr(text, "NO    fsync of directories"));
    ck_assert_ptr_nonnull(strstr(text, "Don't keep mail on this file system"));
    ck_assert_int_eq(maildir_remove_tree(AT_FDCWD, dir), 0);
}
END_TEST

static struct state_folder *
folder(struct state *s, const char *name, uint32_t uidvalidity, uint32_t uidnext)
{
    struct state_folder *f = &s->folders[s->folders_count++];

    memset(f, 0, sizeof *f);
    snprintf(f->name, sizeof f->name, "%s", name);
    f->uidvalidity = uidvalidity;
    f->uidnext = uidnext;
    return f;
}

static void
message(struct state_folder *f, uint32_t uid, uint64_t sum)
{
    f->messages[f->count++] = (struct state_message){.uid = uid, .sum = sum};
}

/* A message 3 is added to two that are there, and a folder's only one is moved away. */
static void
states(void)
{
    struct state_folder *f;

    memset(&before, 0, sizeof before);
    memset(&done, 0, sizeof done);
    memset(&now, 0, sizeof now);
    before.complete = done.complete = true;
    f = folder(&before, "INBOX", 100, 3);
    message(f, 1, 11);
    message(f, 2, 22);
    message(folder(&before, "Work", 200, 2), 1, 33);
    f = folder(&done, "INBOX", 100, 4);
    message(f, 1, 11);
    message(f, 2, 22);
    message(f, 3, 33);
    folder(&done, "Work", 200, 2);
    now = before;
}

static bool
well(bool acknowledged)
{
    return selftest_judge(&before, &done, &now, acknowledged, true, why, sizeof why);
}

START_TEST(what_may_be)
{
    ck_assert_msg(well(false), "%s", why);
    now = done;
    ck_assert_msg(well(false), "%s", why);
    ck_assert_msg(well(true), "%s", why);
    now = done; /* both: moved, the source not yet gone */
    now.folders[1] = before.folders[1];
    ck_assert_msg(well(false), "%s", why);
    now = done; /* the new one has got another UID by a scan */
    now.folders[0].messages[2].uid = 5;
    now.folders[0].uidnext = 6;
    ck_assert_msg(well(false), "%s", why);
}
END_TEST

static void
refused(bool acknowledged, const char *text)
{
    why[0] = '\0';
    ck_assert_msg(!well(acknowledged), "%s: not noticed", text);
    ck_assert_msg(strstr(why, text) != NULL, "\"%s\" isn't \"%s\"", why, text);
    now = before;
}

START_TEST(what_may_not_be)
{
    refused(true, "not done");
    now.folders[0].count = 1;
    refused(false, "is lost");
    now.folders[1].count = 0; /* neither here nor there */
    refused(false, "is lost");
    now.folders[0].messages[1] = (struct state_message){.uid = 7, .sum = 22};
    refused(false, "lost its UID");
    now.folders[0].messages[0].sum = 33;
    refused(false, "is lost");
    now.folders[0].messages[0].sum = 22;
    now.folders[0].messages[1].sum = 11;
    refused(false, "another message");
    message(&now.folders[0], 3, 99);
    refused(false, "not whole");
    message(&now.folders[1], 1, 22);
    now.folders[1].messages[0].uid = 5;
    refused(false, "another message");
    now.folders[0].uidvalidity = 101;
    refused(false, "lost");
    now.folders[0].uidnext = 2;
    refused(false, "given again");
    folder(&now, "Strange", 300, 1);
    refused(false, "nobody made");
    now.faults = 1;
    refused(false, "index");
    now.complete = false;
    refused(false, "can't be read");
    snprintf(now.subscribed, sizeof now.subscribed, "Work ");
    refused(false, "subscriptions");
    now = done;
    now.folders[0].messages[0].flags = 1;
    refused(true, "not as it should be");
}
END_TEST

/* A UID that was another message's before the operation. */
START_TEST(a_reused_uid)
{
    before.folders[0].uidnext = 9;
    done.folders[0].uidnext = 10;
    now = before;
    message(&now.folders[0], 5, 33);
    refused(false, "UID of another message");
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("selftest");
    TCase *c = tcase_create("selftest");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(c, states, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, broken_fsync_is_a_no);
    tcase_add_test(c, what_may_be);
    tcase_add_test(c, what_may_not_be);
    tcase_add_test(c, a_reused_uid);
    suite_add_tcase(s, c);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
