/*
 * When to fork and when to retire workers: pure, table-tested.
 */
#ifndef PROC_POOL_H
#define PROC_POOL_H

#include "base/conf.h"

struct pool_counts {
    unsigned idle, busy, starting; /* starting: forked, not yet reported idle */
};
struct pool_state {
    unsigned growth; /* how many were forked at the last starved second: 0, 1, 2, 4 .. 32 */
};
struct pool_decision {
    unsigned fork, retire;
};
/* Called once a second and (with `tick` false) whenever a worker turned busy. A starved pool
   (idle + starting < min_spare) grows 1, 2, 4 .. 32 a second, never over max_workers;
   above max_spare one, and an eighth of what is too much, is retired a second. When idle +
   starting is 0, growth happens at once, not at the next second. */
struct pool_decision pool_decide(const struct conf_pool *band, const struct pool_counts *counts,
                                 struct pool_state *state, int tick);

#endif
