/*
 * The worker; see worker.h. It has dropped all privileges before the first accept, polls the
 * plain and the TLS sockets of its protocol, accepts one connection, serves it to its end
 * synchronously, wipes what is left of it, and takes the next one.
 *
 * Waiting. Each worker has an epoll set of its own with its listeners under EPOLLEXCLUSIVE: a
 * connection wakes one worker, not all. Measured with twenty idle workers: 4.5 context switches
 * a connection instead of 23, and with eight clients 3,300 connections a second instead of
 * 1,200. The kernel prefers the waiter that was added first, so that at low load the same few
 * workers serve everything and the others' memory stays untouched.
 *
 * Signals are blocked except in epoll_pwait(2) and while a connection is served; so none can be
 * lost between a test of a flag and the wait. SIGTERM ends the session at the next command with
 * BYE, then the worker. SIGUSR2 ends the worker when it is idle: it tries to accept once more
 * before it goes, because the connection that woke it together with the signal has woken nobody
 * else; a worker that has a connection serves it to its end. WORKER_KICK_SIGNAL ends one
 * session. SIGUSR1 opens the log file again.
 *
 * If the master dies, the life pipe ends: an idle worker exits. A busy one may sit in IDLE for
 * days, and would keep the port from the next master by its copy of the listening socket; so
 * the kernel is asked for a signal at the parent's death, whose handler ends all listening.
 *
 * Exit status: 0 normal, 75 short of descriptors or memory, 70 a panic.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap.h"
#include "net/listener.h"
#include "net/privilege.h"
#include "net/stream.h"
#include "pop3/pop3.h"
#include "proc/throttle.h"
#include "proc/worker.h"

#define REPORT_WAIT_MS 5000
#define ID_LETTERS     8
#define ORPHAN_SIGNAL  (SIGRTMIN + 1)

/* One process is one worker: what its signal handlers and its session callback need. */
static struct {
    volatile sig_atomic_t term;   /* SIGTERM came */
    volatile sig_atomic_t retire; /* SIGUSR2 came */
    volatile sig_atomic_t leave;  /* the session under way is to end */
    volatile sig_atomic_t kicked; /* WORKER_KICK_SIGNAL ended the session */
    volatile sig_atomic_t number; /* of the connection under way; 0 = none */
    const struct worker_params *p;
    int32_t pid;
    int epoll_fd;
    sigset_t blocked, open; /* masks: outside and inside of waits and sessions */
    uint64_t connections;
} worker;

static bool
is_mine(const struct bound *b)
{
    return b->kind == worker.p->plain || b->kind == worker.p->tls;
}

static void
on_term(int sig)
{
    (void)sig;
    worker.term = worker.leave = 1;
    stream_interrupt();
}

static void
on_retire(int sig)
{
    (void)sig;
    worker.retire = 1;
}

/* log_reopen() makes only calls that are safe in a handler: a session that sleeps for half an
   hour must not keep the rotated file. */
static void
on_reopen(int sig)
{
    int saved = errno;

    (void)sig;
    log_reopen();
    errno = saved;
}

static void
stop_listening(void)
{
    const struct setup *setup = worker.p->setup;

    for (size_t i = 0; i < setup->bound_count; i++)
        if (is_mine(&setup->bound[i]))
            shutdown(setup->bound[i].listener.fd, SHUT_RDWR);
}

static void
on_orphan(int sig)
{
    int saved = errno;

    (void)sig;
    stop_listening();
    worker.retire = 1;
    errno = saved;
}

static void
on_kick(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    if (worker.number == 0 || info->si_value.sival_int != worker.number)
        return;
    worker.leave = worker.kicked = 1;
    stream_interrupt();
}

