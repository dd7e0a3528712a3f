/*
 * The system as tests may want to bend it: clock, random bytes, flushing to disk, and named
 * steps at which a crash test stops the process.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <stddef.h>
#include <stdint.h>

struct sys_hooks {
    int64_t (*now)(void);              /* seconds since 1970 */
    void (*random)(void *p, size_t n); /* fills p */
    int (*fsync)(int fd);              /* as fsync(2) */
    void (*step)(const char *name);    /* called at each named step; NULL: none */
};
/* What is set here is used instead of the system's own; all NULL outside tests. */
extern struct sys_hooks sys_hooks;

int64_t sys_now(void);    /* wall clock, seconds since 1970 */
int64_t sys_now_us(void); /* wall clock, microseconds (the hook's seconds, if one is set) */
/* The clock by which this system's kernel dates changes of files, in microseconds: behind
   sys_now_us() by up to a tick. A change that's made later has no earlier date. */
int64_t sys_stamp_us(void);
int64_t sys_monotonic_ms(void); /* for deadlines: never goes back */
void sys_random(void *p, size_t n);
int sys_fsync(int fd);
int sys_fdatasync(int fd);
/* syncfs(2): of the whole file system in which fd is. */
int sys_syncfs(int fd);
/* fsync of a directory, by descriptor of its parent and name. 0 or -1 with errno. */
int sys_fsync_dir(int dirfd, const char *name);
/* This boot's id (the kernel's), 36 characters and NUL; "?" where the system has none. */
const char *sys_boot_id(void);

/*
 * A named point between two steps of an operation that must survive a crash, e.g.
 * sys_step("append:renamed"). Costs a pointer test. With the environment variable
 * MANSIO_CRASH_STEP=name or =name:n set at sys_init(), the process kills itself there (the n-th
 * time).
 */
void sys_step(const char *name);
void sys_init(void);

#endif
