/*
 * Messages of the index, and the counts that the row keeps of them; see index.h.
 *
 * Counts are changed by the difference of before and after, in one function (ix_count), so that
 * every way of changing a message counts alike; index_check() counts anew and compares.
 */
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/index_impl.h"

static uint32_t
moved32(uint32_t n, int sign)
{
    return sign > 0 ? n + 1 : (n > 0 ? n - 1 : 0);
}

static uint64_t
moved64(uint64_t n, uint64_t by, int sign)
{
    return sign > 0 ? n + by : (n > by ? n - by : 0);
}

void
ix_count(struct index_mailbox *row, const struct index_message *m, int sign)
{
    row->messages = moved32(row->messages, sign);
    if ((m->flags & MSG_SEEN) == 0)
        row->unseen = moved32(row->unseen, sign);
    if ((m->flags & MSG_DELETED) != 0)
        row->deleted = moved32(row->deleted, sign);
    if (m->uid >= row->first_recent)
        row->recent = moved32(row->recent, sign);
    if (m->size != MDNAME_SIZE_UNKNOWN)
        row->bytes = moved64(row->bytes, m->size, sign);
    if (m->crlf_size != MDNAME_SIZE_UNKNOWN)
        row->crlf_bytes = moved64(row->crlf_bytes, m->crlf_size, sign);
    else
        row->crlf_unknown = moved32(row->crlf_unknown, sign);
}

/* first_unseen after a message came or lost \Seen. While it isn't known it's a lower bound. */
static void
now_unseen(struct index_mailbox *row, uint32_t uid)
{
    if (row->first_unseen == 0 || uid < row->first_unseen)
        row->first_unseen = uid;
}

/* ... and after one got \Seen or went. */
static void
no_longer_unseen(struct index_mailbox *row, uint32_t uid)
{
    if (row->unseen == 0) {
        row->first_unseen = 0;
        row->first_unseen_known = true;
    } else if (row->first_unseen == uid) {
        row->first_unseen_known = false;
    }
}

uint64_t
index_modseq_next(struct index *ix, struct index_mailbox *row)
{
    for (size_t i = 0; i < ix->modseqs_count; i++)
        if (ix->modseqs[i].mailbox == row->id)
            return ix->modseqs[i].modseq;
    if (ix->modseqs_count == ix->modseqs_cap) {
        ix->modseqs_cap = ix->modseqs_cap == 0 ? 4 : ix->modseqs_cap * 2;
        ix->modseqs = mem_reallocarray(ix->modseqs, ix->modseqs_cap, sizeof *ix->modseqs);
    }
    row->highestmodseq++;
    ix->modseqs[ix->modseqs_count++] =
        (struct pending_modseq){.mailbox = row->id, .modseq = row->highestmodseq};
    return row->highestmodseq;
}

static int
put_message(struct index *ix, uint32_t mailbox, const struct index_message *m)
{
    int err;

    buf_reset(&ix->record);
    message_encode(&ix->record, m);
    err =
        block_put(&ix->block, ix->kv, mailbox, m->uid, slice(ix->record.data, ix->record.len));
    return err == ERR_CORRUPT ? ix_corrupt(ix, "a block of messages") : err;
}

int
index_message_add(struct index *ix, struct index_mailbox *row, struct index_message *m)
{
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (m->uid != 0 && m->uid < row->uidnext)
        return ERR_RANGE;
    if (m->uid == 0)
        m->uid = row->uidnext;
    if (m->uid == UINT32_MAX)
        return ERR_LIMIT;
    m->modseq = index_modseq_next(ix, row);
    err = put_message(ix, row->id, m);
    if (err != 0)
        return err;
    row->uidnext = m->uid + 1;
    ix_count(row, m, 1);
    if ((m->flags & MSG_SEEN) == 0)
        now_unseen(row, m->uid);
    ix_change_add(ix, row->id, CHANGE_ADDED, m->uid);
    return 0;
}

int
index_message_update(struct index *ix, struct index_mailbox *row,
                     const struct index_message *old, struct index_message *now, bool quiet)
{
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (old->uid != now->uid)
        log_panic("index_message_update: another UID");
    now->modseq = quiet ? old->modseq : index_modseq_next(ix, row);
    err = put_message(ix, row->id, now);
    if (err != 0)
        return err;
    ix_count(row, old, -1);
    ix_count(row, now, 1);
    if ((now->flags & MSG_SEEN) == 0 && (old->flags & MSG_SEEN) != 0)
        now_unseen(row, now->uid);
    if ((now->flags & MSG_SEEN) != 0 && (old->flags & MSG_SEEN) == 0)
        no_longer_unseen(row, now->uid);
    if (!quiet)
        ix_change_add(ix, row->id, CHANGE_FLAGS, now->uid);
    return 0;
}

