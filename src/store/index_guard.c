/*
 * The file `pages`; see index_guard.h for why.
 *
 * It's a row of records in the machine's byte order, each a head of 48 octets and a page:
 *
 *      0  8  magic "MANSIOP1"
 *      8  8  generation
 *     16  4  number of the record in its generation, from 0
 *     20  4  file: 0 mailboxes.db, 1 messages.db, 2 changes.db, 3 cache.db
 *     24  8  offset of the page in the file
 *     32  4  octets of the page
 *     36  4  zero
 *     40  8  sum of the head so far and the page
 *
 * A generation begins at offset 0, and only when all pages of the one before have been synced
 * in their places; so a first record that is torn or of nobody says that nothing is torn. When
 * the files are synced, which a checkpoint does, the file is emptied. Whether that reaches the
 * disk doesn't matter: it saves the next generation from syncing the files itself, and space.
 *
 * On a full disk pages go to their places unguarded, and the file is emptied before: users must
 * be able to read and to delete, and the few blocks left are for that.
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
#include "base/log.h"
#include "base/sys.h"
#include "store/index_db.h"
#include "store/index_guard.h"

#define MAGIC          "MANSIOP1"
#define GENERATION_MAX (4u << 20) /* octets; then the files are synced and the next begins */
#define PAGE_MAX       65536
#define PATH_SIZE      4352
#define LOG_LOST                                                                               \
    (-2) /* for log_fd: a sync failed, and the next one would say that all is well */

struct head {
    char magic[8];
    uint64_t generation;
    uint32_t number, file;
    uint64_t at;
    uint32_t len, zero;
    uint64_t sum;
};
_Static_assert(sizeof(struct head) == 48, "the format is fixed");

static uint64_t
add_up(uint64_t sum, const void *p, size_t n)
{
    const char *at = p;
    uint64_t word;

    for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    return sum;
}

static uint64_t
sum_of(const struct head *h, const void *page)
{
    return add_up(add_up(1, h, offsetof(struct head, sum)), page, h->len);
}

void
guard_init(struct guard *g)
{
    memset(g, 0, sizeof *g);
    g->fd = g->log_fd = -1;
}

static void
drop_pages(struct guard *g)
{
    while (g->count > 0)
        free(g->pages[--g->count].data);
}

void
guard_free(struct guard *g)
{
    drop_pages(g);
    if (g->fd >= 0)
        close(g->fd);
    guard_init(g);
}

static struct guard_page *
find(const struct guard *g, int file, off_t at)
{
    for (unsigned i = 0; i < g->count; i++)
        if (g->pages[i].file == file && g->pages[i].at == at)
            return (struct guard_page *)(uintptr_t)&g->pages[i];
    return NULL;
}

bool
guard_get(const struct guard *g, int file, void *p, size_t len, off_t at)
{
    const struct guard_page *page = find(g, file, at);

    if (page == NULL || page->len != len)
        return false;
    memcpy(p, page->data, len);
    return true;
}

int
guard_put(struct guard *g, int fd, int file, const void *p, size_t len, off_t at)
{
    struct guard_page *page = find(g, file, at);

    if (page != NULL && page->len == len) {
        memcpy(page->data, p, len);
        page->fd = fd;
        return 0;
    }
    if ((page != NULL || g->count == GUARD_PAGES || g->error != 0) && guard_flush(g) != 0)
        return -1;
    page = &g->pages[g->count++];
    *page = (struct guard_page){
        .data = mem_alloc(len), .len = len, .at = at, .fd = fd, .file = file};
    memcpy(page->data, p, len);
    return 0;
}

