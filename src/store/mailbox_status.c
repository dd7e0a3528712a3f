/*
 * STATUS (RFC 3501 6.3.10), of one folder and of many (RFC 5819).
 *
 * A folder whose directories have the times that its row tells is answered from the row: two
 * stat(), and it isn't even opened. Others are scanned (scan.c).
 *
 * Many folders are looked at under one lock, for as long as others can be made wait. What that
 * commits is synced once at its end, before anything of it is told: the first LIST with STATUS
 * over 10,000 folders took 67 s with three syncs for each, for their rows and ids.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/sys.h"
#include "store/message_private.h"
#include "store/quota.h"
#include "store/scan_private.h"

#define AT_ONCE_MS 100 /* that the lock is kept, if no one folder takes longer */

/* Messages whose size on the wire isn't known: their UIDs, up to a bound. */
#define SIZES_AT_ONCE 128

struct unknown_sizes {
    uint32_t uids[SIZES_AT_ONCE];
    size_t count;
};

static int
collect_unknown(void *ctx, const struct index_message *m)
{
    struct unknown_sizes *u = ctx;

    if (m->crlf_size != MDNAME_SIZE_UNKNOWN)
        return 0;
    u->uids[u->count++] = m->uid;
    return u->count == SIZES_AT_ONCE;
}

/* Measures the messages of one piece from UID `from` on. Locked; *next: where to go on, 0 at
   the end. */
static int
measure_piece(struct mailbox *m, uint32_t from, uint32_t *next)
{
    struct unknown_sizes *u = mem_calloc(1, sizeof *u);
    struct index_message old, now;
    size_t i;
    int err = index_message_each(m->a->ix, m->row.id, from, UINT32_MAX, collect_unknown, u);

    *next = err == 1 ? u->uids[u->count - 1] + 1 : 0;
    err = err < 0 ? err : index_begin(m->a->ix);
    for (i = 0; err == 0 && i < u->count; i++) {
        err = index_message_get(m->a->ix, m->row.id, u->uids[i], &old);
        now = old;
        if (err < 0 || message_measure(m->fd, &now) < 0)
            continue;
        err = index_message_update(m->a->ix, &m->row, &old, &now, true);
    }
    if (err == 0)
        err = mailbox_put(m);
    if (err == 0)
        err = index_commit(m->a->ix, false);
    else
        index_abort(m->a->ix);
    free(u);
    return err;
}

/* Gives the lock up between the pieces. */
static int
measure_all(struct mailbox *m)
{
    uint32_t next = 1;
    int err = 0;

    while (err == 0 && next != 0 && m->row.crlf_unknown > 0) {
        err = measure_piece(m, next, &next);
        if (err == 0 && next != 0) {
            account_unlock(m->a);
            err = account_lock(m->a);
            if (err < 0)
                return err;
            err = mailbox_load(m);
        }
    }
    return err;
}

static void
fill(const struct index_mailbox *row, struct mailbox_status *out)
{
    out->messages = row->messages;
    out->recent = row->recent;
    out->unseen = row->unseen;
    out->deleted = row->deleted;
    out->uidnext = row->uidnext;
    out->uidvalidity = row->uidvalidity;
    out->highestmodseq = row->highestmodseq;
    out->bytes = row->bytes;
    out->crlf_bytes = row->crlf_bytes;
    memcpy(out->objectid, row->objectid, sizeof out->objectid);
}

/* Does the row tell all, without a look into the directories? Locked. */
static bool
is_known(struct account *a, const char *name, bool need_size, struct mailbox_status *out)
{
    char dir[MBOXNAME_MAX + 2];
    struct maildir_times times;
    struct index_mailbox row;

    if (index_mailbox_get(a->ix, name, &row) != 0 || (need_size && row.crlf_unknown > 0))
        return false;
    maildir_dir_name(name, dir, sizeof dir);
    if (maildir_look(a->root, dir, &times) != 0 || !scan_is_current(a, &row, &times, 0))
        return false;
    fill(&row, out);
    return true;
}

/* Locked. `later`: what may wait for mailbox_settle(); then messages aren't measured either:
 *unmeasured. */
static int
look_at(struct account *a, const char *name, bool need_size, struct later *later,
        bool *unmeasured, struct mailbox_status *out)
{
    struct mailbox *m = NULL;
    int err;

    *unmeasured = false;
    if (is_known(a, name, need_size, out))
        return 0;
    err = mailbox_open_later(a, name, later, &m);
    if (err == 0)
        err = scan_sync(m, 0);
    if (err == 0 && need_size && later == NULL)
        err = measure_all(m);
    if (err == 0) {
        fill(&m->row, out);
        *unmeasured = need_size && m->row.crlf_unknown > 0;
    }
    mailbox_close(&m);
    return err == ERR_GONE ? ERR_NOENT : err;
}

int
mailbox_status(struct account *a, const char *name, bool need_size, struct mailbox_status *out)
{
    int err, tries = 0;
    bool unmeasured;

    do {
        err = account_lock(a);
        if (err == 0) {
            err = look_at(a, name, need_size, NULL, &unmeasured, out);
            account_unlock(a);
        }
    } while (account_again(a, err, &tries));
    return err;
}

/* Once more, each by itself: what the batch couldn't do. */
static void
do_rest(struct account *a, bool need_size, bool all, struct mailbox_answer *items, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (all || items[i].unmeasured)
            items[i].err = mailbox_status(a, items[i].name, need_size, &items[i].status);
    }
}

/* Some of them under one lock. How many. */
static size_t
look_at_some(struct account *a, bool need_size, struct mailbox_answer *items, size_t count)
{
    struct later later = {.sync = false};
    int64_t end = sys_monotonic_ms() + AT_ONCE_MS;
    int err = account_lock(a);
    size_t n = 0, i;

    for (i = 0; err < 0 && i < count; i++)
        items[i].err = err;
    if (err < 0)
        return count;
    do {
        items[n].err = look_at(a, items[n].name, need_size, &later, &items[n].unmeasured,
                               &items[n].status);
        n++;
    } while (n < count && sys_monotonic_ms() < end);
    err = mailbox_settle(a, &later);
    account_unlock(a);
    for (i = 0; err < 0 && i < n; i++)
        items[i].err = err;
    do_rest(a, need_size, index_failed(a->ix), items, n);
    return n;
}

void
mailbox_statuses(struct account *a, bool need_size, struct mailbox_answer *items, size_t count)
{
    size_t done = 0;

    while (done < count)
        done += look_at_some(a, need_size, items + done, count - done);
}

static int
add_deleted(void *ctx, const struct index_message *m)
{
    uint64_t *bytes = ctx;

    if ((m->flags & MSG_DELETED) != 0)
        *bytes += quota_size(m->name, m->size);
    return 0;
}

int
mailbox_deleted_bytes(struct account *a, const char *name, uint64_t *bytes)
{
    struct mailbox *m;
    int err = account_lock(a);

    *bytes = 0;
    if (err < 0)
        return err;
    err = mailbox_open(a, name, &m);
    if (err == 0)
        err = index_message_each(a->ix, m->row.id, 1, UINT32_MAX, add_deleted, bytes);
    account_unlock(a);
    mailbox_close(&m);
    return err;
}
