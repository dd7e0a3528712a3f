/*
 * The account lock: one fcntl write lock on one file, with a generation word in it.
 *
 * The file's first 64 octets are mapped shared: a magic, the boot id, the epoch, the generation
 * and a note of the owner's. The generation is odd while a holder is inside. Who gets the lock
 * and finds it odd (the last holder died inside), or another boot id, must recover, and then
 * starts a new epoch; who finds another epoch than its own re-opens first. So a holder killed
 * at any point is noticed by the next.
 *
 * fcntl locks belong to the process and drop when *any* descriptor of the file is closed: open
 * the file once per process and account, and nowhere else. A lock isn't inherited over fork.
 */
#ifndef BASE_LOCKFILE_H
#define BASE_LOCKFILE_H

#include <stdbool.h>
#include <stdint.h>

#define LOCKFILE_SIZE 64 /* octets */

struct lockfile;

/* Opens (makes, 0600) the lock file. Doesn't lock. 0 or ERR_*. */
int lockfile_open(int dirfd, const char *name, struct lockfile **out);
void lockfile_close(struct lockfile **l);

/* What lockfile_lock() found. */
enum lock_state {
    LOCK_CLEAN = 0,   /* same epoch as at this handle's last lock: go on */
    LOCK_REOPEN = 1,  /* another process started a new epoch: re-open, then go on */
    LOCK_RECOVER = 2, /* a holder died inside, or a reboot, or a new file: recover, then
                         lockfile_new_epoch() */
};

/* Waits up to timeout_s seconds (0: try once). Returns an enum lock_state (>= 0) or ERR_BUSY,
   ERR_IO, ERR_NOSPACE (a new file), or ERR_GONE: somebody removed the file, close and open it
   again. Sets the generation odd. The first lock through a handle never gives LOCK_CLEAN: it
   gives LOCK_REOPEN (nothing is open yet) or LOCK_RECOVER. Waiting neither polls nor disturbs a
   SIGALRM of the caller. */
int lockfile_lock(struct lockfile *l, unsigned timeout_s);
/* Makes the generation even and gives the lock up. */
void lockfile_unlock(struct lockfile *l);
/* Gives the lock up but leaves the generation odd: whoever comes next must recover. */
void lockfile_unlock_dirty(struct lockfile *l);
/* Records this boot id and another epoch: every other process re-opens. Only while locked. */
void lockfile_new_epoch(struct lockfile *l);
bool lockfile_held(const struct lockfile *l);
/* Counts the locks taken since the file was made (tests, statistics). */
uint64_t lockfile_generation(const struct lockfile *l);

/* The epoch at the last lock: a random number. */
uint64_t lockfile_epoch(const struct lockfile *l);

/* A word of the owner's that outlives a holder's death (and is 0 in a new file): how often
   recovery was tried, for one. Only while locked. */
uint32_t lockfile_note(const struct lockfile *l);
void lockfile_set_note(struct lockfile *l, uint32_t note);

#endif
