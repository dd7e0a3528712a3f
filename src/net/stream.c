/*
 * The buffered stream to one client: its life and its input; see stream.h. Knows nothing of
 * protocols, and of TLS only the calls in tls_internal.h. Output is in stream_out.c, waiting
 * and the switch to TLS in stream_wait.c.
 *
 * One recv fills a 16 KiB buffer when it's empty; lines are cut out of it by memchr. It is only
 * filled when empty, so nothing is ever moved inside it. A line is copied once, into the
 * caller's buffer. Large reads by-pass it.
 *
 * Every receive is tried first. Only when there is nothing, what was collected for the client
 * is sent and poll(2) waits: a client that pipelines gets its answers in few segments, and one
 * that waits for an answer gets it.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "net/stream_internal.h"

#define DROP_MAX      (1024 * 1024) /* what is skipped of a line that is too long */
#define UNREAD_ROUNDS 16            /* times 4 KiB */

static int sink_write(struct sink *sink, const void *p, size_t n);

struct stream *
stream_new(int fd, unsigned write_timeout_s)
{
    struct stream *s = mem_calloc(1, sizeof *s);

    stream_prepare_interrupts();
    s->fd = fd;
    s->write_ms = (int64_t)write_timeout_s * 1000;
    s->sink.write = sink_write;
    return s;
}

/* Octets the client sent and nobody read would turn close(2) into a reset, which may take the
   last reply away from the client. */
static void
discard_unread(int fd)
{
    char scratch[4096];
    int rounds = UNREAD_ROUNDS;

    if (recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) <= 0)
        return;
    shutdown(fd, SHUT_WR);
    while (rounds-- > 0 && recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0)
        continue;
}

void
stream_free(struct stream **sp)
{
    struct stream *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    stream_flush(s);
    if (s->tls != NULL) {
        if (!s->broken)
            tls_session_bye(s->tls);
        tls_session_free(&s->tls);
    }
    if (!s->eof && !s->broken)
        discard_unread(s->fd);
    close(s->fd);
    free(s->in);
    free(s->out);
    free(s);
}

void
stream_trim(struct stream *s)
{
    if (s->in_pos == s->in_len) {
        free(s->in);
        s->in = NULL;
        s->in_pos = s->in_len = s->in_high = 0;
    }
    if (s->out_len == 0) {
        free(s->out);
        s->out = NULL;
    }
    if (s->tls != NULL)
        tls_session_trim(s->tls);
}

void
stream_set_deadline(struct stream *s, int64_t at_ms)
{
    s->deadline = at_ms;
}

int
stream_error(const struct stream *s)
{
    return s->error;
}

uint64_t
stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t
stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}

int
stream_fail(struct stream *s, int err)
{
    if (s->error == 0)
        s->error = err;
    return s->error;
}

/* A connection that went away is an end like any other; the rest is worth a line. */
int
stream_fail_errno(struct stream *s, int errnum, const char *what)
{
    switch (errnum) {
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT: /* keepalive found nobody */
    case EHOSTUNREACH:
    case ENETUNREACH:
        s->eof = true;
        return stream_fail(s, ERR_EOF);
    default:
        log_error("%s the client: %s", what, strerror(errnum));
        return stream_fail(s, ERR_IO);
    }
}

/* ---- input ---- */

/* What there is now: > 0; 0 when there is nothing, and *events is what to wait for; a sticky
   error. The end of input sends what was collected first: a client may close its side after
   its last command and still wants the answers. */
static ssize_t
try_receive(struct stream *s, void *p, size_t n, short *events)
{
    ssize_t got;

    if (s->error != 0)
        return s->error;
    *events = POLLIN;
    if (s->tls != NULL) {
        got = tls_session_recv(s->tls, p, n);
        if (got == TLS_WANT_READ || got == TLS_WANT_WRITE) {
            *events = got == TLS_WANT_READ ? POLLIN : POLLOUT;
            return 0;
        }
    } else {
        do
            got = recv(s->fd, p, n, MSG_DONTWAIT);
        while (got < 0 && errno == EINTR);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (got < 0)
            return stream_fail_errno(s, errno, "receiving from");
        if (got == 0)
            got = ERR_EOF;
    }
    if (got == ERR_EOF) {
        stream_flush(s);
        s->eof = true;
    }
    if (got < 0)
        return stream_fail(s, (int)got);
    s->bytes_in += (uint64_t)got;
    return got;
}

/* The same, waiting until the deadline. */
static ssize_t
receive(struct stream *s, void *p, size_t n)
{
    short events;
    ssize_t got;
    int err;

    for (;;) {
        got = try_receive(s, p, n, &events);
        if (got != 0)
            return got;
        if (stream_flush(s) != 0)
            return s->error;
        err = stream_wait_ready(s, events, s->deadline);
        if (err != 0)
            return stream_fail(s, err);
    }
}

/* Fills the empty input buffer, waiting or not. As above. */
ssize_t
stream_fill(struct stream *s, bool waiting, short *events)
{
    ssize_t got;

    if (s->in == NULL)
        s->in = mem_alloc(STREAM_BUFFER);
    s->in_pos = s->in_len = 0;
    got = waiting ? receive(s, s->in, STREAM_BUFFER)
                  : try_receive(s, s->in, STREAM_BUFFER, events);
    if (got > 0)
        s->in_len = (size_t)got;
    if (s->in_len > s->in_high)
        s->in_high = s->in_len;
    return got;
}

