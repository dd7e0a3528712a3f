/*
 * A folder's directory and its index row: opening the two together, and STATUS.
 *
 * The index knows a folder by a number; the folder's file `mansio-folder` ("<id>
 * <uidvalidity>\n") carries it on disk. A directory without a row is one of four:
 *  - a folder that another program made: it gets a new row, with the UIDVALIDITY of another
 *    server's list, if there is one (import.h);
 *  - the same, but the index was lost: the UIDVALIDITY is above the one in the file;
 *  - a folder that another program renamed (or a crash left renamed): its file names a row
 *    whose own directory is missing; the row is renamed, and UIDs stay;
 *  - a copy of a folder: the row's own directory is there; it gets a new row.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/import.h"
#include "store/keywords.h"
#include "store/message_private.h"
#include "store/quota.h"
#include "store/scan_private.h"

#define ID_FILE "mansio-folder"

bool
mailbox_dir_exists(struct account *a, const char *name)
{
    char path[MBOXNAME_MAX + 8], dir[MBOXNAME_MAX + 2];

    if (strlen(name) > MBOXNAME_MAX)
        return false;
    maildir_dir_name(name, dir, sizeof dir);
    snprintf(path, sizeof path, "%s/cur", dir);
    /* a folder that can't be looked at isn't one that's gone */
    return faccessat(a->root, path, F_OK, 0) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int
mailbox_write_id(int fd, const struct index_mailbox *row)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%u %u\n", row->id, row->uidvalidity);

    return maildir_write_file(fd, ID_FILE, text, (size_t)len);
}

static bool
read_id(int fd, uint32_t *id, uint32_t *uidvalidity)
{
    struct buf b = BUF_INIT(8192);
    unsigned long long x, y;
    bool ok = false;
    char *end;

    if (maildir_read_file(fd, ID_FILE, &b) == 0) {
        x = strtoull(buf_str(&b), &end, 10);
        y = *end == ' ' ? strtoull(end + 1, &end, 10) : 0;
        ok = *end == '\n' && x > 0 && x <= UINT32_MAX && y > 0 && y <= UINT32_MAX;
        *id = (uint32_t)x;
        *uidvalidity = (uint32_t)y;
    }
    buf_free(&b);
    return ok;
}

/* With the UIDVALIDITY of another server's list, if there's one and it can be had. */
static int
make_row(struct mailbox *m, uint32_t above)
{
    uint32_t uidvalidity = m->import != NULL ? import_uidvalidity(m->import) : 0;
    struct index *ix = m->a->ix;
    int err = ERR_INUSE;

    if (uidvalidity != 0) {
        err = index_mailbox_import(ix, m->name, uidvalidity, &m->row);
        if (err == ERR_INUSE || err == ERR_RANGE)
            log_warn("folder %s: the other server's UIDVALIDITY %u can't be used: %s", m->name,
                     uidvalidity, err == ERR_INUSE ? "a former folder had it" : "too high");
    }
    if (uidvalidity == 0 || err == ERR_INUSE || err == ERR_RANGE)
        err = index_mailbox_create(ix, m->name, above, &m->row);
    if (err == 0 && m->import != NULL)
        m->row.cur_mtime = IMPORT_PENDING;
    return err;
}

static void
save_id(struct mailbox *m)
{
    if (mailbox_write_id(m->fd, &m->row) < 0)
        log_warn("folder %s: its id could not be saved", m->name);
}

static int
create_row(struct mailbox *m, uint32_t above)
{
    struct index *ix = m->a->ix;
    int err = above == 0 ? import_read(m->fd, m->name, &m->import) : 0;

    if (err < 0 && err != ERR_NOENT)
        return err;
    err = index_begin(ix);
    if (err < 0)
        return err;
    err = make_row(m, above);
    if (err == 0) {
        keywords_load(m->fd, &m->row);
        /* an id without its row makes the next opener take a higher UIDVALIDITY, and no list */
        if (m->import == NULL)
            save_id(m);
        err = index_mailbox_put(ix, m->name, &m->row);
    }
    if (err == 0)
        err = index_commit(ix, true);
    else
        index_abort(ix);
    sys_step("mailbox:row");
    if (err == 0 && m->import != NULL)
        save_id(m);
    return err;
}

/* A directory without a row. */
static int
adopt(struct mailbox *m)
{
    char old[MBOXNAME_MAX + 1];
    uint32_t id = 0, uidvalidity = 0;
    struct index *ix = m->a->ix;
    int err;

    if (!read_id(m->fd, &id, &uidvalidity))
        return create_row(m, 0);
    err = index_mailbox_get_by_id(ix, id, old, sizeof old, &m->row);
    if (err < 0 || m->row.uidvalidity != uidvalidity || mailbox_dir_exists(m->a, old))
        return create_row(m, uidvalidity);
    log_info("folder %s was renamed to %s by another program", old, m->name);
    err = index_begin(ix);
    if (err == 0)
        err = index_mailbox_rename(ix, old, m->name);
    if (err == 0) /* it has got another UIDVALIDITY if a former folder of that name had this */
        err = index_mailbox_get(ix, m->name, &m->row);
    if (err == 0)
        err = index_commit(ix, true);
    else
        index_abort(ix);
    if (err == 0 && m->row.uidvalidity != uidvalidity)
        save_id(m);
    return err;
}

