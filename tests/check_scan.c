/*
 * store/scan: what other programs do in a Maildir, and how soon and how surely it's seen. The
 * rules' numbers are those at the top of scan.c.
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
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/account_private.h"
#include "store/scan_table.h"
#include "store_test.h"

static struct account *a;
static struct view *v;
static int64_t clock_offset;

static int64_t
shifted_clock(void)
{
    return (int64_t)time(NULL) + clock_offset;
}

static void
setup(void)
{
    clock_offset = 0;
    memset(&sys_hooks, 0, sizeof sys_hooks);
    store_setup();
    a = store_open();
    v = NULL;
}

static void
teardown(void)
{
    view_close(&v);
    account_close(&a);
    store_teardown();
}

static void
open_inbox(unsigned flags)
{
    view_close(&v);
    ck_assert_int_eq(view_open(a, "INBOX", flags, &v), 0);
}

static void
put(const char *name)
{
    neighbour_put(store_dir, "cur", name, "Subject: x\n\nbody\n");
}

static const char *
synced(void)
{
    sync_quietly(v);
    return view_text(v);
}

/* Syncs until the view is `text`: a dirty directory isn't read again at once if that is dear.
 */
static void
expect_soon(const char *text)
{
    int i;

    for (i = 0; i < 200 && strcmp(synced(), text) != 0; i++)
        usleep(50 * 1000);
    ck_assert_str_eq(view_text(v), text);
}

/* The times of cur/, kept over a change: what a coarse clock does. */
static void
get_times(struct timespec times[2])
{
    char path[300];
    struct stat st;

    snprintf(path, sizeof path, "%s/cur", store_dir);
    ck_assert_int_eq(stat(path, &st), 0);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
}

