/*
 * Maildir -> index.
 *
 * The problem: other programs deliver, rename and delete in the same directories at any time,
 * without our lock, and readdir() over a directory that changes meanwhile may miss a file that
 * was renamed, or give it twice. Yet a mailbox of 200,000 messages can't be read again for each
 * command. What we have is the mtime of new/ and of cur/, which every creation, rename and
 * removal moves on, but only to the clock's tick: two changes within one tick (4 ms on Linux, a
 * second on older file systems) leave one and the same mtime.
 *
 * So the index row keeps the mtimes as of the last look, and:
 *
 * 1. cur/ with another mtime than recorded is read in full and merged with the index by base
 *    name: unknown names are new messages, names with other letters are flag changes, messages
 *    without a file are expunged. "Another", not "later": clocks are set back.
 * 2. A recorded mtime that was less than a tick old when the scan began proves nothing about
 *    changes behind the scan. Such a "dirty" row is scanned again, at once if that's cheap,
 *    else after 20 times the cost of a scan, until a scan began more than a tick behind the
 *    mtime. A time of a scan that lies in the future is no reason to wait. The tick is a
 *    second, but 20 ms where it's known to be shorter: a local file system, whose kernel dates
 *    changes by the very clock that we ask when a scan begins, and a mtime with nanoseconds.
 *    Scans that find nothing in a row that stays dirty aren't written down, if they're cheap.
 * 3. Directory times are taken before and after reading, and reading is repeated if they
 *    differ. If they never agree (a busy neighbour), new messages and flags are taken, but
 *    nothing is expunged, and the next sync scans again. Even when they agree, a dirty
 *    directory may have hidden a rename from readdir(): a message counts as gone only if a
 *    second reading doesn't see it either.
 * 4. Our own renames in cur/ move its mtime too. They're made under the lock right after the
 *    mtime was seen to be the recorded one, and the mtime after them is recorded, with
 *    own_changes set. A neighbour's change that falls between these two looks is covered up by
 *    that, so rows with own_changes are audited: a full scan once max(5 s, 100 * cost of a
 *    scan) have passed since the last one. So a STORE in a mailbox of 200,000 doesn't cost a
 *    readdir, a scan takes one percent of the time at most, and nothing stays hidden for long.
 * 5. new/ is read whenever its mtime isn't the recorded one. As long as that is less than a
 *    tick old, 1 is recorded instead, which no mtime equals; reading new/ is cheap. Each file
 *    gets its UID, in the order of delivery, and moves to cur/ if the session may do that
 *    (SELECT); EXAMINE, STATUS and POP3 leave it there (in_new). The sign of the recorded
 *    new_mtime says whether such messages exist; their UIDs are never below first_recent, since
 *    the session that claims \Recent moves them all, so that few rows need to be looked at.
 *    Where a file can't be moved, the session doesn't claim \Recent.
 * 6. What was scanned before the account's last recovery is scanned again: after a power cut
 *    some renames may be on the disk and others not, and not every file system keeps the times
 *    of its directories in step.
 * 7. One synced commit before any client sees a new UID; very large scans commit in pieces,
 *    with the mtimes 0 until the last one, which alone is synced: one that is cut short is done
 *    again, and one that fails syncs what it has.
 *
 * Files win over the index in everything that file names can say. scan_apply.c does the
 * writing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/scan_private.h"

#define TICK_US           1000000       /* the coarsest clock of a file system */
#define TICK_HERE_US      20000         /* this kernel's: at least 100 ticks a second */
#define CHEAP_US          2500          /* a scan that's rather done again than written down */
#define DIRTY_WAIT_MAX_US (5 * 1000000) /* rule 2 */
#define AUDIT_MIN_US      (5 * 1000000) /* rule 4 */
#define READ_TRIES        4             /* rule 3 */
#define DIRTY_MTIME       1             /* rule 5 */

/* Has `wait` passed since `then`? A time in the future counts as long ago. */
static bool
is_due(int64_t now, int64_t then, int64_t wait)
{
    return now < then || now - then >= wait;
}

/* Rule 2: was a directory with this mtime, read since `started`, without later changes? */
static bool
is_settled(struct account *a, dev_t dev, int64_t mtime, int64_t started)
{
    if (mtime / 1000 <= started - TICK_US)
        return true;
    return mtime / 1000 <= started - TICK_HERE_US && mtime % 1000000 != 0 &&
           account_stamps_here(a, dev);
}

