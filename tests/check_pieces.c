/*
 * STORE and EXPUNGE of many messages (store/view_store.c, store/view_expunge.c): in which order
 * files, directory and index are worked on, and what an error in between leaves.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store_test.h"

/* One piece, and more rows than the page cache of the index holds: it is synced in between. */
#define MANY       4000
#define TWO_PIECES 4600

static struct account *a;
static struct view *v;

/* What happened in what order. */
static struct {
    unsigned files;        /* renamed or unlinked */
    bool all;              /* the step behind the last one was seen */
    unsigned early, late;  /* syncs between the first and the last file, and after it */
    bool first_is_dir;     /* the first of the late ones is of cur/ */
    unsigned synced_first; /* late syncs before the directory was said to be synced */
} seen;

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
    memset(&seen, 0, sizeof seen);
    store_setup();
    a = store_open();
}

static void
teardown(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    log_hook = NULL;
    view_close(&v);
    account_close(&a);
    store_teardown();
}

/* Links to one file: making so many took ext4 seconds. */
static void
open_with(unsigned count)
{
    char first[400], path[400];

    neighbour_put(store_dir, "tmp", "text", "x\r\n");
    snprintf(first, sizeof first, "%s/tmp/text", store_dir);
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/cur/%u.M%uP1.pieces,S=3,W=4:2,S", store_dir,
                 1700000000 + i, i);
        ck_assert_int_eq(link(first, path), 0);
    }
    ck_assert_int_eq(unlink(first), 0);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_uint_eq(view_info(v)->exists, count);
}

static void
check_index_agrees(unsigned count)
{
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    ck_assert_int_eq(files_in(store_dir, "cur"), (int)count);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, count);
}

/* How many names in cur/ end so. */
static int
names_with(const char *info)
{
    char command[400];
    FILE *p;
    int n = -1;

    snprintf(command, sizeof command, "ls %s/cur | grep -c ':2,%s$'", store_dir, info);
    p = popen(command, "r");
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static void
watch_step(const char *name)
{
    if (strcmp(name, "store:renamed") == 0 || strcmp(name, "expunge:unlinked") == 0) {
        seen.files++;
        seen.early += seen.late; /* those weren't late after all */
        seen.late = 0;
        seen.all = false;
    } else if (strcmp(name, "store:all-renamed") == 0) {
        seen.all = true;
    } else if (strcmp(name, "expunge:dir-synced") == 0) {
        seen.all = true;
        seen.synced_first = seen.late;
    }
}

static int
watch_sync(int fd)
{
    struct stat st, cur;
    char path[400];

    if (seen.files == 0)
        return 0;
    if (seen.late++ > 0)
        return 0;
    snprintf(path, sizeof path, "%s/cur", store_dir);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(stat(path, &cur), 0);
    seen.first_is_dir = st.st_ino == cur.st_ino && st.st_dev == cur.st_dev;
    return 0;
}

/* On a file system with a journal, a sync between two renames waits for all before. */
START_TEST(store_syncs_nothing_between_two_renames)
{
    open_with(MANY);
    sys_hooks.step = watch_step;
    sys_hooks.fsync = watch_sync;
    ck_assert_int_eq(store_flags(v, "1:*", STORE_ADD, MSG_FLAGGED), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_uint_eq(seen.files, MANY);
    ck_assert(seen.all);
    ck_assert_uint_eq(seen.early, 0);
    ck_assert_uint_gt(seen.late, 0); /* or MANY is too few to show anything */
    ck_assert_int_eq(names_with("FS"), MANY);
    check_index_agrees(MANY);
}
END_TEST

/* Invariant 5, and the crash rule of view_expunge.c: names are gone from the disk before any
   row can be. */
START_TEST(expunge_syncs_the_directory_before_all_else)
{
    open_with(MANY);
    ck_assert_int_eq(store_flags(v, "101:*", STORE_ADD, MSG_DELETED), 0);
    sys_hooks.step = watch_step;
    sys_hooks.fsync = watch_sync;
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_uint_eq(seen.files, MANY - 100);
    ck_assert(seen.all);
    ck_assert_uint_eq(seen.early, 0);
    ck_assert(seen.first_is_dir);
    ck_assert_uint_eq(seen.synced_first, 1);
    ck_assert_uint_gt(seen.late, 1); /* the commit of the rows at least */
    check_index_agrees(100);
}
END_TEST

static struct rlimit file_limit;

static void
no_writing_when_all_is_renamed(const char *name)
{
    struct rlimit none = {.rlim_cur = 0, .rlim_max = file_limit.rlim_max};

    if (strcmp(name, "store:all-renamed") != 0)
        return;
    seen.all = true;
    ck_assert_int_eq(names_with("FS"), MANY);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
}

/* The rows can't be written: the names go back. */
START_TEST(store_without_rows_takes_the_names_back)
{
    open_with(MANY);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &file_limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    log_hook = ignore_log;
    sys_hooks.step = no_writing_when_all_is_renamed;
    ck_assert_int_eq(store_flags(v, "1:*", STORE_ADD, MSG_FLAGGED), ERR_NOSPACE);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &file_limit), 0);
    ck_assert(seen.all);
    ck_assert_int_eq(names_with("S"), MANY);
    check_index_agrees(MANY);
    ck_assert_uint_eq(message_row(v, MANY / 2).flags, MSG_SEEN);
    ck_assert_int_eq(store_flags(v, "1:*", STORE_ADD, MSG_FLAGGED), 0);
    check_index_agrees(MANY);
    ck_assert_int_eq(names_with("FS"), MANY);
}
END_TEST

