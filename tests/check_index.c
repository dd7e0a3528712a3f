/*
 * The index through its API: rows, messages, counts, changes, cache, and what becomes of it
 * when its files are damaged or the disk is full. Crashes: check_index_crash.c.
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

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index.h"
#include "store/index_impl.h"
#include "store/index_page.h"
#include "store/index_record.h"
#include "valgrind_test.h"

static char dir[64], path[80];
static struct index *ix;
static struct index *volatile kept; /* a child's copy of its parent's handle: no leak */
static unsigned lines;              /* logged as error or warning */

static bool damaging; /* errors are what the test makes */

static void
count_line(enum log_level level, const char *line)
{
    if (level == LOG_LEVEL_ERROR || level == LOG_LEVEL_WARN)
        lines++;
    if (getenv("MANSIO_TEST_LOG") != NULL || (level == LOG_LEVEL_ERROR && !damaging))
        fprintf(stderr, "%s\n", line);
}

static void
setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/check_index.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/index", dir);
    log_hook = count_line;
    if (getenv("MANSIO_TEST_LOG") != NULL)
        log_set_level(LOG_LEVEL_DEBUG);
    lines = 0;
    ck_assert_int_eq(index_open(path, 5, &ix), 0);
    ck_assert_int_eq(index_lock(ix), 0);
}

/* Runs a command of the shell; $D is the test's directory. */
static void
shell(const char *command)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("D", dir, 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s", command);
}

static void
teardown(void)
{
    index_close(&ix);
    shell("rm -rf $D");
}

static void
print_fault(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "fault: %s\n", text);
}

static void
no_fault(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

static void
fill(struct index_message *m, unsigned n)
{
    memset(m, 0, sizeof *m);
    m->internal_date = 1700000000 + (int64_t)n;
    m->save_date = m->internal_date + 5;
    m->size = 1000 + n;
    m->crlf_size = 1100 + n;
    snprintf(m->name, sizeof m->name, "%u.M%uP1.host,S=%u:2,", n, n, n);
}

/* In a transaction: `count` messages into a mailbox that is there; puts the row. */
static void
add(const char *name, struct index_mailbox *row, unsigned count, unsigned flags)
{
    struct index_message m;

    for (unsigned i = 0; i < count; i++) {
        fill(&m, i);
        m.flags = (uint8_t)flags;
        ck_assert_int_eq(index_message_add(ix, row, &m), 0);
    }
    ck_assert_int_eq(index_mailbox_put(ix, name, row), 0);
}

static void
make(const char *name, struct index_mailbox *row, unsigned count)
{
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_create(ix, name, 0, row), 0);
    add(name, row, count, 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    ck_assert_int_eq(index_mailbox_get(ix, name, row), 0);
}

static void
consistent(const char *name)
{
    ck_assert_int_eq(index_check(ix, name, print_fault, NULL), 0);
}

/* ---- records ---- */

static int
cache_put(uint32_t mailbox, uint32_t uid, enum index_cache_tag tag, const void *p, size_t len)
{
    struct buf entries = BUF_INIT(1 << 20);
    int err;

    index_cache_add(&entries, tag, p, len);
    err = index_cache_put(ix, mailbox, uid, entries.data, entries.len);
    buf_free(&entries);
    return err;
}

START_TEST(message_record_keeps_every_field)
{
    struct index_message a, b;
    struct buf out = BUF_INIT(4096);
    static const uint64_t sizes[] = {
        0, 1, 127, 128, 1u << 20, UINT64_C(1) << 40, MDNAME_SIZE_UNKNOWN};

    for (unsigned i = 0; i < 7; i++) {
        for (unsigned j = 0; j < 7; j++) {
            fill(&a, 77);
            a.uid = 4000000000u;
            a.flags = MSG_SEEN | MSG_DRAFT | MSG_PASSED;
            a.in_new = i % 2 == 0;
            a.keywords = j % 2 == 0 ? 0 : UINT64_C(0x8000000000000001);
            a.modseq = UINT64_C(0xfffffffffff0);
            a.internal_date = i == 3 ? -86400 : 1700000000;
            a.save_date = j == 3 ? INT64_MAX : 1700000001;
            a.size = sizes[i];
            a.crlf_size = sizes[j];
            memset(a.name, 'x', MDNAME_MAX);
            a.name[MDNAME_MAX] = '\0';
            snprintf(a.uidl, sizeof a.uidl, "%s", i % 2 == 0 ? "" : "UID77-1234567890");
            buf_reset(&out);
            message_encode(&out, &a);
            memset(&b, 0x55, sizeof b);
            ck_assert_int_eq(
                message_decode((struct kv_slice){out.data, out.len}, 4000000000u, &b), 0);
            ck_assert_uint_eq(b.uid, a.uid);
            ck_assert_uint_eq(b.flags, a.flags);
            ck_assert(b.in_new == a.in_new);
            ck_assert_uint_eq(b.keywords, a.keywords);
            ck_assert_uint_eq(b.modseq, a.modseq);
            ck_assert_int_eq(b.internal_date, a.internal_date);
            ck_assert_int_eq(b.save_date, a.save_date);
            ck_assert_uint_eq(b.size, a.size);
            ck_assert_uint_eq(b.crlf_size, a.crlf_size);
            ck_assert_str_eq(b.name, a.name);
            ck_assert_str_eq(b.uidl, a.uidl);
        }
    }
    buf_free(&out);
}
END_TEST

/* Every octet changed, every length cut: refused, and nothing read outside. */
START_TEST(damaged_records_are_refused)
{
    struct buf out = BUF_INIT(4096);
    struct index_mailbox row = {.id = 1, .uidvalidity = 2, .uidnext = 3}, r;
    struct index_message m, n;
    struct index_anchor anchor;

    fill(&m, 5);
    snprintf(m.uidl, sizeof m.uidl, "old");
    message_encode(&out, &m);
    for (size_t i = 0; i < out.len; i++) {
        char *copy = malloc(i > 0 ? i : 1); /* exactly so long: a sanitizer sees the rest */

        memcpy(copy, out.data, i);
        ck_assert_int_eq(message_decode((struct kv_slice){copy, i}, 5, &n), ERR_CORRUPT);
        free(copy);
        out.data[i] ^= 0x10;
        ck_assert_int_eq(message_decode((struct kv_slice){out.data, out.len}, 5, &n),
                         ERR_CORRUPT);
        out.data[i] ^= 0x10;
    }
    ck_assert_int_eq(message_decode((struct kv_slice){out.data, out.len}, 5, &n), 0);
    buf_reset(&out);
    snprintf(row.keywords[3], sizeof row.keywords[3], "$Label");
    row_encode(&out, &row);
    for (size_t i = 0; i < out.len; i++) {
        ck_assert_int_eq(row_decode((struct kv_slice){out.data, i}, &r), ERR_CORRUPT);
        out.data[i] ^= 1;
        ck_assert_int_eq(row_decode((struct kv_slice){out.data, out.len}, &r), ERR_CORRUPT);
        out.data[i] ^= 1;
    }
    ck_assert_int_eq(row_decode((struct kv_slice){out.data, out.len}, &r), 0);
    ck_assert_str_eq(r.keywords[3], "$Label");
    buf_reset(&out);
    anchor_encode(&out, "A.B", &row);
    for (size_t i = 0; i < out.len; i++)
        ck_assert_int_eq(anchor_decode((struct kv_slice){out.data, i}, 1, &anchor),
                         ERR_CORRUPT);
    ck_assert_int_eq(anchor_decode((struct kv_slice){out.data, out.len}, 1, &anchor), 0);
    ck_assert_str_eq(anchor.name, "A.B");
    buf_free(&out);
}
END_TEST

/* A name with a slash would lead out of the folder. */
START_TEST(a_file_name_is_no_path)
{
    struct buf out = BUF_INIT(4096);
    struct index_message m, n;

    fill(&m, 5);
    snprintf(m.name, sizeof m.name, "../../x");
    message_encode(&out, &m);
    ck_assert_int_eq(message_decode((struct kv_slice){out.data, out.len}, 5, &n), ERR_CORRUPT);
    buf_free(&out);
}
END_TEST

START_TEST(pages_of_noise_are_refused)
{
    unsigned char page[4096];
    unsigned seed = 1;

    for (unsigned i = 0; i < 2000; i++) {
        for (size_t j = 0; j < sizeof page; j++) {
            seed = seed * 1103515245u + 12345u;
            page[j] = (unsigned char)(seed >> 16);
        }
        ck_assert(!page_ok(page, sizeof page, 0, true));
        page[8] = 5; /* the right number, type and level: only the items are noise */
        page[9] = page[10] = page[11] = 0;
        page[24] = 1;
        page[25] = 5;
        if (page[20] != 0 || page[21] != 0)
            ck_assert(!page_ok(page, sizeof page, 5, true));
    }
    memset(page, 0, sizeof page);
    ck_assert(page_ok(page, sizeof page, 5, true));
    ck_assert(!page_ok(page, sizeof page, 5, false));
}
END_TEST

/* ---- rows ---- */

START_TEST(mailboxes_are_made_found_renamed_deleted)
{
    struct index_mailbox a, b, row;
    char name[300];
    uint32_t id;

    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), ERR_NOENT);
    make("INBOX", &a, 3);
    make("Sent", &b, 2);
    ck_assert_uint_ne(a.id, b.id);
    ck_assert_uint_gt(b.uidvalidity, a.uidvalidity);
    ck_assert_int_ne(memcmp(a.objectid, b.objectid, 16), 0);
    ck_assert_uint_eq(a.messages, 3);
    ck_assert_uint_eq(a.uidnext, 4);
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_create(ix, "Sent", 0, &row), ERR_EXISTS);
    ck_assert_int_eq(index_mailbox_rename(ix, "Sent", "INBOX"), ERR_EXISTS);
    ck_assert_int_eq(index_mailbox_rename(ix, "None", "X"), ERR_NOENT);
    ck_assert_int_eq(index_mailbox_rename(ix, "Sent", "Old.Sent"), 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "Sent", &row), ERR_NOENT);
    ck_assert_int_eq(index_mailbox_get_by_id(ix, b.id, name, sizeof name, &row), 0);
    ck_assert_str_eq(name, "Old.Sent");
    ck_assert_uint_eq(row.uidvalidity, b.uidvalidity);
    ck_assert_uint_eq(row.messages, 2);
    consistent("Old.Sent");
    id = b.id;
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_delete(ix, "Old.Sent"), 0);
    ck_assert_int_eq(index_mailbox_create(ix, "Old.Sent", 0, &row), 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    ck_assert_uint_ne(row.id, id); /* an id is never used again */
    ck_assert_uint_gt(row.uidvalidity, b.uidvalidity);
    ck_assert_int_eq(index_mailbox_get_by_id(ix, id, name, sizeof name, &row), ERR_NOENT);
    ck_assert_int_eq(index_message_get(ix, id, 1, &(struct index_message){0}), ERR_NOENT);
    consistent("INBOX");
    consistent("Old.Sent");
}
END_TEST

