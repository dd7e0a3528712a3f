/*
 * The control socket run_dir/control: one text line a connection, answered by lines that begin
 * with "* " and a last one that begins with OK, NO (it was understood, but couldn't be done) or
 * BAD (it wasn't understood). Only root and the master's own user get an answer (SO_PEERCRED;
 * the socket is 0600 too).
 *
 * The master never waits here: descriptors are non-blocking, a connection has a few seconds
 * from its start to its last octet, there are eight at a time, and answers are bounded. The
 * connection of `stop` stays open until the master has gone: its end tells mansioctl so.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/master.h"

#define CONNECTIONS (CONTROL_POLL_MAX - 1)
#define LINE_SIZE   600 /* a command and a user name */
#define ANSWER_SIZE ((size_t)32 * 1024 * 1024)
#define DEADLINE_MS 5000

struct connection {
    int fd; /* -1 = free */
    char line[LINE_SIZE];
    size_t got;
    struct buf answer;
    size_t sent;
    bool answered, last; /* last: of `stop`, kept open */
    int64_t deadline_ms;
};

struct control {
    int listen_fd;
    struct connection c[CONNECTIONS];
};

static bool
somebody_answers(const struct master *m)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd, n = snprintf(addr.sun_path, sizeof addr.sun_path, "%s/control",
                         m->setup->conf->run_dir);
    bool answers;

    if (n < 0 || (size_t)n >= sizeof addr.sun_path)
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    answers = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 || errno == EAGAIN;
    close(fd);
    return answers;
}

int
control_open(struct master *m)
{
    const char *run_dir = m->setup->conf->run_dir;
    int fd, err;

    if (somebody_answers(m)) {
        log_error("mansiod runs already: it answers at %s/control; \"mansioctl stop\" stops it",
                  run_dir);
        return ERR_INUSE;
    }
    err = master_socket(m, "control", CONNECTIONS, &fd);
    if (err != 0) {
        log_error("%s/control: %s", run_dir, strerror(errno));
        return err;
    }
    m->control = mem_calloc(1, sizeof *m->control);
    m->control->listen_fd = fd;
    for (size_t i = 0; i < CONNECTIONS; i++)
        m->control->c[i].fd = -1;
    return 0;
}

static void
hang_up(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    buf_free(&c->answer);
}

void
control_close(struct master *m)
{
    if (m->control == NULL)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (m->control->c[i].fd >= 0)
            hang_up(&m->control->c[i]);
    close(m->control->listen_fd);
    master_unlink(m, "control");
    free(m->control);
    m->control = NULL;
}

void
control_forget(struct master *m)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (m->control->c[i].fd >= 0)
            close(m->control->c[i].fd);
    close(m->control->listen_fd);
}

size_t
control_poll(struct master *m, struct pollfd *pfd, int64_t *wake_ms)
{
    struct control *control = m->control;
    bool room = false;
    size_t n = 1;

    *wake_ms = INT64_MAX;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &control->c[i];

        pfd[n++] = (struct pollfd){.fd = c->fd, .events = c->answered ? POLLOUT : POLLIN};
        room = room || c->fd < 0;
        if (c->fd < 0 || c->last)
            continue;
        if (c->deadline_ms < *wake_ms)
            *wake_ms = c->deadline_ms;
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (control->c[i].fd >= 0 && control->c[i].last &&
            control->c[i].sent == control->c[i].answer.len)
            pfd[1 + i].fd = -1; /* all said; it waits for our end */
    pfd[0] = (struct pollfd){.fd = room ? control->listen_fd : -1, .events = POLLIN};
    return n;
}

static bool
allowed(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == 0 || cred.uid == geteuid());
}

static void
accept_one(struct control *control)
{
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    for (size_t i = 0; i < CONNECTIONS && allowed(fd); i++) {
        struct connection *c = &control->c[i];

        if (c->fd >= 0)
            continue;
        *c = (struct connection){.fd = fd, .deadline_ms = sys_monotonic_ms() + DEADLINE_MS};
        buf_init(&c->answer, ANSWER_SIZE);
        return;
    }
    close(fd);
}

static void
command_kick(struct master *m, const char *what, struct buf *out)
{
    unsigned n = answer_kick(m, what);

    if (n == 0)
        buf_addf(out, "NO no session of %s\n", what);
    else
        buf_addf(out, "OK %u %s ended\n", n,
                 n == 1 ? "session is being" : "sessions are being");
}

static void
answer(struct master *m, struct connection *c)
{
    struct buf *out = &c->answer;
    const char *line = c->line;

    if (strcmp(line, "ping") == 0) {
        buf_adds(out, "OK mansiod " PACKAGE_VERSION "\n");
    } else if (strcmp(line, "status") == 0) {
        answer_status(m, out);
        buf_adds(out, m->stopping ? "OK stopping\n" : "OK running\n");
    } else if (strcmp(line, "who") == 0) {
        answer_who(m, out);
        buf_adds(out, "OK\n");
    } else if (strncmp(line, "kick ", 5) == 0 && line[5] != '\0') {
        command_kick(m, line + 5, out);
    } else if (strcmp(line, "reopen") == 0) {
        master_reopen_log(m);
        buf_adds(out, "OK log opened again\n");
    } else if (strcmp(line, "reload") == 0) {
        if (m->stopping)
            buf_adds(out, "NO stopping\n");
        else if (master_reload(m, out) == 0)
            buf_adds(out, "OK loaded\n");
        else
            buf_adds(out, "NO the configuration from before stays\n");
    } else if (strcmp(line, "stop") == 0) {
        c->last = true;
        master_stop(m, 0, "mansioctl stop");
        buf_adds(out, "OK stopping\n");
    } else {
        buf_adds(out, "BAD unknown command\n");
    }
    if (!buf_ok(out)) {
        buf_reset(out);
        buf_adds(out, "NO the answer is too long\n");
    }
    c->answered = true;
}

/* False when the connection is over. */
static bool
receive(struct master *m, struct connection *c)
{
    ssize_t n = recv(c->fd, c->line + c->got, sizeof c->line - c->got, 0);
    char *end;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    c->got += (size_t)n;
    end = memchr(c->line, '\n', c->got);
    if (end == NULL)
        return c->got < sizeof c->line;
    *end = '\0';
    if (end > c->line && end[-1] == '\r')
        end[-1] = '\0';
    answer(m, c);
    return true;
}

static bool
transmit(struct connection *c)
{
    ssize_t n = send(c->fd, c->answer.data + c->sent, c->answer.len - c->sent, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->sent += (size_t)n;
    return c->sent < c->answer.len || c->last;
}

void
control_serve(struct master *m, const struct pollfd *pfd, size_t n)
{
    int64_t now = sys_monotonic_ms();

    for (size_t i = 1; i < n; i++) {
        struct connection *c = &m->control->c[i - 1];
        bool alive = true;

        if (c->fd < 0)
            continue;
        if (pfd[i].fd == c->fd && pfd[i].revents != 0)
            alive = c->answered ? transmit(c) : receive(m, c);
        if (alive && c->answered && c->sent == 0)
            alive = transmit(c);
        if (!alive || (now >= c->deadline_ms && !c->last))
            hang_up(c);
    }
    if (pfd[0].revents != 0)
        accept_one(m->control);
}
