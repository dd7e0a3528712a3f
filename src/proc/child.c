/*
 * The master's children: a table in private memory, fork, reap. A child's place in the table is
 * its slot in the scoreboard. Pids are looked up by hash: each connection of a busy server is
 * two reports by pid.
 *
 * What a child inherits: its own listeners, the write end of the report pipe, the read end of
 * the life pipe (whose write end only the master has, so it ends with the master), the log, the
 * TLS context and the configuration. Everything else is closed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth_server.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/privilege.h"
#include "proc/daemon.h"
#include "proc/master.h"
#include "proc/pidfile.h"
#include "proc/worker.h"

#define BUCKETS 4096 /* a power of two */

static uint32_t *
bucket_of(const struct master *m, pid_t pid)
{
    return &m->buckets[(uint32_t)pid % BUCKETS];
}

/* The master's tables, mapped apart from its heap: a worker unmaps them (children_free()). */
struct tables {
    struct child children[CHILD_SLOTS];
    uint32_t buckets[BUCKETS];
};

void
children_init(struct master *m)
{
    struct tables *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (t == MAP_FAILED)
        log_fatal(EXIT_RESOURCES, "can't map the table of children: %s", strerror(errno));
    m->children = t->children;
    m->buckets = t->buckets;
    m->board = scoreboard_new(CHILD_SLOTS);
}

/* In a child, too: each page that the master writes after the fork would stay with the child as
   it was, and a busy master writes all of them. */
void
children_free(struct master *m)
{
    munmap(m->children, sizeof(struct tables));
    m->children = NULL;
    m->buckets = NULL;
}

struct child *
child_find(struct master *m, pid_t pid)
{
    for (uint32_t i = *bucket_of(m, pid); i != 0; i = m->children[i - 1].next)
        if (m->children[i - 1].pid == pid)
            return &m->children[i - 1];
    return NULL;
}

size_t
child_slot(const struct master *m, const struct child *c)
{
    return (size_t)(c - m->children);
}

/* The lowest free slot, so that few pages of the scoreboard are in use. */
static struct child *
child_new(struct master *m)
{
    size_t i = m->free_hint;

    while (i < CHILD_SLOTS && m->children[i].pid != 0)
        i++;
    m->free_hint = i;
    if (i == CHILD_SLOTS)
        return NULL;
    if (i >= m->slots_used)
        m->slots_used = i + 1;
    return &m->children[i];
}

static void
child_add(struct master *m, struct child *c)
{
    uint32_t *bucket = bucket_of(m, c->pid);

    c->next = *bucket;
    *bucket = (uint32_t)child_slot(m, c) + 1;
}

static void
child_remove(struct master *m, struct child *c)
{
    uint32_t *link = bucket_of(m, c->pid);
    size_t slot = child_slot(m, c);
    struct score *score = scoreboard_slot(m->board, slot);

    while (*link != slot + 1)
        link = &m->children[*link - 1].next;
    *link = c->next;
    memset(c, 0, sizeof *c);
    if (slot < m->free_hint)
        m->free_hint = slot;
    score_begin(score);
    score->protocol = 0;
    score_end(score);
}

static unsigned *
counter(struct service *s, enum child_state state)
{
    switch (state) {
    case CHILD_STARTING:
        return &s->counts.starting;
    case CHILD_IDLE:
        return &s->counts.idle;
    default:
        return &s->counts.busy;
    }
}

/* Is it in the counts? Those who leave are only while they're busy. */
static bool
counted(const struct child *c)
{
    return !c->leaving || c->state == CHILD_BUSY;
}

static void
count(struct master *m, const struct child *c, bool in)
{
    unsigned *n = counter(&m->services[c->kind], c->state);

    if (counted(c))
        *n += in ? 1u : -1u;
}

void
child_set_state(struct master *m, struct child *c, enum child_state state)
{
    count(m, c, false);
    c->state = state;
    count(m, c, true);
}

void
child_retire(struct master *m, struct child *c)
{
    count(m, c, false);
    c->leaving = true;
    count(m, c, true);
    kill(c->pid, SIGUSR2);
}

/* Dispositions as a program expects them. All stay blocked until the child has its handlers: a
   signal that came meanwhile waits. */
static void
default_signals(void)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};

    sigemptyset(&sa.sa_mask);
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP && sig != SIGPIPE)
            sigaction(sig, &sa, NULL);
}

