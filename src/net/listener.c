/*
 * Listening sockets and accepted connections; see listener.h. Doesn't know what is spoken on
 * them, and doesn't wait: who polls the sockets is the worker.
 *
 * "*" means one IPv6 socket that takes IPv4 too (RFC 3493 5.3), or, on a host without IPv6, an
 * IPv4 socket. Any other address gets a socket of its own family only.
 *
 * Linux hands TCP_NODELAY and the keepalive settings of a listening socket on to the sockets
 * accepted from it, so they are set once here and cost nothing per connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/listener.h"

#define KEEPALIVE_IDLE_S  900 /* well below the idle timeouts: a vanished peer is noticed */
#define KEEPALIVE_EVERY_S 75

/* One item of a list, taken apart. */
struct item {
    bool is_unix;
    bool any; /* "*" */
    char host[256];
    char port[8];
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

static int __attribute__((format(printf, 4, 5)))
complain(int err, char *text, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, size, fmt, ap);
    va_end(ap);
    return err;
}

/* Next item without the blanks around it; empty items give length 0. NULL at the end. */
static const char *
next_item(const char **pos, size_t *len)
{
    const char *start = *pos, *end;

    if (start == NULL)
        return NULL;
    start += strspn(start, " \t");
    end = start + strcspn(start, ",");
    *pos = *end == ',' ? end + 1 : NULL;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *len = (size_t)(end - start);
    return start;
}

static bool
port_ok(const char *p, size_t n)
{
    unsigned value = 0;
    size_t i;

    if (n == 0 || n > 5)
        return false;
    for (i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(p[i] - '0');
    }
    return value <= 65535;
}

static int
parse_unix(const char *p, size_t n, struct item *it, char *text, size_t size)
{
    if (n == 0 || p[0] != '/')
        return complain(ERR_CONFIG, text, size,
                        "'unix:%.*s': write an absolute path, as in unix:/run/mansio/imap",
                        (int)n, p);
    if (n >= sizeof it->path)
        return complain(ERR_CONFIG, text, size,
                        "'unix:%.*s': the path of a socket has at most %zu octets; use a "
                        "shorter one",
                        (int)n, p, sizeof it->path - 1);
    it->is_unix = true;
    memcpy(it->path, p, n);
    it->path[n] = '\0';
    return 0;
}

static int
parse_item(const char *p, size_t n, struct item *it, char *text, size_t size)
{
    const char *colon, *host = p;
    size_t host_len, port_len;
    struct in6_addr v6;

    memset(it, 0, sizeof *it);
    if (n > 5 && strncmp(p, "unix:", 5) == 0)
        return parse_unix(p + 5, n - 5, it, text, size);
    colon = memrchr(p, ':', n);
    if (colon == NULL)
        return complain(ERR_CONFIG, text, size,
                        "'%.*s': the port is missing; write ADDRESS:PORT, as in *:143", (int)n,
                        p);
    host_len = (size_t)(colon - p);
    port_len = n - host_len - 1;
    if (!port_ok(colon + 1, port_len))
        return complain(ERR_CONFIG, text, size,
                        "'%.*s': '%.*s' isn't a port; write a number from 0 to 65535", (int)n,
                        p, (int)port_len, colon + 1);
    memcpy(it->port, colon + 1, port_len);
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
        if (host_len < sizeof it->host)
            memcpy(it->host, host, host_len);
        if (inet_pton(AF_INET6, it->host, &v6) != 1 && memchr(host, '%', host_len) == NULL)
            return complain(ERR_CONFIG, text, size, "'%.*s': '%.*s' isn't an IPv6 address",
                            (int)n, p, (int)host_len, host);
    } else if (memchr(host, ':', host_len) != NULL) {
        return complain(ERR_CONFIG, text, size,
                        "'%.*s': an IPv6 address goes in brackets, as in [::1]:143", (int)n, p);
    }
    if (host_len == 0 || host_len >= sizeof it->host || memchr(host, ' ', host_len) != NULL ||
        memchr(host, '/', host_len) != NULL)
        return complain(ERR_CONFIG, text, size,
                        "'%.*s': the address is missing or isn't one; write * for all, a host "
                        "name, 127.0.0.1:143 or [::1]:143",
                        (int)n, p);
    memcpy(it->host, host, host_len);
    it->host[host_len] = '\0';
    it->any = strcmp(it->host, "*") == 0;
    return 0;
}

