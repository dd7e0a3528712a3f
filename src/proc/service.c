/*
 * The services: the two pools and the auth process. Bookkeeping between the pure policies
 * (pool.c, throttle.c) and the children (child.c).
 *
 * The auth process isn't a pool: there is one, replaced when it ends. It doesn't report; it
 * counts as working when it has lived for a while.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/sys.h"
#include "proc/master.h"
#include "proc/worker.h"

#define AUTH_WORKS_MS   3000  /* an auth process that lived so long was able to work */
#define AUTH_STARTS_MS  100   /* within this time one that can't work has ended */
#define FULL_WARNING_MS 60000 /* the warning of a full pool isn't repeated before */

void
services_init(struct master *m)
{
    m->services[CHILD_IMAP] = (struct service){
        .name = "imap", .kind = CHILD_IMAP, .plain = LISTEN_IMAP, .tls = LISTEN_IMAPS};
    m->services[CHILD_POP3] = (struct service){
        .name = "pop3", .kind = CHILD_POP3, .plain = LISTEN_POP3, .tls = LISTEN_POP3S};
    m->services[CHILD_AUTH] = (struct service){.name = "auth", .kind = CHILD_AUTH};
}

void
services_configure(struct master *m)
{
    for (size_t i = 0; i < CHILD_KINDS; i++) {
        struct service *s = &m->services[i];

        s->enabled = i == CHILD_AUTH || setup_listens(m->setup, s->plain, s->tls);
        throttle_reset(&s->throttle);
    }
}

const struct conf_pool *
service_band(const struct master *m, const struct service *s)
{
    return s->kind == CHILD_IMAP ? &m->setup->conf->imap : &m->setup->conf->pop3;
}

static void
warn_full(struct service *s, const struct conf_pool *band)
{
    int64_t now = sys_monotonic_ms();

    if (s->full_warned_ms != 0 && now - s->full_warned_ms < FULL_WARNING_MS)
        return;
    s->full_warned_ms = now;
    log_warn(
        "%s: all %u workers are busy: clients wait. Raise %s_max_workers if there's memory",
        s->name, band->max_workers, s->name);
}

/* The last idle ones in the table: the first ones get the work (see worker.c). */
static void
retire(struct master *m, struct service *s, unsigned count)
{
    for (size_t i = m->slots_used; i-- > 0 && count > 0;) {
        struct child *c = &m->children[i];

        if (c->pid != 0 && c->kind == s->kind && c->state == CHILD_IDLE && !c->leaving) {
            child_retire(m, c);
            count--;
        }
    }
}

static void
maintain_auth(struct master *m, struct service *s)
{
    struct child *c;

    if (m->auth_pid != 0) {
        c = child_find(m, m->auth_pid);
        if (c != NULL && c->state == CHILD_STARTING &&
            sys_monotonic_ms() - c->started_ms >= AUTH_WORKS_MS) {
            child_set_state(m, c, CHILD_IDLE);
            throttle_worked(&s->throttle);
        }
        return;
    }
    if (!throttle_open(&s->throttle, sys_monotonic_ms()))
        return;
    c = child_fork(m, CHILD_AUTH);
    if (c != NULL)
        m->auth_pid = c->pid;
}

void
service_maintain(struct master *m, struct service *s, bool tick)
{
    const struct conf_pool *band;
    struct pool_decision d;

    if (m->stopping || !s->enabled)
        return;
    if (s->kind == CHILD_AUTH) {
        maintain_auth(m, s);
        return;
    }
    if (!throttle_open(&s->throttle, sys_monotonic_ms()))
        return;
    band = service_band(m, s);
    d = pool_decide(band, &s->counts, &s->growth, tick);
    if (s->lost_idle && d.fork == 0 &&
        s->counts.idle + s->counts.busy + s->counts.starting < band->max_workers)
        d.fork = 1;
    s->lost_idle = false;
    for (unsigned i = 0; i < d.fork && throttle_open(&s->throttle, 0); i++)
        if (child_fork(m, s->kind) == NULL)
            return;
    if (d.retire > 0)
        retire(m, s, d.retire);
    if (s->counts.idle + s->counts.starting == 0 && s->counts.busy >= band->max_workers)
        warn_full(s, band);
}

void
services_maintain(struct master *m, bool tick)
{
    for (size_t i = 0; i < CHILD_KINDS; i++)
        service_maintain(m, &m->services[i], tick);
}

