/*
 * base/: buffer, arena, log, error codes, system hooks. The configuration and the lock file
 * have test programs of their own.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "valgrind_test.h"

START_TEST(buf_grows_and_ends_in_nul)
{
    struct buf b = BUF_INIT(100000);
    size_t i;

    ck_assert_str_eq(buf_str(&b), "");
    for (i = 0; i < 50000; i++)
        buf_addc(&b, (char)('a' + i % 26));
    ck_assert(buf_ok(&b));
    ck_assert_uint_eq(b.len, 50000);
    ck_assert_uint_eq(strlen(buf_str(&b)), 50000);
    ck_assert_int_eq(b.data[26], 'a');
    buf_free(&b);
    ck_assert_uint_eq(b.max, 100000);
}
END_TEST

START_TEST(buf_bound_is_exact_and_sticks)
{
    struct buf b = BUF_INIT(8);

    buf_adds(&b, "12345678");
    ck_assert(buf_ok(&b));
    buf_addc(&b, '9');
    ck_assert(!buf_ok(&b));
    ck_assert_str_eq(buf_str(&b), "12345678");
    buf_drop(&b, 4);
    ck_assert(!buf_ok(&b));
    buf_reset(&b);
    ck_assert(buf_ok(&b));
    buf_addf(&b, "%s", "123456789");
    ck_assert(!buf_ok(&b));
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
}
END_TEST

START_TEST(buf_room_refuses_sizes_that_overflow)
{
    struct buf b = BUF_INIT(SIZE_MAX / 4);

    buf_adds(&b, "x");
    ck_assert_ptr_null(buf_room(&b, SIZE_MAX));
    ck_assert_ptr_null(buf_room(&b, SIZE_MAX / 4));
    ck_assert(!buf_ok(&b));
    buf_free(&b);
}
END_TEST

START_TEST(buf_numbers_and_formats)
{
    struct buf b = BUF_INIT(1000);

    buf_addu(&b, 0);
    buf_addc(&b, ' ');
    buf_addu(&b, UINT64_MAX);
    buf_addf(&b, " %d-%s", -5, "x");
    ck_assert_str_eq(buf_str(&b), "0 18446744073709551615 -5-x");
    buf_drop(&b, 2);
    buf_cut(&b, 4);
    ck_assert_str_eq(buf_str(&b), "1844");
    buf_drop(&b, 100);
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
}
END_TEST

START_TEST(arena_gives_aligned_separate_memory)
{
    struct arena *a = arena_new();
    char *p[200];
    size_t i;

    for (i = 0; i < 200; i++) {
        p[i] = arena_alloc(a, i * 37 + 1);
        ck_assert_uint_eq((uintptr_t)p[i] % _Alignof(max_align_t), 0);
        memset(p[i], (int)i, i * 37 + 1);
    }
    for (i = 0; i < 200; i++) {
        ck_assert_uint_eq((unsigned char)p[i][0], i);
        ck_assert_uint_eq((unsigned char)p[i][i * 37], i);
    }
    arena_reset(a);
    ck_assert_uint_eq(arena_used(a), 0);
    ck_assert_str_eq(arena_printf(a, "%d %s", 7, "seven"), "7 seven");
    ck_assert_str_eq(arena_memdup(a, "abc", 2), "ab");
    arena_free(&a);
    ck_assert_ptr_null(a);
}
END_TEST

START_TEST(arena_survives_large_requests_and_resets)
{
    struct arena *a = arena_new();
    int round;

    for (round = 0; round < 50; round++) {
        memset(arena_alloc(a, 100000), 1, 100000);
        memset(arena_calloc(a, 10, 10), 2, 100);
        memset(arena_alloc(a, 5000), 3, 5000);
        arena_reset(a);
    }
    arena_free(&a);
}
END_TEST

START_TEST(arena_is_wiped)
{
    struct arena *a = arena_new();
    char *first = arena_strdup(a, "password");

    arena_wipe(a);
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(first[i], 0); /* in the block that is kept */
    ck_assert_ptr_eq(arena_alloc(a, 1), first);
    arena_free(&a);
}
END_TEST