static void
set_times(const struct timespec times[2])
{
    char path[300];

    snprintf(path, sizeof path, "%s/cur", store_dir);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
age_cur(int seconds)
{
    struct timespec times[2];

    get_times(times);
    times[1].tv_sec -= seconds;
    set_times(times);
}

START_TEST(new_mail_gets_uids_in_order_of_delivery)
{
    neighbour_put(store_dir, "new", "1700000300.M5P1.h", "c");
    neighbour_put(store_dir, "new", "1700000100.M9P1.h", "b");
    neighbour_put(store_dir, "new", "1700000100.M10P1.h", "b2");
    neighbour_put(store_dir, "new", "1700000000.M700000P1.h,S=1:2,F", "a");
    open_inbox(0);
    ck_assert_str_eq(view_text(v), "1F 2 3 4");
    ck_assert_str_eq(message_row(v, 1).name, "1700000000.M700000P1.h,S=1:2,F");
    ck_assert_str_eq(message_row(v, 2).name, "1700000100.M9P1.h:2,");
    ck_assert_str_eq(message_row(v, 3).name, "1700000100.M10P1.h:2,");
    ck_assert_str_eq(message_row(v, 4).name, "1700000300.M5P1.h:2,");
    ck_assert_int_eq(files_in(store_dir, "new"), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 4);
    ck_assert_uint_eq(view_info(v)->recent, 4);
    neighbour_deliver(store_dir, "e");
    ck_assert_str_eq(synced(), "1F 2 3 4 5");
}
END_TEST

/* Rule 5: EXAMINE, STATUS and POP3 leave new mail in new/; the UIDs are the same later. */
START_TEST(examine_leaves_mail_in_new)
{
    struct mailbox_status st;

    open_inbox(VIEW_READONLY);
    neighbour_deliver(store_dir, "a");
    ck_assert_str_eq(synced(), "1");
    ck_assert_int_eq(files_in(store_dir, "new"), 1);
    neighbour_deliver(store_dir, "b");
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    ck_assert_uint_eq(st.messages, 2);
    ck_assert_uint_eq(st.recent, 2);
    ck_assert_uint_eq(st.uidnext, 3);
    ck_assert_int_eq(files_in(store_dir, "new"), 2);
    open_inbox(VIEW_POP3);
    neighbour_deliver(store_dir, "c");
    ck_assert_str_eq(synced(), "1 2 3");
    ck_assert_int_eq(files_in(store_dir, "new"), 3);
    ck_assert(message_row(v, 2).in_new);
    open_inbox(0);
    ck_assert_str_eq(view_text(v), "1 2 3");
    ck_assert_uint_eq(view_info(v)->recent, 3);
    ck_assert_int_eq(files_in(store_dir, "new"), 0);
    ck_assert(!message_row(v, 2).in_new);
    open_inbox(0);
    ck_assert_uint_eq(view_info(v)->recent, 0);
    ck_assert_str_eq(view_text(v), "1 2 3");
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* A message in new/ that the index knows is moved, or removed, by another program. */
START_TEST(neighbour_takes_mail_out_of_new)
{
    char from[100], to[100];
    const char *name;

    open_inbox(VIEW_READONLY);
    name = neighbour_deliver(store_dir, "a");
    snprintf(from, sizeof from, "new/%s", name);
    snprintf(to, sizeof to, "cur/%s:2,S", name);
    name = neighbour_deliver(store_dir, "b");
    ck_assert_str_eq(synced(), "1 2");
    neighbour_rename(store_dir, from, to);
    ck_assert_str_eq(synced(), "1S 2");
    snprintf(from, sizeof from, "new/%s", name);
    neighbour_remove(store_dir, from);
    ck_assert_str_eq(synced(), "1S");
    neighbour_deliver(store_dir, "c");
    ck_assert_str_eq(synced(), "1S 3");
    open_inbox(0);
    ck_assert_str_eq(synced(), "1S 3");
}
END_TEST

/* Rule 1. */
START_TEST(changes_in_cur_are_seen_at_the_next_sync)
{
    struct view_changes c;
    uint64_t modseq;

    put("1.a:2,");
    put("2.b:2,S");
    put("3.c:2,");
    open_inbox(0);
    ck_assert_str_eq(view_text(v), "1 2S 3");
    settle();
    ck_assert_str_eq(synced(), "1 2S 3");
    modseq = view_info(v)->highestmodseq;
    neighbour_rename(store_dir, "cur/1.a:2,", "cur/1.a:2,FRT");
    neighbour_remove(store_dir, "cur/2.b:2,S");
    put("4.d:2,D");
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 1);
    ck_assert_uint_eq(c.expunged[0], 2);
    ck_assert_uint_eq(c.expunged_uids[0], 2);
    ck_assert(c.exists_changed);
    ck_assert(seqset_has(&c.flags, 1));
    ck_assert_uint_eq(seqset_size(&c.flags), 1);
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "1FRT 3 4D");
    ck_assert_uint_gt(view_info(v)->highestmodseq, modseq);
    ck_assert_uint_gt(message_row(v, 1).modseq, modseq);
    ck_assert_uint_le(message_row(v, 3).modseq, modseq);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

/* Sets the time of cur/ so many milliseconds from now, or in whole seconds. */
static void
date_cur(int ms, bool coarse)
{
    struct timespec times[2];
    int64_t ns;

    get_times(times);
    clock_gettime(CLOCK_REALTIME, &times[1]);
    ns = (int64_t)times[1].tv_sec * 1000000000 + times[1].tv_nsec + (int64_t)ms * 1000000;
    ns += ns % 1000000 == 0; /* it shows that there are nanoseconds */
    times[1].tv_sec = (time_t)(ns / 1000000000);
    times[1].tv_nsec = coarse ? 0 : ns % 1000000000;
    set_times(times);
}

/* A neighbour's change that the time of cur/ doesn't show. */
static void
rename_unseen(const char *from, const char *to)
{
    struct timespec times[2];

    get_times(times);
    neighbour_rename(store_dir, from, to);
    set_times(times);
}

/* The clock that dates files has gone on. */
static void
leave_tick(void)
{
    usleep(30 * 1000);
}

/* Rule 2: a second change within the tick of the mtime that was recorded; a file system that
   counts in seconds. */
START_TEST(change_within_one_second_is_seen)
{
    struct timespec times[2];

    put("1.a:2,");
    date_cur(2000, true);
    open_inbox(0);
    rename_unseen("cur/1.a:2,", "cur/1.a:2,S");
    expect_soon("1S");
    date_cur(2000, true);
    ck_assert_str_eq(synced(), "1S");
    get_times(times);
    put("2.b:2,");
    neighbour_remove(store_dir, "cur/1.a:2,S");
    set_times(times);
    expect_soon("2");
}
END_TEST

/* Rule 2: where the kernel dates changes by its own clock, the tick is short. */
START_TEST(tick_of_the_own_clock_is_short)
{
    struct stat st;

    put("1.a:2,");
    open_inbox(0);
    ck_assert_int_eq(stat(store_dir, &st), 0);
    if (!account_stamps_here(a, st.st_dev))
        return;
    date_cur(300, false);
    ck_assert_str_eq(synced(), "1");
    rename_unseen("cur/1.a:2,", "cur/1.a:2,S");
    expect_soon("1S"); /* still dirty: it's read again */
    date_cur(-60, false);
    ck_assert_str_eq(synced(), "1S");
    rename_unseen("cur/1.a:2,S", "cur/1.a:2,");
    usleep(10 * 1000);
    ck_assert_str_eq(synced(), "1S"); /* settled: no change could have had that time */
    date_cur(0, true);
    ck_assert_str_eq(synced(), "1");
}
END_TEST

static int commits, syncs;

static void
count_commits(const char *step)
{
    commits += strcmp(step, "index:commit") == 0;
}

static int
count_syncs(int fd)
{
    syncs++;
    return fsync(fd);
}

/* Rule 2: a dirty folder is looked at each time, but only what it comes to is written down, and
   nobody waits for the disk. */
START_TEST(looking_again_writes_nothing)
{
    struct mailbox_status st;
    int i;

    put("1.a:2,S");
    open_inbox(0);
    sys_hooks.step = count_commits;
    sys_hooks.fsync = count_syncs;
    date_cur(1500, true);
    for (i = 0; i < 20; i++) {
        ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
        usleep(5 * 1000);
    }
    ck_assert_int_ge(commits, 1);
    ck_assert_int_lt(commits, 10); /* 1, unless somebody else had the processor */
    rename_unseen("cur/1.a:2,S", "cur/1.a:2,");
    for (i = 0; i < 200 && st.unseen == 0; i++) {
        usleep(5 * 1000);
        ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    }
    ck_assert_uint_eq(st.unseen, 1);
    usleep(2600 * 1000);
    commits = 0;
    for (i = 0; i < 5; i++)
        ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    ck_assert_int_eq(commits, 1); /* that it's settled now */
    ck_assert_int_eq(syncs, 0);
}
END_TEST

/* Rule 4: a neighbour's change in the shadow of our own. */
START_TEST(change_covered_by_our_own_is_found_by_the_audit)
{
    struct timespec times[2];

    put("1.a:2,");
    put("2.b:2,");
    open_inbox(0);
    leave_tick();
    age_cur(100);
    synced();
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_SEEN), 0);
    get_times(times);
    neighbour_rename(store_dir, "cur/2.b:2,", "cur/2.b:2,F");
    set_times(times);
    ck_assert_str_eq(synced(), "1S 2"); /* not yet: no readdir for each STORE */
    clock_offset = 10;
    sys_hooks.now = shifted_clock;
    ck_assert_str_eq(synced(), "1S 2F");
}
END_TEST

