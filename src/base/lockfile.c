/*
 * The account lock; see lockfile.h.
 *
 * Layout of the 64 octets (host byte order: the file never leaves its machine):
 *
 *      0  8  magic "MANSIOL1"
 *      8 16  boot id, binary
 *     24  8  epoch: a random number
 *     32  8  generation: grows by one at each lock and unlock, odd = somebody is inside
 *     40  4  note (the owner's)
 *     44 20  zero
 *
 * Waiting: F_SETLK first, which needs no timer. Only when that fails a timer is made that
 * interrupts F_SETLKW with a real-time signal of our own at this thread, so that an alarm() of
 * the caller goes on. The timer repeats: one that fires just before F_SETLKW sleeps isn't lost.
 *
 * Every lock looks at the file's link count and size (one fstat): an administrator who removes
 * an index under running sessions must not leave them working on the removed one, and a file
 * cut short must not kill by SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/lockfile.h"
#include "base/log.h"
#include "base/sys.h"

#define MAGIC        "MANSIOL1"
#define RETRY_MS     50 /* the timer's repetition after the deadline */
#define SIGNAL_WAKES (SIGRTMIN + 5)

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct lock_page {
    char magic[8];
    unsigned char boot[16];
    uint64_t epoch;
    uint64_t generation;
    uint32_t note;
    unsigned char zero[20];
};
_Static_assert(sizeof(struct lock_page) == LOCKFILE_SIZE, "the format is fixed");

struct lockfile {
    int fd;
    volatile struct lock_page *page; /* NULL until the first lock */
    bool held;
    bool known;     /* `epoch` is of an earlier lock */
    uint64_t epoch; /* at the last lock */
};

/* The boot id's hexadecimal digits as 16 octets. */
static void
boot_id(unsigned char out[16])
{
    const char *id = sys_boot_id();
    unsigned n = 0, digit;

    memset(out, 0, 16);
    for (; *id != '\0' && n < 32; id++) {
        if (*id >= '0' && *id <= '9')
            digit = (unsigned)(*id - '0');
        else if (*id >= 'a' && *id <= 'f')
            digit = (unsigned)(*id - 'a') + 10;
        else
            continue;
        out[n / 2] = (unsigned char)(out[n / 2] | digit << (n % 2 == 0 ? 4 : 0));
        n++;
    }
}

int
lockfile_open(int dirfd, const char *name, struct lockfile **out)
{
    struct lockfile *l;
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    *out = NULL;
    if (fd < 0) {
        int saved = errno;

        log_error("lock file %s: %s", name, strerror(saved));
        return err_from_errno(saved);
    }
    l = mem_calloc(1, sizeof *l);
    l->fd = fd;
    *out = l;
    return 0;
}

void
lockfile_close(struct lockfile **l)
{
    if (*l == NULL)
        return;
    if ((*l)->held)
        lockfile_unlock_dirty(*l);
    if ((*l)->page != NULL)
        munmap((void *)(uintptr_t)(*l)->page, LOCKFILE_SIZE);
    close((*l)->fd);
    free(*l);
    *l = NULL;
}

static int
set_lock(int fd, int command, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET};

    return fcntl(fd, command, &fl);
}

static void
wakes(int signum)
{
    (void)signum; /* interrupting is all it does */
}

/* F_SETLKW under a timer. 0, ERR_BUSY or ERR_IO. */
static int
lock_waiting(int fd, unsigned timeout_s)
{
    struct sigaction act = {.sa_handler = wakes}, former;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL_WAKES};
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)timeout_s},
                              .it_interval = {.tv_nsec = RETRY_MS * 1000000L}};
    int64_t deadline = sys_monotonic_ms() + (int64_t)timeout_s * 1000;
    sigset_t ours, mask;
    timer_t timer;
    int result, error;

    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    sigemptyset(&act.sa_mask); /* no SA_RESTART: it must interrupt */
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return ERR_IO;
    sigemptyset(&ours);
    sigaddset(&ours, SIGNAL_WAKES);
    sigaction(SIGNAL_WAKES, &act, &former);
    pthread_sigmask(SIG_UNBLOCK, &ours, &mask);
    timer_settime(timer, 0, &when, NULL);
    do {
        result = set_lock(fd, F_SETLKW, F_WRLCK);
        error = errno;
    } while (result != 0 && error == EINTR && sys_monotonic_ms() < deadline);
    timer_delete(timer); /* a signal still pending goes to our handler: it's restored after */
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGNAL_WAKES, &former, NULL);
    if (result == 0)
        return 0;
    return error == EINTR ? ERR_BUSY : ERR_IO;
}

