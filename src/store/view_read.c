/*
 * Reading through a view: batches of rows, message files, the cache.
 *
 * The lock is held while rows are copied into a batch and never while a file is read or a
 * client is written to.
 */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/message_private.h"
#include "store/scan.h"
#include "store/view_private.h"

#define CACHE_BULK     (256 * 1024) /* octets of entries for which pages are synced, not logged */
#define ROOM_FOR_HEADS 64           /* of an entry */
#define GAP_MAX        32           /* UIDs not asked for that one walk may pass over */
#define CACHE_GAP_MAX  2            /* ... of the cache, whose entries are longer */

struct view_batch *
view_batch_new(void)
{
    struct view_batch *b = mem_calloc(1, sizeof *b);
    size_t i;

    for (i = 0; i < VIEW_BATCH; i++)
        buf_init(&b->items[i].cache, 16 << 20);
    return b;
}

void
view_batch_free(struct view_batch **b)
{
    size_t i;

    if (*b == NULL)
        return;
    for (i = 0; i < VIEW_BATCH; i++)
        buf_free(&(*b)->items[i].cache);
    free(*b);
    *b = NULL;
}

/* The next UIDs of the set that are in the view. it->next: the UID to go on with. */
static void
pick(const struct view *v, const struct seqset *uids, struct seqset_iter *it,
     struct view_batch *b)
{
    const struct seq_range *r;
    size_t at;

    b->count = 0;
    while (b->count < VIEW_BATCH && it->range < uids->count) {
        r = &uids->ranges[it->range];
        at = view_lower_bound(v, it->next > r->first ? it->next : r->first);
        for (; at < v->count && v->uids[at] <= r->last && b->count < VIEW_BATCH; at++) {
            struct view_message *m = &b->items[b->count++];

            m->seq = (uint32_t)at + 1;
            m->m.uid = v->uids[at];
            m->gone = true; /* until the row is found */
            m->recent = v->recent.count > 0 && seqset_has(&v->recent, v->uids[at]);
            buf_reset(&m->cache);
        }
        if (at < v->count && v->uids[at] <= r->last) {
            it->next = v->uids[at];
            return;
        }
        it->range++;
        it->next = 0;
    }
}

struct filler {
    struct view_message *next, *end;
};

static int
fill(void *ctx, const struct index_message *m)
{
    struct filler *f = ctx;

    while (f->next < f->end && f->next->m.uid < m->uid)
        f->next++;
    if (f->next < f->end && f->next->m.uid == m->uid) {
        f->next->m = *m;
        f->next->gone = false;
        f->next++;
    }
    return 0;
}

static int
fill_cache(void *ctx, uint32_t uid, const void *entries, size_t len)
{
    struct filler *f = ctx;

    while (f->next < f->end && f->next->m.uid < uid)
        f->next++;
    if (f->next == f->end || f->next->m.uid != uid || f->next->gone)
        return 0;
    buf_add(&f->next->cache, entries, len);
    if (!buf_ok(&f->next->cache))
        buf_reset(&f->next->cache);
    return 0;
}

/* Neighbours in one pass: with a look-up for each, SEARCH SUBJECT took twice the CPU. */
static int
read_cache(struct view *v, struct view_batch *b)
{
    size_t from, to;
    int err = 0;

    for (from = 0; err == 0 && from < b->count; from = to) {
        struct filler f = {.next = &b->items[from]};

        for (to = from + 1;
             to < b->count && b->items[to].m.uid - b->items[to - 1].m.uid <= CACHE_GAP_MAX;
             to++)
            continue;
        f.end = &b->items[to];
        err = index_cache_each(v->a->ix, v->m->row.id, b->items[from].m.uid,
                               b->items[to - 1].m.uid, fill_cache, &f);
    }
    return err;
}

int
view_read_locked(struct view *v, const struct seqset *uids, struct seqset_iter *it,
                 unsigned want, struct view_batch *b)
{
    size_t from, to;
    int err = 0;

    pick(v, uids, it, b);
    for (from = 0; err == 0 && from < b->count; from = to) {
        struct filler f = {.next = &b->items[from]};

        for (to = from + 1;
             to < b->count && b->items[to].m.uid - b->items[to - 1].m.uid <= GAP_MAX; to++)
            continue;
        f.end = &b->items[to];
        err = index_message_each(v->a->ix, v->m->row.id, b->items[from].m.uid,
                                 b->items[to - 1].m.uid, fill, &f);
    }
    return err == 0 && (want & WANT_CACHE) != 0 ? read_cache(v, b) : err;
}

