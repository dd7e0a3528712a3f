/*
 * store: APPEND, STATUS, and what a crash at any step leaves behind.
 *
 * The crash tests run an operation in a child that kills itself at the k-th named step, for
 * every k, and then look at the Maildir as the next session would: nothing that was answered
 * is lost, and nothing is there by half.
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
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
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

static void
check_round_trip(const char *sent, size_t len, const char *wire, size_t wire_len)
{
    struct flag_set none = {0};
    uint32_t uidvalidity, uid;
    struct index_message m;
    struct append *ap;
    struct view *v;
    char *text;
    size_t n;

    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source(sent, len), &none, 1000000000), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    m = message_row(v, uid);
    ck_assert_uint_eq(m.crlf_size, wire_len);
    ck_assert_int_eq(m.internal_date, 1000000000);
    text = message_text(v, uid, &n);
    ck_assert_uint_eq(n, wire_len);
    ck_assert_int_eq(memcmp(text, wire, n), 0);
    free(text);
    view_close(&v);
}

/* What comes with CRLF goes out octet by octet the same; a bare LF gets its CR. */
START_TEST(append_round_trip)
{
    static const struct {
        const char *sent, *wire;
    } cases[] = {{"a\r\nb\r\n", "a\r\nb\r\n"},
                 {"", ""},
                 {"\r\n", "\r\n"},
                 {"a\nb", "a\r\nb"},
                 {"a\rb\r\n", "a\rb\r\n"},
                 {"a\r\r\nb\r\n", "a\r\r\nb\r\n"},
                 {"\r\r\r\n", "\r\r\r\n"},
                 {"end\r", "end\r"},
                 {"\n\r\n\r", "\r\n\r\n\r"},
                 {"x\r\n\r\n\r\ny", "x\r\n\r\n\r\ny"}};
    size_t i = (size_t)_i;

    check_round_trip(cases[i].sent, strlen(cases[i].sent), cases[i].wire,
                     strlen(cases[i].wire));
}
END_TEST

START_TEST(append_large_and_binary)
{
    size_t len = 3000000, i;
    char *text = mem_alloc(len);
    unsigned seed = 3;

    for (i = 0; i < len; i++)
        text[i] = (char)(rand_r(&seed) % 256);
    for (i = 0; i < len; i++) {
        if (text[i] == '\n')
            text[i] = 'n';
        if (i % 76 == 74)
            text[i] = '\r';
        if (i % 76 == 75)
            text[i] = '\n';
    }
    check_round_trip(text, len, text, len);
    free(text);
}
END_TEST

/* RFC 3502: consecutive UIDs, one folder, all or none. */
START_TEST(multiappend)
{
    const char *keywords[] = {"Work"};
    struct flag_set one = {.flags = MSG_SEEN},
                    two = {.keywords = keywords, .keywords_count = 1};
    uint32_t uidvalidity, uid;
    struct append *ap;
    struct view *v;

    neighbour_deliver(store_dir, "first");
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("1\r\n", 3), &one, INT64_MIN), 0);
    ck_assert_int_eq(append_add(ap, text_source("2\r\n", 3), &two, INT64_MIN), 0);
    ck_assert_int_eq(append_add(ap, text_source("3\r\n", 3), &one, INT64_MIN), 0);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 3);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), 0);
    ck_assert_ptr_null(ap);
    ck_assert_uint_eq(uid, 2);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_str_eq(view_text(v), "1 2S 3 4S");
    ck_assert_uint_eq(view_info(v)->uidvalidity, uidvalidity);
    ck_assert_uint_eq(message_row(v, 3).keywords, 1);
    view_close(&v);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("1\r\n", 3), &one, INT64_MIN), 0);
    append_abort(&ap);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 4);
}
END_TEST

static ssize_t
read_error(struct source *s, void *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
    return ERR_TIMEOUT;
}