void
services_start(struct master *m)
{
    service_maintain(m, &m->services[CHILD_AUTH], false);
    for (size_t i = 0; i < POOLS; i++) {
        struct service *s = &m->services[i];
        const struct conf_pool *band = service_band(m, s);

        while (s->enabled && s->counts.idle + s->counts.starting < band->min_spare &&
               s->counts.idle + s->counts.starting + s->counts.busy < band->max_workers)
            if (child_fork(m, s->kind) == NULL)
                break;
    }
}

static const char *
how_it_ended(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(status));
    return text;
}

static void
log_end(const struct service *s, const struct child *c, int status, enum throttle_verdict v)
{
    char how[96];

    how_it_ended(status, how, sizeof how);
    switch (v) {
    case THROTTLE_NORMAL:
        log_debug("%s: process %ld ended", s->name, (long)c->pid);
        break;
    case THROTTLE_CRASH:
        log_error("%s: process %ld ended: %s; replaced", s->name, (long)c->pid, how);
        break;
    case THROTTLE_WAIT:
        log_error("%s: process %ld ended before the service worked: %s; next try in %u s",
                  s->name, (long)c->pid, how, s->throttle.delay_s);
        break;
    case THROTTLE_RESOURCES:
        log_error("%s: process %ld ended short of resources; no new one for %u s", s->name,
                  (long)c->pid, s->throttle.delay_s);
        break;
    case THROTTLE_STOP:
        log_error(
            "%s: process %ld can't work with this configuration: service stopped. Correct "
            "it and reload",
            s->name, (long)c->pid);
        break;
    }
}

void
service_child_died(struct master *m, const struct child *c, int status)
{
    struct service *s = &m->services[c->kind];
    enum throttle_verdict v;
    bool was_auth = c->pid == m->auth_pid;

    if (was_auth)
        m->auth_pid = 0;
    /* what we asked for, or what runs under a configuration of before, says nothing about now
     */
    if (m->stopping || c->kill_ms != 0 || c->generation != m->generation) {
        log_debug("%s: process %ld ended", s->name, (long)c->pid);
        return;
    }
    if (was_auth && status == 0)
        throttle_short(&s->throttle, sys_monotonic_ms()); /* nobody told it to */
    v = throttle_died(&s->throttle, status, sys_monotonic_ms());
    log_end(s, c, status, v);
    if (v != THROTTLE_NORMAL)
        s->crashes++;
    if (v == THROTTLE_CRASH && c->state == CHILD_IDLE)
        s->lost_idle = true;
    if (v == THROTTLE_STOP && !m->ready)
        master_stop(m, EXIT_CONFIGURATION, "a service can't work with this configuration");
}

void
service_report(struct master *m, pid_t pid, unsigned generation, unsigned state)
{
    struct child *c = child_find(m, pid);
    struct service *s;

    if (c == NULL || c->generation != generation || c->kind >= POOLS)
        return; /* of a process that has ended, or nonsense */
    s = &m->services[c->kind];
    if (state == WORKER_BUSY) {
        child_set_state(m, c, CHILD_BUSY);
        s->served++;
    } else if (state == WORKER_IDLE) {
        child_set_state(m, c, CHILD_IDLE);
        if (!m->stopping)
            c->kill_ms = 0; /* the session that was to be ended has ended */
        if (c->generation == m->generation)
            throttle_worked(&s->throttle);
    }
}

bool
services_ready(const struct master *m)
{
    const struct child *auth;

    for (size_t i = 0; i < POOLS; i++)
        if (m->services[i].enabled && !m->services[i].throttle.worked)
            return false;
    /* it doesn't say that it's ready, but says so at once if it can't be */
    auth = m->auth_pid != 0 ? child_find((struct master *)m, m->auth_pid) : NULL;
    return auth != NULL && sys_monotonic_ms() - auth->started_ms >= AUTH_STARTS_MS;
}

bool
services_settled(const struct master *m)
{
    const struct child *auth =
        m->auth_pid != 0 ? child_find((struct master *)m, m->auth_pid) : NULL;

    if (auth == NULL || auth->state == CHILD_STARTING)
        return false;
    for (size_t i = 0; i < POOLS; i++) {
        const struct service *s = &m->services[i];
        const struct conf_pool *band = service_band(m, s);
        unsigned total = s->counts.idle + s->counts.starting + s->counts.busy;

        if (!s->enabled || s->throttle.stopped)
            continue;
        if (s->growth.growth != 0 || s->counts.idle > band->max_spare ||
            (s->counts.idle + s->counts.starting < band->min_spare &&
             total < band->max_workers))
            return false;
    }
    return true;
}