static void
close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void
close_inherited(struct master *m, const struct service *s)
{
    bool pool = s->kind != CHILD_AUTH;

    for (size_t i = 0; i < m->setup->bound_count; i++) {
        struct bound *b = &m->setup->bound[i];

        if (!pool || (b->kind != s->plain && b->kind != s->tls))
            close_fd(b->listener.fd);
    }
    control_forget(m);
    pidfile_forget(m->pidfile);
    close_fd(m->signal_fd);
    close_fd(m->start_fd);
    close_fd(m->report_fd[0]);
    close_fd(m->life_fd[1]);
    if (pool)
        close_fd(m->auth_fd);
    else
        close_fd(m->report_fd[1]);
}

static int
run_worker(struct master *m, const struct service *s, struct score *score, unsigned generation)
{
    struct worker_params p = {.setup = m->setup,
                              .service = s->name,
                              .plain = s->plain,
                              .tls = s->tls,
                              .score = score,
                              .report_fd = m->report_fd[1],
                              .life_fd = m->life_fd[0],
                              .generation = generation,
                              .master = getppid()};

    return worker_run(&p);
}

/* Only async-signal-safe calls; see worker.c. */
static void
on_reopen(int sig)
{
    int saved = errno;

    (void)sig;
    log_reopen();
    errno = saved;
}

static int
run_auth(struct master *m)
{
    struct sigaction sa = {.sa_handler = on_reopen, .sa_flags = SA_RESTART};
    const struct setup *s = m->setup;
    sigset_t none;

    sigemptyset(&sa.sa_mask);
    sigaction(SIGUSR1, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &sa, NULL); /* until auth_server_run() reads it from a descriptor */
    sigaction(SIGINT, &sa, NULL); /* from a terminal, for the master */
    sigaction(SIGQUIT, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A process that stays root needs no drop: it must read the users file. */
    if (geteuid() != 0 || s->auth_uid != 0)
        privilege_drop(s->auth_uid, s->auth_gid);
    return auth_server_run(s->conf, m->auth_fd, m->life_fd[0]);
}

static _Noreturn void
run_child(struct master *m, struct service *s, size_t slot)
{
    struct score *score = scoreboard_slot(m->board, slot);
    char name[16];
    int status;

    snprintf(name, sizeof name, "mansiod-%s", s->name);
    prctl(PR_SET_NAME, name);
    default_signals();
    close_inherited(m, s);
    children_free(m);
    if (!m->foreground)
        daemon_detach(); /* during the start the master still has the terminal */
    score_begin(score);
    score->protocol = (uint8_t)s->name[0];
    score->state = 0;
    score->tls = 0;
    score->pid = getpid();
    score->since = score->connected = sys_now();
    score->bytes_in = score->bytes_out = score->connections = 0;
    score->user[0] = score->peer[0] = score->command[0] = score->session[0] = '\0';
    score_end(score);
    status = s->kind == CHILD_AUTH ? run_auth(m) : run_worker(m, s, score, m->generation);
    _exit(status);
}

struct child *
child_fork(struct master *m, enum child_kind kind)
{
    struct service *s = &m->services[kind];
    struct child *c = child_new(m);
    pid_t pid;

    if (c == NULL) {
        log_error("%s: no slot for another process is free", s->name);
        return NULL;
    }
    pid = fork();
    if (pid == 0)
        run_child(m, s, child_slot(m, c));
    if (pid < 0) {
        throttle_short(&s->throttle, sys_monotonic_ms());
        log_error("%s: can't fork: %s; next try in %u s. Raise the limit of processes or lower "
                  "%s_max_workers",
                  s->name, strerror(errno), s->throttle.delay_s, s->name);
        return NULL;
    }
    *c = (struct child){.pid = pid,
                        .kind = kind,
                        .generation = m->generation,
                        .started_ms = sys_monotonic_ms()};
    child_add(m, c);
    count(m, c, true); /* as CHILD_STARTING */
    s->forks++;
    return c;
}

void
children_reap(struct master *m)
{
    struct child *c, gone;
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        c = child_find(m, pid);
        if (c == NULL)
            continue; /* inherited from whoever started us */
        count(m, c, false);
        gone = *c;
        child_remove(m, c);
        service_child_died(m, &gone, status);
    }
}

void
children_signal(struct master *m, enum child_kind kind, int sig)
{
    for (size_t i = 0; i < m->slots_used; i++)
        if (m->children[i].pid != 0 && m->children[i].kind == kind)
            kill(m->children[i].pid, sig);
}

size_t
children_count(const struct master *m, enum child_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < m->slots_used; i++)
        n += m->children[i].pid != 0 && m->children[i].kind == kind;
    return n;
}