START_TEST(uidvalidity_is_above_what_is_asked)
{
    struct index_mailbox row;

    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_create(ix, "A", 4000000000u, &row), 0);
    ck_assert_uint_eq(row.uidvalidity, 4000000001u);
    ck_assert_int_eq(index_mailbox_create(ix, "B", 0, &row), 0);
    ck_assert_uint_eq(row.uidvalidity, 4000000002u);
    ck_assert_int_eq(index_mailbox_create(ix, "C", UINT32_MAX, &row), ERR_LIMIT);
    ck_assert_int_eq(index_commit(ix, true), 0);
}
END_TEST

static int
collect_name(void *ctx, const char *name, const struct index_mailbox *row)
{
    (void)row;
    strncat(ctx, name, 20);
    strncat(ctx, " ", 2);
    return strcmp(name, "C") == 0 ? 7 : 0;
}

START_TEST(rows_come_in_order_of_names)
{
    struct index_mailbox row;
    char text[200] = "";

    make("B", &row, 0);
    make("A", &row, 1);
    make("A.x", &row, 0);
    ck_assert_int_eq(index_mailbox_each(ix, collect_name, text), 0);
    ck_assert_str_eq(text, "A A.x B ");
    make("C", &row, 0);
    make("D", &row, 0);
    text[0] = '\0';
    ck_assert_int_eq(index_mailbox_each(ix, collect_name, text), 7);
    ck_assert_str_eq(text, "A A.x B C ");
}
END_TEST