/* Rules 1, 2, 4, 6. */
static bool
needs_full(struct account *a, const struct index_mailbox *row,
           const struct maildir_times *times)
{
    int64_t now = sys_now_us(), wait;

    if (row->cur_mtime != times->cur_mtime || row->new_mtime == 0 || row->cur_mtime == 0)
        return true;
    if (row->scan_epoch != index_epoch(a->ix))
        return true;
    if (row->own_changes) {
        wait = INT64_C(100) * row->scan_cost_us;
        return is_due(now, row->scanned_at, wait > AUDIT_MIN_US ? wait : AUDIT_MIN_US);
    }
    if (is_settled(a, times->dev, times->cur_mtime, row->scanned_at))
        return false;
    wait = INT64_C(20) * row->scan_cost_us;
    return is_due(now, row->scanned_at, wait < DIRTY_WAIT_MAX_US ? wait : DIRTY_WAIT_MAX_US);
}

/* Rule 5. */
static bool
needs_new(const struct index_mailbox *row, int64_t new_mtime, unsigned flags)
{
    int64_t recorded = row->new_mtime < 0 ? -row->new_mtime : row->new_mtime;

    return recorded != new_mtime || (row->new_mtime < 0 && (flags & SCAN_MOVE) != 0);
}

bool
scan_is_current(struct account *a, const struct index_mailbox *row,
                const struct maildir_times *times, unsigned flags)
{
    return (flags & SCAN_FULL) == 0 && !needs_full(a, row, times) &&
           !needs_new(row, times->new_mtime, flags);
}

static void
scan_init(struct scan *s, struct mailbox *m, unsigned flags)
{
    memset(s, 0, sizeof *s);
    s->m = m;
    s->flags = flags;
    scan_table_init(&s->table);
}

/* Takes the directories' times. */
static int
look(struct scan *s)
{
    s->looked_at = sys_stamp_us();
    return maildir_look(s->m->fd, ".", &s->times);
}

static void
scan_free(struct scan *s)
{
    scan_table_free(&s->table);
    free(s->known);
    free(s->gone);
    free(s->fresh);
}

void
scan_add_known(struct scan *s, uint32_t uid, uint32_t entry)
{
    if (s->known_count == s->known_cap) {
        s->known_cap = s->known_cap > 0 ? s->known_cap * 2 : 32;
        s->known = mem_reallocarray(s->known, s->known_cap, sizeof *s->known);
    }
    s->known[s->known_count].uid = uid;
    s->known[s->known_count++].entry = entry;
}

static void
add_gone(struct scan *s, uint32_t uid)
{
    if (s->gone_count == s->gone_cap) {
        s->gone_cap = s->gone_cap > 0 ? s->gone_cap * 2 : 32;
        s->gone = mem_reallocarray(s->gone, s->gone_cap, sizeof *s->gone);
    }
    s->gone[s->gone_count++] = uid;
}

/* Reads new/ and then cur/ (a file moves in that direction: it may be seen twice, but isn't
   missed), until the times are those of the last look. *stable: they are. */
static int
read_all(struct scan *s, bool *stable)
{
    struct maildir_times before;
    int err, tries;

    *stable = false;
    for (tries = 0; tries < READ_TRIES && !*stable; tries++) {
        before = s->times;
        s->started = s->looked_at;
        scan_table_clear(&s->table);
        err = scan_table_read(&s->table, s->m->fd, true);
        if (err == 0)
            err = scan_table_read(&s->table, s->m->fd, false);
        if (err == 0)
            err = look(s);
        if (err < 0)
            return err;
        *stable =
            before.new_mtime == s->times.new_mtime && before.cur_mtime == s->times.cur_mtime;
    }
    return 0;
}

static int
merge_message(void *ctx, const struct index_message *m)
{
    struct scan *s = ctx;
    uint32_t i = scan_table_find(&s->table, m->name, maildir_base_len(m->name));
    struct scan_entry *e;

    if (i == SCAN_NONE || s->table.items[i].matched) {
        add_gone(s, m->uid);
        return 0;
    }
    e = &s->table.items[i];
    e->matched = true;
    if (e->in_new != m->in_new || (e->in_new && (s->flags & SCAN_MOVE) != 0) ||
        !scan_table_is(&s->table, i, m->name))
        scan_add_known(s, m->uid, i);
    else if (e->in_new)
        s->left_in_new = true;
    return 0;
}

