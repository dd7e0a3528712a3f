/*
 * Rows of mailboxes; see index.h. In mailboxes.db: 'n' name -> row, 'i' be32 id -> name,
 * 'c' -> control record, 'v' be32 UIDVALIDITY, name -> be32 id of a mailbox that was called so
 * once, and was deleted or renamed.
 *
 * Without the last ones, a name could get a UIDVALIDITY again with other messages: not from us,
 * who only go up, but from another server's list that comes back with a backup, or by renaming
 * one of two folders that came with the same UIDVALIDITY (Courier takes the time in seconds).
 *
 * Name, UIDVALIDITY, object id and keyword names are also kept in messages.db, as the record
 * of UID 0 (the anchor), so that losing mailboxes.db doesn't cost the UIDs.
 */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index_impl.h"

#define ID_KEY_SIZE 5

size_t
ix_row_key(char *key, const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > INDEX_NAME_MAX)
        log_panic("index: a mailbox name of %zu octets", len);
    key[0] = 'n';
    memcpy(key + 1, name, len + 1);
    return len + 1;
}

static void
id_key(unsigned char *key, uint32_t id)
{
    unsigned char pair[KEY_MESSAGE_SIZE];

    key_message(pair, id, 0);
    key[0] = 'i';
    memcpy(key + 1, pair, 4);
}

int
ix_put_name(struct kv *kv, uint32_t id, const char *name)
{
    unsigned char key[ID_KEY_SIZE];

    id_key(key, id);
    return kv_put(kv, KV_MAILBOXES, slice(key, sizeof key), slice(name, strlen(name)));
}

int
ix_put_row(struct index *ix, struct kv *kv, const char *name, const struct index_mailbox *row)
{
    char key[INDEX_NAME_MAX + 2];
    size_t len = ix_row_key(key, name);

    buf_reset(&ix->record);
    row_encode(&ix->record, row);
    return kv_put(kv, KV_MAILBOXES, slice(key, len), slice(ix->record.data, ix->record.len));
}

int
ix_put_anchor(struct index *ix, struct kv *kv, const char *name,
              const struct index_mailbox *row)
{
    unsigned char key[KEY_MESSAGE_SIZE];

    key_message(key, row->id, 0);
    buf_reset(&ix->record);
    anchor_encode(&ix->record, name, row);
    return kv_put(kv, KV_MESSAGES, slice(key, sizeof key),
                  slice(ix->record.data, ix->record.len));
}

int
index_mailbox_get(struct index *ix, const char *name, struct index_mailbox *row)
{
    char key[INDEX_NAME_MAX + 2];
    struct kv_slice value;
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (strlen(name) > INDEX_NAME_MAX || name[0] == '\0')
        return ERR_NOENT;
    err = kv_get(ix->kv, KV_MAILBOXES, slice(key, ix_row_key(key, name)), &value);
    if (err != 0)
        return err;
    return row_decode(value, row) == 0 ? 0 : ix_corrupt(ix, "a mailbox's row");
}

int
index_mailbox_get_by_id(struct index *ix, uint32_t id, char *name, size_t name_size,
                        struct index_mailbox *row)
{
    unsigned char key[ID_KEY_SIZE];
    char found[INDEX_NAME_MAX + 1];
    struct kv_slice value;
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    id_key(key, id);
    err = kv_get(ix->kv, KV_MAILBOXES, slice(key, sizeof key), &value);
    if (err != 0)
        return err;
    if (value.len == 0 || value.len > INDEX_NAME_MAX)
        return ix_corrupt(ix, "a mailbox's name");
    if (value.len >= name_size)
        return ERR_LIMIT;
    memcpy(found, value.p, value.len);
    found[value.len] = '\0';
    memcpy(name, found, value.len + 1);
    err = index_mailbox_get(ix, found, row);
    if (err == ERR_NOENT || (err == 0 && row->id != id))
        return ix_corrupt(ix, "a mailbox's id");
    return err;
}

/* The next UIDVALIDITY: grows, and is the time of its making when that is larger, so that it
   grows over the loss of the whole index too. 0 when there is none left. */