START_TEST(a_row_keeps_every_field)
{
    struct index_mailbox row, got;

    make("INBOX", &row, 1);
    row.new_mtime = 1700000000123456789;
    row.cur_mtime = -5;
    row.scanned_at = 99;
    row.scan_cost_us = 12345;
    row.scan_epoch = UINT64_MAX - 5;
    row.own_changes = true;
    row.special_use = 0x40;
    row.first_recent = 2;
    row.recent = 0;
    row.keywords_count = 3;
    snprintf(row.keywords[0], sizeof row.keywords[0], "$Junk");
    snprintf(row.keywords[63], sizeof row.keywords[63], "%064d", 7);
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &got), 0);
    ck_assert_int_eq(got.new_mtime, row.new_mtime);
    ck_assert_int_eq(got.cur_mtime, row.cur_mtime);
    ck_assert_int_eq(got.scanned_at, 99);
    ck_assert_uint_eq(got.scan_cost_us, 12345);
    ck_assert_uint_eq(got.scan_epoch, UINT64_MAX - 5);
    ck_assert(got.own_changes);
    ck_assert_uint_eq(got.special_use, 0x40);
    ck_assert_uint_eq(got.keywords_count, 3);
    ck_assert_str_eq(got.keywords[0], "$Junk");
    ck_assert_str_eq(got.keywords[1], "");
    ck_assert_str_eq(got.keywords[63], row.keywords[63]);
    ck_assert_int_eq(memcmp(got.objectid, row.objectid, 16), 0);
    consistent("INBOX"); /* the anchor got the keywords too */
}
END_TEST

/* ---- messages ---- */

START_TEST(counts_follow_every_change)
{
    struct index_mailbox row;
    struct index_message m, old;

    make("INBOX", &row, 5);
    ck_assert_uint_eq(row.unseen, 5);
    ck_assert_uint_eq(row.recent, 5);
    ck_assert_uint_eq(row.first_unseen, 1);
    ck_assert(row.first_unseen_known);
    ck_assert_uint_eq(row.bytes, 1000 + 1001 + 1002 + 1003 + 1004);
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 1, &old), 0);
    m = old;
    m.flags = MSG_SEEN | MSG_DELETED;
    m.crlf_size = MDNAME_SIZE_UNKNOWN;
    ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
    ck_assert_uint_eq(row.unseen, 4);
    ck_assert_uint_eq(row.deleted, 1);
    ck_assert_uint_eq(row.crlf_unknown, 1);
    ck_assert(!row.first_unseen_known);
    ck_assert_uint_eq(row.first_unseen, 1); /* a lower bound */
    ck_assert_int_eq(index_first_unseen(ix, &row), 0);
    ck_assert_uint_eq(row.first_unseen, 2);
    ck_assert_int_eq(index_message_expunge(ix, &row, &m), 0);
    ck_assert_uint_eq(row.messages, 4);
    ck_assert_uint_eq(row.deleted, 0);
    ck_assert_uint_eq(row.recent, 4);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    consistent("INBOX");
    for (uint32_t uid = 2; uid <= 5; uid++) {
        ck_assert_int_eq(index_begin(ix), 0);
        ck_assert_int_eq(index_message_get(ix, row.id, uid, &old), 0);
        m = old;
        m.flags |= MSG_SEEN;
        ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
        ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
        ck_assert_int_eq(index_commit(ix, false), 0);
        consistent("INBOX");
    }
    ck_assert(row.first_unseen_known);
    ck_assert_uint_eq(row.first_unseen, 0);
}
END_TEST

START_TEST(uids_only_grow)
{
    struct index_mailbox row;
    struct index_message m;

    make("INBOX", &row, 2);
    ck_assert_int_eq(index_begin(ix), 0);
    fill(&m, 1);
    m.uid = 2;
    ck_assert_int_eq(index_message_add(ix, &row, &m), ERR_RANGE);
    m.uid = 1000;
    ck_assert_int_eq(index_message_add(ix, &row, &m), 0);
    ck_assert_uint_eq(row.uidnext, 1001);
    ck_assert_int_eq(index_message_expunge(ix, &row, &m), 0);
    ck_assert_uint_eq(row.uidnext, 1001);
    m.uid = UINT32_MAX;
    ck_assert_int_eq(index_message_add(ix, &row, &m), ERR_LIMIT);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    consistent("INBOX");
}
END_TEST

static int
sum_uids(void *ctx, const struct index_message *m)
{
    *(uint64_t *)ctx += m->uid;
    return m->uid == 4000 ? 9 : 0;
}

START_TEST(ranges_are_read_whole_and_no_further)
{
    uint32_t *uids = NULL;
    size_t count = 0, cap = 0;
    struct index_mailbox a, b;
    uint64_t sum = 0;

    make("INBOX", &a, 3000);
    make("Next", &b, 10);
    ck_assert_int_eq(index_message_each(ix, a.id, 1, UINT32_MAX, sum_uids, &sum), 0);
    ck_assert_uint_eq(sum, 3000u * 3001u / 2);
    sum = 0;
    ck_assert_int_eq(index_message_each(ix, a.id, 0, 5, sum_uids, &sum), 0);
    ck_assert_uint_eq(sum, 15);
    sum = 0;
    ck_assert_int_eq(index_message_each(ix, a.id, 2999, 2999, sum_uids, &sum), 0);
    ck_assert_uint_eq(sum, 2999);
    ck_assert_int_eq(index_message_each(ix, a.id, 5, 4, sum_uids, &sum), 0);
    ck_assert_int_eq(index_message_each(ix, a.id, 3001, UINT32_MAX, sum_uids, &sum), 0);
    ck_assert_uint_eq(sum, 2999);
    ck_assert_int_eq(index_message_uids(ix, a.id, &uids, &count, &cap), 0);
    ck_assert_uint_eq(count, 3000);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(uids[i], i + 1);
    ck_assert_int_eq(index_begin(ix), 0);
    add("INBOX", &a, 1000, MSG_SEEN);
    ck_assert_int_eq(index_commit(ix, false), 0);
    sum = 0;
    ck_assert_int_eq(index_message_each(ix, a.id, 4000, UINT32_MAX, sum_uids, &sum), 9);
    free(uids);
}
END_TEST

static int
nested(void *ctx, const struct index_message *m)
{
    uint64_t sum = 0;

    if (m->uid % 500 == 0) {
        ck_assert_int_eq(index_message_each(ix, *(uint32_t *)ctx, 1, 100, sum_uids, &sum), 0);
        ck_assert_uint_eq(sum, 5050);
    }
    return 0;
}

START_TEST(a_scan_may_scan)
{
    struct index_mailbox row;

    make("INBOX", &row, 3000);
    ck_assert_int_eq(index_message_each(ix, row.id, 1, UINT32_MAX, nested, &row.id), 0);
}
END_TEST

