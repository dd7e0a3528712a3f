/*
 * store/view: what a client believes, under the changes of other sessions and programs.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "store_test.h"

static struct account *a;

static void
setup(void)
{
    store_setup();
    a = store_open();
}

static void
teardown(void)
{
    account_close(&a);
    store_teardown();
}

static struct view *
open_inbox(unsigned flags)
{
    struct view *v;

    ck_assert_int_eq(view_open(a, "INBOX", flags, &v), 0);
    return v;
}

START_TEST(select_of_an_empty_inbox)
{
    struct view *v = open_inbox(0);

    ck_assert_uint_eq(view_info(v)->exists, 0);
    ck_assert_uint_eq(view_info(v)->recent, 0);
    ck_assert_uint_eq(view_info(v)->uidnext, 1);
    ck_assert_uint_ne(view_info(v)->uidvalidity, 0);
    ck_assert_uint_eq(view_info(v)->first_unseen, 0);
    ck_assert_uint_eq(view_uid(v, 1), 0);
    view_close(&v);
}
END_TEST

START_TEST(append_store_expunge)
{
    struct view *v;
    struct view_changes c;
    struct seqset s;
    size_t len;
    char *text;

    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: a\r\n\r\none\r\n", 0, NULL), 1);
    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: b\r\n\r\ntwo\r\n", MSG_SEEN, NULL), 2);
    ck_assert_uint_eq(store_append(a, "INBOX", "Subject: c\r\n\r\nthree\r\n", 0, NULL), 3);
    v = open_inbox(0);
    ck_assert_uint_eq(view_info(v)->exists, 3);
    ck_assert_uint_eq(view_info(v)->recent, 3);
    ck_assert_uint_eq(view_info(v)->first_unseen, 1);
    ck_assert_str_eq(view_text(v), "1 2S 3");
    text = message_text(v, 2, &len);
    ck_assert_str_eq(text, "Subject: b\r\n\r\ntwo\r\n");
    free(text);
    ck_assert_int_eq(store_flags(v, "1:2", STORE_ADD, MSG_DELETED), 0);
    ck_assert_str_eq(view_text(v), "1T 2ST 3");
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.flags.count, 0); /* its own changes aren't echoed */
    view_changes_free(&c);
    seqset_init(&s);
    ck_assert_int_eq(view_expunge(v, NULL, false, &s), 0);
    ck_assert_uint_eq(seqset_size(&s), 2);
    ck_assert_int_eq(files_in(store_dir, "cur"), 1);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 2);
    ck_assert_uint_eq(c.expunged[0], 1);
    ck_assert_uint_eq(c.expunged[1], 1);
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "3");
    ck_assert_uint_eq(view_info(v)->exists, 1);
    seqset_free(&s);
    view_close(&v);
}
END_TEST

/* A second session of the same user. */
static struct account *other;
static struct view *w;

static void
open_two(struct view **v)
{
    other = store_open();
    *v = open_inbox(0);
    ck_assert_int_eq(view_open(other, "INBOX", 0, &w), 0);
}

static void
close_two(struct view **v)
{
    view_close(&w);
    view_close(v);
    account_close(&other);
}

static void
append_some(int count)
{
    int i;

    for (i = 0; i < count; i++)
        store_append(a, "INBOX", "Subject: x\r\n\r\nbody\r\n", 0, NULL);
}

static void
expunge(struct view *v, const char *uids)
{
    struct seqset s = uid_set(uids);

    ck_assert_int_eq(view_expunge(v, &s, true, NULL), 0);
    seqset_free(&s);
}

/* RFC 3501 7.4.1: numbers stay until the session may be told. */
START_TEST(expunged_messages_keep_their_numbers)
{
    struct view_changes c;
    struct view *v;

    append_some(5);
    open_two(&v);
    expunge(w, "2,4");
    ck_assert_uint_eq(view_uid(v, 4), 4);
    ck_assert_str_eq(view_text(v), "1 2- 3 4- 5");
    ck_assert_int_eq(view_sync(v, false, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 0);
    ck_assert(!c.exists_changed);
    view_changes_free(&c);
    ck_assert_uint_eq(view_info(v)->exists, 5);
    append_some(1);
    ck_assert_int_eq(view_sync(v, false, &c), 0);
    ck_assert(c.exists_changed);
    view_changes_free(&c);
    ck_assert_uint_eq(view_info(v)->exists, 6);
    ck_assert_str_eq(view_text(v), "1 2- 3 4- 5 6");
    expunge(w, "1");
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 3);
    ck_assert_uint_eq(c.expunged[0], 1);
    ck_assert_uint_eq(c.expunged[1], 1);
    ck_assert_uint_eq(c.expunged[2], 2);
    ck_assert_uint_eq(c.expunged_uids[2], 4);
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "3 5 6");
    close_two(&v);
}
END_TEST

