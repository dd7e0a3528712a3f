/*
 * store/folders: LIST's material, CREATE, DELETE, RENAME, SUBSCRIBE, and what other programs
 * and crashes do to folders.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store_test.h"

static struct account *a;

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
    a = store_open();
}

static void
teardown(void)
{
    log_hook = NULL;
    account_close(&a);
    store_teardown();
}

/* The list as text: "INBOX+s A- A.B ...": - not there, + has children, s subscribed, and the
 * special use. */
static const char *
list(void)
{
    static struct buf out = BUF_INIT(100000);
    struct folder_list l;
    size_t i;

    buf_reset(&out);
    ck_assert_int_eq(folder_list(a, &l), 0);
    for (i = 0; i < l.count; i++) {
        buf_addf(&out, "%s%s%s%s%s", i > 0 ? " " : "", l.items[i].name,
                 l.items[i].exists ? "" : "-", l.items[i].has_children ? "+" : "",
                 l.items[i].subscribed ? "s" : "");
        if (l.items[i].special_use != 0)
            buf_adds(&out, special_use_name(l.items[i].special_use));
    }
    folder_list_free(&l);
    return buf_str(&out);
}

static void
make(const char *name)
{
    ck_assert_int_eq(folder_create(a, name, 0), 0);
}

static uint32_t
uidvalidity_of(const char *name)
{
    struct mailbox_status st;

    ck_assert_int_eq(mailbox_status(a, name, false, &st), 0);
    return st.uidvalidity;
}

static uint32_t
messages_in(const char *name)
{
    struct mailbox_status st;

    ck_assert_int_eq(mailbox_status(a, name, false, &st), 0);
    return st.messages;
}

static bool
on_disk(const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    return access(path, F_OK) == 0;
}

