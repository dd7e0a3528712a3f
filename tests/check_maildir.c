/*
 * store/maildir: names, small files, tmp/, removal; and the table of a scan.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/maildir.h"
#include "store/scan_table.h"

static char dir[200];
static int fd;

static void
ignore_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof dir, "%s/mansio-maildir.XXXXXX", tmp != NULL ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(maildir_make_parts(fd, false), 0);
}

static void
teardown(void)
{
    log_hook = NULL;
    close(fd);
    ck_assert_int_eq(maildir_remove_tree(AT_FDCWD, dir), 0);
    ck_assert_int_ne(access(dir, F_OK), 0);
}

static void
put(const char *path, const char *text)
{
    int file = openat(fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
}

static bool
there(const char *path)
{
    struct stat st;

    return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(bases)
{
    ck_assert_uint_eq(maildir_base_len("1.a:2,S"), 3);
    ck_assert_uint_eq(maildir_base_len("1.a"), 3);
    ck_assert_uint_eq(maildir_base_len("1.a:1,S"), 7);
    ck_assert_uint_eq(maildir_base_len(""), 0);
}
END_TEST

START_TEST(find_by_base)
{
    char name[MDNAME_MAX + 1];
    bool in_new;

    put("cur/1.a:2,S", "");
    put("cur/1.ab:2,S", "");
    put("new/2.b", "");
    ck_assert_int_eq(maildir_find(fd, "1.a", 3, name, &in_new), 0);
    ck_assert_str_eq(name, "1.a:2,S");
    ck_assert(!in_new);
    ck_assert_int_eq(maildir_find(fd, "2.b", 3, name, &in_new), 0);
    ck_assert(in_new);
    ck_assert_int_eq(maildir_find(fd, "1", 1, name, &in_new), ERR_NOENT);
    ck_assert_int_eq(maildir_find(fd, "2.bc", 4, name, &in_new), ERR_NOENT);
}
END_TEST

START_TEST(only_regular_files_are_messages)
{
    struct stat st;
    int file;

    log_hook = ignore_log;
    put("cur/1.a:2,", "hello");
    ck_assert_int_eq(maildir_open_message(fd, false, "1.a:2,", &file, &st), 0);
    ck_assert_int_eq(st.st_size, 5);
    close(file);
    ck_assert_int_eq(maildir_open_message(fd, true, "1.a:2,", &file, &st), ERR_NOENT);
    ck_assert_int_eq(mkdirat(fd, "cur/d", 0700), 0);
    ck_assert_int_eq(maildir_open_message(fd, false, "d", &file, &st), ERR_NOENT);
    ck_assert_int_eq(mkfifoat(fd, "cur/p", 0600), 0); /* doesn't wait for a writer */
    ck_assert_int_eq(maildir_open_message(fd, false, "p", &file, &st), ERR_NOENT);
    ck_assert_int_eq(symlinkat("/etc/passwd", fd, "cur/l"), 0);
    ck_assert_int_lt(maildir_open_message(fd, false, "l", &file, &st), 0);
}
END_TEST

START_TEST(small_files)
{
    struct buf b = BUF_INIT(10000);

    ck_assert_int_eq(maildir_read_file(fd, "f", &b), ERR_NOENT);
    ck_assert_int_eq(maildir_write_file(fd, "f", "one", 3), 0);
    ck_assert_int_eq(maildir_write_file(fd, "f", "two!", 4), 0);
    ck_assert_int_eq(maildir_read_file(fd, "f", &b), 0);
    ck_assert_str_eq(buf_str(&b), "two!");
    ck_assert_int_eq(maildir_write_file(fd, "f", NULL, 0), 0);
    ck_assert_int_eq(maildir_read_file(fd, "f", &b), 0);
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
}
END_TEST

