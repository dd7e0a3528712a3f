/*
 * store/quota and base/quota_limit: Maildir++ quotas, as Courier's README.maildirquota has
 * them, together with other programs that keep the same file.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/quota.h"
#include "store_test.h"

static char said[16384];

static void
note_log(enum log_level level, const char *line)
{
    (void)level;
    if (strlen(said) + strlen(line) + 2 < sizeof said) {
        strncat(said, line, sizeof said - strlen(said) - 1);
        strncat(said, "\n", sizeof said - strlen(said) - 1);
    }
}

static void
setup(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    said[0] = '\0';
    log_hook = note_log;
    store_setup();
}

static void
teardown(void)
{
    log_hook = NULL;
    store_teardown();
}

static struct account *
open_with(const char *quota)
{
    struct account_params p = {.conf = store_conf(),
                               .user = "ann",
                               .home = "",
                               .mail_location = store_dir,
                               .quota = quota};
    struct account *a;

    ck_assert_int_eq(account_open(&p, &a), 0);
    return a;
}

static void
set_default(const char *quota)
{
    free(store_conf()->quota);
    store_conf()->quota = mem_strdup(quota);
}

static const char *
path_of(const char *name)
{
    static char path[400];

    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    return path;
}

static void
put_file(const char *text)
{
    FILE *f;

    (void)mkdir(store_dir, 0700); /* before the account is opened */
    f = fopen(path_of(QUOTA_FILE), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* "-" if it isn't there. */
static const char *
file_text(void)
{
    static char text[65536];
    int fd = open(path_of(QUOTA_FILE), O_RDONLY);
    ssize_t n;

    if (fd < 0)
        return "-";
    n = read(fd, text, sizeof text - 1);
    ck_assert_int_ge(n, 0);
    close(fd);
    text[n] = '\0';
    return text;
}

static void
age_file(int seconds)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - seconds}};

    ck_assert_int_eq(utimensat(AT_FDCWD, path_of(QUOTA_FILE), times, 0), 0);
}

static void
put_message(const char *dir, const char *part, const char *name, int octets)
{
    char where[400], *text = mem_alloc((size_t)octets + 1);

    memset(text, 'x', (size_t)octets);
    text[octets] = '\0';
    snprintf(where, sizeof where, "%s/%s", store_dir, dir);
    neighbour_put(where, part, name, text);
    free(text);
}

/* -------------------------------------------------------------- texts */

static const struct {
    const char *text;
    uint64_t bytes, messages;
    const char *back;
} limits[] = {
    {"0", 0, 0, "0"},
    {"1000", 1000, 0, "1000"},
    {"10G", UINT64_C(10) << 30, 0, "10G"},
    {"10g:20000", UINT64_C(10) << 30, 20000, "10G:20000"},
    {"500M:0", UINT64_C(500) << 20, 0, "500M"},
    {"0:20", 0, 20, "0:20"},
    {"1536K", 1536 << 10, 0, "1536K"},
    {"12B", 12, 0, "12"},
    {"2T", UINT64_C(2) << 40, 0, "2T"},
    {"1000000S,1000C", 1000000, 1000, "1000000:1000"},
    {"1000C", 0, 1000, "0:1000"},
    {"5S", 5, 0, "5"},
    {"*:storage=1G", UINT64_C(1) << 30, 0, "1G"},
    {"*:storage=1000", 1024000, 0, "1000K"},
    {"*:storage=1M:messages=10", 1 << 20, 10, "1M:10"},
    {"*:bytes=1000", 1000, 0, "1000"},
    {"*:messages=7", 0, 7, "0:7"},
    {"maildir:storage=10240:messages=1000", 10 << 20, 1000, "10M:1000"},
};

START_TEST(limits_are_read)
{
    struct quota_limit l;
    char text[QUOTA_LIMIT_SIZE];

    ck_assert_msg(quota_parse(limits[_i].text, &l) == 0, "%s", limits[_i].text);
    ck_assert_uint_eq(l.bytes, limits[_i].bytes);
    ck_assert_uint_eq(l.messages, limits[_i].messages);
    quota_limit_text(&l, text);
    ck_assert_str_eq(text, limits[_i].back);
    ck_assert_int_eq(quota_parse(text, &l), 0);
    ck_assert_uint_eq(l.bytes, limits[_i].bytes);
    ck_assert_uint_eq(l.messages, limits[_i].messages);
}
END_TEST

