/*
 * EXPUNGE through a view (RFC 3501 6.4.3; RFC 4315 UID EXPUNGE; POP3 QUIT).
 *
 * It works in pieces, and gives the lock up between them, so that 200,000 messages don't keep
 * other sessions waiting. What an error finds done in earlier pieces stays done. In each piece:
 *
 * 1. The files are unlinked, then the directory is synced.
 * 2. The rows are dropped, in one synced transaction.
 *
 * The other way round, a crash would leave files without rows: the next scan would take them
 * for new mail, and a message that the user saw go would be back. This way a crash leaves rows
 * without files, which the scan drops.
 *
 * No row is touched before all files of the piece are gone: libdb syncs its files now and then
 * while it works on many rows, and where the file system has a journal, each sync waits for all
 * that was unlinked before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/quota.h"
#include "store/scan.h"
#include "store/view_private.h"

/* One EXPUNGE command. */
struct job {
    struct view *v;
    const struct seqset *uids;
    struct seqset_iter it;
    struct view_batch *batch;
    bool any_flag;
    struct seqset *expunged; /* the caller's, or NULL */
    unsigned finds;
    uint64_t octets, messages; /* unlinked, for the quota */
    struct seqset unlinked;    /* UIDs of this piece, as all that follows */
    bool touched;              /* cur/ or new/ */
    bool from_new;             /* new/ */
};

/* Another program renamed the file: does its new name still ask for this? */
static bool
is_spared(const struct job *j, const struct index_message *found)
{
    struct mdname parsed;

    return !j->any_flag && mdname_parse(found->name, &parsed) == 0 &&
           (parsed.flags & MSG_DELETED) == 0;
}

/* Removes the file, wherever it is. ERR_EXISTS: it's to stay. */
static int
unlink_file(struct job *j, const struct index_message *m)
{
    struct index_message at = *m;
    char path[MAILDIR_PATH_MAX];
    int tries, err;

    for (tries = 0; tries < 3; tries++) {
        maildir_path(path, at.in_new, at.name);
        if (unlinkat(j->v->m->fd, path, 0) == 0) {
            j->touched = true;
            j->from_new = j->from_new || at.in_new;
            j->octets += quota_size(at.name, at.size);
            j->messages++;
            sys_step("expunge:unlinked");
            return 0;
        }
        if (errno != ENOENT) {
            log_error("cannot remove %s: %s", path, strerror(errno));
            return err_from_errno(errno);
        }
        err = view_find_file(j->v, &at, &j->finds);
        if (err < 0)
            return err == ERR_NOENT ? 0 : err;
        if (is_spared(j, &at))
            return ERR_EXISTS;
    }
    return ERR_TEMP;
}

static int
unlink_files(struct job *j)
{
    size_t done = 0, i;
    int err = 0;

    while (err == 0 && done < VIEW_PIECE && j->it.range < j->uids->count) {
        err = view_read_locked(j->v, j->uids, &j->it, 0, j->batch);
        for (i = 0; err == 0 && i < j->batch->count; i++) {
            const struct view_message *vm = &j->batch->items[i];

            if (vm->gone || (!j->any_flag && (vm->m.flags & MSG_DELETED) == 0))
                continue;
            err = unlink_file(j, &vm->m);
            if (err == 0)
                seqset_add(&j->unlinked, vm->m.uid, vm->m.uid);
            else if (err == ERR_EXISTS)
                err = 0;
        }
        done += j->batch->count;
    }
    return err;
}

static int
sync_dirs(const struct job *j)
{
    int fd = j->v->m->fd;

    if ((j->touched && sys_fsync_dir(fd, "cur") != 0) ||
        (j->from_new && sys_fsync_dir(fd, "new") != 0)) {
        log_error("fsync of a directory: %s", strerror(errno));
        return err_from_errno(errno);
    }
    return 0;
}

static int
drop_rows(struct job *j)
{
    struct view *v = j->v;
    struct seqset_iter it = {0};
    struct index_message m;
    uint32_t uid;
    int err = 0;

    while (err == 0 && seqset_next(&j->unlinked, &it, &uid)) {
        err = index_message_get(v->a->ix, v->m->row.id, uid, &m);
        if (err == 0)
            err = index_message_expunge(v->a->ix, &v->m->row, &m);
        if (err == 0 && j->expunged != NULL)
            seqset_add(j->expunged, uid, uid);
    }
    return err;
}

static int
expunge_piece(struct job *j)
{
    struct view *v = j->v;
    unsigned finds = j->finds;
    int err = view_scan(v), failed;

    if (err < 0)
        return err;
    if (!j->any_flag && v->m->row.deleted == 0) {
        j->it.range = j->uids->count; /* nothing to do: CLOSE of most mailboxes */
        return 0;
    }
    err = view_load_uids(v);
    if (err == 0)
        err = index_begin(v->a->ix);
    if (err < 0)
        return err;
    j->touched = j->from_new = false;
    seqset_clear(&j->unlinked);
    failed = unlink_files(j);
    if (j->unlinked.count == 0 && j->finds == finds) {
        index_abort(v->a->ix); /* nothing to wait for */
        return failed;
    }
    /* what was unlinked before an error is gone all the same */
    err = sync_dirs(j);
    sys_step("expunge:dir-synced");
    if (err == 0)
        err = drop_rows(j);
    if (err < 0)
        return err;
    if (j->touched)
        scan_note_own(v->m);
    err = mailbox_put(v->m);
    if (err == 0)
        err = index_commit(v->a->ix, true);
    sys_step("expunge:committed");
    return err < 0 ? err : failed;
}

int
view_expunge(struct view *v, const struct seqset *uids, bool any_flag, struct seqset *expunged)
{
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct job j = {
        .v = v, .uids = uids != NULL ? uids : &all, .any_flag = any_flag, .expunged = expunged};
    int err = 0;

    if ((v->flags & VIEW_READONLY) != 0)
        return ERR_READONLY;
    j.batch = view_batch_new();
    while (err == 0 && j.it.range < j.uids->count) {
        err = view_lock(v);
        if (err < 0)
            break;
        err = expunge_piece(&j);
        view_unlock(v);
    }
    quota_add(v->a, -(int64_t)j.octets, -(int64_t)j.messages); /* also of what an error cut */
    seqset_free(&j.unlinked);
    view_batch_free(&j.batch);
    return err;
}
