/*
 * CREATE and DELETE (RFC 3501 6.3.3, 6.3.4), and what is made at the first login.
 *
 * A folder comes and goes by one rename of its directory, so that no other program ever sees
 * half of one. A new one is made as `mansio-new.*`, which nobody takes for a folder, with its
 * row's id in it; a deleted one becomes `mansio-deleted.*` and is emptied afterwards, without
 * the lock. Leftovers of a crash are removed by folders_tidy(). In between, a directory without
 * a row gets a new one when it's opened, and a row without a directory is dropped when its name
 * is used again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/folders_private.h"
#include "store/keywords.h"
#include "store/maildir.h"
#include "store/quota.h"

/* The directory of a new folder, under a name of ours. */
static int
make_dir(struct account *a, char *name, size_t size, int *fd)
{
    char unique[MDNAME_MAX + 1];
    int err = mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, unique);

    *fd = -1;
    if (err < 0)
        return err;
    snprintf(name, size, MAILDIR_MAKING "%.120s", unique);
    if (mkdirat(a->root, name, 0700) == 0)
        *fd = openat(a->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        log_error("cannot make a folder: %s", strerror(errno));
        return err_from_errno(errno);
    }
    return maildir_make_parts(*fd, true);
}

static int
check_special_use(void *ctx, const char *name, const struct index_mailbox *row)
{
    const uint32_t *wanted = ctx;

    (void)name;
    return (row->special_use & *wanted) != 0;
}

/* A row of that name without a directory: was the directory renamed by another program? Then
   the row follows it, else it's dropped. In no transaction. */
static int
clear_row(struct account *a, const char *name)
{
    struct index_mailbox row;
    int err = index_mailbox_get(a->ix, name, &row);

    if (err == ERR_NOENT)
        return 0;
    return err < 0 ? err : folders_heal(a);
}

static int
create_in(struct account *a, const char *name, uint32_t special_use, int fd, const char *made)
{
    char dir[MBOXNAME_MAX + 2];
    struct index_mailbox row;
    bool renamed = false;
    int err = index_begin(a->ix);

    if (err < 0)
        return err;
    err = index_mailbox_create(a->ix, name, 0, &row);
    if (err == 0) {
        row.special_use = special_use;
        err = index_mailbox_put(a->ix, name, &row);
    }
    if (err == 0)
        err = mailbox_write_id(fd, &row);
    sys_step("create:made");
    maildir_dir_name(name, dir, sizeof dir);
    if (err == 0 && renameat(a->root, made, a->root, dir) != 0) {
        err = errno == ENOTEMPTY || errno == ENOTDIR ? ERR_EXISTS : err_from_errno(errno);
        log_error("cannot make the folder %s: %s", dir, strerror(errno));
    }
    renamed = err == 0;
    sys_step("create:renamed");
    if (err == 0 && sys_fsync_dir(a->root, ".") != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = index_commit(a->ix, true);
    sys_step("create:committed");
    if (err < 0 && renamed)
        (void)renameat(a->root, dir, a->root, made);
    return err;
}

int
folders_create_locked(struct account *a, const char *name, uint32_t special_use)
{
    char made[MDNAME_MAX + 1] = "";
    int fd, err;

    if (strlen(name) > MBOXNAME_MAX)
        return ERR_CANNOT;
    if (folder_exists(a, name))
        return ERR_EXISTS;
    if (special_use != 0) {
        err = index_mailbox_each(a->ix, check_special_use, &special_use);
        if (err != 0)
            return err > 0 ? ERR_EXISTS : err;
    }
    err = clear_row(a, name);
    if (err < 0)
        return err;
    err = make_dir(a, made, sizeof made, &fd);
    if (err == 0)
        err = create_in(a, name, special_use, fd, made);
    if (err < 0) {
        index_abort(a->ix);
        if (made[0] != '\0')
            (void)maildir_remove_tree(a->root, made);
    }
    if (fd >= 0)
        close(fd);
    return err;
}

int
folder_create(struct account *a, const char *name, uint32_t special_use)
{
    int err = account_lock(a);

    if (err < 0)
        return err;
    err = folders_create_locked(a, name, special_use);
    account_unlock(a);
    return err;
}

/* The row goes with the directory. Locked. */
static int
delete_locked(struct account *a, const char *name, const char *away)
{
    char dir[MBOXNAME_MAX + 2];
    int err = index_begin(a->ix);

    if (err < 0)
        return err;
    maildir_dir_name(name, dir, sizeof dir);
    if (renameat(a->root, dir, a->root, away) != 0) {
        err = err_from_errno(errno);
        log_error("cannot delete the folder %s: %s", dir, strerror(errno));
        return err;
    }
    sys_step("delete:renamed");
    if (sys_fsync_dir(a->root, ".") != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = index_mailbox_delete(a->ix, name);
    if (err == ERR_NOENT) /* no session ever opened it */
        err = 0;
    if (err == 0)
        err = index_commit(a->ix, true);
    sys_step("delete:committed");
    if (err < 0)
        (void)renameat(a->root, away, a->root, dir);
    return err;
}

/* Empties and removes a deleted folder, and gives the user its room back. */
static void
remove_away(struct account *a, const char *away)
{
    struct quota_usage was = {.bytes = 0};
    uint64_t stamp = 0;
    int fd = quota_applies(a) ? openat(a->root, away, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)quota_count_folder(fd, false, &was, &stamp);
        close(fd);
    }
    (void)maildir_remove_tree(a->root, away);
    quota_add(a, -(int64_t)was.bytes, -(int64_t)was.messages);
}

int
folder_delete(struct account *a, const char *name)
{
    char unique[MDNAME_MAX + 1], away[MDNAME_MAX + 1];
    int err;

    if (strcmp(name, "INBOX") == 0)
        return ERR_CANNOT;
    err = mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, unique);
    if (err == 0)
        err = account_lock(a);
    if (err < 0)
        return err;
    snprintf(away, sizeof away, MAILDIR_DELETED "%.120s", unique);
    err = mailbox_dir_exists(a, name) ? delete_locked(a, name, away) : ERR_NOENT;
    if (err < 0)
        index_abort(a->ix);
    account_unlock(a);
    if (err == 0)
        remove_away(a, away);
    return err;
}