static const char *const no_limits[] = {
    "",
    "x",
    "10X",
    "10GB",
    "-1",
    "10G:",
    "10G:x",
    "10G:1:2",
    ":5",
    " 10G",
    "10G ",
    "10%",
    "99999999999999999999",
    "18446744073709551620", /* 2^64 + 4 */
    "36893488147419103240", /* 2^65 + 8 */
    "4611686018427387905",  /* 2^62 + 1 */
    "1:18446744073709551620",
    "18446744073709551620S",
    "9000000T",
    "1S,",
    "1S,1X",
    "1000S 1000C",
    "*:",
    "*:ignore",
    "*:storage=",
    "*:storage=+10M",
    "*:storage=10%",
    "*:storage=1G:ns=x",
    "Trash:storage=1G",
    "maildir",
    "maildir:",
    "maildir:noenforcing",
    "maildir:User quota",
    "count:storage=1G",
};

START_TEST(what_is_no_limit)
{
    struct quota_limit l = {1, 1};

    ck_assert_msg(quota_parse(no_limits[_i], &l) == ERR_SYNTAX, "%s", no_limits[_i]);
    ck_assert(quota_is_none(&l));
}
END_TEST

START_TEST(headers_are_read)
{
    struct quota_limit l;

    ck_assert_int_eq(quota_parse_header("10485760S,1000C", &l), 0);
    ck_assert(l.bytes == 10485760 && l.messages == 1000);
    ck_assert_int_eq(quota_parse_header("1000C,5S", &l), 0);
    ck_assert(l.bytes == 5 && l.messages == 1000);
    ck_assert_int_eq(quota_parse_header("7X,5S", &l), 0); /* a kind of the future */
    ck_assert(l.bytes == 5 && l.messages == 0);
    ck_assert_int_eq(quota_parse_header("0S", &l), 0);
    ck_assert(quota_is_none(&l));
    ck_assert_int_eq(quota_parse_header("NOQUOTA", &l), 0);
    ck_assert(quota_is_none(&l));
    ck_assert_int_eq(quota_parse_header("10G", &l), 0); /* a kind called G */
    ck_assert_int_eq(quota_parse_header("5 1", &l), ERR_SYNTAX);
    ck_assert_int_eq(quota_parse_header("", &l), ERR_SYNTAX);
    ck_assert_int_eq(quota_parse_header("99999999999999999999999S", &l), ERR_SYNTAX);
}
END_TEST

/* -------------------------------------------------------------- whose limit */

START_TEST(without_limit_nothing_is_done)
{
    struct account *a = open_with(NULL);

    ck_assert_int_eq(quota_check(a, UINT64_MAX, UINT64_MAX), 0);
    quota_add(a, 1000, 1);
    ck_assert(!quota_applies(a));
    ck_assert_str_eq(file_text(), "-");
    account_close(&a);
}
END_TEST

START_TEST(users_limit_before_default)
{
    struct account *a;

    set_default("1000");
    a = open_with("");
    ck_assert_int_eq(quota_check(a, 1000, 1), 0);
    ck_assert_int_eq(quota_check(a, 1001, 1), ERR_QUOTA);
    account_close(&a);
    a = open_with("2000:1");
    ck_assert_int_eq(quota_check(a, 1001, 1), 0);
    ck_assert_int_eq(quota_check(a, 10, 2), ERR_QUOTA);
    account_close(&a);
    ck_assert_str_eq(file_text(), "2000S,1C\n0 0\n");
}
END_TEST

/* quota=0 for one user, where all others have a limit, and where another server left one. */
START_TEST(none_for_a_user)
{
    struct account *a;

    set_default("1000");
    put_file("500S\n10 1\n");
    a = open_with("0");
    ck_assert_int_eq(quota_check(a, 5000, 1), 0);
    ck_assert_str_eq(file_text(), "-");
    account_close(&a);
}
END_TEST

