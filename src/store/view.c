/*
 * The view: opening, numbers, loading. What it is: view.h. The one function that changes what
 * the client believes is in view_sync.c.
 *
 * A view starts with a row: counts, next UID, and the mod-sequence as of which they hold. The
 * array of UIDs is loaded when a number is first asked for. By then others may have changed the
 * mailbox, so what's loaded is put back to the moment the client knows: UIDs that came later
 * are left out, and those that were expunged since are put in again from the change log. If the
 * log doesn't reach back so far, and the count shows that something is missing, the view is
 * void: rather that than a wrong number.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/scan.h"
#include "store/view_private.h"

int
view_lock(struct view *v)
{
    int err = v->broken ? ERR_GONE : account_lock(v->a);

    if (err < 0)
        return err;
    err = index_incarnation(v->a->ix) == v->incarnation ? mailbox_load(v->m) : ERR_GONE;
    if (err < 0)
        account_unlock(v->a);
    v->broken = v->broken || err == ERR_GONE;
    return err;
}

void
view_unlock(struct view *v)
{
    account_unlock(v->a);
}

int
view_scan(struct view *v)
{
    bool move = (v->flags & (VIEW_READONLY | VIEW_POP3)) == 0;

    return scan_sync(v->m, move ? SCAN_MOVE : 0);
}

#define COUNT_MAX 4096 /* UIDs that are counted rather than all loaded */

static int
count_one(void *ctx, const struct index_message *m)
{
    (void)m;
    ++*(uint32_t *)ctx;
    return 0;
}

/* The number of a UID that is there. Unseen messages mostly lie near one end: then the few from
   there on are counted; else the UIDs are loaded, which the session will need anyway. */
static int
number_of(struct view *v, uint32_t uid, uint32_t *seq)
{
    struct index_mailbox *row = &v->m->row;
    uint32_t count = 0;
    int err;

    if (uid <= COUNT_MAX) {
        err = index_message_each(v->a->ix, row->id, 1, uid, count_one, &count);
        *seq = count;
    } else if (row->uidnext - uid <= COUNT_MAX) {
        err = index_message_each(v->a->ix, row->id, uid, UINT32_MAX, count_one, &count);
        *seq = row->messages - count + 1;
    } else {
        err = view_load_uids(v);
        *seq = (uint32_t)view_lower_bound(v, uid) + 1;
    }
    return err;
}

/* The number of the first unseen message; its UID is in the row, or found and kept there. */
static int
find_first_unseen(struct view *v)
{
    struct index_mailbox *row = &v->m->row;
    bool known = row->first_unseen_known;
    int err;

    if (row->unseen == 0 || row->unseen == row->messages) {
        v->info.first_unseen = row->unseen > 0;
        return 0;
    }
    err = index_first_unseen(v->a->ix, row);
    if (err == 0)
        err = number_of(v, row->first_unseen, &v->info.first_unseen);
    if (err < 0 || known)
        return err;
    err = index_begin(v->a->ix);
    if (err == 0)
        err = mailbox_put(v->m);
    return err == 0 ? index_commit(v->a->ix, false) : err;
}

static void
fill_info(struct view *v)
{
    struct index_mailbox *row = &v->m->row;

    v->modseq = row->highestmodseq;
    v->uidnext = row->uidnext;
    v->info.exists = row->messages;
    v->info.uidvalidity = row->uidvalidity;
    v->info.uidnext = row->uidnext;
    v->info.highestmodseq = row->highestmodseq;
    v->info.readonly = (v->flags & VIEW_READONLY) != 0;
}

static int
open_locked(struct view *v, const char *name)
{
    int err = mailbox_open(v->a, name, &v->m);

    if (err < 0)
        return err;
    v->incarnation = index_incarnation(v->a->ix);
    err = view_scan(v);
    if (err < 0)
        return err == ERR_GONE ? ERR_NOENT : err;
    fill_info(v);
    if ((v->flags & VIEW_POP3) == 0)
        err = find_first_unseen(v);
    return err == 0 ? view_take_recent(v) : err;
}

static int
open_once(struct account *a, const char *name, unsigned flags, struct view **out)
{
    struct view *v = mem_calloc(1, sizeof *v);
    int err;

    *out = NULL;
    v->a = a;
    v->flags = flags;
    v->watch = v->watched[0] = v->watched[1] = v->watched[2] = -1;
    buf_init(&v->cache, VIEW_CACHE_MAX);
    err = account_lock(a);
    if (err == 0) {
        err = open_locked(v, name);
        account_unlock(a);
    }
    if (err < 0) {
        view_close(&v);
        return err;
    }
    *out = v;
    return 0;
}

int
view_open(struct account *a, const char *name, unsigned flags, struct view **out)
{
    int err, tries = 0;

    do
        err = open_once(a, name, flags, out);
    while (account_again(a, err, &tries));
    return err;
}

void
view_close(struct view **v)
{
    if (*v == NULL)
        return;
    if ((*v)->m != NULL)
        view_cache_flush(*v);
    view_watch_end(*v);
    mailbox_close(&(*v)->m);
    free((*v)->uids);
    free((*v)->own);
    view_flags_forget(*v);
    seqset_free(&(*v)->gone);
    seqset_free(&(*v)->recent);
    seqset_free(&(*v)->report);
    buf_free(&(*v)->cache);
    free(*v);
    *v = NULL;
}

const struct view_info *
view_info(const struct view *v)
{
    return &v->info;
}

