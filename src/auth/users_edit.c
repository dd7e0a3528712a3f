/*
 * Editing the users file: adding, changing, deleting one line, all others kept octet by octet.
 *
 * The new text goes to FILE.new, which is flushed and renamed over FILE, so a reader sees the
 * old file or the new one, and a crash leaves one of them. A lock on FILE.lock keeps two
 * editors apart (the lock of FILE itself would go away with the rename).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/users_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"

#define FILE_SIZE_MAX (512UL * 1024 * 1024)
#define READ_SIZE     65536
#define LOCK_WAIT_MS  10000
#define LOCK_STEP_MS  20

/* An edit under way. */
struct edit {
    const char *path;
    char *lock_path, *new_path;
    int lock_fd;
    struct stat old; /* mode and owner for the new file */
    bool existed;
    struct buf before, after;
};

/* Logs with errno; returns its code. */
static int
failed(const char *what, const char *path)
{
    int result = err_from_errno(errno);

    log_error("%s %s: %s", what, path, strerror(errno));
    return result;
}

static int
take_lock(struct edit *e)
{
    int64_t until = sys_monotonic_ms() + LOCK_WAIT_MS;
    struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000L};

    e->lock_fd = open(e->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock_fd < 0)
        return failed("can't open", e->lock_path);
    while (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return failed("can't lock", e->lock_path);
        if (sys_monotonic_ms() >= until) {
            log_error("%s is being edited by another program", e->path);
            return ERR_BUSY;
        }
        nanosleep(&step, NULL);
    }
    return 0;
}

