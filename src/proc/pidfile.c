/*
 * The pid file; see pidfile.h. The lock is an fcntl(2) lock: it belongs to the master alone,
 * isn't inherited by its children (who may outlive it with their last sessions), and vanishes
 * with it however it dies. A file left behind by a crash is therefore no obstacle.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "proc/pidfile.h"

#define OPEN_TRIES 10

struct pidfile {
    char *path;
    int fd;
};

/* 0 when locked, 1 when the file was replaced meanwhile, ERR_INUSE, ERR_*. */
static int
lock(int fd, const char *path, pid_t *other)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat by_fd, by_path;

    if (fcntl(fd, F_SETLK, &fl) < 0) {
        if (errno != EACCES && errno != EAGAIN)
            return err_from_errno(errno);
        *other = 0;
        if (fcntl(fd, F_GETLK, &fl) == 0 && fl.l_type != F_UNLCK)
            *other = fl.l_pid;
        return ERR_INUSE;
    }
    if (fstat(fd, &by_fd) < 0)
        return err_from_errno(errno);
    if (stat(path, &by_path) < 0 || by_fd.st_ino != by_path.st_ino ||
        by_fd.st_dev != by_path.st_dev)
        return 1;
    return 0;
}

static int
write_pid(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n || fchmod(fd, 0644) < 0)
        return err_from_errno(errno);
    return 0;
}

int
pidfile_open(const char *path, struct pidfile **out, pid_t *other)
{
    int fd, result = ERR_BUSY;

    *out = NULL;
    if (path[0] == '\0')
        return 0;
    for (int tries = 0; tries < OPEN_TRIES; tries++) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return err_from_errno(errno);
        result = lock(fd, path, other);
        if (result == 0)
            result = write_pid(fd);
        if (result == 0) {
            *out = mem_calloc(1, sizeof **out);
            (*out)->path = mem_strdup(path);
            (*out)->fd = fd;
            return 0;
        }
        close(fd);
        if (result < 0)
            return result;
    }
    return result;
}

void
pidfile_forget(const struct pidfile *p)
{
    if (p != NULL)
        close(p->fd);
}

void
pidfile_close(struct pidfile **p)
{
    if (*p == NULL)
        return;
    unlink((*p)->path); /* before the lock goes: who opens it meanwhile finds it replaced */
    close((*p)->fd);
    free((*p)->path);
    free(*p);
    *p = NULL;
}
