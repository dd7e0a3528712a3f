/*
 * Names what is inconsistent inside the index: index_check() counts everything anew and
 * compares. Says nothing of the Maildir (check.c does).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "store/index_impl.h"

#define TEXT_SIZE 200

struct checker {
    struct index *ix;
    index_fault_fn *fn;
    void *ctx;
    int faults;
    const struct index_mailbox *row;
    struct index_mailbox counted;
    uint32_t first_unseen, last_uid, lowest_change;
    uint64_t last_modseq, octets;
};

static void __attribute__((format(printf, 2, 3))) fault(struct checker *c, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->faults++;
    c->fn(c->ctx, text);
}

static void
compare(struct checker *c, const char *what, uint64_t in_row, uint64_t counted)
{
    if (in_row != counted)
        fault(c, "%s: the row says %llu, the messages %llu", what, (unsigned long long)in_row,
              (unsigned long long)counted);
}

static int
check_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct checker *c = ctx;
    struct index_message m;

    if (message_decode(record, uid, &m) != 0) {
        fault(c, "UID %u: the record makes no sense", uid);
        return 0;
    }
    ix_count(&c->counted, &m, 1);
    if ((m.flags & MSG_SEEN) == 0 && c->first_unseen == 0)
        c->first_unseen = uid;
    if (m.modseq > c->row->highestmodseq)
        fault(c, "UID %u: mod-sequence %llu is above the mailbox's", uid,
              (unsigned long long)m.modseq);
    c->last_uid = uid;
    return 0;
}

static int
check_block(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct checker *c = ctx;

    if (block_each(key, value, check_message, c) != 0)
        fault(c, "a block of messages behind UID %u makes no sense", c->last_uid);
    return 0;
}

static void
check_messages(struct checker *c)
{
    unsigned char from[KEY_MESSAGE_SIZE], to[KEY_MESSAGE_SIZE];
    const struct index_mailbox *row = c->row, *n = &c->counted;

    c->counted.first_recent = row->first_recent;
    key_message(from, row->id, 1);
    key_message(to, row->id, UINT32_MAX);
    if (kv_scan(c->ix->kv, KV_MESSAGES, slice(from, sizeof from), slice(to, sizeof to),
                check_block, c) != 0)
        fault(c, "the messages can't be read");
    compare(c, "messages", row->messages, n->messages);
    compare(c, "unseen", row->unseen, n->unseen);
    compare(c, "deleted", row->deleted, n->deleted);
    compare(c, "recent", row->recent, n->recent);
    compare(c, "octets", row->bytes, n->bytes);
    compare(c, "octets on the wire", row->crlf_bytes, n->crlf_bytes);
    compare(c, "messages of unknown size", row->crlf_unknown, n->crlf_unknown);
    if (row->first_unseen_known)
        compare(c, "first unseen", row->first_unseen, c->first_unseen);
    else if (c->first_unseen != 0 && c->first_unseen < row->first_unseen)
        fault(c, "first unseen: %u is below the bound %u", c->first_unseen, row->first_unseen);
    if (c->last_uid >= row->uidnext)
        fault(c, "next UID %u: there is a UID %u", row->uidnext, c->last_uid);
}

static int
check_change(void *ctx, struct kv_slice key, struct kv_slice value)
{
    const unsigned char *k = key.p;
    struct checker *c = ctx;
    uint32_t last = 0, first_uid, last_uid;
    uint64_t modseq;
    int err;

    c->octets += key.len + value.len;
    if (key.len != KEY_CHANGE_SIZE || k[12] > CHANGE_EXPUNGED) {
        fault(c, "change log: a key makes no sense");
        return 0;
    }
    modseq = be64_read(k + 4);
    if (modseq <= c->row->changes_floor || modseq > c->row->highestmodseq)
        fault(c, "change log: mod-sequence %llu is out of range", (unsigned long long)modseq);
    while ((err = ranges_next(&value, &last, &first_uid, &last_uid)) == 0)
        if (last_uid >= c->row->uidnext)
            fault(c, "change log: UID %u was never given", last_uid);
    if (err != ERR_EOF)
        fault(c, "change log: the record of mod-sequence %llu makes no sense",
              (unsigned long long)modseq);
    return 0;
}

static void
check_changes(struct checker *c)
{
    unsigned char id[KEY_MESSAGE_SIZE];

    key_message(id, c->row->id, 0);
    if (kv_scan(c->ix->kv, KV_CHANGES, slice(id, 4), slice(id, 4), check_change, c) != 0)
        fault(c, "the change log can't be read");
    compare(c, "change log octets", c->row->changes_octets, c->octets);
}

static int
check_cached(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct checker *c = ctx;
    struct kv_slice record;

    (void)value;
    if (key.len != KEY_MESSAGE_SIZE ||
        block_get(&c->ix->block, c->ix->kv, be32_read(key.p),
                  be32_read((const unsigned char *)key.p + 4), &record) != 0)
        fault(c, "cache: an entry without its message");
    return 0;
}

/* The account-wide records that belong to this mailbox. */
static void
check_names(struct checker *c, const char *name)
{
    char found[INDEX_NAME_MAX + 1];
    unsigned char pair[KEY_MESSAGE_SIZE];
    struct index_mailbox row;
    struct index_anchor a;
    struct kv_slice value;

    if (index_mailbox_get_by_id(c->ix, c->row->id, found, sizeof found, &row) != 0 ||
        strcmp(found, name) != 0)
        fault(c, "id %u isn't known as this mailbox", c->row->id);
    key_message(pair, c->row->id, 0);
    if (kv_get(c->ix->kv, KV_MESSAGES, slice(pair, sizeof pair), &value) != 0 ||
        anchor_decode(value, c->row->id, &a) != 0 || strcmp(a.name, name) != 0 ||
        a.row.uidvalidity != c->row->uidvalidity ||
        memcmp(a.row.keywords, c->row->keywords, sizeof a.row.keywords) != 0)
        fault(c, "the anchor doesn't agree with the row");
    if (ix_read_control(c->ix) != 0 || c->ix->control.next_id <= c->row->id ||
        c->ix->control.last_uidvalidity < c->row->uidvalidity)
        fault(c, "the control record is behind this mailbox");
}

int
index_check(struct index *ix, const char *name, index_fault_fn *fn, void *ctx)
{
    struct checker c = {.ix = ix, .fn = fn, .ctx = ctx};
    unsigned char id[KEY_MESSAGE_SIZE];
    struct index_mailbox row;
    int err = index_mailbox_get(ix, name, &row);

    if (err != 0)
        return err;
    c.row = &row;
    check_messages(&c);
    check_changes(&c);
    key_message(id, row.id, 0);
    if (kv_scan(ix->kv, KV_CACHE, slice(id, 4), slice(id, 4), check_cached, &c) != 0)
        fault(&c, "the cache can't be read");
    check_names(&c, name);
    return kv_failed(ix->kv) ? ERR_TEMP : c.faults;
}
