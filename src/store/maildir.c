/*
 * Directories and files of a Maildir++; see maildir.h. The conventions are those of
 * maildir(5) and of Courier's Maildir++: a folder is the directory `.A.B` in the root, with
 * cur/, new/, tmp/ and an empty file `maildirfolder`.
 *
 * Doesn't know the index, the lock, or what a flag means.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "format/mboxname.h"
#include "store/maildir.h"

#define TREE_DEPTH   16 /* of a folder that's being removed: it has two levels */
#define TMP_LIFETIME (36 * 3600)

void
maildir_dir_name(const char *name, char *out, size_t size)
{
    if (strcmp(name, "INBOX") == 0)
        snprintf(out, size, ".");
    else
        snprintf(out, size, ".%s", name);
}

int
maildir_open(int root, const char *name, int *fd)
{
    char dir[MBOXNAME_MAX + 2];

    *fd = -1;
    if (strlen(name) > MBOXNAME_MAX)
        return ERR_CANNOT;
    maildir_dir_name(name, dir, sizeof dir);
    *fd = openat(root, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0)
        return 0;
    if (errno == ENOENT || errno == ENOTDIR)
        return ERR_NOENT;
    log_error("folder %s: %s", dir, strerror(errno));
    return err_from_errno(errno);
}

/* A level that no client could name: an empty one. */
static bool
has_empty_level(const char *name)
{
    return name[0] == '.' || strstr(name, "..") != NULL || name[strlen(name) - 1] == '.';
}

bool
maildir_is_folder(int root, const char *entry, unsigned char d_type, const char **name)
{
    char path[MBOXNAME_MAX + 8];
    struct stat st;

    if (entry[0] != '.' || entry[1] == '\0' || has_empty_level(entry + 1) ||
        strlen(entry + 1) > MBOXNAME_MAX || strcmp(entry, ".INBOX") == 0)
        return false;
    if (d_type != DT_DIR && d_type != DT_UNKNOWN && d_type != DT_LNK)
        return false;
    snprintf(path, sizeof path, "%s/cur", entry);
    if (fstatat(root, path, &st, 0) != 0 || !S_ISDIR(st.st_mode))
        return false;
    *name = entry + 1;
    return true;
}

int
maildir_make_parts(int fd, bool folder)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    size_t i;
    int file;

    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (mkdirat(fd, parts[i], 0700) != 0 && errno != EEXIST)
            goto failed;
    }
    if (folder) {
        file = openat(fd, "maildirfolder", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0)
            goto failed;
        close(file);
    }
    return 0;
failed:
    log_error("cannot make a Maildir: %s", strerror(errno));
    return err_from_errno(errno);
}

void
maildir_path(char *out, bool in_new, const char *name)
{
    size_t len = strnlen(name, MDNAME_MAX);

    memcpy(out, in_new ? "new/" : "cur/", 4);
    memcpy(out + 4, name, len);
    out[4 + len] = '\0';
}

size_t
maildir_base_len(const char *name)
{
    const char *info = strstr(name, ":2,");

    return info != NULL ? (size_t)(info - name) : strlen(name);
}

static DIR *
open_dir(int fd, const char *name)
{
    int dir = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = dir >= 0 ? fdopendir(dir) : NULL;

    if (d == NULL && dir >= 0)
        close(dir);
    return d;
}

static bool
find_in(DIR *d, const char *base, size_t base_len, char *name)
{
    struct dirent *e;

    while ((e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, base, base_len) != 0 ||
            maildir_base_len(e->d_name) != base_len || strlen(e->d_name) > MDNAME_MAX)
            continue;
        snprintf(name, MDNAME_MAX + 1, "%.*s", MDNAME_MAX, e->d_name);
        return true;
    }
    return false;
}