START_TEST(temporary_files)
{
    char name[MDNAME_MAX + 1], path[MDNAME_MAX + 10];
    struct stat st;
    int file;

    ck_assert_int_eq(unlinkat(fd, "tmp", AT_REMOVEDIR), 0);
    ck_assert_int_eq(maildir_tmp_create(fd, name, &file), 0); /* makes tmp/ again */
    close(file);
    snprintf(path, sizeof path, "tmp/%s", name);
    ck_assert_int_eq(fstatat(fd, path, &st, 0), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    maildir_tmp_remove(fd, name);
    ck_assert(!there(path));
    put("cur/1.a:2,", "content\n");
    file = openat(fd, "cur/1.a:2,", O_RDWR);
    ck_assert_int_eq(maildir_set_date(file, 1000), 0);
    ck_assert_int_eq(maildir_tmp_copy(file, fd, name), 0);
    close(file);
    snprintf(path, sizeof path, "tmp/%s", name);
    ck_assert_int_eq(fstatat(fd, path, &st, 0), 0);
    ck_assert_int_eq(st.st_mtim.tv_sec, 1000);
    ck_assert_int_eq(st.st_size, 8);
    /* an old date isn't age: what was just copied stays */
    maildir_purge_tmp(fd, sys_now());
    ck_assert(there(path));
    maildir_purge_tmp(fd, sys_now() + 37 * 3600);
    ck_assert(!there(path));
}
END_TEST

START_TEST(removal_follows_no_links)
{
    ck_assert_int_eq(mkdirat(fd, "keep", 0700), 0);
    put("keep/file", "x");
    ck_assert_int_eq(mkdirat(fd, "gone", 0700), 0);
    ck_assert_int_eq(mkdirat(fd, "gone/cur", 0700), 0);
    put("gone/cur/x", "x");
    ck_assert_int_eq(symlinkat("../keep", fd, "gone/link"), 0);
    ck_assert_int_eq(symlinkat("keep", fd, "link"), 0);
    ck_assert_int_eq(maildir_remove_tree(fd, "gone"), 0);
    ck_assert(!there("gone"));
    ck_assert_int_eq(maildir_remove_tree(fd, "link"), 0);
    ck_assert(!there("link"));
    ck_assert(there("keep/file"));
    ck_assert_int_eq(maildir_remove_tree(fd, "none"), 0);
}
END_TEST

START_TEST(folder_names)
{
    const char *name;

    ck_assert_int_eq(mkdirat(fd, ".A.b", 0700), 0);
    ck_assert(!maildir_is_folder(fd, ".A.b", DT_DIR, &name));
    ck_assert_int_eq(mkdirat(fd, ".A.b/cur", 0700), 0);
    ck_assert(maildir_is_folder(fd, ".A.b", DT_UNKNOWN, &name));
    ck_assert_str_eq(name, "A.b");
    ck_assert(!maildir_is_folder(fd, ".", DT_DIR, &name));
    ck_assert(!maildir_is_folder(fd, "..", DT_DIR, &name));
    ck_assert(!maildir_is_folder(fd, "cur", DT_DIR, &name));
    ck_assert(!maildir_is_folder(fd, ".A.b", DT_REG, &name));
}
END_TEST

START_TEST(table_of_many_names)
{
    struct scan_table t;
    char name[64];
    uint32_t i, at;

    scan_table_init(&t);
    ck_assert_uint_eq(scan_table_find(&t, "x", 1), SCAN_NONE);
    for (i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%u.M%uP1:2,S", i * 7, i);
        scan_table_add(&t, name, i % 2 == 0);
    }
    scan_table_add(&t, "0.M0P1:2,F", false);
    ck_assert_uint_eq(t.count, 20001);
    ck_assert_uint_eq(t.twins, 1);
    ck_assert(t.items[20000].twin);
    for (i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%u.M%uP1", i * 7, i);
        at = scan_table_find(&t, name, strlen(name));
        ck_assert_uint_eq(at, i);
        ck_assert(t.items[at].in_new == (i % 2 == 0));
    }
    ck_assert_uint_eq(scan_table_find(&t, "1.M0P1", 6), SCAN_NONE);
    scan_table_clear(&t);
    ck_assert_uint_eq(scan_table_find(&t, "0.M0P1", 6), SCAN_NONE);
    scan_table_free(&t);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("maildir");
    TCase *t = tcase_create("maildir");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, bases);
    tcase_add_test(t, find_by_base);
    tcase_add_test(t, only_regular_files_are_messages);
    tcase_add_test(t, small_files);
    tcase_add_test(t, temporary_files);
    tcase_add_test(t, removal_follows_no_links);
    tcase_add_test(t, folder_names);
    tcase_add_test(t, table_of_many_names);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