/* Puts a directory in the place of the fourth message's file. */
static void
spoil_the_fourth(const char *name)
{
    char path[800];

    if (strcmp(name, "expunge:unlinked") != 0 || ++seen.files != 2)
        return;
    snprintf(path, sizeof path, "%s/cur/%s", store_dir, name_in_cur(store_dir, "1700000003."));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* A file that can't be removed: the messages before it are expunged, the others stay. */
START_TEST(expunge_that_fails_keeps_the_rest)
{
    struct seqset expunged, all = uid_set("1:*");
    char path[800];

    seqset_init(&expunged);
    open_with(6);
    log_hook = ignore_log;
    sys_hooks.step = spoil_the_fourth;
    ck_assert_int_lt(view_expunge(v, &all, true, &expunged), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_uint_eq(seen.files, 3);
    ck_assert_uint_eq(seqset_size(&expunged), 3);
    ck_assert(seqset_has(&expunged, 3));
    ck_assert_int_eq(files_in(store_dir, "cur"), 3);
    snprintf(path, sizeof path, "%s/cur/%s", store_dir, name_in_cur(store_dir, "1700000003."));
    ck_assert_int_eq(rmdir(path), 0);
    settle();
    sync_quietly(v);
    ck_assert_str_eq(view_text(v), "5S 6S");
    check_index_agrees(2);
    seqset_free(&expunged);
    seqset_free(&all);
}
END_TEST

/* Keywords without a letter are only in the row: a STORE of them renames nothing, and one file
   in between keeps its name among others that change theirs. */
START_TEST(store_of_rows_and_files_mixed)
{
    const char *const no_letters[] = {"k0",  "k1",  "k2",  "k3",  "k4",  "k5",  "k6",
                                      "k7",  "k8",  "k9",  "k10", "k11", "k12", "k13",
                                      "k14", "k15", "k16", "k17", "k18", "k19", "k20",
                                      "k21", "k22", "k23", "k24", "k25", "k26", "k27"};
    struct flag_set keywords = {.keywords = no_letters, .keywords_count = 28};
    struct flag_set last = {.keywords = no_letters + 27, .keywords_count = 1};
    struct seqset s = uid_set("1:5"), changed;
    uint64_t bit = UINT64_C(1) << 27;

    open_with(5);
    seqset_init(&changed);
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &keywords, UINT64_MAX, NULL, NULL, NULL), 0);
    ck_assert_int_eq(view_store(v, &s, STORE_REMOVE, &keywords, UINT64_MAX, NULL, NULL, NULL),
                     0);
    ck_assert_int_eq(names_with("S"), 5);
    ck_assert_int_eq(store_flags(v, "2,4", STORE_ADD, MSG_FLAGGED), 0);
    last.flags = MSG_FLAGGED;
    sys_hooks.step = watch_step;
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &last, UINT64_MAX, &changed, NULL, NULL), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_uint_eq(seen.files, 3);
    ck_assert_uint_eq(seqset_size(&changed), 5);
    for (uint32_t uid = 1; uid <= 5; uid++) {
        ck_assert_uint_eq(message_row(v, uid).flags, MSG_FLAGGED | MSG_SEEN);
        ck_assert((message_row(v, uid).keywords & bit) != 0);
    }
    ck_assert_int_eq(names_with("FS"), 5);
    check_index_agrees(5);
    seqset_free(&changed);
    seqset_free(&s);
}
END_TEST

static struct {
    unsigned calls;
    uint32_t last;
    size_t told;
} heard;

/* Who is told may do what takes the lock, and finds stored what he's told. */
static void
hear(void *ctx, const struct view_stored *stored, size_t count)
{
    heard.calls++;
    sync_quietly(ctx);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_gt(stored[i].uid, heard.last);
        ck_assert_uint_eq(stored[i].flags, MSG_FLAGGED | MSG_SEEN);
        heard.last = stored[i].uid;
    }
    heard.told += count;
    ck_assert_uint_eq(message_row(v, heard.last).flags, MSG_FLAGGED | MSG_SEEN);
    if (heard.calls == 1) {
        ck_assert_uint_eq(message_row(v, TWO_PIECES).flags, MSG_SEEN);
        neighbour_remove(store_dir, "cur/1700004599.M4599P1.pieces,S=3,W=4:2,S");
    }
}

/* What the client is told comes piece by piece, also of messages that had the flags; and not of
   one that another program removed meanwhile. */
