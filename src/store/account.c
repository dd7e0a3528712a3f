/*
 * Opening one user's mail: the Maildir's directories, the index beside it, and what is due now
 * and then. Nothing is read of the index before the first command needs it, so a login costs a
 * few system calls.
 *
 * Doesn't check the user's name (user_name_check()) nor who may log in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/account_private.h"
#include "store/maildir.h"
#include "store/pending.h"

#define INDEX_NAME   "mansio-index"
#define PURGED_STAMP "mansio-purged" /* its mtime: when tmp/ was looked through last */
#define PURGE_EVERY  86400
#define PATH_OCTETS  4096

int
account_lock(struct account *a)
{
    int err = index_lock(a->ix);

    a->locked = err == 0;
    if (err == 0 && index_recovered(a->ix))
        pending_mend(a);
    return err;
}

void
account_unlock(struct account *a)
{
    if (a->locked)
        index_unlock(a->ix);
    a->locked = false;
}

/* One directory, durable: a synced file in it is lost all the same if this entry is. */
static int
make_dir(const char *path)
{
    int fd, err = 0;

    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? 0 : err_from_errno(errno);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    /* a spool directory that may be written but not read can't be synced */
    if (sys_fsync_dir(fd, "..") != 0 && errno != EACCES)
        err = err_from_errno(errno);
    close(fd);
    return err;
}

bool
account_again(const struct account *a, int err, int *tries)
{
    return err < 0 && index_failed(a->ix) && (*tries)++ == 0;
}

/* Of the file systems that keep nanoseconds. Others, and those that other machines may write to
   as well, can't be trusted so far. */
static bool
is_stamped_here(int fd)
{
    static const unsigned long types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                          F2FS_SUPER_MAGIC, TMPFS_MAGIC};
    struct statfs st;

    if (fstatfs(fd, &st) != 0)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((unsigned long)st.f_type == types[i])
            return true;
    return false;
}

bool
account_stamps_here(struct account *a, dev_t dev)
{
    struct stat st;

    if (!a->dev_known) {
        a->stamp_here = fstat(a->root, &st) == 0 && is_stamped_here(a->root);
        a->stamp_dev = a->stamp_here ? st.st_dev : 0;
        a->dev_known = true;
    }
    return a->stamp_here && dev == a->stamp_dev;
}

/* Makes a directory and its parents, 0700. */
static int
make_path(const char *path)
{
    char *copy = mem_strdup(path), *p;
    int err = 0;

    for (p = copy + 1; err == 0 && *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        err = make_dir(copy);
        *p = '/';
    }
    if (err == 0)
        err = make_dir(copy);
    if (err < 0)
        log_error("cannot make the directory %s: %s", path, err_text(err));
    free(copy);
    return err;
}

/* A Maildir made by us: the note that its folders are still to be made comes first, and cur/,
   which makes it a Maildir, last, so that a crash doesn't leave the user without them. */
static int
make_maildir(struct account *a)
{
    int err;

    if (mkdirat(a->root, "tmp", 0700) != 0 && errno != EEXIST) {
        log_error("cannot make %s/tmp: %s", a->mail_dir, strerror(errno));
        return err_from_errno(errno);
    }
    err = maildir_write_file(a->root, PENDING_FILE, "setup\n", 6);
    if (err == 0)
        err = maildir_make_parts(a->root, false);
    if (err == 0 && sys_fsync(a->root) != 0)
        err = err_from_errno(errno);
    return err;
}