START_TEST(out_of_memory_ends_with_75)
{
    static struct arena *volatile kept; /* the process ends with it: no leak */

    kept = arena_new();
    arena_calloc(kept, SIZE_MAX / 2, 4);
}
END_TEST

static char last_line[4096];
static enum log_level last_level;

static void
keep_line(enum log_level level, const char *line)
{
    last_level = level;
    snprintf(last_line, sizeof last_line, "%s", line);
}

START_TEST(log_lines_cannot_be_forged)
{
    log_hook = keep_line;
    log_set_prefix("imap(%s): ", "a\nb");
    log_info("user=%s", "x\r\nNov 1 login: root\x1b[0m");
    ck_assert_str_eq(last_line, "imap(a?b): user=x??Nov 1 login: root?[0m");
    log_set_prefix("%s", "");
    log_error("bad");
    ck_assert_str_eq(last_line, "error: bad");
    ck_assert_int_eq(last_level, LOG_LEVEL_ERROR);
}
END_TEST

START_TEST(log_keeps_levels_and_errno)
{
    log_hook = keep_line;
    last_line[0] = '\0';
    log_debug("hidden");
    ck_assert_str_eq(last_line, "");
    log_set_level(LOG_LEVEL_DEBUG);
    errno = ENOSPC;
    log_debug("shown");
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_str_eq(last_line, "shown");
}
END_TEST

START_TEST(log_file_is_reopened_after_rotation)
{
    char dir[] = "/tmp/check_base.XXXXXX", path[64], moved[64], line[256];
    FILE *f;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(moved, sizeof moved, "%s/log.1", dir);
    ck_assert_int_eq(log_open(path, "test"), 0);
    log_info("first");
    ck_assert_int_eq(rename(path, moved), 0);
    log_info("second");
    ck_assert_int_eq(log_reopen(), 0);
    log_info("third");
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    ck_assert_ptr_nonnull(strstr(line, ": third\n"));
    ck_assert_ptr_null(fgets(line, sizeof line, f));
    fclose(f);
    ck_assert_int_eq(log_open("/nonexistent/log", "test"), ERR_NOENT);
    log_info("still in the old file");
    unlink(path);
    unlink(moved);
    rmdir(dir);
}
END_TEST

static void
reopen(int sig)
{
    (void)sig;
    log_reopen();
}

/* Workers open the file again in a signal's handler, perhaps in the middle of a line. */
START_TEST(log_loses_no_line_while_it_is_reopened)
{
    const struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
    char path[] = "/tmp/check_base.XXXXXX";
    int fd = mkstemp(path), count = (int)repeats(50000), lines = 0, c;
    FILE *f = fdopen(fd, "r");

    ck_assert_ptr_nonnull(f);
    log_hook = NULL;
    ck_assert_int_eq(log_open(path, "test"), 0);
    fd = log_fd();
    signal(SIGALRM, reopen);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < count; i++)
        log_info("a line");
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_eq(log_fd(), fd);
    log_open("stderr", "test");
    while ((c = getc(f)) != EOF)
        lines += c == '\n';
    fclose(f);
    unlink(path);
    ck_assert_int_eq(lines, count);
}
END_TEST