START_TEST(store_tells_piece_by_piece)
{
    struct flag_set flagged = {.flags = MSG_FLAGGED};
    struct seqset s = uid_set("1:*"), gone;

    seqset_init(&gone);
    memset(&heard, 0, sizeof heard);
    open_with(TWO_PIECES);
    ck_assert_int_eq(store_flags(v, "3,4", STORE_ADD, MSG_FLAGGED), 0);
    ck_assert_int_eq(view_store_tell(v, &s, STORE_ADD, &flagged, hear, v, &gone), 0);
    ck_assert_uint_eq(heard.calls, 2);
    ck_assert_uint_eq(heard.told, TWO_PIECES - 1);
    ck_assert_uint_eq(heard.last, TWO_PIECES - 1);
    check_index_agrees(TWO_PIECES - 1);
    seqset_free(&gone);
    seqset_free(&s);
}
END_TEST

/* A STORE that fails tells nothing of the piece that it took back. */
START_TEST(store_that_fails_tells_nothing)
{
    struct flag_set flagged = {.flags = MSG_FLAGGED};
    struct seqset s = uid_set("1:*"), gone;

    seqset_init(&gone);
    memset(&heard, 0, sizeof heard);
    open_with(MANY);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &file_limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    log_hook = ignore_log;
    sys_hooks.step = no_writing_when_all_is_renamed;
    ck_assert_int_eq(view_store_tell(v, &s, STORE_ADD, &flagged, hear, v, &gone), ERR_NOSPACE);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &file_limit), 0);
    ck_assert_uint_eq(heard.calls, 0);
    check_index_agrees(MANY);
    seqset_free(&gone);
    seqset_free(&s);
}
END_TEST

static void
flag_the_second(const char *name)
{
    if (strcmp(name, "store:renamed") == 0 && seen.files++ == 0)
        neighbour_rename(store_dir, "cur/1700000001.M1P1.pieces,S=3,W=4:2,S",
                         "cur/1700000001.M1P1.pieces,S=3,W=4:2,FS");
}

/* Another program's flag that is found on the way isn't the session's own: it's told, also to
   who wants no answer. */
START_TEST(store_meets_a_flag_of_others)
{
    struct view_changes c;

    open_with(3);
    settle();
    sync_quietly(v);
    sys_hooks.step = flag_the_second;
    ck_assert_int_eq(store_flags(v, "1:3", STORE_ADD, MSG_ANSWERED), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_int_eq(names_with("FRS"), 1);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert(seqset_has(&c.flags, 2));
    ck_assert_uint_eq(seqset_size(&c.flags), 1);
    ck_assert_uint_eq(message_row(v, 2).flags, MSG_FLAGGED | MSG_ANSWERED | MSG_SEEN);
    view_changes_free(&c);
    check_index_agrees(3);
}
END_TEST

static void
take_the_second_back(const char *name)
{
    if (strcmp(name, "expunge:unlinked") == 0 && seen.files++ == 0)
        neighbour_rename(store_dir, "cur/1700000001.M1P1.pieces,S=3,W=4:2,ST",
                         "cur/1700000001.M1P1.pieces,S=3,W=4:2,FS");
}

/* Another program takes \Deleted away in the middle: that message stays. */
START_TEST(expunge_spares_what_is_no_longer_deleted)
{
    open_with(4);
    ck_assert_int_eq(store_flags(v, "1:3", STORE_ADD, MSG_DELETED), 0);
    sys_hooks.step = take_the_second_back;
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    sync_quietly(v);
    ck_assert_str_eq(view_text(v), "2FS 4S");
    check_index_agrees(2);
}
END_TEST

static int
count_syncs(int fd)
{
    (void)fd;
    seen.late++;
    return 0;
}

/* A piece without a message to expunge isn't waited for. */
START_TEST(expunge_syncs_only_what_it_did)
{
    open_with(TWO_PIECES);
    ck_assert_int_eq(store_flags(v, "4600", STORE_ADD, MSG_DELETED), 0);
    settle();
    sync_quietly(v);
    sys_hooks.fsync = count_syncs;
    ck_assert_int_eq(view_expunge(v, NULL, false, NULL), 0);
    memset(&sys_hooks, 0, sizeof sys_hooks);
    ck_assert_uint_eq(seen.late, 2); /* cur/ and the log */
    check_index_agrees(TWO_PIECES - 1);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("pieces");
    TCase *t = tcase_create("pieces");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, store_syncs_nothing_between_two_renames);
    tcase_add_test(t, expunge_syncs_the_directory_before_all_else);
    tcase_add_test(t, store_without_rows_takes_the_names_back);
    tcase_add_test(t, expunge_that_fails_keeps_the_rest);
    tcase_add_test(t, store_of_rows_and_files_mixed);
    tcase_add_test(t, store_tells_piece_by_piece);
    tcase_add_test(t, store_that_fails_tells_nothing);
    tcase_add_test(t, store_meets_a_flag_of_others);
    tcase_add_test(t, expunge_spares_what_is_no_longer_deleted);
    tcase_add_test(t, expunge_syncs_only_what_it_did);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