START_TEST(an_aborted_transaction_leaves_nothing)
{
    struct index_mailbox row, now, other;
    struct index_message m;

    make("INBOX", &row, 2);
    now = row;
    ck_assert_int_eq(index_begin(ix), 0);
    add("INBOX", &now, 10, 0);
    ck_assert_int_eq(index_mailbox_create(ix, "X", 0, &other), 0);
    index_abort(ix);
    ck_assert_int_eq(index_mailbox_get(ix, "X", &other), ERR_NOENT);
    ck_assert_int_eq(index_message_get(ix, row.id, 3, &m), ERR_NOENT);
    ck_assert_int_eq(index_begin(ix), 0);
    now = row;
    add("INBOX", &now, 1, 0);
    index_unlock(ix); /* aborts too */
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &now), 0);
    ck_assert_uint_eq(now.uidnext, 3);
    ck_assert_uint_eq(now.highestmodseq, row.highestmodseq);
    consistent("INBOX");
    ck_assert_uint_eq(lines, 0);
}
END_TEST

/* ---- changes ---- */

struct seen {
    char text[400];
    uint64_t modseq;
};

static int
note_change(void *ctx, enum index_change what, uint32_t first, uint32_t last, uint64_t modseq)
{
    struct seen *s = ctx;
    size_t len = strlen(s->text);

    ck_assert_uint_ge(modseq, s->modseq);
    s->modseq = modseq;
    snprintf(s->text + len, sizeof s->text - len, "%c%u-%u ", "FAX"[what], first, last);
    return 0;
}

START_TEST(changes_since_a_modseq)
{
    struct index_mailbox row;
    struct index_message m, old;
    struct seen s = {0};
    uint64_t since;

    make("INBOX", &row, 10);
    since = row.highestmodseq;
    ck_assert_int_eq(index_begin(ix), 0);
    for (uint32_t uid = 10; uid >= 3; uid--) { /* in any order */
        if (uid == 6)
            continue;
        ck_assert_int_eq(index_message_get(ix, row.id, uid, &old), 0);
        m = old;
        m.flags |= MSG_FLAGGED;
        ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
        ck_assert_uint_eq(m.modseq, since + 1); /* one for all of a transaction */
    }
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    /* a second round in the same transaction goes into the same record */
    ck_assert_int_eq(index_message_get(ix, row.id, 6, &old), 0);
    m = old;
    m.flags |= MSG_FLAGGED;
    ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 1, &old), 0);
    ck_assert_int_eq(index_message_expunge(ix, &row, &old), 0);
    add("INBOX", &row, 2, 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), 0);
    ck_assert_uint_eq(row.highestmodseq, since + 1);
    ck_assert_int_eq(index_changes_each(ix, &row, since, note_change, &s), 0);
    ck_assert_str_eq(s.text, "F3-10 A11-12 X1-1 ");
    ck_assert_uint_eq(s.modseq, since + 1);
    s = (struct seen){0};
    ck_assert_int_eq(index_changes_each(ix, &row, row.highestmodseq, note_change, &s), 0);
    ck_assert_str_eq(s.text, "");
    ck_assert_int_eq(index_changes_each(ix, &row, 0, note_change, &s), ERR_RANGE);
    consistent("INBOX");
}
END_TEST

START_TEST(quiet_updates_are_no_changes)
{
    struct index_mailbox row;
    struct index_message m, old;
    struct seen s = {0};
    uint64_t since;

    make("INBOX", &row, 2);
    since = row.highestmodseq;
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 1, &old), 0);
    m = old;
    m.crlf_size = 7777;
    ck_assert_int_eq(index_message_update(ix, &row, &old, &m, true), 0);
    ck_assert_uint_eq(m.modseq, old.modseq);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_uint_eq(row.highestmodseq, since);
    ck_assert_int_eq(index_changes_each(ix, &row, since, note_change, &s), 0);
    ck_assert_str_eq(s.text, "");
    consistent("INBOX");
}
END_TEST

static int
count_changes(void *ctx, enum index_change what, uint32_t first, uint32_t last, uint64_t modseq)
{
    (void)what;
    (void)modseq;
    *(unsigned *)ctx += last - first + 1;
    return 0;
}

START_TEST(scattered_changes_take_several_records)
{
    struct index_mailbox row;
    struct index_message m, old;
    unsigned count = 0;
    uint64_t since;

    make("INBOX", &row, 4000);
    since = row.highestmodseq;
    ck_assert_int_eq(index_begin(ix), 0);
    for (uint32_t uid = 1; uid <= 4000; uid += 2) {
        ck_assert_int_eq(index_message_get(ix, row.id, uid, &old), 0);
        m = old;
        m.flags |= MSG_SEEN;
        ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
    }
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_int_eq(index_changes_each(ix, &row, since, count_changes, &count), 0);
    ck_assert_uint_eq(count, 2000);
    consistent("INBOX");
}
END_TEST

/* The log of changes keeps the last 16,384 mod-sequences or some more. */
START_TEST(the_change_log_is_trimmed)
{
    struct index_mailbox row;
    struct index_message m, old;
    unsigned count = 0;

    make("INBOX", &row, 2);
    for (unsigned i = 0; i < 19000; i++) {
        ck_assert_int_eq(index_begin(ix), 0);
        ck_assert_int_eq(index_message_get(ix, row.id, 1, &old), 0);
        m = old;
        m.flags ^= MSG_SEEN;
        ck_assert_int_eq(index_message_update(ix, &row, &old, &m, false), 0);
        ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
        ck_assert_int_eq(index_commit(ix, false), 0);
    }
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), 0);
    ck_assert_uint_gt(row.changes_floor, 500);
    ck_assert_uint_ge(row.highestmodseq - row.changes_floor, 16384);
    ck_assert_int_eq(index_changes_each(ix, &row, row.changes_floor, count_changes, &count), 0);
    ck_assert_uint_eq(count, row.highestmodseq - row.changes_floor);
    ck_assert_int_eq(index_changes_each(ix, &row, row.changes_floor - 1, count_changes, &count),
                     ERR_RANGE);
    consistent("INBOX");
}
END_TEST

/* ---- cache ---- */

