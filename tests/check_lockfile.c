/*
 * base/lockfile: who sees which state, waiting, and what a killed holder leaves.
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
#include "base/lockfile.h"
#include "base/sys.h"

static char dir[64];
static int dirfd_;

static void
setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/check_lockfile.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(dirfd_, 0);
}

static void
teardown(void)
{
    unlinkat(dirfd_, "lock", 0);
    close(dirfd_);
    rmdir(dir);
}

static struct lockfile *
open_lock(void)
{
    struct lockfile *l;

    ck_assert_int_eq(lockfile_open(dirfd_, "lock", &l), 0);
    return l;
}

/* A lock file that has gone through its first recovery. */
static struct lockfile *
open_ready(void)
{
    struct lockfile *l = open_lock();

    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    return l;
}

/* Runs fn in a child with a handle of its own; returns its exit status, -1 if it was killed. */
static int
in_child(int (*fn)(struct lockfile *l))
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct lockfile *l;

        if (lockfile_open(dirfd_, "lock", &l) != 0)
            _exit(99);
        _exit(fn(l));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
child_state(struct lockfile *l)
{
    int state = lockfile_lock(l, 0);

    if (state < 0)
        return 50 - state;
    lockfile_unlock(l);
    return state;
}

static int
child_dies_inside(struct lockfile *l)
{
    if (lockfile_lock(l, 5) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int
child_recovers(struct lockfile *l)
{
    if (lockfile_lock(l, 5) != LOCK_RECOVER)
        return 1;
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    return 0;
}

START_TEST(new_file_must_be_recovered)
{
    struct lockfile *l = open_lock();
    struct stat st;

    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    ck_assert(lockfile_held(l));
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    ck_assert(!lockfile_held(l));
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_unlock(l);
    ck_assert_int_eq(fstatat(dirfd_, "lock", &st, 0), 0);
    ck_assert_int_eq(st.st_size, LOCKFILE_SIZE);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    lockfile_close(&l);
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(first_lock_of_a_handle_is_never_clean)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(in_child(child_state), LOCK_REOPEN);
    lockfile_close(&l);
}
END_TEST

START_TEST(recovery_not_finished_is_asked_for_again)
{
    struct lockfile *l = open_lock();

    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_unlock_dirty(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_unlock_dirty(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_close(&l); /* held: dirty too */
    l = open_lock();
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_close(&l);
}
END_TEST

START_TEST(a_holder_killed_inside_is_noticed)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(in_child(child_dies_inside), -1);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_unlock(l);
    lockfile_close(&l);
}
END_TEST

START_TEST(a_new_epoch_of_another_asks_for_reopening_once)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(in_child(child_dies_inside), -1);
    ck_assert_int_eq(in_child(child_recovers), 0);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_REOPEN);
    lockfile_unlock(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_unlock(l);
    lockfile_close(&l);
}
END_TEST

/* Overwrites octets of the lock file behind the handle's back. */
static void
scribble(off_t at, const void *p, size_t n)
{
    int status;
    pid_t pid = fork(); /* closing a descriptor in this process would drop its lock */

    if (pid == 0) {
        int fd = openat(dirfd_, "lock", O_WRONLY);

        _exit(fd >= 0 && pwrite(fd, p, n, at) == (ssize_t)n ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(another_boot_asks_for_recovery)
{
    struct lockfile *l = open_ready();

    scribble(8, "0123456789abcdef", 16);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_unlock(l);
    lockfile_close(&l);
}
END_TEST

START_TEST(a_file_of_noise_becomes_ours)
{
    struct lockfile *l = open_ready();
    char noise[LOCKFILE_SIZE];

    memset(noise, 0xa7, sizeof noise);
    scribble(0, noise, sizeof noise);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    ck_assert_uint_eq(lockfile_note(l), 0);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    ck_assert_int_eq(in_child(child_state), LOCK_REOPEN);
    lockfile_close(&l);
}
END_TEST

START_TEST(a_file_cut_short_kills_nobody)
{
    struct lockfile *l = open_ready();
    char path[128];

    snprintf(path, sizeof path, "%s/lock", dir);
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    lockfile_new_epoch(l);
    lockfile_unlock(l);
    lockfile_close(&l);
}
END_TEST

START_TEST(a_removed_file_is_noticed)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(unlinkat(dirfd_, "lock", 0), 0);
    ck_assert_int_eq(lockfile_lock(l, 0), ERR_GONE);
    ck_assert(!lockfile_held(l));
    lockfile_close(&l);
}
END_TEST

START_TEST(the_note_outlives_its_writer)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    ck_assert_uint_eq(lockfile_note(l), 0);
    lockfile_set_note(l, 77);
    lockfile_close(&l);
    l = open_lock();
    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_RECOVER);
    ck_assert_uint_eq(lockfile_note(l), 77);
    lockfile_close(&l);
}
END_TEST

START_TEST(generation_counts_locks)
{
    struct lockfile *l = open_ready();
    uint64_t before = lockfile_generation(l);

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
        lockfile_unlock(l);
    }
    ck_assert_uint_eq(lockfile_generation(l), before + 10);
    lockfile_close(&l);
}
END_TEST

/* A child that holds the lock for ms milliseconds, having told so. */
static pid_t
hold_for(int ms)
{
    char octet;
    int fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct lockfile *l;

        if (lockfile_open(dirfd_, "lock", &l) != 0 || lockfile_lock(l, 5) < 0 ||
            write(fds[1], "x", 1) != 1)
            _exit(1);
        usleep((useconds_t)ms * 1000);
        lockfile_unlock(l);
        _exit(0);
    }
    ck_assert_int_eq(read(fds[0], &octet, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

START_TEST(waiting_ends_with_the_holder)
{
    struct lockfile *l = open_ready();
    pid_t pid = hold_for(200);
    int64_t start = sys_monotonic_ms();

    ck_assert_int_eq(lockfile_lock(l, 0), ERR_BUSY);
    ck_assert_int_eq(lockfile_lock(l, 5), LOCK_CLEAN);
    ck_assert_int_ge(sys_monotonic_ms() - start, 100);
    ck_assert_int_lt(sys_monotonic_ms() - start, 4000);
    lockfile_unlock(l);
    waitpid(pid, NULL, 0);
    lockfile_close(&l);
}
END_TEST

START_TEST(waiting_ends_at_the_timeout)
{
    struct lockfile *l = open_ready();
    pid_t pid = hold_for(20000);
    int64_t start = sys_monotonic_ms();

    ck_assert_int_eq(lockfile_lock(l, 1), ERR_BUSY);
    ck_assert_int_ge(sys_monotonic_ms() - start, 990);
    ck_assert_int_lt(sys_monotonic_ms() - start, 8000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(lockfile_lock(l, 1), LOCK_RECOVER);
    lockfile_close(&l);
}
END_TEST

static volatile sig_atomic_t alarms;

static void
on_alarm(int signum)
{
    (void)signum;
    alarms++;
}

START_TEST(waiting_leaves_the_callers_alarm_alone)
{
    struct sigaction act = {.sa_handler = on_alarm}, real, after;
    struct lockfile *l = open_ready();
    pid_t pid = hold_for(20000);

    alarms = 0;
    sigaction(SIGALRM, &act, NULL);
    sigaction(SIGRTMIN + 5, NULL, &real);
    alarm(1); /* fires while waiting, and doesn't end it */
    ck_assert_int_eq(lockfile_lock(l, 2), ERR_BUSY);
    ck_assert_int_eq(alarms, 1);
    alarm(30);
    ck_assert_int_eq(lockfile_lock(l, 1), ERR_BUSY);
    ck_assert_int_ge((int)alarm(0), 27);
    sigaction(SIGRTMIN + 5, NULL, &after);
    ck_assert(real.sa_handler == after.sa_handler);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    lockfile_close(&l);
}
END_TEST

START_TEST(locking_twice_is_a_bug)
{
    struct lockfile *l = open_ready();

    ck_assert_int_eq(lockfile_lock(l, 0), LOCK_CLEAN);
    lockfile_lock(l, 0);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("lockfile");
    TCase *c = tcase_create("states"), *w = tcase_create("waiting");
    SRunner *runner;
    int failed;

    sys_init();
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, new_file_must_be_recovered);
    tcase_add_test(c, first_lock_of_a_handle_is_never_clean);
    tcase_add_test(c, recovery_not_finished_is_asked_for_again);
    tcase_add_test(c, a_holder_killed_inside_is_noticed);
    tcase_add_test(c, a_new_epoch_of_another_asks_for_reopening_once);
    tcase_add_test(c, another_boot_asks_for_recovery);
    tcase_add_test(c, a_file_of_noise_becomes_ours);
    tcase_add_test(c, a_file_cut_short_kills_nobody);
    tcase_add_test(c, a_removed_file_is_noticed);
    tcase_add_test(c, the_note_outlives_its_writer);
    tcase_add_test(c, generation_counts_locks);
    tcase_add_exit_test(c, locking_twice_is_a_bug, 70);
    suite_add_tcase(s, c);
    tcase_add_checked_fixture(w, setup, teardown);
    tcase_set_timeout(w, 60);
    tcase_add_test(w, waiting_ends_with_the_holder);
    tcase_add_test(w, waiting_ends_at_the_timeout);
    tcase_add_test(w, waiting_leaves_the_callers_alarm_alone);
    suite_add_tcase(s, w);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
