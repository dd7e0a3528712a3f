/*
 * The auth process: its loop; see auth_server.h. Connections are in auth_conn.c, what a request
 * comes to in auth_check.c, hashing in auth_hash.c.
 *
 * One thread, one epoll set. Every member of the set is a struct watch with its function. A
 * function may close other members than its own only if they are handled as dead when their
 * event, fetched in the same batch, comes up: so a batch is one event; the cost is a system
 * call per event, of which a login has two or three.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/auth_conn.h"
#include "auth/auth_server.h"
#include "base/log.h"
#include "base/sys.h"

#define EXIT_SHORT      75
#define EXIT_CONFIG     78
#define ACCEPT_PAUSE_MS 200 /* when out of descriptors */
#define ACCEPT_BATCH    64

/* What belongs to the loop alone. */
struct loop {
    struct auth_server server;
    struct watch listener, parent, signals;
    int listen_fd, parent_fd, signal_fd;
    int64_t resume_ms; /* accepting is paused until then; 0 = isn't */
    bool stop;
};

static struct loop *
loop_of(struct watch *w, size_t offset)
{
    return (struct loop *)(void *)((char *)w - offset);
}

static void
watch_fd(struct loop *l, int fd, struct watch *w, void (*ready)(struct watch *, uint32_t))
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};

    w->ready = ready;
    if (epoll_ctl(l->server.epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        log_fatal(EXIT_SHORT, "auth: epoll_ctl: %s", strerror(errno));
}

/* Out of descriptors: the connections that are open must end first. Not looking for a while
   keeps the loop from spinning. */
static void
pause_accept(struct loop *l)
{
    log_error("auth: no further connection: %s; raise the limit of open files (%s)",
              strerror(errno), "LimitNOFILE, ulimit -n");
    epoll_ctl(l->server.epoll_fd, EPOLL_CTL_DEL, l->listen_fd, NULL);
    l->resume_ms = sys_monotonic_ms() + ACCEPT_PAUSE_MS;
}

static void
listener_ready(struct watch *w, uint32_t events)
{
    struct loop *l = loop_of(w, offsetof(struct loop, listener));
    int fd;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            auth_conn_new(&l->server, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accept(l);
        else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            log_error("auth: accept: %s", strerror(errno));
        return;
    }
}

/* Nothing is ever written there: it's the end of the master. The descriptor is shared with
   other processes, so it's neither read nor made non-blocking. */
static void
parent_ready(struct watch *w, uint32_t events)
{
    (void)events;
    loop_of(w, offsetof(struct loop, parent))->stop = true;
}

static void
signals_ready(struct watch *w, uint32_t events)
{
    struct loop *l = loop_of(w, offsetof(struct loop, signals));
    struct signalfd_siginfo info;

    (void)events;
    while (read(l->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM)
            l->stop = true;
        else if (info.ssi_signo == SIGHUP)
            auth_check_refresh(&l->server.check);
        else if (info.ssi_signo == SIGUSR1)
            log_reopen();
    }
}

/* Many sessions keep a connection each; hashes must not end up in a core file. */
static void
harden(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur = limit.rlim_max = 0;
    setrlimit(RLIMIT_CORE, &limit);
    prctl(PR_SET_DUMPABLE, 0);
}

/* Milliseconds until something is due, -1 = never. */
static int
next_timeout(const struct loop *l, int pool_ms)
{
    const struct timer *first = timer_first(&l->server.timers);
    int64_t now = sys_monotonic_ms(), due = INT64_MAX;

    if (first != NULL)
        due = first->at_ms;
    if (l->resume_ms != 0 && l->resume_ms < due)
        due = l->resume_ms;
    if (pool_ms >= 0 && now + pool_ms < due)
        due = now + pool_ms;
    if (due == INT64_MAX)
        return -1;
    return due <= now ? 0 : due - now < 3600000 ? (int)(due - now) : 3600000;
}

static void
run_timers(struct loop *l)
{
    int64_t now = sys_monotonic_ms();
    struct timer *first;

    while ((first = timer_first(&l->server.timers)) != NULL && first->at_ms <= now)
        auth_timer_due(&l->server, first);
    if (l->resume_ms != 0 && l->resume_ms <= now) {
        l->resume_ms = 0;
        watch_fd(l, l->listen_fd, &l->listener, listener_ready);
    }
}

static void
run_loop(struct loop *l)
{
    struct epoll_event event;
    struct watch *w;
    int n;

    while (!l->stop) {
        n = epoll_wait(l->server.epoll_fd, &event, 1,
                       next_timeout(l, hash_pool_tick(l->server.pool, sys_monotonic_ms())));
        if (n < 0 && errno != EINTR) {
            log_error("auth: epoll_wait: %s", strerror(errno));
            return;
        }
        if (n > 0) {
            w = event.data.ptr;
            w->ready(w, event.events);
        }
        run_timers(l);
    }
}

static void
set_up(struct loop *l, const sigset_t *signals)
{
    struct auth_server *s = &l->server;
    gid_t gid;

    harden();
    signal(SIGCHLD, SIG_DFL);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->signal_fd = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->epoll_fd < 0 || l->signal_fd < 0)
        log_fatal(EXIT_SHORT, "auth: %s", strerror(errno));
    fcntl(l->listen_fd, F_SETFL, fcntl(l->listen_fd, F_GETFL) | O_NONBLOCK);
    if (conf_user_ids(s->conf->mail_user, &s->mail_uid, &gid) != 0)
        s->mail_uid = (uid_t)-1; /* not started as root: all are our own user */
    s->pool = hash_pool_new(s->conf->auth_workers, s->epoll_fd);
    s->penalty = penalty_new(s->conf->login_failure_delay);
    s->counts = counts_new();
    watch_fd(l, l->listen_fd, &l->listener, listener_ready);
    watch_fd(l, l->signal_fd, &l->signals, signals_ready);
    if (l->parent_fd >= 0)
        watch_fd(l, l->parent_fd, &l->parent, parent_ready);
}

static void
tear_down(struct loop *l)
{
    auth_conns_free(&l->server);
    hash_pool_free(&l->server.pool);
    penalty_free(&l->server.penalty);
    counts_free(&l->server.counts);
    timers_free(&l->server.timers);
    auth_check_close(&l->server.check);
    close(l->signal_fd);
    close(l->server.epoll_fd);
}

int
auth_server_run(const struct conf *conf, int listen_fd, int parent_fd)
{
    struct loop l = {.listen_fd = listen_fd, .parent_fd = parent_fd, .server.conf = conf};
    sigset_t signals, before;

    if (auth_check_open(&l.server.check, conf) != 0)
        return EXIT_CONFIG;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, &before);
    set_up(&l, &signals);
    run_loop(&l);
    tear_down(&l);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return 0;
}