START_TEST(cache_entries_by_tag)
{
    struct buf out = BUF_INIT(1u << 20), two = BUF_INIT(100);
    struct index_mailbox row;
    struct index_message m;
    static char big[50000];
    const char *p;
    size_t len;

    make("INBOX", &row, 2);
    ck_assert_int_eq(index_cache_get(ix, row.id, 1, &out), ERR_NOENT);
    memset(big, 'b', sizeof big);
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(cache_put(row.id, 1, CACHE_ENVELOPE, "(env)", 5), 0);
    ck_assert_int_eq(cache_put(row.id, 1, CACHE_BODY, big, sizeof big), 0);
    ck_assert_int_eq(cache_put(row.id, 1, CACHE_PARTS, "", 0), 0);
    ck_assert_int_eq(cache_put(row.id, 1, CACHE_ENVELOPE, "(new env)", 9), 0);
    ck_assert_int_eq(cache_put(row.id, 77, CACHE_ENVELOPE, "x", 1), 0);
    index_cache_add(&two, CACHE_PARTS, "parts", 5);
    index_cache_add(&two, CACHE_BODYSTRUCTURE, "(s)", 3);
    ck_assert_int_eq(index_cache_put(ix, row.id, 1, two.data, two.len), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_int_eq(index_cache_get(ix, row.id, 1, &out), 0);
    p = index_cache_find(&out, CACHE_ENVELOPE, &len);
    ck_assert_uint_eq(len, 9);
    ck_assert_int_eq(memcmp(p, "(new env)", 9), 0);
    p = index_cache_find(&out, CACHE_BODY, &len);
    ck_assert_uint_eq(len, sizeof big);
    ck_assert_int_eq(memcmp(p, big, sizeof big), 0);
    ck_assert_ptr_nonnull(index_cache_find(&out, CACHE_PARTS, &len));
    ck_assert_uint_eq(len, 5);
    ck_assert_ptr_nonnull(index_cache_find(&out, CACHE_BODYSTRUCTURE, &len));
    ck_assert_uint_eq(len, 3);
    ck_assert_uint_eq(out.len, 4 * 5 + 9 + sizeof big + 5 + 3); /* each once */
    ck_assert_ptr_null(index_cache_find(&out, CACHE_HEADERS, &len));
    ck_assert_int_eq(index_cache_get(ix, row.id, 2, &out), ERR_NOENT);
    ck_assert_int_eq(index_cache_get(ix, row.id, 77, &out), ERR_NOENT); /* no such message */
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 1, &m), 0);
    ck_assert_int_eq(index_message_expunge(ix, &row, &m), 0);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    ck_assert_int_eq(index_cache_get(ix, row.id, 1, &out), ERR_NOENT);
    buf_free(&out);
    buf_free(&two);
}
END_TEST

/* ---- sessions ---- */

static void
read_notify(char *to, size_t size)
{
    int fd = open(index_notify_path(ix), O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, to, size - 1) : 0;

    to[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

START_TEST(only_changes_are_notified)
{
    struct index_mailbox row;
    struct index_message m, old;
    char before[64], after[64];

    make("INBOX", &row, 1);
    read_notify(before, sizeof before);
    ck_assert_str_ne(before, "");
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(cache_put(row.id, 1, CACHE_BODY, "x", 1), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 1, &old), 0);
    m = old;
    ck_assert_int_eq(index_message_update(ix, &row, &old, &m, true), 0);
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    read_notify(after, sizeof after);
    ck_assert_str_eq(after, before);
    index_unlock(ix);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_begin(ix), 0);
    add("INBOX", &row, 1, 0);
    ck_assert_int_eq(index_commit(ix, false), 0);
    read_notify(after, sizeof after);
    ck_assert_str_ne(after, before);
}
END_TEST

START_TEST(two_sessions_and_an_idle_one)
{
    struct index_mailbox row;
    uint64_t incarnation = index_incarnation(ix);

    make("INBOX", &row, 1);
    index_unlock(ix);
    for (int i = 0; i < 30; i++) {
        int status;
        pid_t pid;

        index_idle(ix); /* never fork with an open environment */
        pid = fork();
        if (pid == 0) {
            struct index *other;

            ck_assert_int_eq(index_open(path, 5, &other), 0);
            ck_assert_int_eq(index_lock(other), 0);
            ck_assert_int_eq(index_begin(other), 0);
            kept = ix;
            ix = other;
            ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), 0);
            add("INBOX", &row, 10, 0);
            ck_assert_int_eq(index_commit(other, false), 0);
            index_unlock(other);
            index_close(&other);
            _exit(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        ck_assert_int_eq(index_lock(ix), 0);
        ck_assert_uint_eq(index_incarnation(ix), incarnation);
        ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), 0);
        ck_assert_uint_eq(row.messages, 1 + 10 * (unsigned)(i + 1));
        index_unlock(ix);
    }
    ck_assert_int_eq(index_lock(ix), 0);
    consistent("INBOX");
    ck_assert_uint_eq(lines, 0);
}
END_TEST

START_TEST(locking_twice_is_a_bug)
{
    damaging = true;
    shell("rm -rf $D"); /* there is no teardown after an exit */
    index_lock(ix);
}
END_TEST

START_TEST(an_index_removed_under_a_session)
{
    struct index_mailbox row;
    uint64_t incarnation = index_incarnation(ix);

    make("INBOX", &row, 5);
    index_unlock(ix);
    shell("rm -rf $D/index");
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_uint_gt(index_incarnation(ix), incarnation);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), ERR_NOENT);
    make("INBOX", &row, 5);
    consistent("INBOX");
}
END_TEST

/* ---- damage ---- */

/* Octets of log are moved into the files, as after some use. */
static void
settle(void)
{
    struct index_mailbox row;

    index_unlock(ix);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(index_lock(ix), 0);
        ck_assert_int_eq(index_mailbox_get(ix, "Big", &row), 0);
        ck_assert_int_eq(index_begin(ix), 0);
        add("Big", &row, 2000, 0);
        ck_assert_int_eq(index_commit(ix, true), 0);
        ck_assert_int_eq(kv_checkpoint(ix->kv, true), 0);
        index_unlock(ix);
        index_idle(ix);
    }
    ck_assert_int_eq(index_lock(ix), 0);
}

/* What may be lost: */
enum loss {
    LOSS_NOTHING,  /* nothing at all */
    LOSS_CACHE,    /* change log and cache */
    LOSS_MESSAGES, /* records of messages too */
    LOSS_ALL
};