static int
read_and_merge(struct scan *s, bool *stable)
{
    int err;

    s->known_count = s->gone_count = 0;
    s->left_in_new = false;
    err = read_all(s, stable);
    if (err == 0 && s->table.twins > 0)
        err = scan_resolve_twins(s);
    if (err == 0)
        err = index_message_each(s->m->a->ix, s->m->row.id, 1, UINT32_MAX, merge_message, s);
    return err;
}

/* Of two ascending lists keeps in `a` what's in both; true if `b` held more. */
static size_t
intersect(uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count, bool *more)
{
    size_t i = 0, j = 0, n = 0;

    *more = false;
    while (j < b_count) {
        if (i < a_count && a[i] < b[j]) {
            i++;
        } else if (i < a_count && a[i] == b[j]) {
            a[n++] = a[i++];
            j++;
        } else {
            *more = true;
            j++;
        }
    }
    return n;
}

/* Rule 3: messages are missing in a directory that was changed a moment ago. */
static int
confirm_gone(struct scan *s, bool *stable)
{
    size_t first_count = s->gone_count;
    uint32_t *first = s->gone;
    bool more;
    int err;

    s->gone = NULL;
    s->gone_count = s->gone_cap = 0;
    err = read_and_merge(s, stable);
    if (err == 0 && *stable) {
        first_count = intersect(first, first_count, s->gone, s->gone_count, &more);
        free(s->gone);
        s->gone = first;
        s->gone_count = first_count;
        s->gone_cap = first_count;
        s->again = s->again || more;
        return 0;
    }
    free(first);
    return err;
}

static bool
is_fresh_time(const struct scan *s, int64_t mtime)
{
    return !is_settled(s->m->a, s->times.dev, mtime, s->started);
}

/* What to record for new/ (rule 5): called when everything has been moved that could be. */
static void
record_new(struct scan *s, bool stable)
{
    struct index_mailbox *row = &s->m->row;
    int64_t value = stable && !s->moved && !is_fresh_time(s, s->times.new_mtime)
                        ? s->times.new_mtime
                        : DIRTY_MTIME;

    row->new_mtime = s->left_in_new ? -value : value;
    if (s->again)
        row->new_mtime = 0;
}

/* What a row says of the last look at the directories. */
struct looked {
    int64_t new_mtime, cur_mtime, scanned_at;
    uint64_t scan_epoch;
    uint32_t scan_cost_us;
    bool own_changes;
};

static struct looked
looked_of(const struct index_mailbox *row)
{
    return (struct looked){row->new_mtime,  row->cur_mtime,    row->scanned_at,
                           row->scan_epoch, row->scan_cost_us, row->own_changes};
}

/* Rule 2: a cheap scan that found nothing, and after which the row is as dirty as before. Then
   the row is what the index has. */
static bool
is_in_vain(const struct scan *s, const struct looked *before)
{
    struct index_mailbox *row = &s->m->row;

    if (s->changed || s->open || s->moved || s->pending_import || before->own_changes ||
        before->scan_epoch != row->scan_epoch || before->new_mtime != row->new_mtime ||
        before->cur_mtime != row->cur_mtime || row->scan_cost_us > CHEAP_US ||
        !is_fresh_time(s, row->cur_mtime))
        return false;
    row->scanned_at = before->scanned_at;
    row->scan_cost_us = before->scan_cost_us;
    return true;
}