/* Or who owns the log's folder could have root write to, and give him, any file. */
START_TEST(root_follows_no_symlinks_of_others)
{
    char folder[] = "/tmp/check_base.XXXXXX", log[64], other[64];
    struct stat st;
    int fd;

    if (geteuid() != 0)
        return;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(log, sizeof log, "%s/log", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    fd = open(other, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(symlink(other, log), 0);
    ck_assert_int_eq(log_open(log, "test"), 0); /* root's own */
    ck_assert_int_eq(lchown(log, 65534, 65534), 0);
    ck_assert_int_ne(log_reopen(), 0);
    log_open("stderr", "test");
    ck_assert_int_ne(log_open(log, "test"), 0);
    ck_assert_int_eq(stat(other, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    unlink(other); /* a link to nothing: root makes nothing there */
    ck_assert_int_ne(log_open(log, "test"), 0);
    ck_assert_int_ne(stat(other, &st), 0);
    ck_assert_int_eq(lchown(log, 0, 0), 0);
    ck_assert_int_eq(log_open(log, "test"), 0); /* but if it's root's own */
    ck_assert_int_eq(stat(other, &st), 0);
    log_open("stderr", "test");
    unlink(log);
    unlink(other);
    ck_assert_int_eq(log_open(log, "test"), 0);
    ck_assert_int_eq(lstat(log, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777 & ~0640u, 0);
    log_open("stderr", "test");
    unlink(log);
    rmdir(folder);
}
END_TEST

START_TEST(panic_ends_with_70)
{
    log_panic("invariant");
}
END_TEST

static void
end_with_71(void)
{
    _exit(71);
}

START_TEST(panic_has_a_last_word)
{
    log_last_word = end_with_71;
    log_panic("invariant");
}
END_TEST

START_TEST(errors_have_texts)
{
    int e;

    for (e = 0; e >= ERR_SHORT; e--)
        ck_assert_str_ne(err_text(e), "unknown error");
    ck_assert_int_eq(err_from_errno(ENOSPC), ERR_NOSPACE);
    ck_assert_int_eq(err_from_errno(EDQUOT), ERR_QUOTA);
    ck_assert_int_eq(err_from_errno(ENOENT), ERR_NOENT);
    ck_assert_int_eq(err_from_errno(EMFILE), ERR_SHORT);
    ck_assert_int_eq(err_from_errno(EBADF), ERR_IO);
}
END_TEST

static int64_t
fixed_now(void)
{
    return 1000;
}

START_TEST(clock_and_random_can_be_bent)
{
    unsigned char a[16] = {0}, b[16] = {0};
    int64_t before = sys_monotonic_ms();

    sys_hooks.now = fixed_now;
    ck_assert_int_eq(sys_now(), 1000);
    ck_assert_int_eq(sys_now_us(), 1000000000);
    sys_random(a, sizeof a);
    sys_random(b, sizeof b);
    ck_assert_mem_ne(a, b, sizeof a);
    ck_assert_int_ge(sys_monotonic_ms(), before);
    ck_assert_uint_ge(strlen(sys_boot_id()), 1);
}
END_TEST

START_TEST(crash_step_kills_at_the_nth_pass)
{
    setenv("MANSIO_CRASH_STEP", "append:renamed:2", 1);
    sys_init();
    sys_step("append:renamed");
    sys_step("append:synced");
    sys_step("append:renamed");
    _exit(0); /* not reached */
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    SRunner *r;
    int failed;

    tcase_add_test(t, buf_grows_and_ends_in_nul);
    tcase_add_test(t, buf_bound_is_exact_and_sticks);
    tcase_add_test(t, buf_room_refuses_sizes_that_overflow);
    tcase_add_test(t, buf_numbers_and_formats);
    tcase_add_test(t, arena_gives_aligned_separate_memory);
    tcase_add_test(t, arena_survives_large_requests_and_resets);
    tcase_add_test(t, arena_is_wiped);
    tcase_add_exit_test(t, out_of_memory_ends_with_75, 75);
    tcase_add_test(t, log_lines_cannot_be_forged);
    tcase_add_test(t, log_keeps_levels_and_errno);
    tcase_add_test(t, log_file_is_reopened_after_rotation);
    tcase_add_test(t, log_loses_no_line_while_it_is_reopened);
    tcase_add_test(t, root_follows_no_symlinks_of_others);
    tcase_add_exit_test(t, panic_ends_with_70, 70);
    tcase_add_exit_test(t, panic_has_a_last_word, 71);
    tcase_add_test(t, errors_have_texts);
    tcase_add_test(t, clock_and_random_can_be_bent);
    tcase_add_test_raise_signal(t, crash_step_kills_at_the_nth_pass, 9);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