START_TEST(limit_of_the_file_holds)
{
    struct account *a;

    /* Courier's lines have 14 octets */
    put_file("1000S,10C    \n      600     3\n     -100    -1\n");
    a = open_with("");
    ck_assert_int_eq(quota_check(a, 500, 8), 0);
    ck_assert_str_eq(file_text(), "1000S,10C    \n      600     3\n     -100    -1\n");
    quota_add(a, 400, 1);
    ck_assert_str_eq(file_text(), "1000S,10C    \n      600     3\n     -100    -1\n400 1\n");
    /* over, in a file of several lines: counted, and the header stays */
    ck_assert_int_eq(quota_check(a, 500, 1), 0);
    ck_assert_str_eq(file_text(), "1000S,10C\n0 0\n");
    ck_assert_int_eq(quota_check(a, 1001, 1), ERR_QUOTA);
    /* another program sets another one */
    put_file("3000S\n500 1\n");
    ck_assert_int_eq(quota_check(a, 2500, 1), 0);
    /* ... and takes it away */
    ck_assert_int_eq(unlink(path_of(QUOTA_FILE)), 0);
    ck_assert_int_eq(quota_check(a, 1000000, 1), 0);
    ck_assert_str_eq(file_text(), "-");
    account_close(&a);
    put_file("NOQUOTA\n500 1\n");
    a = open_with("");
    ck_assert(!quota_applies(a));
    account_close(&a);
}
END_TEST

START_TEST(unknown_kinds_of_limits_stay)
{
    struct account *a;

    put_file("5Z,1000S\n");
    a = open_with("");
    ck_assert_int_eq(quota_check(a, 5, 1), 0);
    ck_assert_str_eq(file_text(), "5Z,1000S\n0 0\n");
    account_close(&a);
}
END_TEST

START_TEST(faulty_limit_is_never_none)
{
    struct account *a = open_with("10 Gigabytes");

    ck_assert_int_eq(quota_check(a, 1, 1), ERR_CONFIG);
    ck_assert(quota_applies(a));
    ck_assert_ptr_nonnull(strstr(said, "is no quota"));
    account_close(&a);
    put_file("some garbage\n");
    a = open_with("");
    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    ck_assert_ptr_nonnull(strstr(said, "no limit in its first line"));
    ck_assert_str_eq(file_text(), "some garbage\n");
    account_close(&a);
}
END_TEST

/* -------------------------------------------------------------- counting */

START_TEST(names_are_believed_else_files_are_asked)
{
    struct account *a = open_with("100000");
    struct quota_usage u;

    ck_assert_int_eq(folder_create(a, "Work", 0), 0);
    ck_assert_int_eq(folder_create(a, "Trash", 0), 0);
    put_message(".", "new", "1.M1P1.host,S=5000", 10);
    put_message(".", "cur", "2.M1P1.host,S=700,W=720:2,S", 10);
    put_message(".", "cur", "3.M1P1.host:2,", 11);
    put_message(".", "cur", ".hidden", 999);
    put_message(".Work", "cur", "4.M1P1.host:2,ST", 200);  /* \Deleted counts */
    put_message(".Trash", "cur", "5.M1P1.host:2,S", 3000); /* so does Trash */
    put_message(".Work", "tmp", "6.M1P1.host", 999);
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_uint_eq(u.bytes, 5000 + 700 + 11 + 200 + 3000);
    ck_assert_uint_eq(u.messages, 5);
    ck_assert_uint_eq(u.limit.bytes, 100000);
    ck_assert_str_eq(file_text(), "100000S\n8911 5\n");
    account_close(&a);
}
END_TEST

