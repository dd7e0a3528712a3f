/*
 * Connections that are held in IDLE: what idle_work.c (opens them a few at a time, delivers,
 * ends) and rush_work.c (opens all at one instant) share.
 */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include "bench.h"

struct idler {
    struct client c;
    unsigned tag, exists; /* of the IDLE command; messages in its INBOX */
    bool ok;              /* in IDLE */
};

/* The name of connection n's user: the accounts are used in turn. */
void idle_user(const struct target *t, unsigned n, char *user, size_t size);
/* Opens t->connections at once and brings them to IDLE; faults go to r. */
void rush_idle(const struct target *t, struct result *r, bool tls, struct idler *idlers);

#endif
