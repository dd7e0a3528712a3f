/*
 * Copies what can be read of a damaged index into a new environment.
 *
 * mailboxes.db and messages.db are read page by page, without Berkeley DB (index_loose.c), and
 * every record that makes sense is kept. Then the new rows are made to agree with the new
 * messages: counts, next UID, highest mod-sequence. A mailbox whose row is lost comes back from
 * its anchor in messages.db; messages without either are dropped. Cache and change log aren't
 * copied: they're derived, or only save a comparison.
 *
 * UIDs must never be given twice. When the log is lost too, the files may be behind what
 * clients have seen; so next UID and mod-sequence jump by more than the log between two
 * checkpoints can hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index_impl.h"

#define BATCH      2000 /* records in a transaction */
#define UID_GAP    (1u << 18)
#define MODSEQ_GAP (1u << 20)
#define ID_GAP     1000
#define UID_LAST   0xf0000000u /* no gap above: a mailbox that is there is dropped */

struct salvage {
    struct index *ix;
    struct kv *to;
    struct salvage_result *result;
    bool complete;
    bool control_found;
    struct index_control control;
    unsigned batch;
    struct block block;
    uint32_t id;           /* of the block being read */
    uint32_t *from_anchor; /* ids of rows that came from an anchor */
    size_t anchors_count, anchors_cap;
};

/* Every so many records a transaction ends and the next begins. */
static int
step(struct salvage *s)
{
    int err;

    if (++s->batch % BATCH != 0)
        return 0;
    err = block_flush(&s->block, s->to);
    if (err == 0)
        err = kv_commit(s->to, false);
    return err == 0 ? kv_begin(s->to, false) : err;
}

static void
seen_id(struct salvage *s, const struct index_mailbox *row)
{
    if (row->id >= s->control.next_id)
        s->control.next_id = row->id == UINT32_MAX ? row->id : row->id + 1;
    if (row->uidvalidity > s->control.last_uidvalidity)
        s->control.last_uidvalidity = row->uidvalidity;
}

/* A record of mailboxes.db. Names of ids are made anew from the rows. */
static int
keep_row(void *ctx, struct kv_slice key, struct kv_slice value)
{
    char name[INDEX_NAME_MAX + 1];
    struct salvage *s = ctx;
    struct index_mailbox row;
    struct index_control control;
    int err;

    if (key.len == 1 && *(const char *)key.p == 'c' && control_decode(value, &control) == 0) {
        s->control_found = true;
        s->control.incarnation = control.incarnation;
        if (control.next_id > s->control.next_id)
            s->control.next_id = control.next_id;
        if (control.last_uidvalidity > s->control.last_uidvalidity)
            s->control.last_uidvalidity = control.last_uidvalidity;
        return 0;
    }
    if (key.len > 5 && key.len <= INDEX_NAME_MAX + 5 && *(const char *)key.p == 'v' &&
        value.len == 4) {
        err = kv_put(s->to, KV_MAILBOXES, key, value);
        return err == 0 ? step(s) : err;
    }
    if (key.len < 2 || key.len > INDEX_NAME_MAX + 1 || *(const char *)key.p != 'n')
        return 0;
    if (row_decode(value, &row) != 0) {
        s->result->names_lost = true;
        return 0;
    }
    memcpy(name, (const char *)key.p + 1, key.len - 1);
    name[key.len - 1] = '\0';
    if (name[0] == '\0')
        return 0;
    seen_id(s, &row);
    err = ix_put_row(s->ix, s->to, name, &row);
    if (err == 0)
        err = ix_put_name(s->to, row.id, name);
    return err == 0 ? step(s) : err;
}

/* A message's record, as it is. A block may be read twice, from pages of different age: what
   either holds is kept, and files without a message, or messages without a file, are for the
   scan. */
static int
keep_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct salvage *s = ctx;
    struct index_message m;
    int err;

    if (message_decode(record, uid, &m) != 0) {
        s->result->messages_lost = true;
        return 0;
    }
    err = block_put(&s->block, s->to, s->id, uid, record);
    return err == 0 ? step(s) : err;
}

/* A value of messages.db. */
static int
keep_block(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct salvage *s = ctx;
    struct index_anchor anchor;
    int err;

    if (key.len != KEY_MESSAGE_SIZE)
        return 0;
    s->id = be32_read(key.p);
    if (be32_read((const unsigned char *)key.p + 4) != 0) {
        err = block_each(key, value, keep_message, s);
    } else {
        err = anchor_decode(value, s->id, &anchor);
        if (err == 0)
            err = kv_put(s->to, KV_MESSAGES, key, value);
        if (err == 0)
            err = step(s);
    }
    if (err == ERR_CORRUPT) {
        s->result->messages_lost = true;
        return 0;
    }
    return err;
}

static void
note_anchor(struct salvage *s, uint32_t id)
{
    if (s->anchors_count == s->anchors_cap) {
        s->anchors_cap = s->anchors_cap == 0 ? 16 : s->anchors_cap * 2;
        s->from_anchor =
            mem_reallocarray(s->from_anchor, s->anchors_cap, sizeof *s->from_anchor);
    }
    s->from_anchor[s->anchors_count++] = id;
}