static int
read_before(struct edit *e)
{
    char *to;
    ssize_t n = 0;
    int fd = open(e->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : failed("can't open", e->path);
    e->existed = true;
    if (fstat(fd, &e->old) == 0)
        while ((to = buf_room(&e->before, READ_SIZE)) != NULL &&
               (n = read(fd, to, READ_SIZE)) > 0)
            buf_added(&e->before, (size_t)n);
    else
        n = -1;
    if (n < 0) {
        n = failed("can't read", e->path);
        close(fd);
        return (int)n;
    }
    close(fd);
    return buf_ok(&e->before) ? 0 : ERR_LIMIT;
}

static int
begin(struct edit *e, const char *path)
{
    struct buf name = BUF_INIT(4096);
    int result;

    memset(e, 0, sizeof *e);
    e->path = path;
    e->lock_fd = -1;
    buf_init(&e->before, FILE_SIZE_MAX);
    buf_init(&e->after, FILE_SIZE_MAX + READ_SIZE);
    buf_addf(&name, "%s.lock", path);
    e->lock_path = mem_strdup(buf_str(&name));
    buf_reset(&name);
    buf_addf(&name, "%s.new", path);
    e->new_path = mem_strdup(buf_str(&name));
    result = buf_ok(&name) ? take_lock(e) : ERR_CANNOT;
    buf_free(&name);
    return result == 0 ? read_before(e) : result;
}

static void
end(struct edit *e)
{
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    free(e->lock_path);
    free(e->new_path);
    if (e->before.data != NULL)
        explicit_bzero(e->before.data, e->before.cap);
    if (e->after.data != NULL)
        explicit_bzero(e->after.data, e->after.cap);
    buf_free(&e->before);
    buf_free(&e->after);
}

static int
write_all(int fd, const struct buf *text)
{
    size_t done = 0;
    ssize_t n;

    while (done < text->len) {
        n = write(fd, text->data + done, text->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

/* The directory's entry, so that the rename lasts. */
static int
flush_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir;
    int result;

    if (slash == NULL)
        return sys_fsync_dir(AT_FDCWD, ".");
    dir = mem_strdup(path);
    dir[slash == path ? 1 : slash - path] = '\0';
    result = sys_fsync_dir(AT_FDCWD, dir);
    free(dir);
    return result;
}

/* Mode and owner first: no moment in which the hashes are open to more than before. */
static int
fill_new(const struct edit *e, int fd)
{
    if (e->existed) {
        if (fchown(fd, e->old.st_uid, e->old.st_gid) != 0 &&
            (e->old.st_uid != geteuid() || e->old.st_gid != getegid()))
            return failed("can't keep the owner of", e->path);
        if (fchmod(fd, e->old.st_mode & 07777) != 0)
            return failed("can't keep the mode of", e->path);
    }
    if (write_all(fd, &e->after) != 0 || sys_fsync(fd) != 0)
        return failed("can't write", e->new_path);
    return 0;
}

static int
commit(struct edit *e)
{
    int fd, result;

    if (!buf_ok(&e->after))
        return ERR_LIMIT;
    unlink(
        e->new_path); /* of an editor that died; nobody else is here while we hold the lock */
    fd = open(e->new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed("can't make", e->new_path);
    result = fill_new(e, fd);
    close(fd);
    if (result == 0 && rename(e->new_path, e->path) != 0)
        result = failed("can't replace", e->path);
    if (result == 0 && flush_dir(e->path) != 0)
        result = failed("can't flush the directory of", e->path);
    if (result != 0)
        unlink(e->new_path);
    return result;
}

/* Does the line (without its LF) describe this user? */
static bool
is_line_of(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);

    return len > n && memcmp(line, name, n) == 0 && line[n] == ':';
}

/* Where the next line begins; *len without LF. */
static const char *
next_line(const struct buf *text, const char *line, size_t *len)
{
    const char *stop = text->data + text->len, *lf = memchr(line, '\n', (size_t)(stop - line));

    *len = (size_t)((lf != NULL ? lf : stop) - line);
    return lf != NULL ? lf + 1 : stop;
}

/* The line with another hash and, if extra isn't NULL, other words. */
static void
change_line(struct buf *out, const char *line, size_t len, const char *hash, const char *extra)
{
    const char *stop = line + len, *field = line, *colon;
    const char *tail = len > 0 && line[len - 1] == '\r' ? "\r" : "";

    stop -= *tail != '\0';
    for (size_t i = 0; i < 8; i++) {
        colon = i < 7 ? memchr(field, ':', (size_t)(stop - field)) : NULL;
        if (colon == NULL)
            colon = stop;
        if (i > 0)
            buf_addc(out, ':');
        if (i == 1 && hash != NULL)
            buf_adds(out, hash);
        else if (i == 7 && extra != NULL)
            buf_adds(out, extra);
        else
            buf_add(out, field, (size_t)(colon - field));
        field = colon < stop ? colon + 1 : stop;
        if (field == stop && (colon == stop) && i >= 1 && (extra == NULL || i == 7))
            break; /* fields that were missing stay so */
    }
    buf_adds(out, tail);
}

static bool
is_field(const char *s, bool last)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f || (!last && *s == ':'))
            return false;
    return true;
}

static bool
can_hold(const char *name, const char *hash, const char *extra)
{
    size_t len = strlen(name);

    return len > 0 && len <= 255 && name[0] != '.' && name[0] != '#' &&
           strpbrk(name, " /") == NULL && is_field(name, false) &&
           (hash == NULL || is_field(hash, false)) && (extra == NULL || is_field(extra, true));
}

/* Copies all lines but those of the user, whose first one is changed (or dropped if `drop`).
   Returns how many were of the user. */
static size_t
copy_lines(struct edit *e, const char *name, const char *hash, const char *extra, bool drop)
{
    const char *line = e->before.data, *stop = line + e->before.len, *next;
    size_t len, found = 0;

    for (; line < stop; line = next) {
        next = next_line(&e->before, line, &len);
        if (!is_line_of(line, len, name)) {
            buf_add(&e->after, line, (size_t)(next - line));
            continue;
        }
        if (drop) {
            found++;
            continue;
        }
        if (found++ == 0)
            change_line(&e->after, line, len, hash, extra);
        else
            buf_add(&e->after, line, len); /* a duplicate, which readers leave out */
        buf_add(&e->after, line + len, (size_t)(next - line) - len);
    }
    return found;
}

static void
append_line(struct edit *e, const char *name, const char *hash, const char *extra)
{
    if (e->after.len > 0 && e->after.data[e->after.len - 1] != '\n')
        buf_addc(&e->after, '\n');
    if (extra != NULL && extra[0] != '\0')
        buf_addf(&e->after, "%s:%s::::::%s\n", name, hash, extra);
    else
        buf_addf(&e->after, "%s:%s\n", name, hash);
}

int
users_file_set(const char *path, const char *name, const char *hash, const char *extra,
               bool must_be_new)
{
    struct edit e;
    size_t found = 0;
    int result;

    if (!can_hold(name, hash, extra))
        return ERR_CANNOT;
    result = begin(&e, path);
    if (result == 0) {
        if (e.before.len > 0)
            found = copy_lines(&e, name, hash, extra, false);
        if (found > 0 && must_be_new)
            result = ERR_EXISTS;
        else if (found == 0 && hash == NULL)
            result = ERR_NOENT;
        else if (found == 0)
            append_line(&e, name, hash, extra);
    }
    if (result == 0)
        result = commit(&e);
    end(&e);
    return result;
}

int
users_file_delete(const char *path, const char *name)
{
    struct edit e;
    int result = begin(&e, path);

    if (result == 0 && (e.before.len == 0 || copy_lines(&e, name, NULL, NULL, true) == 0))
        result = ERR_NOENT;
    if (result == 0)
        result = commit(&e);
    end(&e);
    return result;
}
