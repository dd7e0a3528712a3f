/*
 * The one function that changes what a client believes (HACKING, invariant 6).
 *
 * The index's change log says what happened behind the view's mod-sequence, in time
 * proportional to the change. If it doesn't reach back that far, all messages are compared.
 * Messages that are gone keep their numbers (RFC 3501 7.4.1) until a call that may tell; they
 * wait in v->gone. The session's own STOREs are known by their mod-sequences and not echoed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "store/scan.h"
#include "store/view_private.h"

struct changes {
    struct view *v;
    struct seqset gone, flags;
    uint32_t added, added_recent;
};

/* Copies the keywords' names for the client; true if they differ from what it knew. */
static bool
take_keywords(struct view *v)
{
    struct index_mailbox *row = &v->m->row;
    bool changed = v->info.keywords_count != row->keywords_count, full = true;
    size_t i;

    for (i = 0; i < row->keywords_count; i++) {
        changed = changed || strcmp(v->keywords[i], row->keywords[i]) != 0;
        memcpy(v->keywords[i], row->keywords[i], sizeof v->keywords[i]);
        v->info.keywords[i] = v->keywords[i][0] != '\0' ? v->keywords[i] : NULL;
        full = full && v->keywords[i][0] != '\0';
    }
    v->info.keywords_count = row->keywords_count;
    v->info.keywords_full = full && row->keywords_count == KEYWORDS_MAX;
    return changed;
}

/* \Recent (RFC 3501 2.3.2): a session that selects claims what no session had before. */
static int
claim_recent(struct view *v)
{
    struct index_mailbox *row = &v->m->row;
    int err;

    /* with messages left in new/, first_recent must stay (scan.c, rule 5) */
    if (row->first_recent >= row->uidnext || row->new_mtime < 0)
        return 0;
    seqset_add(&v->recent, row->first_recent > 0 ? row->first_recent : 1, row->uidnext - 1);
    v->info.recent += row->recent;
    row->first_recent = row->uidnext;
    row->recent = 0;
    err = index_begin(v->a->ix);
    if (err == 0)
        err = mailbox_put(v->m);
    return err == 0 ? index_commit(v->a->ix, false) : err;
}

int
view_take_recent(struct view *v)
{
    struct index_mailbox *row = &v->m->row;

    take_keywords(v);
    if ((v->flags & (VIEW_READONLY | VIEW_POP3)) == 0)
        return claim_recent(v);
    if (row->first_recent < row->uidnext) {
        seqset_add(&v->recent, row->first_recent > 0 ? row->first_recent : 1, row->uidnext - 1);
        v->info.recent = row->recent;
    }
    return 0;
}

static int
take_change(void *ctx, enum index_change what, uint32_t first, uint32_t last, uint64_t modseq)
{
    struct changes *c = ctx;

    if (first >= c->v->uidnext || what == CHANGE_ADDED)
        return 0;
    if (last >= c->v->uidnext)
        last = c->v->uidnext - 1;
    if (what == CHANGE_EXPUNGED)
        seqset_add(&c->gone, first, last);
    else if (!view_is_own(c->v, modseq))
        seqset_add(&c->flags, first, last);
    return 0;
}

static int
take_compared(void *ctx, const struct index_message *m)
{
    struct changes *c = ctx;

    seqset_remove(&c->gone, m->uid, m->uid);
    if (m->modseq > c->v->modseq && !view_is_own(c->v, m->modseq))
        seqset_add(&c->flags, m->uid, m->uid);
    return 0;
}

/* The change log was cut: everything is compared. */
static int
compare_all(struct changes *c)
{
    struct view *v = c->v;
    size_t i;
    int err = view_load_uids(v);

    seqset_clear(&c->flags);
    seqset_clear(&c->gone);
    if (err < 0 || v->uidnext <= 1)
        return err;
    for (i = 0; i < v->count; i++)
        seqset_add(&c->gone, v->uids[i], v->uids[i]);
    return index_message_each(v->a->ix, v->m->row.id, 1, v->uidnext - 1, take_compared, c);
}

static int
take_added(void *ctx, const struct index_message *m)
{
    struct changes *c = ctx;
    struct view *v = c->v;

    c->added++;
    c->added_recent += m->uid >= v->m->row.first_recent;
    if (!v->loaded)
        return 0;
    if (v->count == v->cap) {
        v->cap = v->cap > 0 ? v->cap * 2 : 64;
        v->uids = mem_reallocarray(v->uids, v->cap, sizeof *v->uids);
    }
    v->uids[v->count++] = m->uid;
    return 0;
}

/* Reads what happened. The view's array must be loaded before anything is added to it, if a
   number of it will be needed. */
