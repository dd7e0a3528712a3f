/*
 * A heap of timers; see auth_timer.h. heap[i]'s children are heap[2i+1] and heap[2i+2].
 */
#include <stdlib.h>

#include "auth/auth_timer.h"
#include "base/arena.h"

static void
put(struct timers *t, size_t i, struct timer *timer)
{
    t->heap[i] = timer;
    timer->place = i + 1;
}

static void
sift_up(struct timers *t, size_t i, struct timer *timer)
{
    while (i > 0 && t->heap[(i - 1) / 2]->at_ms > timer->at_ms) {
        put(t, i, t->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(t, i, timer);
}

static void
sift_down(struct timers *t, size_t i, struct timer *timer)
{
    size_t child;

    while ((child = 2 * i + 1) < t->count) {
        if (child + 1 < t->count && t->heap[child + 1]->at_ms < t->heap[child]->at_ms)
            child++;
        if (t->heap[child]->at_ms >= timer->at_ms)
            break;
        put(t, i, t->heap[child]);
        i = child;
    }
    put(t, i, timer);
}

void
timer_set(struct timers *t, struct timer *timer, int64_t at_ms)
{
    timer_clear(t, timer);
    timer->at_ms = at_ms;
    if (t->count == t->room) {
        t->room = t->room > 0 ? 2 * t->room : 64;
        t->heap = mem_reallocarray(t->heap, t->room, sizeof(struct timer *));
    }
    sift_up(t, t->count++, timer);
}

void
timer_clear(struct timers *t, struct timer *timer)
{
    struct timer *last;
    size_t i = timer->place;

    if (i-- == 0)
        return;
    timer->place = 0;
    last = t->heap[--t->count];
    if (last == timer)
        return;
    if (i > 0 && t->heap[(i - 1) / 2]->at_ms > last->at_ms)
        sift_up(t, i, last);
    else
        sift_down(t, i, last);
}

struct timer *
timer_first(const struct timers *t)
{
    return t->count > 0 ? t->heap[0] : NULL;
}

void
timers_free(struct timers *t)
{
    free(t->heap);
    t->heap = NULL;
    t->count = t->room = 0;
}
