/*
 * store/mailbox_status and mailbox_id: STATUS of many folders, and what nobody may be told
 * before it's durable. The folders are another program's, without rows, and another server's.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/mailbox_private.h"
#include "store_test.h"

#define FOLDERS  40
#define LISTED   5  /* every fifth has a list of another server */
#define VALIDITY 77 /* of the first list */

static struct account *a;
static char names[FOLDERS][16];
static struct mailbox_answer answers[FOLDERS];
static int syncs, commits_unsynced;

static void
ignore_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
make_dir(const char *name, const char *part)
{
    char path[400];

    snprintf(path, sizeof path, "%s/.%s/%s", store_dir, name, part);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* The i-th folder has i % 3 messages. */
static void
make_folder(int i)
{
    char dir[400], text[64];

    snprintf(names[i], sizeof names[i], "f%02d", i);
    make_dir(names[i], "");
    make_dir(names[i], "cur");
    make_dir(names[i], "new");
    make_dir(names[i], "tmp");
    snprintf(dir, sizeof dir, "%s/.%s", store_dir, names[i]);
    if (i % 3 > 0)
        neighbour_put(dir, "cur", "1700000001.M1P1.h:2,S", "a\n");
    if (i % 3 > 1)
        neighbour_put(dir, "new", "1700000002.M1P1.h", "b\n");
    snprintf(text, sizeof text, "3 V%d N100\n%s", VALIDITY + i,
             i % 3 > 0 ? "50 :1700000001.M1P1.h\n" : "");
    if (i % LISTED == 0)
        neighbour_put(dir, "", "dovecot-uidlist", text);
}

static void
ask(struct account *of, bool need_size)
{
    memset(answers, 0, sizeof answers);
    for (int i = 0; i < FOLDERS; i++)
        answers[i].name = names[i];
    mailbox_statuses(of, need_size, answers, FOLDERS);
}

static void
setup(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    store_setup();
    a = store_open();
    for (int i = 0; i < FOLDERS; i++)
        make_folder(i);
    syncs = commits_unsynced = 0;
}

static void
teardown(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    log_hook = NULL;
    account_close(&a);
    store_teardown();
}

/* What must be in the answers, and in the folders' files. */
static void
check_answers(void)
{
    uint32_t id, uidvalidity;
    char dir[40];

    for (int i = 0; i < FOLDERS; i++) {
        const struct mailbox_status *st = &answers[i].status;
        bool listed = i % LISTED == 0;

        ck_assert_int_eq(answers[i].err, 0);
        ck_assert_uint_eq(st->messages, (unsigned)i % 3);
        ck_assert_uint_eq(st->unseen, i % 3 > 1);
        if (listed)
            ck_assert_uint_eq(st->uidvalidity, (unsigned)(VALIDITY + i));
        ck_assert_uint_eq(st->uidnext,
                          listed ? 100 + (unsigned)(i % 3 > 1) : 1 + (unsigned)i % 3);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(st->uidvalidity, answers[j].status.uidvalidity);
        snprintf(dir, sizeof dir, ".f%02d", i);
        ck_assert(mailbox_read_id(a->root, dir, &id, &uidvalidity));
        ck_assert_uint_eq(uidvalidity, st->uidvalidity);
    }
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}

static int
count_syncs(int fd)
{
    syncs++;
    return fsync(fd);
}

/* Commits since the last sync. */
static void
watch_commits(const char *step)
{
    if (strcmp(step, "index:commit") == 0)
        commits_unsynced++;
    if (strcmp(step, "index:synced") == 0)
        commits_unsynced = 0;
}

/* Forty folders cost a few syncs, not three each; and all is durable before it's told. */
START_TEST(many_new_folders_are_synced_together)
{
    struct mailbox_status st;

    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    sys_hooks.fsync = count_syncs;
    sys_hooks.step = watch_commits;
    ask(a, false);
    ck_assert_int_ge(syncs, 2); /* the index, the ids */
    ck_assert_int_lt(syncs, FOLDERS);
    ck_assert_int_eq(commits_unsynced, 0);
    check_answers();
    syncs = 0;
    ask(a, false);
    ck_assert_int_eq(syncs, 0);
    check_answers();
}
END_TEST

/* The same as one by one. */
START_TEST(answers_are_those_of_single_ones)
{
    struct mailbox_status st;

    ask(a, true);
    for (int i = 0; i < FOLDERS; i++) {
        ck_assert_int_eq(mailbox_status(a, names[i], true, &st), 0);
        ck_assert_uint_eq(st.uidvalidity, answers[i].status.uidvalidity);
        ck_assert_uint_eq(st.messages, answers[i].status.messages);
        ck_assert_uint_eq(st.crlf_bytes, 3 * (unsigned)(i % 3)); /* measured */
        ck_assert_uint_eq(answers[i].status.crlf_bytes, st.crlf_bytes);
    }
    check_answers();
}
END_TEST

/* One that isn't there, and one whose name can't be, disturb nobody. */
START_TEST(missing_folders_among_others)
{
    static char no[3][MBOXNAME_MAX + 20] = {"none", "INBOX"};
    struct mailbox_answer items[4] = {
        {.name = names[1]}, {.name = no[0]}, {.name = no[2]}, {.name = names[2]}};

    memset(no[2], 'x', MBOXNAME_MAX + 10);
    mailbox_statuses(a, false, items, 4);
    ck_assert_int_eq(items[0].err, 0);
    ck_assert_int_eq(items[1].err, ERR_NOENT);
    ck_assert_int_lt(items[2].err, 0);
    ck_assert_int_eq(items[3].err, 0);
    ck_assert_uint_eq(items[3].status.messages, 2);
}
END_TEST

static int
refuse(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

/* What can't be made durable isn't told. */
START_TEST(nothing_is_told_that_could_not_be_synced)
{
    struct mailbox_status st;
    int told = 0;

    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    log_hook = ignore_log;
    sys_hooks.fsync = refuse;
    ask(a, false);
    for (int i = 0; i < FOLDERS; i++)
        told += answers[i].err == 0;
    ck_assert_int_eq(told, 0);
    sys_hooks.fsync = NULL;
    ask(a, false);
    check_answers();
}
END_TEST

/* New mail counts at once, though the folder isn't opened for it. */
START_TEST(changes_are_seen_by_the_times_alone)
{
    char dir[400];

    ask(a, false);
    settle();
    ask(a, false);
    snprintf(dir, sizeof dir, "%s/.%s", store_dir, names[3]);
    neighbour_deliver(dir, "c\n");
    snprintf(dir, sizeof dir, "%s/.%s", store_dir, names[4]);
    neighbour_rename(dir, "cur/1700000001.M1P1.h:2,S", "cur/1700000001.M1P1.h:2,");
    ask(a, false);
    ck_assert_uint_eq(answers[3].status.messages, 1);
    ck_assert_uint_eq(answers[4].status.unseen, 1);
    ck_assert_uint_eq(answers[5].status.messages, 2);
}
END_TEST

static int steps_left;

static void
kill_at_step(const char *name)
{
    (void)name;
    if (--steps_left == 0)
        kill(getpid(), SIGKILL);
}

/* Dies at the k-th step. False when it got to its end. */
static bool
crashed_at(int k)
{
    int status;
    pid_t pid;

    account_close(&a); /* an environment isn't taken over a fork */
    pid = fork();
    if (pid == 0) {
        struct account *mine = store_open();

        steps_left = k;
        sys_hooks.step = kill_at_step;
        ask(mine, false);
        account_close(&mine);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    a = store_open();
    return status != 0;
}

/* Killed anywhere: the next one has each folder's UIDs of the list, and gives it an id. */
START_TEST(first_status_survives_a_crash_at_each_step)
{
    bool crashed = true;

    log_hook = ignore_log;
    for (int k = _i + 1; crashed && k < 2000; k += 97) {
        crashed = crashed_at(k);
        ask(a, false);
        check_answers();
        teardown();
        setup();
        log_hook = ignore_log;
    }
    ck_assert(!crashed);
}
END_TEST

/* A crash (or an administrator) left a row without an id: the recovery gives it one, and torn
   ones count as none. What another program put there stays. */
START_TEST(recovery_gives_missing_ids)
{
    char path[400];
    int status;
    pid_t pid;

    log_hook = ignore_log;
    ask(a, false);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/.f%02d/" MAILBOX_ID_FILE, store_dir, i);
        ck_assert_int_eq(i == 0 ? unlink(path) : truncate(path, i == 1 ? 0 : 1), 0);
    }
    pid = fork();
    if (pid == 0) {
        struct account *other = store_open();

        if (account_lock(other) == 0)
            kill(getpid(), SIGKILL); /* dies with the lock */
        account_close(&other);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ask(a, false);
    check_answers();
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("status");
    TCase *t = tcase_create("status");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, many_new_folders_are_synced_together);
    tcase_add_test(t, answers_are_those_of_single_ones);
    tcase_add_test(t, missing_folders_among_others);
    tcase_add_test(t, nothing_is_told_that_could_not_be_synced);
    tcase_add_test(t, changes_are_seen_by_the_times_alone);
    tcase_add_loop_test(t, first_status_survives_a_crash_at_each_step, 0, 2);
    tcase_add_test(t, recovery_gives_missing_ids);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
