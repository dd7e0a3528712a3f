/*
 * Memory, descriptors and mappings of one environment; see index_resources.h.
 *
 * Regions are files of the index directory that all sessions of an account map. A region is
 * allocated on disk before it's mapped (posix_fallocate): a hole of a mapped file that can't be
 * filled because the disk is full kills the process by SIGBUS. (Faulting all pages in at once,
 * MAP_POPULATE, was measured: joining takes a quarter longer, most pages are never touched.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "store/index_db.h"
#include "store/index_page.h"
#include "store/index_resources.h"

#define REGION_MAX (64u << 20) /* octets; a larger file isn't one of ours */

/* For whom Berkeley DB is working just now: its allocation functions don't say. */
static struct {
    struct resources *now;
} user;

void
resources_init(struct resources *r)
{
    memset(r, 0, sizeof *r);
    r->blocks.prev = r->blocks.next = &r->blocks;
    guard_init(&r->guard);
}

void
resources_use(struct resources *r)
{
    user.now = r;
}

struct resources *
resources_used(void)
{
    return user.now;
}

void
resources_release(struct resources *r)
{
    while (r->maps_count > 0) {
        r->maps_count--;
        munmap(r->maps[r->maps_count].at, r->maps[r->maps_count].len);
    }
    guard_free(&r->guard);
    while (r->fds_count > 0)
        close(r->fds[--r->fds_count].fd);
    while (r->blocks.next != &r->blocks)
        res_free(r->blocks.next + 1);
    r->heap = 0;
    if (user.now == r)
        user.now = NULL;
}

/* Berkeley DB says ENOMEM also when its own regions are full; only this is the system's. */
static void
note_memory(int error)
{
    if (user.now != NULL && error == ENOMEM)
        user.now->no_memory = true;
}

/* The first one says why; what follows it may be anything. */
static void
note_error(void)
{
    if (user.now != NULL && user.now->write_error == 0 && errno != EINTR)
        user.now->write_error = errno;
}

static void
link_block(struct res_block *b, size_t n)
{
    struct resources *r = user.now;

    b->size = n;
    if (r == NULL) { /* something that outlives environments: its own ring */
        b->prev = b->next = b;
        return;
    }
    b->prev = &r->blocks;
    b->next = r->blocks.next;
    b->next->prev = b;
    r->blocks.next = b;
    r->heap += n;
}

static void
unlink_block(struct res_block *b)
{
    b->prev->next = b->next;
    b->next->prev = b->prev;
    if (user.now != NULL && user.now->heap >= b->size)
        user.now->heap -= b->size;
}

void *
res_malloc(size_t n)
{
    struct res_block *b;

    if (n > SIZE_MAX - sizeof *b)
        return NULL;
    b = malloc(sizeof *b + n);
    if (b == NULL) {
        note_memory(ENOMEM);
        return NULL;
    }
    link_block(b, n);
    return b + 1;
}

void *
res_realloc(void *p, size_t n)
{
    struct res_block *b, *moved;
    size_t old;

    if (p == NULL)
        return res_malloc(n);
    if (n > SIZE_MAX - sizeof *b)
        return NULL;
    b = (struct res_block *)p - 1;
    old = b->size;
    unlink_block(b);
    moved = realloc(b, sizeof *b + n);
    if (moved == NULL) { /* the old block stays */
        note_memory(ENOMEM);
        link_block(b, old);
        return NULL;
    }
    link_block(moved, n);
    return moved + 1;
}

void
res_free(void *p)
{
    struct res_block *b;

    if (p == NULL)
        return;
    b = (struct res_block *)p - 1;
    unlink_block(b);
    free(b);
}

/* enum kv_file, or -1. */
static int
page_file(const char *path)
{
    const char *name = strrchr(path, '/');

    name = name != NULL ? name + 1 : path;
    for (int i = 0; i < KV_FILES; i++)
        if (strcmp(name, kv_file_names[i]) == 0)
            return i;
    return -1;
}

static int
flush_pages(struct resources *r)
{
    if (r == NULL || guard_flush(&r->guard) == 0)
        return 0;
    note_error();
    return -1;
}