static const struct damage {
    const char *command;
    enum loss loss;
} damages[] = {
    {"rm $D/index/db/__db.00*", LOSS_NOTHING},
    {"for f in $D/index/db/__db.00*; do head -c 70000 /dev/urandom > $f; done", LOSS_NOTHING},
    {"for f in $D/index/db/__db.00*; do : > $f; done", LOSS_NOTHING},
    {"rm $D/index/lock", LOSS_NOTHING},
    {"head -c 64 /dev/urandom > $D/index/lock", LOSS_NOTHING},
    {"rm $D/index/notify", LOSS_NOTHING},
    {"rm $D/index/db/log.*", LOSS_CACHE},
    {"for f in $D/index/db/log.*; do : > $f; done", LOSS_CACHE},
    {"for f in $D/index/db/log.*; do head -c 300000 /dev/urandom > $f; done", LOSS_CACHE},
    {"rm $D/index/db/cache.db", LOSS_CACHE},
    {"rm $D/index/db/changes.db", LOSS_CACHE},
    {"rm $D/index/db/mailboxes.db", LOSS_CACHE},
    {"rm $D/index/db/messages.db", LOSS_MESSAGES},
    {": > $D/index/db/cache.db", LOSS_CACHE},
    {": > $D/index/db/mailboxes.db", LOSS_CACHE},
    {": > $D/index/db/messages.db", LOSS_MESSAGES},
    {"truncate -s 5000 $D/index/db/mailboxes.db", LOSS_CACHE},
    {"truncate -s 100000 $D/index/db/messages.db", LOSS_MESSAGES},
    {"f=$D/index/db/cache.db; head -c 16384 /dev/urandom > $f", LOSS_CACHE},
    {"f=$D/index/db/changes.db; head -c 16384 /dev/urandom > $f", LOSS_CACHE},
    {"f=$D/index/db/mailboxes.db; head -c 16384 /dev/urandom > $f", LOSS_CACHE},
    {"f=$D/index/db/messages.db; head -c 900000 /dev/urandom > $f", LOSS_MESSAGES},
    {"dd if=/dev/urandom of=$D/index/db/messages.db bs=8192 seek=5 count=9 conv=notrunc "
     "2>/dev/null; rm $D/index/db/__db.*",
     LOSS_MESSAGES},
    {"dd if=/dev/zero of=$D/index/db/messages.db bs=8192 seek=5 count=9 conv=notrunc "
     "2>/dev/null; rm $D/index/db/__db.*",
     LOSS_MESSAGES},
    {"dd if=/dev/urandom of=$D/index/db/mailboxes.db bs=4096 seek=1 conv=notrunc count=1 "
     "2>/dev/null; rm $D/index/db/__db.*",
     LOSS_CACHE},
    {"rm -r $D/index/db", LOSS_ALL},
    {"rm $D/index/db/*.db", LOSS_ALL},
};
#define DAMAGES (sizeof damages / sizeof damages[0])

static int
copy_message(void *ctx, const struct index_message *m)
{
    memcpy(ctx, m, sizeof *m);
    return 1;
}

static int
count_messages(void *ctx, const struct index_message *m)
{
    (void)m;
    ++*(unsigned *)ctx;
    return 0;
}

/* Reads and writes some of every file. 0 or the first error. */
static int
use_all(const char *name)
{
    struct index_mailbox row;
    struct index_message m, old;
    unsigned count = 0;
    int err = index_mailbox_get(ix, name, &row);

    if (err == 0)
        err = index_message_each(ix, row.id, 1, UINT32_MAX, count_messages, &count);
    if (err == 0)
        err = index_check(ix, name, no_fault, NULL);
    if (err == 0)
        err = index_begin(ix);
    if (err == 0)
        err = index_message_each(ix, row.id, 1, UINT32_MAX, copy_message, &old);
    if (err == 0) {
        index_abort(ix);
        return 0; /* no message is left */
    }
    if (err == 1) {
        m = old;
        m.flags ^= MSG_DRAFT;
        err = index_message_update(ix, &row, &old, &m, false);
        if (err == 0)
            err = cache_put(row.id, m.uid, CACHE_BODY, "x", 1);
        if (err == 0)
            err = index_mailbox_put(ix, name, &row);
        if (err == 0)
            err = index_commit(ix, true);
    }
    return err;
}

/* Uses everything until nothing complains: damage is seen when it's met. */
static void
use_until_good(void)
{
    for (unsigned rounds = 0; rounds < 6; rounds++) {
        int err;

        ck_assert_int_eq(index_lock(ix), 0); /* always to be had */
        err = use_all("INBOX");
        if (err == 0)
            err = use_all("Big");
        if (err == 0 || err == ERR_NOENT)
            return;
        index_unlock(ix);
    }
    ck_abort_msg("never good again");
}

START_TEST(survives_damage)
{
    const struct damage *d = &damages[_i];
    struct index_mailbox inbox, big, row;
    struct index_message m;
    uint64_t incarnation = index_incarnation(ix);

    damaging = true;
    make("INBOX", &inbox, 3);
    make("Big", &big, 2000);
    settle();
    ck_assert_int_eq(index_mailbox_get(ix, "Big", &big), 0);
    index_unlock(ix);
    /* a session is open meanwhile (i even) or not */
    if (_i % 2 != 0 || strstr(d->command, ": > $f") != NULL) /* cutting mapped regions kills */
        index_idle(ix);
    lines = 0;
    shell(d->command);
    if (_i % 2 == 0 && d->loss != LOSS_NOTHING)
        index_idle(ix);
    use_until_good();
    if (d->loss == LOSS_ALL) {
        ck_assert_uint_gt(index_incarnation(ix), incarnation);
        ck_assert_int_eq(index_mailbox_get(ix, "Big", &row), ERR_NOENT);
        make("Big", &row, 1);
        ck_assert_uint_gt(row.uidvalidity, 0);
        consistent("Big");
        return;
    }
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), 0);
    ck_assert_uint_eq(row.uidvalidity, inbox.uidvalidity);
    ck_assert_uint_eq(row.id, inbox.id);
    ck_assert_int_eq(memcmp(row.objectid, inbox.objectid, 16), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "Big", &row), 0);
    ck_assert_uint_eq(row.uidvalidity, big.uidvalidity);
    ck_assert_uint_ge(row.uidnext, big.uidnext); /* no UID is given twice */
    ck_assert_uint_ge(row.highestmodseq, big.highestmodseq);
    if (d->loss < LOSS_MESSAGES) {
        ck_assert_uint_eq(row.messages, 8000);
        ck_assert_int_eq(index_message_get(ix, row.id, 4000, &m), 0);
    }
    if (d->loss == LOSS_NOTHING)
        ck_assert_uint_eq(row.uidnext, big.uidnext);
    if (d->loss != LOSS_NOTHING && strstr(d->command, "log.") == NULL)
        ck_assert_uint_ge(lines, 1);
    consistent("INBOX");
    consistent("Big");
    /* and it's of use */
    ck_assert_int_eq(index_begin(ix), 0);
    add("Big", &row, 10, 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    consistent("Big");
}
END_TEST

/* A record that makes no sense is repaired by dropping it. */
START_TEST(a_bad_record_is_dropped)
{
    struct index_mailbox row;
    struct index_message m;

    damaging = true;
    make("INBOX", &row, 10);
    make("Big", &row, 100);
    settle();
    ck_assert_int_eq(index_mailbox_get(ix, "Big", &row), 0);
    index_unlock(ix);
    index_idle(ix);
    /* the name of a message that is in the middle of some page */
    shell("LC_ALL=C perl -pi -e 's/1234\\.M1234P1/1234.M1234X1/' $D/index/db/messages.db");
    use_until_good();
    ck_assert_int_eq(index_mailbox_get(ix, "Big", &row), 0);
    ck_assert_uint_ge(row.messages, 6097); /* of 6100: one name a batch of 2000 */
    ck_assert_uint_lt(row.messages, 6100);
    ck_assert_int_eq(index_message_get(ix, row.id, 5, &m), 0);
    consistent("Big");
    consistent("INBOX");
}
END_TEST

