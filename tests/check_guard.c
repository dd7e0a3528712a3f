/*
 * Pages that a power cut tore are put back (store/index_guard.c), and nothing else is.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sys.h"
#include "store/index_db.h"
#include "store/index_guard.h"
#include "store/maildir.h"

#define PAGE 4096

static char dir[64];
static struct guard guard;
static int fd; /* of mailboxes.db */

/* A page with a log sequence number and its octets. */
static const char *
page(uint32_t lsn, char fill)
{
    static char out[PAGE];
    uint32_t head[2] = {1, lsn};

    memset(out, fill, sizeof out);
    memcpy(out, head, sizeof head);
    return out;
}

static void
setup(void)
{
    char path[128];

    snprintf(dir, sizeof dir, "/tmp/check_guard.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, kv_file_names[KV_MAILBOXES]);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    guard_init(&guard);
    guard.dir = dir;
}

static void
teardown(void)
{
    guard_free(&guard);
    close(fd);
    ck_assert_int_eq(maildir_remove_tree(AT_FDCWD, dir), 0);
}

static void
put(unsigned number, uint32_t lsn, char fill)
{
    ck_assert_int_eq(
        guard_put(&guard, fd, KV_MAILBOXES, page(lsn, fill), PAGE, (off_t)number * PAGE), 0);
}

/* What a cut leaves: the first `octets` of that page. */
static void
tear(unsigned number, uint32_t lsn, char fill, size_t octets)
{
    ck_assert_int_eq(pwrite(fd, page(lsn, fill), octets, (off_t)number * PAGE),
                     (ssize_t)octets);
}

static void
expect(unsigned number, uint32_t lsn, char fill)
{
    char now[PAGE];

    ck_assert_int_eq(pread(fd, now, PAGE, (off_t)number * PAGE), PAGE);
    ck_assert_msg(memcmp(now, page(lsn, fill), PAGE) == 0, "page %u isn't %u %c", number, lsn,
                  fill);
}

START_TEST(collected_pages_are_read_back_and_flushed)
{
    char now[PAGE];

    put(0, 1, 'a');
    put(0, 2, 'b');
    put(1, 2, 'c');
    ck_assert_uint_eq(guard.count, 2);
    ck_assert(guard_get(&guard, KV_MAILBOXES, now, PAGE, 0));
    ck_assert_int_eq(memcmp(now, page(2, 'b'), PAGE), 0);
    ck_assert(!guard_get(&guard, KV_MESSAGES, now, PAGE, 0));
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
    ck_assert_int_eq(guard_flush(&guard), 0);
    expect(0, 2, 'b');
    expect(1, 2, 'c');
    for (unsigned i = 0; i < GUARD_PAGES + 1; i++)
        put(i, 3, 'd');
    ck_assert_uint_eq(guard.count, 1);
    expect(0, 3, 'd');
}
END_TEST

START_TEST(torn_pages_are_put_back)
{
    put(0, 1, 'a');
    put(1, 1, 'b');
    put(2, 1, 'c');
    ck_assert_int_eq(guard_flush(&guard), 0);
    put(1, 2, 'B');
    ck_assert_int_eq(guard_flush(&guard), 0);
    tear(0, 0, 'x', PAGE);     /* the older one, whole */
    tear(1, 1, 'b', PAGE / 2); /* half */
    ck_assert_int_eq(ftruncate(fd, 2 * PAGE + 512), 0);
    ck_assert_int_eq(guard_restore(dir), 4); /* the second one twice: each image in turn */
    expect(0, 1, 'a');
    expect(1, 2, 'B');
    expect(2, 1, 'c');
    ck_assert_int_eq(guard_restore(dir), 0);
}
END_TEST

START_TEST(a_newer_page_stays)
{
    put(0, 5, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    tear(0, 6, 'n', PAGE);
    ck_assert_int_eq(guard_restore(dir), 0);
    expect(0, 6, 'n');
}
END_TEST

START_TEST(synced_pages_are_not_looked_at)
{
    char path[128];
    struct stat st;

    put(0, 5, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    guard_synced(&guard, KV_MAILBOXES);
    snprintf(path, sizeof path, "%s/" GUARD_FILE, dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    tear(0, 1, 'x', PAGE); /* a file from a backup, say */
    ck_assert_int_eq(guard_restore(dir), 0);
    expect(0, 1, 'x');
}
END_TEST

/* Whatever the file holds: only whole records of one generation count. */
START_TEST(damaged_records_end_it)
{
    static char records[3 * (PAGE + 48)];
    char path[128];
    int file;

    for (unsigned i = 0; i < 3; i++)
        put(i, 5, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    snprintf(path, sizeof path, "%s/" GUARD_FILE, dir);
    file = open(path, O_RDWR);
    ck_assert_int_eq(pread(file, records, sizeof records, 0), sizeof records);
    for (size_t at = 0; at < sizeof records; at += 131) {
        for (unsigned i = 0; i < 3; i++)
            tear(i, 1, 'x', PAGE);
        records[at] ^= 0x55;
        ck_assert_int_eq(pwrite(file, records, sizeof records, 0), sizeof records);
        ck_assert_int_eq(guard_restore(dir), (int)(at / (PAGE + 48)));
        records[at] ^= 0x55;
    }
    ck_assert_int_eq(pwrite(file, records, sizeof records, 0), sizeof records);
    ck_assert_int_eq(ftruncate(file, 100), 0);
    ck_assert_int_eq(guard_restore(dir), 0);
    ck_assert_int_eq(ftruncate(file, 0), 0);
    ck_assert_int_eq(guard_restore(dir), 0);
    close(file);
}
END_TEST

START_TEST(another_process_begins_a_generation)
{
    struct guard other;

    put(0, 1, 'a');
    put(1, 1, 'b');
    ck_assert_int_eq(guard_flush(&guard), 0);
    guard_init(&other);
    other.dir = dir;
    ck_assert_int_eq(guard_put(&other, fd, KV_MAILBOXES, page(2, 'A'), PAGE, 0), 0);
    ck_assert_int_eq(guard_flush(&other), 0);
    guard_synced(&guard, KV_MAILBOXES); /* must not wipe the other's records out */
    tear(0, 1, 'a', PAGE / 2);
    tear(1, 0, 'x', PAGE); /* of the older generation: was synced, isn't known any more */
    ck_assert_int_eq(guard_restore(dir), 1);
    expect(0, 2, 'A');
    expect(1, 0, 'x');
    guard_free(&other);
}
END_TEST

/* Without room pages go to their places, and no older image may come back over them. */
START_TEST(a_full_disk)
{
    struct rlimit former, small;

    put(0, 1, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &former);
    small = former;
    small.rlim_cur = 2 * PAGE;
    setrlimit(RLIMIT_FSIZE, &small);
    put(0, 1, 'b');
    put(1, 2, 'c');
    ck_assert_int_eq(guard_flush(&guard), 0);
    setrlimit(RLIMIT_FSIZE, &former);
    expect(0, 1, 'b');
    expect(1, 2, 'c');
    ck_assert_int_eq(guard_restore(dir), 0);
    expect(0, 1, 'b');
}
END_TEST

/* A part of a page would be taken for damage; and after a failure nothing is written any more:
   the descriptor may be another file's by then. */
START_TEST(half_a_page_is_cut_off)
{
    struct rlimit former, small;

    put(0, 1, 'a');
    put(1, 1, 'b');
    ck_assert_int_eq(guard_flush(&guard), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &former);
    small = former;
    small.rlim_cur = 2 * PAGE + PAGE / 2;
    setrlimit(RLIMIT_FSIZE, &small);
    put(2, 2, 'c');
    ck_assert_int_eq(guard_flush(&guard), -1);
    ck_assert_int_eq(errno, EFBIG);
    setrlimit(RLIMIT_FSIZE, &former);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 2 * PAGE);
    errno = 0;
    ck_assert_int_eq(guard_flush(&guard), -1);
    ck_assert_int_eq(errno, EFBIG);
    ck_assert_int_eq(guard_put(&guard, fd, KV_MAILBOXES, page(3, 'd'), PAGE, 3 * PAGE), -1);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 2 * PAGE);
    expect(1, 1, 'b');
}
END_TEST

static int
sync_says_full(int file)
{
    (void)file;
    errno = ENOSPC;
    return -1;
}

/* Some file systems find out only then. The pages that aren't synced keep their images. */
START_TEST(a_full_disk_at_a_sync)
{
    struct guard other;

    put(0, 1, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    guard_init(&other);
    other.dir = dir;
    ck_assert_int_eq(guard_put(&other, fd, KV_MAILBOXES, page(2, 'A'), PAGE, 0), 0);
    sys_hooks.fsync = sync_says_full;
    ck_assert_int_eq(guard_flush(&other), -1);
    sys_hooks.fsync = NULL;
    guard_free(&other);
    tear(0, 1, 'x', PAGE / 2);
    ck_assert_int_eq(guard_restore(dir), 1);
    expect(0, 1, 'a');
}
END_TEST

static int synced[8];
static unsigned synced_count;

static int
note_sync(int file)
{
    ck_assert_uint_lt(synced_count, sizeof synced / sizeof synced[0]);
    synced[synced_count++] = file;
    return 0;
}

static int
open_log(const char *name)
{
    char path[128];
    int log;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    log = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(log, 0);
    return log;
}

/* A page must not get to the disk before the log that says what it was. */
START_TEST(log_is_synced_before_pages)
{
    int log = open_log("log.1"), next = open_log("log.2");

    synced_count = 0;
    sys_hooks.fsync = note_sync;
    guard.new_names = true;
    put(0, 1, 'a');
    ck_assert_int_eq(guard_put_off(&guard, log), 0);
    ck_assert_int_eq(guard_put_off(&guard, log), 0);
    ck_assert_uint_eq(synced_count, 0);
    ck_assert_int_eq(guard_put_off(&guard, next), 0); /* one waits at most */
    ck_assert_uint_eq(synced_count, 2);
    ck_assert_int_eq(synced[0], log);
    ck_assert(!guard.new_names); /* the second was the directory */
    ck_assert_int_eq(guard_flush(&guard), 0);
    ck_assert_uint_ge(synced_count, 4);
    ck_assert_int_eq(synced[2], next);
    synced_count = 0;
    put(0, 2, 'b');
    ck_assert_int_eq(guard_put_off(&guard, log), 0);
    ck_assert_int_eq(guard_log_synced(&guard, log), 0); /* by a commit */
    ck_assert_int_eq(guard_flush(&guard), 0);
    ck_assert_int_ne(synced[0], log);
    sys_hooks.fsync = NULL;
    expect(0, 2, 'b');
    close(log);
    close(next);
}
END_TEST

/* The kernel reports an error once: a second sync would say that all is well. */
START_TEST(log_that_cannot_be_synced)
{
    int log = open_log("log.1");

    put(0, 1, 'a');
    ck_assert_int_eq(guard_flush(&guard), 0);
    put(0, 2, 'b');
    ck_assert_int_eq(guard_put_off(&guard, log), 0);
    sys_hooks.fsync = sync_says_full;
    ck_assert_int_eq(guard_flush(&guard), -1);
    ck_assert_int_eq(errno, ENOSPC);
    sys_hooks.fsync = NULL;
    ck_assert_int_eq(guard_flush(&guard), -1);
    ck_assert_int_eq(errno, ENOSPC); /* the first reason */
    expect(0, 1, 'a');
    close(log);
}
END_TEST

static unsigned log_syncs;

static int
count_log_syncs(int file)
{
    char link[64], path[256];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    n = readlink(link, path, sizeof path - 1);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    log_syncs += strstr(path, "/log.") != NULL;
    return 0;
}

/* A transaction of about 1000 * octets, not synced. */
static void
commit_much(struct kv *kv, size_t octets)
{
    char value[100] = {0};

    ck_assert_int_eq(kv_begin(kv, false), 0);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_int_eq(kv_put(kv, KV_MESSAGES, (struct kv_slice){&i, sizeof i},
                                (struct kv_slice){value, octets}),
                         0);
    ck_assert_int_eq(kv_commit(kv, false), 0);
}

static struct kv *
open_new(const char *path)
{
    struct kv *kv;

    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(kv_open(path, KV_RECOVER, true, &kv), 0);
    ck_assert_int_eq(kv_open_files(kv), 0);
    return kv;
}

/* The pages of a large transaction are collected behind its commit, and the log's sync put off
   with them: Berkeley DB takes all for synced then. */
START_TEST(sync_of_what_was_put_off)
{
    char path[128];
    struct kv *kv;

    snprintf(path, sizeof path, "%s/db", dir);
    kv = open_new(path);
    commit_much(kv, 100);
    ck_assert(kv_holds_pages(kv));
    log_syncs = 0;
    sys_hooks.fsync = count_log_syncs;
    ck_assert_int_eq(kv_sync(kv), 0);
    ck_assert_uint_gt(log_syncs, 0);
    sys_hooks.fsync = NULL;
    ck_assert(kv_close(&kv));
}
END_TEST

static unsigned pages_written;

static void
see_page(const char *step)
{
    if (strcmp(step, "index:page-written") != 0)
        return;
    ck_assert_uint_gt(log_syncs, 0);
    pages_written++;
}

/* What a killed process committed may be in the kernel only. */
START_TEST(recovery_syncs_the_log_before_it_writes_pages)
{
    char path[128], region[160];
    struct kv *kv;

    snprintf(path, sizeof path, "%s/db", dir);
    kv = open_new(path);
    commit_much(kv, 10);
    kv_forget(&kv); /* all that a kill leaves to others */
    for (int i = 1; i <= 3; i++) {
        snprintf(region, sizeof region, "%s/__db.%03d", path, i);
        ck_assert_int_eq(unlink(region), 0);
    }
    log_syncs = pages_written = 0;
    sys_hooks.fsync = count_log_syncs;
    sys_hooks.step = see_page;
    ck_assert_int_eq(kv_open(path, KV_RECOVER, false, &kv), 0);
    ck_assert_uint_gt(pages_written, 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert(kv_close(&kv));
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("guard");
    TCase *c = tcase_create("pages");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, collected_pages_are_read_back_and_flushed);
    tcase_add_test(c, torn_pages_are_put_back);
    tcase_add_test(c, a_newer_page_stays);
    tcase_add_test(c, synced_pages_are_not_looked_at);
    tcase_add_test(c, damaged_records_end_it);
    tcase_add_test(c, another_process_begins_a_generation);
    tcase_add_test(c, a_full_disk);
    tcase_add_test(c, a_full_disk_at_a_sync);
    tcase_add_test(c, half_a_page_is_cut_off);
    tcase_add_test(c, log_is_synced_before_pages);
    tcase_add_test(c, log_that_cannot_be_synced);
    tcase_add_test(c, sync_of_what_was_put_off);
    tcase_add_test(c, recovery_syncs_the_log_before_it_writes_pages);
    suite_add_tcase(s, c);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