START_TEST(append_errors_leave_nothing)
{
    struct source broken = {read_error};
    struct flag_set none = {0};
    uint32_t uidvalidity, uid;
    const char *bad[] = {"bad("};
    struct flag_set bad_keyword = {.keywords = bad, .keywords_count = 1};
    struct append *ap;

    log_hook = ignore_log;
    ck_assert_int_eq(append_begin(a, "None", &ap), ERR_NOENT);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, &broken, &none, INT64_MIN), ERR_TIMEOUT);
    append_abort(&ap);
    store_conf()->append_limit = 100;
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source(store_dir, 50), &none, INT64_MIN), 0);
    ck_assert_int_eq(append_add(ap, text_source(store_dir, 101), &none, INT64_MIN), ERR_LIMIT);
    append_abort(&ap);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("x", 1), &bad_keyword, INT64_MIN), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), ERR_CANNOT);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 0);
    ck_assert_int_eq(files_in(store_dir, "new"), 0);
}
END_TEST

/* The folder goes away while the client still sends. */
START_TEST(append_to_a_folder_that_was_deleted)
{
    struct flag_set none = {0};
    uint32_t uidvalidity, uid;
    struct append *ap;

    log_hook = ignore_log;
    ck_assert_int_eq(folder_create(a, "F", 0), 0);
    ck_assert_int_eq(append_begin(a, "F", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("x", 1), &none, INT64_MIN), 0);
    ck_assert_int_eq(folder_delete(a, "F"), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), ERR_NOENT);
}
END_TEST

static int
failing_fsync(int fd)
{
    (void)fd;
    errno = ENOSPC;
    return -1;
}

/* ENOSPC, EDQUOT: the mailbox is as before. A limit of the file size stands for a full disk. */
START_TEST(append_without_space_leaves_nothing)
{
    struct rlimit limit = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
    struct flag_set none = {0};
    char *text = mem_calloc(1, 300000);
    uint32_t uidvalidity, uid;
    struct append *ap;

    log_hook = ignore_log;
    store_append(a, "INBOX", "x\r\n", 0, NULL);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_lt(append_add(ap, text_source(text, 300000), &none, INT64_MIN), 0);
    append_abort(&ap);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("y", 1), &none, INT64_MIN), 0);
    sys_hooks.fsync = failing_fsync;
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), ERR_NOSPACE);
    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("y", 1), &none, INT64_MIN), ERR_NOSPACE);
    append_abort(&ap);
    sys_hooks.fsync = NULL;
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 1);
    ck_assert_uint_eq(store_append(a, "INBOX", "z\r\n", 0, NULL), 2);
    free(text);
}
END_TEST

START_TEST(copy_that_fails_leaves_nothing)
{
    struct seqset s = uid_set("1:3"), src, dst;
    uint32_t uidvalidity;
    struct view *v;
    bool gone;
    int i;

    for (i = 0; i < 3; i++)
        store_append(a, "INBOX", "x\r\n", 0, NULL);
    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    seqset_init(&src);
    seqset_init(&dst);
    log_hook = ignore_log;
    for (i = 0; i < 2; i++) {
        sys_hooks.fsync = failing_fsync;
        ck_assert_int_eq(view_copy(v, &s, "To", i == 1, &uidvalidity, &src, &dst, &gone),
                         ERR_NOSPACE);
        sys_hooks.fsync = NULL;
        ck_assert_uint_eq(src.count, 0);
        sync_quietly(v);
        ck_assert_str_eq(view_text(v), "1 2 3");
        ck_assert_int_eq(files_in(store_dir, "cur"), 3);
        ck_assert_int_eq(files_in(store_dir, ".To/cur"), 0);
    }
    ck_assert_int_eq(view_copy(v, &s, "To", true, &uidvalidity, &src, &dst, &gone), 0);
    ck_assert_int_eq(files_in(store_dir, ".To/cur"), 3);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
    view_close(&v);
}
END_TEST

START_TEST(status_of_a_folder)
{
    struct mailbox_status st;
    struct view *v;

    ck_assert_int_eq(mailbox_status(a, "None", false, &st), ERR_NOENT);
    neighbour_put(store_dir, "cur", "1.x:2,S", "a\nb\n");
    neighbour_put(store_dir, "cur", "2.x:2,T", "a\nb\n");
    neighbour_put(store_dir, "new", "3.x", "c\n");
    ck_assert_int_eq(mailbox_status(a, "INBOX", true, &st), 0);
    ck_assert_uint_eq(st.messages, 3);
    ck_assert_uint_eq(st.unseen, 2);
    ck_assert_uint_eq(st.deleted, 1);
    ck_assert_uint_eq(st.recent, 3);
    ck_assert_uint_eq(st.uidnext, 4);
    ck_assert_uint_eq(st.bytes, 10);
    ck_assert_uint_eq(st.crlf_bytes, 15);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_uint_eq(view_info(v)->uidvalidity, st.uidvalidity);
    ck_assert_uint_eq(view_info(v)->uidnext, st.uidnext);
    view_close(&v);
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    ck_assert_uint_eq(st.recent, 0);
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

/* Runs `work` in a child that dies at the k-th step. False when it got to its end. */
static bool
crashed_at(int k, void (*work)(struct account *mine))
{
    int status;
    pid_t pid;

    account_close(&a); /* an environment isn't taken over a fork */
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
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
                  "step %d: status %x", k, status);
    log_hook = ignore_log;
    a = store_open();
    return status != 0;
}