/* Rule 6: after a power cut renames may be undone, under the time that was recorded. */
START_TEST(recovery_has_everything_scanned_again)
{
    struct timespec times[2];
    int status;
    pid_t pid;

    put("1.a:2,");
    open_inbox(0);
    leave_tick();
    age_cur(100);
    synced();
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_SEEN), 0);
    get_times(times);
    neighbour_rename(store_dir, "cur/1.a:2,S", "cur/1.a:2,");
    set_times(times);
    ck_assert_str_eq(synced(), "1S");
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct account *other = store_open();

        if (account_lock(other) == 0)
            kill(getpid(), SIGKILL); /* dies with the lock */
        account_close(&other);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_str_eq(synced(), "1");
}
END_TEST

/* Rules 1 and 2: the wall clock is no friend. */
START_TEST(clock_set_back_does_not_stop_scanning)
{
    struct timespec times[2];

    put("1.a:2,");
    open_inbox(0);
    synced();
    sys_hooks.now = shifted_clock;
    clock_offset = -86400;
    neighbour_rename(store_dir, "cur/1.a:2,", "cur/1.a:2,S");
    ck_assert_str_eq(synced(), "1S");
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_FLAGGED), 0);
    get_times(times);
    neighbour_rename(store_dir, "cur/1.a:2,FS", "cur/1.a:2,F");
    set_times(times);
    clock_offset = -86400 * 2; /* the audit isn't put off by a scan in the future */
    ck_assert_str_eq(synced(), "1F");
}
END_TEST

START_TEST(future_mtimes_do_not_stop_scanning)
{
    put("1.a:2,");
    age_cur(-86400);
    open_inbox(0);
    synced();
    put("2.b:2,");
    age_cur(-86400 * 2);
    ck_assert_str_eq(synced(), "1 2");
    neighbour_rename(store_dir, "cur/2.b:2,", "cur/2.b:2,S"); /* mtime goes back to now */
    ck_assert_str_eq(synced(), "1 2S");
    neighbour_remove(store_dir, "cur/1.a:2,");
    age_cur(86400);
    ck_assert_str_eq(synced(), "2S");
}
END_TEST

START_TEST(odd_names_hide_nothing)
{
    char path[600], longest[256], long_colon[256];

    memset(longest, 'n', 255);
    longest[255] = '\0';
    memset(long_colon, 'm', 255);
    memcpy(long_colon + 250, ":2,FS", 6);
    put("nocolon");
    put("other:1,x");
    put("1:2,S");
    put(longest);
    put(long_colon);
    put("comma,S=abc,W=:2,SSTa,x");
    put(".hidden");
    put("with\nnewline");
    put(":2,S");
    put("caf\xe9\xff");
    snprintf(path, sizeof path, "%s/cur/adir", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/cur/afifo", store_dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/cur/alink", store_dir);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 7);
    ck_assert_int_eq(store_flags(v, "1:*", STORE_ADD, MSG_SEEN | MSG_ANSWERED), 0);
    ck_assert_uint_eq(view_info(v)->exists, 7);
    settle();
    ck_assert_int_eq(mailbox_rebuild(a, NULL, NULL, NULL), 0);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 7);
    ck_assert_ptr_null(strchr(view_text(v), '-'));
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
}
END_TEST

static void
ignore_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