static uint32_t
next_uidvalidity(struct index *ix, uint32_t above)
{
    uint64_t next = (uint64_t)ix->control.last_uidvalidity + 1;
    int64_t now = sys_now();

    if (next <= above)
        next = (uint64_t)above + 1;
    if (now > 0 && (uint64_t)now > next && now <= UINT32_MAX)
        next = (uint64_t)now;
    return next > UINT32_MAX ? 0 : (uint32_t)next;
}

static size_t
former_key(unsigned char *key, uint32_t uidvalidity, const char *name)
{
    size_t len = strlen(name);

    id_key(key, uidvalidity);
    key[0] = 'v';
    memcpy(key + ID_KEY_SIZE, name, len);
    return ID_KEY_SIZE + len;
}

/* Notes that the mailbox was called so. */
static int
put_former(struct index *ix, const char *name, const struct index_mailbox *row)
{
    unsigned char key[ID_KEY_SIZE + INDEX_NAME_MAX], id[ID_KEY_SIZE];
    size_t len = former_key(key, row->uidvalidity, name);

    id_key(id, row->id);
    return kv_put(ix->kv, KV_MAILBOXES, slice(key, len), slice(id + 1, 4));
}

/* Was another mailbox than `id` (0 = any) called so once, with that UIDVALIDITY? 1, 0 or ERR_*.
 */
static int
was_used(struct index *ix, const char *name, uint32_t uidvalidity, uint32_t id)
{
    unsigned char key[ID_KEY_SIZE + INDEX_NAME_MAX];
    struct kv_slice value;
    int err =
        kv_get(ix->kv, KV_MAILBOXES, slice(key, former_key(key, uidvalidity, name)), &value);

    if (err == 0)
        return value.len != 4 || be32_read(value.p) != id;
    return err == ERR_NOENT ? 0 : err;
}

/* A row of this name can be made: the control record is read. */
static int
check_new(struct index *ix, const char *name)
{
    struct index_mailbox row;
    int err;

    if (strlen(name) > INDEX_NAME_MAX || name[0] == '\0')
        return ERR_CANNOT;
    err = index_mailbox_get(ix, name, &row);
    if (err != ERR_NOENT)
        return err == 0 ? ERR_EXISTS : err;
    err = ix_read_control(ix); /* another session may have moved it on */
    return err == 0 && ix->control.next_id == UINT32_MAX ? ERR_LIMIT : err;
}

static int
make_row(struct index *ix, const char *name, uint32_t uidvalidity, struct index_mailbox *row)
{
    int err;

    memset(row, 0, sizeof *row);
    row->id = ix->control.next_id++;
    row->uidvalidity = uidvalidity;
    if (uidvalidity > ix->control.last_uidvalidity)
        ix->control.last_uidvalidity = uidvalidity;
    row->uidnext = row->first_recent = 1;
    row->highestmodseq = 1;
    row->changes_floor = 1;
    row->first_unseen_known = true;
    sys_random(row->objectid, sizeof row->objectid);
    ix->changed = true;
    err = ix_write_control(ix);
    if (err == 0)
        err = ix_put_row(ix, ix->kv, name, row);
    if (err == 0)
        err = ix_put_name(ix->kv, row->id, name);
    return err != 0 ? err : ix_put_anchor(ix, ix->kv, name, row);
}

int
index_mailbox_create(struct index *ix, const char *name, uint32_t uidvalidity_above,
                     struct index_mailbox *row)
{
    uint32_t uidvalidity;
    int err = check_new(ix, name);

    if (err != 0)
        return err;
    uidvalidity = next_uidvalidity(ix, uidvalidity_above);
    return uidvalidity == 0 ? ERR_LIMIT : make_row(ix, name, uidvalidity, row);
}

int
index_mailbox_import(struct index *ix, const char *name, uint32_t uidvalidity,
                     struct index_mailbox *row)
{
    int err = check_new(ix, name);

    if (err == 0 && (uidvalidity == 0 || uidvalidity > INDEX_UIDVALIDITY_IMPORT_MAX))
        err = ERR_RANGE;
    if (err == 0)
        err = was_used(ix, name, uidvalidity, 0);
    if (err != 0)
        return err < 0 ? err : ERR_INUSE;
    return make_row(ix, name, uidvalidity, row);
}

