/*
 * Waiting for a change (IDLE, RFC 2177): on the folder's new/ and cur/, and on the file that
 * every commit of the index touches. So a delivery, another Maildir program's rename and
 * another session's STORE wake this session at once, and nothing is polled.
 *
 * Events only say "look": view_sync() finds out what happened. Our own moves from new/ to cur/
 * wake us once more, for a sync that finds nothing and costs some microseconds; telling them
 * apart would cost more.
 *
 * inotify comes first. But a user may have only so many instances of it (128 as Linux comes),
 * and in virtual mode all sessions are one user's. The next ones get dnotify (fcntl F_NOTIFY),
 * which has no such limit: a SIGIO when one of three directories changes, blocked and read
 * through a signalfd. One pending signal says as much as a hundred.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "store/view_private.h"

/* The index makes this file with its first commit. */
static bool
watch_notify_file(int watch, const char *path)
{
    int file;

    if (inotify_add_watch(watch, path, IN_MODIFY) >= 0)
        return true;
    file = errno == ENOENT ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return false;
    close(file);
    return inotify_add_watch(watch, path, IN_MODIFY) >= 0;
}

static bool
watch_dir(struct view *v, const char *name, uint32_t events)
{
    char path[64];

    /* through the descriptor: the folder may have been renamed */
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", v->m->fd, name);
    return inotify_add_watch(v->watch, path, events | IN_ONLYDIR) >= 0;
}

static bool
begin_inotify(struct view *v)
{
    v->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (v->watch < 0)
        return false;
    if (watch_dir(v, "new", IN_CREATE | IN_MOVED_TO) &&
        watch_dir(v, "cur", IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) &&
        watch_notify_file(v->watch, index_notify_path(v->a->ix)))
        return true;
    view_watch_end(v);
    return false;
}

static bool
notify_of(struct view *v, int i, int dirfd, const char *name, unsigned long events)
{
    v->watched[i] = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* no F_SETSIG: SIGIO, which isn't queued more than once */
    return v->watched[i] >= 0 && fcntl(v->watched[i], F_NOTIFY, events | DN_MULTISHOT) == 0;
}

static bool
begin_dnotify(struct view *v)
{
    struct sigaction ignore;
    sigset_t set;

    /* a blocked signal waits even if it's ignored; and if one is left over when it's unblocked
       again, nothing happens */
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    if (sigaction(SIGIO, &ignore, &v->old_action) != 0 ||
        sigprocmask(SIG_BLOCK, &set, &v->old_mask) != 0)
        return false;
    v->by_signal = true;
    v->watch = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (v->watch >= 0 && notify_of(v, 0, v->m->fd, "new", DN_CREATE | DN_RENAME) &&
        notify_of(v, 1, v->m->fd, "cur", DN_CREATE | DN_DELETE | DN_RENAME) &&
        notify_of(v, 2, AT_FDCWD, v->a->index_dir, DN_MODIFY | DN_CREATE))
        return true;
    view_watch_end(v);
    return false;
}

int
view_watch_begin(struct view *v)
{
    if (v->watch >= 0 || begin_inotify(v) || begin_dnotify(v))
        return v->watch;
    if (errno == ENOENT) /* the folder was just deleted: the next look will tell */
        return -1;
    log_warn("neither inotify nor dnotify: %s; new mail will be noticed later. Raise "
             "fs.inotify.max_user_instances and max_user_watches",
             strerror(errno));
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
    int saved = errno;
    size_t i;

    for (i = 0; i < sizeof v->watched / sizeof v->watched[0]; i++) {
        if (v->watched[i] >= 0)
            close(v->watched[i]);
        v->watched[i] = -1;
    }
    if (v->watch >= 0) {
        view_watch_drain(v);
        close(v->watch);
    }
    v->watch = -1;
    if (v->by_signal) {
        sigprocmask(SIG_SETMASK, &v->old_mask, NULL);
        sigaction(SIGIO, &v->old_action, NULL);
    }
    v->by_signal = false;
    errno = saved;
}
