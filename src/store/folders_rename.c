/*
 * RENAME (RFC 3501 6.3.5), and mending what a crash or an administrator's mv left behind.
 *
 * A folder and its children are that many directories and rows; nothing renames them at once.
 * So what is to be done is written to `mansio-pending` first, and done again by the next opener
 * if that file is still there: moving what was moved already is nothing. Clients that look in
 * between see each folder under the one name or the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/folders_private.h"
#include "store/maildir.h"
#include "store/pending.h"
#include "store/view.h"

/* The new name of `name`, which is `from` or a child of it. ERR_CANNOT: too long. */
static int
new_name(const char *name, const char *from, const char *to, char *out, size_t size)
{
    int n = snprintf(out, size, "%s%s", to, name + strlen(from));

    return n < 0 || (size_t)n >= size || n > MBOXNAME_MAX ? ERR_CANNOT : 0;
}

static bool
concerned(const char *name, const char *from)
{
    return strcmp(name, from) == 0 || folders_is_child(name, from);
}

/* May every folder move? None may be in the way. */
static int
check_targets(struct account *a, const struct name_list *names, const char *from,
              const char *to)
{
    char target[MBOXNAME_MAX + 1];
    bool any = false;
    size_t i;
    int err = 0;

    for (i = 0; err == 0 && i < names->count; i++) {
        if (!concerned(names->names[i], from))
            continue;
        any = true;
        err = new_name(names->names[i], from, to, target, sizeof target);
        if (err == 0 && folder_exists(a, target))
            err = ERR_EXISTS;
    }
    return err < 0 ? err : (any ? 0 : ERR_NOENT);
}

static int
move_dirs(struct account *a, const char *from, const char *to)
{
    char old[MBOXNAME_MAX + 2], target[MBOXNAME_MAX + 1], dir[MBOXNAME_MAX + 2];
    struct name_list names = {0};
    size_t i;
    int err = folders_read(a, &names);

    for (i = 0; err == 0 && i < names.count; i++) {
        if (!concerned(names.names[i], from))
            continue;
        err = new_name(names.names[i], from, to, target, sizeof target);
        if (err < 0)
            break;
        maildir_dir_name(names.names[i], old, sizeof old);
        maildir_dir_name(target, dir, sizeof dir);
        if (renameat(a->root, old, a->root, dir) != 0) {
            err = err_from_errno(errno);
            log_error("cannot rename the folder %s to %s: %s", old, dir, strerror(errno));
        }
        if (err == ERR_EXISTS)
            err = 0; /* only after a crash: somebody made it anew; both stay */
        sys_step("rename:moved");
    }
    name_list_free(&names);
    return err;
}

/* An error: what was moved goes back, and nothing else. */
static void
undo_dirs(struct account *a, const struct name_list *names, const char *from, const char *to)
{
    char old[MBOXNAME_MAX + 2], target[MBOXNAME_MAX + 1], dir[MBOXNAME_MAX + 2];
    size_t i;

    for (i = 0; i < names->count; i++) {
        if (!concerned(names->names[i], from) || folder_exists(a, names->names[i]) ||
            new_name(names->names[i], from, to, target, sizeof target) < 0)
            continue;
        maildir_dir_name(names->names[i], old, sizeof old);
        maildir_dir_name(target, dir, sizeof dir);
        (void)renameat(a->root, dir, a->root, old);
    }
}

struct row_names {
    struct name_list list;
    const char *from; /* NULL: all */
};

static int
collect_row(void *ctx, const char *name, const struct index_mailbox *row)
{
    struct row_names *r = ctx;

    (void)row;
    if (r->from == NULL || concerned(name, r->from))
        name_list_add(&r->list, name);
    return 0;
}

/* Rows of the old names: to the new ones. A row that has the new name already has no directory
   of its own (check_targets()) and makes way. */
static int
move_rows(struct account *a, const char *from, const char *to)
{
    struct row_names rows = {.from = from};
    char target[MBOXNAME_MAX + 1];
    size_t i;
    int err = index_mailbox_each(a->ix, collect_row, &rows);

    if (err == 0)
        err = index_begin(a->ix);
    for (i = 0; err == 0 && i < rows.list.count; i++) {
        if (folder_exists(a, rows.list.names[i]))
            continue;
        err = new_name(rows.list.names[i], from, to, target, sizeof target);
        if (err == 0)
            err = index_mailbox_delete(a->ix, target);
        if (err == 0 || err == ERR_NOENT)
            err = index_mailbox_rename(a->ix, rows.list.names[i], target);
    }
    sys_step("rename:before-commit");
    if (err == 0)
        err = index_commit(a->ix, true);
    else
        index_abort(a->ix);
    name_list_free(&rows.list);
    return err;
}

