/*
 * Waiting for a change (IDLE, RFC 2177): inotify on the folder's new/ and cur/ and on the file
 * that every commit of the index touches. So a delivery, another Maildir program's rename and
 * another session's STORE wake this session at once, and nothing is polled.
 *
 * Events only say "look": view_sync() finds out what happened. Our own moves from new/ to cur/
 * wake us once more, for a sync that finds nothing and costs some microseconds; telling them
 * apart would cost more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "store/view_private.h"

/* The index makes this file with its first commit. */
static bool
watch_notify_file(struct view *v)
{
    const char *path = index_notify_path(v->a->ix);
    int file;

    if (inotify_add_watch(v->watch, path, IN_MODIFY) >= 0)
        return true;
    file = errno == ENOENT ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return false;
    close(file);
    return inotify_add_watch(v->watch, path, IN_MODIFY) >= 0;
}

int
view_watch_begin(struct view *v)
{
    char path[64];

    if (v->watch >= 0)
        return v->watch;
    v->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (v->watch < 0) {
        log_warn("inotify: %s; new mail will be noticed later. Raise "
                 "fs.inotify.max_user_instances",
                 strerror(errno));
        return -1;
    }
    /* through the descriptor: the folder may have been renamed */
    snprintf(path, sizeof path, "/proc/self/fd/%d/new", v->m->fd);
    if (inotify_add_watch(v->watch, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
        goto failed;
    snprintf(path, sizeof path, "/proc/self/fd/%d/cur", v->m->fd);
    if (inotify_add_watch(v->watch, path,
                          IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                              IN_ONLYDIR) < 0)
        goto failed;
    if (!watch_notify_file(v))
        goto failed;
    return v->watch;
failed:
    log_warn("inotify: %s; new mail will be noticed later. Raise fs.inotify.max_user_watches",
             strerror(errno));
    view_watch_end(v);
    return -1;
}

void
view_watch_drain(struct view *v)
{
    char events[4096];
    ssize_t n;

    if (v->watch < 0)
        return;
    do {
        n = read(v->watch, events, sizeof events);
    } while (n > 0 || (n < 0 && errno == EINTR));
}

void
view_watch_end(struct view *v)
{
    if (v->watch >= 0)
        close(v->watch);
    v->watch = -1;
}
