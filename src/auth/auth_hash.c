/*
 * Hashing processes; see auth_hash.h.
 *
 * Each has a socketpair (SOCK_SEQPACKET) to the auth process: one task goes there, one octet
 * comes back. A child closes all other descriptors, so that it can't hold a client's login
 * open, and knows nothing but the task in hand. Where the auth process is root's, it becomes
 * nobody: what a client gives as a password is worked on here. It ends when the auth process
 * does (end of file). One that dies over a task fails that task only; the next takes its place.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth_hash.h"
#include "auth/password.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/privilege.h"

#define NOBODY        65534 /* the kernel's overflow id: owns nothing */
#define PROCESSES_MAX 256
#define RESTART_MS    1000 /* between the starts of one process */
#define RETRY_MS      100  /* to ask again for a process that may be started */

/* As it travels. */
struct task {
    uint32_t password_len;
    char hash[1028];
    char password[1024];
};

struct hasher {
    struct watch watch;
    struct hash_pool *pool;
    int fd; /* -1 = dead */
    pid_t pid;
    int64_t started_ms;
    struct hash_job *job;
};

struct hash_pool {
    int epoll_fd;
    unsigned size;
    struct hash_job *first, *last; /* that wait */
    struct hasher hashers[];
};

/* All but the standard three, the log and `keep`. */
static void
close_others(int keep)
{
    int a = keep, b = log_fd() > 2 ? log_fd() : keep;
    unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

    if (low > 3)
        close_range(3, low - 1, 0);
    if (high > low + 1)
        close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0U, 0);
}

static _Noreturn void
hasher_main(int fd)
{
    struct task task;
    ssize_t n;
    char answer;

    signal(SIGTERM, SIG_DFL);
    if (geteuid() == 0)
        privilege_drop(NOBODY, NOBODY);
    prctl(PR_SET_DUMPABLE, 0);
    for (;;) {
        n = recv(fd, &task, sizeof task, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof task || task.password_len > sizeof task.password)
            break;
        task.hash[sizeof task.hash - 1] = '\0';
        answer = password_verify(task.hash, task.password, task.password_len) ? 1 : 0;
        secret_wipe(&task, sizeof task);
        if (send(fd, &answer, 1, MSG_NOSIGNAL) != 1)
            break;
    }
    _exit(0);
}

/* Takes a dead or killed process out; its job is left to the caller. */
static void
bury(struct hasher *h)
{
    close(h->fd);
    h->fd = -1;
    kill(h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
    h->job = NULL;
}

static void hasher_ready(struct watch *w, uint32_t events);

static bool
start(struct hasher *h, int64_t now)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &h->watch};
    sigset_t none;
    int pair[2];

    h->started_ms = now;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("no socket for a hashing process: %s", strerror(errno));
        return false;
    }
    h->pid = fork();
    if (h->pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        close_others(pair[1]);
        hasher_main(pair[1]);
    }
    close(pair[1]);
    h->fd = pair[0];
    h->watch.ready = hasher_ready;
    if (h->pid > 0 && epoll_ctl(h->pool->epoll_fd, EPOLL_CTL_ADD, h->fd, &event) == 0)
        return true;
    log_error("can't start a hashing process: %s", strerror(errno));
    if (h->pid > 0) {
        bury(h);
    } else {
        close(h->fd);
        h->fd = -1;
    }
    return false;
}

static bool
give(struct hasher *h, struct hash_job *job)
{
    struct task task;
    bool sent;

    memset(&task, 0, sizeof task);
    task.password_len = (uint32_t)job->password_len;
    snprintf(task.hash, sizeof task.hash, "%s", job->hash);
    memcpy(task.password, job->password, job->password_len);
    sent = send(h->fd, &task, sizeof task, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof task;
    secret_wipe(&task, sizeof task);
    if (sent) {
        h->job = job;
        job->at = h;
    }
    return sent;
}

static void
unqueue(struct hash_pool *p, struct hash_job *job)
{
    if (job->previous != NULL)
        job->previous->next = job->next;
    else
        p->first = job->next;
    if (job->next != NULL)
        job->next->previous = job->previous;
    else
        p->last = job->previous;
    job->queued = false;
}

/* Gives waiting jobs to idle processes. */
static void
dispatch(struct hash_pool *p)
{
    struct hash_job *job;

    for (unsigned i = 0; i < p->size && p->first != NULL; i++) {
        struct hasher *h = &p->hashers[i];

        if (h->fd < 0 || h->job != NULL)
            continue;
        job = p->first;
        unqueue(p, job);
        if (give(h, job))
            continue;
        /* it's dead: the job goes back to the front, for the next process */
        job->next = p->first;
        job->previous = NULL;
        if (p->first != NULL)
            p->first->previous = job;
        else
            p->last = job;
        p->first = job;
        job->queued = true;
        bury(h);
    }
}

static void
hasher_ready(struct watch *w, uint32_t events)
{
    struct hasher *h = (struct hasher *)w; /* its first member */
    struct hash_job *job = h->job;
    struct hash_pool *p = h->pool;
    char answer;

    (void)events;
    if (h->fd < 0)
        return; /* buried since the event was fetched */
    if (recv(h->fd, &answer, 1, MSG_DONTWAIT) == 1 && job != NULL) {
        h->job = NULL;
        job->at = NULL;
        dispatch(p);
        job->done(job, answer == 1 ? HASH_RIGHT : HASH_WRONG);
        return;
    }
    log_error("hashing process %ld died", (long)h->pid);
    bury(h);
    if (job != NULL) {
        job->at = NULL;
        job->done(job, HASH_BROKEN);
    }
}

struct hash_pool *
hash_pool_new(unsigned processes, int epoll_fd)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    struct hash_pool *p;

    if (processes == 0)
        processes = online > 0 ? (unsigned)online : 1;
    if (processes > PROCESSES_MAX)
        processes = PROCESSES_MAX;
    p = mem_calloc(1, sizeof *p + processes * sizeof p->hashers[0]);
    p->epoll_fd = epoll_fd;
    p->size = processes;
    for (unsigned i = 0; i < p->size; i++) {
        p->hashers[i].pool = p;
        p->hashers[i].fd = -1;
        start(&p->hashers[i], sys_monotonic_ms());
    }
    return p;
}

void
hash_pool_free(struct hash_pool **p)
{
    if (*p == NULL)
        return;
    for (unsigned i = 0; i < (*p)->size; i++)
        if ((*p)->hashers[i].fd >= 0)
            bury(&(*p)->hashers[i]);
    free(*p);
    *p = NULL;
}

void
hash_submit(struct hash_pool *p, struct hash_job *job)
{
    job->at = NULL;
    job->next = NULL;
    job->previous = p->last;
    if (p->last != NULL)
        p->last->next = job;
    else
        p->first = job;
    p->last = job;
    job->queued = true;
    dispatch(p);
}

void
hash_cancel(struct hash_pool *p, struct hash_job *job)
{
    if (job->queued)
        unqueue(p, job);
    else if (job->at != NULL)
        bury(job->at);
    job->at = NULL;
}

int
hash_pool_tick(struct hash_pool *p, int64_t now_ms)
{
    bool dead = false;

    for (unsigned i = 0; i < p->size; i++) {
        if (p->hashers[i].fd >= 0)
            continue;
        if (now_ms - p->hashers[i].started_ms < RESTART_MS || !start(&p->hashers[i], now_ms))
            dead = true;
    }
    dispatch(p);
    return dead ? RETRY_MS : -1;
}