/* The numbers are asked for after others changed the mailbox: they're those of SELECT. */
START_TEST(numbers_are_loaded_as_of_the_last_sync)
{
    struct view *v;

    append_some(6);
    open_two(&v);
    expunge(w, "1,5");
    append_some(2);
    sync_quietly(w);
    expunge(w, "7");
    ck_assert_uint_eq(view_info(v)->exists, 6);
    ck_assert_uint_eq(view_uid(v, 1), 1);
    ck_assert_uint_eq(view_uid(v, 6), 6);
    ck_assert_uint_eq(view_uid(v, 7), 0);
    ck_assert_uint_eq(view_seq(v, 8), 0);
    ck_assert_str_eq(view_text(v), "1- 2 3 4 5- 6");
    sync_quietly(v);
    ck_assert_str_eq(view_text(v), "2 3 4 6 8");
    ck_assert_uint_eq(view_info(v)->exists, 5);
    close_two(&v);
}
END_TEST

/* The same, with syncs before the numbers are loaded. */
START_TEST(lazy_view_counts_right)
{
    struct view_changes c;
    struct view *v;

    append_some(6);
    open_two(&v);
    expunge(w, "2");
    append_some(1);
    ck_assert_int_eq(view_sync(v, false, &c), 0);
    view_changes_free(&c);
    ck_assert_uint_eq(view_info(v)->exists, 7);
    expunge(w, "3");
    ck_assert_uint_eq(view_uid(v, 2), 2);
    ck_assert_uint_eq(view_uid(v, 7), 7);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.expunged_count, 2);
    ck_assert_uint_eq(c.expunged[0], 2);
    ck_assert_uint_eq(c.expunged[1], 2);
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "1 4 5 6 7");
    close_two(&v);
}
END_TEST

START_TEST(flags_of_another_session_are_reported_once)
{
    struct view_changes c;
    struct view *v;

    append_some(4);
    open_two(&v);
    ck_assert_int_eq(store_flags(w, "2:3", STORE_ADD, MSG_SEEN), 0);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(seqset_size(&c.flags), 2);
    ck_assert(seqset_has(&c.flags, 2) && seqset_has(&c.flags, 3));
    view_changes_free(&c);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(c.flags.count, 0);
    view_changes_free(&c);
    /* not to the one who did it */
    ck_assert_int_eq(view_sync(w, true, &c), 0);
    ck_assert_uint_eq(c.flags.count, 0);
    view_changes_free(&c);
    close_two(&v);
}
END_TEST

/* Our own STORE isn't echoed, but what another session did to the same message is told. */
START_TEST(own_store_does_not_hide_anothers)
{
    struct view_changes c;
    struct view *v;

    append_some(4);
    open_two(&v);
    ck_assert_int_eq(store_flags(w, "2", STORE_ADD, MSG_SEEN), 0);
    ck_assert_int_eq(store_flags(v, "2,3", STORE_ADD, MSG_FLAGGED), 0);
    ck_assert_int_eq(store_flags(v, "4", STORE_ADD, MSG_FLAGGED), 0);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(seqset_size(&c.flags), 1);
    ck_assert(seqset_has(&c.flags, 2));
    view_changes_free(&c);
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_FLAGGED), 0);
    ck_assert_int_eq(store_flags(w, "1", STORE_ADD, MSG_DRAFT), 0);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(seqset_size(&c.flags), 1);
    ck_assert(seqset_has(&c.flags, 1));
    view_changes_free(&c);
    ck_assert_str_eq(view_text(v), "1DF 2FS 3F 4F");
    close_two(&v);
}
END_TEST