/* Looks whether the file is still there and whole, and maps it. */
static int
check_file(struct lockfile *l)
{
    static const struct lock_page empty;
    struct stat st;
    void *page;

    if (fstat(l->fd, &st) != 0)
        return ERR_IO;
    if (st.st_nlink == 0)
        return ERR_GONE;
    if (st.st_size < LOCKFILE_SIZE) {
        ssize_t n = pwrite(l->fd, &empty, sizeof empty, 0);

        if (n != (ssize_t)sizeof empty)
            return n < 0 ? err_from_errno(errno) : ERR_NOSPACE;
    }
    if (l->page != NULL)
        return 0;
    page = mmap(NULL, LOCKFILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
    if (page == MAP_FAILED)
        return err_from_errno(errno);
    l->page = page;
    return 0;
}

/* A new or foreign file becomes ours; its generation starts odd, so that it's recovered. */
static void
start_page(volatile struct lock_page *page)
{
    struct lock_page fresh = {.magic = MAGIC, .generation = 1};

    sys_random(&fresh.epoch, sizeof fresh.epoch); /* never an epoch that a handle remembers */
    *page = fresh;
}

static enum lock_state
enter(struct lockfile *l)
{
    volatile struct lock_page *page = l->page;
    unsigned char boot[16];
    bool dirty;

    if (memcmp((const void *)(uintptr_t)page->magic, MAGIC, sizeof page->magic) != 0)
        start_page(page);
    boot_id(boot);
    dirty = page->generation % 2 != 0 ||
            memcmp((const void *)(uintptr_t)page->boot, boot, sizeof boot) != 0;
    page->generation += page->generation % 2 != 0 ? 2 : 1;
    l->held = true;
    if (dirty)
        return LOCK_RECOVER;
    if (l->known && l->epoch == page->epoch)
        return LOCK_CLEAN;
    l->known = true;
    l->epoch = page->epoch;
    return LOCK_REOPEN;
}

int
lockfile_lock(struct lockfile *l, unsigned timeout_s)
{
    int result = 0;

    if (l->held)
        log_panic("lockfile_lock: held already");
    while (set_lock(l->fd, F_SETLK, F_WRLCK) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EACCES)
            result = ERR_IO;
        else
            result = timeout_s == 0 ? ERR_BUSY : lock_waiting(l->fd, timeout_s);
        break;
    }
    if (result != 0)
        return result;
    result = check_file(l);
    if (result != 0) {
        set_lock(l->fd, F_SETLK, F_UNLCK);
        return result;
    }
    return (int)enter(l);
}

void
lockfile_unlock(struct lockfile *l)
{
    if (!l->held)
        log_panic("lockfile_unlock: not held");
    l->page->generation++;
    l->held = false;
    set_lock(l->fd, F_SETLK, F_UNLCK);
}

void
lockfile_unlock_dirty(struct lockfile *l)
{
    if (!l->held)
        log_panic("lockfile_unlock_dirty: not held");
    l->held = false;
    set_lock(l->fd, F_SETLK, F_UNLCK);
}

void
lockfile_new_epoch(struct lockfile *l)
{
    unsigned char boot[16];
    uint64_t epoch;

    if (!l->held)
        log_panic("lockfile_new_epoch: not held");
    boot_id(boot);
    for (size_t i = 0; i < sizeof boot; i++)
        l->page->boot[i] = boot[i];
    /* not one more: after a power cut this page may be older than what was written in an epoch
       that it doesn't know */
    sys_random(&epoch, sizeof epoch);
    l->page->epoch = epoch;
    l->known = true;
    l->epoch = l->page->epoch;
}

bool
lockfile_held(const struct lockfile *l)
{
    return l->held;
}

uint64_t
lockfile_generation(const struct lockfile *l)
{
    return l->page != NULL ? (l->page->generation + 1) / 2 : 0;
}

uint64_t
lockfile_epoch(const struct lockfile *l)
{
    return l->epoch;
}

uint32_t
lockfile_note(const struct lockfile *l)
{
    return l->page != NULL ? l->page->note : 0;
}

void
lockfile_set_note(struct lockfile *l, uint32_t note)
{
    if (!l->held)
        log_panic("lockfile_set_note: not held");
    l->page->note = note;
}