static int
collect(struct changes *c, bool expunge)
{
    struct view *v = c->v;
    struct index_mailbox *row = &v->m->row;
    int err = index_changes_each(v->a->ix, row, v->modseq, take_change, c);

    if (err == ERR_RANGE)
        err = compare_all(c);
    if (err == 0 && expunge && (c->gone.count > 0 || v->gone.count > 0))
        err = view_load_uids(v);
    if (err == 0 && row->uidnext > v->uidnext)
        err = index_message_each(v->a->ix, row->id, v->uidnext, UINT32_MAX, take_added, c);
    return err;
}

static void
add_set(struct seqset *to, const struct seqset *from)
{
    size_t i;

    for (i = 0; i < from->count; i++)
        seqset_add(to, from->ranges[i].first, from->ranges[i].last);
}

static void
remove_set(struct seqset *to, const struct seqset *from)
{
    size_t i;

    for (i = 0; i < from->count; i++)
        seqset_remove(to, from->ranges[i].first, from->ranges[i].last);
}

/* Takes v->gone out of the view: each number as it is after the ones before. */
static void
tell_expunged(struct view *v, struct view_changes *out)
{
    uint64_t max = seqset_size(&v->gone);
    size_t from, to, n = 0;

    view_flags_leave(v);
    out->expunged = mem_reallocarray(NULL, (size_t)max + 1, sizeof *out->expunged);
    out->expunged_uids = mem_reallocarray(NULL, (size_t)max + 1, sizeof *out->expunged_uids);
    from = to = v->gone.count > 0 ? view_lower_bound(v, v->gone.ranges[0].first) : v->count;
    for (; from < v->count; from++) {
        uint32_t uid = v->uids[from];

        if (n < max && seqset_has(&v->gone, uid)) {
            out->expunged[n] = (uint32_t)to + 1;
            out->expunged_uids[n++] = uid;
            v->info.recent -= v->info.recent > 0 && seqset_has(&v->recent, uid);
        } else {
            v->uids[to++] = uid;
        }
    }
    v->count = to;
    v->info.exists = (uint32_t)to;
    out->expunged_count = n;
    seqset_clear(&v->gone);
}

/* What was collected becomes what the client believes. */
static int
apply(struct changes *c, bool expunge, struct view_changes *out)
{
    struct view *v = c->v;
    struct index_mailbox *row = &v->m->row;
    uint32_t recent_before = v->info.recent;
    uint32_t added_from = v->uidnext;
    int err = 0;

    add_set(&v->gone, &c->gone);
    add_set(&c->flags, &v->report);
    remove_set(&c->flags, &c->gone);
    seqset_clear(&v->report);
    out->flags = c->flags;
    seqset_init(&c->flags);
    v->info.exists += c->added;
    out->exists_changed = c->added > 0;
    v->modseq = v->info.highestmodseq = row->highestmodseq;
    v->uidnext = v->info.uidnext = row->uidnext;
    v->own_count = 0;
    out->keywords_changed = take_keywords(v);
    if ((v->flags & (VIEW_READONLY | VIEW_POP3)) == 0) {
        err = claim_recent(v);
    } else if (c->added_recent > 0) {
        uint32_t from = row->first_recent > added_from ? row->first_recent : added_from;

        seqset_add(&v->recent, from, row->uidnext - 1);
        v->info.recent += c->added_recent;
    }
    if (expunge && v->gone.count > 0)
        tell_expunged(v, out);
    out->recent_changed = v->info.recent != recent_before;
    return err;
}

static bool
same_keywords(const struct view *v)
{
    const struct index_mailbox *row = &v->m->row;
    size_t i;

    for (i = 0; i < row->keywords_count; i++) {
        if (strcmp(v->keywords[i], row->keywords[i]) != 0)
            return false;
    }
    return row->keywords_count == v->info.keywords_count;
}

static bool
nothing_new(const struct view *v, bool expunge)
{
    const struct index_mailbox *row = &v->m->row;

    return row->highestmodseq == v->modseq && row->uidnext == v->uidnext &&
           (!expunge || v->gone.count == 0) && v->report.count == 0 && same_keywords(v);
}

int
view_sync(struct view *v, bool expunge, struct view_changes *out)
{
    struct changes c;
    int err;

    memset(out, 0, sizeof *out);
    err = view_lock(v);
    if (err < 0)
        return err;
    memset(&c, 0, sizeof c);
    c.v = v;
    err = view_scan(v);
    if (err == 0 && !nothing_new(v, expunge)) {
        err = collect(&c, expunge);
        if (err == 0)
            err = apply(&c, expunge, out);
    }
    view_unlock(v);
    seqset_free(&c.gone);
    seqset_free(&c.flags);
    v->broken = v->broken || err == ERR_GONE;
    return err;
}

void
view_changes_free(struct view_changes *c)
{
    free(c->expunged);
    free(c->expunged_uids);
    seqset_free(&c->flags);
    memset(c, 0, sizeof *c);
}
