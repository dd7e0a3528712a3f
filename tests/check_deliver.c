/*
 * store: deliveries, what a crash at any step of one leaves behind, and what mansio-deliver
 * makes of its input. The program itself is tested by deliver.py.
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
#include <sys/wait.h>
#include <unistd.h>

#include "auth/user_lookup.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/deliver_input.h"
#include "store/deliver.h"
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

static int
deliver_to(const char *folder, bool create, const char *text, size_t len, struct delivered *out)
{
    const struct delivery d = {.folder = folder, .create = create, .headers = ""};

    return deliver_message(a, &d, text_source(text, len), out);
}

/* Into INBOX; the UID. */
static uint32_t
deliver(const char *text)
{
    struct delivered out;

    ck_assert_int_eq(deliver_to("INBOX", false, text, strlen(text), &out), 0);
    ck_assert_uint_ne(out.uidvalidity, 0);
    return out.uid;
}

static struct mailbox_status
status_of(const char *folder)
{
    struct mailbox_status st;

    ck_assert_int_eq(mailbox_status(a, folder, true, &st), 0);
    return st;
}

/* The only file in new/. */
static void
only_name(char *name, size_t size)
{
    char command[400];
    FILE *f;

    snprintf(command, sizeof command, "ls %s/new", store_dir);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(name, (int)size, f));
    name[strcspn(name, "\n")] = '\0';
    ck_assert_ptr_null(fgets(command, sizeof command, f));
    pclose(f);
}

