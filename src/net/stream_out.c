/*
 * Output of the stream; see stream.h.
 *
 * Writes are collected in a 16 KiB buffer. What doesn't fit goes out together with the buffer
 * in one sendmsg, or, with TLS, as full records. Sending is tried first; only when the socket
 * is full poll(2) waits, for at most the write timeout each time, and ten of them in one flush,
 * so that neither a client that takes nothing nor one that takes an octet now and then holds a
 * worker for good.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/stream_internal.h"

#define STRAIGHT   4096          /* from here on a copy costs more than a second iovec */
#define PRINT_MAX  (1024 * 1024) /* of one stream_printf() */
#define WRITE_SPAN 10            /* write timeouts that one flush may take in all */

/* Waits until the socket takes more. *limit (0 at first) is the end of the whole operation. */
static int
wait_write(struct stream *s, short events, int64_t *limit)
{
    int64_t now = sys_monotonic_ms(), until = now + s->write_ms;
    int err;

    if (*limit == 0) {
        *limit = now + WRITE_SPAN * s->write_ms;
        if (s->deadline != 0 && s->deadline < *limit)
            *limit = s->deadline;
    }
    if (*limit < until)
        until = *limit;
    err = stream_wait_ready(s, events, until);
    if (err == ERR_TIMEOUT)
        log_info("disconnected: the client doesn't take its data (write timeout %d s)",
                 (int)(s->write_ms / 1000));
    if (err != 0) {
        s->broken = true;
        stream_fail(s, err);
    }
    return err;
}

static int
send_plain(struct stream *s, struct iovec *iov, size_t count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    int64_t limit = 0;
    ssize_t n;

    while (msg.msg_iovlen > 0) {
        if (msg.msg_iov->iov_len == 0) {
            msg.msg_iov++;
            msg.msg_iovlen--;
            continue;
        }
        n = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                if (wait_write(s, POLLOUT, &limit) != 0)
                    return s->error;
                continue;
            }
            s->broken = true;
            return stream_fail_errno(s, errno, "sending to");
        }
        s->bytes_out += (uint64_t)n;
        while (n > 0) {
            size_t part = (size_t)n < msg.msg_iov->iov_len ? (size_t)n : msg.msg_iov->iov_len;

            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + part;
            msg.msg_iov->iov_len -= part;
            n -= (ssize_t)part;
            if (msg.msg_iov->iov_len == 0) {
                msg.msg_iov++;
                msg.msg_iovlen--;
            }
        }
    }
    return 0;
}

static int
send_tls(struct stream *s, const char *p, size_t n)
{
    int64_t limit = 0;
    ssize_t took;

    while (n > 0) {
        took = tls_session_send(s->tls, p, n);
        if (took == TLS_WANT_READ || took == TLS_WANT_WRITE) {
            if (wait_write(s, took == TLS_WANT_READ ? POLLIN : POLLOUT, &limit) != 0)
                return s->error;
        } else if (took < 0) {
            s->broken = true;
            return stream_fail(s, (int)took);
        } else {
            s->bytes_out += (uint64_t)took;
            p += took;
            n -= (size_t)took;
        }
    }
    return 0;
}

/* Sends the collected octets and then n more. */
static int
send_with(struct stream *s, const void *p, size_t n)
{
    struct iovec iov[2];
    size_t collected = s->out_len;
    int err;

    s->out_len = 0;
    if (s->tls != NULL) {
        err = send_tls(s, s->out, collected);
        return err != 0 ? err : send_tls(s, p, n);
    }
    iov[0].iov_base = s->out;
    iov[0].iov_len = collected;
    iov[1].iov_base = (void *)(uintptr_t)p; /* sendmsg(2) only reads it */
    iov[1].iov_len = n;
    return send_plain(s, iov, 2);
}

int
stream_flush(struct stream *s)
{
    if (s->error == 0 && s->out_len > 0)
        send_with(s, NULL, 0);
    return s->error;
}

static void
collect(struct stream *s, const char *p, size_t n)
{
    if (s->out == NULL)
        s->out = mem_alloc(STREAM_BUFFER);
    memcpy(s->out + s->out_len, p, n);
    s->out_len += n;
}

void
stream_write(struct stream *s, const void *data, size_t n)
{
    const char *p = data;
    size_t part;

    if (s->error != 0 || n == 0)
        return;
    if (n <= STREAM_BUFFER - s->out_len) {
        collect(s, p, n);
        return;
    }
    if (s->tls == NULL && n >= STRAIGHT) {
        send_with(s, p, n);
        return;
    }
    /* full records, and the rest waits for company */
    if (s->out_len > 0) {
        part = STREAM_BUFFER - s->out_len;
        collect(s, p, part);
        p += part;
        n -= part;
        if (stream_flush(s) != 0)
            return;
    }
    part = n - n % STREAM_BUFFER;
    if (part > 0 && send_with(s, p, part) != 0)
        return;
    if (n > part)
        collect(s, p + part, n - part);
}

void
stream_puts(struct stream *s, const char *text)
{
    stream_write(s, text, strlen(text));
}

void
stream_printf(struct stream *s, const char *fmt, ...)
{
    struct buf text = BUF_INIT(PRINT_MAX);
    size_t room;
    va_list ap;
    int n;

    if (s->error != 0)
        return;
    if (s->out == NULL)
        s->out = mem_alloc(STREAM_BUFFER);
    room = STREAM_BUFFER - s->out_len;
    va_start(ap, fmt);
    n = vsnprintf(s->out + s->out_len, room, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < room) {
        s->out_len += (size_t)n;
        return;
    }
    va_start(ap, fmt);
    buf_vaddf(&text, fmt, ap);
    va_end(ap);
    if (!buf_ok(&text))
        log_panic("stream_printf: more than %d octets at once", PRINT_MAX);
    stream_write(s, text.data, text.len);
    buf_free(&text);
}

void
stream_last_words(struct stream *s, const char *text)
{
    size_t len = strlen(text);
    ssize_t n = 0;

    if (s->broken || s->eof)
        return;
    if (s->error == 0) {
        stream_write(s, text, len);
        stream_flush(s);
    } else if (s->error == ERR_TIMEOUT || s->error == ERR_LIMIT) {
        /* nothing is collected: reading has sent it before it waited */
        n = s->tls != NULL ? tls_session_send(s->tls, text, len)
                           : send(s->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            s->bytes_out += (uint64_t)n;
        if (n != (ssize_t)len)
            s->broken = true;
    }
}