int
index_mailbox_put(struct index *ix, const char *name, const struct index_mailbox *row)
{
    struct index_mailbox former, now = *row;
    int err = index_mailbox_get(ix, name, &former);

    if (err != 0)
        return err;
    if (former.id != row->id)
        log_panic("index_mailbox_put: %s has another id", name);
    /* these two are the index's own: what the caller read may be of before the trimming */
    now.changes_floor = former.changes_floor;
    now.changes_octets = former.changes_octets;
    err = ix_changes_flush(ix, &now);
    if (err == 0 && (former.keywords_count != row->keywords_count ||
                     memcmp(former.keywords, row->keywords, sizeof row->keywords) != 0))
        err = ix_put_anchor(ix, ix->kv, name, row);
    return err != 0 ? err : ix_put_row(ix, ix->kv, name, &now);
}

/* Gives the row another UIDVALIDITY if a mailbox with its present one was called `name`. */
static int
move_off(struct index *ix, const char *name, struct index_mailbox *row)
{
    int err = was_used(ix, name, row->uidvalidity, row->id);

    if (err <= 0)
        return err;
    err = ix_read_control(ix);
    if (err != 0)
        return err;
    row->uidvalidity = next_uidvalidity(ix, row->uidvalidity);
    if (row->uidvalidity == 0)
        return ERR_LIMIT;
    ix->control.last_uidvalidity = row->uidvalidity;
    return ix_write_control(ix);
}

int
index_mailbox_rename(struct index *ix, const char *from, const char *to)
{
    char key[INDEX_NAME_MAX + 2];
    struct index_mailbox row, other;
    int err;

    if (strlen(to) > INDEX_NAME_MAX || to[0] == '\0')
        return ERR_CANNOT;
    err = index_mailbox_get(ix, from, &row);
    if (err != 0)
        return err;
    err = index_mailbox_get(ix, to, &other);
    if (err != ERR_NOENT)
        return err == 0 ? ERR_EXISTS : err;
    ix->changed = true;
    err = put_former(ix, from, &row);
    if (err == 0)
        err = kv_delete(ix->kv, KV_MAILBOXES, slice(key, ix_row_key(key, from)));
    if (err == 0)
        err = move_off(ix, to, &row);
    if (err == 0)
        err = ix_put_row(ix, ix->kv, to, &row);
    if (err == 0)
        err = ix_put_name(ix->kv, row.id, to);
    return err != 0 ? err : ix_put_anchor(ix, ix->kv, to, &row);
}

int
index_mailbox_delete(struct index *ix, const char *name)
{
    static const enum kv_file contents[] = {KV_MESSAGES, KV_CHANGES, KV_CACHE};
    char key[INDEX_NAME_MAX + 2];
    unsigned char id[ID_KEY_SIZE];
    struct index_mailbox row;
    int err = index_mailbox_get(ix, name, &row);

    if (err != 0)
        return err;
    ix->changed = true;
    err = block_flush(&ix->block, ix->kv);
    block_forget(&ix->block);
    if (err != 0)
        return err;
    id_key(id, row.id);
    err = put_former(ix, name, &row);
    if (err == 0)
        err = kv_delete(ix->kv, KV_MAILBOXES, slice(key, ix_row_key(key, name)));
    if (err == 0)
        err = kv_delete(ix->kv, KV_MAILBOXES, slice(id, sizeof id));
    for (size_t i = 0; i < sizeof contents / sizeof contents[0] && err == 0; i++)
        err = kv_delete_range(ix->kv, contents[i], slice(id + 1, 4), slice(id + 1, 4));
    return err == ERR_NOENT ? ix_corrupt(ix, "a mailbox's id") : err;
}

struct each {
    struct index *ix;
    index_mailbox_fn *fn;
    void *ctx;
};

static int
each_row(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct each *e = ctx;
    struct index_mailbox row;
    char name[INDEX_NAME_MAX + 1];

    if (key.len < 2 || key.len > INDEX_NAME_MAX + 1 || row_decode(value, &row) != 0)
        return ix_corrupt(e->ix, "a mailbox's row");
    memcpy(name, (const char *)key.p + 1, key.len - 1);
    name[key.len - 1] = '\0';
    return e->fn(e->ctx, name, &row);
}

int
index_mailbox_each(struct index *ix, index_mailbox_fn *fn, void *ctx)
{
    struct each e = {ix, fn, ctx};
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    return kv_scan(ix->kv, KV_MAILBOXES, slice("n", 1), slice("n", 1), each_row, &e);
}
