/*
 * Everybody connects at one instant: as many TCP connections as asked for are begun before the
 * first answer is read, each goes through TLS, LOGIN, SELECT and IDLE as the server lets it,
 * and the time until the last one is served is taken. One thread with epoll, no connection
 * waits for another one. Then they are held, and idle_work.c's commands work on them.
 *
 * Before "ready COUNT" it says on the standard output
 *
 *     rush SERVED REFUSED LOST RESENT MEDIAN MAX
 *
 * REFUSED: no TCP connection; LOST: closed, reset, answered with NO, or not served in time;
 * RESENT: the kernel had to send something again, mostly the SYN that met a full listen queue
 * (it costs the client a second, three, seven ...). Seconds from the start until IDLE began.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "idle.h"

#define PATIENCE  180 /* seconds for all */
#define EVENTS    256
#define LINE_SIZE 2048

enum step { CONNECTING, SHAKING, GREETING, LOGIN, SELECT, IDLE, SERVED, REFUSED, LOST };

struct caller {
    enum step step;
    char line[LINE_SIZE]; /* what of a line has come */
    size_t len;
    double served;
};

struct rush {
    const struct target *t;
    struct result *r;
    struct idler *idlers;
    struct caller *callers;
    bool tls;
    int epoll;
    unsigned open; /* not yet served or given up */
    double started;
};

static void
give_up(struct rush *u, unsigned n, enum step how, const char *why)
{
    struct caller *k = &u->callers[n];

    fault(u->r, "connection %u: %.80s at step %d", n, why, k->step);
    epoll_ctl(u->epoll, EPOLL_CTL_DEL, u->idlers[n].c.fd, NULL);
    client_close(&u->idlers[n].c);
    k->step = how;
    u->open--;
}

static bool
watch(struct rush *u, unsigned n, int operation, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = n};

    return epoll_ctl(u->epoll, operation, u->idlers[n].c.fd, &e) == 0;
}

/* A command fits into an empty socket buffer, so this never waits. */
static void
say(struct rush *u, unsigned n, const char *command)
{
    struct idler *i = &u->idlers[n];
    char text[256];
    ssize_t len, sent;

    i->tag = ++i->c.tag;
    len = snprintf(text, sizeof text, "t%u %s\r\n", i->tag, command);
    sent = i->c.tls != NULL ? gnutls_record_send(i->c.tls, text, (size_t)len)
                            : send(i->c.fd, text, (size_t)len, MSG_NOSIGNAL);
    if (sent == len)
        u->callers[n].step++;
    else
        give_up(u, n, LOST, "can't send");
}

static void
served(struct rush *u, unsigned n)
{
    struct idler *i = &u->idlers[n];
    int flags = fcntl(i->c.fd, F_GETFL);

    epoll_ctl(u->epoll, EPOLL_CTL_DEL, i->c.fd, NULL);
    fcntl(i->c.fd, F_SETFL, flags & ~O_NONBLOCK); /* as idle_work.c uses it */
    i->ok = true;
    u->callers[n].step = SERVED;
    u->callers[n].served = now() - u->started;
    u->open--;
}

static void
take_line(struct rush *u, unsigned n, const char *line)
{
    struct idler *i = &u->idlers[n];
    char user[64], command[200], tag[16];
    int tag_len = snprintf(tag, sizeof tag, "t%u ", i->tag);
    unsigned count;
    bool tagged = strncmp(line, tag, (size_t)tag_len) == 0;

    if (strncmp(line, "* BYE", 5) == 0 || (tagged && strncmp(line + tag_len, "OK", 2) != 0)) {
        give_up(u, n, LOST, line);
        return;
    }
    switch (u->callers[n].step) {
    case GREETING:
        idle_user(u->t, n, user, sizeof user);
        snprintf(command, sizeof command, "LOGIN %s %s", user, u->t->password);
        say(u, n, command);
        break;
    case LOGIN:
        if (tagged)
            say(u, n, "SELECT INBOX");
        break;
    case SELECT:
        if (sscanf(line, "* %u EXIST", &count) == 1 && strstr(line, "EXISTS") != NULL)
            i->exists = count;
        if (tagged && i->exists < u->t->messages)
            give_up(u, n, LOST, "messages are missing");
        else if (tagged)
            say(u, n, "IDLE");
        break;
    case IDLE:
        if (line[0] == '+')
            served(u, n);
        break;
    default:
        break;
    }
}