int
index_message_expunge(struct index *ix, struct index_mailbox *row,
                      const struct index_message *m)
{
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    err = block_delete(&ix->block, ix->kv, row->id, m->uid);
    if (err != 0)
        return err == ERR_CORRUPT ? ix_corrupt(ix, "a block of messages") : err;
    err = ix_cache_expunge(ix, row->id, m->uid);
    if (err != 0)
        return err;
    index_modseq_next(ix, row);
    ix_count(row, m, -1);
    if ((m->flags & MSG_SEEN) == 0)
        no_longer_unseen(row, m->uid);
    ix_change_add(ix, row->id, CHANGE_EXPUNGED, m->uid);
    return 0;
}

int
index_message_get(struct index *ix, uint32_t mailbox, uint32_t uid, struct index_message *m)
{
    struct kv_slice record;
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (uid == 0)
        return ERR_NOENT;
    err = block_get(&ix->block, ix->kv, mailbox, uid, &record);
    if (err == 0)
        err = message_decode(record, uid, m);
    return err == ERR_CORRUPT ? ix_corrupt(ix, "a message's record") : err;
}

/* A reading of the messages from one UID to another. */
struct walk {
    struct index *ix;
    uint32_t first, last;
    block_fn *fn;
    void *ctx;
};

static int
walk_block(void *ctx, struct kv_slice key, struct kv_slice value)
{
    uint32_t uid = 0, from = key.len == KEY_MESSAGE_SIZE
                                 ? be32_read((const unsigned char *)key.p + 4)
                                 : 0;
    struct kv_slice record;
    struct walk *w = ctx;
    int err, result;

    if (from == 0)
        return ix_corrupt(w->ix, "a message's key");
    while ((err = block_next(&value, from, &uid, &record)) == 0) {
        if (uid < w->first || uid > w->last)
            continue;
        result = w->fn(w->ctx, uid, record);
        if (result != 0)
            return result;
    }
    return err == ERR_EOF ? 0 : ix_corrupt(w->ix, "a block of messages");
}

static int
walk(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last, block_fn *fn, void *ctx)
{
    unsigned char from[KEY_MESSAGE_SIZE], to[KEY_MESSAGE_SIZE];
    struct walk w = {ix, first > 0 ? first : 1, last, fn, ctx};
    int err = ix_ready(ix);

    if (err == 0)
        err = block_flush(&ix->block, ix->kv);
    if (err != 0)
        return err;
    if (w.first > last)
        return 0;
    block_key(from, mailbox, w.first);
    key_message(to, mailbox, last);
    return kv_scan(ix->kv, KV_MESSAGES, slice(from, sizeof from), slice(to, sizeof to),
                   walk_block, &w);
}

struct each {
    struct index *ix;
    index_message_fn *fn;
    void *ctx;
    struct index_message m;
};

static int
each_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct each *e = ctx;

    if (message_decode(record, uid, &e->m) != 0)
        return ix_corrupt(e->ix, "a message's record");
    return e->fn(e->ctx, &e->m);
}

int
index_message_each(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                   index_message_fn *fn, void *ctx)
{
    struct each e = {.ix = ix, .fn = fn, .ctx = ctx};

    return walk(ix, mailbox, first, last, each_message, &e);
}

struct each_flags {
    struct index *ix;
    index_flags_fn *fn;
    void *ctx;
};

static int
each_flags(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct each_flags *e = ctx;
    uint64_t keywords;
    unsigned flags;

    if (message_decode_flags(record, &flags, &keywords) != 0)
        return ix_corrupt(e->ix, "a message's record");
    return e->fn(e->ctx, uid, flags, keywords);
}

int
index_message_flags(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                    index_flags_fn *fn, void *ctx)
{
    struct each_flags e = {ix, fn, ctx};

    return walk(ix, mailbox, first, last, each_flags, &e);
}

struct uid_list {
    uint32_t **uids;
    size_t *count, *cap;
};

static int
each_uid(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct uid_list *list = ctx;

    (void)record;
    if (*list->count == *list->cap) {
        *list->cap = *list->cap < 256 ? 256 : *list->cap * 2;
        *list->uids = mem_reallocarray(*list->uids, *list->cap, sizeof **list->uids);
    }
    (*list->uids)[(*list->count)++] = uid;
    return 0;
}

int
index_message_uids(struct index *ix, uint32_t mailbox, uint32_t **uids, size_t *count,
                   size_t *cap)
{
    struct uid_list list = {uids, count, cap};

    return walk(ix, mailbox, 1, UINT32_MAX, each_uid, &list);
}

static int
stop_at_unseen(void *ctx, const struct index_message *m)
{
    if ((m->flags & MSG_SEEN) != 0)
        return 0;
    *(uint32_t *)ctx = m->uid;
    return 1;
}

int
index_first_unseen(struct index *ix, struct index_mailbox *row)
{
    uint32_t found = 0;
    int result;

    if (row->first_unseen_known)
        return 0;
    result =
        index_message_each(ix, row->id, row->first_unseen, UINT32_MAX, stop_at_unseen, &found);
    if (result < 0)
        return result;
    row->first_unseen = found;
    row->first_unseen_known = true;
    return 0;
}
