/*
 * What the control socket answers to status and who, from the scoreboard, and kick.
 *
 * The scoreboard is the workers' word. What is decided here from it, which sessions a kick
 * means, concerns only the worker that wrote it; the process is taken from the master's own
 * table, and the signal carries the number of the connection, so that it never ends the next
 * one.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/session.h"
#include "base/sys.h"
#include "proc/master.h"
#include "proc/worker.h"

static const char *
state_text(unsigned state)
{
    static const char *const texts[] = {"waiting", "greeting", "login",
                                        "active",  "idle",     "closing"};

    return state < sizeof texts / sizeof texts[0] ? texts[state] : "?";
}

static const char *
service_state(const struct service *s)
{
    if (!s->enabled)
        return "off";
    if (s->throttle.stopped)
        return "stopped";
    return throttle_open(&s->throttle, sys_monotonic_ms()) ? "running" : "throttled";
}

void
answer_status(struct master *m, struct buf *out)
{
    buf_adds(out, "* version " PACKAGE_VERSION "\n");
    buf_addf(out, "* pid %ld\n* uptime %" PRId64 "\n* generation %u\n", (long)getpid(),
             sys_now() - m->started, m->generation);
    buf_adds(out, "* service state idle busy starting max served forks crashes\n");
    for (size_t i = 0; i < POOLS; i++) {
        const struct service *s = &m->services[i];

        buf_addf(out, "* %s %s %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->name,
                 service_state(s), s->counts.idle, s->counts.busy, s->counts.starting,
                 service_band(m, s)->max_workers, s->served, s->forks, s->crashes);
    }
    buf_addf(out, "* auth %s - - - - - %" PRIu64 " %" PRIu64 "\n",
             service_state(&m->services[CHILD_AUTH]), m->services[CHILD_AUTH].forks,
             m->services[CHILD_AUTH].crashes);
}

/* The session that a child serves, if it serves one. */
static bool
session_of(struct master *m, size_t slot, struct score *score)
{
    const struct child *c = &m->children[slot];

    return c->pid != 0 && c->kind < POOLS && c->state == CHILD_BUSY &&
           scoreboard_read(m->board, slot, score) == 0 && score->state != 0;
}

static const char *
or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

void
answer_who(struct master *m, struct buf *out)
{
    int64_t now = sys_now();
    struct score score;

    buf_adds(out,
             "* service session pid user address tls state seconds since in out command\n");
    for (size_t i = 0; i < m->slots_used; i++) {
        if (!session_of(m, i, &score))
            continue;
        buf_addf(out,
                 "* %s %s %ld %s %s %s %s %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %s\n",
                 m->services[m->children[i].kind].name, or_dash(score.session),
                 (long)m->children[i].pid, or_dash(score.user), or_dash(score.peer),
                 score.tls ? "tls" : "-", state_text(score.state), now - score.connected,
                 now - score.since, score.bytes_in, score.bytes_out, or_dash(score.command));
    }
}

unsigned
answer_kick(struct master *m, const char *what)
{
    int64_t late = sys_monotonic_ms() + (int64_t)m->setup->conf->shutdown_grace * 1000 + 500;
    struct score score;
    unsigned n = 0;

    for (size_t i = 0; i < m->slots_used; i++) {
        struct child *c = &m->children[i];
        union sigval number;
        char pid[24];

        if (!session_of(m, i, &score))
            continue;
        snprintf(pid, sizeof pid, "%ld", (long)c->pid);
        if (strcmp(what, score.session) != 0 && strcmp(what, score.user) != 0 &&
            strcmp(what, pid) != 0)
            continue;
        number.sival_int = (int)(score.connections & 0x7fffffff);
        if (sigqueue(c->pid, WORKER_KICK_SIGNAL, number) != 0)
            continue;
        c->kill_ms = late;
        if (m->kill_ms == 0 || late < m->kill_ms)
            m->kill_ms = late;
        n++;
    }
    return n;
}