/* RFC 3501 2.3.2: one session is told \Recent, the next isn't; EXAMINE takes it from nobody. */
START_TEST(recent_belongs_to_one_session)
{
    struct view_changes c;
    struct view *v, *x;

    append_some(2);
    x = open_inbox(VIEW_READONLY);
    ck_assert_uint_eq(view_info(x)->recent, 2);
    ck_assert(view_info(x)->readonly);
    open_two(&v);
    ck_assert_uint_eq(view_info(v)->recent, 2);
    ck_assert(view_is_recent(v, 1));
    ck_assert_uint_eq(view_info(w)->recent, 0);
    ck_assert(!view_is_recent(w, 1));
    append_some(1);
    ck_assert_int_eq(view_sync(w, true, &c), 0);
    ck_assert(c.recent_changed && c.exists_changed);
    view_changes_free(&c);
    ck_assert_uint_eq(view_info(w)->recent, 1);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->recent, 2);
    ck_assert(!view_is_recent(v, 3));
    expunge(v, "1");
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert_uint_eq(view_info(v)->recent, 1);
    view_changes_free(&c);
    view_close(&x);
    close_two(&v);
}
END_TEST

/* RFC 7162 3.1.3. */
START_TEST(unchanged_since)
{
    struct flag_set set = {.flags = MSG_FLAGGED};
    struct seqset s = uid_set("1:3"), changed, modified, gone;
    uint64_t modseq;
    struct view *v;

    append_some(3);
    open_two(&v);
    modseq = view_info(v)->highestmodseq;
    ck_assert_int_eq(store_flags(w, "2", STORE_ADD, MSG_SEEN), 0);
    expunge(w, "3");
    seqset_init(&changed);
    seqset_init(&modified);
    seqset_init(&gone);
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &set, modseq, &changed, &modified, &gone), 0);
    ck_assert(seqset_size(&changed) == 1 && seqset_has(&changed, 1));
    ck_assert(seqset_size(&modified) == 1 && seqset_has(&modified, 2));
    ck_assert(seqset_size(&gone) == 1 && seqset_has(&gone, 3));
    seqset_free(&s);
    seqset_free(&changed);
    seqset_free(&modified);
    seqset_free(&gone);
    close_two(&v);
}
END_TEST

START_TEST(readonly_refuses)
{
    struct view *v;
    struct seqset s = uid_set("1"), src, dst;
    uint32_t uidvalidity;
    bool gone;

    append_some(1);
    v = open_inbox(VIEW_READONLY);
    seqset_init(&src);
    seqset_init(&dst);
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_SEEN), ERR_READONLY);
    ck_assert_int_eq(view_expunge(v, NULL, true, NULL), ERR_READONLY);
    ck_assert_int_eq(view_copy(v, &s, "INBOX", true, &uidvalidity, &src, &dst, &gone),
                     ERR_READONLY);
    ck_assert_int_eq(view_copy(v, &s, "INBOX", false, &uidvalidity, &src, &dst, &gone), 0);
    ck_assert_int_eq(view_copy(v, &s, "None", false, &uidvalidity, &src, &dst, &gone),
                     ERR_NOENT);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
    view_close(&v);
}
END_TEST