static void
handle(int sig, void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

static void
set_signals(void)
{
    struct sigaction kick = {.sa_sigaction = on_kick, .sa_flags = SA_SIGINFO | SA_RESTART};

    handle(SIGTERM, on_term);
    handle(SIGUSR2, on_retire);
    handle(SIGUSR1, on_reopen);
    handle(ORPHAN_SIGNAL, on_orphan);
    handle(SIGPIPE, SIG_IGN);
    handle(SIGINT, SIG_IGN); /* from a terminal, for the master */
    handle(SIGQUIT, SIG_IGN);
    handle(SIGHUP, SIG_IGN);
    sigemptyset(&kick.sa_mask);
    sigaction(WORKER_KICK_SIGNAL, &kick, NULL);
    sigfillset(&worker.blocked);
    sigdelset(&worker.blocked, SIGSEGV);
    sigdelset(&worker.blocked, SIGBUS);
    sigdelset(&worker.blocked, SIGFPE);
    sigdelset(&worker.blocked, SIGILL);
    sigdelset(&worker.blocked, SIGABRT);
    sigemptyset(&worker.open);
    sigprocmask(SIG_SETMASK, &worker.blocked, NULL);
}

/* False: the master is gone or doesn't read. */
static bool
report(enum worker_state state)
{
    const struct worker_params *p = worker.p;
    struct worker_report message = {
        .pid = worker.pid, .generation = p->generation, .state = state};
    int64_t deadline = sys_monotonic_ms() + REPORT_WAIT_MS;

    for (;;) {
        struct pollfd pfd = {.fd = p->report_fd, .events = POLLOUT};
        ssize_t n = write(p->report_fd, &message, sizeof message);

        if (n == (ssize_t)sizeof message)
            return true;
        if (n >= 0 || (errno != EAGAIN && errno != EINTR) || sys_monotonic_ms() >= deadline)
            return false;
        poll(&pfd, 1, 1000);
    }
}

/* The session's callback. */
static void
session_report(struct session *s, enum session_state state, const char *user,
               const char *command)
{
    worker_score_session(worker.p->score, s, state, user, command);
}

/* Eight letters, 40 random bits. */
static void
make_id(char id[16])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    unsigned char bytes[ID_LETTERS];

    sys_random(bytes, sizeof bytes);
    for (size_t i = 0; i < ID_LETTERS; i++)
        id[i] = letters[bytes[i] % 32];
    id[ID_LETTERS] = '\0';
}

static void
serve(int fd, const struct bound *bound, const struct peer *peer)
{
    const struct setup *setup = worker.p->setup;
    struct session s = {.conf = setup->conf,
                        .tls = setup->tls,
                        .service = worker.p->service,
                        .local = bound->listener.address,
                        .peer = *peer,
                        .stopping = &worker.leave,
                        .report = session_report,
                        .auth_fd = -1,
                        .started_ms = sys_monotonic_ms()};

    make_id(s.id);
    s.stream = stream_new(fd, setup->conf->write_timeout);
    log_set_prefix("%s[%s]: ", s.service, s.id);
    worker_score_connected(worker.p->score, &s, worker.connections);
    if (bound->kind == worker.p->tls &&
        stream_start_tls(s.stream, s.tls, setup->conf->login_timeout) != 0) {
        s.end_reason = "TLS handshake failed";
        session_end(&s);
    } else if (worker.p->plain == LISTEN_IMAP) {
        imap_session(&s);
    } else {
        pop3_session(&s);
    }
    stream_free(&s.stream);
    log_set_prefix("%s", "");
    explicit_bzero(&s, sizeof s); /* invariant 9 */
}

static int
open_epoll(void)
{
    const struct setup *setup = worker.p->setup;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = SETUP_BOUND_MAX};

    worker.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker.epoll_fd < 0 ||
        epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, worker.p->life_fd, &ev) < 0)
        return ERR_SHORT;
    for (size_t i = 0; i < setup->bound_count; i++) {
        ev.events = EPOLLIN | EPOLLEXCLUSIVE;
        ev.data.u32 = (uint32_t)i;
        if (is_mine(&setup->bound[i]) &&
            epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, setup->bound[i].listener.fd, &ev) < 0)
            return ERR_SHORT;
    }
    return 0;
}