int
listener_check(const char *list, char *text, size_t text_size)
{
    struct item it;
    const char *p;
    size_t n, count = 0;
    int err;

    if (list[strspn(list, " \t")] == '\0')
        return 0;
    while ((p = next_item(&list, &n)) != NULL) {
        if (++count > LISTENER_MAX)
            return complain(ERR_CONFIG, text, text_size,
                            "more than %d addresses in one list; use *:PORT", LISTENER_MAX);
        err = parse_item(p, n, &it, text, text_size);
        if (err != 0)
            return err;
    }
    return 0;
}

/* The address in words, for the log and for messages. */
static void
describe(const struct sockaddr *sa, char *out, size_t size)
{
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;
    char host[INET6_ADDRSTRLEN] = "?";

    if (sa->sa_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, size, "unix:%s",
                 ((const struct sockaddr_un *)(const void *)sa)->sun_path);
    }
}

static int
bind_failed(int errnum, const char *address, char *text, size_t size)
{
    switch (errnum) {
    case EADDRINUSE:
        return complain(
            ERR_INUSE, text, size,
            "%s is in use by another program: stop that one (ss -ltnp shows it), or "
            "choose another address",
            address);
    case EACCES:
    case EPERM:
        return complain(ERR_PERM, text, size,
                        "%s: not permitted; start as root, or use a port from 1024 on and a "
                        "directory that may be written",
                        address);
    case EADDRNOTAVAIL:
        return complain(ERR_CONFIG, text, size,
                        "%s: this machine has no such address (ip addr shows those it has)",
                        address);
    default:
        return complain(ERR_IO, text, size, "%s: %s", address, strerror(errnum));
    }
}

static void
set_int(int fd, int level, int name, int value)
{
    /* each is an improvement, none a condition */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* A bound and listening socket, or -1 with errno. v6_only: 1, 0, or -1 for not IPv6. */
static int
bind_socket(const struct sockaddr *sa, socklen_t len, int v6_only)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0)
        return -1;
    if (sa->sa_family != AF_UNIX) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
        set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    }
    if ((v6_only >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only)) ||
        bind(fd, sa, len) != 0 || listen(fd, SOMAXCONN) != 0) {
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Keeps fd as the next listener, with the address it really has (port 0 in tests). */
static int
keep(struct listener *out, size_t *n, int fd, char *text, size_t size)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    if (*n == LISTENER_MAX) {
        close(fd);
        return complain(ERR_CONFIG, text, size,
                        "more than %d addresses in one list; use *:PORT", LISTENER_MAX);
    }
    memset(&ss, 0, sizeof ss);
    getsockname(fd, (struct sockaddr *)&ss, &len);
    out[*n].fd = fd;
    describe((struct sockaddr *)&ss, out[*n].address, sizeof out[*n].address);
    ++*n;
    return 0;
}

static int
open_any(const struct item *it, struct listener *out, size_t *n, char *text, size_t size)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    char address[300];
    int fd;

    v6.sin6_port = htons((uint16_t)strtoul(it->port, NULL, 10));
    v4.sin_port = v6.sin6_port;
    fd = bind_socket((struct sockaddr *)&v6, sizeof v6, 0);
    /* IPv6 not in the kernel, or switched off on all interfaces */
    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = bind_socket((struct sockaddr *)&v4, sizeof v4, -1);
    if (fd < 0) {
        snprintf(address, sizeof address, "*:%s", it->port);
        return bind_failed(errno, address, text, size);
    }
    return keep(out, n, fd, text, size);
}

static int
open_host(const struct item *it, struct listener *out, size_t *n, char *text, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list, *ai;
    char address[160];
    int fd, err;

    err = getaddrinfo(it->host, it->port, &hints, &list);
    if (err != 0)
        return complain(ERR_CONFIG, text, size,
                        "%s:%s: the host isn't known (%s); write its address, or * for all",
                        it->host, it->port, gai_strerror(err));
    err = 0;
    for (ai = list; ai != NULL && err == 0; ai = ai->ai_next) {
        fd = bind_socket(ai->ai_addr, ai->ai_addrlen, ai->ai_family == AF_INET6 ? 1 : -1);
        if (fd < 0) {
            int saved = errno;

            describe(ai->ai_addr, address, sizeof address);
            err = bind_failed(saved, address, text, size);
        } else {
            err = keep(out, n, fd, text, size);
        }
    }
    freeaddrinfo(list);
    return err;
}

