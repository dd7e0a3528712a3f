/*
 * The change log: which UIDs changed with which mod-sequence; see index.h. It lets another
 * session (and later QRESYNC) find what changed in time proportional to the change.
 *
 * In changes.db: be32 mailbox, be64 mod-sequence, kind, be16 part -> UID ranges. All changes of
 * one transaction and mailbox have one mod-sequence; they're collected in memory, and written
 * when the row is put, as sorted ranges in parts of about 1 KB.
 *
 * The log is kept short: the last CHANGES_KEEP mod-sequences and CHANGES_OCTETS octets of a
 * mailbox. What is dropped raises the row's changes_floor.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "store/index_impl.h"

#define CHANGES_KEEP   16384 /* mod-sequences */
#define CHANGES_SLACK  2048  /* so many over it until they're trimmed */
#define CHANGES_OCTETS (2u << 20)
#define KINDS          3
#define PARTS_MAX      UINT16_MAX

void
ix_change_add(struct index *ix, uint32_t mailbox, enum index_change kind, uint32_t uid)
{
    struct pending_change *last = NULL;

    ix->changed = true;
    for (size_t i = 0; i < ix->modseqs_count; i++)
        if (ix->modseqs[i].mailbox == mailbox)
            ix->modseqs[i].written = false;
    if (ix->changes_count > 0)
        last = &ix->changes[ix->changes_count - 1];
    if (last != NULL && last->mailbox == mailbox && last->kind == (uint8_t)kind &&
        uid == last->last + 1) {
        last->last = uid;
        return;
    }
    if (ix->changes_count == ix->changes_cap) {
        ix->changes_cap = ix->changes_cap == 0 ? 16 : ix->changes_cap * 2;
        ix->changes = mem_reallocarray(ix->changes, ix->changes_cap, sizeof *ix->changes);
    }
    ix->changes[ix->changes_count++] = (struct pending_change){
        .mailbox = mailbox, .kind = (uint8_t)kind, .first = uid, .last = uid};
}

void
ix_changes_forget(struct index *ix)
{
    ix->changes_count = ix->modseqs_count = 0;
    if (ix->changes_cap > 4096) { /* a large transaction: an idle session needn't keep that */
        free(ix->changes);
        ix->changes = NULL;
        ix->changes_cap = 0;
    }
}