int
mailbox_open(struct account *a, const char *name, struct mailbox **out)
{
    struct mailbox *m;
    int fd, err = maildir_open(a->root, name, &fd);

    *out = NULL;
    if (err < 0)
        return err;
    m = mem_calloc(1, sizeof *m);
    m->a = a;
    m->fd = fd;
    snprintf(m->name, sizeof m->name, "%s", name);
    err = index_mailbox_get(a->ix, name, &m->row);
    if (err == 0 && m->row.cur_mtime == IMPORT_PENDING && faccessat(fd, ID_FILE, F_OK, 0) != 0)
        save_id(m);
    if (err == ERR_NOENT) {
        if (faccessat(fd, "cur", F_OK, 0) == 0)
            err = maildir_make_parts(fd, false);
        if (err == 0)
            err = adopt(m);
    }
    if (err < 0) {
        mailbox_close(&m);
        return err;
    }
    *out = m;
    return 0;
}

void
mailbox_close(struct mailbox **m)
{
    if (*m == NULL)
        return;
    import_free(&(*m)->import);
    close((*m)->fd);
    free(*m);
    *m = NULL;
}

int
mailbox_load(struct mailbox *m)
{
    uint32_t id = m->row.id, uidvalidity = m->row.uidvalidity;
    int err = index_mailbox_get(m->a->ix, m->name, &m->row);

    if (err == ERR_NOENT || (err == 0 && m->row.id != id))
        err = index_mailbox_get_by_id(m->a->ix, id, m->name, sizeof m->name, &m->row);
    if (err == ERR_NOENT || (err == 0 && m->row.uidvalidity != uidvalidity)) {
        m->row.id = id;
        m->row.uidvalidity = uidvalidity;
        return ERR_GONE;
    }
    return err;
}

int
mailbox_put(struct mailbox *m)
{
    return index_mailbox_put(m->a->ix, m->name, &m->row);
}

/* Messages whose size on the wire isn't known: their UIDs, up to a bound. */
#define SIZES_AT_ONCE 128

struct unknown_sizes {
    uint32_t uids[SIZES_AT_ONCE];
    size_t count;
};

static int
collect_unknown(void *ctx, const struct index_message *m)
{
    struct unknown_sizes *u = ctx;

    if (m->crlf_size != MDNAME_SIZE_UNKNOWN)
        return 0;
    u->uids[u->count++] = m->uid;
    return u->count == SIZES_AT_ONCE;
}

/* Measures the messages of one piece from UID `from` on. Locked; *next: where to go on, 0 at
   the end. */
static int
measure_piece(struct mailbox *m, uint32_t from, uint32_t *next)
{
    struct unknown_sizes *u = mem_calloc(1, sizeof *u);
    struct index_message old, now;
    size_t i;
    int err = index_message_each(m->a->ix, m->row.id, from, UINT32_MAX, collect_unknown, u);

    *next = err == 1 ? u->uids[u->count - 1] + 1 : 0;
    err = err < 0 ? err : index_begin(m->a->ix);
    for (i = 0; err == 0 && i < u->count; i++) {
        err = index_message_get(m->a->ix, m->row.id, u->uids[i], &old);
        now = old;
        if (err < 0 || message_measure(m->fd, &now) < 0)
            continue;
        err = index_message_update(m->a->ix, &m->row, &old, &now, true);
    }
    if (err == 0)
        err = mailbox_put(m);
    if (err == 0)
        err = index_commit(m->a->ix, false);
    else
        index_abort(m->a->ix);
    free(u);
    return err;
}

/* Gives the lock up between the pieces. */
static int
measure_all(struct mailbox *m)
{
    uint32_t next = 1;
    int err = 0;

    while (err == 0 && next != 0 && m->row.crlf_unknown > 0) {
        err = measure_piece(m, next, &next);
        if (err == 0 && next != 0) {
            account_unlock(m->a);
            err = account_lock(m->a);
            if (err < 0)
                return err;
            err = mailbox_load(m);
        }
    }
    return err;
}

static int
open_and_scan(struct account *a, const char *name, bool need_size, struct mailbox **m)
{
    int err = account_lock(a);

    if (err < 0)
        return err;
    err = mailbox_open(a, name, m);
    if (err == 0)
        err = scan_sync(*m, 0);
    if (err == 0 && need_size)
        err = measure_all(*m);
    account_unlock(a);
    return err;
}

int
mailbox_status(struct account *a, const char *name, bool need_size, struct mailbox_status *out)
{
    struct mailbox *m = NULL;
    int err, tries = 0;

    do {
        mailbox_close(&m);
        err = open_and_scan(a, name, need_size, &m);
    } while (account_again(a, err, &tries));
    if (err == 0) {
        out->messages = m->row.messages;
        out->recent = m->row.recent;
        out->unseen = m->row.unseen;
        out->deleted = m->row.deleted;
        out->uidnext = m->row.uidnext;
        out->uidvalidity = m->row.uidvalidity;
        out->highestmodseq = m->row.highestmodseq;
        out->bytes = m->row.bytes;
        out->crlf_bytes = m->row.crlf_bytes;
        memcpy(out->objectid, m->row.objectid, sizeof out->objectid);
    }
    mailbox_close(&m);
    return err == ERR_GONE ? ERR_NOENT : err;
}

static int
add_deleted(void *ctx, const struct index_message *m)
{
    uint64_t *bytes = ctx;

    if ((m->flags & MSG_DELETED) != 0)
        *bytes += quota_size(m->name, m->size);
    return 0;
}

int
mailbox_deleted_bytes(struct account *a, const char *name, uint64_t *bytes)
{
    struct mailbox *m;
    int err = account_lock(a);

    *bytes = 0;
    if (err < 0)
        return err;
    err = mailbox_open(a, name, &m);
    if (err == 0)
        err = index_message_each(a->ix, m->row.id, 1, UINT32_MAX, add_deleted, bytes);
    account_unlock(a);
    mailbox_close(&m);
    return err;
}