/*
 * Takes a connection from this socket and serves it, if there is one; `reported`: the master
 * believes that this worker is busy. Signals are open inside. Returns 0, or ERR_* when the
 * worker can't go on.
 */
static int
take(const struct bound *bound, bool *reported)
{
    struct peer peer;
    int fd = listener_accept(&bound->listener, &peer);

    if (fd == ERR_TEMP)
        return 0;
    if (fd < 0)
        return fd;
    worker.connections++;
    worker.number = (sig_atomic_t)(worker.connections & 0x7fffffff);
    if (!*reported && !report(WORKER_BUSY)) {
        close(fd);
        return ERR_IO;
    }
    *reported = true;
    sigprocmask(SIG_SETMASK, &worker.open, NULL);
    serve(fd, bound, &peer);
    sigprocmask(SIG_SETMASK, &worker.blocked, NULL);
    worker.number = 0;
    worker.leave = worker.term;
    return 0;
}

static int
status_of(int err)
{
    /* a socket that stopped listening (reload, stop) fails to accept: the signal is on its way
     */
    if (worker.term || worker.retire)
        return 0;
    if (err == ERR_SHORT)
        log_error("accept: %s; raise the limit of open files, or lower max_workers",
                  err_text(err));
    return err == ERR_IO || err == ERR_EOF ? 0 : EXIT_RESOURCES;
}

/* The last look of a worker that retires; see above. */
static int
leave(bool reported)
{
    const struct setup *setup = worker.p->setup;

    if (worker.term)
        return 0;
    for (size_t i = 0; i < setup->bound_count; i++)
        if (is_mine(&setup->bound[i]))
            take(&setup->bound[i], &reported);
    return 0;
}

static bool
finished(void)
{
    unsigned max = worker.p->setup->conf->max_connections_per_worker;

    return worker.term || worker.retire || (max > 0 && worker.connections >= max);
}

static int
loop(void)
{
    const struct setup *setup = worker.p->setup;
    struct epoll_event ev;
    bool busy = false; /* what the master believes */
    int n, err;

    while (!finished()) {
        /* A worker that comes back and finds the next client waiting needn't tell the master;
           but the end of a kicked session must be told, or the next one is killed for it. */
        n = busy && !worker.kicked ? epoll_wait(worker.epoll_fd, &ev, 1, 0) : 0;
        if (n <= 0) {
            if (busy) {
                worker_score_idle(worker.p->score);
                if (!report(WORKER_IDLE))
                    return 0;
                busy = false;
                worker.kicked = 0;
            }
            n = epoll_pwait(worker.epoll_fd, &ev, 1, -1, &worker.open);
            if (n <= 0)
                continue; /* a signal */
        }
        if (ev.data.u32 >= setup->bound_count)
            return 0; /* the master is gone */
        err = take(&setup->bound[ev.data.u32], &busy);
        if (err < 0) {
            sigprocmask(SIG_SETMASK, &worker.open, NULL);
            return status_of(err);
        }
    }
    return leave(busy);
}

int
worker_run(const struct worker_params *p)
{
    worker.p = p;
    worker.pid = (int32_t)getpid();
    set_signals();
    heap_tune();
    privilege_drop(p->setup->mail_uid, p->setup->mail_gid);
    /* after the drop, which clears it */
    prctl(PR_SET_PDEATHSIG, ORPHAN_SIGNAL);
    if (getppid() != p->master)
        return 0; /* it has died already */
    if (open_epoll() != 0) {
        log_error("epoll: %s; raise the limit of open files", strerror(errno));
        return EXIT_RESOURCES;
    }
    worker_score_idle(worker.p->score);
    if (!report(WORKER_IDLE))
        return 0;
    return loop();
}
