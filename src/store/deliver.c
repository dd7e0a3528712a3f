/*
 * Delivery: bytes -> tmp/ -> new/ -> index; see deliver.h. It's APPEND's way (append.c) with
 * another end: a delivered message has no flags and lies in new/ until a session selects the
 * folder.
 *
 * The row of a folder says what new/ looked like at the last scan (scan.c, rule 5). A delivery
 * doesn't look at what other programs have put there; it adds its own message and leaves the
 * mark "messages lie in new/, look there again", so that the next session finds both. Its cost
 * doesn't grow with the mailbox. Only a folder that was never scanned by a session is scanned
 * first: it may hold mail of another server whose UIDs are to be kept, and ours mustn't take
 * one of them. That server may have given more since `mansioctl import`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/deliver.h"
#include "store/folders.h"
#include "store/incoming.h"
#include "store/quota.h"
#include "store/scan_private.h"

#define LOOK_AGAIN (-1) /* as new_mtime: no mtime equals it, and messages lie in new/ */

/* One message on its way. */
struct arrival {
    struct account *a;
    const struct delivery *d;
    int fd; /* of the folder */
    int64_t date;
    struct incoming in;
    char name[MDNAME_MAX + 1]; /* in new/ */
};

/* What may send a message back to its sender for good must mean what it says: a disk's quota
   isn't the user's, but a full disk; a limit of something else isn't the message's length. */
static int
inner(int err)
{
    if (err == ERR_QUOTA)
        return ERR_NOSPACE;
    return err == ERR_LIMIT ? ERR_IO : err;
}

/* The folder's descriptor; makes the folder if that's wanted. */
static int
open_folder(struct arrival *ar, bool *created)
{
    struct account *a = ar->a;
    const char *name = ar->d->folder;
    int err;

    *created = false;
    if (ar->d->create && !folder_exists(a, name)) {
        err = folder_create(a, name, 0);
        if (err < 0 && err != ERR_EXISTS) /* another delivery was quicker */
            return err;
        *created = err == 0;
        if (*created && folder_subscribe(a, name, true) < 0)
            log_warn("folder %s was made, but couldn't be subscribed", name);
    }
    err = maildir_open(a->root, name, &ar->fd);
    if (err == 0 && faccessat(ar->fd, "cur", F_OK, 0) != 0)
        err = ERR_NOENT;
    if (err == 0 && faccessat(ar->fd, "new", F_OK, 0) != 0)
        err = maildir_make_parts(ar->fd, false); /* some programs remove an empty one */
    return err;
}

/* The file in tmp/, durable. */
static int
take_in(struct arrival *ar, struct source *src)
{
    int err = incoming_write(&ar->in, ar->fd, ar->d->headers, src, ar->a->conf->append_limit);

    if (err < 0)
        return err == ERR_LIMIT ? err : inner(err);
    err = quota_check(ar->a, ar->in.size, 1);
    return err == 0 ? inner(incoming_sync(&ar->in, ar->date)) : err;
}

/* tmp/ -> new/, durable: from here on it's delivered. */
static int
move_to_new(struct arrival *ar, struct mailbox *m)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX];
    int err = mdname_new(ar->in.size, ar->in.crlf_size, ar->name);

    if (err < 0)
        return err;
    if (ar->d->give_up != NULL && ar->d->give_up(ar->d->ctx))
        return ERR_TEMP;
    snprintf(from, sizeof from, "tmp/%s", ar->in.tmp);
    maildir_path(to, true, ar->name);
    if (renameat(ar->fd, from, m->fd, to) != 0) {
        err = err_from_errno(errno);
        log_error("cannot move a message from %s to new/: %s", from, strerror(errno));
        return err;
    }
    incoming_moved(&ar->in);
    sys_step("deliver:renamed");
    if (sys_fsync_dir(m->fd, "new") != 0) {
        err = err_from_errno(errno);
        log_error("fsync of new/: %s", strerror(errno));
        (void)unlinkat(m->fd, to, 0);
        return err;
    }
    sys_step("deliver:dir-synced");
    return 0;
}

static int
add_row(struct arrival *ar, struct mailbox *m, uint32_t *uid)
{
    struct index_message row;
    int err;

    memset(&row, 0, sizeof row);
    row.in_new = true;
    row.internal_date = ar->date;
    row.save_date = sys_now();
    row.size = ar->in.size;
    row.crlf_size = ar->in.crlf_size;
    memcpy(row.name, ar->name, sizeof row.name);
    err = index_message_add(m->a->ix, &m->row, &row);
    *uid = row.uid;
    return err;
}

/* The UID, in one synced commit. */
static int
add_to_index(struct arrival *ar, struct mailbox *m, uint32_t *uid)
{
    struct index *ix = ar->a->ix;
    int err = index_begin(ix);

    if (err < 0)
        return err;
    err = add_row(ar, m, uid);
    if (m->row.new_mtime != 0) /* 0: everything will be read anyway */
        m->row.new_mtime = LOOK_AGAIN;
    if (err == 0)
        err = mailbox_put(m);
    if (err == 0)
        err = index_commit(ix, true);
    else
        index_abort(ix);
    sys_step("deliver:committed");
    return err;
}

/* The account is locked. */
static int
store_locked(struct arrival *ar, struct delivered *out)
{
    struct mailbox *m = NULL;
    uint32_t uid = 0;
    int err = mailbox_open(ar->a, ar->d->folder, &m);

    if (err == 0 &&
        (m->row.new_mtime == 0 || m->row.cur_mtime == 0 || m->row.cur_mtime == IMPORT_PENDING))
        err = scan_sync(m, 0);
    err = inner(err);
    if (err == 0)
        err = quota_check(ar->a, ar->in.size, 1); /* what came in meanwhile counts */
    if (err == 0)
        err = inner(move_to_new(ar, m));
    if (err == 0) {
        quota_add(ar->a, (int64_t)ar->in.size, 1);
        if (add_to_index(ar, m, &uid) == 0)
            out->uid = uid;
        else
            log_warn("the message was delivered, but the index couldn't take it: the next "
                     "session will");
        out->uidvalidity = m->row.uidvalidity;
    }
    mailbox_close(&m);
    return err == ERR_GONE ? ERR_NOENT : err;
}

static int
store(struct arrival *ar, struct delivered *out)
{
    int err = account_lock(ar->a);

    if (err < 0)
        return inner(err);
    err = store_locked(ar, out);
    account_unlock(ar->a);
    return err;
}

int
deliver_message(struct account *a, const struct delivery *d, struct source *src,
                struct delivered *out)
{
    struct arrival ar = {.a = a, .d = d, .fd = -1, .in = {.file = -1}};
    int err;

    memset(out, 0, sizeof *out);
    ar.date = sys_now();
    err = quota_check(a, 1, 1); /* who is over it already isn't waited for */
    if (err == 0)
        err = inner(open_folder(&ar, &out->created));
    if (err == 0)
        err = take_in(&ar, src);
    if (err == 0)
        err = store(&ar, out);
    incoming_drop(&ar.in);
    if (ar.fd >= 0)
        close(ar.fd);
    if (err < 0)
        return err;
    out->size = ar.in.size;
    return 0;
}