static bool
came_from_anchor(const struct salvage *s, uint32_t id)
{
    for (size_t i = 0; i < s->anchors_count; i++)
        if (s->from_anchor[i] == id)
            return true;
    return false;
}

/* The row of an id in the new environment: name and row, or ERR_NOENT. */
static int
find_row(struct salvage *s, uint32_t id, char *name, struct index_mailbox *row)
{
    unsigned char pair[KEY_MESSAGE_SIZE];
    char key[INDEX_NAME_MAX + 2];
    struct kv_slice value;
    int err;

    key_message(pair, id, 0);
    key[0] = 'i';
    memcpy(key + 1, pair, 4);
    err = kv_get(s->to, KV_MAILBOXES, slice(key, 5), &value);
    if (err != 0)
        return err;
    memcpy(name, value.p, value.len);
    name[value.len] = '\0';
    err = kv_get(s->to, KV_MAILBOXES, slice(key, ix_row_key(key, name)), &value);
    if (err == 0)
        err = row_decode(value, row);
    return err == 0 && row->id != id ? ERR_NOENT : err;
}

/* Makes a row from the mailbox's anchor, unless a row has that name. */
static int
row_from_anchor(struct salvage *s, uint32_t id)
{
    unsigned char pair[KEY_MESSAGE_SIZE];
    char key[INDEX_NAME_MAX + 2];
    struct index_anchor a;
    struct kv_slice value;
    int err;

    key_message(pair, id, 0);
    err = kv_get(s->to, KV_MESSAGES, slice(pair, sizeof pair), &value);
    if (err == 0 && anchor_decode(value, id, &a) != 0)
        err = ERR_NOENT;
    if (err != 0)
        return err;
    err = kv_get(s->to, KV_MAILBOXES, slice(key, ix_row_key(key, a.name)), &value);
    if (err != ERR_NOENT)
        return err == 0 ? ERR_NOENT : err;
    a.row.uidnext = a.row.first_recent = 1;
    a.row.highestmodseq = 1;
    seen_id(s, &a.row);
    note_anchor(s, id);
    err = ix_put_row(s->ix, s->to, a.name, &a.row);
    return err == 0 ? ix_put_name(s->to, id, a.name) : err;
}

/* First mailbox id of messages.db after `id`; 0 = none. */
static int
first_id(void *ctx, struct kv_slice key, struct kv_slice value)
{
    (void)value;
    *(uint32_t *)ctx = be32_read(key.p);
    return 1;
}

static int
next_mailbox(struct salvage *s, uint32_t after, uint32_t *id)
{
    unsigned char from[KEY_MESSAGE_SIZE];
    int result;

    *id = 0;
    if (after == UINT32_MAX)
        return 0;
    key_message(from, after + 1, 0);
    result = kv_scan(s->to, KV_MESSAGES, slice(from, sizeof from), slice("\xff\xff\xff\xff", 4),
                     first_id, id);
    return result < 0 ? result : 0;
}

/* Every mailbox that has messages has a row; messages of others go. */
static int
match_messages(struct salvage *s)
{
    char name[INDEX_NAME_MAX + 1];
    unsigned char pair[KEY_MESSAGE_SIZE];
    struct index_mailbox row;
    uint32_t id = 0;
    int err;

    while ((err = next_mailbox(s, id, &id)) == 0 && id != 0) {
        err = find_row(s, id, name, &row);
        if (err == ERR_NOENT)
            err = row_from_anchor(s, id);
        if (err == ERR_NOENT) {
            key_message(pair, id, 0);
            err = kv_delete_range(s->to, KV_MESSAGES, slice(pair, 4), slice(pair, 4));
        }
        if (err != 0)
            return err;
    }
    return err;
}

struct recount {
    struct salvage *s;
    struct index_mailbox *row;
    uint32_t last_uid;
    uint64_t modseq;
    int err;
};

static int
recount_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct recount *r = ctx;
    struct index_message m;

    if (message_decode(record, uid, &m) != 0)
        return 0;
    ix_count(r->row, &m, 1);
    if ((m.flags & MSG_SEEN) == 0 && r->row->first_unseen == 0)
        r->row->first_unseen = uid;
    r->last_uid = uid;
    if (m.modseq > r->modseq)
        r->modseq = m.modseq;
    r->s->result->messages++;
    return 0;
}

static int
recount_block(void *ctx, struct kv_slice key, struct kv_slice value)
{
    (void)block_each(key, value, recount_message, ctx); /* the anchor is no block */
    return 0;
}