/* A socket file nobody answers on is left over from a run that was killed. */
static bool
unix_is_stale(const struct sockaddr_un *sun)
{
    struct stat st;
    bool refused;
    int fd;

    if (lstat(sun->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    refused =
        connect(fd, (const struct sockaddr *)sun, sizeof *sun) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int
open_unix(const struct item *it, struct listener *out, size_t *n, char *text, size_t size)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    char address[sizeof sun.sun_path + 8];
    int fd;

    memcpy(sun.sun_path, it->path, sizeof sun.sun_path);
    fd = bind_socket((struct sockaddr *)&sun, sizeof sun, -1);
    if (fd < 0 && errno == EADDRINUSE && unix_is_stale(&sun)) {
        unlink(it->path);
        fd = bind_socket((struct sockaddr *)&sun, sizeof sun, -1);
    }
    if (fd < 0) {
        int saved = errno;

        snprintf(address, sizeof address, "unix:%s", it->path);
        return bind_failed(saved, address, text, size);
    }
    /* as open as a TCP port: who may come in is decided by the login */
    if (chmod(it->path, 0666) != 0)
        log_warn("unix:%s: can't set its mode to 0666: %s", it->path, strerror(errno));
    return keep(out, n, fd, text, size);
}

int
listener_open(const char *list, struct listener *out, char *text, size_t text_size)
{
    struct item it;
    const char *p;
    size_t len, n = 0;
    int err = listener_check(list, text, text_size);

    if (err != 0)
        return err;
    if (list[strspn(list, " \t")] == '\0')
        return 0;
    while (err == 0 && (p = next_item(&list, &len)) != NULL) {
        err = parse_item(p, len, &it, text, text_size);
        if (err != 0)
            break;
        if (it.is_unix)
            err = open_unix(&it, out, &n, text, text_size);
        else if (it.any)
            err = open_any(&it, out, &n, text, text_size);
        else
            err = open_host(&it, out, &n, text, text_size);
    }
    if (err != 0) {
        listener_close(out, n);
        return err;
    }
    return (int)n;
}

void
listener_close(struct listener *l, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (l[i].fd >= 0)
            close(l[i].fd);
        l[i].fd = -1;
    }
}

static void
fill_peer(struct peer *peer)
{
    const struct sockaddr_in *v4 = (const void *)&peer->addr;
    const struct sockaddr_in6 *v6 = (const void *)&peer->addr;
    size_t len;

    peer->port = 0;
    switch (peer->addr.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &v4->sin_addr, peer->address, sizeof peer->address);
        peer->port = ntohs(v4->sin_port);
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], peer->address, sizeof peer->address);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, peer->address, sizeof peer->address);
        if (v6->sin6_scope_id != 0) {
            len = strlen(peer->address);
            snprintf(peer->address + len, sizeof peer->address - len, "%%%u",
                     (unsigned)v6->sin6_scope_id);
        }
        peer->port = ntohs(v6->sin6_port);
        break;
    default:
        snprintf(peer->address, sizeof peer->address, "local");
        break;
    }
}

int
listener_accept(const struct listener *l, struct peer *peer)
{
    int fd;

    memset(peer, 0, sizeof *peer);
    peer->addr_len = sizeof peer->addr;
    fd = accept4(l->fd, (struct sockaddr *)&peer->addr, &peer->addr_len, SOCK_CLOEXEC);
    if (fd >= 0) {
        fill_peer(peer);
        return fd;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        log_error("%s: accept: %s", l->address, strerror(errno));
        return ERR_SHORT;
    case EINVAL: /* it listens no more: the server stops, or a reload has closed it */
        return ERR_EOF;
    case EBADF:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
        log_error("%s: accept: %s", l->address, strerror(errno));
        return ERR_IO;
    default:
        /* EAGAIN, EINTR, ECONNABORTED, and on Linux any error that waits on the new socket
           (accept(2)): that connection is lost, the listener isn't */
        return ERR_TEMP;
    }
}
