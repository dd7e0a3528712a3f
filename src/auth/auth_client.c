/*
 * The side of a worker or a delivery of the auth socket; see auth_client.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"

/* Waits for the event. 0 or ERR_TEMP. */
static int
wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left;
    int n;

    for (;;) {
        left = until_ms - sys_monotonic_ms();
        if (left <= 0)
            break;
        n = poll(&p, 1, left < 1000000 ? (int)left : 1000000);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            break;
    }
    log_error("the auth process doesn't answer");
    return ERR_TEMP;
}

static int
send_request(int fd, const struct auth_request *rq, int64_t until_ms)
{
    const char *p = (const char *)rq;
    size_t done = 0;
    ssize_t n;

    while (done < sizeof *rq) {
        n = send(fd, p + done, sizeof *rq - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, until_ms) != 0)
                return ERR_TEMP;
        } else if (n < 0 && errno != EINTR) {
            log_error("can't ask the auth process: %s", strerror(errno));
            return ERR_TEMP;
        }
    }
    return 0;
}

static int
receive_answer(int fd, struct auth_answer *an, int64_t until_ms)
{
    char *p = (char *)an;
    size_t done = 0;
    ssize_t n;

    while (done < sizeof *an) {
        n = recv(fd, p + done, sizeof *an - done, MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (wait_for(fd, POLLIN, until_ms) != 0)
                return ERR_TEMP;
        } else if (n == 0 || errno != EINTR) {
            log_error("the auth process closed the connection%s%s", n < 0 ? ": " : "",
                      n < 0 ? strerror(errno) : "");
            return ERR_TEMP;
        }
    }
    if (an->magic != AUTH_MAGIC) {
        log_error("the auth process gave an answer of another version: restart mansiod");
        return ERR_TEMP;
    }
    an->user[sizeof an->user - 1] = an->home[sizeof an->home - 1] = '\0';
    an->mail[sizeof an->mail - 1] = an->quota[sizeof an->quota - 1] = '\0';
    an->reason[sizeof an->reason - 1] = '\0';
    return 0;
}

/* The descriptor, or -1. `quiet`: that nobody listens there, or not for us, isn't logged. */
static int
connect_to(const char *socket_path, unsigned timeout_s, bool quiet)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = (time_t)timeout_s}; /* while the backlog is full */
    int fd;

    if (strlen(socket_path) >= sizeof addr.sun_path) {
        log_error("%s is too long for a socket's path: shorten run_dir", socket_path);
        return -1;
    }
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        log_error("no socket for the auth process: %s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    while (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        if (errno == EINTR)
            continue;
        if (!quiet || (errno != ENOENT && errno != ECONNREFUSED && errno != EACCES))
            log_error("the auth process can't be reached at %s: %s", socket_path,
                      strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int
connect_and_send(const char *socket_path, const struct auth_request *rq, unsigned timeout_s,
                 bool quiet, int *fd)
{
    int64_t until_ms = sys_monotonic_ms() + (int64_t)timeout_s * 1000;

    *fd = connect_to(socket_path, timeout_s, quiet);
    if (*fd < 0)
        return ERR_TEMP;
    if (send_request(*fd, rq, until_ms) == 0)
        return 0;
    close(*fd);
    *fd = -1;
    return ERR_TEMP;
}

int
auth_send(const char *socket_path, const struct auth_request *rq, unsigned timeout_s, int *fd)
{
    return connect_and_send(socket_path, rq, timeout_s, false, fd);
}

int
auth_receive(int *fd, struct auth_answer *an, unsigned timeout_s)
{
    int result;

    memset(an, 0, sizeof *an);
    result = receive_answer(*fd, an, sys_monotonic_ms() + (int64_t)timeout_s * 1000);
    if (result == 0 && an->status == AUTH_OK)
        return 0;
    close(*fd);
    *fd = -1;
    return result;
}

int
auth_ask(const char *socket_path, const struct auth_request *rq, struct auth_answer *an,
         unsigned timeout_s, int *fd)
{
    memset(an, 0, sizeof *an);
    if (auth_send(socket_path, rq, timeout_s, fd) != 0)
        return ERR_TEMP;
    return auth_receive(fd, an, timeout_s);
}

int
auth_lookup(const char *socket_path, const char *user, struct auth_answer *an,
            unsigned timeout_s)
{
    struct auth_request rq;
    int fd;

    memset(&rq, 0, sizeof rq);
    rq.magic = AUTH_MAGIC_LOOKUP;
    if (strlen(user) >= sizeof rq.user)
        return ERR_NOENT;
    snprintf(rq.user, sizeof rq.user, "%s", user);
    if (connect_and_send(socket_path, &rq, timeout_s, true, &fd) != 0 ||
        auth_receive(&fd, an, timeout_s) != 0)
        return ERR_TEMP;
    if (fd >= 0)
        close(fd);
    if (an->status == AUTH_OK)
        return 0;
    return an->status == AUTH_FAILED ? ERR_NOENT : ERR_TEMP;
}
