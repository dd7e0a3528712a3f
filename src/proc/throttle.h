/*
 * What the end of a child process means for its service: fork on, wait, or stop. Pure.
 */
#ifndef PROC_THROTTLE_H
#define PROC_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define EXIT_RESOURCES     75 /* EX_TEMPFAIL: short of memory or descriptors */
#define EXIT_CONFIGURATION 78 /* EX_CONFIG */

struct throttle {
    bool worked;        /* a child of this configuration was ready once */
    bool stopped;       /* a child said 78: until the next reload */
    unsigned delay_s;   /* of the last wait; 0 = none */
    int64_t blocked_ms; /* no fork before this time (sys_monotonic_ms) */
};

enum throttle_verdict {
    THROTTLE_NORMAL,    /* exit 0: nothing to say */
    THROTTLE_CRASH,     /* died, but the service has worked: replaced without a wait */
    THROTTLE_WAIT,      /* died before the service ever worked: 2 s, 4 s .. 60 s */
    THROTTLE_RESOURCES, /* exit 75: the same wait */
    THROTTLE_STOP       /* exit 78 */
};

void throttle_reset(struct throttle *t);
/* A child is ready to serve: waits start from 2 s again. */
void throttle_worked(struct throttle *t);
/* A child ended with this wait status. */
enum throttle_verdict throttle_died(struct throttle *t, int wait_status, int64_t now_ms);
/* fork() itself failed for want of memory or processes: the wait of exit 75. */
void throttle_short(struct throttle *t, int64_t now_ms);
/* May a child be forked now? */
bool throttle_open(const struct throttle *t, int64_t now_ms);

#endif