static void
work_append(struct account *mine)
{
    struct flag_set set = {.flags = MSG_SEEN};
    uint32_t uidvalidity, uid;
    struct append *ap;

    if (append_begin(mine, "INBOX", &ap) != 0 ||
        append_add(ap, text_source("new\r\n", 5), &set, 77) != 0 ||
        append_commit(&ap, &uidvalidity, &uid) != 0)
        _exit(2);
}

START_TEST(append_survives_a_crash_at_each_step)
{
    struct view *v;
    int k, before;
    bool crashed;

    store_append(a, "INBOX", "old\r\n", 0, NULL);
    for (k = 1, crashed = true; crashed && k < 100; k++) {
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        before = (int)view_info(v)->exists;
        view_close(&v);
        crashed = crashed_at(k, work_append);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_uint_eq(view_uid(v, 1), 1);
        ck_assert_int_eq((int)view_info(v)->exists, files_in(store_dir, "cur"));
        ck_assert_int_ge((int)view_info(v)->exists, before + !crashed);
        ck_assert_int_le((int)view_info(v)->exists, before + 1);
        if ((int)view_info(v)->exists > before) {
            struct index_message m = message_row(v, view_uid(v, view_info(v)->exists));

            ck_assert_uint_eq(m.size, 4);
            ck_assert_uint_eq(m.flags, MSG_SEEN);
            ck_assert_int_eq(m.internal_date, 77);
        }
        view_close(&v);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert_int_gt(k, 5);
    ck_assert(!crashed);
}
END_TEST

static void
work_store(struct account *mine)
{
    struct view *v;

    if (view_open(mine, "INBOX", 0, &v) != 0 ||
        store_flags(v, "1:3", STORE_ADD, MSG_FLAGGED) != 0 ||
        store_flags(v, "1:3", STORE_REMOVE, MSG_FLAGGED) != 0 ||
        store_flags(v, "1:3", STORE_ADD, MSG_ANSWERED) != 0)
        _exit(2);
    view_close(&v);
}

START_TEST(store_survives_a_crash_at_each_step)
{
    bool crashed = true;
    uint64_t modseq;
    struct view *v;
    int k, i;

    for (i = 0; i < 3; i++)
        store_append(a, "INBOX", "old\r\n", 0, NULL);
    for (k = 1; crashed && k < 200; k++) {
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_int_eq(store_flags(v, "1:3", STORE_REPLACE, 0), 0);
        modseq = view_info(v)->highestmodseq;
        view_close(&v);
        crashed = crashed_at(k, work_store);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_uint_ge(view_info(v)->highestmodseq, modseq);
        ck_assert_uint_eq(view_info(v)->exists, 3);
        ck_assert_uint_eq(view_info(v)->uidnext, 4);
        if (!crashed)
            ck_assert_str_eq(view_text(v), "1R 2R 3R");
        view_close(&v);
        /* whatever the names say is what the index says */
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
        ck_assert_int_eq(files_in(store_dir, "cur"), 3);
    }
    ck_assert(!crashed);
}
END_TEST

static void
work_expunge(struct account *mine)
{
    struct seqset s = uid_set("1:*");
    struct view *v;

    if (view_open(mine, "INBOX", 0, &v) != 0 || view_expunge(v, &s, true, NULL) != 0)
        _exit(2);
    view_close(&v);
    seqset_free(&s);
}

/* A message that is gone doesn't come back under another UID. */
START_TEST(expunge_survives_a_crash_at_each_step)
{
    bool crashed = true;
    uint32_t uidnext;
    struct view *v;
    int k, i;

    for (k = 1; crashed && k < 100; k++) {
        for (i = 0; i < 3; i++)
            store_append(a, "INBOX", "old\r\n", 0, NULL);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        uidnext = view_info(v)->uidnext;
        view_close(&v);
        crashed = crashed_at(k, work_expunge);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_uint_eq(view_info(v)->uidnext, uidnext);
        ck_assert_uint_eq(view_info(v)->exists, (unsigned)files_in(store_dir, "cur"));
        if (!crashed)
            ck_assert_uint_eq(view_info(v)->exists, 0);
        view_close(&v);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
}
END_TEST

static void
work_move(struct account *mine)
{
    struct seqset s = uid_set("1:*"), src, dst;
    uint32_t uidvalidity;
    struct view *v;
    bool gone;

    seqset_init(&src);
    seqset_init(&dst);
    if (view_open(mine, "INBOX", 0, &v) != 0 ||
        view_copy(v, &s, "To", true, &uidvalidity, &src, &dst, &gone) != 0)
        _exit(2);
    view_close(&v);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
}

static void
work_copy(struct account *mine)
{
    struct seqset s = uid_set("1:*"), src, dst;
    uint32_t uidvalidity;
    struct view *v;
    bool gone;

    seqset_init(&src);
    seqset_init(&dst);
    if (view_open(mine, "INBOX", 0, &v) != 0 ||
        view_copy(v, &s, "To", false, &uidvalidity, &src, &dst, &gone) != 0)
        _exit(2);
    view_close(&v);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
}

static uint32_t
count_in(const char *folder)
{
    struct mailbox_status st;

    ck_assert_int_eq(mailbox_status(a, folder, false, &st), 0);
    return st.messages;
}

/* A moved message is in one of the two folders, never in none. */
START_TEST(move_survives_a_crash_at_each_step)
{
    bool crashed = true;
    uint32_t before;
    int k, i;

    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    for (k = 1; crashed && k < 100; k++) {
        for (i = 0; i < 3; i++)
            store_append(a, "INBOX", "old\r\n", 0, NULL);
        before = count_in("INBOX") + count_in("To");
        crashed = crashed_at(k, work_move);
        ck_assert_uint_eq(count_in("INBOX") + count_in("To"), before);
        if (!crashed)
            ck_assert_uint_eq(count_in("INBOX"), 0);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
}
END_TEST

START_TEST(copy_survives_a_crash_at_each_step)
{
    bool crashed = true;
    uint32_t before;
    int k, i;

    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    for (i = 0; i < 3; i++)
        store_append(a, "INBOX", "old\r\n", 0, NULL);
    for (k = 1; crashed && k < 100; k++) {
        before = count_in("To");
        crashed = crashed_at(k, work_copy);
        ck_assert_uint_eq(count_in("INBOX"), 3);
        ck_assert_uint_le(count_in("To"), before + 3);
        if (!crashed)
            ck_assert_uint_eq(count_in("To"), before + 3);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
}
END_TEST

static void
work_select(struct account *mine)
{
    struct view *v;

    if (view_open(mine, "INBOX", 0, &v) != 0)
        _exit(2);
    view_close(&v);
}

/* New mail while the session that takes it in dies. */
START_TEST(scan_survives_a_crash_at_each_step)
{
    bool crashed = true;
    struct view *v;
    int k;

    for (k = 1; crashed && k < 100; k++) {
        neighbour_deliver(store_dir, "x");
        neighbour_deliver(store_dir, "y");
        crashed = crashed_at(k, work_select);
        ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
        ck_assert_uint_eq(view_info(v)->exists, (unsigned)k * 2);
        ck_assert_uint_eq(view_info(v)->uidnext, (unsigned)k * 2 + 1);
        ck_assert_uint_eq((unsigned)files_in(store_dir, "cur"), (unsigned)k * 2);
        view_close(&v);
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    }
    ck_assert(!crashed);
}
END_TEST

static bool
exists_in_root(const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    return access(path, F_OK) == 0;
}

static void
work_multiappend(struct account *mine)
{
    struct flag_set set = {.flags = 0};
    uint32_t uidvalidity, uid;
    struct append *ap;
    int i;

    if (append_begin(mine, "INBOX", &ap) != 0)
        _exit(2);
    for (i = 0; i < 3; i++) {
        if (append_add(ap, text_source("new\r\n", 5), &set, 77) != 0)
            _exit(2);
    }
    if (append_commit(&ap, &uidvalidity, &uid) != 0)
        _exit(2);
}

/* RFC 3502: all or none; also when whoever takes them back dies, at each of its steps. */
START_TEST(multiappend_is_all_or_none_at_each_step)
{
    struct mailbox_status st;
    uint32_t before, uidnext;
    bool crashed = true;
    int k;

    store_append(a, "INBOX", "old\r\n", 0, NULL);
    for (k = 1; crashed && k < 100; k++) {
        ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
        before = st.messages;
        uidnext = st.uidnext;
        crashed = crashed_at(k, work_multiappend);
        (void)crashed_at(1 + k * 5 % 23, work_select);
        ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
        ck_assert_msg(st.messages == before + 3 || (crashed && st.messages == before),
                      "step %d: %u messages, %u before", k, st.messages, before);
        ck_assert_uint_ge(st.uidnext, uidnext + (st.messages - before));
        ck_assert_uint_eq(st.messages, (unsigned)files_in(store_dir, "cur"));
        ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
        ck_assert(!exists_in_root("mansio-undo"));
    }
    ck_assert(!crashed);
}
END_TEST

/* RFC 3501 6.4.7: a COPY that isn't answered leaves the target as it was, or with all of it. */
START_TEST(copy_is_all_or_none_at_each_step)
{
    bool crashed = true;
    uint32_t before, now;
    int k, i;

    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    for (i = 0; i < 3; i++)
        store_append(a, "INBOX", "old\r\n", 0, NULL);
    for (k = 1; crashed && k < 100; k++) {
        before = count_in("To");
        crashed = crashed_at(k, work_copy);
        (void)crashed_at(1 + k * 5 % 23, work_select);
        now = count_in("To");
        ck_assert_msg(now == before + 3 || (crashed && now == before), "step %d: %u, %u", k,
                      now, before);
        ck_assert(!exists_in_root("mansio-undo"));
    }
    ck_assert(!crashed);
}
END_TEST

/* A note that is older than what it speaks of takes nothing back. */
START_TEST(stale_undo_removes_nothing)
{
    struct mailbox_status st;
    char text[400], mark[MDNAME_MARK_SIZE];

    mdname_mark(mark);
    store_append(a, "INBOX", "one\r\n", 0, NULL);
    store_append(a, "INBOX", "two\r\n", 0, NULL);
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    /* as of before both, whose UIDs were committed */
    snprintf(text, sizeof text, "undo\t1\t%u\t1\t%s\n", st.uidvalidity, mark);
    neighbour_put(store_dir, ".", "mansio-undo", text);
    (void)crashed_at(3, work_select);
    ck_assert_uint_eq(count_in("INBOX"), 2);
    /* even if no UID had been given since: a row knows them */
    snprintf(text, sizeof text, "undo\t1\t%u\t%u\t%s\n", st.uidvalidity, st.uidnext, mark);
    neighbour_put(store_dir, ".", "mansio-undo", text);
    (void)crashed_at(3, work_select);
    ck_assert_uint_eq(count_in("INBOX"), 2);
    ck_assert_int_eq(files_in(store_dir, "cur"), 2);
}
END_TEST

static int64_t shown_time;

static int64_t
shown_clock(void)
{
    return shown_time;
}

/* The clock goes back by a year: UIDs, mod-sequences and UIDVALIDITY still grow, in order. */
START_TEST(clock_set_back)
{
    struct mailbox_status before, after, first, second;
    struct index_message m;
    struct view *v;
    uint32_t uid;

    sys_hooks.now = shown_clock;
    shown_time = (int64_t)time(NULL);
    ck_assert_int_eq(folder_create(a, "Old", 0), 0);
    ck_assert_int_eq(mailbox_status(a, "Old", false, &first), 0);
    uid = store_append(a, "INBOX", "today\r\n", 0, NULL);
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &before), 0);
    shown_time -= 365 * 86400;
    account_close(&a);
    a = store_open();
    ck_assert_uint_gt(store_append(a, "INBOX", "a year ago\r\n", 0, NULL), uid);
    neighbour_deliver(store_dir, "delivered");
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_uint_eq(view_info(v)->exists, 3);
    ck_assert_uint_eq(view_uid(v, 3), uid + 2);
    ck_assert_int_eq(store_flags(v, "1:3", STORE_ADD, MSG_FLAGGED), 0);
    m = message_row(v, uid);
    ck_assert_uint_gt(m.modseq, before.highestmodseq);
    view_close(&v);
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &after), 0);
    ck_assert_uint_gt(after.highestmodseq, before.highestmodseq);
    ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
    ck_assert_int_eq(folder_delete(a, "Old"), 0);
    ck_assert_int_eq(folder_create(a, "Old", 0), 0);
    ck_assert_int_eq(mailbox_status(a, "Old", false, &second), 0);
    ck_assert_uint_gt(second.uidvalidity, first.uidvalidity);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    sys_hooks.now = NULL;
}
END_TEST

