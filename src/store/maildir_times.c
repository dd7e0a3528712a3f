/*
 * When the directories of a folder were changed last: what tells whether they must be read
 * (scan.c).
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "format/mboxname.h"
#include "store/maildir.h"

int64_t
maildir_mtime(const struct stat *st)
{
    int64_t ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;

    return ns > 1 ? ns : 2;
}

int
maildir_look(int fd, const char *dir, struct maildir_times *out)
{
    char path[MBOXNAME_MAX + 8];
    size_t len = strcmp(dir, ".") == 0 ? 0 : strnlen(dir, MBOXNAME_MAX + 1);
    struct stat st;

    memcpy(path, dir, len);
    if (len > 0)
        path[len++] = '/';
    memcpy(path + len, "new", 4);
    if (fstatat(fd, path, &st, 0) != 0)
        return errno == ENOENT ? ERR_NOENT : err_from_errno(errno);
    out->new_mtime = maildir_mtime(&st);
    out->dev = st.st_dev;
    memcpy(path + len, "cur", 4);
    if (fstatat(fd, path, &st, 0) != 0)
        return errno == ENOENT ? ERR_NOENT : err_from_errno(errno);
    out->cur_mtime = maildir_mtime(&st);
    if (st.st_dev != out->dev)
        out->dev = 0;
    return 0;
}
