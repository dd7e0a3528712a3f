/*
 * One TLS session over GnuTLS; see tls_internal.h. Server side only: TLS 1.2 (RFC 5246) and 1.3
 * (RFC 8446) as the priority string of the context allows.
 *
 * GnuTLS reads a record by two calls: its 5 octets of header, then the rest. The pull function
 * here reads ahead into a buffer instead, so that a record, or a whole flight of the handshake,
 * costs one system call. The buffer is made when the first octet comes. In the other direction
 * it sends every message of the handshake by itself; they are held back until it wants to read,
 * so that a flight is one segment (and wakes the client once).
 *
 * Renegotiation (TLS 1.2) isn't offered; a client that begins one gets the alert that RFC 5246
 * 7.2.2 has for it, and the session ends, because GnuTLS can't read on past such a request. Key
 * updates (TLS 1.3) are done inside GnuTLS. What a client may send without sending data is
 * counted, so that it can't keep the process busy.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/tls_context.h"
#include "net/tls_internal.h"

#define AHEAD_SIZE 17408 /* holds the largest record: 16384 + 256 + 5 (RFC 8446 5.2) */
#define HELD_MAX   (256 * 1024)
#define ODD_MAX    16 /* records that carry nothing, in one session */

struct tls_session {
    gnutls_session_t gnutls;
    int fd;
    int sys_errno; /* of the last failed receive or send */
    bool sending;  /* a record is half sent */
    bool done;     /* the handshake, but for sending the last of it */
    bool shaking;  /* the handshake isn't over */
    unsigned odd;  /* see ODD_MAX */
    char *ahead;   /* received, not yet taken by GnuTLS; NULL until needed */
    size_t ahead_pos, ahead_len;
    struct buf held; /* of the handshake, not yet sent */
    char info[80];
};

/* ---- transport ---- */

static ssize_t
receive(struct tls_session *t, void *p, size_t n)
{
    ssize_t got;

    do
        got = recv(t->fd, p, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        t->sys_errno = errno;
        gnutls_transport_set_errno(t->gnutls, errno);
    }
    return got;
}

static ssize_t
pull(gnutls_transport_ptr_t ptr, void *p, size_t n)
{
    struct tls_session *t = ptr;
    ssize_t got;

    if (t->ahead_pos == t->ahead_len) {
        if (n >= AHEAD_SIZE)
            return receive(t, p, n);
        if (t->ahead == NULL)
            t->ahead = mem_alloc(AHEAD_SIZE);
        t->ahead_pos = t->ahead_len = 0;
        got = receive(t, t->ahead, AHEAD_SIZE);
        if (got <= 0)
            return got;
        t->ahead_len = (size_t)got;
    }
    if (n > t->ahead_len - t->ahead_pos)
        n = t->ahead_len - t->ahead_pos;
    memcpy(p, t->ahead + t->ahead_pos, n);
    t->ahead_pos += n;
    return (ssize_t)n;
}

static int
pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    struct tls_session *t = ptr;
    struct pollfd pfd = {.fd = t->fd, .events = POLLIN};

    (void)ms; /* never waits: the stream does that */
    return t->ahead_pos < t->ahead_len ? 1 : poll(&pfd, 1, 0);
}

static ssize_t
send_iov(struct tls_session *t, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, /* only read */
                         .msg_iovlen = (size_t)count};
    ssize_t n;

    do
        n = sendmsg(t->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        t->sys_errno = errno;
    return n;
}

static ssize_t
push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
    struct tls_session *t = ptr;
    ssize_t n = 0;
    int i;

    if (!t->shaking) {
        n = send_iov(t, iov, count);
        if (n < 0)
            gnutls_transport_set_errno(t->gnutls, t->sys_errno);
        return n;
    }
    for (i = 0; i < count; i++) {
        buf_add(&t->held, iov[i].iov_base, iov[i].iov_len);
        n += (ssize_t)iov[i].iov_len;
    }
    if (buf_ok(&t->held))
        return n;
    t->sys_errno = ENOBUFS;
    gnutls_transport_set_errno(t->gnutls, ENOBUFS);
    return -1;
}

/* Sends what was held back. 0, TLS_WANT_WRITE, or GNUTLS_E_PUSH_ERROR. */
static int
send_held(struct tls_session *t)
{
    struct iovec iov;
    ssize_t n;

    while (t->held.len > 0) {
        iov.iov_base = t->held.data;
        iov.iov_len = t->held.len;
        n = send_iov(t, &iov, 1);
        if (n < 0)
            return t->sys_errno == EAGAIN || t->sys_errno == EWOULDBLOCK ? TLS_WANT_WRITE
                                                                         : GNUTLS_E_PUSH_ERROR;
        buf_drop(&t->held, (size_t)n);
    }
    return 0;
}

/* ---- life ---- */

