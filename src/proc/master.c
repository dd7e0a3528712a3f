/*
 * The master: start, main loop, stop. It never reads a byte from a client and never calls
 * session or store code; what it reads is the configuration, its children's reports and exit
 * statuses, signals, and the control socket.
 *
 * The start has worked when every service has a worker that waits for clients. Only then is the
 * waiting parent (or systemd) told so.
 *
 * Stop: listeners end first, then workers get SIGTERM, finish their command and say BYE; the
 * auth process stays for logins under way, and goes last. After shutdown_grace comes SIGKILL.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/daemon.h"
#include "proc/master.h"
#include "proc/notify.h"
#include "proc/pidfile.h"
#include "proc/worker.h"

#define START_WAIT_MS 20000
#define TICK_MS       1000
#define START_POLL_MS 50
#define MAX_WAIT_MS   60000
#define AUTH_GRACE_MS 1000
#define REPORT_BATCH  512

static void
log_started(const struct master *m)
{
    struct buf where = BUF_INIT(4096);

    for (size_t i = 0; i < m->setup->bound_count; i++) {
        const struct bound *b = &m->setup->bound[i];
        static const char *const names[] = {"imap", "imaps", "pop3", "pop3s"};

        buf_addf(&where, "%s%s %s", i > 0 ? ", " : "", names[b->kind], b->listener.address);
    }
    log_info("mansiod " PACKAGE_VERSION " started: %s", buf_str(&where));
    buf_free(&where);
}

static void
look_whether_ready(struct master *m)
{
    if (m->ready || m->stopping)
        return;
    if (services_ready(m)) {
        m->ready = true;
        log_started(m);
        notify_ready();
        daemon_started(&m->start_fd, 0);
    } else if (sys_monotonic_ms() - m->started_ms >= START_WAIT_MS) {
        master_stop(m, EXIT_RESOURCES, "not every service worked in time");
    }
}

void
master_stop(struct master *m, int exit_status, const char *why)
{
    if (m->stopping)
        return;
    log_info("stopping: %s", why);
    notify_stopping();
    m->stopping = true;
    m->exit_status = exit_status;
    m->stop_ms = sys_monotonic_ms() + (int64_t)m->setup->conf->shutdown_grace * 1000 + 500;
    for (size_t i = 0; i < m->setup->bound_count; i++) {
        /* in all processes that have it: nobody connects to what nobody will accept from */
        shutdown(m->setup->bound[i].listener.fd, SHUT_RDWR);
        listener_close(&m->setup->bound[i].listener, 1);
    }
    m->setup->bound_count = 0;
    children_signal(m, CHILD_IMAP, SIGTERM);
    children_signal(m, CHILD_POP3, SIGTERM);
}

/* False when all children are gone. */
static bool
go_on_stopping(struct master *m)
{
    size_t workers = children_count(m, CHILD_IMAP) + children_count(m, CHILD_POP3);

    if (workers == 0) {
        if (children_count(m, CHILD_AUTH) == 0)
            return false;
        if (!m->auth_told) {
            children_signal(m, CHILD_AUTH, SIGTERM);
            m->auth_told = true;
            m->stop_ms = sys_monotonic_ms() + AUTH_GRACE_MS;
        }
    }
    if (sys_monotonic_ms() >= m->stop_ms) {
        if (!m->killed && workers > 0)
            log_warn("%zu sessions haven't ended in %u s: killed", workers,
                     m->setup->conf->shutdown_grace);
        m->killed = true;
        for (enum child_kind k = CHILD_IMAP; k < CHILD_KINDS; k++)
            if (k != CHILD_AUTH || workers == 0)
                children_signal(m, k, SIGKILL);
    }
    return true;
}

void
master_reopen_log(struct master *m)
{
    if (log_reopen() != 0)
        log_error("log %s: can't open it again: %s; the old file stays in use",
                  m->setup->conf->log, strerror(errno));
    master_own_log(m);
    for (enum child_kind k = CHILD_IMAP; k < CHILD_KINDS; k++)
        children_signal(m, k, SIGUSR1);
    log_info("log file opened again");
}

