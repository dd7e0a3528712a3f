/*
 * Workloads of some hundred connections at once: threads, one connection each. Thousands are in
 * idle_work.c.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

struct job {
    const struct target *t;
    struct result *r;
    unsigned index, rounds;
    const char *mailbox;
    pthread_t thread;
};

/* Runs `count` threads between the timer's start and stop. */
static void
in_parallel(const struct target *t, struct result *r, unsigned count, unsigned rounds,
            const char *mailbox, void *(*work)(void *))
{
    struct job *jobs = calloc(count, sizeof *jobs);
    unsigned i;

    if (jobs == NULL)
        abort();
    timer_start(t, r);
    for (i = 0; i < count; i++) {
        jobs[i] =
            (struct job){.t = t, .r = r, .index = i, .rounds = rounds, .mailbox = mailbox};
        if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]) != 0)
            abort();
    }
    for (i = 0; i < count; i++)
        pthread_join(jobs[i].thread, NULL);
    timer_stop(t, r);
    free(jobs);
    r->ops = (uint64_t)count * rounds;
}

static void *
login_many(void *arg)
{
    struct job *j = arg;
    struct client c;
    struct answer a;
    unsigned i;

    for (i = 0; i < j->rounds; i++) {
        if (!client_open(&c, j->t, SERVICE_IMAP, NULL, NULL) ||
            !imap_login(&c, j->t, j->t->user))
            fault(j->r, "login refused");
        imap_ask(&c, &a, "LOGOUT");
        client_close(&c);
    }
    return NULL;
}

static void
run_login16(const struct target *t, struct result *r)
{
    in_parallel(t, r, 16, 50, NULL, login_many);
}

static void *
append_many(void *arg)
{
    struct job *j = arg;
    struct client c;
    struct answer a;
    char data[SMALL_SIZE];
    unsigned i;

    mail_make_small(data);
    if (imap_start(&c, j->t, NULL, j->r))
        for (i = 0; i < j->rounds; i++) {
            imap_append(&c, &a, j->mailbox, data, sizeof data);
            if (!a.ok)
                fault(j->r, "APPEND: %.100s", a.text);
        }
    client_close(&c);
    return NULL;
}

/* Eight clients append to one mailbox. */
static void
run_append8(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;

    if (!imap_start(&c, t, NULL, r)) {
        client_close(&c);
        return;
    }
    imap_ask(&c, &a, "DELETE bench-append");
    imap_ask(&c, &a, "CREATE bench-append");
    in_parallel(t, r, 8, 100, "bench-append", append_many);
    check_appended(&c, r, "bench-append", 800);
    imap_ask(&c, &a, "CLOSE");
    imap_ask(&c, &a, "DELETE bench-append");
    client_close(&c);
}

static void *
session_mix(void *arg)
{
    struct job *j = arg;
    struct client c;
    struct answer a;
    unsigned i, first;

    if (!imap_start(&c, j->t, "INBOX", j->r)) {
        client_close(&c);
        return NULL;
    }
    for (i = 0; i < j->rounds; i++) {
        first = (j->index * 131 + i * 17) % (j->t->messages - 50) + 1;
        imap_ask(&c, &a, "FETCH %u:%u (FLAGS UID)", first, first + 49);
        if (!a.ok || a.fetched < 50)
            fault(j->r, "FETCH: %u, %.80s", a.fetched, a.text);
        imap_ask(&c, &a, "STORE %u %cFLAGS.SILENT (\\Answered)", first, i % 2 == 0 ? '+' : '-');
        if (!a.ok)
            fault(j->r, "STORE: %.100s", a.text);
    }
    client_close(&c);
    return NULL;
}

/* 50 sessions in one account, reading and changing flags. */
static void
run_one_account(const struct target *t, struct result *r)
{
    in_parallel(t, r, 50, 20, NULL, session_mix);
}

static void *
storm_one(void *arg)
{
    struct job *j = arg;
    struct client c;

    if (!imap_start(&c, j->t, NULL, j->r))
        fault(j->r, "not served");
    client_close(&c);
    return NULL;
}

/* Everybody comes back at once: until all are logged in. compare.py restarts the server before
 * it. */
static void
run_storm(const struct target *t, struct result *r)
{
    in_parallel(t, r, t->connections < 500 ? t->connections : 500, 1, NULL, storm_one);
}

const struct workload many_workloads[] = {
    {"login16", "IMAP login, 16 clients x50", run_login16},
    {"append8", "APPEND of 4 KB, 8 clients x100", run_append8},
    {"one-account", "50 sessions in one account: FETCH and STORE", run_one_account},
    {"storm", "everybody reconnects at once", run_storm},
    {NULL, NULL, NULL}};