START_TEST(keywords_of_a_client)
{
    const char *names[] = {"Work", "$Label1", "work", "bad(name"};
    struct flag_set set = {.keywords = names, .keywords_count = 3};
    struct seqset s = uid_set("1");
    struct view_changes c;
    char name[16];
    const char *one[] = {name};
    struct view *v;
    int i, err;

    append_some(2);
    open_two(&v);
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &set, UINT64_MAX, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(message_row(v, 1).keywords, 3);
    ck_assert_ptr_nonnull(strstr(message_row(v, 1).name, ":2,ab"));
    ck_assert_int_eq(view_sync(w, true, &c), 0);
    ck_assert(c.keywords_changed);
    ck_assert_uint_eq(view_info(w)->keywords_count, 2);
    ck_assert_str_eq(view_info(w)->keywords[0], "Work");
    view_changes_free(&c);
    set.keywords_count = 4;
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &set, UINT64_MAX, NULL, NULL, NULL),
                     ERR_CANNOT);
    /* more than letters, more than slots */
    set.keywords = one;
    set.keywords_count = 1;
    for (i = 2, err = 0; err == 0 && i < 100; i++) {
        snprintf(name, sizeof name, "k%d", i);
        err = view_store(v, &s, STORE_ADD, &set, UINT64_MAX, NULL, NULL, NULL);
    }
    ck_assert_int_eq(err, ERR_LIMIT);
    ck_assert_int_eq(i, KEYWORDS_MAX + 1);
    ck_assert(message_row(v, 1).keywords == UINT64_MAX);
    sync_quietly(v);
    ck_assert(view_info(v)->keywords_full);
    settle();
    ck_assert_int_eq(mailbox_rebuild(a, "INBOX", NULL, NULL), 0);
    ck_assert(message_row(v, 1).keywords == UINT64_MAX);
    /* what no message has any more makes room */
    set.keywords_count = 0;
    ck_assert_int_eq(view_store(v, &s, STORE_REPLACE, &set, UINT64_MAX, NULL, NULL, NULL), 0);
    set.keywords_count = 1;
    snprintf(name, sizeof name, "fresh");
    ck_assert_int_eq(view_store(v, &s, STORE_ADD, &set, UINT64_MAX, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(message_row(v, 1).keywords, 1);
    ck_assert_int_eq(view_sync(v, true, &c), 0);
    ck_assert(c.keywords_changed);
    ck_assert_str_eq(view_info(v)->keywords[0], "fresh");
    view_changes_free(&c);
    seqset_free(&s);
    close_two(&v);
}
END_TEST

/* Design, section 4: a message whose file is gone is searched once more by its base name. */
START_TEST(renamed_files_are_found)
{
    struct seqset s = uid_set("1:4"), src, dst;
    uint32_t uidvalidity;
    struct message *m;
    struct index_message row;
    bool gone;
    struct view *v;
    int i;

    for (i = 1; i <= 4; i++) {
        char name[32];

        snprintf(name, sizeof name, "%d.n:2,", i);
        neighbour_put(store_dir, "cur", name, "Subject: x\n\nhello\n");
    }
    v = open_inbox(0);
    ck_assert_str_eq(view_text(v), "1 2 3 4");
    row = message_row(v, 1);
    neighbour_rename(store_dir, "cur/1.n:2,", "cur/1.n:2,R");
    ck_assert_int_eq(view_message_open(v, &row, &m), 0);
    message_close(&m);
    neighbour_rename(store_dir, "cur/2.n:2,", "new/2.n");
    neighbour_rename(store_dir, "cur/3.n:2,", "cur/3.n:2,F");
    ck_assert_int_eq(store_flags(v, "2:3", STORE_ADD, MSG_SEEN), 0);
    ck_assert_str_eq(view_text(v), "1R 2S 3FS 4");
    row = message_row(v, 4);
    neighbour_remove(store_dir, "cur/4.n:2,");
    ck_assert_int_eq(view_message_open(v, &row, &m), ERR_GONE);
    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    seqset_init(&src);
    seqset_init(&dst);
    neighbour_rename(store_dir, "cur/1.n:2,R", "cur/1.n:2,");
    ck_assert_int_eq(view_copy(v, &s, "To", true, &uidvalidity, &src, &dst, &gone), 0);
    ck_assert(gone);
    ck_assert_uint_eq(seqset_size(&src), 3);
    ck_assert_uint_eq(seqset_size(&dst), 3);
    sync_quietly(v);
    ck_assert_str_eq(view_text(v), "");
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
    view_close(&v);
}
END_TEST

/* RFC 3501 6.4.7, RFC 4315 3: flags, keywords and dates go along; COPYUID names pairs. */
START_TEST(copy_keeps_what_belongs_to_a_message)
{
    const char *keywords[] = {"Zeta", "Alpha", NULL}, *first[] = {"Alpha", NULL};
    struct seqset s = uid_set("1:2"), src, dst;
    uint32_t uidvalidity;
    struct index_message from, to;
    struct view *v, *t;
    bool gone;
    char *text;
    size_t len;

    ck_assert_int_eq(folder_create(a, "To", 0), 0);
    store_append(a, "To", "x\r\n", 0, first); /* Alpha is another letter there */
    store_append(a, "INBOX", "Subject: x\r\n\r\nbody\r\n", MSG_SEEN | MSG_PASSED, keywords);
    store_append(a, "INBOX", "y\r\n", MSG_DRAFT, NULL);
    v = open_inbox(0);
    seqset_init(&src);
    seqset_init(&dst);
    ck_assert_int_eq(view_copy(v, &s, "To", false, &uidvalidity, &src, &dst, &gone), 0);
    ck_assert(!gone);
    ck_assert(seqset_size(&src) == 2 && seqset_has(&src, 1));
    ck_assert(seqset_size(&dst) == 2 && seqset_has(&dst, 2) && seqset_has(&dst, 3));
    ck_assert_int_eq(view_open(a, "To", 0, &t), 0);
    ck_assert_uint_eq(view_info(t)->uidvalidity, uidvalidity);
    ck_assert_str_eq(view_text(t), "1 2PS 3D");
    from = message_row(v, 1);
    to = message_row(t, 2);
    ck_assert_int_eq(from.internal_date, to.internal_date);
    ck_assert_uint_eq(from.crlf_size, to.crlf_size);
    ck_assert_uint_eq(from.keywords, 3);
    ck_assert_uint_eq(to.keywords, 3);
    ck_assert_str_eq(view_info(t)->keywords[0], "Alpha");
    ck_assert_str_eq(view_info(t)->keywords[1], "Zeta");
    text = message_text(t, 2, &len);
    ck_assert_str_eq(text, "Subject: x\r\n\r\nbody\r\n");
    free(text);
    /* into itself, and a move into itself */
    ck_assert_int_eq(view_copy(t, &s, "To", false, &uidvalidity, &src, &dst, &gone), 0);
    sync_quietly(t);
    ck_assert_str_eq(view_text(t), "1 2PS 3D 4 5PS");
    ck_assert_int_eq(view_copy(t, &s, "To", true, &uidvalidity, &src, &dst, &gone), 0);
    sync_quietly(t);
    ck_assert_str_eq(view_text(t), "3D 4 5PS 6 7PS");
    seqset_free(&s);
    s = uid_set("3:7");
    ck_assert_int_eq(view_copy(t, &s, "INBOX", true, &uidvalidity, &src, &dst, &gone), 0);
    sync_quietly(t);
    ck_assert_uint_eq(view_info(t)->exists, 0);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 7);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    seqset_free(&s);
    seqset_free(&src);
    seqset_free(&dst);
    view_close(&v);
    view_close(&t);
}
END_TEST

