/*
 * Waiting of the stream, its interruption by signals, and the switch to TLS; see stream.h.
 *
 * A signal that arrives between the last look at a flag and poll(2) would be lost until the
 * client speaks. So stream_interrupt() writes to an eventfd of the process, which stream_wait()
 * polls along: nothing can be missed, and no signal mask is changed on every command. A child
 * process makes its own eventfd with its first stream.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/stream_internal.h"

#define EXIT_SHORT 75

/* What stream_interrupt() of this process works on. */
static struct {
    volatile sig_atomic_t fd;
    volatile sig_atomic_t early; /* interrupted before there was an eventfd */
    pid_t pid;                   /* whose fd it is */
} interrupts = {.fd = -1};

static void
wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);

    (void)n; /* fails only when the counter is full: then it's readable anyway */
}

/* The parent's eventfd, if there is one, is left open: it may have been closed by the code that
   closes descriptors after a fork, and its number belong to something else by now. */
void
stream_prepare_interrupts(void)
{
    pid_t pid = getpid();
    int fd;

    if (interrupts.pid == pid)
        return;
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        log_fatal(EXIT_SHORT, "eventfd: %s", strerror(errno));
    interrupts.fd = fd;
    interrupts.pid = pid;
    if (interrupts.early)
        wake(fd);
    interrupts.early = 0;
}

void
stream_interrupt(void)
{
    int saved = errno;

    /* a child that has no stream yet must not wake its parent */
    if (interrupts.fd < 0 || interrupts.pid != getpid())
        interrupts.early = 1;
    else
        wake(interrupts.fd);
    errno = saved;
}

int
stream_poll_timeout(int64_t at)
{
    int64_t left;

    if (at == 0)
        return -1;
    left = at - sys_monotonic_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int
stream_wait_ready(struct stream *s, short events, int64_t limit)
{
    struct pollfd pfd = {.fd = s->fd, .events = events};
    int timeout, n;

    for (;;) {
        timeout = stream_poll_timeout(limit);
        n = poll(&pfd, 1, timeout);
        if (n > 0)
            return 0;
        if (n == 0 && timeout != INT_MAX)
            return ERR_TIMEOUT;
        if (n < 0 && errno != EINTR) {
            log_error("poll: %s", strerror(errno));
            return ERR_IO;
        }
    }
}

static void
clear_interrupt(void)
{
    uint64_t count;
    ssize_t n = read(interrupts.fd, &count, sizeof count);

    (void)n;
}

int
stream_wait(struct stream *s, int other_fd, int64_t deadline_ms)
{
    struct pollfd pfd[3] = {{.fd = s->fd, .events = POLLIN},
                            {.fd = interrupts.fd, .events = POLLIN},
                            {.fd = other_fd, .events = POLLIN}};
    short events;
    int n, timeout;

    for (;;) {
        if (s->error != 0 || stream_pending(s) > 0 || stream_flush(s) != 0)
            return 1;
        timeout = stream_poll_timeout(deadline_ms);
        n = poll(pfd, 3, timeout);
        if (n == 0 && timeout != INT_MAX)
            return ERR_TIMEOUT;
        if (n < 0 && errno != EINTR) {
            log_error("poll: %s", strerror(errno));
            stream_fail(s, ERR_IO);
            return 1;
        }
        if (n <= 0)
            continue;
        if (pfd[1].revents != 0) {
            clear_interrupt();
            return 0;
        }
        if (pfd[0].revents != 0) {
            /* with TLS, readable doesn't mean that there is something to read */
            if (stream_fill(s, false, &events) != 0)
                return 1;
            pfd[0].events = events;
        }
        if (pfd[2].revents != 0)
            return 2;
    }
}

int
stream_wait_other(struct stream *s, int other_fd, bool half, int64_t deadline_ms)
{
    struct pollfd pfd[3] = {{.fd = s->fd, .events = half ? POLLRDHUP : 0},
                            {.fd = interrupts.fd, .events = POLLIN},
                            {.fd = other_fd, .events = POLLIN}};
    int n, timeout;

    for (;;) {
        timeout = stream_poll_timeout(deadline_ms);
        n = poll(pfd, 3, timeout);
        if (n == 0 && timeout != INT_MAX)
            return ERR_TIMEOUT;
        if (n < 0 && errno != EINTR) {
            log_error("poll: %s", strerror(errno));
            return ERR_TIMEOUT;
        }
        if (n <= 0)
            continue;
        if (pfd[2].revents != 0)
            return 2;
        if (pfd[1].revents != 0) {
            clear_interrupt();
            return 0;
        }
        if (pfd[0].revents != 0)
            return 1;
    }
}

/* ---- TLS ---- */

int
stream_start_tls(struct stream *s, struct tls_context *ctx, unsigned timeout_s)
{
    int64_t limit = sys_monotonic_ms() + (int64_t)timeout_s * 1000;
    int err;

    if (stream_flush(s) != 0)
        return s->error;
    if (s->tls != NULL)
        log_panic("stream_start_tls: TLS is on already");
    /* Octets behind the STARTTLS command were sent in the clear, perhaps by somebody between us
       and the client. They must not be taken for the client's own later (CVE-2011-0411). What
       is still in the kernel is the handshake, or makes it fail. */
    stream_drop_input(s);
    if (s->deadline != 0 && s->deadline < limit)
        limit = s->deadline;
    s->tls = tls_session_new(ctx, s->fd);
    for (;;) {
        err = tls_session_handshake(s->tls);
        if (err == 0)
            return 0;
        if (err == TLS_WANT_READ || err == TLS_WANT_WRITE) {
            err = stream_wait_ready(s, err == TLS_WANT_READ ? POLLIN : POLLOUT, limit);
            if (err == 0)
                continue;
            if (err == ERR_TIMEOUT)
                log_info("TLS handshake not finished within %u s", timeout_s);
        }
        s->broken = true;
        return stream_fail(s, err);
    }
}

bool
stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}

const char *
stream_tls_info(const struct stream *s)
{
    return s->tls != NULL ? tls_session_info(s->tls) : "";
}