/* Two files with one base name are two messages. */
START_TEST(twins_are_both_kept)
{
    log_hook = ignore_log;
    put("1.a:2,");
    put("1.a:2,S");
    neighbour_put(store_dir, "new", "1.a", "third");
    open_inbox(0);
    sync_quietly(v);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 3);
    ck_assert_int_eq(files_in(store_dir, "cur") + files_in(store_dir, "new"), 3);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    log_hook = NULL;
}
END_TEST

static bool
text_is(uint32_t uid, const char *text)
{
    size_t len;
    char *found = message_text(v, uid, &len);
    bool same = found != NULL && strcmp(found, text) == 0;

    free(found);
    return same;
}

/* A file comes to new/ whose name a message in cur/ has already (a backup put back, a copy): it
   must not replace that message, nor take its UID. */
START_TEST(twin_of_a_known_message_takes_nothing)
{
    unsigned set = _i == 0 ? 0 : MSG_SEEN;
    uint32_t uid;
    int i;

    log_hook = ignore_log;
    neighbour_put(store_dir, "new", "1.a", "first\r\n");
    open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 1);
    if (set != 0)
        ck_assert_int_eq(store_flags(v, "1", STORE_ADD, set), 0);
    settle();
    sync_quietly(v);
    neighbour_put(store_dir, "new", "1.a", "second\r\n");
    for (i = 0; i < 3; i++) {
        sync_quietly(v);
        ck_assert(text_is(1, "first\r\n"));
        if (set != 0) /* onto the other's name */
            ck_assert_int_eq(store_flags(v, "1:9", i % 2 == 0 ? STORE_ADD : STORE_REMOVE, set),
                             0);
        settle();
    }
    ck_assert_uint_eq(view_info(v)->exists, 2);
    ck_assert_int_eq(files_in(store_dir, "cur") + files_in(store_dir, "new"), 2);
    uid = view_info(v)->uidnext - 1;
    ck_assert(text_is(uid, "second\r\n"));
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    log_hook = NULL;
}
END_TEST

/* Base names that differ where one word of a multiplicative hash takes back what the word
   before did: with too simple a hash they'd be one, whatever the seed. */
START_TEST(names_made_to_collide_are_different)
{
    static const char pairs[][2][40] = {
        {"1700000000.12345.host.example", "1700000\xb0"
                                          "00.\xb1"
                                          "234\xb5.host.example"},
        {"1700000000.12345.host.example", "1700000p00.q234u.host.example"},
        {"1700000000.12345.host.example", "1700000500.02344.host.example"}};
    struct scan_table t;
    char name[64];
    int i, k;

    for (i = 0; i < 3; i++) {
        for (k = 0; k < 40; k++) {
            scan_table_init(&t);
            scan_table_add(&t, pairs[i][0], false);
            ck_assert_uint_eq(scan_table_find(&t, pairs[i][1], strlen(pairs[i][1])), SCAN_NONE);
            scan_table_add(&t, pairs[i][1], false);
            ck_assert_uint_eq(t.twins, 0);
            scan_table_free(&t);
        }
    }
    snprintf(name, sizeof name, "%s:2,S", pairs[0][0]);
    put(name);
    open_inbox(0);
    ck_assert_str_eq(view_text(v), "1S");
    age_cur(5);
    snprintf(name, sizeof name, "%s:2,F", pairs[0][1]);
    put(name);
    expect_soon("1S 2F");
    ck_assert_str_eq(message_row(v, 2).name, name);
}
END_TEST

/* Another program that moves by link() and unlink(): one message, whenever it's looked at. */
START_TEST(one_file_under_two_names_is_one_message)
{
    char from[300], to[300];

    log_hook = ignore_log;
    neighbour_put(store_dir, "new", "1.a", "first\r\n");
    open_inbox(VIEW_READONLY);
    snprintf(from, sizeof from, "%s/new/1.a", store_dir);
    snprintf(to, sizeof to, "%s/cur/1.a:2,S", store_dir);
    ck_assert_int_eq(link(from, to), 0);
    sync_quietly(v);
    (void)unlink(from);
    settle();
    expect_soon("1S");
    ck_assert_int_eq(files_in(store_dir, "cur") + files_in(store_dir, "new"), 1);
    log_hook = NULL;
}
END_TEST

/* The program was cut short: not before a minute one name goes, and the message once and for
   all when it's expunged. */
START_TEST(second_name_left_behind_goes_at_last)
{
    char from[300], to[300];

    log_hook = ignore_log;
    sys_hooks.now = shifted_clock;
    put("1.a:2,");
    open_inbox(0);
    snprintf(from, sizeof from, "%s/cur/1.a:2,", store_dir);
    snprintf(to, sizeof to, "%s/cur/1.a:2,S", store_dir);
    ck_assert_int_eq(link(from, to), 0);
    ck_assert_str_eq(synced(), "1");
    ck_assert_int_eq(files_in(store_dir, "cur"), 2);
    clock_offset = 90;
    ck_assert_str_eq(synced(), "1");
    ck_assert_int_eq(files_in(store_dir, "cur"), 1);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_DELETED), 0);
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    ck_assert_str_eq(synced(), "");
    log_hook = NULL;
}
END_TEST

