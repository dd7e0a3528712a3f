/*
 * System hooks; see sys.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"

struct sys_hooks sys_hooks;

static struct {
    char name[64];
    long count; /* 0: no step kills */
} crash;

int64_t
sys_now(void)
{
    return sys_hooks.now != NULL ? sys_hooks.now() : (int64_t)time(NULL);
}

int64_t
sys_now_us(void)
{
    struct timespec ts;

    if (sys_hooks.now != NULL)
        return sys_hooks.now() * 1000000;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
sys_stamp_us(void)
{
    struct timespec ts;

    if (sys_hooks.now != NULL)
        return sys_hooks.now() * 1000000;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
sys_monotonic_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
sys_random(void *p, size_t n)
{
    char *to = p;
    ssize_t got;

    if (sys_hooks.random != NULL) {
        sys_hooks.random(p, n);
        return;
    }
    while (n > 0) {
        got = getrandom(to, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            log_panic("getrandom: %s", strerror(errno));
        to += got;
        n -= (size_t)got;
    }
}

int
sys_fsync(int fd)
{
    return sys_hooks.fsync != NULL ? sys_hooks.fsync(fd) : fsync(fd);
}

int
sys_fdatasync(int fd)
{
    return sys_hooks.fsync != NULL ? sys_hooks.fsync(fd) : fdatasync(fd);
}

int
sys_syncfs(int fd)
{
    return sys_hooks.fsync != NULL ? sys_hooks.fsync(fd) : syncfs(fd);
}

int
sys_fsync_dir(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result, saved;

    if (fd < 0)
        return -1;
    result = sys_fsync(fd);
    saved = errno;
    close(fd);
    errno = saved;
    return result;
}

const char *
sys_boot_id(void)
{
    static char id[37];
    ssize_t n = -1;
    int fd;

    if (id[0] != '\0')
        return id;
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, id, sizeof id - 1);
        close(fd);
    }
    if (n != sizeof id - 1)
        snprintf(id, sizeof id, "?");
    return id;
}

void
sys_step(const char *name)
{
    if (sys_hooks.step != NULL)
        sys_hooks.step(name);
    if (crash.count > 0 && strcmp(name, crash.name) == 0 && --crash.count == 0)
        kill(getpid(), SIGKILL);
}

void
sys_init(void)
{
    const char *value = getenv("MANSIO_CRASH_STEP");
    const char *count;

    crash.count = 0;
    if (value == NULL)
        return;
    count = strrchr(value, ':');
    /* step names contain a colon themselves: a count is all digits */
    if (count != NULL && count[1] != '\0' &&
        strspn(count + 1, "0123456789") == strlen(count + 1)) {
        snprintf(crash.name, sizeof crash.name, "%.*s", (int)(count - value), value);
        crash.count = strtol(count + 1, NULL, 10);
    } else {
        snprintf(crash.name, sizeof crash.name, "%s", value);
        crash.count = 1;
    }
}
