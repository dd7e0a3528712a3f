/*
 * A folder's directory and its index row: opening the two together.
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
#include "store/scan_private.h"

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
        if (m->import == NULL && m->later == NULL)
            save_id(m);
        err = index_mailbox_put(ix, m->name, &m->row);
    }
    if (err == 0)
        err = index_commit(ix, m->later == NULL);
    else
        index_abort(ix);
    sys_step("mailbox:row");
    if (err == 0 && m->later != NULL)
        mailbox_put_off(m->later, m);
    else if (err == 0 && m->import != NULL)
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

    if (!mailbox_read_id(m->fd, ".", &id, &uidvalidity))
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
    return mailbox_open_later(a, name, NULL, out);
}

int
mailbox_open_later(struct account *a, const char *name, struct later *later,
                   struct mailbox **out)
{
    struct mailbox *m;
    int fd, err = maildir_open(a->root, name, &fd);

    *out = NULL;
    if (err < 0)
        return err;
    m = mem_calloc(1, sizeof *m);
    m->a = a;
    m->fd = fd;
    m->later = later;
    snprintf(m->name, sizeof m->name, "%s", name);
    err = index_mailbox_get(a->ix, name, &m->row);
    if (err == 0 && m->row.cur_mtime == IMPORT_PENDING &&
        faccessat(fd, MAILBOX_ID_FILE, F_OK, 0) != 0)
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