/* A view of a mailbox that is no more, or another one of the same name. */
START_TEST(view_of_a_deleted_folder_is_void)
{
    struct view_changes c;
    struct seqset s = uid_set("1");
    struct view *v, *x;

    ck_assert_int_eq(folder_create(a, "F", 0), 0);
    store_append(a, "F", "x\r\n", 0, NULL);
    ck_assert_int_eq(view_open(a, "F", 0, &v), 0);
    ck_assert_int_eq(view_open(a, "F", 0, &x), 0);
    ck_assert_int_eq(folder_delete(a, "F"), 0);
    ck_assert_int_eq(view_sync(v, true, &c), ERR_GONE);
    ck_assert_int_eq(folder_create(a, "F", 0), 0);
    store_append(a, "F", "x\r\n", 0, NULL);
    ck_assert_int_eq(view_sync(v, true, &c), ERR_GONE);
    ck_assert_int_eq(store_flags(x, "1", STORE_ADD, MSG_SEEN), ERR_GONE);
    ck_assert_int_eq(view_expunge(x, &s, true, NULL), ERR_GONE);
    view_close(&x);
    ck_assert_int_eq(view_open(a, "F", 0, &x), 0);
    ck_assert_str_eq(view_text(x), "1");
    seqset_free(&s);
    view_close(&v);
    view_close(&x);
}
END_TEST

START_TEST(view_follows_a_renamed_folder)
{
    struct view *v;

    ck_assert_int_eq(folder_create(a, "F", 0), 0);
    store_append(a, "F", "x\r\n", 0, NULL);
    ck_assert_int_eq(view_open(a, "F", 0, &v), 0);
    ck_assert_int_eq(folder_rename(a, "F", "G"), 0);
    store_append(a, "G", "y\r\n", 0, NULL);
    sync_quietly(v);
    ck_assert_str_eq(view_name(v), "G");
    ck_assert_str_eq(view_text(v), "1 2");
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_SEEN), 0);
    ck_assert_str_eq(view_text(v), "1S 2");
    view_close(&v);
}
END_TEST

static bool
readable(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) == 1;
}

/* RFC 2177: deliveries, other programs' renames, and other sessions' changes wake the watcher.
 */
