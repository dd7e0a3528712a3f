/*
 * The spare policy of one protocol's pool; see pool.h. Pure: it sees counts and says how many
 * to fork or to retire; what a pool's counts are and whether forking works at the moment is
 * service.c's and throttle.c's affair.
 *
 * A pool is starved while fewer workers wait (or are about to) than min_spare. It then grows by
 * 1, 2, 4 .. 32 a second, as in the prefork servers of the field, so that a slow leak of idle
 * workers costs one fork and a storm doubles its way up. The case that matters is the storm: a
 * hundred clients that come back after a reboot take all spare workers within a millisecond. A
 * pool in which nobody waits therefore grows at once, with each report of a worker that turned
 * busy, and isn't bound by max_spare: 1 + 2 + 4 .. + 32 workers are there within as many forks'
 * time, not seconds.
 *
 * Above max_spare a pool shrinks by one a second and an eighth of what is too much: slowly near
 * the band, where the next client may come soon, and within a minute after a thousand clients
 * have left (one a second alone would hold their workers' memory for a quarter of an hour).
 */
#include "proc/pool.h"

#define GROWTH_MAX   32
#define RETIRE_SHARE 8

static unsigned
grow(struct pool_state *state, unsigned limit)
{
    if (state->growth == 0)
        state->growth = 1;
    else if (state->growth < GROWTH_MAX)
        state->growth *= 2;
    return state->growth < limit ? state->growth : limit;
}

struct pool_decision
pool_decide(const struct conf_pool *band, const struct pool_counts *counts,
            struct pool_state *state, int tick)
{
    struct pool_decision none = {0, 0}, decision = {0, 0};
    unsigned spare = counts->idle + counts->starting;
    unsigned total = spare + counts->busy;
    unsigned room = total < band->max_workers ? band->max_workers - total : 0;

    if (spare == 0) {
        decision.fork = room > 0 ? grow(state, room) : 0;
        return decision;
    }
    if (!tick)
        return none;
    if (spare < band->min_spare) {
        /* while some still wait there is no hurry: not beyond the band */
        unsigned gap = band->max_spare > spare ? band->max_spare - spare : 1;

        decision.fork = room > 0 ? grow(state, gap < room ? gap : room) : 0;
        return decision;
    }
    state->growth = 0;
    if (counts->idle > band->max_spare)
        decision.retire = 1 + (counts->idle - band->max_spare) / RETIRE_SHARE;
    return decision;
}