const char *
view_name(const struct view *v)
{
    return v->m->name;
}

size_t
view_lower_bound(const struct view *v, uint32_t uid)
{
    size_t low = 0, high = v->count, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (v->uids[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Merges a set of UIDs into the array. */
static void
put_back(struct view *v, const struct seqset *set)
{
    uint64_t added = seqset_size(set);
    uint32_t *merged, n = 0;
    struct seqset_iter it = {0, 0};
    size_t i = 0, j = 0;
    bool more;

    if (added == 0)
        return;
    merged = mem_reallocarray(NULL, v->count + (size_t)added, sizeof *merged);
    more = seqset_next(set, &it, &n);
    while (i < v->count || more) {
        if (more && (i == v->count || n < v->uids[i])) {
            merged[j++] = n;
            more = seqset_next(set, &it, &n);
            continue;
        }
        if (more && n == v->uids[i])
            more = seqset_next(set, &it, &n);
        merged[j++] = v->uids[i++];
    }
    free(v->uids);
    v->uids = merged;
    v->count = j;
    v->cap = v->count + (size_t)added > j ? j : v->count;
}

struct collect {
    struct seqset set;
    uint32_t below;
};

static int
collect_expunged(void *ctx, enum index_change what, uint32_t first, uint32_t last,
                 uint64_t modseq)
{
    struct collect *c = ctx;

    (void)modseq;
    if (what == CHANGE_EXPUNGED && first < c->below)
        seqset_add(&c->set, first, last < c->below ? last : c->below - 1);
    return 0;
}

int
view_load_uids(struct view *v)
{
    struct collect c = {.below = v->uidnext};
    struct index_mailbox *row = &v->m->row;
    int err;

    if (v->loaded)
        return 0;
    v->count = 0;
    err = index_message_uids(v->a->ix, row->id, &v->uids, &v->count, &v->cap);
    if (err < 0)
        return err;
    v->count = view_lower_bound(v, v->uidnext);
    seqset_init(&c.set);
    if (row->highestmodseq != v->modseq && v->count + seqset_size(&v->gone) < v->info.exists)
        err = index_changes_each(v->a->ix, row, v->modseq, collect_expunged, &c);
    if (err == 0 || err == ERR_RANGE) {
        put_back(v, &v->gone);
        put_back(v, &c.set);
        err = 0;
    }
    seqset_free(&c.set);
    if (err == 0 && v->count != v->info.exists) {
        log_warn("%s: %zu messages where the client knows of %u: it must select again",
                 v->m->name, v->count, v->info.exists);
        if (v->count < v->info.exists)
            index_distrust(v->a->ix);
        v->broken = true;
        err = ERR_GONE;
    }
    v->loaded = err == 0;
    return err;
}

int
view_need_uids(struct view *v)
{
    int err, tries = 0;

    if (v->loaded)
        return 0;
    do {
        err = view_lock(v);
        if (err < 0)
            return err;
        err = view_load_uids(v);
        view_unlock(v);
    } while (account_again(v->a, err, &tries));
    return err;
}

uint32_t
view_uid(struct view *v, uint32_t seq)
{
    if (seq == 0 || seq > v->info.exists || view_need_uids(v) < 0)
        return 0;
    return v->uids[seq - 1];
}

uint32_t
view_seq(struct view *v, uint32_t uid)
{
    size_t i;

    if (view_need_uids(v) < 0)
        return 0;
    i = view_lower_bound(v, uid);
    return i < v->count && v->uids[i] == uid ? (uint32_t)i + 1 : 0;
}

int
view_seqs_to_uids(struct view *v, const struct seqset *seqs, struct seqset *uids)
{
    uint32_t seq;
    size_t i;
    int err = view_need_uids(v);

    seqset_clear(uids);
    for (i = 0; err == 0 && i < seqs->count; i++) {
        if (seqs->ranges[i].last > v->count)
            return ERR_RANGE;
        for (seq = seqs->ranges[i].first; seq <= seqs->ranges[i].last; seq++)
            seqset_add(uids, v->uids[seq - 1], v->uids[seq - 1]);
    }
    return err;
}

int
view_known_uids(struct view *v, const struct seqset *uids, struct seqset *known)
{
    size_t i, at;
    int err = view_need_uids(v);

    seqset_clear(known);
    for (i = 0; err == 0 && i < uids->count; i++) {
        at = view_lower_bound(v, uids->ranges[i].first);
        for (; at < v->count && v->uids[at] <= uids->ranges[i].last; at++)
            seqset_add(known, v->uids[at], v->uids[at]);
    }
    return err;
}

bool
view_is_recent(const struct view *v, uint32_t uid)
{
    return seqset_has(&v->recent, uid);
}

bool
view_is_own(const struct view *v, uint64_t modseq)
{
    size_t i;

    for (i = 0; i < v->own_count; i++) {
        if (v->own[i] == modseq)
            return true;
    }
    return false;
}

void
view_own_change(struct view *v, uint64_t before, uint64_t after)
{
    if (before == after)
        return;
    if (v->modseq == before) { /* nobody else changed anything since the last sync */
        v->modseq = after;
        v->info.highestmodseq = after;
        return;
    }
    if (v->own_count == v->own_cap) {
        v->own_cap = v->own_cap > 0 ? v->own_cap * 2 : 8;
        v->own = mem_reallocarray(v->own, v->own_cap, sizeof *v->own);
    }
    v->own[v->own_count++] = after;
}