/* Names of very many files go to a file, and what the table says is the same. */
START_TEST(table_with_names_in_a_file)
{
    struct scan_table t;
    char name[64];
    uint32_t at;
    int i, fd;

    open_inbox(0); /* makes the Maildir */
    fd = open(store_dir, O_RDONLY | O_DIRECTORY);
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d.a%d:2,%s", 1000 + i, i, i % 3 ? "S" : "FS");
        put(name);
    }
    scan_table_init(&t);
    t.in_memory = 1000;
    ck_assert_int_eq(scan_table_read(&t, fd, false), 0);
    ck_assert_uint_eq(t.count, 300);
    ck_assert_uint_gt(t.in_file, 1000);
    ck_assert_int_eq(files_in(store_dir, "tmp"), 0);
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d.a%d:2,%s", 1000 + i, i, i % 3 ? "S" : "FS");
        at = scan_table_find(&t, name, strlen(name) - (i % 3 ? 4 : 5));
        ck_assert_uint_lt(at, 300);
        ck_assert_str_eq(scan_table_name(&t, at), name);
        ck_assert(scan_table_is(&t, at, name));
        name[strlen(name) - 1] = 'T';
        ck_assert(!scan_table_is(&t, at, name));
    }
    ck_assert_uint_eq(scan_table_find(&t, "1000.a1", 7), SCAN_NONE);
    /* a second reading begins anew; a name that can't be read back is an error */
    scan_table_clear(&t);
    ck_assert_int_eq(scan_table_read(&t, fd, false), 0);
    ck_assert_uint_eq(t.count, 300);
    ck_assert(!t.failed);
    log_hook = ignore_log;
    ck_assert_int_eq(ftruncate(t.file, 0), 0);
    ck_assert_str_eq(scan_table_name(&t, 0), "");
    ck_assert(t.failed);
    log_hook = NULL;
    scan_table_free(&t);
    close(fd);
}
END_TEST

/* The index is lost: UIDVALIDITY rises, and what the names and files say is still there. */
START_TEST(lost_index_is_made_anew)
{
    const char *keywords[] = {"Work", NULL};
    char path[300];
    uint32_t uidvalidity;
    struct index_message m;
    struct flag_set set = {.flags = MSG_FLAGGED, .keywords = keywords, .keywords_count = 1};
    struct append *ap;
    uint32_t uid;

    ck_assert_int_eq(append_begin(a, "INBOX", &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source("x\r\ny\r\n", 6), &set, 1234567890), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), 0);
    account_close(&a);
    snprintf(path, sizeof path, "rm -rf %s/mansio-index", store_dir);
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c", path, (char *)NULL);
        _exit(1);
    }
    wait(NULL);
    a = store_open();
    open_inbox(0);
    ck_assert_uint_gt(view_info(v)->uidvalidity, uidvalidity);
    m = message_row(v, 1);
    ck_assert_uint_eq(m.flags, MSG_FLAGGED);
    ck_assert_uint_eq(m.keywords, 1);
    ck_assert_uint_eq(m.size, 4);
    ck_assert_uint_eq(m.crlf_size, 6);
    ck_assert_int_eq(m.internal_date, 1234567890);
    ck_assert_uint_ge(view_info(v)->keywords_count, 1);
    ck_assert_str_eq(view_info(v)->keywords[0], "Work");
}
END_TEST

/* Of thousands of new files not each is looked at: names say all but the internal date, which
   is the file's time when it's first asked for, and stays that. */
START_TEST(many_files_get_their_dates_when_asked)
{
    struct seqset all = uid_set("1:*"), one = uid_set("7");
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1234567890}};
    char name[64], path[400];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d.M%dP1.h,S=17,W=%d:2,", 1700000000 + i, i,
                 i < 150 ? 20 : 99);
        put(name); /* 99: more than can be */
        snprintf(path, sizeof path, "%s/cur/%s", store_dir, name);
        ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    snprintf(path, sizeof path, "%s/cur/1600000000.M1P1.h,S=16,W=19:2,S", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 300);
    ck_assert_int_eq(message_row(v, 7).internal_date, DATE_UNKNOWN);
    ck_assert_uint_eq(message_row(v, 7).crlf_size, 20);
    ck_assert_int_eq(message_row(v, 200).internal_date, 1234567890); /* it was looked at */
    ck_assert_uint_eq(message_row(v, 200).crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_str_eq(message_row(v, 7).name, "1700000006.M6P1.h,S=17,W=20:2,");
    ck_assert_int_eq(store_flags(v, "7", STORE_ADD, MSG_SEEN), 0);
    ck_assert_int_eq(view_read(v, &one, &it, WANT_DATE, b), 0);
    ck_assert_int_eq(b->items[0].m.internal_date, 1234567890);
    times[1].tv_sec = 1500000000;
    snprintf(path, sizeof path, "%s/cur/1700000006.M6P1.h,S=17,W=20:2,S", store_dir);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    it = (struct seqset_iter){0, 0};
    ck_assert_int_eq(view_read(v, &all, &it, WANT_DATE | WANT_CRLF_SIZE, b), 0);
    ck_assert_uint_eq(b->count, VIEW_BATCH);
    for (size_t i = 0; i < b->count; i++)
        ck_assert_int_eq(b->items[i].m.internal_date, 1234567890);
    ck_assert_uint_eq(b->items[199].m.crlf_size, 20);
    ck_assert_int_eq(message_row(v, 8).internal_date, 1234567890); /* it was kept */
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    seqset_free(&all);
    seqset_free(&one);
    view_batch_free(&b);
}
END_TEST