/* It lies in new/ without flags, its sizes in its name; the index knows it before any scan. */
START_TEST(delivery_is_indexed_at_once)
{
    char name[300];
    struct mailbox_status st;
    struct view *v;
    size_t len;
    char *text;

    ck_assert_uint_eq(deliver("Subject: a\r\n\r\nx\r\n"), 1);
    ck_assert_int_eq(files_in(store_dir, "new"), 1);
    ck_assert_int_eq(files_in(store_dir, "cur"), 0);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    only_name(name, sizeof name);
    ck_assert_msg(strstr(name, ",S=14,W=17") != NULL, "%s", name);
    ck_assert_ptr_null(strstr(name, ":2,"));
    st = status_of("INBOX");
    ck_assert_uint_eq(st.messages, 1);
    ck_assert_uint_eq(st.unseen, 1);
    ck_assert_uint_eq(st.recent, 1);
    ck_assert_uint_eq(st.uidnext, 2);
    ck_assert_uint_eq(st.crlf_bytes, 17);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_uint_eq(view_info(v)->recent, 1);
    ck_assert_str_eq(view_text(v), "1");
    text = message_text(v, 1, &len);
    ck_assert_str_eq(text, "Subject: a\r\n\r\nx\r\n");
    free(text);
    view_close(&v);
    ck_assert_int_eq(files_in(store_dir, "cur"), 1);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* Line ends, NUL, 8-bit, no line end at the end: what's on the wire is what came, with CRLF. */
static const struct {
    const char *sent, *wire;
    size_t sent_len, wire_len;
} octets[] = {
#define OCTETS(sent, wire)                                                                     \
    {                                                                                          \
        sent, wire, sizeof(sent) - 1, sizeof(wire) - 1                                         \
    }
    OCTETS("a\r\nb\r\n", "a\r\nb\r\n"),
    OCTETS("a\nb\n", "a\r\nb\r\n"),
    OCTETS("a\nb", "a\r\nb"),
    OCTETS("a\r", "a\r"),
    OCTETS("a\rb\r\r\nc", "a\rb\r\r\nc"),
    OCTETS("a\0b\n\0", "a\0b\r\n\0"),
    OCTETS("\xff\xc3\xa4\x80\n", "\xff\xc3\xa4\x80\r\n"),
    OCTETS(".\n..\nFrom x\n", ".\r\n..\r\nFrom x\r\n"),
};

START_TEST(delivery_keeps_octets)
{
    struct delivered out;
    struct view *v;
    size_t len;
    char *text;

    ck_assert_int_eq(deliver_to("INBOX", false, octets[_i].sent, octets[_i].sent_len, &out), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    text = message_text(v, out.uid, &len);
    ck_assert_mem_eq(text, octets[_i].wire, octets[_i].wire_len);
    ck_assert_uint_eq(len, octets[_i].wire_len);
    ck_assert_uint_eq(message_row(v, out.uid).crlf_size, len);
    free(text);
    view_close(&v);
}
END_TEST

START_TEST(headers_go_in_front)
{
    const struct delivery d = {.folder = "INBOX", .headers = "A: 1\nB: 2\n"};
    struct delivered out;
    struct view *v;
    size_t len;
    char *text;

    ck_assert_int_eq(deliver_message(a, &d, text_source("C: 3\r\n\r\n", 8), &out), 0);
    ck_assert_uint_eq(out.size, 16);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    text = message_text(v, 1, &len);
    ck_assert_str_eq(text, "A: 1\r\nB: 2\r\nC: 3\r\n\r\n");
    free(text);
    view_close(&v);
}
END_TEST

/* A delivery doesn't look at what others put into new/, and hides nothing of it. */
START_TEST(others_deliver_too)
{
    struct view *v;
    int i;

    deliver("one");
    neighbour_deliver(store_dir, "theirs");
    deliver("two");
    ck_assert_int_eq(view_open(a, "INBOX", VIEW_READONLY, &v), 0);
    ck_assert_uint_eq(view_info(v)->exists, 3);
    deliver("three");
    neighbour_deliver(store_dir, "theirs");
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 5);
    settle();
    sync_quietly(v); /* now the times of new/ are taken for settled */
    ck_assert_uint_eq(deliver("four"), 6);
    sync_quietly(v);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 6);
    ck_assert_uint_eq(view_info(v)->uidnext, 7);
    view_close(&v);
    /* moved to cur/ by another program before any session saw it */
    for (i = 0; i < 2; i++) {
        char name[300], from[320], to[330];

        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        view_close(&v);
        deliver("five");
        only_name(name, sizeof name);
        snprintf(from, sizeof from, "new/%s", name);
        snprintf(to, sizeof to, "cur/%s:2,F", name);
        neighbour_rename(store_dir, from, to);
    }
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1 2 3 4 5 6 7F 8F");
    view_close(&v);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* A Maildir that was never indexed is taken in first: our message doesn't get the UID of one
   that was there before. */
START_TEST(first_index)
{
    struct view *v;

    neighbour_put(store_dir, "cur", "1000000000.x:2,S", "old");
    neighbour_put(store_dir, "new", "1000000001.y", "old too");
    ck_assert_uint_eq(deliver("new"), 3);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1S 2 3");
    view_close(&v);
}
END_TEST

START_TEST(folders)
{
    struct folder_list list;
    struct delivered out;
    bool subscribed = false;
    size_t i;

    log_hook = ignore_log;
    ck_assert_int_eq(deliver_to("Lists.dev", false, "x", 1, &out), ERR_NOENT);
    ck_assert_int_eq(deliver_to("Lists.dev", true, "x", 1, &out), 0);
    ck_assert(out.created);
    ck_assert_int_eq(deliver_to("Lists.dev", true, "x", 1, &out), 0);
    ck_assert(!out.created);
    ck_assert_int_eq(deliver_to("Lists.dev", false, "x", 1, &out), 0);
    ck_assert_uint_eq(status_of("Lists.dev").messages, 3);
    ck_assert_uint_eq(status_of("INBOX").messages, 0);
    ck_assert_int_eq(folder_list(a, &list), 0);
    for (i = 0; i < list.count; i++)
        subscribed = subscribed ||
                     (list.items[i].subscribed && strcmp(list.items[i].name, "Lists.dev") == 0);
    folder_list_free(&list);
    ck_assert(subscribed);
}
END_TEST

/* An empty new/ that another program removed. */
START_TEST(new_is_made_again)
{
    char path[300];

    snprintf(path, sizeof path, "%s/new", store_dir);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_uint_eq(deliver("x"), 1);
    ck_assert_int_eq(files_in(store_dir, "new"), 1);
}
END_TEST

static int
failing_fsync(int fd)
{
    (void)fd;
    errno = ENOSPC;
    return -1;
}

static int fsyncs_left;

static int
later_failing_fsync(int fd)
{
    return fsyncs_left-- > 0 ? fsync(fd) : failing_fsync(fd);
}

static ssize_t
broken_read(struct source *s, void *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
    return ERR_TIMEOUT;
}

static bool
yes(void *ctx)
{
    return *(const bool *)ctx;
}

static void
nothing_is_left(uint32_t messages)
{
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(files_in(store_dir, "new"), (int)messages);
    ck_assert_uint_eq(status_of("INBOX").messages, messages);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}

START_TEST(errors_leave_nothing)
{
    struct source broken = {.read = broken_read};
    bool give_up = true;
    struct delivery d = {.folder = "INBOX", .headers = "", .give_up = yes, .ctx = &give_up};
    static const char long_text[1001];
    struct delivered out;

    log_hook = ignore_log;
    store_conf()->append_limit = 1000;
    ck_assert_uint_eq(deliver("x"), 1);
    ck_assert_int_eq(deliver_message(a, &d, text_source("x", 1), &out), ERR_TEMP);
    nothing_is_left(1);
    give_up = false;
    ck_assert_int_eq(deliver_message(a, &d, &broken, &out), ERR_TIMEOUT);
    nothing_is_left(1);
    ck_assert_int_eq(deliver_message(a, &d, text_source(long_text, 1001), &out), ERR_LIMIT);
    nothing_is_left(1);
    sys_hooks.fsync = failing_fsync;
    ck_assert_int_eq(deliver_message(a, &d, text_source("x", 1), &out), ERR_NOSPACE);
    sys_hooks.fsync = NULL;
    nothing_is_left(1);
    /* the file is on the disk, but its name isn't */
    fsyncs_left = 1;
    sys_hooks.fsync = later_failing_fsync;
    ck_assert_int_eq(deliver_message(a, &d, text_source("x", 1), &out), ERR_NOSPACE);
    sys_hooks.fsync = NULL;
    nothing_is_left(1);
    ck_assert_int_eq(deliver_message(a, &d, text_source("x", 1), &out), 0);
    nothing_is_left(2);
}
END_TEST

/* From the fsync of new/ on it's a success, whatever the index says: the next session finds it
   and gives it a UID, once. */
START_TEST(index_failure_is_success)
{
    struct delivered out;
    struct view *v;

    log_hook = ignore_log;
    ck_assert_uint_eq(deliver("x"), 1);
    fsyncs_left = 2; /* file, new/ */
    sys_hooks.fsync = later_failing_fsync;
    ck_assert_int_eq(deliver_to("INBOX", false, "y", 1, &out), 0);
    sys_hooks.fsync = NULL;
    ck_assert_uint_eq(out.uid, 0);
    ck_assert_int_eq(files_in(store_dir, "new"), 2);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1 2");
    view_close(&v);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* Another process holds the lock for longer than lock_timeout. */
START_TEST(locked_account)
{
    struct delivered out;
    int to_child[2], to_us[2];
    char c = 0;
    pid_t pid;

    log_hook = ignore_log;
    ck_assert_int_eq(pipe(to_child), 0);
    ck_assert_int_eq(pipe(to_us), 0);
    account_close(&a);
    pid = fork();
    if (pid == 0) {
        char path[300];
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd;

        snprintf(path, sizeof path, "%s/mansio-index/lock", store_dir);
        fd = open(path, O_RDWR);
        if (fd < 0 || fcntl(fd, F_SETLKW, &lock) != 0 || write(to_us[1], &c, 1) != 1 ||
            read(to_child[0], &c, 1) != 1)
            _exit(1);
        _exit(0);
    }
    ck_assert_int_eq(read(to_us[0], &c, 1), 1);
    store_conf()->lock_timeout = 1;
    a = store_open();
    ck_assert_int_eq(deliver_to("INBOX", false, "x", 1, &out), ERR_BUSY);
    ck_assert_int_eq(files_in(store_dir, "new"), 0);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(write(to_child[1], &c, 1), 1);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(deliver_to("INBOX", false, "x", 1, &out), 0);
}
END_TEST

static struct account *
open_with_quota(const char *quota)
{
    struct account_params p = {.conf = store_conf(),
                               .user = "ann",
                               .home = "",
                               .mail_location = store_dir,
                               .quota = quota};
    struct account *with;

    ck_assert_int_eq(account_open(&p, &with), 0);
    return with;
}

START_TEST(over_quota)
{
    char text[700];
    struct delivered out;

    log_hook = ignore_log;
    memset(text, 'x', sizeof text);
    account_close(&a);
    a = open_with_quota("1K:3");
    ck_assert_int_eq(deliver_to("INBOX", false, text, 600, &out), 0);
    ck_assert_int_eq(deliver_to("INBOX", false, text, 600, &out), ERR_QUOTA);
    nothing_is_left(1);
    ck_assert_int_eq(deliver_to("INBOX", false, text, 300, &out), 0);
    ck_assert_int_eq(deliver_to("INBOX", false, text, 1, &out), 0);
    ck_assert_int_eq(deliver_to("New", true, text, 1, &out), ERR_QUOTA);
    ck_assert(!folder_exists(a, "New"));
    nothing_is_left(3);
}
END_TEST

/* --- crashes --- */

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

/* A delivery in a child that dies at the k-th step. False when it got to its end. */
static bool
crashed_at(int k)
{
    int status;
    pid_t pid;

    account_close(&a); /* an environment isn't taken over a fork */
    pid = fork();
    if (pid == 0) {
        const struct delivery d = {.folder = "INBOX", .headers = ""};
        struct delivered out;

        a = store_open();
        crash.step = 0;
        crash.last = k;
        sys_hooks.step = kill_at_step;
        _exit(deliver_message(a, &d, text_source("Subject: x\n\ny\n", 14), &out) == 0 ? 0 : 2);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
                  "step %d: status %x", k, status);
    log_hook = ignore_log;
    a = store_open();
    return status != 0;
}

/* Whole or not at all, and the UIDs of the others stay. */
START_TEST(delivery_survives_a_crash_at_each_step)
{
    uint32_t before = 1;
    bool crashed = true, indexed = false;
    struct view *v;
    size_t len;
    char *text;
    int k;

    deliver("first");
    for (k = 1; crashed && k < 100; k++) {
        crashed = crashed_at(k);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_uint_ge(view_info(v)->exists, before);
        ck_assert_uint_le(view_info(v)->exists, before + 1);
        ck_assert_uint_eq(view_info(v)->uidnext, view_info(v)->exists + 1);
        if (view_info(v)->exists > before) {
            before++;
            text = message_text(v, before, &len);
            ck_assert_str_eq(text, "Subject: x\r\n\r\ny\r\n");
            free(text);
            indexed = true;
        } else {
            ck_assert_msg(crashed && !indexed, "step %d: delivered, but not there", k);
        }
        view_close(&v);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
    ck_assert_int_gt(k, 5);
}
END_TEST

/* --- the program's input --- */

static struct input_head
head_of(const char *text)
{
    struct input_head head;

    input_look(text, strlen(text), &head);
    return head;
}

START_TEST(the_beginning_of_a_message)
{
    ck_assert_uint_eq(head_of("From a@b Mon\nA: b\n\n").skip, 13);
    ck_assert_uint_eq(head_of("From a@b Mon\r\nA: b\r\n").skip, 14);
    ck_assert_uint_eq(head_of("From a@b Mon").skip, 0); /* no line: it's the message */
    ck_assert_uint_eq(head_of("From: a@b\n").skip, 0);
    ck_assert_uint_eq(head_of(">From a\n").skip, 0);
    ck_assert(head_of("return-path: <a>\nA: b\n").return_path);
    ck_assert(head_of("From x\nReturn-Path: <a>\n\n").return_path);
    ck_assert(!head_of("A: b\nReturn-Path: <a>\n").return_path);
    ck_assert(!head_of("\nReturn-Path: <a>\n").return_path);
    ck_assert(!head_of("no field\nReturn-Path: <a>\n").return_path);
    ck_assert_str_eq(head_of("A: b\nMESSAGE-id: <1@x>\r\n\n").message_id, "<1@x>");
    ck_assert_str_eq(head_of("Message-ID:\n <1@x>\n").message_id, "<1@x>");
    ck_assert_str_eq(head_of("Message-ID: <1\x01\xff@x> b\n").message_id, "<1??@x>b");
    ck_assert_str_eq(head_of("A: b\n\nMessage-ID: <1@x>\n").message_id, "-");
    ck_assert_str_eq(head_of("Message-ID:\n").message_id, "-");
    ck_assert_str_eq(head_of("").message_id, "-");
}
END_TEST

/* What input_open() and reading to the end give. */
static char *
read_input(const char *text, size_t len, struct input *in, int *err)
{
    size_t got = 0, size = len + 1000;
    ssize_t n = 0;
    int fd[2];
    char *out;

    ck_assert_int_eq(pipe(fd), 0);
    input_prepare();
    if (fork() == 0) {
        close(fd[0]);
        while (len > 0 && (n = write(fd[1], text, len > 4000 ? 4000 : len)) > 0) {
            text += n;
            len -= (size_t)n;
        }
        _exit(0);
    }
    close(fd[1]);
    out = mem_alloc(size);
    *err = input_open(in, fd[0]);
    while (*err == 0 && (n = in->source.read(&in->source, out + got, 777)) > 0)
        got += (size_t)n;
    ck_assert_int_eq(n, 0);
    out[got] = '\0';
    close(fd[0]);
    return out;
}

START_TEST(input_from_a_pipe)
{
    char *large = mem_calloc(1, 200001), *got;
    struct input in;
    int err;

    memset(large, 'x', 200000);
    memcpy(large, "From y\n", 7);
    got = read_input(large, 200000, &in, &err);
    ck_assert_int_eq(err, 0);
    ck_assert_str_eq(got, large + 7);
    ck_assert(!input_give_up(&in));
    input_close(&in);
    free(got);
    got = read_input("", 0, &in, &err);
    ck_assert_int_eq(err, ERR_EOF);
    input_close(&in);
    free(got);
    got = read_input("From y\n", 7, &in, &err);
    ck_assert_int_eq(err, ERR_EOF);
    input_close(&in);
    free(got);
    free(large);
}
END_TEST

/* A signal ends the wait for input, and one that comes while it's blocked isn't lost. */
START_TEST(input_and_signals)
{
    struct input in;
    int fd[2];

    log_hook = ignore_log;
    signal(SIGHUP, SIG_DFL); /* whatever whoever started the test made of it */
    signal(SIGTERM, SIG_DFL);
    input_prepare();
    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(write(fd[1], "x", 1), 1);
    if (fork() == 0) {
        usleep(100000);
        kill(getppid(), SIGTERM);
        _exit(0);
    }
    ck_assert_int_eq(input_open(&in, fd[0]), ERR_TEMP);
    ck_assert(input_give_up(&in));
    input_close(&in);
    input_prepare();
    ck_assert(!input_give_up(&in));
    ck_assert_int_eq(raise(SIGHUP), 0);
    ck_assert(input_give_up(&in));
    ck_assert_int_eq(input_open(&in, fd[0]), ERR_TEMP);
    input_close(&in);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

/* A signal that our parent has us ignore (nohup) is ignored, also while others are blocked. */
START_TEST(input_and_an_ignored_signal)
{
    struct input in;
    int fd[2];

    log_hook = ignore_log;
    signal(SIGHUP, SIG_IGN);
    input_prepare();
    ck_assert_int_eq(raise(SIGHUP), 0);
    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(write(fd[1], "x", 1), 1);
    close(fd[1]);
    ck_assert_int_eq(input_open(&in, fd[0]), 0);
    ck_assert(!input_give_up(&in));
    ck_assert_int_eq(raise(SIGTERM), 0);
    ck_assert(input_give_up(&in));
    input_close(&in);
    close(fd[0]);
}
END_TEST

/* Starts a reader by a feeder that dies: after the reader has begun to read or, `early`, while
   it's still busy with something else. What the reader says: 1 = could open it, 2 = couldn't;
   10 more if it gives the message up. */
static int
feeder_dies(bool early)
{
    int status, answer[2];
    char c = 0;
    pid_t pid;

    ck_assert_int_eq(pipe(answer), 0);
    pid = fork();
    if (pid == 0) { /* the feeder */
        int fd[2], ready[2];

        if (pipe(fd) != 0 || pipe(ready) != 0)
            _exit(1);
        if (fork() == 0) {
            pid_t feeder = getppid();
            struct input in;

            close(fd[1]);
            log_hook = ignore_log;
            input_prepare();
            (void)!write(ready[1], "", 1);
            for (int i = 0; early && i < 1000 && getppid() == feeder; i++)
                usleep(5000);
            c = input_open(&in, fd[0]) == 0 ? 1 : 2;
            for (int i = 0; i < 1000 && getppid() == feeder; i++)
                usleep(5000);
            if (input_give_up(&in))
                c = (char)(c + 10);
            input_close(&in);
            _exit(write(answer[1], &c, 1) == 1 ? 0 : 1);
        }
        (void)!read(ready[0], &c, 1);
        (void)!write(fd[1], "Subject: half", 13);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(read(answer[0], &c, 1), 1);
    close(answer[0]);
    close(answer[1]);
    return c;
}

/* Whoever feeds us dies in the middle: the end of the pipe isn't the message's. */
START_TEST(input_of_a_feeder_that_dies)
{
    ck_assert_int_eq(feeder_dies(false), 11);
    ck_assert_int_eq(feeder_dies(true), 11);
}
END_TEST

/* --- whose mail: from the file, as no server runs --- */

static void
write_users(struct conf *conf, char *path)
{
    static const char users[] = "ann:{PLAIN}x:1000:100::/home/ann::quota=1G\n"
                                "bob@example.org:!::::::mail=/m nologin\n"
                                "eve+list@example.org:x\n";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, users, sizeof users - 1), (int)sizeof users - 1);
    close(fd);
    free(conf->user_db);
    conf->user_db = mem_alloc(100);
    snprintf(conf->user_db, 100, "file:%s", path);
    free(conf->run_dir);
    conf->run_dir = mem_strdup("/nonexistent");
}

START_TEST(users_are_looked_up)
{
    char path[] = "/tmp/check_deliver.XXXXXX";
    struct conf *conf = store_conf();
    struct auth_answer an;

    log_hook = ignore_log;
    write_users(conf, path);
    ck_assert_int_eq(user_lookup(conf, "ANN", "", &an), 0);
    ck_assert_str_eq(an.user, "ann");
    ck_assert_str_eq(an.home, "/home/ann");
    ck_assert_str_eq(an.quota, "1G");
    ck_assert_int_eq(user_lookup(conf, "Bob@Example.org", "", &an), 0);
    ck_assert_str_eq(an.mail, "/m");
    ck_assert_int_eq(user_lookup(conf, "bob", "", &an), ERR_NOENT);
    ck_assert_int_eq(user_lookup(conf, "ann+x", "", &an), ERR_NOENT);
    ck_assert_int_eq(user_lookup(conf, "ann+x", "+", &an), 0);
    ck_assert_str_eq(an.user, "ann");
    ck_assert_int_eq(user_lookup(conf, "ann-x+y", "+-", &an), 0);
    ck_assert_int_eq(user_lookup(conf, "bob+../x@example.org", "+", &an), 0);
    ck_assert_str_eq(an.user, "bob@example.org");
    /* a name that has it is that user's */
    ck_assert_int_eq(user_lookup(conf, "eve+list@example.org", "+", &an), 0);
    ck_assert_str_eq(an.user, "eve+list@example.org");
    ck_assert_int_eq(user_lookup(conf, "eve+other@example.org", "+", &an), ERR_NOENT);
    ck_assert_int_eq(user_lookup(conf, "bob@exam+ple.org", "+", &an), ERR_NOENT);
    ck_assert_int_eq(user_lookup(conf, "+ann", "+", &an), ERR_NOENT);
    ck_assert_int_eq(user_lookup(conf, "../ann", "", &an), ERR_CANNOT);
    ck_assert_int_eq(user_lookup(conf, "", "+", &an), ERR_CANNOT);
    free(conf->username_default_domain);
    conf->username_default_domain = mem_strdup("example.org");
    ck_assert_int_eq(user_lookup(conf, "bob", "", &an), 0);
    ck_assert_int_eq(user_lookup(conf, "bob+x", "+", &an), 0);
    ck_assert_str_eq(an.user, "bob@example.org");
    ck_assert_int_eq(user_lookup(conf, "nobody", "", &an), ERR_NOENT);
    ck_assert_int_eq(truncate(path, 0), 0); /* somebody begins to write it */
    ck_assert_int_eq(user_lookup(conf, "nobody", "", &an), ERR_TEMP);
    unlink(path);
    ck_assert_int_eq(user_lookup(conf, "bob", "", &an), ERR_TEMP);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("deliver");
    TCase *t = tcase_create("deliver");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, delivery_is_indexed_at_once);
    tcase_add_loop_test(t, delivery_keeps_octets, 0, sizeof octets / sizeof octets[0]);
    tcase_add_test(t, headers_go_in_front);
    tcase_add_test(t, others_deliver_too);
    tcase_add_test(t, first_index);
    tcase_add_test(t, folders);
    tcase_add_test(t, new_is_made_again);
    tcase_add_test(t, errors_leave_nothing);
    tcase_add_test(t, index_failure_is_success);
    tcase_add_test(t, locked_account);
    tcase_add_test(t, over_quota);
    tcase_add_test(t, delivery_survives_a_crash_at_each_step);
    tcase_add_test(t, the_beginning_of_a_message);
    tcase_add_test(t, input_from_a_pipe);
    tcase_add_test(t, input_and_signals);
    tcase_add_test(t, input_and_an_ignored_signal);
    tcase_add_test(t, input_of_a_feeder_that_dies);
    tcase_add_test(t, users_are_looked_up);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