static void
check_watch(void)
{
    struct view *v;
    char name[300], to[330];
    int fd;

    append_some(1);
    open_two(&v);
    fd = view_watch_begin(v);
    ck_assert_int_ge(fd, 0);
    ck_assert(!readable(fd, 0));
    neighbour_deliver(store_dir, "x");
    ck_assert(readable(fd, 1000));
    view_watch_drain(v);
    sync_quietly(v);
    ck_assert_uint_eq(view_info(v)->exists, 2);
    view_watch_drain(v);
    ck_assert(!readable(fd, 0));
    ck_assert_int_eq(store_flags(w, "1", STORE_ADD, MSG_FLAGGED), 0);
    ck_assert(readable(fd, 1000));
    sync_quietly(v);
    view_watch_drain(v);
    snprintf(name, sizeof name, "cur/%s", name_in_cur(store_dir, "17"));
    snprintf(to, sizeof to, "%sS", name);
    neighbour_rename(store_dir, name, to);
    ck_assert(readable(fd, 1000));
    sync_quietly(v);
    view_watch_drain(v);
    sync_quietly(w);
    view_watch_drain(v);
    expunge(w, "2");
    ck_assert(readable(fd, 1000));
    view_watch_end(v);
    close_two(&v);
}

START_TEST(watch_sees_everything)
{
    check_watch();
}
END_TEST

/* More sessions of one user than inotify has instances for: no difference. */
START_TEST(watch_without_inotify)
{
    int instances[4096], count = 0, i;
    struct view *v;
    sigset_t mask;

    while (count < 4096 && (instances[count] = inotify_init1(IN_CLOEXEC)) >= 0)
        count++;
    if (count == 4096 || errno != EMFILE ||
        dup(0) < 0) { /* no limit here, or descriptors ran out */
        while (count > 0)
            close(instances[--count]);
        return;
    }
    check_watch();
    /* nothing is left of it */
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_int_ge(view_watch_begin(v), 0);
    neighbour_deliver(store_dir, "x");
    view_close(&v);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGIO), 0);
    for (i = 0; i < count; i++)
        close(instances[i]);
}
END_TEST

START_TEST(numbers_and_sets)
{
    struct seqset s, out;
    struct view *v;

    append_some(5);
    v = open_inbox(0);
    expunge(v, "2:3");
    sync_quietly(v);
    ck_assert_uint_eq(view_uid(v, 2), 4);
    ck_assert_uint_eq(view_seq(v, 4), 2);
    ck_assert_uint_eq(view_seq(v, 3), 0);
    ck_assert_uint_eq(view_uid(v, 0), 0);
    ck_assert_uint_eq(view_uid(v, 4), 0);
    seqset_init(&out);
    s = uid_set("2:3");
    ck_assert_int_eq(view_seqs_to_uids(v, &s, &out), 0);
    ck_assert(seqset_size(&out) == 2 && seqset_has(&out, 4) && seqset_has(&out, 5));
    seqset_free(&s);
    s = uid_set("2:4");
    ck_assert_int_eq(view_seqs_to_uids(v, &s, &out), ERR_RANGE);
    seqset_free(&s);
    s = uid_set("1:*");
    ck_assert_int_eq(view_known_uids(v, &s, &out), 0);
    ck_assert(seqset_size(&out) == 3 && seqset_has(&out, 1) && seqset_has(&out, 5));
    seqset_free(&s);
    seqset_free(&out);
    view_close(&v);
}
END_TEST

/* More than a batch, sparse and dense. */
START_TEST(batches)
{
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct seqset s;
    char name[32];
    uint32_t expected = 1;
    struct view *v;
    size_t i;
    int n;

    for (n = 1; n <= 1000; n++) {
        snprintf(name, sizeof name, "%d.n:2,", n);
        neighbour_put(store_dir, "cur", name, "x\n");
    }
    v = open_inbox(0);
    s = uid_set("1:*");
    for (;;) {
        ck_assert_int_eq(view_read(v, &s, &it, 0, b), 0);
        if (b->count == 0)
            break;
        for (i = 0; i < b->count; i++, expected++) {
            ck_assert_uint_eq(b->items[i].m.uid, expected);
            ck_assert_uint_eq(b->items[i].seq, expected);
            ck_assert(!b->items[i].gone);
        }
    }
    ck_assert_uint_eq(expected, 1001);
    seqset_free(&s);
    seqset_init(&s);
    for (n = 3; n <= 1000; n += 3)
        seqset_add(&s, (uint32_t)n, (uint32_t)n);
    memset(&it, 0, sizeof it);
    expected = 3;
    for (;;) {
        ck_assert_int_eq(view_read(v, &s, &it, WANT_CRLF_SIZE, b), 0);
        if (b->count == 0)
            break;
        for (i = 0; i < b->count; i++, expected += 3) {
            ck_assert_uint_eq(b->items[i].m.uid, expected);
            ck_assert_uint_eq(b->items[i].m.crlf_size, 3);
        }
    }
    ck_assert_uint_eq(expected, 1002);
    ck_assert_uint_eq(message_row(v, 3).crlf_size, 3); /* stored */
    ck_assert(message_row(v, 4).crlf_size == MDNAME_SIZE_UNKNOWN);
    seqset_free(&s);
    view_batch_free(&b);
    view_close(&v);
}
END_TEST