START_TEST(keywords_of_letters)
{
    neighbour_put(store_dir, "cur/..", "dovecot-keywords", "0 $Forwarded\n3 Later\n");
    put("1.a:2,Sad");
    put("2.b:2,b");
    open_inbox(0);
    ck_assert_str_eq(view_info(v)->keywords[0], "$Forwarded");
    ck_assert_str_eq(view_info(v)->keywords[1], "unknown-b");
    ck_assert_ptr_null(view_info(v)->keywords[2]);
    ck_assert_str_eq(view_info(v)->keywords[3], "Later");
    ck_assert_uint_eq(message_row(v, 1).keywords, 9);
    ck_assert_uint_eq(message_row(v, 2).keywords, 2);
}
END_TEST

/* More changes than fit in one transaction. */
START_TEST(many_messages_are_taken_in_pieces)
{
    char name[64];
    int i;

    a->scan_piece = 1500;
    for (i = 0; i < 4000; i++) {
        snprintf(name, sizeof name, "%d.x:2,%s", 1000 + i, i % 2 ? "S" : "");
        put(name);
    }
    open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 4000);
    ck_assert_uint_eq(view_info(v)->uidnext, 4001);
    ck_assert_uint_eq(view_info(v)->first_unseen, 1);
    ck_assert_int_eq(store_flags(v, "1:*", STORE_ADD, MSG_DELETED), 0);
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), 0);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
}
END_TEST

static void
count_asked(const char *step)
{
    syncs += strcmp(step, "index:synced") == 0;
}

/* Rule 7: others take the UIDs of a scan that failed for good ones. */
START_TEST(pieces_of_a_scan_that_fails_are_synced)
{
    struct index_mailbox row;
    char name[64];
    int i;

    open_inbox(0);
    view_close(&v);
    ck_assert_int_eq(account_lock(a), 0);
    ck_assert_int_eq(index_mailbox_get(a->ix, "INBOX", &row), 0);
    row.uidnext = UINT32_MAX - 15;
    ck_assert_int_eq(index_begin(a->ix), 0);
    ck_assert_int_eq(index_mailbox_put(a->ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(a->ix, true), 0);
    account_unlock(a);
    for (i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "%d.x:2,", 1000 + i);
        put(name);
    }
    a->scan_piece = 10;
    syncs = 0;
    sys_hooks.step = count_asked;
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), ERR_LIMIT);
    ck_assert_int_eq(syncs, 1);
    ck_assert_int_eq(account_lock(a), 0);
    ck_assert_int_eq(index_mailbox_get(a->ix, "INBOX", &row), 0);
    ck_assert_uint_eq(row.uidnext, UINT32_MAX - 5);
    account_unlock(a);
}
END_TEST

static void
random_name(char *name, size_t size, int id, unsigned *seed)
{
    static const char letters[] = "DFPRST";
    size_t n = (size_t)snprintf(name, size, "cur/%d.neighbour:2,", id), i;

    for (i = 0; i < 6; i++) {
        if (rand_r(seed) % 3 == 0)
            name[n++] = letters[i];
    }
    name[n] = '\0';
}

/* A program that renames, removes and delivers as fast as it can. File names and contents both
   say which message it is. Never touches what it didn't make. */
static void
be_hostile(int milliseconds)
{
    struct {
        bool there;
        char name[80];
    } files[60];
    char name[80], text[64];
    unsigned seed = (unsigned)getpid();
    int64_t end = sys_monotonic_ms() + milliseconds;
    int next = 1, i;
    char from[800], to[800];
    FILE *f;

    memset(files, 0, sizeof files);
    while (sys_monotonic_ms() < end) {
        i = rand_r(&seed) % 60;
        if (!files[i].there) {
            snprintf(files[i].name, sizeof files[i].name, "new/%d.neighbour", next);
            snprintf(text, sizeof text, "id %d.neighbour\n", next++);
            snprintf(from, sizeof from, "%s/%s", store_dir, files[i].name);
            f = fopen(from, "w");
            if (f == NULL)
                _exit(3);
            fputs(text, f);
            fclose(f);
            files[i].there = true;
            continue;
        }
        /* it may have been moved to cur/, or given other flags: then it's given up */
        random_name(name, sizeof name, atoi(files[i].name + 4), &seed);
        snprintf(from, sizeof from, "%s/%s", store_dir, files[i].name);
        snprintf(to, sizeof to, "%s/%s", store_dir, name);
        if (rand_r(&seed) % 4 == 0) {
            unlink(from);
            files[i].there = false;
        } else if (rename(from, to) == 0) {
            snprintf(files[i].name, sizeof files[i].name, "%s", name);
        } else {
            files[i].there = false;
        }
        if (rand_r(&seed) % 8 == 0)
            usleep(500);
    }
}