START_TEST(odd_entries_are_no_messages)
{
    struct account *a = open_with("100000");
    struct quota_usage u;

    ck_assert_int_eq(mkdir(path_of("cur/directory"), 0700), 0);
    ck_assert_int_eq(symlink("/etc/passwd", path_of("cur/link")), 0);
    ck_assert_int_eq(mkfifo(path_of("new/pipe"), 0600), 0);
    put_message(".", "cur", "1.M1P1.host,S=99999999999999999999:2,", 5);
    put_message(".", "cur", "2.M1P1.host,S=:2,", 6);
    put_message(".", "cur", "3.M1P1.host,S=7x:2,", 7);
    ck_assert_int_eq(quota_recount(a, &u), 0);
    ck_assert_uint_eq(u.bytes, 18);
    ck_assert_uint_eq(u.messages, 3);
    account_close(&a);
}
END_TEST

/* Sums of lies don't wrap around. */
START_TEST(sum_of_names_is_bounded)
{
    struct account *a = open_with("100000");
    char name[80];
    struct quota_usage u;

    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "%d.M1P1.host,S=999999999999999999:2,", i);
        put_message(".", "cur", name, 1);
    }
    ck_assert_int_eq(quota_recount(a, &u), 0);
    ck_assert_uint_eq(u.bytes, QUOTA_LIMIT_MAX);
    ck_assert_int_eq(quota_check(a, 1, 1), ERR_QUOTA);
    account_close(&a);
}
END_TEST

/* -------------------------------------------------------------- the file */

START_TEST(changes_are_appended)
{
    struct account *a = open_with("1000:100");

    ck_assert_int_eq(quota_check(a, 300, 1), 0);
    quota_add(a, 300, 1);
    quota_add(a, -100, -1);
    quota_add(a, 0, 0);
    ck_assert_str_eq(file_text(), "1000S,100C\n0 0\n300 1\n-100 -1\n");
    ck_assert_int_eq(quota_check(a, 800, 1), 0);
    ck_assert_int_eq(access(path_of("tmp/x"), F_OK), -1);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    account_close(&a);
}
END_TEST

static const struct {
    const char *text;
    bool counted;
} files[] = {
    {"9000S\n400 1\n", false},
    {"9000S\n400 1\n-100 -1\n", false},
    {"9000S\n +400\t1 \n", false},
    {"9000S\r\n400 1\r\n", false},
    {"9000S,0C\n400 1\n", false},
    {"9001S\n400 1\n", true}, /* another limit */
    {"9000S,5C\n400 1\n", true},
    {"9000S\n", true},
    {"9000S", true},
    {"", true},
    {"\n400 1\n", true},
    {"400 1\n400 1\n", true},
    {"9000S\n400 1\n40", true}, /* not written to its end */
    {"9000S\n400 1\n\n", true},
    {"9000S\n400\n", true},
    {"9000S\n400 1 1\n", true},
    {"9000S\n400 x\n", true},
    {"9000S\n4x00 1\n", true},
    {"9000S\n- 1\n", true},
    {"9000S\n400 1\n-401 -1\n", true}, /* below zero */
    {"9000S\n400 1\n0 -2\n", true},
    {"9000S\n9999999999999999999999999 1\n", true},
    {"9000S\n-9999999999999999999999999 1\n", true},
    {"9000S\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n"
     "461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n"
     "461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n"
     "461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n"
     "461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n"
     "461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n461168601842738780 1\n",
     true},
};

START_TEST(what_makes_no_sense_is_counted)
{
    struct account *a;
    struct quota_usage u;

    put_file(files[_i].text);
    a = open_with("9000");
    ck_assert_int_eq(quota_usage(a, &u), 0);
    if (files[_i].counted)
        ck_assert_str_eq(file_text(), "9000S\n0 0\n");
    else
        ck_assert_str_eq(file_text(), files[_i].text);
    ck_assert_uint_eq(u.bytes, files[_i].counted                ? 0
                               : strstr(files[_i].text, "-100") ? 300
                                                                : 400);
    account_close(&a);
}
END_TEST

START_TEST(nul_octets_are_garbage)
{
    static const char text[] = "9000S\n400\0 1\n";
    struct account *a;
    struct quota_usage u;
    FILE *f;

    a = open_with("9000");
    f = fopen(path_of(QUOTA_FILE), "w");
    fwrite(text, 1, sizeof text - 1, f);
    fclose(f);
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_str_eq(file_text(), "9000S\n0 0\n");
    f = fopen(path_of(QUOTA_FILE), "w");
    fwrite("90\0000S\n1 1\n", 1, 11, f);
    fclose(f);
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_str_eq(file_text(), "9000S\n0 0\n");
    account_close(&a);
}
END_TEST

