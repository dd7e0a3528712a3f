/*
 * Counting a Maildir for its quota: the names of all messages in new/ and cur/ of INBOX and of
 * each folder. `,S=` of a name is believed (Maildir++), so that a name costs no system call;
 * only files without it are asked for their size.
 *
 * Knows nothing of limits, nor of the file the count is kept in.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "store/folders_private.h"
#include "store/quota.h"

#define BYTES_MAX QUOTA_LIMIT_MAX /* a sum stays below; names may lie */

uint64_t
quota_size(const char *name, uint64_t size)
{
    struct mdname parsed;

    if (mdname_parse(name, &parsed) == 0 && parsed.size != MDNAME_SIZE_UNKNOWN)
        return parsed.size;
    return size;
}

static void
add(struct quota_usage *sum, uint64_t bytes)
{
    sum->bytes = bytes < BYTES_MAX - sum->bytes ? sum->bytes + bytes : BYTES_MAX;
    sum->messages++;
}

static int
count_entry(int dir, const char *name, struct quota_usage *sum)
{
    uint64_t size = quota_size(name, MDNAME_SIZE_UNKNOWN);
    struct stat st;

    if (size != MDNAME_SIZE_UNKNOWN) {
        add(sum, size);
        return 0;
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : err_from_errno(errno); /* gone meanwhile */
    if (S_ISREG(st.st_mode))
        add(sum, (uint64_t)st.st_size);
    return 0;
}

static int
count_dir(int dir, struct quota_usage *sum)
{
    DIR *d = fdopendir(dir);
    struct dirent *e;
    int err = 0;

    if (d == NULL) {
        err = err_from_errno(errno);
        close(dir);
        return err;
    }
    while (err == 0) {
        errno = 0;
        e = readdir(d);
        if (e == NULL) {
            err = errno != 0 ? err_from_errno(errno) : 0;
            break;
        }
        if (e->d_name[0] != '.')
            err = count_entry(dirfd(d), e->d_name, sum);
    }
    closedir(d);
    return err;
}

int
quota_count_folder(int fd, bool stamp_only, struct quota_usage *sum, uint64_t *stamp)
{
    static const char *const parts[] = {"new", "cur"};
    struct stat st;
    int dir, err = 0;
    size_t i;

    /* new/ first: a message that moves from there to cur/ meanwhile is seen at least once */
    for (i = 0; err == 0 && i < 2; i++) {
        dir = openat(fd, parts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir < 0 && errno == ENOENT)
            continue;
        if (dir < 0 || fstat(dir, &st) != 0) {
            err = err_from_errno(errno);
            if (dir >= 0)
                close(dir);
            break;
        }
        *stamp += (uint64_t)maildir_mtime(&st) * ((uint64_t)st.st_ino | 1);
        if (stamp_only)
            close(dir);
        else
            err = count_dir(dir, sum);
    }
    return err;
}

static int
count_name(struct account *a, const char *name, bool stamp_only, struct quota_usage *sum,
           uint64_t *stamp)
{
    int fd, err = maildir_open(a->root, name, &fd);

    if (err < 0)
        return err == ERR_NOENT ? 0 : err;
    err = quota_count_folder(fd, stamp_only, sum, stamp);
    close(fd);
    return err;
}

int
quota_count(struct account *a, bool stamp_only, struct quota_usage *sum, uint64_t *stamp)
{
    struct name_list names = {0};
    size_t i;
    int err = folders_read(a, &names);

    sum->bytes = sum->messages = 0;
    *stamp = 0;
    if (err == 0)
        err = count_name(a, "INBOX", stamp_only, sum, stamp);
    for (i = 0; err == 0 && i < names.count; i++)
        err = count_name(a, names.names[i], stamp_only, sum, stamp);
    name_list_free(&names);
    if (err < 0)
        log_error("the quota of %s can't be counted: %s", a->mail_dir, err_text(err));
    return err;
}