/* Reads the file of one message for its size on the wire. */
static int
measure(struct view_message *vm, struct message *msg)
{
    int64_t size =
        message_wire_size(msg, 0, message_size(msg), MDNAME_SIZE_UNKNOWN, 0, UINT64_MAX);

    if (size < 0)
        return (int)size;
    vm->m.size = message_size(msg);
    vm->m.crlf_size = (uint64_t)size;
    return 0;
}

/* What the file of one message says of what is wanted and isn't known. */
static int
look_up(struct view *v, struct view_message *vm, bool size, bool date)
{
    struct message *msg;
    int err;

    if (!size && maildir_date(v->m->fd, vm->m.in_new, vm->m.name, &vm->m.internal_date) == 0)
        return 0;
    err = view_message_open(v, &vm->m, &msg);
    if (err == ERR_GONE) {
        vm->gone = true;
        return 0;
    }
    if (err < 0)
        return err;
    if (date)
        vm->m.internal_date = message_date(msg);
    if (size)
        err = measure(vm, msg);
    message_close(&msg);
    return err;
}

/* Stores what was found out without the lock. */
static int
save_found(struct view *v, const struct view_batch *b, const bool *found)
{
    struct index_message old, now;
    size_t i;
    int err = view_lock(v);

    if (err < 0)
        return err;
    err = index_begin(v->a->ix);
    for (i = 0; err == 0 && i < b->count; i++) {
        if (!found[i] || b->items[i].gone ||
            index_message_get(v->a->ix, v->m->row.id, b->items[i].m.uid, &old) < 0)
            continue;
        now = old;
        if (old.crlf_size == MDNAME_SIZE_UNKNOWN &&
            b->items[i].m.crlf_size != MDNAME_SIZE_UNKNOWN) {
            now.size = b->items[i].m.size;
            now.crlf_size = b->items[i].m.crlf_size;
        }
        if (old.internal_date == DATE_UNKNOWN)
            now.internal_date = b->items[i].m.internal_date;
        err = index_message_update(v->a->ix, &v->m->row, &old, &now, true);
    }
    if (err == 0)
        err = mailbox_put(v->m);
    if (err == 0)
        err = index_commit(v->a->ix, false);
    view_unlock(v);
    return err;
}

/* Sizes and dates that the index doesn't have yet. */
static int
complete_batch(struct view *v, struct view_batch *b, unsigned want)
{
    bool found[VIEW_BATCH], any = false;
    size_t i;
    int err = 0;

    for (i = 0; err == 0 && i < b->count; i++) {
        const struct index_message *m = &b->items[i].m;
        bool size = (want & WANT_CRLF_SIZE) != 0 && m->crlf_size == MDNAME_SIZE_UNKNOWN;
        bool date = (want & WANT_DATE) != 0 && m->internal_date == DATE_UNKNOWN;

        found[i] = !b->items[i].gone && (size || date);
        if (found[i])
            err = look_up(v, &b->items[i], size, date);
        any = any || found[i];
    }
    if (err == 0 && any)
        (void)save_found(v, b, found); /* can be found out again */
    return err;
}

void
view_distrust_size(struct view *v, uint32_t uid)
{
    struct index_message old, now;
    int err = view_lock(v);

    if (err < 0)
        return;
    err = index_begin(v->a->ix);
    if (err == 0)
        err = index_message_get(v->a->ix, v->m->row.id, uid, &old);
    if (err == 0) {
        now = old;
        now.crlf_size = MDNAME_SIZE_UNKNOWN;
        err = index_message_update(v->a->ix, &v->m->row, &old, &now, true);
    }
    if (err == 0)
        err = mailbox_put(v->m);
    if (err == 0)
        (void)index_commit(v->a->ix, false);
    view_unlock(v); /* aborts what wasn't committed */
}

int
view_read(struct view *v, const struct seqset *uids, struct seqset_iter *it, unsigned want,
          struct view_batch *batch)
{
    struct seqset_iter from = *it;
    int err, tries = 0;