/* 5,120 octets: the rule that mends all that went wrong. */
START_TEST(long_file_is_counted)
{
    char text[8000];
    struct account *a;
    size_t n;

    a = open_with("100000");
    for (int more = 0; more < 2; more++) {
        n = (size_t)snprintf(text, sizeof text, "100000S\n");
        while (n < 5100)
            n += (size_t)snprintf(text + n, sizeof text - n, "100 1\n");
        snprintf(text + n, sizeof text - n, "%-*s\n", 5118 + more - (int)n, "100 1");
        ck_assert_uint_eq(strlen(text), (size_t)(5119 + more));
        put_file(text);
        ck_assert_int_eq(quota_check(a, 1, 1), 0);
        if (more == 0)
            ck_assert(strcmp(file_text(), text) == 0);
        else
            ck_assert_str_eq(file_text(), "100000S\n0 0\n");
    }
    account_close(&a);
}
END_TEST

START_TEST(huge_file_is_not_read)
{
    struct account *a = open_with("100000");

    put_file("100000S\n");
    ck_assert_int_eq(truncate(path_of(QUOTA_FILE), (off_t)1 << 40), 0);
    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    ck_assert_str_eq(file_text(), "100000S\n0 0\n");
    account_close(&a);
}
END_TEST

START_TEST(what_says_over_is_looked_at_again)
{
    struct account *a = open_with("1000");

    /* one line, of this moment: believed */
    put_file("1000S\n900 1\n");
    ck_assert_int_eq(quota_check(a, 200, 1), ERR_QUOTA);
    ck_assert_str_eq(file_text(), "1000S\n900 1\n");
    age_file(10 * 60);
    ck_assert_int_eq(quota_check(a, 200, 1), ERR_QUOTA);
    /* a quarter of an hour old */
    age_file(16 * 60);
    ck_assert_int_eq(quota_check(a, 200, 1), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n");
    /* several lines */
    put_file("1000S\n500 1\n400 1\n");
    ck_assert_int_eq(quota_check(a, 200, 1), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n");
    /* a time in the future isn't a reason to believe for ever */
    put_file("1000S\n900 1\n");
    age_file(-3600);
    ck_assert_int_eq(quota_check(a, 200, 1), 0);
    /* what doesn't fit at all isn't a reason to count */
    put_file("1000S\n500 1\n400 1\n");
    ck_assert_int_eq(quota_check(a, 1001, 1), ERR_QUOTA);
    ck_assert_str_eq(file_text(), "1000S\n500 1\n400 1\n");
    account_close(&a);
}
END_TEST

/* A neighbour that knows no quotas fills the Maildir, and empties it. */
START_TEST(neighbours_are_seen_at_the_next_count)
{
    struct account *a = open_with("1000");
    struct quota_usage u;

    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    put_message(".", "new", "1.M1P1.host", 900);
    ck_assert_int_eq(quota_check(a, 500, 1), 0); /* can't be known */
    quota_add(a, 0, 1);
    ck_assert_int_eq(quota_recount(a, &u), 0);
    ck_assert_uint_eq(u.bytes, 900);
    ck_assert_int_eq(quota_check(a, 500, 1), ERR_QUOTA);
    neighbour_remove(store_dir, "new/1.M1P1.host");
    age_file(16 * 60);
    ck_assert_int_eq(quota_check(a, 500, 1), 0);
    account_close(&a);
}
END_TEST

START_TEST(links_are_not_followed)
{
    char other[400];
    struct account *a = open_with("1000");

    snprintf(other, sizeof other, "%s", path_of("other"));
    neighbour_put(store_dir, ".", "other", "1000S\n5 1\n");
    ck_assert_int_eq(symlink(other, path_of(QUOTA_FILE)), 0);
    quota_add(a, 100, 1);
    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n");
    ck_assert_ptr_nonnull(strstr(said, "symbolic link"));
    ck_assert_int_eq(unlink(path_of(QUOTA_FILE)), 0);
    ck_assert_int_eq(rename(other, path_of(QUOTA_FILE)), 0);
    ck_assert_str_eq(file_text(), "1000S\n5 1\n"); /* nothing was added to it */
    account_close(&a);
}
END_TEST

START_TEST(other_things_of_that_name)
{
    struct account *a = open_with("1000");

    ck_assert_int_eq(mkfifo(path_of(QUOTA_FILE), 0600), 0);
    quota_add(a, 100, 1);
    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n");
    ck_assert_int_eq(unlink(path_of(QUOTA_FILE)), 0);
    /* a directory can't be replaced: counted each time */
    ck_assert_int_eq(mkdir(path_of(QUOTA_FILE), 0700), 0);
    put_message(".", "new", "1.M1P1.host", 900);
    ck_assert_int_eq(quota_check(a, 101, 1), ERR_QUOTA);
    ck_assert_int_eq(quota_check(a, 100, 1), 0);
    quota_add(a, 100, 1);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    account_close(&a);
}
END_TEST

/* -------------------------------------------------------------- what a session does */

static int
append(struct account *a, const char *folder, int octets, int count)
{
    struct flag_set set = {.flags = MSG_SEEN};
    char *text = mem_alloc((size_t)octets + 1);
    uint32_t uidvalidity, uid;
    struct append *ap;
    int err;

    memset(text, 'x', (size_t)octets);
    ck_assert_int_eq(append_begin(a, folder, &ap), 0);
    while (count-- > 0)
        ck_assert_int_eq(append_add(ap, text_source(text, (size_t)octets), &set, INT64_MIN), 0);
    err = append_commit(&ap, &uidvalidity, &uid);
    free(text);
    return err;
}

static int
copy(struct view *v, const char *uids, const char *to, bool move)
{
    struct seqset set = uid_set(uids), src, dst;
    uint32_t uidvalidity;
    bool some_gone;
    int err;

    seqset_init(&src);
    seqset_init(&dst);
    err = view_copy(v, &set, to, move, &uidvalidity, &src, &dst, &some_gone);
    seqset_free(&set);
    seqset_free(&src);
    seqset_free(&dst);
    return err;
}

START_TEST(append_asks_before_and_at_the_end)
{
    struct account *a = open_with("1000:5");
    struct flag_set set = {.flags = 0};
    struct append *ap;
    uint32_t uidvalidity, uid;

    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_room(ap, 1001), ERR_QUOTA);
    ck_assert_int_eq(append_room(ap, 1000), 0);
    ck_assert_int_eq(append_add(ap, text_source("12345\r\n", 7), &set, INT64_MIN), 0);
    ck_assert_int_eq(append_room(ap, 995), ERR_QUOTA); /* six octets are there, with LF */
    ck_assert_int_eq(append_room(ap, 994), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), 0);
    ck_assert_str_eq(file_text(), "1000S,5C\n0 0\n6 1\n");
    /* another session fills it meanwhile */
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_room(ap, 500), 0);
    ck_assert_int_eq(append_add(ap, text_source("12345\r\n", 7), &set, INT64_MIN), 0);
    ck_assert_int_eq(append(a, "INBOX", 900, 1), 0);
    put_message(".", "new", "1.M1P1.host,S=90", 90);
    quota_add(a, 90, 1);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), ERR_QUOTA);
    ck_assert_str_eq(file_text(), "1000S,5C\n996 3\n");
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 2);
    account_close(&a);
}
END_TEST

