/*
 * What Mansio needs of a file system, tried out one by one; see ctl_selftest.h. A FOUND_BAD
 * would lose mail or mix it up; a FOUND_NOTE costs speed or comfort, and says what.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "proc/ctl_selftest.h"

#define NFS_MAGIC     0x6969
#define RENAMES       300
#define LOW_MB        200
#define LOW_INODES    10000
#define TICK_MAX_MS   2200 /* the coarsest clock of a file system: FAT's two seconds */
#define NAME_LONGEST  255
#define CHILD_SECONDS 10

static int
touch(int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static void
try_sync(struct selftest *t, int dir)
{
    int fd = openat(dir, "sync", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, "sync\n", 5) != 5)
        selftest_say(t, FOUND_BAD, "files", "can't be written: %s", strerror(errno));
    else if (sys_fsync(fd) != 0 || sys_fdatasync(fd) != 0)
        selftest_say(t, FOUND_BAD, "fsync of files",
                     "fails (%s): accepted mail would be lost in a power cut", strerror(errno));
    else
        selftest_say(t, FOUND_GOOD, "fsync of files", "works");
    if (fd >= 0)
        close(fd);
    if (sys_fsync_dir(dir, ".") != 0)
        selftest_say(t, FOUND_BAD, "fsync of directories",
                     "fails (%s): accepted mail would be lost in a power cut", strerror(errno));
    else
        selftest_say(t, FOUND_GOOD, "fsync of directories", "works");
}

/* Waits for a child that ends with 0 if all is well. */
static bool
child_is_well(pid_t pid)
{
    int status;

    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* Somebody looks all the time while a file is replaced. */
static void
try_replace(struct selftest *t, int dir)
{
    int ready[2] = {-1, -1};
    bool replaced = true;
    char octet;
    pid_t pid;

    (void)touch(dir, "replaced");
    if (pipe(ready) != 0)
        return;
    pid = fork();
    if (pid == 0) {
        struct stat st;

        close(ready[1]);
        alarm(CHILD_SECONDS);
        (void)fcntl(ready[0], F_SETFL, O_NONBLOCK);
        while (read(ready[0], &octet, 1) != 0) /* 0: the other end was closed */
            if (fstatat(dir, "replaced", &st, 0) != 0)
                _exit(1);
        _exit(0);
    }
    close(ready[0]);
    for (int i = 0; i < RENAMES && replaced; i++)
        replaced = touch(dir, "new") == 0 && renameat(dir, "new", dir, "replaced") == 0;
    close(ready[1]);
    if (child_is_well(pid) && replaced)
        selftest_say(t, FOUND_GOOD, "rename", "replaces a file at once");
    else
        selftest_say(t, FOUND_BAD, "rename", "doesn't replace a file at once");
}

static void
try_noreplace(struct selftest *t, int dir)
{
    int result;

    (void)touch(dir, "one");
    (void)touch(dir, "two");
    result = renameat2(dir, "one", dir, "two", RENAME_NOREPLACE);
    if (result == 0)
        selftest_say(t, FOUND_BAD, "rename, no replacing", "replaces all the same");
    else if (errno == EEXIST)
        selftest_say(t, FOUND_GOOD, "rename, no replacing", "works");
    else
        selftest_say(t, FOUND_NOTE, "rename, no replacing",
                     "isn't there (%s): names are looked at first, with a gap in between",
                     strerror(errno));
}

static int
set_lock(int fd, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET};

    return fcntl(fd, F_SETLK, &fl);
}

/* In a child: can the lock be had? It keeps it until it's killed, if told to. */
static pid_t
try_to_lock(int dir, bool keep, int tell)
{
    pid_t pid = fork();
    int fd;

    if (pid != 0)
        return pid;
    fd = openat(dir, "lock", O_RDWR | O_CLOEXEC);
    if (fd < 0 || set_lock(fd, F_WRLCK) != 0)
        _exit(1);
    if (keep && write(tell, "", 1) == 1) {
        alarm(CHILD_SECONDS);
        pause();
    }
    _exit(0);
}