/* Remembers which message a UID is; it must never become another. */
static void
check_identity(char (*known)[32], uint32_t uid, const char *text)
{
    char id[32];

    if (sscanf(text, "id %31s", id) != 1 || uid >= 200000)
        return;
    if (known[uid][0] == '\0')
        snprintf(known[uid], 32, "%s", id);
    ck_assert_msg(strcmp(known[uid], id) == 0, "UID %u was %s, is %s now", uid, known[uid], id);
}

static void
read_some(char (*known)[32], unsigned *seed)
{
    uint32_t uid;
    int i;

    for (i = 0; i < 5 && view_info(v)->exists > 0; i++) {
        struct view_batch *b = view_batch_new();
        struct seqset_iter it = {0, 0};
        struct message *m;
        struct seqset s;
        char block[64];
        ssize_t n;

        uid = view_uid(v, (uint32_t)rand_r(seed) % view_info(v)->exists + 1);
        seqset_init(&s);
        seqset_add(&s, uid, uid);
        ck_assert_int_eq(view_read(v, &s, &it, 0, b), 0);
        if (b->count == 1 && !b->items[0].gone &&
            view_message_open(v, &b->items[0].m, &m) == 0) {
            struct source *src = message_source(m, 0, 63);

            n = src->read(src, block, 63);
            block[n > 0 ? n : 0] = '\0';
            if (n > 0)
                check_identity(known, uid, block);
            message_close(&m);
        }
        view_batch_free(&b);
        seqset_free(&s);
    }
}