/* A named pipe in the place of a known message: that one is gone, the others aren't. */
START_TEST(a_pipe_in_place_of_a_message)
{
    char path[600], name[300];
    struct view *v;
    size_t len;
    char *text;

    store_append(a, "INBOX", "one\r\n", 0, NULL);
    store_append(a, "INBOX", "two\r\n", 0, NULL);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    snprintf(name, sizeof name, "cur/%s", message_row(v, 1).name);
    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    log_hook = ignore_log;
    ck_assert_ptr_null(message_text(v, 1, &len));
    text = message_text(v, 2, &len);
    ck_assert_str_eq(text, "two\r\n");
    free(text);
    view_close(&v);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_uint_eq(view_info(v)->exists, 1);
    view_close(&v);
}
END_TEST

/* A Maildir that can't be written to, with its index elsewhere: reading works, the rest says
   what's wrong. */
START_TEST(read_only_maildir)
{
    static const char *const parts[] = {".", "cur", "new", "tmp"};
    char path[600], index[300];
    struct view *v;
    size_t i, len;
    char *text;
    int err;

    account_close(&a);
    store_teardown();
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0); /* root may write anywhere */
    store_setup();
    a = store_open();
    store_append(a, "INBOX", "text\r\n", 0, NULL);
    account_close(&a);
    snprintf(index, sizeof index, "%s-index", store_dir);
    free(store_conf()->index_dir);
    store_conf()->index_dir = mem_strdup(index);
    for (i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", store_dir, parts[i]);
        ck_assert_int_eq(chmod(path, 0500), 0);
    }
    log_hook = ignore_log;
    a = store_open();
    err = view_open(a, "INBOX", 0, &v);
    ck_assert_int_eq(err, 0);
    text = message_text(v, 1, &len);
    ck_assert_str_eq(text, "text\r\n");
    free(text);
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_FLAGGED), ERR_PERM);
    view_close(&v);
    ck_assert_int_eq(folder_create(a, "New", 0), ERR_PERM);
    ck_assert_int_eq(folder_subscribe(a, "New", true), ERR_PERM);
    for (i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", store_dir, parts[i]);
        ck_assert_int_eq(chmod(path, 0700), 0);
    }
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("mailbox");
    TCase *t = tcase_create("mailbox");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, append_round_trip, 0, 10);
    tcase_add_test(t, append_large_and_binary);
    tcase_add_test(t, multiappend);
    tcase_add_test(t, append_errors_leave_nothing);
    tcase_add_test(t, append_to_a_folder_that_was_deleted);
    tcase_add_test(t, append_without_space_leaves_nothing);
    tcase_add_test(t, copy_that_fails_leaves_nothing);
    tcase_add_test(t, status_of_a_folder);
    tcase_add_test(t, append_survives_a_crash_at_each_step);
    tcase_add_test(t, store_survives_a_crash_at_each_step);
    tcase_add_test(t, expunge_survives_a_crash_at_each_step);
    tcase_add_test(t, move_survives_a_crash_at_each_step);
    tcase_add_test(t, copy_survives_a_crash_at_each_step);
    tcase_add_test(t, scan_survives_a_crash_at_each_step);
    tcase_add_test(t, multiappend_is_all_or_none_at_each_step);
    tcase_add_test(t, copy_is_all_or_none_at_each_step);
    tcase_add_test(t, stale_undo_removes_nothing);
    tcase_add_test(t, clock_set_back);
    tcase_add_test(t, a_pipe_in_place_of_a_message);
    tcase_add_test(t, read_only_maildir);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