static void
try_locks(struct selftest *t, int dir)
{
    int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600), ready[2];
    bool locked = fd >= 0 && set_lock(fd, F_WRLCK) == 0, excludes, held = false, freed;
    int status;
    char octet;
    pid_t pid;

    excludes = locked && !child_is_well(try_to_lock(dir, false, -1));
    if (locked)
        (void)set_lock(fd, F_UNLCK);
    if (!excludes || pipe(ready) != 0) {
        selftest_say(t, FOUND_BAD, "locks",
                     locked ? "of fcntl() don't keep other processes out"
                            : "of fcntl() don't work: %s",
                     strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    pid = try_to_lock(dir, true, ready[1]);
    close(ready[1]);
    if (pid > 0)
        held = read(ready[0], &octet, 1) == 1 && set_lock(fd, F_WRLCK) != 0;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    close(ready[0]);
    freed = set_lock(fd, F_WRLCK) == 0;
    close(fd);
    if (held && freed)
        selftest_say(t, FOUND_GOOD, "locks",
                     "keep others out, and are freed when a process dies");
    else
        selftest_say(t, FOUND_BAD, "locks",
                     held ? "stay when a process dies" : "don't keep other processes out");
}

/* What one process writes into a mapped file, another sees there, and by read(). */
static void
try_shared_memory(struct selftest *t, int dir)
{
    int fd = openat(dir, "map", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    volatile char *map = MAP_FAILED;
    char octet = 0;
    pid_t pid;

    if (fd >= 0 && ftruncate(fd, 4096) == 0)
        map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        selftest_say(t, FOUND_BAD, "shared memory", "files can't be mapped: %s",
                     strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    map[0] = 'a';
    pid = fork();
    if (pid == 0) {
        int own = openat(dir, "map", O_RDWR | O_CLOEXEC);
        volatile char *other =
            own < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);

        if (other == MAP_FAILED || other[0] != 'a')
            _exit(1);
        other[1] = 'b';
        _exit(0);
    }
    if (child_is_well(pid) && map[1] == 'b' && pread(fd, &octet, 1, 1) == 1 && octet == 'b')
        selftest_say(t, FOUND_GOOD, "shared memory", "in files works between processes");
    else
        selftest_say(t, FOUND_BAD, "shared memory",
                     "in files differs between processes: the index would break");
    munmap((void *)(uintptr_t)map, 4096);
    close(fd);
}

static int64_t
mtime_of(int dir)
{
    struct stat st;

    if (fstat(dir, &st) != 0)
        return -1;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* Does the directory's time move on with that change, at the latest after some seconds? `ms`:
   how long it took. */
static bool
moves_time(int dir, int kind, long *ms)
{
    static const struct timespec pause_2ms = {.tv_nsec = 2000000};
    int64_t before, start = sys_monotonic_ms();

    do {
        before = mtime_of(dir);
        nanosleep(&pause_2ms, NULL);
        if ((kind == 0 && touch(dir, "time") != 0) ||
            (kind == 1 && renameat(dir, "time", dir, "times") != 0) ||
            (kind == 2 && unlinkat(dir, "times", 0) != 0))
            return false;
        *ms = (long)(sys_monotonic_ms() - start);
        if (mtime_of(dir) != before)
            return true;
        /* within the clock's tick: the next one is due */
        if (kind == 0)
            (void)unlinkat(dir, "time", 0);
        else
            (void)touch(dir, kind == 1 ? "time" : "times");
    } while (*ms < TICK_MAX_MS);
    return false;
}

static void
try_times(struct selftest *t, int dir)
{
    static const char *const kinds[] = {"making", "renaming", "removing"};
    long ms, longest = 0;

    for (int kind = 0; kind < 3; kind++) {
        if (!moves_time(dir, kind, &ms)) {
            selftest_say(t, FOUND_BAD, "directory times",
                         "don't change with %s a file: mail would stay unseen", kinds[kind]);
            return;
        }
        longest = ms > longest ? ms : longest;
        if (kind == 0)
            (void)touch(dir, "time");
    }
    if (longest < 200)
        selftest_say(t, FOUND_GOOD, "directory times", "are fine enough (%ld ms)", longest);
    else
        selftest_say(t, FOUND_NOTE, "directory times",
                     "are coarse (%ld ms): changed folders are read again for some seconds",
                     longest);
}

static void
try_names(struct selftest *t, int dir)
{
    char name[NAME_LONGEST + 1];
    struct stat st;

    if (touch(dir, "case") == 0 && fstatat(dir, "CASE", &st, 0) != 0)
        selftest_say(t, FOUND_GOOD, "capitals in names", "are told apart");
    else
        selftest_say(t, FOUND_BAD, "capitals in names",
                     "aren't told apart: flags and folders would be mixed up");
    if (touch(dir, "1.M1P1.host,S=1:2,FS") == 0)
        selftest_say(t, FOUND_GOOD, "\":\" in names", "is allowed");
    else
        selftest_say(t, FOUND_BAD, "\":\" in names", "isn't allowed (%s): flags are kept there",
                     strerror(errno));
    memset(name, 'n', NAME_LONGEST);
    name[NAME_LONGEST] = '\0';
    if (touch(dir, name) == 0)
        selftest_say(t, FOUND_GOOD, "long names", "of %d octets are allowed", NAME_LONGEST);
    else
        selftest_say(t, FOUND_NOTE, "long names",
                     "of %d octets aren't allowed (%s): long folder names will be refused",
                     NAME_LONGEST, strerror(errno));
}

static void
try_links(struct selftest *t, int dir)
{
    struct stat a, b;

    if (touch(dir, "linked") == 0 && linkat(dir, "linked", dir, "link", 0) == 0 &&
        fstatat(dir, "linked", &a, 0) == 0 && fstatat(dir, "link", &b, 0) == 0 &&
        a.st_ino == b.st_ino)
        selftest_say(t, FOUND_GOOD, "hard links", "work: COPY takes no space");
    else
        selftest_say(t, FOUND_NOTE, "hard links", "don't work: COPY copies the octets");
}

static void
try_space(struct selftest *t, int dir)
{
    struct statvfs vfs;
    struct statfs fs;
    unsigned long long mb;

    if (fstatfs(dir, &fs) == 0 && fs.f_type == NFS_MAGIC)
        selftest_say(t, FOUND_NOTE, "network",
                     "this is NFS: set index_dir to a local disk, and let one host serve it");
    if (fstatvfs(dir, &vfs) != 0)
        return;
    mb = (unsigned long long)vfs.f_bavail * vfs.f_frsize >> 20;
    if (mb < LOW_MB)
        selftest_say(t, FOUND_NOTE, "space", "only %llu MB are free", mb);
    else if (vfs.f_files > 0 && vfs.f_favail < LOW_INODES)
        selftest_say(t, FOUND_NOTE, "space", "only %llu more files fit (inodes)",
                     (unsigned long long)vfs.f_favail);
    else
        selftest_say(t, FOUND_GOOD, "space", "%llu MB are free", mb);
}

void
selftest_file_system(struct selftest *t)
{
    int dir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), own = -1;

    if (dir >= 0 && mkdirat(dir, "fs", 0700) == 0)
        own = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0) {
        selftest_say(t, FOUND_BAD, "directories", "can't be made in %s: %s", t->dir,
                     strerror(errno));
    } else {
        try_sync(t, own);
        try_replace(t, own);
        try_noreplace(t, own);
        try_locks(t, own);
        try_shared_memory(t, own);
        try_times(t, own);
        try_names(t, own);
        try_links(t, own);
        try_space(t, own);
        close(own);
    }
    if (dir >= 0)
        close(dir);
}