START_TEST(hostile_neighbour)
{
    char(*known)[32] = calloc(200000, 32), set[64];
    unsigned seed = 7;
    int64_t end;
    int status, err;
    pid_t pid = fork();

    ck_assert_ptr_nonnull(known);
    if (pid == 0) {
        be_hostile(2500);
        _exit(0);
    }
    open_inbox(0);
    end = sys_monotonic_ms() + 2500;
    while (sys_monotonic_ms() < end) {
        sync_quietly(v);
        read_some(known, &seed);
        if (view_info(v)->exists > 0) {
            snprintf(set, sizeof set, "%u",
                     view_uid(v, (uint32_t)rand_r(&seed) % view_info(v)->exists + 1));
            err = store_flags(v, set, (enum store_op)(rand_r(&seed) % 3), MSG_FLAGGED);
            ck_assert_msg(err == 0 || err == ERR_TEMP, "STORE: %d", err);
            if (rand_r(&seed) % 10 == 0) {
                struct seqset s = uid_set(set);

                ck_assert_int_eq(view_expunge(v, &s, true, NULL), 0);
                seqset_free(&s);
            }
        }
        store_append(a, "INBOX", "Subject: mine\r\n\r\nx\r\n", 0, NULL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    settle();
    clock_offset = 10;
    sys_hooks.now = shifted_clock; /* for the audit */
    sync_quietly(v);
    sync_quietly(v);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(view_info(v)->exists,
                      (unsigned)(files_in(store_dir, "cur") + files_in(store_dir, "new")));
    ck_assert_ptr_null(strchr(view_text(v), '-'));
    free(known);
}
END_TEST

/* One of several processes of ours at work in one Maildir. */
static void
be_session(int number, int rounds)
{
    unsigned seed = (unsigned)number;
    struct account *mine = store_open();
    struct view_changes c;
    struct view *w;
    char set[32];
    uint32_t uid;
    int i, err;

    if (view_open(mine, "INBOX", 0, &w) != 0)
        _exit(10);
    for (i = 0; i < rounds; i++) {
        struct flag_set flags = {.flags = MSG_SEEN << (rand_r(&seed) % 5)};
        struct seqset s;

        err = view_sync(w, true, &c);
        if (err != 0)
            _exit(11);
        view_changes_free(&c);
        if (view_info(w)->exists < 20) {
            struct append *ap;
            uint32_t uidvalidity;

            if (append_begin(mine, "INBOX", &ap) != 0 ||
                append_add(ap, text_source("a\r\n\r\nb\r\n", 8), &flags, 5) != 0 ||
                append_commit(&ap, &uidvalidity, &uid) != 0)
                _exit(12);
            continue;
        }
        uid = view_uid(w, (uint32_t)rand_r(&seed) % view_info(w)->exists + 1);
        snprintf(set, sizeof set, "%u", uid);
        seqset_init(&s);
        seqset_add(&s, uid, uid + 3);
        if (rand_r(&seed) % 5 == 0)
            err = view_expunge(w, &s, true, NULL);
        else
            err = view_store(w, &s, (enum store_op)(rand_r(&seed) % 3), &flags, UINT64_MAX,
                             NULL, NULL, NULL);
        seqset_free(&s);
        if (err != 0)
            _exit(13);
    }
    view_close(&w);
    account_close(&mine);
    _exit(0);
}

START_TEST(several_processes_agree)
{
    int i, status;
    pid_t pids[3];

    account_close(&a);
    for (i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            be_session(i, 300);
    }
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_msg(status == 0, "status %x", status);
    }
    a = store_open();
    open_inbox(0);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(view_info(v)->exists, (unsigned)files_in(store_dir, "cur"));
}
END_TEST

/* Timings for a large mailbox: MANSIO_TEST_LARGE=200000. */
static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

START_TEST(large_mailbox)
{
    int count = atoi(getenv("MANSIO_TEST_LARGE")), i;
    struct seqset s = uid_set("1:2000"), src, dst;
    char name[128];
    uint32_t uidvalidity;
    bool gone;
    double t;

    for (i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%d.M%dP77.host.example.org,S=16,W=19:2,%s",
                 1600000000 + i / 3, i, i < count - 100 ? "S" : "");
        put(name);
    }
    settle();
    t = now_ms();
    open_inbox(0);
    printf("first index of %d: %.0f ms\n", count, now_ms() - t);
    ck_assert_uint_eq(view_info(v)->exists, (unsigned)count);
    settle();
    open_inbox(0);
    t = now_ms();
    open_inbox(0);
    printf("view_open: %.3f ms\n", now_ms() - t);
    t = now_ms();
    view_uid(v, 1);
    printf("UIDs: %.3f ms\n", now_ms() - t);
    t = now_ms();
    ck_assert_int_eq(store_flags(v, "1:5000", STORE_ADD, MSG_FLAGGED), 0);
    printf("STORE of 5000: %.1f ms\n", now_ms() - t);
    t = now_ms();
    ck_assert_int_eq(store_flags(v, "7", STORE_ADD, MSG_DRAFT), 0);
    printf("STORE of 1: %.3f ms\n", now_ms() - t);
    ck_assert_int_eq(folder_create(a, "Copy", 0), 0);
    seqset_init(&src);
    seqset_init(&dst);
    t = now_ms();
    ck_assert_int_eq(view_copy(v, &s, "Copy", false, &uidvalidity, &src, &dst, &gone), 0);
    printf("COPY of 2000: %.1f ms\n", now_ms() - t);
    neighbour_put(store_dir, "cur", "9999999999.x:2,", "x");
    t = now_ms();
    sync_quietly(v);
    printf("full scan: %.1f ms\n", now_ms() - t);
    t = now_ms();
    for (i = 0; i < 100; i++)
        store_append(a, "INBOX", "Subject: x\r\n\r\ny\r\n", 0, NULL);
    printf("append: %.3f ms\n", (now_ms() - t) / 100);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("scan");
    TCase *t = tcase_create("scan");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 900);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, new_mail_gets_uids_in_order_of_delivery);
    tcase_add_test(t, examine_leaves_mail_in_new);
    tcase_add_test(t, neighbour_takes_mail_out_of_new);
    tcase_add_test(t, changes_in_cur_are_seen_at_the_next_sync);
    tcase_add_test(t, change_within_one_second_is_seen);
    tcase_add_test(t, tick_of_the_own_clock_is_short);
    tcase_add_test(t, looking_again_writes_nothing);
    tcase_add_test(t, change_covered_by_our_own_is_found_by_the_audit);
    tcase_add_test(t, recovery_has_everything_scanned_again);
    tcase_add_test(t, clock_set_back_does_not_stop_scanning);
    tcase_add_test(t, future_mtimes_do_not_stop_scanning);
    tcase_add_test(t, odd_names_hide_nothing);
    tcase_add_test(t, twins_are_both_kept);
    tcase_add_loop_test(t, twin_of_a_known_message_takes_nothing, 0, 2);
    tcase_add_test(t, names_made_to_collide_are_different);
    tcase_add_test(t, one_file_under_two_names_is_one_message);
    tcase_add_test(t, second_name_left_behind_goes_at_last);
    tcase_add_test(t, table_with_names_in_a_file);
    tcase_add_test(t, lost_index_is_made_anew);
    tcase_add_test(t, many_files_get_their_dates_when_asked);
    tcase_add_test(t, keywords_of_letters);
    tcase_add_test(t, many_messages_are_taken_in_pieces);
    tcase_add_test(t, pieces_of_a_scan_that_fails_are_synced);
    tcase_add_test(t, hostile_neighbour);
    tcase_add_test(t, several_processes_agree);
    if (getenv("MANSIO_TEST_LARGE") != NULL)
        tcase_add_test(t, large_mailbox);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