    batch->count = 0;
    if (it->range >= uids->count)
        return 0;
    do {
        *it = from;
        err = view_need_uids(v);
        if (err == 0)
            err = view_lock(v);
        if (err < 0)
            return err;
        err = view_read_locked(v, uids, it, want, batch);
        view_unlock(v);
    } while (account_again(v->a, err, &tries));
    if (err == 0 && (want & (WANT_CRLF_SIZE | WANT_DATE)) != 0)
        err = complete_batch(v, batch, want);
    return err;
}

int
view_find_file(struct view *v, struct index_message *m, unsigned *finds)
{
    char name[MDNAME_MAX + 1];
    bool in_new;
    int err;

    if (++*finds > VIEW_FINDS_MAX) {
        log_warn("%s: another program renames files as fast as we look for them", v->m->name);
        return ERR_TEMP;
    }
    scan_distrust(v->m);
    err = maildir_find(v->m->fd, m->name, maildir_base_len(m->name), name, &in_new);
    if (err < 0)
        return err;
    memcpy(m->name, name, sizeof name);
    m->in_new = in_new;
    return 0;
}

/* The file isn't where it was: what the index says now, then what the directory says. */
static int
open_again(struct view *v, const struct index_message *m, struct message **out)
{
    struct index_message now;
    unsigned finds = 0;
    int err = view_lock(v);

    if (err < 0)
        return err;
    err = index_message_get(v->a->ix, v->m->row.id, m->uid, &now);
    if (err == 0) {
        err = message_open(v->m->fd, &now, out);
        if (err == ERR_NOENT) {
            err = view_find_file(v, &now, &finds);
            if (err == 0)
                err = message_open(v->m->fd, &now, out);
            if (index_begin(v->a->ix) == 0 && mailbox_put(v->m) == 0)
                (void)index_commit(v->a->ix, false); /* so that the next sync scans */
        }
    }
    view_unlock(v);
    return err == ERR_NOENT ? ERR_GONE : err;
}

int
view_message_open(struct view *v, const struct index_message *m, struct message **out)
{
    int err = message_open(v->m->fd, m, out);

    return err == ERR_NOENT ? open_again(v, m, out) : err;
}

/* Of one message: this head, then its waiting entries. */
struct waiting {
    uint32_t uid;
    uint32_t len; /* octets of the entries */
};

void
view_cache_put(struct view *v, uint32_t uid, enum index_cache_tag tag, const void *p,
               size_t len)
{
    struct waiting w = {.uid = uid};
    size_t before;

    if (len + ROOM_FOR_HEADS > VIEW_CACHE_MAX)
        return;
    if (v->cache.len + len + ROOM_FOR_HEADS > VIEW_CACHE_MAX)
        view_cache_flush(v);
    if (v->cache.len > 0)
        memcpy(&w, v->cache.data + v->last_waiting, sizeof w);
    if (v->cache.len == 0 || w.uid != uid) {
        w = (struct waiting){.uid = uid};
        v->last_waiting = v->cache.len;
        buf_add(&v->cache, &w, sizeof w);
    }
    before = v->cache.len;
    index_cache_add(&v->cache, tag, p, len);
    w.len += (uint32_t)(v->cache.len - before);
    memcpy(v->cache.data + v->last_waiting, &w, sizeof w);
}

void
view_cache_flush(struct view *v)
{
    struct waiting w;
    size_t at = 0;
    int err;

    if (v->cache.len == 0)
        return;
    if (view_lock(v) < 0) {
        buf_free(&v->cache);
        return;
    }
    err = index_room(v->a->ix);
    if (err == 0)
        err = v->cache.len < CACHE_BULK ? index_begin(v->a->ix) : index_begin_bulk(v->a->ix);
    while (err == 0 && at < v->cache.len) {
        memcpy(&w, v->cache.data + at, sizeof w);
        at += sizeof w;
        err = index_cache_put(v->a->ix, v->m->row.id, w.uid, v->cache.data + at, w.len);
        at += w.len;
    }
    if (err == 0)
        (void)index_commit(v->a->ix, false);
    view_unlock(v); /* aborts what wasn't committed */
    buf_free(&v->cache);
}