int
res_open(const char *path, int flags, ...)
{
    struct resources *r = user.now;
    mode_t mode = 0;
    va_list ap;
    int fd;

    if ((flags & O_CREAT) != 0) {
        va_start(ap, flags);
        mode = (mode_t)va_arg(ap, int);
        va_end(ap);
    }
    if (page_file(path) >= 0 &&
        flush_pages(r) != 0) /* its first page is read past res_pread() */
        return -1;
    fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0)
        note_memory(errno);
    if (fd >= 0 && r != NULL && (flags & O_CREAT) != 0)
        r->guard.new_names = true;
    if (fd >= 0 && r != NULL && r->fds_count < RES_FDS) {
        r->fds[r->fds_count].file = page_file(path);
        r->fds[r->fds_count].loose = false;
        r->fds[r->fds_count++].fd = fd;
    }
    return fd;
}

/* A database is made under a passing name, by which it stays open. */
int
res_rename(const char *from, const char *to)
{
    struct resources *r = user.now;
    int result = rename(from, to);
    struct stat st, open_st;

    if (result != 0 || r == NULL)
        return result;
    r->guard.new_names = true;
    for (unsigned i = 0; i < r->fds_count && stat(to, &st) == 0; i++)
        if (fstat(r->fds[i].fd, &open_st) == 0 && open_st.st_ino == st.st_ino &&
            open_st.st_dev == st.st_dev)
            r->fds[i].file = page_file(to);
    return 0;
}

/* enum kv_file, or -1. */
static int
file_of(const struct resources *r, int fd)
{
    for (unsigned i = 0; r != NULL && i < r->fds_count; i++)
        if (r->fds[i].fd == fd)
            return r->fds[i].file;
    return -1;
}

static void
mark_loose(struct resources *r, int fd, bool loose)
{
    for (unsigned i = 0; r != NULL && i < r->fds_count; i++)
        if (r->fds[i].fd == fd)
            r->fds[i].loose = loose;
}

/* 0 or -1 with errno. */
static int
sync_file(int fd)
{
    struct resources *r = user.now;
    int file = file_of(r, fd);

    if (r == NULL)
        return sys_fdatasync(fd);
    if (file < 0 && r->in_transaction)
        return guard_put_off(&r->guard, fd);
    if ((file >= 0 && flush_pages(r) != 0) || sys_fdatasync(fd) != 0)
        return -1;
    mark_loose(r, fd, false);
    if (file >= 0)
        guard_synced(&r->guard, file);
    else if (guard_log_synced(&r->guard, fd) != 0)
        return -1;
    return guard_sync_names(&r->guard);
}

/* For this function and for close() Berkeley DB takes what comes back for the errno value. */
int
res_fsync(int fd)
{
    return sync_file(fd) == 0 ? 0 : errno;
}

/* What a descriptor that is about to be closed leaves to do. 0 or -1 with errno. */
static int
let_go(struct resources *r, unsigned i)
{
    int fd = r->fds[i].fd;
    bool loose = r->fds[i].loose;

    if (r->fds[i].file >= 0)
        return flush_pages(r);
    if (r->guard.log_fd == fd)
        return guard_sync_log(&r->guard);
    /* Recovery has overwritten the end of the log with zeros: records of before the power cut.
       They must be gone before others are written in front of them, or they are taken for what
       follows those after the next. Berkeley DB leaves that to chance. */
    return loose && r->recovering ? sys_fdatasync(fd) : 0;
}

int
res_close(int fd)
{
    struct resources *r = user.now;
    int error = 0;

    for (unsigned i = 0; r != NULL && i < r->fds_count; i++) {
        if (r->fds[i].fd == fd) {
            error = let_go(r, i) == 0 ? 0 : errno;
            r->fds[i] = r->fds[--r->fds_count];
            break;
        }
    }
    return close(fd) != 0 && error == 0 ? errno : error;
}

/* Berkeley DB takes a failed pread() as a sign to try lseek() and read(): the seek then fails
   for good. */