void
stream_wipe_read(struct stream *s)
{
    if (s->in != NULL) {
        explicit_bzero(s->in, s->in_pos);
        explicit_bzero(s->in + s->in_len, s->in_high - s->in_len);
        s->in_high = s->in_len;
    }
}

/* The last octets of what didn't fit into a line, with its CR. */
struct tail {
    char data[STREAM_LINE_TAIL + 1];
    size_t len;
};

static void
keep_tail(struct tail *t, const char *p, size_t n)
{
    size_t keep;

    if (n >= sizeof t->data) {
        p += n - sizeof t->data;
        n = sizeof t->data;
    }
    keep = t->len < sizeof t->data - n ? t->len : sizeof t->data - n;
    memmove(t->data, t->data + t->len - keep, keep);
    if (n > 0)
        memcpy(t->data + keep, p, n);
    t->len = keep + n;
}

/* Gives the line's end to the buffer that holds its beginning. */
static void
put_tail(struct buf *line, const struct tail *t)
{
    size_t n = t->len < STREAM_LINE_TAIL ? t->len : STREAM_LINE_TAIL;
    size_t kept = STREAM_LINE_TAIL - n; /* of the buffer's own last octets */
    char *end;

    if (line->len < STREAM_LINE_TAIL)
        return;
    end = line->data + line->len;
    memmove(end - STREAM_LINE_TAIL, end - kept, kept);
    memcpy(end - n, t->data + t->len - n, n);
}

int
stream_read_line(struct stream *s, struct buf *line, size_t max)
{
    struct tail tail = {.len = 0};
    const char *start, *lf;
    size_t n, fits, seen = 0; /* seen: octets of this line before its LF */
    char last = '\0';         /* the last of them */

    buf_reset(line);
    if (max > line->max)
        max = line->max;
    for (;;) {
        if (s->error != 0)
            return s->error;
        if (s->in_pos == s->in_len && stream_fill(s, true, NULL) < 0)
            return s->error;
        start = s->in + s->in_pos;
        n = s->in_len - s->in_pos;
        lf = memchr(start, '\n', n);
        if (lf != NULL)
            n = (size_t)(lf - start);
        fits = max - line->len < n ? max - line->len : n;
        buf_add(line, start, fits);
        keep_tail(&tail, start + fits, n - fits);
        seen += n;
        if (n > 0)
            last = start[n - 1];
        s->in_pos += n;
        if (lf != NULL)
            break;
        if (seen > max && seen - max > DROP_MAX)
            return stream_fail(s, ERR_LIMIT);
    }
    s->in_pos++;
    if (last == '\r') {
        seen--;
        tail.len -= tail.len > 0;
    }
    buf_cut(line, seen);
    if (seen <= max)
        return 0;
    put_tail(line, &tail);
    return ERR_LIMIT;
}

ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
    size_t have;

    if (s->error != 0)
        return s->error;
    if (n == 0)
        return 0;
    if (s->in_pos == s->in_len) {
        if (n >= STREAM_BUFFER)
            return receive(s, p, n);
        if (stream_fill(s, true, NULL) < 0)
            return s->error;
    }
    have = s->in_len - s->in_pos;
    if (n > have)
        n = have;
    memcpy(p, s->in + s->in_pos, n);
    s->in_pos += n;
    return (ssize_t)n;
}

int
stream_read_full(struct stream *s, void *p, size_t n)
{
    char *to = p;
    ssize_t got;

    while (n > 0) {
        got = stream_read(s, to, n);
        if (got < 0)
            return (int)got;
        to += got;
        n -= (size_t)got;
    }
    return 0;
}

size_t
stream_pending(struct stream *s)
{
    short events;

    if (s->in_pos == s->in_len && s->error == 0 && s->tls != NULL &&
        tls_session_buffered(s->tls))
        stream_fill(s, false, &events);
    return s->in_len - s->in_pos + (s->tls != NULL ? tls_session_pending(s->tls) : 0);
}

void
stream_drop_input(struct stream *s)
{
    size_t rounds = 0;

    s->in_pos = s->in_len = 0;
    while (s->tls != NULL && stream_pending(s) > 0 && rounds++ < 64)
        s->in_pos = s->in_len = 0;
}

/* ---- source and sink of the store ---- */

static ssize_t
source_read(struct source *source, void *p, size_t n)
{
    struct stream_source *src = (struct stream_source *)source; /* its first member */
    ssize_t got;

    if (src->left == 0)
        return 0;
    if (n > src->left)
        n = (size_t)src->left;
    got = stream_read(src->stream, p, n);
    if (got > 0)
        src->left -= (uint64_t)got;
    return got;
}

void
stream_source_init(struct stream_source *src, struct stream *s, uint64_t octets)
{
    src->source.read = source_read;
    src->stream = s;
    src->left = octets;
}

static int
sink_write(struct sink *sink, const void *p, size_t n)
{
    struct stream *s = (struct stream *)((char *)sink - offsetof(struct stream, sink));

    stream_write(s, p, n);
    return s->error;
}

struct sink *
stream_sink(struct stream *s)
{
    return &s->sink;
}
