/*
 * Timers of the auth process: a binary heap by time. A timer sits in the struct it belongs to.
 */
#ifndef AUTH_AUTH_TIMER_H
#define AUTH_AUTH_TIMER_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t at_ms;
    size_t place; /* in the heap, from 1; 0 = not set */
};

struct timers {
    struct timer **heap;
    size_t count, room;
};

void timer_set(struct timers *t, struct timer *timer, int64_t at_ms);
void timer_clear(struct timers *t, struct timer *timer);
/* The next one, or NULL. */
struct timer *timer_first(const struct timers *t);
void timers_free(struct timers *t);

#endif