START_TEST(an_index_of_a_newer_version_is_left_alone)
{
    struct index_mailbox row;

    make("INBOX", &row, 1);
    index_unlock(ix);
    index_idle(ix);
    /* the control record as a later version would write it */
    {
        struct buf out = BUF_INIT(100);
        struct index_control c = {.format = INDEX_FORMAT + 1};

        control_encode(&out, &c);
        ck_assert_int_eq(control_decode((struct kv_slice){out.data, out.len}, &c),
                         ERR_UNSUPPORTED);
        buf_free(&out);
    }
    ck_assert_int_eq(index_lock(ix), 0);
}
END_TEST

/* What was written before messages lay in blocks isn't read as if it were blocks. */
START_TEST(a_format_of_the_past_is_not_read)
{
    struct buf out = BUF_INIT(100);
    struct index_control c = {.format = INDEX_FORMAT - 1};

    control_encode(&out, &c);
    ck_assert_int_eq(control_decode((struct kv_slice){out.data, out.len}, &c), ERR_CORRUPT);
    buf_free(&out);
}
END_TEST

/* ---- blocks of messages ---- */

#define MODEL_UIDS 50

struct model {
    struct index_mailbox row;
    bool there[MODEL_UIDS + 1];
    struct index_message m[MODEL_UIDS + 1];
};

static unsigned
draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 8) % below;
}

static void
long_or_short_name(struct index_message *m, unsigned *seed)
{
    size_t len = draw(seed, 4) == 0 ? MDNAME_MAX : 1 + draw(seed, 60);

    memset(m->name, 'a' + (char)draw(seed, 26), len);
    m->name[len] = '\0';
}

/* One change of one message, in the index and in the model. */
static void
change_one(struct model *o, unsigned *seed)
{
    uint32_t uid = 1 + draw(seed, MODEL_UIDS);
    struct index_message m;

    if (o->row.uidnext <= MODEL_UIDS && draw(seed, 2) == 0) {
        fill(&m, draw(seed, 1000));
        long_or_short_name(&m, seed);
        m.uid = draw(seed, 3) == 0 ? o->row.uidnext + draw(seed, 3) : 0;
        if (m.uid > MODEL_UIDS)
            return;
        ck_assert_int_eq(index_message_add(ix, &o->row, &m), 0);
        ck_assert_int_eq(cache_put(o->row.id, m.uid, CACHE_BODY, "c", 1), 0);
        o->m[m.uid] = m;
        o->there[m.uid] = true;
    } else if (o->there[uid] && draw(seed, 3) == 0) {
        do { /* a few in a row, now and then */
            ck_assert_int_eq(index_message_expunge(ix, &o->row, &o->m[uid]), 0);
            o->there[uid] = false;
        } while (++uid <= MODEL_UIDS && o->there[uid] && draw(seed, 3) != 0);
    } else if (o->there[uid]) {
        m = o->m[uid];
        m.internal_date = draw(seed, 2) == 0 ? DATE_UNKNOWN : 1700000000;
        long_or_short_name(&m, seed);
        ck_assert_int_eq(index_message_update(ix, &o->row, &o->m[uid], &m, draw(seed, 2) == 0),
                         0);
        o->m[uid] = m;
    }
}

static void
like_the_model(const struct model *o, unsigned *seed)
{
    uint32_t uid = draw(seed, MODEL_UIDS + 2), *uids = NULL;
    uint32_t first = draw(seed, MODEL_UIDS), last = first + draw(seed, 20);
    size_t count = 0, cap = 0, expected = 0;
    struct index_message m;
    struct buf cached = BUF_INIT(100);
    unsigned in_range = 0, walked = 0;
    int err = index_message_get(ix, o->row.id, uid, &m);

    if (uid == 0 || uid > MODEL_UIDS || !o->there[uid]) {
        ck_assert_int_eq(err, ERR_NOENT);
    } else {
        ck_assert_int_eq(index_cache_get(ix, o->row.id, uid, &cached), 0);
        ck_assert_int_eq(cached.data[cached.len - 1], 'c');
        ck_assert_int_eq(err, 0);
        ck_assert_str_eq(m.name, o->m[uid].name);
        ck_assert_int_eq(m.internal_date, o->m[uid].internal_date);
        ck_assert_int_eq(m.save_date, o->m[uid].save_date);
        ck_assert_uint_eq(m.modseq, o->m[uid].modseq);
    }
    ck_assert_int_eq(index_message_uids(ix, o->row.id, &uids, &count, &cap), 0);
    for (uid = 1; uid <= MODEL_UIDS; uid++) {
        if (o->there[uid]) {
            ck_assert_uint_lt(expected, count);
            ck_assert_uint_eq(uids[expected++], uid);
        }
        in_range += o->there[uid] && uid >= first && uid <= last;
    }
    ck_assert_uint_eq(expected, count);
    free(uids);
    ck_assert_int_eq(index_message_each(ix, o->row.id, first, last, count_messages, &walked),
                     0);
    ck_assert_uint_eq(walked, in_range);
    buf_free(&cached);
}

/* Two mailboxes in turn, so that the block in memory changes; transactions end well or not. */
START_TEST(blocks_hold_what_was_put)
{
    static struct model now[2], before[2];
    unsigned seed = (unsigned)_i + 1;

    memset(now, 0, sizeof now);
    make("A", &now[0].row, 0);
    make("B", &now[1].row, 0);
    for (unsigned round = 0; round < 60; round++) {
        memcpy(before, now, sizeof now);
        ck_assert_int_eq(draw(&seed, 3) == 0 ? index_begin_bulk(ix) : index_begin(ix), 0);
        for (unsigned i = draw(&seed, 30); i > 0; i--) {
            change_one(&now[draw(&seed, 2)], &seed);
            if (draw(&seed, 4) == 0)
                like_the_model(&now[draw(&seed, 2)], &seed);
        }
        ck_assert_int_eq(index_mailbox_put(ix, "A", &now[0].row), 0);
        ck_assert_int_eq(index_mailbox_put(ix, "B", &now[1].row), 0);
        if (draw(&seed, 3) == 0) {
            index_abort(ix);
            memcpy(now, before, sizeof now);
        } else {
            ck_assert_int_eq(index_commit(ix, false), 0);
        }
        like_the_model(&now[0], &seed);
        like_the_model(&now[1], &seed);
        consistent("A");
        consistent("B");
    }
}
END_TEST