int
folders_move(struct account *a, const char *from, const char *to)
{
    int err = move_dirs(a, from, to);

    if (err == 0 && sys_fsync_dir(a->root, ".") != 0)
        err = err_from_errno(errno);
    sys_step("rename:dir-synced");
    return err == 0 ? move_rows(a, from, to) : err;
}

static int
rename_noted(struct account *a, const struct name_list *names, const char *from, const char *to)
{
    int err = pending_rename(a, from, to);

    sys_step("rename:pending");
    if (err < 0)
        return err;
    err = folders_move(a, from, to);
    if (err < 0)
        undo_dirs(a, names, from, to);
    pending_end(a, PENDING_FILE);
    sys_step("rename:done");
    return err;
}

static int
rename_locked(struct account *a, const char *from, const char *to)
{
    struct name_list names = {0};
    int err;

    if (folder_exists(a, to))
        return ERR_EXISTS;
    err = folders_read(a, &names);
    if (err == 0)
        err = check_targets(a, &names, from, to);
    if (err == 0)
        err = rename_noted(a, &names, from, to);
    name_list_free(&names);
    return err;
}

/* RENAME INBOX: its messages move to a new folder (RFC 3501 6.3.5). */
static int
rename_inbox(struct account *a, const char *to)
{
    struct view *v = NULL;
    int err = view_open(a, "INBOX", VIEW_POP3, &v);

    if (err == 0)
        err = view_rename(v, to);
    view_close(&v);
    return err;
}

int
folder_rename(struct account *a, const char *from, const char *to)
{
    int err;

    if (strcmp(from, to) == 0 || strcmp(to, "INBOX") == 0)
        return ERR_EXISTS;
    if (strlen(to) > MBOXNAME_MAX)
        return ERR_CANNOT;
    if (strcmp(from, "INBOX") == 0)
        return rename_inbox(a, to);
    if (folders_is_child(to, from))
        return ERR_CANNOT;
    err = account_lock(a);
    if (err < 0)
        return err;
    err = rename_locked(a, from, to);
    account_unlock(a);
    return err;
}

int
folders_heal(struct account *a)
{
    struct row_names rows = {.from = NULL};
    struct name_list names = {0};
    struct index_mailbox row;
    struct mailbox *m;
    bool orphans = false;
    size_t i;
    int err = index_mailbox_each(a->ix, collect_row, &rows);

    for (i = 0; i < rows.list.count; i++)
        orphans = orphans || !folder_exists(a, rows.list.names[i]);
    name_list_free(&rows.list);
    if (err < 0 || !orphans)
        return err;
    err = folders_read(a, &names);
    /* opening a directory that has no row gives it the one that its file names */
    for (i = 0; err == 0 && i < names.count; i++) {
        if (index_mailbox_get(a->ix, names.names[i], &row) != ERR_NOENT)
            continue;
        err = mailbox_open(a, names.names[i], &m);
        mailbox_close(&m);
    }
    if (err == 0)
        err = index_mailbox_each(a->ix, collect_row, &rows);
    for (i = 0; err == 0 && i < rows.list.count; i++) {
        if (folder_exists(a, rows.list.names[i]))
            continue;
        err = index_begin(a->ix);
        if (err == 0)
            err = index_mailbox_delete(a->ix, rows.list.names[i]);
        if (err == 0)
            err = index_commit(a->ix, true);
        else
            index_abort(a->ix);
    }
    name_list_free(&rows.list);
    name_list_free(&names);
    return err;
}

/* Each folder has a tmp/ of its own, for deliveries and APPENDs that were cut short. */
static void
purge_folders(struct account *a)
{
    struct name_list names = {0};
    int64_t now = sys_now();
    size_t i;
    int fd;

    (void)folders_read(a, &names);
    for (i = 0; i < names.count; i++) {
        if (maildir_open(a->root, names.names[i], &fd) < 0)
            continue;
        maildir_purge_tmp(fd, now);
        close(fd);
    }
    name_list_free(&names);
}

void
folders_tidy(struct account *a)
{
    purge_folders(a);
    if (account_lock(a) < 0)
        return;
    maildir_remove_leftovers(a->root);
    pending_mend(a);
    account_unlock(a);
}