/* Its callers undo something: the directory goes in any case. If the index has failed, the row
   goes when the next lock has mended it. */
int
folders_delete_empty(struct account *a, const char *name)
{
    char unique[MDNAME_MAX + 1], away[MDNAME_MAX + 1], dir[MBOXNAME_MAX + 2];
    int fd, err = mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, unique);

    if (err == 0)
        err = maildir_open(a->root, name, &fd);
    if (err < 0)
        return err;
    snprintf(away, sizeof away, MAILDIR_DELETED "%.120s", unique);
    if (!maildir_is_empty(fd)) {
        close(fd);
        return ERR_EXISTS;
    }
    close(fd);
    err = delete_locked(a, name, away);
    if (err < 0) {
        index_abort(a->ix);
        maildir_dir_name(name, dir, sizeof dir);
        (void)renameat(a->root, dir, a->root, away);
        (void)sys_fsync_dir(a->root, ".");
    }
    (void)maildir_remove_tree(a->root, away);
    return err;
}

/* Gives a folder that was there before us its use, unless it has one or another folder has
   this. Locked. */
static int
mark(struct account *a, const char *name, uint32_t special_use)
{
    struct mailbox *m;
    int err;

    if (special_use == 0 || index_mailbox_each(a->ix, check_special_use, &special_use) != 0)
        return 0;
    err = mailbox_open(a, name, &m);
    if (err < 0)
        return err;
    if (m->row.special_use == 0) {
        m->row.special_use = special_use;
        err = index_begin(a->ix);
        if (err == 0)
            err = mailbox_put(m);
        if (err == 0)
            err = index_commit(a->ix, true);
        if (err < 0)
            index_abort(a->ix);
    }
    mailbox_close(&m);
    return err;
}

/* One item of auto_folders, "Name" or "Name:\Use", in UTF-8 with the client's separator. */
static int
make_auto(struct account *a, const char *item, size_t len)
{
    struct mboxname_rules rules = {.separator = a->names.separator, .prefix = ""};
    struct buf name = BUF_INIT(1024), internal = BUF_INIT(1024);
    const char *use = memchr(item, ':', len);
    char attribute[32] = "";
    int err;

    if (use != NULL)
        snprintf(attribute, sizeof attribute, "%.*s", (int)(len - (size_t)(use + 1 - item)),
                 use + 1);
    err = mutf7_from_utf8(item, use != NULL ? (size_t)(use - item) : len, &name);
    if (err == 0)
        err = mboxname_from_client(&rules, name.data, name.len, true, &internal, NULL);
    if (err == 0)
        err = folders_create_locked(a, buf_str(&internal), special_use_bit(attribute));
    if (err == ERR_EXISTS)
        err = mark(a, buf_str(&internal), special_use_bit(attribute));
    if (err == 0)
        err = subscriptions_change(a, buf_str(&internal), true);
    if (err < 0)
        log_warn("auto_folders: cannot make \"%.*s\": %s", (int)len, item, err_text(err));
    buf_free(&name);
    buf_free(&internal);
    return err;
}

/* Not the configuration, nor what lies in the Maildir: the next login tries again. */
static bool
may_work_later(int err)
{
    return err == ERR_NOSPACE || err == ERR_QUOTA || err == ERR_IO || err == ERR_SHORT ||
           err == ERR_TEMP || err == ERR_BUSY;
}

int
folders_make_auto(struct account *a)
{
    const char *pos = a->conf->auto_folders, *item;
    size_t len;
    int failed = 0, err = account_lock(a);

    if (err < 0)
        return err;
    while ((item = conf_list_next(&pos, &len)) != NULL) {
        err = make_auto(a, item, len);
        if (err < 0 && may_work_later(err))
            failed = err;
    }
    account_unlock(a);
    return failed;
}