static int
open_root(struct account *a, bool ahead)
{
    int err;

    a->root = open(a->mail_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->root < 0 && errno == ENOENT) {
        err = make_path(a->mail_dir);
        if (err < 0)
            return err;
        a->root = open(a->mail_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (a->root < 0) {
        log_error("cannot open the Maildir %s: %s", a->mail_dir, strerror(errno));
        return err_from_errno(errno);
    }
    if (faccessat(a->root, "cur", F_OK, 0) != 0)
        return ahead ? ERR_NOENT : make_maildir(a);
    /* a Maildir that other programs made, opened by us for the first time */
    if (!ahead && faccessat(a->root, PURGED_STAMP, F_OK, 0) != 0 && errno == ENOENT)
        return maildir_write_file(a->root, PENDING_FILE, "setup\n", 6);
    return 0;
}

static int
find_paths(struct account *a, const struct account_params *p)
{
    const char *pattern = p->conf->mail_location;
    size_t len;
    int err = 0;

    if (p->mail_location != NULL)
        a->mail_dir = mem_strdup(p->mail_location);
    else
        err = conf_expand_path(pattern, p->user, p->home, &a->mail_dir);
    if (err == 0 && (a->mail_dir[0] != '/' || strlen(a->mail_dir) > PATH_OCTETS))
        err = ERR_CANNOT;
    if (err < 0) {
        log_error("mail_location \"%s\" gives no absolute path for this user", pattern);
        return err;
    }
    if (p->conf->index_dir[0] != '\0') {
        err = conf_expand_path(p->conf->index_dir, p->user, p->home, &a->index_dir);
        return err == 0 ? make_path(a->index_dir) : err;
    }
    len = strlen(a->mail_dir) + sizeof INDEX_NAME + 1;
    a->index_dir = mem_alloc(len);
    memcpy(a->index_dir, a->mail_dir, strlen(a->mail_dir));
    a->index_dir[strlen(a->mail_dir)] = '/';
    memcpy(a->index_dir + strlen(a->mail_dir) + 1, INDEX_NAME, sizeof INDEX_NAME);
    return 0;
}

/* At most once a day: old files in tmp/, what was left behind. */
static void
purge(struct account *a)
{
    int64_t now = sys_now();
    struct stat st;
    int file;

    if (fstatat(a->root, PURGED_STAMP, &st, 0) == 0 && st.st_mtim.tv_sec <= now &&
        st.st_mtim.tv_sec > now - PURGE_EVERY)
        return;
    file = openat(a->root, PURGED_STAMP, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    (void)maildir_set_date(file, now);
    close(file);
    maildir_purge_tmp(a->root, now);
    folders_tidy(a);
}

int
account_open(const struct account_params *p, struct account **out)
{
    struct account *a = mem_calloc(1, sizeof *a);
    int err;

    *out = NULL;
    a->conf = p->conf;
    a->user = mem_strdup(p->user);
    a->root = -1;
    a->scan_piece = SCAN_PIECE;
    a->quota.text = mem_strdup(p->quota != NULL ? p->quota : "");
    a->names.separator = p->conf->hierarchy_separator;
    a->names.prefix = p->conf->namespace_prefix;
    err = find_paths(a, p);
    if (err == 0)
        err = open_root(a, p->ahead);
    if (err == 0)
        err = index_open(a->index_dir, p->conf->lock_timeout, &a->ix);
    if (err < 0) {
        account_close(&a);
        return err;
    }
    if (!p->ahead && faccessat(a->root, PENDING_FILE, F_OK, 0) == 0)
        pending_finish(a);
    if (!p->ahead)
        purge(a);
    *out = a;
    return 0;
}

void
account_close(struct account **a)
{
    if (*a == NULL)
        return;
    index_close(&(*a)->ix);
    if ((*a)->root >= 0)
        close((*a)->root);
    free((*a)->user);
    free((*a)->mail_dir);
    free((*a)->index_dir);
    free((*a)->quota.text);
    free(*a);
    *a = NULL;
}

void
account_idle(struct account *a)
{
    index_idle(a->ix);
    heap_rest();
}

const char *
account_user(const struct account *a)
{
    return a->user;
}

const struct mboxname_rules *
account_names(const struct account *a)
{
    return &a->names;
}

const struct conf *
account_conf(const struct account *a)
{
    return a->conf;
}

const char *
account_mail_dir(const struct account *a)
{
    return a->mail_dir;
}