ssize_t
res_pread(int fd, void *p, size_t n, off_t at)
{
    struct resources *r = user.now;
    int file = file_of(r, fd);
    ssize_t got;

    if (file >= 0 && guard_get(&r->guard, file, p, n, at))
        return (ssize_t)n;
    got = pread(fd, p, n, at);
    if (got != (ssize_t)n || file < 0)
        return got;
    if (at % (off_t)n == 0 && page_ok(p, n, (uint64_t)at / n, r->recovering))
        return got;
    log_debug("index: damaged page at offset %lld", (long long)at);
    r->bad_page = true;
    r->damaged++;
    errno = EBADMSG;
    return -1;
}

int
res_seek(int fd, off_t at, int whence)
{
    struct resources *r = user.now;

    if (r != NULL && r->bad_page) {
        r->bad_page = false;
        errno = EBADMSG;
        return -1;
    }
    return lseek(fd, at, whence) < 0 ? -1 : 0;
}

/* A page is collected by the guard; anything else goes to its place. */
static ssize_t
write_piece(struct resources *r, int fd, const void *p, size_t n)
{
    int file = file_of(r, fd);
    off_t at = file >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;

    if (file < 0 || r->guard.off) {
        mark_loose(r, fd, true);
        return write(fd, p, n);
    }
    if (at >= 0 && n == kv_page_sizes[file] && at % (off_t)n == 0) {
        if (guard_put(&r->guard, fd, file, p, n, at) != 0 ||
            lseek(fd, at + (off_t)n, SEEK_SET) < 0)
            return -1;
        return (ssize_t)n;
    }
    return guard_flush(&r->guard) == 0 ? write(fd, p, n) : -1;
}

/* Berkeley DB seeks and writes, also pages, when it's given such a function; it never calls one
   for pwrite() then. */
ssize_t
res_write(int fd, const void *p, size_t n)
{
    ssize_t done = write_piece(user.now, fd, p, n);

    if (done >= 0 && (size_t)done < n)
        errno = ENOSPC; /* Berkeley DB takes a short write for a failed one */
    if (done < 0 || (size_t)done < n)
        note_error();
    return done;
}

/* Makes the region's file. A descriptor or -1 with errno. */
static int
create_region(const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error;

    if (fd < 0)
        return -1;
    error = posix_fallocate(fd, 0, (off_t)size);
    if (error == EOPNOTSUPP || error == EINVAL)
        error = ftruncate(fd, (off_t)size) != 0 ? errno : 0;
    if (error == 0)
        return fd;
    close(fd);
    unlink(path);
    errno = error;
    note_error();
    return -1;
}

static int
map_region(struct resources *r, int fd, size_t size, void **at)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int error = errno;

    close(fd);
    if (p == MAP_FAILED) {
        note_memory(error);
        return error;
    }
    r->maps[r->maps_count].at = p;
    r->maps[r->maps_count].len = size;
    r->maps_count++;
    *at = p;
    return 0;
}

int
res_map(const char *path, size_t size, int *create, void **at)
{
    struct resources *r = user.now;
    struct stat st;
    int fd = -1;

    if (r == NULL || r->maps_count == RES_MAPS || size > REGION_MAX)
        return EINVAL;
    /* Before it recovers, Berkeley DB looks for an old environment to put down. There is none:
       the region files were removed, unread. */
    if (r->create_regions && r->map_calls++ == 0)
        return ENOENT;
    if (r->create_regions && *create != 0) {
        fd = create_region(path, size);
        if (fd < 0)
            return errno;
        return map_region(r, fd, size, at);
    }
    *create = 0;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)size || st.st_size > (off_t)REGION_MAX) {
        close(fd);
        return EINVAL; /* cut short: not to be touched */
    }
    return map_region(r, fd, (size_t)st.st_size, at);
}

int
res_unmap(void *at)
{
    struct resources *r = user.now;

    for (unsigned i = 0; r != NULL && i < r->maps_count; i++) {
        if (r->maps[i].at == at) {
            munmap(at, r->maps[i].len);
            r->maps_count--;
            r->maps[i] = r->maps[r->maps_count];
            return 0;
        }
    }
    return EINVAL;
}