/* All or none, and one line. */
START_TEST(multiappend_is_one_change)
{
    struct account *a = open_with("1000:5");

    ck_assert_int_eq(append(a, "INBOX", 100, 6), ERR_QUOTA);
    ck_assert_int_eq(append(a, "INBOX", 300, 4), ERR_QUOTA);
    ck_assert_int_eq(files_in(store_dir, "cur"), 0);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(append(a, "INBOX", 200, 5), 0);
    ck_assert_str_eq(file_text(), "1000S,5C\n0 0\n1000 5\n");
    ck_assert_int_eq(append(a, "INBOX", 1, 1), ERR_QUOTA);
    account_close(&a);
}
END_TEST

START_TEST(copy_needs_room_and_move_does_not)
{
    struct account *a = open_with("1000");
    struct quota_usage u;
    struct view *v;

    ck_assert_int_eq(folder_create(a, "Trash", 0), 0);
    ck_assert_int_eq(append(a, "INBOX", 200, 3), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_int_eq(copy(v, "1:3", "Trash", false), ERR_QUOTA);
    ck_assert_int_eq(files_in(path_of(".Trash"), "cur"), 0);
    ck_assert_int_eq(copy(v, "1:2", "Trash", false), 0);
    ck_assert_str_eq(file_text(), "1000S\n600 3\n400 2\n");
    ck_assert_int_eq(copy(v, "1", "INBOX", false), ERR_QUOTA);
    /* full, and then over by a lower limit: MOVE works, and leaves no line */
    view_close(&v);
    account_close(&a);
    a = open_with("500");
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_int_eq(copy(v, "1:3", "Trash", true), 0);
    ck_assert_str_eq(file_text(), "1000S\n1000 5\n");
    ck_assert_int_eq(copy(v, "1:3", "Trash", false), 0); /* nothing left to copy */
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_str_eq(file_text(), "500S\n1000 5\n");
    ck_assert_uint_eq(u.bytes, 1000);
    view_close(&v);
    account_close(&a);
}
END_TEST

START_TEST(expunge_gives_room_back)
{
    struct account *a = open_with("1000");
    struct view *v;

    ck_assert_int_eq(append(a, "INBOX", 200, 5), 0);
    ck_assert_int_eq(append(a, "INBOX", 200, 1), ERR_QUOTA);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_int_eq(store_flags(v, "1:3", STORE_ADD, MSG_DELETED), 0);
    ck_assert_str_eq(file_text(), "1000S\n1000 5\n"); /* marked isn't gone */
    ck_assert_int_eq(append(a, "INBOX", 200, 1), ERR_QUOTA);
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    ck_assert_str_eq(file_text(), "1000S\n1000 5\n-600 -3\n");
    ck_assert_int_eq(append(a, "INBOX", 600, 1), 0);
    /* nothing to expunge: no line; POP3's QUIT takes what isn't marked */
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    sync_quietly(v);
    ck_assert_int_eq(view_expunge(v, NULL, true, NULL), 0);
    ck_assert_str_eq(file_text(), "1000S\n1000 5\n-600 -3\n600 1\n-1000 -3\n");
    view_close(&v);
    account_close(&a);
}
END_TEST

/* What another program removed, it recorded itself, or it'll be counted. */
START_TEST(what_is_gone_already_is_not_counted_twice)
{
    struct account *a = open_with("10000");
    struct view *v;

    put_message(".", "cur", "1.M1P1.host,S=2000:2,T", 2000);
    put_message(".", "cur", "2.M1P1.host:2,T", 300);
    put_message(".", "cur", "3.M1P1.host,S=50:2,T", 70); /* a name that lies */
    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    ck_assert_str_eq(file_text(), "10000S\n2350 3\n");
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    sync_quietly(v);
    neighbour_remove(store_dir, "cur/1.M1P1.host,S=2000:2,T");
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    ck_assert_str_eq(file_text(), "10000S\n2350 3\n-350 -2\n");
    view_close(&v);
    account_close(&a);
}
END_TEST

START_TEST(deleted_folder_gives_room_back)
{
    struct account *a = open_with("1000");

    ck_assert_int_eq(folder_create(a, "Work", 0), 0);
    ck_assert_int_eq(append(a, "Work", 200, 3), 0);
    put_message(".Work", "new", "1.M1P1.host,S=77", 77);
    quota_add(a, 77, 1);
    ck_assert_int_eq(folder_rename(a, "Work", "Old.Work"), 0);
    ck_assert_int_eq(folder_delete(a, "Old.Work"), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n600 3\n77 1\n-677 -4\n");
    ck_assert_int_eq(folder_rename(a, "INBOX", "Kept"), 0);
    ck_assert_str_eq(file_text(), "1000S\n0 0\n600 3\n77 1\n-677 -4\n");
    account_close(&a);
}
END_TEST

/* Deltas of many sessions at once: none is lost, and the sum is what lies there. */
START_TEST(sessions_at_the_same_time)
{
    struct account *a = open_with("100000");
    struct quota_usage u, counted;
    int status;

    ck_assert_int_eq(quota_check(a, 1, 1), 0);
    account_close(&a);
    for (int child = 0; child < 3; child++) {
        if (fork() != 0)
            continue;
        a = open_with("100000");
        for (int i = 0; i < 40; i++)
            if (append(a, "INBOX", 100 + child, 1) != 0)
                _exit(1);
        account_close(&a);
        _exit(0);
    }
    for (int child = 0; child < 3; child++) {
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    a = open_with("100000");
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_int_eq(quota_recount(a, &counted), 0);
    ck_assert_uint_eq(u.bytes, 40 * (100 + 101 + 102));
    ck_assert_uint_eq(u.messages, 120);
    ck_assert_uint_eq(counted.bytes, u.bytes);
    account_close(&a);
}
END_TEST

/* The file is counted anew some times meanwhile: the limit is never passed. */
START_TEST(sessions_cannot_pass_the_limit_together)
{
    struct quota_usage u;
    struct account *a;

    for (int child = 0; child < 3; child++) {
        if (fork() != 0)
            continue;
        a = open_with("5000");
        for (int i = 0; i < 40; i++) {
            int err = append(a, "INBOX", 100, 1);

            if (err != 0 && err != ERR_QUOTA)
                _exit(-err);
        }
        account_close(&a);
        _exit(0);
    }
    for (int child = 0; child < 3; child++) {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(files_in(store_dir, "cur"), 50);
    a = open_with("5000");
    ck_assert_int_eq(quota_usage(a, &u), 0);
    ck_assert_uint_eq(u.bytes, 5000);
    account_close(&a);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("quota");
    TCase *t = tcase_create("quota");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, limits_are_read, 0, sizeof limits / sizeof limits[0]);
    tcase_add_loop_test(t, what_is_no_limit, 0, sizeof no_limits / sizeof no_limits[0]);
    tcase_add_test(t, headers_are_read);
    tcase_add_test(t, without_limit_nothing_is_done);
    tcase_add_test(t, users_limit_before_default);
    tcase_add_test(t, none_for_a_user);
    tcase_add_test(t, limit_of_the_file_holds);
    tcase_add_test(t, unknown_kinds_of_limits_stay);
    tcase_add_test(t, faulty_limit_is_never_none);
    tcase_add_test(t, names_are_believed_else_files_are_asked);
    tcase_add_test(t, odd_entries_are_no_messages);
    tcase_add_test(t, sum_of_names_is_bounded);
    tcase_add_test(t, changes_are_appended);
    tcase_add_loop_test(t, what_makes_no_sense_is_counted, 0, sizeof files / sizeof files[0]);
    tcase_add_test(t, nul_octets_are_garbage);
    tcase_add_test(t, long_file_is_counted);
    tcase_add_test(t, huge_file_is_not_read);
    tcase_add_test(t, what_says_over_is_looked_at_again);
    tcase_add_test(t, neighbours_are_seen_at_the_next_count);
    tcase_add_test(t, links_are_not_followed);
    tcase_add_test(t, other_things_of_that_name);
    tcase_add_test(t, append_asks_before_and_at_the_end);
    tcase_add_test(t, multiappend_is_one_change);
    tcase_add_test(t, copy_needs_room_and_move_does_not);
    tcase_add_test(t, expunge_gives_room_back);
    tcase_add_test(t, what_is_gone_already_is_not_counted_twice);
    tcase_add_test(t, deleted_folder_gives_room_back);
    tcase_add_test(t, sessions_at_the_same_time);
    tcase_add_test(t, sessions_cannot_pass_the_limit_together);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
