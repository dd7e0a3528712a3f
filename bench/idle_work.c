/*
 * Workloads that hold connections in IDLE by the thousand. What they cost is measured from
 * outside (compare.py), which reads and says on the standard output and input:
 *
 *     ready COUNT               so many are in IDLE; the time of that is the workload's figure
 *     deliver                   a message to each of 100 connections' accounts, one after the
 *                               other, for DELIVER_S seconds at most
 *     delivered COUNT MEDIAN MAX    its answer; milliseconds from the rename to its EXISTS
 *     end                       all log out
 *
 * The accounts are used in turn, so a delivery wakes as many connections as share its account.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "idle.h"

#define ACCOUNTS   50 /* as many as compare.py makes */
#define THREADS    16 /* that open and close */
#define DELIVERIES 100
#define PAUSE_US   50000 /* between two of them */
#define DELIVER_S  15    /* no more of them after that; Dovecot takes half a second each */

struct crowd {
    const struct target *t;
    struct result *r;
    enum service service;
    struct idler *idlers;
};

struct part {
    struct crowd *crowd;
    unsigned first;
    void (*work)(struct crowd *crowd, unsigned n);
    pthread_t thread;
};

static unsigned
account_of(unsigned n)
{
    return n % ACCOUNTS;
}

void
idle_user(const struct target *t, unsigned n, char *user, size_t size)
{
    if (t->user_pattern != NULL)
        snprintf(user, size, "%s%u", t->user_pattern, account_of(n));
    else
        snprintf(user, size, "%s", t->user);
}

static void *
run_part(void *arg)
{
    struct part *p = arg;
    unsigned n;

    for (n = p->first; n < p->crowd->t->connections; n += THREADS)
        p->work(p->crowd, n);
    return NULL;
}

/* Does the work for each connection, THREADS at a time. */
static void
for_all(struct crowd *crowd, void (*work)(struct crowd *, unsigned))
{
    struct part parts[THREADS];
    unsigned i;

    for (i = 0; i < THREADS; i++) {
        parts[i] = (struct part){.crowd = crowd, .first = i, .work = work};
        if (pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) != 0)
            abort();
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(parts[i].thread, NULL);
}

/* Thousands of buffers are the benchmark's own memory, not the server's. */
static void
drop_buffers(struct client *c)
{
    if (c->pos < c->len)
        return;
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    c->pos = c->len = c->cap = c->out_len = c->out_cap = 0;
}

/* Opens, logs in, selects and idles. */
static void
begin_idle(struct crowd *crowd, unsigned n)
{
    struct idler *i = &crowd->idlers[n];
    struct answer a;
    char user[64], *line;
    size_t len;

    if (crowd->r->fault[0] != '\0')
        return; /* of no use any more: let the caller hear of it soon */
    idle_user(crowd->t, n, user, sizeof user);
    if (!client_open(&i->c, crowd->t, crowd->service, NULL, NULL) ||
        !imap_login(&i->c, crowd->t, user)) {
        fault(crowd->r, "connection %u: login refused", n);
        return;
    }
    imap_ask(&i->c, &a, "SELECT INBOX");
    i->exists = a.exists;
    if (!a.ok || a.exists < crowd->t->messages) {
        fault(crowd->r, "connection %u: SELECT: %u messages, %.60s", n, a.exists, a.text);
        return;
    }
    i->tag = imap_send(&i->c, "IDLE");
    line = client_line(&i->c, &len);
    if (line == NULL || line[0] != '+') {
        fault(crowd->r, "connection %u: no IDLE", n);
        return;
    }
    i->ok = true;
    drop_buffers(&i->c);
}

static void
end_idle(struct crowd *crowd, unsigned n)
{
    struct idler *i = &crowd->idlers[n];
    struct answer a;

    if (i->ok) {
        client_put(&i->c, "DONE\r\n");
        imap_wait(&i->c, i->tag, &a, NULL, NULL);
        if (!a.ok)
            fault(crowd->r, "connection %u: IDLE: %.60s", n, a.text);
        imap_ask(&i->c, &a, "LOGOUT");
        if (!a.ok)
            fault(crowd->r, "connection %u: LOGOUT: %.60s", n, a.text);
    }
    if (i->c.fd >= 0)
        client_close(&i->c);
}

static void
deliver(struct crowd *crowd)
{
    const struct target *t = crowd->t;
    unsigned count = t->connections < DELIVERIES ? t->connections : DELIVERIES;
    unsigned delivered[ACCOUNTS] = {0}, i, n, account;
    double ms[DELIVERIES], middle, started, first = now();
    char maildir[512];

    for (i = 0; i < count && now() - first < DELIVER_S; i++) {
        n = (unsigned)((uint64_t)i * t->connections / count + i % ACCOUNTS) % t->connections;
        account = account_of(n);
        snprintf(maildir, sizeof maildir, "%s/%s%u/Maildir", t->mail, t->user_pattern, account);
        usleep(PAUSE_US);
        started = now();
        if (mail_deliver(maildir, i + 1) < 0) {
            fault(crowd->r, "can't deliver to %s", maildir);
            break;
        }
        delivered[account]++;
        if (!imap_wait_exists(&crowd->idlers[n].c,
                              crowd->idlers[n].exists + delivered[account])) {
            fault(crowd->r, "connection %u: a delivery wasn't announced in %u s", n,
                  IDLE_PATIENCE_S);
            break;
        }
        ms[i] = (now() - started) * 1000;
        drop_buffers(&crowd->idlers[n].c);
    }
    middle = median(ms, i);
    printf("delivered %u %.2f %.2f\n", i, middle, i > 0 ? ms[i - 1] : -1);
    fflush(stdout);
}

static void
hold_idle(const struct target *t, struct result *r, enum service service, bool rush)
{
    struct crowd crowd = {.t = t, .r = r, .service = service};
    unsigned n;
    char line[16];

    crowd.idlers = calloc(t->connections, sizeof *crowd.idlers);
    if (crowd.idlers == NULL)
        abort();
    for (n = 0; n < t->connections; n++)
        crowd.idlers[n].c.fd = -1;
    timer_start(t, r);
    if (rush)
        rush_idle(t, r, service == SERVICE_IMAPS, crowd.idlers);
    else
        for_all(&crowd, begin_idle);
    timer_stop(t, r);
    for (n = 0; n < t->connections; n++)
        r->ops += crowd.idlers[n].ok;
    printf("ready %llu\n", (unsigned long long)r->ops);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "end\n") != 0)
        if (strcmp(line, "deliver\n") == 0 && t->mail != NULL && t->user_pattern != NULL &&
            r->fault[0] == '\0')
            deliver(&crowd);
    for_all(&crowd, end_idle);
    free(crowd.idlers);
}

static void
run_idle(const struct target *t, struct result *r)
{
    hold_idle(t, r, SERVICE_IMAP, false);
}

static void
run_idle_tls(const struct target *t, struct result *r)
{
    hold_idle(t, r, SERVICE_IMAPS, false);
}

static void
run_rush(const struct target *t, struct result *r)
{
    hold_idle(t, r, SERVICE_IMAP, true);
}

static void
run_rush_tls(const struct target *t, struct result *r)
{
    hold_idle(t, r, SERVICE_IMAPS, true);
}

const struct workload idle_workloads[] = {
    {"idle", "hold connections in IDLE (memory is measured outside)", run_idle},
    {"idle-tls", "the same over TLS", run_idle_tls},
    {"rush", "all connect at one instant, then as idle", run_rush},
    {"rush-tls", "the same over TLS", run_rush_tls},
    {NULL, NULL, NULL}};