/* All of it at that offset. */
static int
write_at(int fd, const void *p, size_t len, off_t at)
{
    const char *from = p;

    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        from += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Syncs the database's files by their names. */
static int
sync_files(const char *dir)
{
    char path[PATH_SIZE];

    for (int i = 0; i < KV_FILES; i++) {
        int fd, result, saved;

        snprintf(path, sizeof path, "%s/%s", dir, kv_file_names[i]);
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return -1;
        result = sys_fdatasync(fd);
        saved = errno;
        close(fd);
        errno = saved;
        if (result != 0)
            return -1;
    }
    return 0;
}

/* Opens (makes) the file. */
static int
open_file(struct guard *g)
{
    char path[PATH_SIZE];

    if (g->fd >= 0)
        return 0;
    snprintf(path, sizeof path, "%s/" GUARD_FILE, g->dir);
    g->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (g->fd >= 0 || errno != ENOENT)
        return g->fd >= 0 ? 0 : -1;
    g->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return g->fd >= 0 ? sys_fsync_dir(AT_FDCWD, g->dir) : -1;
}

/* Where the next records go: behind our own, or at the start of a new generation. */
static int
make_room(struct guard *g)
{
    struct head first;
    bool there;

    if (open_file(g) != 0)
        return -1;
    there = pread(g->fd, &first, sizeof first, 0) == (ssize_t)sizeof first &&
            memcmp(first.magic, MAGIC, sizeof first.magic) == 0;
    if (there && first.generation == g->generation && g->end < GENERATION_MAX)
        return 0;
    if (there && sync_files(g->dir) != 0) {
        errno = EIO; /* even if it says that the disk is full: give_up() would drop images */
        return -1;
    }
    g->loose = 0;
    /* random: no record of an older generation that is left behind ours is ever taken for ours
     */
    sys_random(&g->generation, sizeof g->generation);
    g->records = 0;
    g->end = 0;
    return 0;
}

static int
write_records(struct guard *g)
{
    for (unsigned i = 0; i < g->count; i++) {
        const struct guard_page *page = &g->pages[i];
        struct head h = {.magic = MAGIC,
                         .generation = g->generation,
                         .number = g->records,
                         .file = (uint32_t)page->file,
                         .at = (uint64_t)page->at,
                         .len = (uint32_t)page->len};

        h.sum = sum_of(&h, page->data);
        if (write_at(g->fd, &h, sizeof h, (off_t)g->end) != 0 ||
            write_at(g->fd, page->data, page->len, (off_t)(g->end + sizeof h)) != 0)
            return -1;
        g->end += sizeof h + page->len;
        g->records++;
    }
    return sys_fdatasync(g->fd);
}

/* No record counts any more; their blocks are given back. */
static int
wipe(struct guard *g, bool sync)
{
    g->generation = 0;
    if (g->fd < 0 || ftruncate(g->fd, 0) != 0)
        return -1;
    return sync ? sys_fdatasync(g->fd) : 0;
}

/* Pages without a guard: what recovery would put back must not be older than they are. */
static int
give_up(struct guard *g)
{
    int error = errno;
    struct head first;

    if (error != ENOSPC && error != EDQUOT && error != EFBIG)
        return -1;
    log_debug("index: %s: no room to guard pages", g->dir);
    if (g->fd < 0 || pread(g->fd, &first, sizeof first, 0) <= 0)
        return 0;
    if (wipe(g, true) == 0)
        return 0;
    errno = error;
    return -1;
}

int
guard_sync_names(struct guard *g)
{
    if (g->new_names && sys_fsync_dir(AT_FDCWD, g->dir) != 0)
        return -1;
    g->new_names = false;
    return 0;
}

/* The name too: a log file without the one before it is an end of the log that nobody wrote. */
int
guard_sync_log(struct guard *g)
{
    int error;

    if (g->log_fd == -1)
        return 0;
    if (g->log_fd >= 0 && sys_fdatasync(g->log_fd) == 0 && guard_sync_names(g) == 0) {
        g->log_fd = -1;
        return 0;
    }
    error = g->log_fd >= 0 ? errno : EIO;
    g->log_fd = LOG_LOST;
    errno = error;
    return -1;
}

int
guard_put_off(struct guard *g, int log_fd)
{
    if (g->log_fd != log_fd && guard_sync_log(g) != 0)
        return -1;
    g->log_fd = log_fd;
    return 0;
}

int
guard_log_synced(struct guard *g, int log_fd)
{
    if (g->log_fd == log_fd)
        g->log_fd = -1;
    return guard_sync_log(g);
}

/* A page that found room for a part only, at the end of its file, would be taken for damage. */
static void
drop_part(const struct guard_page *page)
{
    int error = errno;
    struct stat st;

    if (fstat(page->fd, &st) == 0 && st.st_size > page->at &&
        st.st_size < page->at + (off_t)page->len && ftruncate(page->fd, page->at) != 0)
        log_debug("index: half a page stays: %s", strerror(errno));
    errno = error;
}

static int
write_pages(struct guard *g)
{
    if (guard_sync_log(g) != 0)
        return -1;
    if (g->count == 0)
        return 0;
    sys_step("index:log-synced");
    if ((make_room(g) != 0 || write_records(g) != 0) && give_up(g) != 0)
        return -1;
    sys_step("index:guarded");
    for (unsigned i = 0; i < g->count; i++) {
        const struct guard_page *page = &g->pages[i];

        if (write_at(page->fd, page->data, page->len, page->at) != 0) {
            drop_part(page);
            return -1;
        }
        g->loose |= 1u << page->file;
        sys_step("index:page-written");
    }
    drop_pages(g);
    return 0;
}

int
guard_flush(struct guard *g)
{
    if (g->error == 0 && write_pages(g) != 0)
        g->error = errno;
    if (g->error == 0)
        return 0;
    errno = g->error;
    return -1;
}

void
guard_synced(struct guard *g, int file)
{
    struct head first;

    if ((g->loose & 1u << file) == 0)
        return;
    g->loose &= ~(1u << file);
    if (g->loose != 0 || g->fd < 0 || g->generation == 0)
        return;
    /* another process may have begun a generation of its own meanwhile */
    if (pread(g->fd, &first, sizeof first, 0) == (ssize_t)sizeof first &&
        first.generation == g->generation)
        (void)wipe(g, false);
}

static int
error_code(void)
{
    return errno == EFBIG ? ERR_NOSPACE : err_from_errno(errno);
}

/* Is the page on disk newer than the image? Its first octets, the log
   sequence number (file, offset), say so even if the rest is torn. */
static bool
is_newer(const char *page, const char *image)
{
    uint32_t a[2], b[2];

    memcpy(a, page, sizeof a);
    memcpy(b, image, sizeof b);
    return a[0] != b[0] ? a[0] > b[0] : a[1] > b[1];
}

/* Puts one page back if it must be. 1 if it was, 0, or -1 with errno. */
static int
restore_page(int fd, const struct head *h, const char *image)
{
    char *page = mem_alloc(h->len);
    ssize_t n = pread(fd, page, h->len, (off_t)h->at);
    int result = n < 0 ? -1 : 0;

    if (n >= 0 && (n < 8 || !is_newer(page, image)) &&
        (n != (ssize_t)h->len || memcmp(page, image, h->len) != 0))
        result = write_at(fd, image, h->len, (off_t)h->at) == 0 ? 1 : -1;
    free(page);
    return result;
}

/* The next record: its head, its page into `image` (PAGE_MAX). False at the end. */
static bool
read_record(int fd, off_t at, struct head *h, char *image)
{
    if (pread(fd, h, sizeof *h, at) != (ssize_t)sizeof *h ||
        memcmp(h->magic, MAGIC, sizeof h->magic) != 0 || h->file >= KV_FILES || h->len < 512 ||
        h->len > PAGE_MAX || h->at % h->len != 0 || h->at > INT64_MAX / 2)
        return false;
    return pread(fd, image, h->len, at + (off_t)sizeof *h) == (ssize_t)h->len &&
           sum_of(h, image) == h->sum;
}

static int
restore_all(int fd, const int *files)
{
    char *image = mem_alloc(PAGE_MAX);
    uint64_t generation = 0;
    struct head h;
    uint32_t number;
    int restored = 0, result = 0;
    off_t at = 0;

    for (number = 0; result >= 0 && read_record(fd, at, &h, image); number++) {
        if (number == 0)
            generation = h.generation;
        if (h.generation != generation || h.number != number)
            break;
        at += (off_t)(sizeof h + h.len);
        if (files[h.file] >= 0)
            result = restore_page(files[h.file], &h, image);
        restored += result > 0;
    }
    free(image);
    return result < 0 ? error_code() : restored;
}

int
guard_restore(const char *dir)
{
    struct guard g;
    int files[KV_FILES], restored = 0;
    char path[PATH_SIZE];

    guard_init(&g);
    snprintf(path, sizeof path, "%s/" GUARD_FILE, dir);
    g.fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (g.fd < 0)
        return errno == ENOENT ? 0 : error_code();
    for (int i = 0; i < KV_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, kv_file_names[i]);
        files[i] = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    restored = restore_all(g.fd, files);
    sys_step("index:restored");
    if (restored > 0 && (sync_files(dir) != 0 || wipe(&g, false) != 0))
        restored = error_code();
    for (int i = 0; i < KV_FILES; i++)
        if (files[i] >= 0)
            close(files[i]);
    guard_free(&g);
    return restored;
}