struct tls_session *
tls_session_new(struct tls_context *ctx, int fd)
{
    struct tls_session *t = mem_calloc(1, sizeof *t);

    t->fd = fd;
    t->shaking = true;
    buf_init(&t->held, HELD_MAX);
    if (gnutls_init(&t->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
        mem_fatal(sizeof *t);
    tls_context_apply(ctx, t->gnutls);
    gnutls_transport_set_ptr(t->gnutls, t);
    gnutls_transport_set_pull_function(t->gnutls, pull);
    gnutls_transport_set_pull_timeout_function(t->gnutls, pull_timeout);
    gnutls_transport_set_vec_push_function(t->gnutls, push);
    return t;
}

void
tls_session_free(struct tls_session **tp)
{
    struct tls_session *t = *tp;

    if (t == NULL)
        return;
    *tp = NULL;
    gnutls_deinit(t->gnutls);
    buf_free(&t->held);
    free(t->ahead);
    free(t);
}

void
tls_session_trim(struct tls_session *t)
{
    if (t->ahead_pos < t->ahead_len)
        return;
    free(t->ahead);
    t->ahead = NULL;
    t->ahead_pos = t->ahead_len = 0;
}

/* ---- results ---- */

/* A failure that ends the session: logged in one line, told to the client by an alert. */
static int
failed(struct tls_session *t, int ret)
{
    const char *what = t->shaking ? "TLS handshake failed" : "TLS failed";
    const char *alert;

    switch (ret) {
    case GNUTLS_E_PREMATURE_TERMINATION:
        t->sys_errno = 0;
        break;
    case GNUTLS_E_PULL_ERROR:
    case GNUTLS_E_PUSH_ERROR:
        if (t->sys_errno != ECONNRESET && t->sys_errno != EPIPE && t->sys_errno != ETIMEDOUT) {
            log_error("%s: %s", what, strerror(t->sys_errno));
            return ERR_IO;
        }
        break;
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
        alert = gnutls_alert_get_name(gnutls_alert_get(t->gnutls));
        log_info("%s: the client says: %s", what, alert != NULL ? alert : "unknown alert");
        return ERR_TLS;
    case GNUTLS_E_MEMORY_ERROR:
        mem_fatal(AHEAD_SIZE);
    default:
        log_info("%s: %s", what, gnutls_strerror(ret));
        (void)gnutls_alert_send_appropriate(t->gnutls, ret);
        return ERR_TLS;
    }
    if (t->shaking)
        log_info("%s: the client closed the connection", what);
    return ERR_EOF;
}

/* What a negative result means: 0 = try again at once, TLS_WANT_*, or a failure. */
static int
outcome(struct tls_session *t, int ret)
{
    if (ret == GNUTLS_E_AGAIN)
        return gnutls_record_get_direction(t->gnutls) == 0 ? TLS_WANT_READ : TLS_WANT_WRITE;
    if (ret == GNUTLS_E_INTERRUPTED)
        return 0;
    if (ret == GNUTLS_E_REHANDSHAKE) {
        log_info("TLS failed: the client asks for renegotiation, which isn't offered");
        (void)gnutls_alert_send(t->gnutls, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
        return ERR_TLS;
    }
    if (gnutls_error_is_fatal(ret) == 0) {
        if (++t->odd > ODD_MAX) {
            log_info("TLS failed: the client sends records without data: %s",
                     gnutls_strerror(ret));
            return ERR_TLS;
        }
        return 0;
    }
    return failed(t, ret);
}

int
tls_session_handshake(struct tls_session *t)
{
    int ret, err, sent;

    do {
        ret = t->done ? 0 : gnutls_handshake(t->gnutls);
        t->done = ret == 0;
        err = t->done ? 0 : outcome(t, ret);
        /* also an alert of a failure; whether that arrives changes nothing */
        sent = send_held(t);
        if (err == 0 || err == TLS_WANT_READ) {
            if (sent == TLS_WANT_WRITE)
                return TLS_WANT_WRITE;
            if (sent < 0)
                return failed(t, sent);
        }
    } while (err == 0 && !t->done);
    if (t->done) {
        t->shaking = false;
        buf_free(&t->held);
    }
    return err;
}

ssize_t
tls_session_recv(struct tls_session *t, void *p, size_t n)
{
    ssize_t got;
    int err;

    do {
        got = gnutls_record_recv(t->gnutls, p, n);
        if (got > 0)
            return got;
        if (got == 0)
            return ERR_EOF;
        err = outcome(t, (int)got);
    } while (err == 0);
    return err;
}

ssize_t
tls_session_send(struct tls_session *t, const void *p, size_t n)
{
    ssize_t took;
    int err;

    do {
        /* a record that was half sent is kept by GnuTLS; its data isn't given again */
        took = t->sending ? gnutls_record_send(t->gnutls, NULL, 0)
                          : gnutls_record_send(t->gnutls, p, n);
        t->sending = took == GNUTLS_E_AGAIN || took == GNUTLS_E_INTERRUPTED;
        if (took > 0)
            return took;
        err = outcome(t, (int)took);
    } while (err == 0);
    return err;
}

size_t
tls_session_pending(const struct tls_session *t)
{
    return gnutls_record_check_pending(t->gnutls);
}

bool
tls_session_buffered(const struct tls_session *t)
{
    return t->ahead_pos < t->ahead_len || gnutls_record_check_pending(t->gnutls) > 0;
}

void
tls_session_bye(struct tls_session *t)
{
    if (!t->shaking && !t->sending)
        (void)gnutls_bye(t->gnutls, GNUTLS_SHUT_WR);
}

/* ---- words ---- */

const char *
tls_session_info(struct tls_session *t)
{
    const char *version, *group, *cipher;

    if (t->info[0] != '\0' || t->shaking)
        return t->info;
    version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->gnutls));
    group = gnutls_group_get_name(gnutls_group_get(t->gnutls));
    cipher = gnutls_cipher_get_name(gnutls_cipher_get(t->gnutls));
    snprintf(t->info, sizeof t->info, "%s %s%s %s", version != NULL ? version : "TLS",
             group != NULL ? "ECDHE-" : "",
             group != NULL ? group : gnutls_kx_get_name(gnutls_kx_get(t->gnutls)),
             cipher != NULL ? cipher : "?");
    return t->info;
}
