/*
 * The exit code policy of design.md section 3; see throttle.h.
 *
 * The rule with the reason: a child that dies before its service ever worked is a sign of a
 * fault that the next one will meet too, so forking is slowed down. One that dies later was
 * killed by something in its session; slowing down then would let an attacker who can crash his
 * own session stop everybody's.
 */
#include <stddef.h>
#include <sys/wait.h>

#include "proc/throttle.h"

#define DELAY_MIN 2
#define DELAY_MAX 60

void
throttle_reset(struct throttle *t)
{
    *t = (struct throttle){.worked = false};
}

void
throttle_worked(struct throttle *t)
{
    t->worked = true;
    t->delay_s = 0;
}

void
throttle_short(struct throttle *t, int64_t now_ms)
{
    if (now_ms < t->blocked_ms)
        return; /* one of many that died of the same cause: one wait for all */
    t->delay_s = t->delay_s == 0 ? DELAY_MIN : t->delay_s * 2;
    if (t->delay_s > DELAY_MAX)
        t->delay_s = DELAY_MAX;
    t->blocked_ms = now_ms + (int64_t)t->delay_s * 1000;
}

enum throttle_verdict
throttle_died(struct throttle *t, int wait_status, int64_t now_ms)
{
    int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;

    if (code == 0)
        return THROTTLE_NORMAL;
    if (code == EXIT_CONFIGURATION) {
        t->stopped = true;
        return THROTTLE_STOP;
    }
    if (code == EXIT_RESOURCES) {
        throttle_short(t, now_ms);
        return THROTTLE_RESOURCES;
    }
    if (t->worked)
        return THROTTLE_CRASH;
    throttle_short(t, now_ms);
    return THROTTLE_WAIT;
}

bool
throttle_open(const struct throttle *t, int64_t now_ms)
{
    return !t->stopped && now_ms >= t->blocked_ms;
}
