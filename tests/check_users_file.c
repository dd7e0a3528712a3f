/*
 * The users file, mansio-users(5): reading what Dovecot's passwd-file has, faults, changes, and
 * editing.
 */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/nets.h"
#include "auth/users_file.h"
#include "base/err.h"
#include "base/log.h"

static struct {
    char dir[64], path[128], said[65536];
} t;

static void
collect(enum log_level level, const char *line)
{
    size_t n = strlen(t.said);

    (void)level;
    snprintf(t.said + n, sizeof t.said - n, "%s\n", line);
}

static void
set_up(void)
{
    snprintf(t.dir, sizeof t.dir, "/tmp/check_users.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.dir));
    snprintf(t.path, sizeof t.path, "%s/users", t.dir);
    t.said[0] = '\0';
    log_hook = collect;
}

static void
tear_down(void)
{
    static const char *const names[] = {"users", "users.lock", "users.new"};
    char path[192];

    log_hook = NULL;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", t.dir, names[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(t.dir), 0);
}

static void
write_users(const char *text, size_t len)
{
    int fd = open(t.path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static const char *
file_text(void)
{
    static char text[65536];
    int fd = open(t.path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    ck_assert_int_ge(n, 0);
    close(fd);
    text[n] = '\0';
    return text;
}

static struct users_file *
load(const char *text)
{
    struct users_file *f;

    write_users(text, strlen(text));
    ck_assert_int_eq(users_file_load(t.path, &f), 0);
    return f;
}

START_TEST(test_fields)
{
    struct users_file *f = load("# comment\n"
                                "\n"
                                "zoe:{PLAIN}a\r\n"
                                "ann@example.org:$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1:1000:100:"
                                "Ann, of: /home/ann:/bin/sh:imap=no  quota=10G:1000 "
                                "userdb_mail=maildir:/srv/ann allow_nets=10.0.0.0/8,::1 x=y");
    const struct user *u;

    /* the eighth field keeps its colons; "Ann, of" is the fifth */
    ck_assert_str_eq(t.said, "");
    ck_assert_uint_eq(users_file_count(f), 2);
    u = users_file_find(f, "zoe");
    ck_assert_ptr_nonnull(u);
    ck_assert_str_eq(u->hash, "{PLAIN}a");
    ck_assert_str_eq(u->home, "");
    ck_assert_str_eq(u->uid, "");
    ck_assert(u->imap && u->pop3 && !u->nologin);
    ck_assert_str_eq(u->mail, "");
    u = users_file_find(f, "ann@example.org");
    ck_assert_ptr_nonnull(u);
    ck_assert_str_eq(u->uid, "1000");
    ck_assert_str_eq(u->gid, "100");
    ck_assert_str_eq(u->home, " /home/ann");
    ck_assert(!u->imap && u->pop3);
    ck_assert_str_eq(u->quota, "10G:1000");
    ck_assert_str_eq(u->mail, "/srv/ann");
    ck_assert_str_eq(u->allow_nets, "10.0.0.0/8,::1");
    ck_assert_ptr_nonnull(strstr(u->extra, "imap=no  quota=10G:1000 userdb_mail=maildir:/srv"));
    ck_assert_ptr_null(users_file_find(f, "ann"));
    ck_assert_ptr_null(users_file_find(f, "Zoe"));
    ck_assert_ptr_null(users_file_find(f, ""));
    ck_assert_str_eq(users_file_nth(f, 0)->name, "ann@example.org");
    ck_assert_str_eq(users_file_nth(f, 1)->name, "zoe");
    ck_assert_ptr_null(users_file_nth(f, 2));
    users_file_free(&f);
    ck_assert_ptr_null(f);
}
END_TEST

START_TEST(test_words)
{
    struct users_file *f = load("a:{PLAIN}x::::::imap=off pop3=NO nologin\n"
                                "b:{PLAIN}x::::::imap=yes pop3=maybe nologin=no mail=relative\n"
                                "c:{PLAIN}x::::::nologin=y MAIL=%h/mail\n"
                                "d:{PLAIN}x::::::\n"
                                "e:{PLAIN}x::::::proxy=y\n");
    const struct user *u = users_file_find(f, "a");

    ck_assert(!u->imap && !u->pop3 && u->nologin);
    u = users_file_find(f, "b");
    ck_assert(u->imap && !u->pop3 && !u->nologin); /* a typo never opens a service */
    ck_assert_str_eq(u->mail, "");
    ck_assert_ptr_nonnull(strstr(t.said, "users:2: pop3: write pop3=yes or pop3=no"));
    ck_assert_ptr_nonnull(strstr(t.said, "users:2: mail=relative is ignored"));
    u = users_file_find(f, "c");
    ck_assert(u->nologin);
    ck_assert_str_eq(u->mail, "%h/mail");
    ck_assert(users_file_find(f, "d")->imap);
    ck_assert(users_file_find(f, "e")->nologin);
    users_file_free(&f);
}
END_TEST

/* A limit that isn't understood is told, and never means that there's none. */
START_TEST(test_quota)
{
    struct users_file *f = load("a:{PLAIN}x::::::quota=10G:5\n"
                                "b:{PLAIN}x::::::userdb_quota_rule=*:storage=1G\n"
                                "c:{PLAIN}x::::::quota=maildir:storage=100:messages=3\n"
                                "d:{PLAIN}x::::::quota=much\n"
                                "e:{PLAIN}x::::::quota_rule=Trash:storage=1G\n"
                                "f:{PLAIN}x::::::quota= imap=no\n"
                                "g:{PLAIN}x::::::quota=0\n");

    ck_assert_str_eq(users_file_find(f, "a")->quota, "10G:5");
    ck_assert_str_eq(users_file_find(f, "b")->quota, "*:storage=1G");
    ck_assert_str_eq(users_file_find(f, "c")->quota, "maildir:storage=100:messages=3");
    ck_assert_str_eq(users_file_find(f, "g")->quota, "0");
    ck_assert_str_eq(users_file_find(f, "d")->quota, "");
    ck_assert_str_eq(users_file_find(f, "e")->quota, "");
    ck_assert_str_eq(users_file_find(f, "f")->quota, "");
    ck_assert(!users_file_find(f, "f")->imap);
    ck_assert_ptr_nonnull(strstr(t.said, "users:4: quota=much of user d is ignored"));
    ck_assert_ptr_nonnull(
        strstr(t.said, "users:5: quota_rule=Trash:storage=1G of user e is ignored"));
    ck_assert_ptr_nonnull(strstr(t.said, "users:6: quota= of user f is ignored"));
    users_file_free(&f);
}
END_TEST

START_TEST(test_faulty_lines)
{
    static const char text[] = "nocolon\n"
                               ":{PLAIN}x\n"
                               ".hidden:{PLAIN}x\n"
                               "a/b:{PLAIN}x\n"
                               "a b:{PLAIN}x\n"
                               "nul\0:{PLAIN}x\n"
                               "good:{PLAIN}1\n"
                               "good:{PLAIN}2\n"
                               "odd:{FOO}x\n"
                               "locked:!$6$abc\n"
                               "aaa:{PLAIN}3\n";
    char expected[64];
    struct users_file *f;

    write_users(text, sizeof text - 1);
    ck_assert_int_eq(users_file_load(t.path, &f), 0);
    for (int line = 1; line <= 6; line++) {
        snprintf(expected, sizeof expected, "users:%d: left out", line);
        ck_assert_msg(strstr(t.said, expected) != NULL, "%s: %s", expected, t.said);
    }
    ck_assert_ptr_nonnull(
        strstr(t.said, "users:8: left out: user good is in line 7 already: remove one"));
    ck_assert_ptr_nonnull(strstr(t.said, "users:9: user odd can't log in"));
    ck_assert_ptr_null(strstr(t.said, "users:10"));
    ck_assert_uint_eq(users_file_count(f), 4);
    ck_assert_str_eq(users_file_find(f, "good")->hash, "{PLAIN}1");
    ck_assert_str_eq(users_file_find(f, "aaa")->hash, "{PLAIN}3");
    users_file_free(&f);
}
END_TEST

START_TEST(test_empty_and_missing)
{
    struct users_file *f = load("");

    ck_assert_uint_eq(users_file_count(f), 0);
    ck_assert_ptr_null(users_file_find(f, "a"));
    users_file_free(&f);
    unlink(t.path);
    ck_assert_int_eq(users_file_load(t.path, &f), ERR_NOENT);
    ck_assert_ptr_null(f);
    ck_assert_int_eq(users_file_load("/tmp", &f), ERR_IO);
}
END_TEST

START_TEST(test_world_readable_is_told)
{
    struct users_file *f = load("a:{PLAIN}x\n");

    users_file_free(&f);
    ck_assert_str_eq(t.said, "");
    chmod(t.path, 0644);
    ck_assert_int_eq(users_file_load(t.path, &f), 0);
    ck_assert_ptr_nonnull(strstr(t.said, "can be read by everybody"));
    users_file_free(&f);
}
END_TEST

START_TEST(test_refresh)
{
    struct users_file *f = load("a:{PLAIN}x\n");
    size_t said;

    ck_assert(!users_file_refresh(f));
    write_users("b:{PLAIN}yy\n", 12);
    ck_assert(users_file_refresh(f));
    ck_assert_ptr_null(users_file_find(f, "a"));
    ck_assert_ptr_nonnull(users_file_find(f, "b"));
    ck_assert(!users_file_refresh(f));
    /* the same size, by another inode */
    ck_assert_int_eq(users_file_set(t.path, "b", "{PLAIN}zz", NULL, false), 0);
    ck_assert(users_file_refresh(f));
    ck_assert_str_eq(users_file_find(f, "b")->hash, "{PLAIN}zz");
    /* gone: the old users stay, told once */
    unlink(t.path);
    ck_assert(!users_file_refresh(f));
    ck_assert_ptr_nonnull(users_file_find(f, "b"));
    ck_assert_ptr_nonnull(strstr(t.said, "the users as they were stay in use"));
    said = strlen(t.said);
    ck_assert(!users_file_refresh(f));
    ck_assert_uint_eq(strlen(t.said), said);
    write_users("c:{PLAIN}x\n", 11);
    ck_assert(users_file_refresh(f));
    ck_assert_ptr_nonnull(users_file_find(f, "c"));
    users_file_free(&f);
}
END_TEST

START_TEST(test_many)
{
    size_t room = 20000 * 32, n = 0;
    char *text = malloc(room), name[32];
    struct users_file *f;

    for (int i = 0; i < 20000; i++)
        n += (size_t)snprintf(text + n, room - n, "u%d:{PLAIN}p%d\n", (i * 7919) % 20000, i);
    f = load(text);
    free(text);
    ck_assert_uint_eq(users_file_count(f), 20000);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "u%d", i);
        ck_assert_ptr_nonnull(users_file_find(f, name));
    }
    users_file_free(&f);
}
END_TEST

/* Others' lines stay octet by octet. */
START_TEST(test_edit)
{
    ck_assert_int_eq(users_file_set(t.path, "ann", "{PLAIN}1", NULL, true), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1\n");
    ck_assert_int_eq(users_file_set(t.path, "ann", "{PLAIN}1", NULL, true), ERR_EXISTS);
    ck_assert_int_eq(users_file_set(t.path, "bob", "{PLAIN}2", "imap=no", true), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1\nbob:{PLAIN}2::::::imap=no\n");
    ck_assert_int_eq(users_file_set(t.path, "bob", "{PLAIN}3", NULL, false), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1\nbob:{PLAIN}3::::::imap=no\n");
    ck_assert_int_eq(users_file_set(t.path, "bob", NULL, "pop3=no x=a:b", false), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1\nbob:{PLAIN}3::::::pop3=no x=a:b\n");
    ck_assert_int_eq(users_file_set(t.path, "bob", NULL, "", false), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1\nbob:{PLAIN}3::::::\n");
    ck_assert_int_eq(users_file_set(t.path, "ann", NULL, "quota=1G", false), 0);
    ck_assert_str_eq(file_text(), "ann:{PLAIN}1::::::quota=1G\nbob:{PLAIN}3::::::\n");
    ck_assert_int_eq(users_file_set(t.path, "cyd", NULL, "x", false), ERR_NOENT);
    ck_assert_int_eq(users_file_delete(t.path, "ann"), 0);
    ck_assert_str_eq(file_text(), "bob:{PLAIN}3::::::\n");
    ck_assert_int_eq(users_file_delete(t.path, "ann"), ERR_NOENT);
    ck_assert_int_eq(users_file_delete(t.path, "bo"), ERR_NOENT);
}
END_TEST

START_TEST(test_edit_keeps_others)
{
    static const char before[] = "# top\r\n\n  odd line\nann:h:1:2:g:/home/ann:sh:imap=no\r\n"
                                 "#ann:old\nannx:h\nann:dup\nlast:h:";
    static const char after[] = "# top\r\n\n  odd line\nann:H:1:2:g:/home/ann:sh:imap=no\r\n"
                                "#ann:old\nannx:h\nann:dup\nlast:h:";

    write_users(before, sizeof before - 1);
    ck_assert_int_eq(users_file_set(t.path, "ann", "H", NULL, false), 0);
    ck_assert_str_eq(file_text(), after);
    ck_assert_int_eq(users_file_set(t.path, "last", "L", NULL, false), 0);
    ck_assert_int_eq(users_file_set(t.path, "new", "N", "", true), 0);
    ck_assert_ptr_nonnull(strstr(file_text(), "\nlast:L:\nnew:N\n"));
    ck_assert_int_eq(users_file_delete(t.path, "ann"), 0);
    ck_assert_str_eq(file_text(), "# top\r\n\n  odd line\n#ann:old\nannx:h\nlast:L:\nnew:N\n");
}
END_TEST

START_TEST(test_edit_keeps_mode)
{
    struct stat st;

    ck_assert_int_eq(users_file_set(t.path, "ann", "h", NULL, true), 0);
    ck_assert_int_eq(stat(t.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    chmod(t.path, 0640);
    if (geteuid() == 0)
        ck_assert_int_eq(chown(t.path, 1, 8), 0);
    ck_assert_int_eq(users_file_set(t.path, "bob", "h", NULL, true), 0);
    ck_assert_int_eq(stat(t.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    if (geteuid() == 0) {
        ck_assert_uint_eq(st.st_uid, 1);
        ck_assert_uint_eq(st.st_gid, 8);
    }
}
END_TEST

/* Nothing that would make two lines or move a field. */
START_TEST(test_edit_refuses)
{
    static const char *const names[] = {"", ".a", "#a", "a:b", "a\nb", "a/b", "a b"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_int_eq(users_file_set(t.path, names[i], "h", NULL, true), ERR_CANNOT);
    ck_assert_int_eq(users_file_set(t.path, "a", "h:1", NULL, true), ERR_CANNOT);
    ck_assert_int_eq(users_file_set(t.path, "a", "h\n", NULL, true), ERR_CANNOT);
    ck_assert_int_eq(users_file_set(t.path, "a", "h", "x\ny", true), ERR_CANNOT);
    ck_assert_int_ne(access(t.path, F_OK), 0);
}
END_TEST

/* Two editors at once lose nothing. */
START_TEST(test_edit_is_locked)
{
    char name[32];
    struct users_file *f;
    int status;

    for (int child = 0; child < 4; child++) {
        if (fork() != 0)
            continue;
        for (int i = 0; i < 10; i++) {
            snprintf(name, sizeof name, "u%d-%d", child, i);
            if (users_file_set(t.path, name, "{PLAIN}x", NULL, true) != 0)
                _exit(1);
        }
        _exit(0);
    }
    for (int child = 0; child < 4; child++) {
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(users_file_load(t.path, &f), 0);
    ck_assert_uint_eq(users_file_count(f), 40);
    users_file_free(&f);
}
END_TEST

static const struct {
    const char *list, *address;
    bool in;
} nets[] = {
    {"192.0.2.0/24", "192.0.2.77", true},
    {"192.0.2.0/24", "192.0.3.1", false},
    {"192.0.2.0/24", "::ffff:192.0.2.77", true},
    {"192.0.2.5", "192.0.2.5", true},
    {"192.0.2.5", "192.0.2.4", false},
    {"192.0.2.128/25", "192.0.2.127", false},
    {"192.0.2.128/25", "192.0.2.200", true},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"2001:db8::/32, 10.0.0.0/8", "10.1.2.3", true},
    {"2001:db8::/32", "2001:db8:ffff::1", true},
    {"2001:db8::/32", "2001:db9::1", false},
    {"::1", "::1", true},
    {"local", "local", true},
    {"127.0.0.1", "local", false},
    {"local", "127.0.0.1", false},
    {"192.0.2.0/33", "192.0.2.1", false},
    {"192.0.2.0/", "192.0.2.0", false},
    {"192.0.2.0/x", "192.0.2.0", false},
    {"nonsense", "192.0.2.0", false},
    {"", "192.0.2.0", false},
};

START_TEST(test_net_list)
{
    ck_assert_msg(net_list_has(nets[_i].list, nets[_i].address) == nets[_i].in, "%s in %s",
                  nets[_i].address, nets[_i].list);
}
END_TEST

START_TEST(test_net_key)
{
    char a[NET_KEY_SIZE], b[NET_KEY_SIZE];

    ck_assert(net_key("192.0.2.1", a) && net_key("::ffff:192.0.2.1", b));
    ck_assert_str_eq(a, b);
    ck_assert(net_key("192.0.2.2", b));
    ck_assert_str_ne(a, b);
    ck_assert(net_key("2001:db8:1:2::1", a) && net_key("2001:db8:1:2:ffff::9", b));
    ck_assert_str_eq(a, b);
    ck_assert(net_key("2001:db8:1:3::1", b));
    ck_assert_str_ne(a, b);
    ck_assert(!net_key("local", a));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("users_file");
    TCase *c = tcase_create("users_file");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_fields);
    tcase_add_test(c, test_words);
    tcase_add_test(c, test_quota);
    tcase_add_test(c, test_faulty_lines);
    tcase_add_test(c, test_empty_and_missing);
    tcase_add_test(c, test_world_readable_is_told);
    tcase_add_test(c, test_refresh);
    tcase_add_test(c, test_many);
    tcase_add_test(c, test_edit);
    tcase_add_test(c, test_edit_keeps_others);
    tcase_add_test(c, test_edit_keeps_mode);
    tcase_add_test(c, test_edit_refuses);
    tcase_add_test(c, test_edit_is_locked);
    tcase_add_loop_test(c, test_net_list, 0, (int)(sizeof nets / sizeof nets[0]));
    tcase_add_test(c, test_net_key);
    suite_add_tcase(suite, c);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