int
maildir_find(int fd, const char *base, size_t base_len, char name[MDNAME_MAX + 1], bool *in_new)
{
    static const char *const parts[] = {"new", "cur"};
    size_t i;
    bool found;
    DIR *d;

    /* new/ first: files move from there to cur/ and not back */
    for (i = 0; i < 2; i++) {
        d = open_dir(fd, parts[i]);
        if (d == NULL) {
            if (errno == ENOENT)
                continue;
            return err_from_errno(errno);
        }
        found = find_in(d, base, base_len, name);
        closedir(d);
        if (found) {
            *in_new = i == 0;
            return 0;
        }
    }
    return ERR_NOENT;
}

int
maildir_open_message(int fd, bool in_new, const char *name, int *file, struct stat *st)
{
    char path[MAILDIR_PATH_MAX];
    int err;

    maildir_path(path, in_new, name);
    /* O_NONBLOCK: a named pipe that somebody put there must not stop us */
    *file = openat(fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*file < 0) {
        if (errno == ENOENT)
            return ERR_NOENT;
        log_error("message %s: %s", path, strerror(errno));
        return err_from_errno(errno);
    }
    if (fstat(*file, st) != 0) {
        err = err_from_errno(errno);
        log_error("message %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st->st_mode)) {
        err = ERR_NOENT; /* the message is gone; the next scan drops it */
        log_warn("message %s: not a regular file", path);
    } else {
        return 0;
    }
    close(*file);
    *file = -1;
    return err;
}

int
maildir_date(int fd, bool in_new, const char *name, int64_t *seconds)
{
    char path[MAILDIR_PATH_MAX];
    struct stat st;

    maildir_path(path, in_new, name);
    if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_NOENT : err_from_errno(errno);
    *seconds = (int64_t)st.st_mtim.tv_sec;
    return 0;
}

int
maildir_move(int from_fd, const char *from, int to_fd, const char *to)
{
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -1;
    /* a file system that can't (NFS): with a gap in between, but names are hardly ever equal */
    if (faccessat(to_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(from_fd, from, to_fd, to);
}

int
maildir_tmp_create(int fd, char name[MDNAME_MAX + 1], int *file)
{
    char path[MAILDIR_PATH_MAX];
    int err = mdname_new(MDNAME_SIZE_UNKNOWN, MDNAME_SIZE_UNKNOWN, name);

    if (err < 0)
        return err;
    snprintf(path, sizeof path, "tmp/%s", name);
    *file = openat(fd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*file < 0 && errno == ENOENT && mkdirat(fd, "tmp", 0700) == 0)
        *file = openat(fd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*file >= 0)
        return 0;
    log_error("cannot make a file in tmp/: %s", strerror(errno));
    return err_from_errno(errno);
}

void
maildir_tmp_remove(int fd, const char *name)
{
    char path[MAILDIR_PATH_MAX];

    snprintf(path, sizeof path, "tmp/%s", name);
    (void)unlinkat(fd, path, 0);
}

static int
write_all(int file, const char *p, size_t len)
{
    ssize_t n;

    while (len > 0) {
        n = write(file, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int
copy_bytes(int from, int to)
{
    char block[16384];
    off_t at = 0;
    ssize_t n;
    int err;

    for (;;) {
        n = pread(from, block, sizeof block, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : err_from_errno(errno);
        err = write_all(to, block, (size_t)n);
        if (err < 0)
            return err;
        at += n;
    }
}

int
maildir_tmp_copy(int from, int fd, char name[MDNAME_MAX + 1])
{
    struct stat st;
    int file, err = maildir_tmp_create(fd, name, &file);

    if (err < 0)
        return err;
    err = copy_bytes(from, file);
    if (err == 0 && fstat(from, &st) != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = maildir_set_date(file, st.st_mtim.tv_sec);
    if (err == 0 && sys_fsync(file) != 0)
        err = err_from_errno(errno);
    if (close(file) != 0 && err == 0)
        err = err_from_errno(errno);
    if (err < 0) {
        log_error("cannot copy a message: %s", err_text(err));
        maildir_tmp_remove(fd, name);
    }
    return err;
}

void
maildir_purge_tmp(int fd, int64_t now)
{
    DIR *d = open_dir(fd, "tmp");
    struct dirent *e;
    struct stat st;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.' ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode))
            continue;
        /* ctime too: a copy keeps the message's date as its mtime */
        if (st.st_mtim.tv_sec < now - TMP_LIFETIME && st.st_ctim.tv_sec < now - TMP_LIFETIME)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
}

int
maildir_write_file(int fd, const char *name, const void *p, size_t len)
{
    char tmp[MDNAME_MAX + 1], path[MAILDIR_PATH_MAX];
    int file, err = maildir_tmp_create(fd, tmp, &file);

    if (err < 0)
        return err;
    snprintf(path, sizeof path, "tmp/%s", tmp);
    err = write_all(file, p, len);
    if (err == 0 && sys_fsync(file) != 0)
        err = err_from_errno(errno);
    if (close(file) != 0 && err == 0)
        err = err_from_errno(errno);
    if (err == 0 && renameat(fd, path, fd, name) != 0)
        err = err_from_errno(errno);
    if (err < 0) {
        log_error("cannot write %s: %s", name, err_text(err));
        maildir_tmp_remove(fd, tmp);
        return err;
    }
    if (sys_fsync_dir(fd, ".") != 0)
        return err_from_errno(errno);
    return 0;
}

int
maildir_read_file(int fd, const char *name, struct buf *out)
{
    int file = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
    ssize_t n;
    char *room;

    buf_reset(out);
    if (file < 0)
        return errno == ENOENT ? ERR_NOENT : err_from_errno(errno);
    for (;;) {
        room = buf_room(out, 4096);
        if (room == NULL) {
            err = ERR_LIMIT;
            break;
        }
        n = read(file, room, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err = n < 0 ? err_from_errno(errno) : 0;
            break;
        }
        buf_added(out, (size_t)n);
    }
    close(file);
    return err;
}

bool
maildir_is_empty(int fd)
{
    static const char *const parts[] = {"new", "cur"};
    struct dirent *e;
    bool empty = true;
    size_t i;
    DIR *d;

    for (i = 0; empty && i < sizeof parts / sizeof parts[0]; i++) {
        d = open_dir(fd, parts[i]);
        if (d == NULL)
            return false;
        errno = 0;
        while (empty && (e = readdir(d)) != NULL)
            empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        empty = empty && errno == 0;
        closedir(d);
    }
    return empty;
}

/* Depth is bounded; a tree that's deeper than any folder is left to the administrator. */
static int
remove_tree(int parent, const char *name, int depth)
{
    struct dirent *e;
    int err = 0;
    DIR *d;

    if (unlinkat(parent, name, 0) == 0)
        return 0;
    if (errno == ENOENT)
        return 0;
    if (depth == 0 || (errno != EISDIR && errno != EPERM))
        return err_from_errno(errno);
    d = open_dir(parent, name);
    if (d == NULL)
        return err_from_errno(errno);
    while (err == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            err = remove_tree(dirfd(d), e->d_name, depth - 1);
    }
    closedir(d);
    if (err == 0 && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        err = err_from_errno(errno);
    return err;
}

int
maildir_remove_tree(int parent, const char *name)
{
    int err = remove_tree(parent, name, TREE_DEPTH);

    if (err < 0)
        log_warn("cannot remove the deleted folder %s: %s; remove it by hand", name,
                 err_text(err));
    return err;
}

void
maildir_remove_leftovers(int root)
{
    DIR *d = open_dir(root, ".");
    struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, MAILDIR_DELETED, strlen(MAILDIR_DELETED)) == 0 ||
            strncmp(e->d_name, MAILDIR_MAKING, strlen(MAILDIR_MAKING)) == 0)
            (void)maildir_remove_tree(root, e->d_name);
    }
    closedir(d);
}

int
maildir_set_date(int file, int64_t seconds)
{
    struct timespec times[2];

    times[0].tv_sec = 0;
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = (time_t)seconds;
    times[1].tv_nsec = 0;
    return futimens(file, times) == 0 ? 0 : err_from_errno(errno);
}
