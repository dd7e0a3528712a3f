/*
 * The processes that try passwords against hashes, on behalf of the auth process: a hash takes
 * tens of milliseconds of a processor, and its loop must not stand still for so long.
 */
#ifndef AUTH_AUTH_HASH_H
#define AUTH_AUTH_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_pool;
struct hasher;

enum hash_outcome { HASH_WRONG, HASH_RIGHT, HASH_BROKEN };

/* One password to try. Filled in by the asker, who keeps it until done() was called or
   hash_cancel() returned. */
struct hash_job {
    const char *hash, *password;
    size_t password_len;
    void (*done)(struct hash_job *job, enum hash_outcome outcome);
    /* the pool's */
    struct hash_job *next, *previous;
    struct hasher *at; /* who works at it; NULL = waits */
    bool queued;
};

/* Something in the loop's epoll set: the address of one is the event's data. */
struct watch {
    void (*ready)(struct watch *w, uint32_t events);
};

/* Starts `processes` of them (0 = one for each processor) and adds them to the epoll set. */
struct hash_pool *hash_pool_new(unsigned processes, int epoll_fd);
void hash_pool_free(struct hash_pool **p);
void hash_submit(struct hash_pool *p, struct hash_job *job);
/* The job is taken back; a process that is at work at it is killed and replaced. */
void hash_cancel(struct hash_pool *p, struct hash_job *job);
/* Replaces processes that died, a second after the start of the dead one at the earliest.
   Returns the milliseconds until it wants to be called again, -1 = not before something
   happens. */
int hash_pool_tick(struct hash_pool *p, int64_t now_ms);

#endif