START_TEST(cache_of_a_message)
{
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct seqset s = uid_set("1:2");
    const char *p;
    struct view *v;
    size_t len;

    append_some(2);
    v = open_inbox(0);
    view_cache_put(v, 1, CACHE_ENVELOPE, "(env)", 5);
    view_cache_put(v, 1, CACHE_BODY, "(body)", 6);
    view_cache_flush(v);
    ck_assert_int_eq(view_read(v, &s, &it, WANT_CACHE, b), 0);
    ck_assert_uint_eq(b->count, 2);
    p = index_cache_find(&b->items[0].cache, CACHE_BODY, &len);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(len, 6);
    ck_assert_int_eq(memcmp(p, "(body)", 6), 0);
    ck_assert_uint_eq(b->items[1].cache.len, 0);
    seqset_free(&s);
    view_batch_free(&b);
    view_close(&v);
}
END_TEST

/* Read in one pass or several, entries come to the messages they belong to. */
START_TEST(cache_of_scattered_messages)
{
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct seqset s = uid_set("1:2,4:5,8:9,12");
    struct view *v;
    const char *p;
    size_t len;

    append_some(12);
    v = open_inbox(0);
    for (uint32_t uid = 1; uid <= 12; uid++)
        if (uid != 5)
            view_cache_put(v, uid, CACHE_BODY, &uid, sizeof uid);
    view_cache_flush(v);
    expunge(v, "8");
    ck_assert_int_eq(view_read(v, &s, &it, WANT_CACHE, b), 0);
    ck_assert_uint_eq(b->count, 7);
    for (size_t i = 0; i < b->count; i++) {
        uint32_t uid = b->items[i].m.uid;

        p = index_cache_find(&b->items[i].cache, CACHE_BODY, &len);
        ck_assert((p == NULL) == (uid == 5 || uid == 8));
        if (p != NULL)
            ck_assert_int_eq(memcmp(p, &uid, sizeof uid), 0);
    }
    seqset_free(&s);
    view_batch_free(&b);
    view_close(&v);
}
END_TEST

/* What view_flags() knows against what the index says, message by message. */
static void
compare_flags(struct view *v, bool keywords)
{
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct view_flags f;
    size_t at = 0;

    ck_assert_int_eq(view_flags(v, keywords, &f), 0);
    ck_assert_uint_eq(f.count, view_info(v)->exists);
    ck_assert((f.keywords != NULL) == (keywords && f.count > 0));
    for (;;) {
        ck_assert_int_eq(view_read(v, &all, &it, 0, b), 0);
        if (b->count == 0)
            break;
        for (size_t i = 0; i < b->count; i++, at++) {
            const struct view_message *m = &b->items[i];

            ck_assert_uint_eq(f.uids[at], m->m.uid);
            ck_assert_uint_eq(f.flags[at], m->gone ? VIEW_FLAG_GONE : m->m.flags);
            if (keywords && !m->gone)
                ck_assert(f.keywords[at] == m->m.keywords);
        }
    }
    ck_assert_uint_eq(at, f.count);
    view_batch_free(&b);
}

static void
take_expunges(struct view *v, bool expunge)
{
    struct view_changes c;

    ck_assert_int_eq(view_sync(v, expunge, &c), 0);
    view_changes_free(&c);
}

/* view_flags() follows: own STOREs, another session's, renames of another program, expunges
   before and after they are told, new messages. */
