/*
 * Giving up root: each case in a child process, whose exit status tells. The cases that need
 * root pass without it by having nothing to do.
 */
#include <check.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "net/privilege.h"

#define OTHER_UID 65534
#define OTHER_GID 65533

static void
quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

/* Ends a child at once: a leak checker can't look into a process that changed its uid. */
static void
leave(int status, void *arg)
{
    (void)arg;
    _exit(status);
}

static int
status_of(void (*what)(void))
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        log_hook = quiet;
        on_exit(leave, NULL);
        what();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
drop_and_look(void)
{
    uid_t ru, eu, su;
    gid_t rg, eg, sg, list[4] = {1, 2, 3, 4};

    if (setgroups(4, list) != 0)
        _exit(1);
    privilege_drop(OTHER_UID, OTHER_GID);
    getresuid(&ru, &eu, &su);
    getresgid(&rg, &eg, &sg);
    if (ru != OTHER_UID || eu != OTHER_UID || su != OTHER_UID)
        _exit(2);
    if (rg != OTHER_GID || eg != OTHER_GID || sg != OTHER_GID)
        _exit(3);
    if (getgroups(0, NULL) != 0)
        _exit(4);
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setegid(0) == 0)
        _exit(5);
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        _exit(6);
    privilege_drop(OTHER_UID, OTHER_GID); /* again: nothing to do */
}

START_TEST(root_is_given_up_for_good)
{
    if (geteuid() == 0)
        ck_assert_int_eq(status_of(drop_and_look), 0);
}
END_TEST

static void
drop_to_root(void)
{
    privilege_drop(0, OTHER_GID);
}

START_TEST(root_is_no_user_to_become)
{
    if (geteuid() == 0)
        ck_assert_int_eq(status_of(drop_to_root), 78);
}
END_TEST

static void
own_ids(void)
{
    if (geteuid() == 0 && (setgid(OTHER_GID) != 0 || setuid(OTHER_UID) != 0))
        _exit(1);
    privilege_drop(getuid(), getgid());
}

START_TEST(own_ids_need_no_root)
{
    ck_assert_int_eq(status_of(own_ids), 0);
}
END_TEST

static void
other_ids(void)
{
    if (geteuid() == 0 && (setgid(OTHER_GID) != 0 || setuid(OTHER_UID) != 0))
        _exit(1);
    privilege_drop(getuid() + 1, getgid());
}

START_TEST(other_ids_without_root_are_fatal)
{
    ck_assert_int_eq(status_of(other_ids), 78);
}
END_TEST

/* Only the effective uid was changed: root can be had back, so this isn't "nothing to do". */
static void
half_dropped(void)
{
    if (setresuid((uid_t)-1, OTHER_UID, (uid_t)-1) != 0)
        _exit(1);
    privilege_drop(OTHER_UID, getgid());
}

START_TEST(a_saved_root_uid_is_noticed)
{
    if (geteuid() == 0)
        ck_assert_int_eq(status_of(half_dropped), 78);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("privilege");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, root_is_given_up_for_good);
    tcase_add_test(tcase, root_is_no_user_to_become);
    tcase_add_test(tcase, own_ids_need_no_root);
    tcase_add_test(tcase, other_ids_without_root_are_fatal);
    tcase_add_test(tcase, a_saved_root_uid_is_noticed);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
