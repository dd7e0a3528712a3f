/*
 * The cache: derived bytes of a message, by tag; see index.h. In cache.db: be32 mailbox, be32
 * uid -> entries of tag (1), length (4, big-endian), bytes.
 *
 * Nothing here is worth an error: an entry that makes no sense counts as absent.
 */
#include <string.h>

#include "base/err.h"
#include "store/index_impl.h"

#define ENTRY_HEAD 5
#define CACHE_MAX  (4u << 20) /* octets of one message's entries */

/* Takes the entry at *at. False at the end, or when the lengths don't fit. */
static bool
next_entry(const char *p, size_t len, size_t *at, char *tag, size_t *entry_len)
{
    if (len - *at < ENTRY_HEAD)
        return false;
    *tag = p[*at];
    *entry_len = be32_read((const unsigned char *)p + *at + 1);
    if (*entry_len > len - *at - ENTRY_HEAD)
        return false;
    *at += ENTRY_HEAD + *entry_len;
    return true;
}

static bool
well_formed(const char *p, size_t len)
{
    size_t at = 0, entry_len;
    char tag;

    while (next_entry(p, len, &at, &tag, &entry_len))
        ;
    return at == len && len > 0;
}

int
ix_cache_flush(struct index *ix)
{
    unsigned char first[KEY_MESSAGE_SIZE], last[KEY_MESSAGE_SIZE];
    struct pending_drop d = ix->drop;

    if (d.last == 0)
        return 0;
    ix->drop.last = 0;
    key_message(first, d.mailbox, d.first);
    key_message(last, d.mailbox, d.last);
    return kv_delete_range(ix->kv, KV_CACHE, slice(first, sizeof first),
                           slice(last, sizeof last));
}

int
ix_cache_expunge(struct index *ix, uint32_t mailbox, uint32_t uid)
{
    struct pending_drop *d = &ix->drop;
    int err;

    if (d->last != 0 && d->mailbox == mailbox && uid == d->last + 1) {
        d->last = uid;
        return 0;
    }
    err = ix_cache_flush(ix);
    *d = (struct pending_drop){mailbox, uid, uid};
    return err;
}

/* The cache is about to be used. */
static int
ready(struct index *ix)
{
    int err = ix_ready(ix);

    return err == 0 ? ix_cache_flush(ix) : err;
}

static int
get_entries(struct index *ix, uint32_t mailbox, uint32_t uid, struct kv_slice *value)
{
    unsigned char key[KEY_MESSAGE_SIZE];
    int err;

    key_message(key, mailbox, uid);
    err = kv_get(ix->kv, KV_CACHE, slice(key, sizeof key), value);
    if (err == 0 && !well_formed(value->p, value->len))
        err = ERR_NOENT;
    return err;
}

int
index_cache_get(struct index *ix, uint32_t mailbox, uint32_t uid, struct buf *out)
{
    struct kv_slice value;
    int err = ready(ix);

    if (err == 0)
        err = get_entries(ix, mailbox, uid, &value);
    if (err != 0)
        return err;
    buf_add(out, value.p, value.len);
    return buf_ok(out) ? 0 : ERR_LIMIT;
}

struct each {
    index_cache_fn *fn;
    void *ctx;
};

static int
each_cached(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct each *e = ctx;

    if (key.len != KEY_MESSAGE_SIZE || !well_formed(value.p, value.len))
        return 0;
    return e->fn(e->ctx, be32_read((const unsigned char *)key.p + 4), value.p, value.len);
}

int
index_cache_each(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                 index_cache_fn *fn, void *ctx)
{
    unsigned char from[KEY_MESSAGE_SIZE], to[KEY_MESSAGE_SIZE];
    struct each e = {fn, ctx};
    int err = ready(ix);

    if (err != 0)
        return err;
    key_message(from, mailbox, first);
    key_message(to, mailbox, last);
    return kv_scan(ix->kv, KV_CACHE, slice(from, sizeof from), slice(to, sizeof to),
                   each_cached, &e);
}

const char *
index_cache_find(const struct buf *entries, enum index_cache_tag tag, size_t *len)
{
    size_t at = 0, entry_len;
    char found;

    while (next_entry(entries->data, entries->len, &at, &found, &entry_len)) {
        if (found == (char)tag) {
            *len = entry_len;
            return entries->data + at - entry_len;
        }
    }
    return NULL;
}

void
index_cache_add(struct buf *entries, enum index_cache_tag tag, const void *p, size_t len)
{
    unsigned char head[ENTRY_HEAD] = {(unsigned char)tag, (unsigned char)(len >> 24),
                                      (unsigned char)(len >> 16), (unsigned char)(len >> 8),
                                      (unsigned char)len};

    buf_add(entries, head, sizeof head);
    buf_add(entries, p, len);
}

static bool
has_tag(const char *entries, size_t len, char tag)
{
    size_t at = 0, entry_len;
    char found;

    while (next_entry(entries, len, &at, &found, &entry_len))
        if (found == tag)
            return true;
    return false;
}

int
index_cache_put(struct index *ix, uint32_t mailbox, uint32_t uid, const char *entries,
                size_t len)
{
    struct buf out = BUF_INIT(CACHE_MAX);
    unsigned char key[KEY_MESSAGE_SIZE];
    struct kv_slice value;
    size_t at = 0, before, entry_len;
    char tag;
    int err = ready(ix);

    if (err != 0)
        return err;
    /* It may have been expunged since the caller read it: nobody would remove the entry. */
    key_message(key, mailbox, uid);
    err = block_get(&ix->block, ix->kv, mailbox, uid, &value);
    if (err != 0)
        return err == ERR_NOENT ? 0 : err;
    err = get_entries(ix, mailbox, uid, &value);
    if (err != 0 && err != ERR_NOENT)
        return err;
    for (before = at; err == 0 && next_entry(value.p, value.len, &at, &tag, &entry_len);
         before = at)
        if (!has_tag(entries, len, tag))
            buf_add(&out, (const char *)value.p + before, at - before);
    buf_add(&out, entries, len);
    if (buf_ok(&out))
        err = kv_put(ix->kv, KV_CACHE, slice(key, sizeof key), slice(out.data, out.len));
    else
        err = ERR_LIMIT;
    buf_free(&out);
    return err;
}

int
index_cache_drop(struct index *ix, uint32_t mailbox, uint32_t uid)
{
    unsigned char key[KEY_MESSAGE_SIZE];
    int err = ready(ix);

    if (err != 0)
        return err;
    key_message(key, mailbox, uid);
    err = kv_delete(ix->kv, KV_CACHE, slice(key, sizeof key));
    return err == ERR_NOENT ? 0 : err;
}