START_TEST(flags_in_memory_follow)
{
    const char *names[] = {"Work"};
    struct flag_set work = {.keywords = names, .keywords_count = 1};
    struct seqset s = uid_set("2,4");
    struct view *v;
    char name[32];

    for (int i = 1; i <= 6; i++) {
        snprintf(name, sizeof name, "%d.n:2,", i);
        neighbour_put(store_dir, "cur", name, "Subject: x\n\nhello\n");
    }
    open_two(&v);
    compare_flags(v, false);
    ck_assert_int_eq(store_flags(v, "1:3", STORE_ADD, MSG_SEEN), 0);
    compare_flags(v, false);
    ck_assert_int_eq(store_flags(w, "2,5", STORE_REPLACE, MSG_FLAGGED), 0);
    compare_flags(v, false);
    compare_flags(v, true);
    ck_assert_int_eq(view_store(w, &s, STORE_ADD, &work, UINT64_MAX, NULL, NULL, NULL), 0);
    compare_flags(v, true);
    neighbour_rename(store_dir, "cur/6.n:2,", "cur/6.n:2,RS");
    settle();
    take_expunges(v, true);
    compare_flags(v, true);
    ck_assert_int_eq(store_flags(w, "1,4", STORE_ADD, MSG_DELETED), 0);
    ck_assert_int_eq(view_expunge(w, NULL, false, NULL), 0);
    compare_flags(v, true); /* there, but gone */
    append_some(2);
    take_expunges(v, false);
    compare_flags(v, true);
    ck_assert_uint_eq(view_info(v)->exists, 8);
    take_expunges(v, true);
    ck_assert_uint_eq(view_info(v)->exists, 6);
    compare_flags(v, true);
    view_idle(v);
    compare_flags(v, false);
    seqset_free(&s);
    close_two(&v);
}
END_TEST

/* The same by chance: many changes between two looks, so that some are scattered, some in a
   row, and some are beyond the change log. */
START_TEST(flags_in_memory_follow_whatever_happens)
{
    static const unsigned flags[] = {MSG_SEEN, MSG_FLAGGED, MSG_DELETED, MSG_ANSWERED};
    unsigned seed = 20;
    struct view *v, *who;
    char set[32];

    append_some(150);
    open_two(&v);
    for (int i = 0; i < 400; i++) {
        unsigned what = (unsigned)rand_r(&seed) % 16, uid = 1 + (unsigned)rand_r(&seed) % 200;

        who = rand_r(&seed) % 2 ? v : w;
        snprintf(set, sizeof set, "%u:%u", uid, uid + (what == 0 ? 40 : 0));
        if (what < 12)
            ck_assert_int_eq(store_flags(who, set, what % 3 ? STORE_ADD : STORE_REMOVE,
                                         flags[rand_r(&seed) % 4]),
                             0);
        else if (what == 12 && rand_r(&seed) % 4 == 0)
            ck_assert_int_eq(view_expunge(who, NULL, false, NULL), 0);
        else if (what == 13)
            append_some(1);
        else if (what == 14)
            take_expunges(who, rand_r(&seed) % 2);
        else if (what == 15 || i % 100 == 99)
            compare_flags(v, i > 200);
    }
    compare_flags(v, true);
    close_two(&v);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("view");
    TCase *t = tcase_create("view");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, store_warm_up, NULL);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, select_of_an_empty_inbox);
    tcase_add_test(t, append_store_expunge);
    tcase_add_test(t, expunged_messages_keep_their_numbers);
    tcase_add_test(t, numbers_are_loaded_as_of_the_last_sync);
    tcase_add_test(t, lazy_view_counts_right);
    tcase_add_test(t, flags_of_another_session_are_reported_once);
    tcase_add_test(t, own_store_does_not_hide_anothers);
    tcase_add_test(t, recent_belongs_to_one_session);
    tcase_add_test(t, unchanged_since);
    tcase_add_test(t, readonly_refuses);
    tcase_add_test(t, keywords_of_a_client);
    tcase_add_test(t, renamed_files_are_found);
    tcase_add_test(t, copy_keeps_what_belongs_to_a_message);
    tcase_add_test(t, view_of_a_deleted_folder_is_void);
    tcase_add_test(t, view_follows_a_renamed_folder);
    tcase_add_test(t, watch_sees_everything);
    tcase_add_test(t, watch_without_inotify);
    tcase_add_test(t, numbers_and_sets);
    tcase_add_test(t, batches);
    tcase_add_test(t, cache_of_a_message);
    tcase_add_test(t, cache_of_scattered_messages);
    tcase_add_test(t, flags_in_memory_follow);
    tcase_add_test(t, flags_in_memory_follow_whatever_happens);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
