/*
 * Messages' records lie in blocks: one value of messages.db holds those of BLOCK_UIDS
 * consecutive UIDs. With a value for each message, Berkeley DB's own work (a search, a cursor,
 * two log records, 20 octets of a page) was three quarters of the CPU of a large scan or STORE.
 *
 * A block's key: be32 mailbox, be32 the first UID that it may hold (1, 9, 17 ...). Its value:
 * for each message, in order: octet, distance from that UID; be16, length; the record, with the
 * check sum of its own, so that a change of flags is logged as the octets of one record. A
 * block without messages isn't there.
 *
 * The block last used is kept in memory (struct block), and written when another is wanted:
 * work on many messages goes through the UIDs in order, and puts each block once. Who reads
 * messages.db in another way calls block_flush() before.
 */
#include <string.h>

#include "base/err.h"
#include "store/index_impl.h"

#define ENTRY_HEAD 3

static uint32_t
first_of(uint32_t uid)
{
    return uid - (uid - 1) % BLOCK_UIDS;
}

void
block_key(unsigned char *key, uint32_t mailbox, uint32_t uid)
{
    key_message(key, mailbox, first_of(uid));
}

int
block_next(struct kv_slice *rest, uint32_t first, uint32_t *uid, struct kv_slice *record)
{
    const unsigned char *p = rest->p;
    size_t len;

    if (rest->len == 0)
        return ERR_EOF;
    if (rest->len < ENTRY_HEAD)
        return ERR_CORRUPT;
    len = be16_read(p + 1);
    if (p[0] >= BLOCK_UIDS || first > UINT32_MAX - p[0] || first + p[0] <= *uid ||
        len > rest->len - ENTRY_HEAD)
        return ERR_CORRUPT;
    *uid = first + p[0];
    *record = slice(p + ENTRY_HEAD, len);
    *rest = slice(p + ENTRY_HEAD + len, rest->len - ENTRY_HEAD - len);
    return 0;
}

int
block_each(struct kv_slice key, struct kv_slice value, block_fn *fn, void *ctx)
{
    uint32_t first, uid = 0;
    struct kv_slice record;
    int err, result;

    if (key.len != KEY_MESSAGE_SIZE)
        return ERR_CORRUPT;
    first = be32_read((const unsigned char *)key.p + 4);
    if (first == 0 || first_of(first) != first || value.len == 0)
        return ERR_CORRUPT;
    while ((err = block_next(&value, first, &uid, &record)) == 0) {
        result = fn(ctx, uid, record);
        if (result != 0)
            return result;
    }
    return err == ERR_EOF ? 0 : err;
}

void
block_init(struct block *b)
{
    memset(b, 0, sizeof *b);
    buf_init(&b->octets, BLOCK_MAX);
}

void
block_forget(struct block *b)
{
    b->loaded = b->dirty = false;
}

void
block_free(struct block *b)
{
    block_forget(b);
    buf_free(&b->octets);
}

int
block_flush(struct block *b, struct kv *kv)
{
    unsigned char key[KEY_MESSAGE_SIZE];
    int err;

    if (!b->dirty)
        return 0;
    b->dirty = false;
    key_message(key, b->mailbox, b->first);
    if (b->octets.len > 0)
        return kv_put(kv, KV_MESSAGES, slice(key, sizeof key),
                      slice(b->octets.data, b->octets.len));
    b->loaded = false;
    err = kv_delete(kv, KV_MESSAGES, slice(key, sizeof key));
    return err == ERR_NOENT ? 0 : err;
}

/* Makes the UID's block the one in memory; an empty one if it isn't there. */
static int
load(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid)
{
    unsigned char key[KEY_MESSAGE_SIZE];
    struct kv_slice value;
    int err;

    if (b->loaded && b->mailbox == mailbox && b->first == first_of(uid))
        return 0;
    err = block_flush(b, kv);
    if (err != 0)
        return err;
    b->loaded = false;
    b->mailbox = mailbox;
    b->first = first_of(uid);
    buf_reset(&b->octets);
    key_message(key, mailbox, b->first);
    err = kv_get(kv, KV_MESSAGES, slice(key, sizeof key), &value);
    if (err == 0)
        buf_add(&b->octets, value.p, value.len);
    if (err != 0 && err != ERR_NOENT)
        return err;
    b->loaded = buf_ok(&b->octets);
    return b->loaded ? 0 : ERR_CORRUPT;
}

/* Where the UID's entry lies in the loaded block, or would: *at and *len, 0 if it isn't there.
 */
static int
find(const struct block *b, uint32_t uid, size_t *at, size_t *len)
{
    struct kv_slice rest = slice(b->octets.data, b->octets.len), record;
    uint32_t found = 0;
    int err;

    *len = 0;
    for (;;) {
        *at = b->octets.len - rest.len;
        err = block_next(&rest, b->first, &found, &record);
        if (err != 0)
            return err == ERR_EOF ? 0 : err;
        if (found < uid)
            continue;
        if (found == uid)
            *len = ENTRY_HEAD + record.len;
        return 0;
    }
}

int
block_get(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid,
          struct kv_slice *record)
{
    size_t at, len;
    int err = load(b, kv, mailbox, uid);

    if (err == 0)
        err = find(b, uid, &at, &len);
    if (err != 0)
        return err;
    if (len == 0)
        return ERR_NOENT;
    *record = slice(b->octets.data + at + ENTRY_HEAD, len - ENTRY_HEAD);
    return 0;
}

/* Puts n octets in the place of `len` at `at`. */
static int
splice(struct buf *b, size_t at, size_t len, size_t n)
{
    size_t tail = b->len - at - len;

    if (n > len) {
        if (buf_room(b, n - len) == NULL)
            return ERR_LIMIT;
        buf_added(b, n - len);
    }
    if (tail > 0)
        memmove(b->data + at + n, b->data + at + len, tail);
    buf_cut(b, at + n + tail);
    return 0;
}

int
block_put(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid,
          struct kv_slice record)
{
    unsigned char *p;
    size_t at, len;
    int err = load(b, kv, mailbox, uid);

    if (err == 0)
        err = find(b, uid, &at, &len);
    if (err == 0 && record.len > BLOCK_MAX / BLOCK_UIDS - ENTRY_HEAD)
        err = ERR_LIMIT;
    if (err == 0)
        err = splice(&b->octets, at, len, ENTRY_HEAD + record.len);
    if (err != 0)
        return err;
    p = (unsigned char *)b->octets.data + at;
    p[0] = (unsigned char)(uid - b->first);
    p[1] = (unsigned char)(record.len >> 8);
    p[2] = (unsigned char)record.len;
    memcpy(p + ENTRY_HEAD, record.p, record.len);
    b->dirty = true;
    return 0;
}

int
block_delete(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid)
{
    size_t at, len;
    int err = load(b, kv, mailbox, uid);

    if (err == 0)
        err = find(b, uid, &at, &len);
    if (err != 0)
        return err;
    if (len == 0)
        return ERR_NOENT;
    b->dirty = true;
    return splice(&b->octets, at, len, 0);
}