static void
take_input(struct rush *u, unsigned n)
{
    struct caller *k = &u->callers[n];
    struct client *c = &u->idlers[n].c;
    char data[4096];
    ssize_t got, at;

    while (k->step < SERVED) {
        got = c->tls != NULL ? gnutls_record_recv(c->tls, data, sizeof data)
                             : recv(c->fd, data, sizeof data, 0);
        if (c->tls != NULL ? got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED
                           : got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            give_up(u, n, LOST, got == 0 ? "closed" : "broken");
            return;
        }
        for (at = 0; at < got && k->step < SERVED; at++) {
            if (data[at] != '\n') {
                if (k->len < sizeof k->line - 1)
                    k->line[k->len++] = data[at];
                continue;
            }
            k->line[k->len] = '\0';
            k->len = 0;
            take_line(u, n, k->line);
        }
    }
}

static void
shake(struct rush *u, unsigned n)
{
    struct client *c = &u->idlers[n].c;
    int err = gnutls_handshake(c->tls);

    if (err == 0) {
        u->callers[n].step = GREETING;
        watch(u, n, EPOLL_CTL_MOD, EPOLLIN);
        take_input(u, n); /* may have come with the end of the handshake */
    } else if (err == GNUTLS_E_AGAIN || err == GNUTLS_E_INTERRUPTED) {
        watch(u, n, EPOLL_CTL_MOD, gnutls_record_get_direction(c->tls) ? EPOLLOUT : EPOLLIN);
    } else if (gnutls_error_is_fatal(err)) {
        give_up(u, n, LOST, gnutls_strerror(err));
    }
}

static void
connected(struct rush *u, unsigned n)
{
    struct client *c = &u->idlers[n].c;
    int error = 0, on = 1;
    socklen_t len = sizeof error;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        give_up(u, n, REFUSED, strerror(error));
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (u->tls) {
        u->callers[n].step = SHAKING;
        client_prepare_tls(c);
        shake(u, n);
    } else {
        u->callers[n].step = GREETING;
        watch(u, n, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* Begins all connections. */
static void
begin(struct rush *u)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    unsigned n;

    addr.sin_port = htons((uint16_t)(u->tls ? u->t->imaps_port : u->t->imap_port));
    inet_pton(AF_INET, u->t->host, &addr.sin_addr);
    for (n = 0; n < u->t->connections; n++) {
        u->idlers[n].c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (u->idlers[n].c.fd < 0 || !watch(u, n, EPOLL_CTL_ADD, EPOLLOUT))
            abort(); /* the limit of open files: ours, not the server's fault */
    }
    u->started = now();
    for (n = 0; n < u->t->connections; n++)
        if (connect(u->idlers[n].c.fd, (struct sockaddr *)&addr, sizeof addr) < 0 &&
            errno != EINPROGRESS)
            give_up(u, n, REFUSED, strerror(errno));
}

static void
serve(struct rush *u)
{
    struct epoll_event events[EVENTS];
    unsigned n;
    int got, i;

    while (u->open > 0 && now() - u->started < PATIENCE) {
        got = epoll_wait(u->epoll, events, EVENTS, 1000);
        for (i = 0; i < got; i++) {
            n = events[i].data.u32;
            switch (u->callers[n].step) {
            case CONNECTING:
                connected(u, n);
                break;
            case SHAKING:
                shake(u, n);
                break;
            default:
                take_input(u, n);
                break;
            }
        }
    }
    for (n = 0; n < u->t->connections; n++)
        if (u->callers[n].step < SERVED)
            give_up(u, n, LOST, "not served in time");
}

/* Did the kernel send anything of this connection again? */
static bool
resent(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_total_retrans > 0;
}

static void
tell(struct rush *u)
{
    unsigned n, refused = 0, lost = 0, again = 0, done = 0;
    double middle, *seconds = calloc(u->t->connections + 1, sizeof *seconds);

    if (seconds == NULL)
        abort();
    for (n = 0; n < u->t->connections; n++) {
        refused += u->callers[n].step == REFUSED;
        lost += u->callers[n].step == LOST;
        if (u->callers[n].step == SERVED) {
            again += resent(u->idlers[n].c.fd);
            seconds[done++] = u->callers[n].served;
        }
    }
    middle = median(seconds, done);
    printf("rush %u %u %u %u %.3f %.3f\n", done, refused, lost, again, middle,
           done > 0 ? seconds[done - 1] : 0);
    free(seconds);
}

void
rush_idle(const struct target *t, struct result *r, bool tls, struct idler *idlers)
{
    struct rush u = {.t = t, .r = r, .idlers = idlers, .tls = tls, .open = t->connections};

    u.epoll = epoll_create1(EPOLL_CLOEXEC);
    u.callers = calloc(t->connections, sizeof *u.callers);
    if (u.callers == NULL || u.epoll < 0)
        abort();
    begin(&u);
    serve(&u);
    close(u.epoll);
    tell(&u);
    free(u.callers);
}