static int
compare_changes(const void *a, const void *b)
{
    const struct pending_change *x = a, *y = b;

    if (x->mailbox != y->mailbox)
        return x->mailbox < y->mailbox ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

static int
put_part(struct index *ix, struct index_mailbox *row, uint64_t modseq, unsigned kind,
         unsigned part)
{
    unsigned char key[KEY_CHANGE_SIZE];

    key_change(key, row->id, modseq, kind, part);
    row->changes_octets += sizeof key + ix->record.len;
    return kv_put(ix->kv, KV_CHANGES, slice(key, sizeof key),
                  slice(ix->record.data, ix->record.len));
}

/* Writes the sorted changes from `at` on that are of one mailbox and kind, adjoining ranges as
   one. *at moves behind them. */
static int
flush_kind(struct index *ix, struct index_mailbox *row, uint64_t modseq, size_t *at)
{
    unsigned kind = ix->changes[*at].kind, part = 0;
    uint32_t last = 0;
    int err = 0;

    buf_reset(&ix->record);
    while (err == 0 && *at < ix->changes_count) {
        struct pending_change c = ix->changes[*at];

        if (c.mailbox != row->id || c.kind != kind)
            break;
        for (++*at; *at < ix->changes_count; ++*at) {
            const struct pending_change *next = &ix->changes[*at];

            if (next->mailbox != c.mailbox || next->kind != kind || next->first > c.last + 1)
                break;
            if (next->last > c.last)
                c.last = next->last;
        }
        ranges_add(&ix->record, &last, c.first, c.last);
        if (ix->record.len < CHANGE_PART_SIZE)
            continue;
        if (part == PARTS_MAX)
            return ERR_LIMIT;
        err = put_part(ix, row, modseq, kind, part++);
        buf_reset(&ix->record);
        last = 0;
    }
    if (err == 0 && ix->record.len > 0)
        err = put_part(ix, row, modseq, kind, part);
    return err;
}

struct trim {
    uint64_t octets;  /* to be dropped at least */
    uint64_t keep;    /* the first mod-sequence that is kept */
    uint64_t dropped; /* octets before it */
};

static int
trim_scan(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct trim *t = ctx;
    uint64_t modseq;

    if (key.len != KEY_CHANGE_SIZE)
        return 0;
    modseq = be64_read((const unsigned char *)key.p + 4);
    if (modseq >= t->keep) {
        if (t->dropped >= t->octets)
            return 1;
        t->keep = modseq + 1;
    }
    t->dropped += key.len + value.len;
    return 0;
}

/* Drops the oldest changes when there are too many. */
static int
trim(struct index *ix, struct index_mailbox *row)
{
    unsigned char from[KEY_CHANGE_SIZE], to[KEY_CHANGE_SIZE];
    struct trim t = {.keep = row->changes_floor + 1};
    int err;

    if (row->highestmodseq - row->changes_floor < CHANGES_KEEP + CHANGES_SLACK &&
        row->changes_octets < 2 * CHANGES_OCTETS)
        return 0;
    if (row->highestmodseq > CHANGES_KEEP)
        t.keep = row->highestmodseq - CHANGES_KEEP;
    if (row->changes_octets > CHANGES_OCTETS)
        t.octets = row->changes_octets - CHANGES_OCTETS;
    key_change(from, row->id, 0, 0, 0);
    key_change(to, row->id, UINT64_MAX, UINT8_MAX, UINT16_MAX);
    err = kv_scan(ix->kv, KV_CHANGES, slice(from, sizeof from), slice(to, sizeof to), trim_scan,
                  &t);
    if (err < 0)
        return err;
    if (t.keep > row->highestmodseq + 1)
        t.keep = row->highestmodseq + 1;
    key_change(to, row->id, t.keep - 1, UINT8_MAX, UINT16_MAX);
    err = kv_delete_range(ix->kv, KV_CHANGES, slice(from, sizeof from), slice(to, sizeof to));
    row->changes_floor = t.keep - 1;
    row->changes_octets -= t.dropped < row->changes_octets ? t.dropped : row->changes_octets;
    return err;
}

static int
drop_changes(struct index *ix, struct index_mailbox *row, const struct pending_modseq *mine)
{
    unsigned char from[KEY_CHANGE_SIZE], to[KEY_CHANGE_SIZE];

    key_change(from, row->id, mine->modseq, 0, 0);
    key_change(to, row->id, mine->modseq, UINT8_MAX, UINT16_MAX);
    row->changes_octets -= mine->octets;
    return kv_delete_range(ix->kv, KV_CHANGES, slice(from, sizeof from), slice(to, sizeof to));
}

int
ix_changes_flush(struct index *ix, struct index_mailbox *row)
{
    struct pending_modseq *mine = NULL;
    uint64_t before;
    size_t at = 0;
    int err = 0;

    for (size_t i = 0; i < ix->modseqs_count; i++)
        if (ix->modseqs[i].mailbox == row->id)
            mine = &ix->modseqs[i];
    if (mine == NULL || mine->written)
        return 0;
    if (mine->octets > 0) /* the row was put before in this transaction: write all again */
        err = drop_changes(ix, row, mine);
    before = row->changes_octets;
    if (ix->changes_count > 1)
        qsort(ix->changes, ix->changes_count, sizeof *ix->changes, compare_changes);
    while (at < ix->changes_count && ix->changes[at].mailbox != row->id)
        at++;
    while (err == 0 && at < ix->changes_count && ix->changes[at].mailbox == row->id)
        err = flush_kind(ix, row, mine->modseq, &at);
    mine->octets = row->changes_octets - before;
    if (err == 0)
        err = trim(ix, row);
    mine->written = err == 0;
    return err;
}

struct each {
    struct index *ix;
    index_change_fn *fn;
    void *ctx;
};

static int
each_change(void *ctx, struct kv_slice key, struct kv_slice value)
{
    const unsigned char *k = key.p;
    struct each *e = ctx;
    uint32_t last = 0, first_uid, last_uid;
    int err, result;

    if (key.len != KEY_CHANGE_SIZE || k[12] >= KINDS)
        return ix_corrupt(e->ix, "a change record's key");
    while ((err = ranges_next(&value, &last, &first_uid, &last_uid)) == 0) {
        result = e->fn(e->ctx, (enum index_change)k[12], first_uid, last_uid, be64_read(k + 4));
        if (result != 0)
            return result;
    }
    return err == ERR_EOF ? 0 : ix_corrupt(e->ix, "a change record");
}

int
index_changes_each(struct index *ix, const struct index_mailbox *row, uint64_t since,
                   index_change_fn *fn, void *ctx)
{
    unsigned char from[KEY_CHANGE_SIZE], to[KEY_CHANGE_SIZE];
    struct each e = {ix, fn, ctx};
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (since < row->changes_floor)
        return ERR_RANGE;
    if (since >= row->highestmodseq)
        return 0;
    key_change(from, row->id, since + 1, 0, 0);
    key_change(to, row->id, UINT64_MAX, UINT8_MAX, UINT16_MAX);
    return kv_scan(ix->kv, KV_CHANGES, slice(from, sizeof from), slice(to, sizeof to),
                   each_change, &e);
}