/* The block that one session has read isn't believed after another one wrote. */
START_TEST(a_block_is_read_again_after_the_lock)
{
    struct index_mailbox row;
    struct index_message m, now;
    pid_t pid;
    int status;

    make("A", &row, 3);
    ck_assert_int_eq(index_message_get(ix, row.id, 2, &m), 0);
    index_unlock(ix);
    pid = fork();
    if (pid == 0) {
        kept = ix;
        if (index_open(path, 5, &ix) != 0 || index_lock(ix) != 0 || index_begin(ix) != 0 ||
            index_mailbox_get(ix, "A", &row) != 0)
            _exit(1);
        now = m;
        now.flags = MSG_DRAFT;
        if (index_message_update(ix, &row, &m, &now, false) != 0 ||
            index_mailbox_put(ix, "A", &row) != 0 || index_commit(ix, false) != 0)
            _exit(2);
        index_unlock(ix);
        index_close(&ix);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_message_get(ix, row.id, 2, &m), 0);
    ck_assert_uint_eq(m.flags, MSG_DRAFT);
}
END_TEST

/* ---- a disk that is full or fails ---- */

static int
sync_fails(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

/* What can't be synced is no damage: a salvage would cost change log and caches. */
START_TEST(a_sync_that_fails_is_no_damage)
{
    struct index_mailbox before, after;

    damaging = true;
    make("INBOX", &before, 10);
    for (int i = 0; i < 3; i++) {
        after = before;
        ck_assert_int_eq(index_begin(ix), 0);
        add("INBOX", &after, 1, 0);
        sys_hooks.fsync = sync_fails;
        ck_assert_int_eq(index_commit(ix, true), ERR_IO);
        sys_hooks.fsync = NULL;
        index_unlock(ix);
        ck_assert_int_eq(index_lock(ix), 0);
        ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &before), 0);
        ck_assert_uint_ge(before.messages, 10);
    }
    shell("test -z \"$(find $D -name 'broken.*')\"");
    consistent("INBOX");
}
END_TEST

static int
fill_until_full(void)
{
    struct index_mailbox row;
    int err = 0;

    for (unsigned i = 0; i < 100000 && err == 0; i++) {
        err = index_lock(ix);
        if (err != 0)
            return err;
        err = index_begin(ix);
        if (err == 0)
            err = index_mailbox_get(ix, "INBOX", &row);
        for (unsigned j = 0; j < 100 && err == 0; j++) {
            struct index_message m;

            fill(&m, j);
            err = index_message_add(ix, &row, &m);
        }
        if (err == 0)
            err = index_mailbox_put(ix, "INBOX", &row);
        if (err == 0)
            err = index_commit(ix, true);
        index_unlock(ix);
    }
    return err;
}

/* A limit on the size of files stands for the full disk. */
START_TEST(a_full_disk_changes_nothing)
{
    struct rlimit former, small;
    struct index_mailbox before, after;
    int err;

    damaging = true;
    signal(SIGXFSZ, SIG_IGN);
    make("INBOX", &before, 10);
    index_unlock(ix);
    getrlimit(RLIMIT_FSIZE, &former);
    small = former;
    small.rlim_cur = 600000; /* a log file has 512 KB */
    setrlimit(RLIMIT_FSIZE, &small);
    err = fill_until_full();
    ck_assert_int_eq(err, ERR_NOSPACE);
    setrlimit(RLIMIT_FSIZE, &former);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &after), 0);
    ck_assert_uint_eq(after.messages % 100, 10);
    ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
    ck_assert_uint_eq(after.uidnext, after.messages + 1);
    consistent("INBOX");
}
END_TEST

/* In the parent process; see store_warm_up(). */
static void
warm_up(void)
{
    if (!under_valgrind())
        return;
    setup();
    index_unlock(ix);
    teardown();
}

int
main(void)
{
    Suite *s = suite_create("index");
    TCase *records = tcase_create("records"), *api = tcase_create("api"),
          *bug = tcase_create("bug"), *damage = tcase_create("damage");
    SRunner *runner;
    int failed;

    sys_init();
    tcase_add_test(records, message_record_keeps_every_field);
    tcase_add_test(records, damaged_records_are_refused);
    tcase_add_test(records, a_file_name_is_no_path);
    tcase_add_test(records, pages_of_noise_are_refused);
    suite_add_tcase(s, records);
    tcase_add_unchecked_fixture(api, warm_up, NULL);
    tcase_add_checked_fixture(api, setup, teardown);
    tcase_set_timeout(api, 120);
    tcase_add_test(api, mailboxes_are_made_found_renamed_deleted);
    tcase_add_test(api, uidvalidity_is_above_what_is_asked);
    tcase_add_test(api, rows_come_in_order_of_names);
    tcase_add_test(api, a_row_keeps_every_field);
    tcase_add_test(api, counts_follow_every_change);
    tcase_add_test(api, uids_only_grow);
    tcase_add_test(api, ranges_are_read_whole_and_no_further);
    tcase_add_test(api, a_scan_may_scan);
    tcase_add_test(api, an_aborted_transaction_leaves_nothing);
    tcase_add_test(api, changes_since_a_modseq);
    tcase_add_test(api, quiet_updates_are_no_changes);
    tcase_add_test(api, scattered_changes_take_several_records);
    tcase_add_test(api, the_change_log_is_trimmed);
    tcase_add_test(api, cache_entries_by_tag);
    tcase_add_test(api, only_changes_are_notified);
    tcase_add_test(api, two_sessions_and_an_idle_one);
    tcase_add_test(api, an_index_removed_under_a_session);
    tcase_add_test(api, an_index_of_a_newer_version_is_left_alone);
    tcase_add_test(api, a_format_of_the_past_is_not_read);
    tcase_add_loop_test(api, blocks_hold_what_was_put, 0, 8);
    tcase_add_test(api, a_block_is_read_again_after_the_lock);
    suite_add_tcase(s, api);
    tcase_add_checked_fixture(bug, setup, NULL);
    tcase_add_exit_test(bug, locking_twice_is_a_bug, 70);
    suite_add_tcase(s, bug);
    tcase_add_checked_fixture(damage, setup, teardown);
    tcase_set_timeout(damage, 120);
    tcase_add_loop_test(damage, survives_damage, 0, (int)DAMAGES);
    tcase_add_test(damage, a_bad_record_is_dropped);
    tcase_add_test(damage, a_sync_that_fails_is_no_damage);
    tcase_add_test(damage, a_full_disk_changes_nothing);
    suite_add_tcase(s, damage);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