START_TEST(create_list_delete)
{
    ck_assert_str_eq(list(), "INBOX");
    make("B");
    make("A.x.y");
    make("A-b");
    make("INBOX.sub");
    ck_assert_int_eq(folder_create(a, "B", 0), ERR_EXISTS);
    ck_assert_int_eq(folder_create(a, "INBOX", 0), ERR_EXISTS);
    ck_assert_str_eq(list(), "INBOX+ INBOX.sub A-+ A.x-+ A.x.y A-b B");
    ck_assert(on_disk(".A.x.y/maildirfolder"));
    ck_assert(on_disk(".A.x.y/tmp"));
    ck_assert(folder_exists(a, "A.x.y"));
    ck_assert(!folder_exists(a, "A.x"));
    ck_assert(folder_exists(a, "INBOX"));
    make("A"); /* a parent that was only a name */
    ck_assert_str_eq(list(), "INBOX+ INBOX.sub A+ A.x-+ A.x.y A-b B");
    ck_assert_int_eq(folder_delete(a, "A"), 0); /* RFC 3501 6.3.4: its children stay */
    ck_assert_str_eq(list(), "INBOX+ INBOX.sub A-+ A.x-+ A.x.y A-b B");
    ck_assert_int_eq(folder_delete(a, "A.x.y"), 0);
    ck_assert_int_eq(folder_delete(a, "A"), ERR_NOENT);
    ck_assert_int_eq(folder_delete(a, "INBOX"), ERR_CANNOT);
    ck_assert_str_eq(list(), "INBOX+ INBOX.sub A-b B");
    ck_assert(!on_disk(".A.x.y"));
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* RFC 3501 2.3.1.1, 6.3.4. */
START_TEST(recreated_folder_has_a_higher_uidvalidity)
{
    uint32_t before;

    make("F");
    store_append(a, "F", "x\r\n", 0, NULL);
    before = uidvalidity_of("F");
    ck_assert_int_eq(folder_delete(a, "F"), 0);
    make("F");
    ck_assert_uint_gt(uidvalidity_of("F"), before);
    ck_assert_uint_eq(messages_in("F"), 0);
}
END_TEST

START_TEST(rename_takes_children_along)
{
    uint32_t before, child;

    make("A");
    make("A.x");
    make("A.x.y");
    make("Ab");
    store_append(a, "A.x.y", "x\r\n", 0, NULL);
    before = uidvalidity_of("A");
    child = uidvalidity_of("A.x.y");
    ck_assert_int_eq(folder_rename(a, "A", "A.x"), ERR_CANNOT);
    ck_assert_int_eq(folder_rename(a, "A", "A.z"), ERR_CANNOT);
    ck_assert_int_eq(folder_rename(a, "A", "INBOX"), ERR_EXISTS);
    ck_assert_int_eq(folder_rename(a, "None", "X"), ERR_NOENT);
    make("B.x");
    ck_assert_int_eq(folder_rename(a, "A", "B"), ERR_EXISTS); /* B.x is in the way */
    ck_assert_str_eq(list(), "INBOX A+ A.x+ A.x.y Ab B-+ B.x");
    ck_assert_int_eq(folder_rename(a, "A", "C.d"), 0);
    ck_assert_str_eq(list(), "INBOX Ab B-+ B.x C-+ C.d+ C.d.x+ C.d.x.y");
    ck_assert_uint_eq(uidvalidity_of("C.d"), before);
    ck_assert_uint_eq(uidvalidity_of("C.d.x.y"), child);
    ck_assert_uint_eq(messages_in("C.d.x.y"), 1);
    ck_assert_int_eq(folder_rename(a, "C", "D"), 0); /* a parent that's only a name */
    ck_assert_str_eq(list(), "INBOX Ab B-+ B.x D-+ D.d+ D.d.x+ D.d.x.y");
    ck_assert(!on_disk("mansio-pending"));
    make("A"); /* the old name is free, and new */
    ck_assert_uint_gt(uidvalidity_of("A"), before);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

START_TEST(rename_to_a_name_that_is_too_long)
{
    char name[MBOXNAME_MAX + 10];

    make("A");
    make("A.child");
    memset(name, 'n', sizeof name);
    name[MBOXNAME_MAX - 3] = '\0';
    ck_assert_int_eq(folder_rename(a, "A", name), ERR_CANNOT);
    ck_assert_str_eq(list(), "INBOX A+ A.child");
    name[MBOXNAME_MAX - 3] = 'n';
    name[MBOXNAME_MAX + 1] = '\0';
    ck_assert_int_eq(folder_create(a, name, 0), ERR_CANNOT);
    name[MBOXNAME_MAX] = '\0';
    ck_assert_int_eq(folder_create(a, name, 0), 0);
    ck_assert_int_eq(folder_delete(a, name), 0);
}
END_TEST

/* RFC 3501 6.3.5. */
START_TEST(rename_of_inbox_moves_its_messages)
{
    struct view *v;

    make("INBOX.child");
    store_append(a, "INBOX", "x\r\n", MSG_SEEN, NULL);
    neighbour_deliver(store_dir, "y\n");
    ck_assert_int_eq(folder_rename(a, "INBOX", "Old"), 0);
    ck_assert_str_eq(list(), "INBOX+ INBOX.child Old");
    ck_assert_uint_eq(messages_in("INBOX"), 0);
    ck_assert_int_eq(view_open(a, "Old", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1S 2");
    view_close(&v);
    ck_assert_int_eq(folder_rename(a, "INBOX", "Old"), ERR_EXISTS);
}
END_TEST

static bool delivered, fsync_failed;

static void
deliver_once(const char *name)
{
    if (strcmp(name, "move:renamed") != 0 || delivered)
        return;
    delivered = true;
    neighbour_put(store_dir, ".Old/new", "1.neighbour", "x\n");
}

static int
fail_once(int fd)
{
    if (delivered && !fsync_failed) {
        fsync_failed = true;
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static void
no_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

/* It fails, and meanwhile a message came to the new folder: that must not be deleted with it.
 */
START_TEST(failed_rename_of_inbox_deletes_no_mail)
{
    log_hook = no_log;
    store_append(a, "INBOX", "x\r\n", MSG_SEEN, NULL);
    delivered = fsync_failed = false;
    sys_hooks.step = deliver_once;
    sys_hooks.fsync = fail_once;
    ck_assert_int_lt(folder_rename(a, "INBOX", "Old"), 0);
    ck_assert(fsync_failed);
    ck_assert_uint_eq(messages_in("INBOX"), 1);
    ck_assert_uint_eq(messages_in("Old"), 1);
}
END_TEST

START_TEST(special_use)
{
    ck_assert_uint_eq(special_use_bit("\\sent"), SPECIAL_SENT);
    ck_assert_uint_eq(special_use_bit("\\Nothing"), 0);
    ck_assert_ptr_null(special_use_name(0x80));
    ck_assert_int_eq(folder_create(a, "Sent", SPECIAL_SENT), 0);
    ck_assert_int_eq(folder_create(a, "Sent2", SPECIAL_SENT), ERR_EXISTS);
    ck_assert_str_eq(list(), "INBOX Sent\\Sent");
    ck_assert_int_eq(folder_rename(a, "Sent", "Gone"), 0);
    ck_assert_str_eq(list(), "INBOX Gone\\Sent");
    ck_assert_int_eq(folder_delete(a, "Gone"), 0);
    ck_assert_int_eq(folder_create(a, "Sent2", SPECIAL_SENT), 0);
}
END_TEST

START_TEST(subscriptions)
{
    make("A");
    ck_assert_int_eq(folder_subscribe(a, "A", true), 0);
    ck_assert_int_eq(folder_subscribe(a, "A", true), 0);
    ck_assert_int_eq(folder_subscribe(a, "None.sub", true), 0);
    ck_assert_int_eq(folder_subscribe(a, "INBOX", true), 0);
    ck_assert_int_eq(folder_subscribe(a, "../x", true), ERR_CANNOT);
    ck_assert_str_eq(list(), "INBOXs As None.sub-s");
    ck_assert_int_eq(folder_delete(a, "A"), 0);
    ck_assert_str_eq(list(), "INBOXs A-s None.sub-s"); /* RFC 3501 6.3.6: it stays */
    ck_assert_int_eq(folder_subscribe(a, "A", false), 0);
    ck_assert_int_eq(folder_subscribe(a, "A", false), 0);
    ck_assert_str_eq(list(), "INBOXs None.sub-s");
    neighbour_put(store_dir, ".", "subscriptions", "V\t2\n\nINBOX\nLists\tfoo\n../../x\nB");
    ck_assert_str_eq(list(), "INBOXs B-s Lists.foo-s");
    ck_assert_int_eq(folder_subscribe(a, "C", true), 0);
    ck_assert_str_eq(list(), "INBOXs B-s C-s Lists.foo-s");
}
END_TEST

/* Directories that no folder is. */
START_TEST(what_is_no_folder_is_not_listed)
{
    static const char *const dirs[] = {".nocur",   "plain",  ".a..b",     ".trailing.",
                                       "..double", ".INBOX", ".nocur/new"};
    static const char *const cur[] = {".a..b/cur", ".trailing./cur", "..double/cur",
                                      ".INBOX/cur"};
    char path[600];
    size_t i;

    for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", store_dir, dirs[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    for (i = 0; i < sizeof cur / sizeof cur[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", store_dir, cur[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    neighbour_put(store_dir, ".", ".file", "");
    ck_assert_str_eq(list(), "INBOX");
}
END_TEST

/* A folder that another program made, with no index and no new/ or tmp/. */
START_TEST(folder_of_another_program)
{
    char path[600];
    struct view *v;

    snprintf(path, sizeof path, "%s/.Theirs", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/.Theirs/cur", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/.Theirs", store_dir);
    neighbour_put(path, "cur", "1.x:2,S", "x\n");
    ck_assert_str_eq(list(), "INBOX Theirs");
    ck_assert_int_eq(view_open(a, "Theirs", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1S");
    view_close(&v);
}
END_TEST

/* An administrator's mv keeps UIDs; his cp gives a folder of its own. */
START_TEST(moved_and_copied_directories)
{
    char command[900];
    uint32_t before;

    make("A");
    store_append(a, "A", "x\r\n", 0, NULL);
    before = uidvalidity_of("A");
    neighbour_rename(store_dir, ".A", ".B");
    ck_assert_uint_eq(uidvalidity_of("B"), before);
    ck_assert_uint_eq(messages_in("B"), 1);
    snprintf(command, sizeof command, "cp -a %s/.B %s/.C", store_dir, store_dir);
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(1);
    }
    wait(NULL);
    ck_assert_uint_gt(uidvalidity_of("C"), before);
    ck_assert_uint_eq(messages_in("C"), 1);
    ck_assert_uint_eq(uidvalidity_of("B"), before);
    /* moved away, and the old name used again before anybody looked at the new one */
    neighbour_rename(store_dir, ".B", ".D");
    make("B");
    ck_assert_uint_gt(uidvalidity_of("B"), before);
    ck_assert_uint_eq(messages_in("B"), 0);
    ck_assert_uint_eq(uidvalidity_of("D"), before);
    ck_assert_uint_eq(messages_in("D"), 1);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

static struct {
    int step, last;
} crash;

static void
kill_at_step(const char *name)
{
    (void)name;
    if (++crash.step == crash.last)
        kill(getpid(), SIGKILL);
}

static bool
crashed_at(int k, void (*work)(struct account *mine))
{
    int result;
    pid_t pid;

    account_close(&a);
    pid = fork();
    if (pid == 0) {
        struct account *mine = store_open();

        crash.step = 0;
        crash.last = k;
        sys_hooks.step = kill_at_step;
        work(mine);
        account_close(&mine);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &result, 0), pid);
    ck_assert_msg(result == 0 || (WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL),
                  "step %d: status %x", k, result);
    log_hook = ignore_log;
    a = store_open();
    return result != 0;
}

static void
work_rename(struct account *mine)
{
    if (folder_rename(mine, "A", "B") != 0)
        _exit(2);
}

START_TEST(rename_survives_a_crash_at_each_step)
{
    uint32_t before[3];
    const char *l;
    bool crashed = true;
    int k, old_names = 0;

    make("A");
    make("A.x");
    make("A.x.y");
    store_append(a, "A.x.y", "x\r\n", 0, NULL);
    before[0] = uidvalidity_of("A");
    before[1] = uidvalidity_of("A.x");
    before[2] = uidvalidity_of("A.x.y");
    for (k = 1; crashed && k < 100; k++) {
        crashed = crashed_at(k, work_rename);
        l = list();
        if (strcmp(l, "INBOX A+ A.x+ A.x.y") == 0) {
            ck_assert(crashed);
            old_names++;
        } else {
            ck_assert_str_eq(l, "INBOX B+ B.x+ B.x.y");
            ck_assert_uint_eq(uidvalidity_of("B"), before[0]);
            ck_assert_uint_eq(uidvalidity_of("B.x"), before[1]);
            ck_assert_uint_eq(uidvalidity_of("B.x.y"), before[2]);
            ck_assert_uint_eq(messages_in("B.x.y"), 1);
            ck_assert_int_eq(folder_rename(a, "B", "A"), 0);
        }
        ck_assert(!on_disk("mansio-pending"));
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
    ck_assert_int_gt(old_names, 0);
}
END_TEST

static void
work_rename_inbox(struct account *mine)
{
    if (folder_rename(mine, "INBOX", "Kept") != 0)
        _exit(2);
}

static void
work_list(struct account *mine)
{
    if (!folder_exists(mine, "INBOX") || mailbox_check(mine, NULL, NULL, NULL) < 0)
        _exit(2);
}

/* All of INBOX is in one place, also when the next opener, who finishes it, dies at it. */
START_TEST(rename_of_inbox_survives_a_crash_at_each_step)
{
    bool crashed = true;
    int k, old_names = 0;

    for (k = 1; crashed && k < 100; k++) {
        while (messages_in("INBOX") < 3)
            store_append(a, "INBOX", "x\r\n", 0, NULL);
        crashed = crashed_at(k, work_rename_inbox);
        (void)crashed_at(1 + k * 5 % 23, work_list);
        if (!folder_exists(a, "Kept")) {
            ck_assert(crashed);
            ck_assert_uint_eq(messages_in("INBOX"), 3);
            old_names++;
        } else {
            ck_assert_uint_eq(messages_in("INBOX"), 0);
            ck_assert_uint_eq(messages_in("Kept"), 3);
            ck_assert_int_eq(folder_delete(a, "Kept"), 0);
        }
        ck_assert(!on_disk("mansio-pending"));
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
    ck_assert_int_gt(old_names, 0);
}
END_TEST

static void
work_create(struct account *mine)
{
    if (folder_create(mine, "New", SPECIAL_JUNK) != 0)
        _exit(2);
}

static void
work_delete(struct account *mine)
{
    if (folder_delete(mine, "New") != 0)
        _exit(2);
}

/* After a crash a folder is there and works, or isn't and can be made. */
START_TEST(create_and_delete_survive_a_crash_at_each_step)
{
    bool crashed = true;
    uint32_t last = 0;
    int k;

    for (k = 1; crashed && k < 100; k++) {
        crashed = crashed_at(k, work_create);
        if (!folder_exists(a, "New"))
            make("New");
        store_append(a, "New", "x\r\n", 0, NULL);
        ck_assert_uint_gt(uidvalidity_of("New"), last);
        last = uidvalidity_of("New");
        ck_assert_int_eq(folder_delete(a, "New"), 0);
    }
    ck_assert(!crashed);
    for (k = 1, crashed = true; crashed && k < 100; k++) {
        if (!folder_exists(a, "New"))
            make("New");
        store_append(a, "New", "x\r\n", 0, NULL);
        last = uidvalidity_of("New");
        crashed = crashed_at(k, work_delete);
        (void)uidvalidity_of("INBOX");
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL),
                         0); /* no row without a directory */
        if (folder_exists(a, "New")) {
            ck_assert_uint_eq(uidvalidity_of("New"), last);
            ck_assert_uint_eq(messages_in("New"), 1);
            ck_assert_int_eq(folder_delete(a, "New"), 0);
        }
        make("New");
        ck_assert_uint_gt(uidvalidity_of("New"), last);
        ck_assert_uint_eq(messages_in("New"), 0);
    }
    ck_assert(!crashed);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("folders");
    TCase *t = tcase_create("folders");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, create_list_delete);
    tcase_add_test(t, recreated_folder_has_a_higher_uidvalidity);
    tcase_add_test(t, rename_takes_children_along);
    tcase_add_test(t, rename_to_a_name_that_is_too_long);
    tcase_add_test(t, rename_of_inbox_moves_its_messages);
    tcase_add_test(t, failed_rename_of_inbox_deletes_no_mail);
    tcase_add_test(t, special_use);
    tcase_add_test(t, subscriptions);
    tcase_add_test(t, what_is_no_folder_is_not_listed);
    tcase_add_test(t, folder_of_another_program);
    tcase_add_test(t, moved_and_copied_directories);
    tcase_add_test(t, rename_survives_a_crash_at_each_step);
    tcase_add_test(t, rename_of_inbox_survives_a_crash_at_each_step);
    tcase_add_test(t, create_and_delete_survive_a_crash_at_each_step);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
