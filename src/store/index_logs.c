/*
 * Syncing the logs; see index_logs.h for why.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "store/index_logs.h"

#define ENTRIES_MAX 100000 /* of a directory that are looked at */

int
logs_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;
    int log, saved;

    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (long i = 0; result == 0 && i < ENTRIES_MAX && (e = readdir(d)) != NULL; i++) {
        if (strncmp(e->d_name, "log.", 4) != 0)
            continue;
        log = openat(fd, e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        result = log < 0 ? -1 : sys_fdatasync(log);
        saved = errno;
        if (log >= 0)
            close(log);
        errno = saved;
    }
    if (result == 0)
        result = sys_fsync(fd); /* their names */
    saved = errno;
    closedir(d);
    errno = saved;
    return result;
}