/* Rules 1 to 3: reads both directories. */
static int
scan_full(struct scan *s)
{
    struct index_mailbox *row = &s->m->row;
    struct looked before = looked_of(row);
    int64_t begun = sys_monotonic_ms(), cost;
    bool stable;
    int err = read_and_merge(s, &stable);

    if (err == 0 && stable && s->gone_count > 0 && is_fresh_time(s, s->times.cur_mtime))
        err = confirm_gone(s, &stable);
    if (err < 0)
        return err;
    if (!stable) {
        s->gone_count = 0;
        s->again = true;
    }
    cost = sys_monotonic_ms() - begun;
    err = scan_import_begin(s);
    if (err < 0)
        return err;
    row->new_mtime = 0; /* rule 7 */
    row->cur_mtime = s->pending_import ? IMPORT_PENDING : 0;
    err = scan_apply(s);
    if (err == 0)
        err = scan_import_known(s);
    if (err < 0)
        return err;
    scan_import_end(s);
    if (!s->pending_import || (s->flags & SCAN_LISTED) == 0)
        row->scanned_at = s->started; /* 0: no session has been here */
    row->scan_cost_us = cost > 1000000 ? 1000000000 : (uint32_t)cost * 1000 + 100;
    row->scan_epoch = index_epoch(s->m->a->ix);
    row->own_changes = false;
    row->cur_mtime = s->times.cur_mtime;
    if (s->moved)
        scan_note_own(s->m);
    record_new(s, stable);
    if (s->again || s->pending_import)
        row->cur_mtime = s->pending_import ? IMPORT_PENDING : 0;
    return is_in_vain(s, &before) ? 0 : scan_finish(s);
}

/* A message of the index that was left in new/. */
static int
merge_in_new(void *ctx, const struct index_message *m)
{
    struct scan *s = ctx;
    uint32_t i;

    if (!m->in_new)
        return 0;
    i = scan_table_find(&s->table, m->name, maildir_base_len(m->name));
    if (i == SCAN_NONE) {
        s->again = true; /* another program moved or removed it */
        return 0;
    }
    s->table.items[i].matched = true;
    if ((s->flags & SCAN_MOVE) != 0 || !scan_table_is(&s->table, i, m->name))
        scan_add_known(s, m->uid, i);
    else
        s->left_in_new = true;
    return 0;
}

/* Rule 5: only new/ changed. *full: that wasn't all. */
static int
scan_new(struct scan *s, bool *full)
{
    struct index_mailbox *row = &s->m->row;
    int64_t recorded = row->new_mtime, new_before = s->times.new_mtime;
    int err = scan_table_read(&s->table, s->m->fd, true);

    s->started = s->looked_at;
    if (err == 0 && row->new_mtime < 0)
        err = index_message_each(s->m->a->ix, row->id, row->first_recent, UINT32_MAX,
                                 merge_in_new, s);
    *full = s->again || s->table.twins > 0;
    if (err < 0 || *full)
        return err;
    err = look(s);
    row->new_mtime = 0; /* rule 7 */
    if (err == 0)
        err = scan_apply(s);
    if (err < 0)
        return err;
    if (s->moved)
        scan_note_own(s->m);
    record_new(s, new_before == s->times.new_mtime);
    if (!s->changed && !s->again && row->new_mtime == recorded)
        return 0;
    return scan_finish(s);
}

int
scan_sync(struct mailbox *m, unsigned flags)
{
    struct scan s;
    bool full;
    int err;

    scan_init(&s, m, flags);
    err = look(&s);
    /* some programs remove an empty new/ or tmp/ */
    if (err == ERR_NOENT && faccessat(m->fd, "cur", F_OK, 0) == 0 &&
        maildir_make_parts(m->fd, false) == 0)
        err = look(&s);
    if (err < 0)
        return err == ERR_NOENT ? ERR_GONE : err;
    if (scan_is_current(m->a, &m->row, &s.times, flags))
        return 0;
    full = (flags & SCAN_FULL) != 0 || needs_full(m->a, &m->row, &s.times);
    err = full ? 0 : scan_new(&s, &full);
    if (err == 0 && full) {
        scan_free(&s);
        scan_init(&s, m, flags);
        err = look(&s);
        err = err == 0 ? scan_full(&s) : err;
    }
    if (err < 0)
        index_abort(m->a->ix);
    if (err < 0 && s.need_sync)
        (void)index_sync(m->a->ix); /* rule 7: pieces may be committed, for all to see */
    scan_free(&s);
    return err == ERR_NOENT ? ERR_GONE : err;
}

void
scan_note_own(struct mailbox *m)
{
    struct maildir_times times;

    m->row.own_changes = true;
    if (maildir_look(m->fd, ".", &times) < 0)
        m->row.cur_mtime = 0;
    else if (m->row.cur_mtime != 0 && m->row.cur_mtime != IMPORT_PENDING)
        m->row.cur_mtime = times.cur_mtime;
}

void
scan_distrust(struct mailbox *m)
{
    if (m->row.cur_mtime != IMPORT_PENDING)
        m->row.cur_mtime = 0;
}