static void
on_signal(struct master *m, unsigned sig)
{
    switch (sig) {
    case SIGCHLD:
        children_reap(m);
        break;
    case SIGTERM:
    case SIGINT:
        if (m->stopping)
            m->stop_ms = sys_monotonic_ms(); /* the second one means it */
        else
            master_stop(m, 0, sig == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
    case SIGHUP:
        if (!m->stopping)
            master_reload(m, NULL);
        break;
    case SIGUSR1:
        master_reopen_log(m);
        break;
    default:
        break;
    }
}

static void
read_signals(struct master *m)
{
    struct signalfd_siginfo info;

    while (read(m->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        on_signal(m, info.ssi_signo);
}

static void
read_reports(struct master *m)
{
    struct worker_report reports[REPORT_BATCH];
    ssize_t n = read(m->report_fd[0], reports, sizeof reports);

    for (ssize_t i = 0; i < n / (ssize_t)sizeof reports[0]; i++)
        service_report(m, reports[i].pid, reports[i].generation, reports[i].state);
}

/* SIGKILL for those whose time is up. Returns when to look again. The table, megabytes with
   50,000 workers, is looked through only when somebody's time is near. */
static int64_t
kill_late(struct master *m, int64_t now)
{
    int64_t next = INT64_MAX;

    if (m->kill_ms == 0)
        return INT64_MAX;
    if (now < m->kill_ms)
        return m->kill_ms;
    for (size_t i = 0; i < m->slots_used; i++) {
        struct child *c = &m->children[i];

        if (c->pid == 0 || c->kill_ms == 0)
            continue;
        if (now >= c->kill_ms) {
            log_warn("process %ld hasn't ended its session in time: killed", (long)c->pid);
            kill(c->pid, SIGKILL);
            c->kill_ms = now + TICK_MS;
        }
        if (c->kill_ms < next)
            next = c->kill_ms;
    }
    m->kill_ms = next == INT64_MAX ? 0 : next;
    return next;
}

/* Milliseconds until something is to be done without an event; -1 = nothing. */
static int
wait_ms(const struct master *m, int64_t wake_ms)
{
    int64_t now = sys_monotonic_ms();
    int64_t wait = wake_ms == INT64_MAX ? INT64_MAX : wake_ms - now;
    int64_t own = INT64_MAX;

    if (m->stopping || !m->ready)
        own = START_POLL_MS;
    else if (!services_settled(m))
        own = m->next_tick_ms - now;
    if (own < wait)
        wait = own;
    if (wait == INT64_MAX)
        return -1;
    return wait < 0 ? 0 : (int)(wait < MAX_WAIT_MS ? wait : MAX_WAIT_MS);
}

static void
loop(struct master *m)
{
    struct pollfd pfd[2 + CONTROL_POLL_MAX];
    int64_t now, wake, wake_control;
    size_t n;
    bool tick;

    do {
        now = sys_monotonic_ms();
        wake = kill_late(m, now);
        pfd[0] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
        pfd[1] = (struct pollfd){.fd = m->report_fd[0], .events = POLLIN};
        n = control_poll(m, pfd + 2, &wake_control);
        if (wake_control < wake)
            wake = wake_control;
        if (poll(pfd, 2 + n, wait_ms(m, wake)) < 0 && errno != EINTR)
            log_panic("poll: %s", strerror(errno));
        if (pfd[1].revents != 0)
            read_reports(m);
        if (pfd[0].revents != 0)
            read_signals(m);
        control_serve(m, pfd + 2, n);
        look_whether_ready(m);
        now = sys_monotonic_ms();
        tick = now >= m->next_tick_ms;
        if (tick)
            m->next_tick_ms = now + TICK_MS;
        services_maintain(m, tick);
    } while (!m->stopping || go_on_stopping(m));
}

static void
clean_up(struct master *m)
{
    control_close(m);
    if (m->auth_fd >= 0)
        master_unlink(m, "auth");
    pidfile_close(&m->pidfile);
}

int
master_run(struct master *m)
{
    int status;

    m->signal_fd = m->auth_fd = m->start_fd = -1;
    m->report_fd[0] = m->report_fd[1] = m->life_fd[0] = m->life_fd[1] = -1;
    daemon_clean();
    status = master_prepare(m);
    if (status == 0) {
        m->generation = 1;
        m->started = sys_now();
        m->started_ms = sys_monotonic_ms();
        m->next_tick_ms = m->started_ms + TICK_MS;
        children_init(m);
        services_init(m);
        services_configure(m);
        heap_pack();
        services_start(m);
        loop(m);
        status = m->exit_status;
        log_info("stopped");
    }
    if (m->setup != NULL)
        clean_up(m);
    if (m->start_fd >= 0 && log_fd() >= 0)
        dprintf(STDERR_FILENO, "mansiod: not started, the log says why\n");
    daemon_started(&m->start_fd, status == 0 ? EXIT_RESOURCES : status);
    return status;
}