/* Brings a row in line with its messages. */
static int
recount(struct salvage *s, struct index_mailbox *row)
{
    struct recount r = {.s = s, .row = row};
    bool lossy = !s->complete || came_from_anchor(s, row->id);
    unsigned char pair[KEY_MESSAGE_SIZE];
    int err;

    row->messages = row->unseen = row->deleted = row->recent = row->crlf_unknown = 0;
    row->bytes = row->crlf_bytes = 0;
    row->first_unseen = 0;
    row->first_unseen_known = true;
    row->new_mtime = 0;
    if (row->cur_mtime >= 0) /* below: other servers' lists are to be read yet, import_scan.c */
        row->cur_mtime = row->scanned_at = 0;
    row->own_changes = false;
    key_message(pair, row->id, 0);
    err = kv_scan(s->to, KV_MESSAGES, slice(pair, 4), slice(pair, 4), recount_block, &r);
    if (err != 0)
        return err;
    if (r.last_uid >= row->uidnext)
        row->uidnext = r.last_uid + 1;
    if (r.modseq > row->highestmodseq)
        row->highestmodseq = r.modseq;
    if (lossy && row->uidnext < UID_LAST)
        row->uidnext += UID_GAP;
    if (lossy)
        row->highestmodseq += MODSEQ_GAP;
    if (came_from_anchor(s, row->id)) {
        row->first_recent = row->uidnext;
        row->recent = 0;
    }
    row->highestmodseq++; /* whoever remembers an older one compares everything */
    row->changes_floor = row->highestmodseq;
    row->changes_octets = 0;
    s->result->mailboxes++;
    return 0;
}

static int
recount_row(void *ctx, struct kv_slice key, struct kv_slice value)
{
    char name[INDEX_NAME_MAX + 1];
    struct salvage *s = ctx;
    struct index_mailbox row;
    int err;

    if (row_decode(value, &row) != 0)
        return ERR_CORRUPT;
    memcpy(name, (const char *)key.p + 1, key.len - 1);
    name[key.len - 1] = '\0';
    err = recount(s, &row);
    if (err == 0)
        err = ix_put_row(s->ix, s->to, name, &row);
    if (err == 0)
        err = ix_put_anchor(s->ix, s->to, name, &row);
    return err == 0 ? step(s) : err;
}

static int
put_control(struct salvage *s)
{
    uint64_t now = (uint64_t)sys_now_us();

    s->control.format = INDEX_FORMAT;
    if (s->control.next_id == 0)
        s->control.next_id = 1;
    if (!s->complete && s->control.next_id < UINT32_MAX - ID_GAP)
        s->control.next_id += ID_GAP;
    if (!s->control_found || s->result->names_lost)
        s->control.incarnation =
            now > s->control.incarnation ? now : s->control.incarnation + 1;
    buf_reset(&s->ix->record);
    control_encode(&s->ix->record, &s->control);
    return kv_put(s->to, KV_MAILBOXES, slice("c", 1),
                  slice(s->ix->record.data, s->ix->record.len));
}

/* All of one file: first what recovery could do nothing with, then what it restored. */
static int
read_file(struct salvage *s, enum kv_file file, kv_fn *fn, bool *lost)
{
    char damaged[64];
    bool whole;
    int err;

    snprintf(damaged, sizeof damaged, INDEX_DAMAGED_PREFIX "%s", kv_file_names[file]);
    err = kv_read_loose(s->ix->db_path, damaged, kv_page_sizes[file], fn, s, &whole);
    if (err != 0 && err != ERR_NOENT)
        return err;
    err =
        kv_read_loose(s->ix->db_path, kv_file_names[file], kv_page_sizes[file], fn, s, &whole);
    if (err == ERR_NOENT || !whole)
        *lost = true;
    return err == ERR_NOENT ? 0 : err;
}

static int
copy(struct salvage *s)
{
    int err = read_file(s, KV_MAILBOXES, keep_row, &s->result->names_lost);

    if (err == 0)
        err = read_file(s, KV_MESSAGES, keep_block, &s->result->messages_lost);
    if (err == 0)
        err = block_flush(&s->block, s->to);
    if (err == 0)
        err = match_messages(s);
    if (err == 0)
        err = kv_scan(s->to, KV_MAILBOXES, slice("n", 1), slice("n", 1), recount_row, s);
    return err != 0 ? err : put_control(s);
}

int
ix_salvage(struct index *ix, bool complete, struct salvage_result *result)
{
    struct salvage s = {.ix = ix, .complete = complete, .result = result};
    int err = kv_open(ix->build_path, KV_BUILD, true, &s.to);

    if (err != 0)
        return err;
    block_init(&s.block);
    err = kv_open_files(s.to);
    if (err == 0)
        err = kv_begin(s.to, false);
    if (err == 0)
        err = copy(&s);
    if (err == 0)
        err = kv_commit(s.to, true);
    if (err == 0)
        err = kv_checkpoint(s.to, true);
    if (err == 0)
        kv_close(&s.to);
    else
        kv_forget(&s.to);
    block_free(&s.block);
    free(s.from_anchor);
    /* nothing could be kept: that's no salvage, but a new start */
    return err == 0 && result->mailboxes == 0 && result->names_lost ? ERR_NOENT : err;
}
